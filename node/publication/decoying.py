"""How decoys come to look like records: what an entry says of one, and how one is invented."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import identifiers, signing
from fairlead.decoys import DecoyList, seal_decoys
from fairlead.envelope.manifest import Manifest
from fairlead.errors import Conflict, FairleadError, InvalidInput, NotFound
from fairlead.partners import Partner
from node.decoys import Decoy, DecoyBook, admissible, check_scheme
from node.exposure.document import moment
from node.index import IndexedRecord
from node.publication.payload import References
from node.publication.target import target_name
from node.publication.terms import HeldTerm, TermReader

LOOKED_AT = 5_000
"""Terms that are looked at, at most, for one that a decoy may resemble."""
TRIES = 400
"""Drawings of one record's digits: every tenth container has a right check digit, and every 97th
identifier of the strictest schemes."""
MISSES = 50
"""Records in a row beside which nothing could be invented."""
MAX_GENERATED = 200


def decoy_terms(reader: TermReader, decoys: Sequence[Decoy], *, since: int) -> Iterator[HeldTerm]:
    """The decoys as terms that are held, in the order of their tokens.

    One that has become the identifier of a record is none any more: the record speaks.

    :param since: when the epoch begins (unix seconds).
    """
    named = sorted((reader.token(d.scheme, d.value), d.id, d) for d in decoys)
    for token, _, decoy in named:
        if not reader.holds(token):
            yield HeldTerm(token=token, records=_resembled(reader, decoy, since))


def _resembled(reader: TermReader, decoy: Decoy, since: int) -> Iterator[IndexedRecord]:
    """Records as whose a decoy may look, each with the decoy's term and reference; the first that
    may be published in a class is what it looks like there.

    They are found from a place in the order of tokens that the decoy's secret names for the epoch.
    Those from before the epoch come first: records that come or change within it then change
    nothing, and a decoy changes only when what it resembles goes.
    """
    place = signing.commit(decoy.secret, since.to_bytes(8, "big"))[:16]
    before = _records(reader, place, decoy.scheme, since)
    for record in chain(before, _records(reader, place, decoy.scheme, None)):
        terms = ((decoy.scheme, decoy.value),)
        yield replace(record, ref=decoy.record_ref, terms=terms, doubtful=())


def _records(
    reader: TermReader, place: bytes, scheme: str, before: int | None
) -> Iterator[IndexedRecord]:
    for term in islice(reader.held_around(place), LOOKED_AT):
        for record in term.records:
            if not any(name == scheme for name, _ in record.terms):
                break
            if before is None or record.occurred_at < before:
                yield record
                break


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoying:
    """What the owner may do with decoys, and what goes to readers.

    :param index: the index's file; raises where there is none. :param keys: its two keys.
    :param owner: the own partner as the directory has it.
    :param sign: the private half of a signing key, by its public one.
    """

    book: DecoyBook
    index: Callable[[], Path]
    keys: tuple[bytes, bytes]
    owner: Callable[[], Partner]
    sign: Callable[[bytes], Ed25519PrivateKey]

    def decoys_for(self, manifest: Manifest, reader: Partner) -> bytes:
        """The references of a manifest's decoys, sealed to one reader's oversight key, at one size.

        Those removed lately are among them: a snapshot that holds them may still be asked under.
        With no decoy it is as long, so that nobody can tell who has any.
        """
        references = References(self.keys[0])
        name = target_name(manifest.audience.name, manifest.epoch, manifest.scheme)
        refs = frozenset(
            references.of(decoy.record_ref, token=self.book.token(decoy), target=name)
            for decoy in self.book.findable()
            if decoy.scheme == manifest.scheme
        )
        owner = self.owner()
        return seal_decoys(
            DecoyList(refs=refs, until=manifest.answers_until),
            owner=owner.partner_id,
            manifest=manifest.digest,
            reader=reader,
            key=self.sign(owner.signing_key),
        )

    async def add(self, scheme: str, value: str) -> list[Decoy]:
        """Take one identifier as a decoy.

        :raises InvalidInput: misspelt, or ``DECOY_SCHEME``. :raises Conflict: ``DECOY_HELD``.
        """
        found = admissible(scheme, value)
        with self._reader() as reader:
            if reader.holds(reader.token(scheme, found)):
                raise Conflict(
                    "a record holds this identifier, so it cannot be a decoy",
                    reasons=("DECOY_HELD",),
                    remedy="fairlead-node decoys add --generate 1 --scheme container --config FILE",
                )
        return await self.book.add(scheme, [found], generated=False)

    async def generate(self, scheme: str, count: int) -> list[Decoy]:
        """Invent some and take them.

        :raises InvalidInput: ``DECOY_COUNT`` or ``DECOY_SCHEME``.
        :raises NotFound: ``DECOY_PATTERN``.
        """
        if not 1 <= count <= MAX_GENERATED:
            raise InvalidInput(
                "between 1 and 200 decoys are generated at a time", reasons=("DECOY_COUNT",)
            )
        check_scheme(scheme)
        taken = {d.value for d in self.book.findable() if d.scheme == scheme}
        with self._reader() as reader:
            values = invented(reader, scheme, count, taken)
        return await self.book.add(scheme, values, generated=True)

    def _reader(self) -> TermReader:
        token_key, field_key = self.keys
        return TermReader(self.index(), token_key=token_key, field_key=field_key)


def row_of(decoy: Decoy) -> dict[str, str | None]:
    """A decoy as plain JSON, for the node's administrator."""
    return {
        "decoy": decoy.id.hex(),
        "scheme": decoy.scheme,
        "value": decoy.value,
        "origin": "generated" if decoy.generated else "chosen",
        "added_at": moment(decoy.added_at),
        "removed_at": moment(decoy.removed_at) if decoy.removed_at else None,
    }


def invented(reader: TermReader, scheme: str, count: int, taken: Collection[str]) -> list[str]:
    """Identifiers that no record has, with right check digits, that look like those of records.

    Each is one of a record whose digits in the second half are drawn anew until the scheme itself
    accepts them and the index holds no such term: so its series, its owner's prefix or its country
    is one that this owner does have to do with.

    :raises NotFound: ``DECOY_PATTERN``: there is nothing to resemble, or no room beside it.
    """
    found: list[str] = []
    chosen, missed = {*taken}, 0
    while len(found) < count and missed < MISSES:
        pattern = _pattern(reader, scheme)
        value = _drawn(pattern, scheme) if pattern else None
        if value and value not in chosen and not reader.holds(reader.token(scheme, value)):
            chosen.add(value)
            found.append(value)
            missed = 0
        else:
            missed += 1
    if len(found) == count:
        return found
    raise NotFound(
        "too few records have such identifiers, so none can be invented that resemble them",
        reasons=("DECOY_PATTERN",),
        remedy="fairlead-node decoys add container VALUE --config FILE",
    )


def _pattern(reader: TermReader, scheme: str) -> str | None:
    """An identifier of a record, at random."""
    for term in islice(reader.held_around(secrets.token_bytes(16)), LOOKED_AT):
        for record in islice(term.records, 1):
            for name, value in record.terms:
                if name == scheme:
                    return value
    return None


def _drawn(pattern: str, scheme: str) -> str | None:
    kept = len(pattern) // 2
    for _ in range(TRIES):
        tail = (secrets.choice("0123456789") if c.isdecimal() else c for c in pattern[kept:])
        try:
            value = admissible(scheme, pattern[:kept] + "".join(tail))
        except FairleadError:
            continue
        if value != pattern and identifiers.normalise(scheme, value).value == value:
            return value
    return None
