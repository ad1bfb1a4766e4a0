"""Making every signed part of a query again from its opened detail, and saying what differs.

What an opening proves: that the content is the one the asker committed to before anything was
asked, and that the octets its user and node signed, and each part the owners were sent, follow from
it. What it cannot: that a wrapped key, which is random, wraps the content key that follows from the
seed. An owner to whom it wraps another learns nothing, and answers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fairlead import merkle, signing
from fairlead.certificates import identity_from_certificate
from fairlead.envelope.blinded import padded_blind
from fairlead.envelope.chunk import check_chunk, chunk_count, chunk_size, root_of
from fairlead.envelope.elements import Place, blind_for, element_count
from fairlead.envelope.part import part_secret, remade_digest, unsent_digest
from fairlead.envelope.query import (
    Instrument,
    Scope,
    check_id,
    node_statement,
    partner_digest,
    term_leaf,
)
from fairlead.envelope.question import padded_question, part_info
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound
from fairlead.identifiers import NORM_VERSION
from fairlead.names import check_partner_id
from fairlead.opening.sought import Sought
from fairlead.partners import Directory
from fairlead.v1 import opening_pb2 as pb
from fairlead.v1 import query_pb2

MAX_TERMS = 1024
Check = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """One signed part made again: its name, and the reason why it is another, or nothing."""

    part: str
    fault: str


def read_asked(content: bytes) -> pb.AskedDetail:
    """:raises InvalidInput: it is no asker's detail, or has too many terms."""
    found = signing.parse_canonical(pb.AskedDetail, content)
    _check_terms(found.terms)
    for owner in found.owners:
        check_partner_id(owner.partner_id)
    return found


def read_owned(content: bytes) -> pb.OwnedDetail:
    """:raises InvalidInput: it is no owner's detail, or has too many terms."""
    found = signing.parse_canonical(pb.OwnedDetail, content)
    _check_terms(found.terms)
    return found


def _check_terms(terms: Sequence[query_pb2.QuestionTerm]) -> None:
    if len(terms) > MAX_TERMS or any(len(term.nonce) != merkle.HASH_SIZE for term in terms):
        raise InvalidInput("a detail's terms have the wrong shape", reasons=("DETAIL_SHAPE",))


def remake_asked(
    detail: pb.AskedDetail, item: Sought, directories: Sequence[Directory]
) -> list[Remade]:
    """Every signed part of an asker's query, made again.

    1. *mandate*: the octets that the leaf names.
    2. *header*: with the leaf's detail, the octets that the leaf names.
    3. *user*: the person the leaf names signed the mandate, with the certificate it names.
    4. *terms*: terms, nonces and scope give the chunk's root, which stands under the mandate's.
    5. *case*, and 6. *instrument*: what the mandate and the node commit to of them.
    7. *statement*: with that header, the octets that the asker's node signed.
    8. *partners*: the mandate names as asked those whom the detail names.
    9. *part/PARTNER*: each part follows from question, seed and salt; in blind mode the question
       holds the elements that follow from the terms and the blind seed.
    10. *unasked*: at every other partner's place stands what follows from the seed: no part that
       was sent was left out of the detail.

    :param directories: among them the one that the header was made under; without it 3, 7, 8, 9
        and 10, which need keys and places, cannot be checked, and are faults.
    """
    remaking = _Asked(detail, item, directories)
    return [Remade(part=part, fault=_fault(check)) for part, check in remaking.checks()]


def _fault(check: Check) -> str:
    """Why a check fails: the code of its first reason. Total: a detail may hold anything."""
    try:
        check()
    except FairleadError as error:
        return error.code
    except (ValueError, TypeError, OverflowError):  # sizes that no honest detail has
        return "DETAIL_SHAPE"
    return ""


