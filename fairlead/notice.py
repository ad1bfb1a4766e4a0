"""Notices: what a node tells its own partner's oversight, and cannot open again itself.

A notice is JSON, signed by the node, framed and padded to one of :data:`RUNGS`, and sealed by HPKE
to the partner's oversight key. Its number counts the notices of a series, from 1, so that one that
was taken away is missed. A restored node begins another series.

There are three kinds. *Hits*: the references of all hits of one blind query, decoys or not, also of
none. *Follow-ups*: the sealed queries of others that named a decoy of this owner; one is written
while anybody asks, and each hour, whether it holds any or not. *Delivered*: what another owner sent
for this oversight, unopened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.names import check_code, check_partner_id
from fairlead.partners import Partner

RUNGS = (4 * 1024, 40 * 1024, 512 * 1024)
"""Octets before sealing; the middle one holds what an owner sends for the oversight."""
MAX_NOTICE = RUNGS[-1] + 4 * 1024
"""Octets of a sealed notice; none is larger."""
MAX_HITS = 2_048
MAX_FOLLOW_UPS = 256
MAX_DECOYS_NAMED = 64
MAX_DELIVERED = 24 * 1024
SERIES_SIZE = 16
REF_SIZE = 16
DECOY_ID_SIZE = 8
DIGEST_SIZE = 32
QUERY_ID_SIZE = 16

_DOMAIN = "oversight-notice"
_SIGNATURE = 64
_MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked: ``partner`` and ``user`` (a pseudonym), why, under which case (its commitment, 32
    octets or none), in which query (16 octets), and when (unix seconds)."""

    query_id: bytes
    partner: str
    user: str
    purpose: str
    case_commitment: bytes
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One hit: whose snapshot, the SHA-256 of its manifest, and the entry's reference."""

    owner: str
    manifest: bytes
    ref: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Every hit of one blind query, or of a part of one that has very many."""

    asked: Asked
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A sealed query that named decoys of this owner, by their ids."""

    asked: Asked
    decoys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUps:
    """What was followed up since the last one; often nothing."""

    found: tuple[FollowUp, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The sealed references of an owner's decoys (:mod:`fairlead.decoys`), as they came."""

    owner: str
    manifest: bytes
    sealed: bytes


Content = Hits | FollowUps | Delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """``number`` counts the notices of ``series`` (16 octets); ``at`` is unix seconds."""

    series: bytes
    number: int
    at: int
    content: Content


def seal_notice(notice: Notice, partner: Partner, key: Ed25519PrivateKey) -> bytes:
    """Sign and seal a notice to the partner's own oversight.

    :param key: the node's signing key. :raises InvalidInput: ``TOO_LARGE``.
    """
    body = orjson.dumps(_document(notice))
    framed = signing.sign(key, _DOMAIN, body) + body
    size = next((rung for rung in RUNGS if len(framed) + 4 <= rung), RUNGS[-1])
    padded = sealing.pad(framed, size)
    return sealing.seal(padded, partner.oversight_key, info=_info(partner.partner_id))


def open_notice(
    sealed: bytes,
    *,
    partner_id: str,
    keys: Sequence[sealing.SealingKey],
    signers: Collection[bytes],
) -> Notice:
    """Open what a node sealed to its oversight.

    1. It opens with one of the keys. 2. Its size is a rung. 3. One of the signers, the signing keys
    of the partner as the directory has or had them, signed it. 4. It says what a notice says.

    :raises Forged: ``UNSEALABLE``, ``PADDING``, ``SIGNATURE`` or ``NOTICE``.
    """
    # 1
    padded = open_with(keys, sealed, info=_info(partner_id), limit=MAX_NOTICE)
    # 2
    if len(padded) not in RUNGS:
        raise Forged("a notice has no agreed size", reasons=("PADDING",))
    framed = sealing.unpad(padded, len(padded))
    # 3
    signature, body = framed[:_SIGNATURE], framed[_SIGNATURE:]
    verify_by_one(signers, _DOMAIN, body, signature)
    # 4
    try:
        return _read(orjson.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, InvalidInput):
        raise Forged("a notice does not say what one says", reasons=("NOTICE",)) from None


def open_with(
    keys: Sequence[sealing.SealingKey], sealed: bytes, *, info: bytes, limit: int
) -> bytes:
    """Open with whichever key it was sealed to. :raises Forged: ``UNSEALABLE``."""
    for key in keys if len(sealed) <= limit else ():
        try:
            return key.open(sealed, info=info)
        except Forged:
            continue
    raise Forged("a sealed message does not open", reasons=("UNSEALABLE",))


def verify_by_one(signers: Collection[bytes], domain: str, data: bytes, signature: bytes) -> None:
    """Check that one of the keys signed. :raises Forged: ``SIGNATURE``."""
    for public in signers:
        try:
            signing.verify(public, domain, data, signature)
        except FairleadError:
            continue
        return
    raise Forged("a signature does not verify", reasons=("SIGNATURE",))


def _info(partner_id: str) -> bytes:
    return b"fairlead/v1/oversight-notice\x00" + partner_id.encode("ascii")


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def _document(notice: Notice) -> dict[str, Any]:
    content = notice.content
    said: dict[str, Any]
    if isinstance(content, Hits):
        places = {pair: n for n, pair in enumerate(dict.fromkeys(map(_snapshot, content.hits)))}
        said = {
            "asked": _asked_document(content.asked),
            "snapshots": [[owner, manifest.hex()] for owner, manifest in places],
            "hits": [[places[_snapshot(hit)], hit.ref.hex()] for hit in content.hits],
        }
        kind = "hits"
    elif isinstance(content, FollowUps):
        said = {
            "found": [
                {"asked": _asked_document(f.asked), "decoys": [d.hex() for d in f.decoys]}
                for f in content.found
            ]
        }
        kind = "follow-ups"
    else:
        said = {
            "owner": content.owner,
            "manifest": content.manifest.hex(),
            "sealed": content.sealed.hex(),
        }
        kind = "delivered"
    return {
        "kind": kind,
        "series": notice.series.hex(),
        "number": notice.number,
        "at": notice.at,
        kind: said,
    }


def _snapshot(hit: Hit) -> tuple[str, bytes]:
    return hit.owner, hit.manifest


def _asked_document(asked: Asked) -> dict[str, Any]:
    return {
        "query_id": asked.query_id.hex(),
        "partner": asked.partner,
        "user": asked.user,
        "purpose": asked.purpose,
        "case_commitment": asked.case_commitment.hex(),
        "at": asked.at,
    }


def _read(document: Any) -> Notice:
    """:raises ValueError, TypeError, KeyError, AttributeError, InvalidInput: it is none."""
    kind = document["kind"]
    said = _exactly(document, "kind", "series", "number", "at", kind)[kind]
    number = _number(document["number"])
    if number < 1:
        raise ValueError
    content = _READERS[kind](said)
    return Notice(
        series=_octets(document["series"], SERIES_SIZE),
        number=number,
        at=_number(document["at"]),
        content=content,
    )


def _hits(said: Any) -> Hits:
    _exactly(said, "asked", "snapshots", "hits")
    snapshots = [
        (check_partner_id(owner), _octets(manifest, DIGEST_SIZE))
        for owner, manifest in _listed(said["snapshots"], MAX_HITS)
    ]
    hits = []
    for place, ref in _listed(said["hits"], MAX_HITS):
        if not 0 <= _number(place) < len(snapshots):
            raise ValueError
        owner, manifest = snapshots[place]
        hits.append(Hit(owner=owner, manifest=manifest, ref=_octets(ref, REF_SIZE)))
    return Hits(asked=_asked(said["asked"]), hits=tuple(hits))


def _follow_ups(said: Any) -> FollowUps:
    found = []
    for item in _listed(_exactly(said, "found")["found"], MAX_FOLLOW_UPS):
        decoys = _listed(_exactly(item, "asked", "decoys")["decoys"], MAX_DECOYS_NAMED)
        ids = tuple(_octets(decoy, DECOY_ID_SIZE) for decoy in decoys)
        found.append(FollowUp(asked=_asked(item["asked"]), decoys=ids))
    return FollowUps(found=tuple(found))


def _delivered(said: Any) -> Delivered:
    _exactly(said, "owner", "manifest", "sealed")
    sealed = bytes.fromhex(said["sealed"])
    if len(sealed) > MAX_DELIVERED:
        raise ValueError
    return Delivered(
        owner=check_partner_id(said["owner"]),
        manifest=_octets(said["manifest"], DIGEST_SIZE),
        sealed=sealed,
    )


_READERS: Mapping[str, Callable[[Any], Content]] = MappingProxyType(
    {"hits": _hits, "follow-ups": _follow_ups, "delivered": _delivered}
)


def _asked(said: Any) -> Asked:
    _exactly(said, "query_id", "partner", "user", "purpose", "case_commitment", "at")
    commitment = said["case_commitment"]
    return Asked(
        query_id=_octets(said["query_id"], QUERY_ID_SIZE),
        partner=check_partner_id(said["partner"]),
        user=check_code(said["user"]),
        purpose=check_code(said["purpose"]),
        case_commitment=_octets(commitment, DIGEST_SIZE) if commitment else b"",
        at=_number(said["at"]),
    )


def _exactly(document: Any, *names: str) -> Any:
    if document.keys() != set(names):
        raise ValueError
    return document


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError
    return value


def _octets(text: Any, size: int) -> bytes:
    octets = bytes.fromhex(text)
    if len(octets) != size:
        raise ValueError
    return octets


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_NUMBER:
        raise ValueError
    return value
