"""What an asker's sealed detail holds: the content from which its signed parts follow.

The header cannot hold the digest of a detail that holds the header: the detail has it without that
field, and the leaf has the digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead import signing
from fairlead.detail import MAX_DETAIL
from fairlead.envelope.elements import Place
from fairlead.envelope.part import wrapped_digest
from fairlead.envelope.query import Instrument, Scope, instrument_to_wire
from fairlead.identifiers import NORM_VERSION
from fairlead.v1 import opening_pb2 as pb
from fairlead.v1 import query_pb2

DETAIL_ROOM, PER_TERM, PER_OWNER, PER_PARTNER = 40 * 1024, 512, 2048, 128
"""Octets of a sealed detail, at most: of every one, and for each term, owner asked, and partner of
the directory."""
SCHEME_ROOM, VALUE_ROOM = 64, 192
CASE_ROOM, REFERENCE_ROOM = 64, 800
"""Octets that the words of a detail may have: it is padded as if they had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWords:
    """What a query's case is called, under which nonce its commitments are, and the reference of
    its legal instrument, if it has one."""

    case_id: str
    nonce: bytes
    instrument: Instrument | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedParts:
    """The secrets of one query's parts: the seed of their content keys, the salts of those asked,
    the parts as they are sent, and in blind mode the seed of the blinds and every owner's places.
    """

    seed: bytes
    salts: Mapping[str, bytes]
    parts: Mapping[str, bytes]
    blind_seed: bytes = b""
    places: Mapping[str, Sequence[Place]] | None = None


def asked_detail(
    *,
    header: bytes,
    mandate: bytes,
    user_certificate: bytes,
    policy_serial: int,
    case: CaseWords,
    terms: Sequence[tuple[str, str]],
    nonces: Sequence[bytes],
    scope: Scope,
    parts: AskedParts,
    watch: bytes = b"",
    watch_signature: bytes = b"",
) -> tuple[bytes, int]:
    """The content, and how many octets of slack hide the lengths of its words.

    :param header: without its detail's digest.
    """
    content = pb.AskedDetail(
        mandate=mandate,
        user_certificate=user_certificate,
        header=header,
        policy_serial=policy_serial,
        case_id=case.case_id,
        case_nonce=case.nonce,
        instrument=instrument_to_wire(case.instrument),
        instrument_reference=case.reference,
        terms=question_terms(terms, nonces),
        since=scope.since,
        until=scope.until,
        events=scope.events,
        tlp=scope.tlp,  # type: ignore[arg-type]
        pap=scope.pap,  # type: ignore[arg-type]
        part_seed=parts.seed,
        blind_seed=parts.blind_seed,
        norm_version=NORM_VERSION,
        owners=[
            pb.AskedOwner(
                partner_id=owner,
                salt=parts.salts[owner],
                wrapped_digest=wrapped_digest(part),
                places=[
                    pb.AskedPlace(scheme=p.scheme, audience=p.audience, epoch=p.epoch)
                    for p in (parts.places or {}).get(owner, ())
                ],
            )
            for owner, part in sorted(parts.parts.items())
        ],
        watch=watch,
        watch_signature=watch_signature,
    )
    slack = terms_slack(terms) + CASE_ROOM + REFERENCE_ROOM
    slack -= len(case.case_id) + len(case.reference.encode())
    return signing.canonical(content), max(0, slack)


def detail_limit(*, terms: int, owners: int, partners: int) -> int:
    """Octets of the largest sealed detail of an honest query."""
    return min(
        MAX_DETAIL,
        DETAIL_ROOM + PER_TERM * terms + PER_OWNER * owners + PER_PARTNER * partners,
    )


def question_terms(
    terms: Sequence[tuple[str, str]], nonces: Sequence[bytes]
) -> list[query_pb2.QuestionTerm]:
    """Terms with their nonces, in order."""
    return [
        query_pb2.QuestionTerm(scheme=scheme, value=value, nonce=nonce)
        for (scheme, value), nonce in zip(terms, nonces, strict=True)
    ]


def terms_slack(terms: Sequence[tuple[str, str]]) -> int:
    """Octets by which these terms are shorter on the wire than the longest ones."""
    longest = _on_wire(SCHEME_ROOM) + _on_wire(VALUE_ROOM)
    short = sum(_on_wire(len(s)) + _on_wire(len(v.encode())) for s, v in terms)
    # Around them stands the length of the whole, in one octet or two.
    return longest * len(terms) - short + sum(_nonce_and(s, v) < 128 for s, v in terms)


def _nonce_and(scheme: str, value: str) -> int:
    return _on_wire(len(scheme)) + _on_wire(len(value.encode())) + _on_wire(32)


def _on_wire(size: int) -> int:
    """Octets of a field: its tag, its length in one octet or two, and the field."""
    return size + 2 + (size > 127)