class _Asked:
    """One asker's detail beside the leaf that it is of."""

    def __init__(
        self, detail: pb.AskedDetail, item: Sought, directories: Sequence[Directory]
    ) -> None:
        self._detail = detail
        self._item = item
        self._leaf = item.leaf
        self._directories = directories
        self._mandate = query_pb2.Mandate()
        self._header = query_pb2.QueryHeader()
        self._scope = _scope(detail)
        self._terms = [(term.scheme, term.value) for term in detail.terms]
        self._nonces = [term.nonce for term in detail.terms]

    def checks(self) -> Iterator[tuple[str, Check]]:
        """In their order: later ones rest on what earlier ones read."""
        yield "mandate", self._check_mandate
        yield "header", self._check_header
        yield "user", self._check_user
        yield "terms", self._check_terms
        yield "case", self._check_case
        if self._detail.HasField("instrument"):
            yield "instrument", self._check_instrument
        yield "statement", self._check_statement
        yield "partners", self._check_partners
        for owner in self._detail.owners:
            yield f"part/{owner.partner_id}", partial(self._check_part, owner)
        yield "unasked", self._check_unasked

    @property
    def _directory(self) -> Directory:
        return directory_of(self._header.directory_serial, self._directories)

    def _check_mandate(self) -> None:
        self._mandate = mandate_of(self._detail.mandate, self._item)

    def _check_user(self) -> None:
        check_user(self._detail.mandate, self._detail.user_certificate, self._item, self._directory)

    def _check_header(self) -> None:
        drafted = signing.parse_canonical(query_pb2.QueryHeader, self._detail.header)
        check_id(drafted.query_id)
        if drafted.detail_digest or drafted.query_id != self._leaf.query_id:
            raise Forged("a header is of another query", reasons=("HEADER_REMADE",))
        drafted.detail_digest = self._leaf.detail_digest
        self._header = drafted
        if signing.digest(signing.canonical(drafted)) != self._leaf.header_digest:
            raise Forged("a header is of another query", reasons=("HEADER_REMADE",))

    def _check_terms(self) -> None:
        header = self._header
        leaves = [
            term_leaf(scheme, value, nonce, self._scope)
            for (scheme, value), nonce in zip(self._terms, self._nonces, strict=True)
        ]
        if len(leaves) != header.term_count or root_of(leaves) != header.chunk_root:
            raise Forged("the terms are not those signed for", reasons=("TERMS_ROOT",))
        check_chunk(header, self._mandate)

    def _check_case(self) -> None:
        committed = signing.commit(self._detail.case_nonce, self._detail.case_id.encode())
        if committed != self._mandate.case_commitment:
            raise Forged("the case is another", reasons=("CASE_REMADE",))

    def _check_instrument(self) -> None:
        reference = self._detail.instrument_reference.encode()
        if signing.commit(self._detail.case_nonce, reference) != self._detail.instrument.commitment:
            raise Forged("the legal instrument is another", reasons=("INSTRUMENT_REMADE",))

    def _check_statement(self) -> None:
        if len(self._leaf.signatures) < 2:
            raise Forged("a leaf lacks its signatures", reasons=("SIGNATURE",))
        said = node_statement(
            signing.canonical(self._header),
            self._mandate,
            policy_serial=self._detail.policy_serial,
            instrument=_instrument(self._detail),
        )
        key = self._directory.partner(self._leaf.partner_id).signing_key
        signing.verify(key, "statement", said, self._leaf.signatures[1])

    def _check_partners(self) -> None:
        names = [owner.partner_id for owner in self._detail.owners]
        if not names or names != sorted({*names}):
            raise Forged("a detail names nobody whom it asked", reasons=("PARTNERS_REMADE",))
        for owner in self._detail.owners:
            check_salt(self._mandate, owner.partner_id, owner.salt, self._directory)

    def _check_part(self, owner: pb.AskedOwner) -> None:
        secret = part_secret(self._detail.part_seed, owner.partner_id)
        info = part_info(self._header.query_id, owner.partner_id)
        made = remade_digest(owner.wrapped_digest, self._question(owner), secret, info)
        place = self._directory.place(owner.partner_id)
        digests = self._header.part_digests
        if not place < len(digests) or made != digests[place]:
            raise Forged("a part is of another question", reasons=("PART_REMADE",))

    def _check_unasked(self) -> None:
        asked = {owner.partner_id for owner in self._detail.owners}
        found = zip(self._directory.listed, self._header.part_digests, strict=True)
        for partner, digest in found:
            if partner not in asked and digest != unsent_digest(self._detail.part_seed, partner):
                raise Forged("a partner was sent a part", reasons=("UNASKED_REMADE",))

    def _question(self, owner: pb.AskedOwner) -> bytes:
        query_id, name = self._header.query_id, owner.partner_id
        if self._mandate.mode != query_pb2.MODE_BLIND:
            return padded_question(
                query_id=query_id, owner=name, salt=owner.salt, terms=self._terms,
                nonces=self._nonces, scope=self._scope,
            )  # fmt: skip
        if self._detail.norm_version != NORM_VERSION:
            raise InvalidInput("another version writes terms otherwise", reasons=("NORM_VERSION",))
        places = [Place(scheme=p.scheme, audience=p.audience, epoch=p.epoch) for p in owner.places]
        counted = element_count(self._terms)
        if counted != self._header.element_count or {p.scheme for p in places} != {
            scheme for scheme, _ in self._terms
        }:
            raise Forged("the elements are of other terms", reasons=("ELEMENTS",))
        made = blind_for(
            name, seed=self._detail.blind_seed, chunk=self._header.chunk, terms=self._terms,
            places=places,
        )  # fmt: skip
        return padded_blind(
            query_id=query_id, owner=name, salt=owner.salt, blinded=[asked for asked, _ in made]
        )


def remake_owned(
    detail: pb.OwnedDetail, item: Sought, directories: Sequence[Directory]
) -> list[Remade]:
    """What an owner's detail says it was asked, beside what the user signed.

    *mandate* and *user* as for an asker; *terms*: terms, nonces and scope stand at their place
    under the mandate's root; *partners*: the mandate names this owner. Of a blind query there are
    no terms to check.
    """
    remaking = _Owned(detail, item, directories)
    return [Remade(part=part, fault=_fault(check)) for part, check in remaking.checks()]


class _Owned:
    """One owner's detail beside its leaf."""

    def __init__(
        self, detail: pb.OwnedDetail, item: Sought, directories: Sequence[Directory]
    ) -> None:
        self._detail = detail
        self._item = item
        self._directories = directories
        self._mandate = query_pb2.Mandate()

    def checks(self) -> Iterator[tuple[str, Check]]:
        """In their order."""
        yield "mandate", self._check_mandate
        yield "user", self._check_user
        if self._detail.terms or not self._detail.blinded:
            yield "terms", self._check_terms
            yield "partners", self._check_partners

    @property
    def _directory(self) -> Directory:
        return directory_of(self._detail.directory_serial, self._directories)

    def _check_mandate(self) -> None:
        self._mandate = mandate_of(self._detail.mandate, self._item)

    def _check_user(self) -> None:
        check_user(self._detail.mandate, self._detail.user_certificate, self._item, self._directory)

    def _check_terms(self) -> None:
        scope, mandate = _scope(self._detail), self._mandate
        leaves = [term_leaf(t.scheme, t.value, t.nonce, scope) for t in self._detail.terms]
        if not leaves or len(leaves) != self._item.leaf.term_count:
            raise Forged("the terms are not those signed for", reasons=("TERMS_ROOT",))
        if len(leaves) > chunk_size(mandate.mode):
            raise Forged("the terms are not those signed for", reasons=("TERMS_ROOT",))
        merkle.verify_inclusion(
            leaf=root_of(leaves),
            index=self._detail.chunk,
            size=chunk_count(mandate.term_count, mandate.mode),
            proof=self._detail.chunk_path,
            root=mandate.terms_root,
        )

    def _check_partners(self) -> None:
        maker = self._item.bound.maker
        check_salt(self._mandate, maker, self._detail.partner_salt, self._directory)


def directory_of(serial: int, directories: Sequence[Directory]) -> Directory:
    """:raises NotFound: DIRECTORY_MISMATCH: none of them has this serial."""
    for directory in directories:
        if directory.serial == serial:
            return directory
    raise NotFound("the directory of a query is not here", reasons=("DIRECTORY_MISMATCH",))


def mandate_of(data: bytes, item: Sought) -> query_pb2.Mandate:
    """The mandate that a leaf names.

    :raises Forged: MANDATE_REMADE: another one, or the leaf says otherwise.
    """
    mandate = signing.parse_canonical(query_pb2.Mandate, data)
    leaf = item.leaf
    said = (mandate.partner_id, mandate.purpose, mandate.legal_basis, mandate.mode)
    logged = (leaf.partner_id, leaf.purpose, leaf.legal_basis, leaf.mode)
    if signing.digest(data) != leaf.mandate_digest or said != logged:
        raise Forged("a mandate is another than the leaf's", reasons=("MANDATE_REMADE",))
    return mandate


def check_user(mandate: bytes, certificate: bytes, item: Sought, directory: Directory) -> None:
    """Whether the person whom a leaf names signed the mandate.

    :raises FairleadError: the certificate is another's, was not in force, or did not sign it.
    """
    named = query_pb2.Mandate.FromString(mandate).user_certificate_digest
    if signing.digest(certificate) != named or not item.leaf.signatures:
        raise Forged("a mandate names another certificate", reasons=("USER_CERTIFICATE",))
    user = identity_from_certificate(certificate, directory=directory, now=item.at)
    if user.spiffe_id != item.leaf.user:
        raise Forged("a leaf names another user", reasons=("USER",))
    signing.verify_as_user(user.public_key, "mandate", mandate, item.leaf.signatures[0])


def check_salt(mandate: query_pb2.Mandate, partner: str, salt: bytes, directory: Directory) -> None:
    """Whether a mandate names a partner as one to be asked.

    :raises Forged: NOT_WANTED. :raises NotFound: the directory does not list the partner.
    """
    place, digests = directory.place(partner), mandate.partner_digests
    named = partner_digest(salt, partner, mandate.mandate_id, asked=True)
    if not place < len(digests) or digests[place] != named:
        raise Forged("the user's mandate does not name this owner", reasons=("NOT_WANTED",))


def _scope(detail: pb.AskedDetail | pb.OwnedDetail) -> Scope:
    return Scope(
        since=detail.since,
        until=detail.until,
        events=tuple(detail.events),
        tlp=detail.tlp,
        pap=detail.pap,
    )


def _instrument(detail: pb.AskedDetail) -> Instrument | None:
    if not detail.HasField("instrument"):
        return None
    wire = detail.instrument
    return Instrument(
        kind=wire.kind,
        authority=wire.authority,
        valid_until=wire.valid_until,
        commitment=wire.commitment,
    )
