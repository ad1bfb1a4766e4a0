"""Building snapshots: every term of the index once, every entry that is new or has changed.

A term of most schemes has one entry, under its own token. Persons have several match keys, some of
which other persons share: their entries stand under the keys' tokens, and :mod:`.claims` brings
together who claims one.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path

from fairlead.blinding import encode_terms
from fairlead.identifiers import NORM_VERSION
from fairlead.identifiers.matching import held_keys, keys_per_term
from fairlead.snapshot import padded_count, pages_root_of, write_snapshot
from node.index import IndexedRecord
from node.index.codec import index_changed
from node.publication.claims import Claim, Claims, where_claimed
from node.publication.decision import Telling
from node.publication.entries import EntryFile
from node.publication.evaluating import Work, Workers
from node.publication.folder import SUFFIX
from node.publication.kind import kind_of
from node.publication.payload import References, payload_of
from node.publication.target import Target
from node.publication.terms import HeldTerm, TermReader

ENTRIES_FILE = "entries.sqlite"
PAGE = 2_048
"""Terms, or keys, that are looked at together; as many at most are computed in one batch."""
_PRINT = 16

Report = Callable[[str, int, int], None]
"""Called now and then with the phase (``evaluate``, ``match``, ``write``), what is done, and of how
much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A snapshot as written: its terms, its entries with fillers, its SHA-256, and the root over
    its pages."""

    terms: int
    entries: int
    digest: bytes
    pages_root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """What speaks for a term in one target: its newest record that may be published there."""

    value: str
    record: IndexedRecord
    said: Telling


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """An entry that should be there."""

    value: str
    payload: bytes
    mark: bytes


@dataclass(slots=True)
class Build:
    """One build of some targets; :meth:`run` it once.

    ``until`` is when the last of them stops answering (unix seconds), and ``folder`` the epoch's.
    """

    reader: TermReader
    targets: Sequence[Target]
    folder: Path
    until: int
    token_key: bytes
    report: Report
    decoys: Iterable[HeldTerm] = ()
    """Terms that are none of the index's, in the order of their tokens."""
    workers: int = 0
    computed: int = 0
    _references: References = field(init=False)
    _numbers: tuple[int, ...] = ()
    _of_scheme: dict[str, list[int]] = field(default_factory=dict)
    _names: tuple[bytes, ...] = ()

    def run(self) -> list[Built]:
        """Bring the entries up to date with the index, then write each target's snapshot.

        1. A term's newest record that may be published speaks for it. 2. Of terms that share a
        match key the one whose record is the newest has its entry. 3. An entry of the same
        payload is kept, another computed, and what no term stands behind goes. 4. Fillers bring
        each snapshot to a rung, and it is written sorted.

        :raises SourceUnusable: the index is damaged. :raises Misconfigured: no room.
        """
        for place, target in enumerate(self.targets):
            self._of_scheme.setdefault(target.scheme, []).append(place)
        self._names = tuple(target.name for target in self.targets)
        self._references = References(self.token_key)
        with EntryFile(self.folder / ENTRIES_FILE) as file, Workers(self.workers) as workers:
            self._numbers = file.open([target.keyed_name for target in self.targets])
            self._update(file, workers)
            return [self._write(file, place) for place in range(len(self.targets))]

    def _update(self, file: EntryFile, workers: Workers) -> None:
        with Claims() as claims:
            ends = self._alone(file, workers, claims)
            ends.update(self._shared(file, workers, claims))
        for work, computed in workers.rest():
            file.keep(self._numbers[work.place], work, computed)
        for place, last in ends.items():
            file.drop_after(self._numbers[place], last)

    def _alone(self, file: EntryFile, workers: Workers, claims: Claims) -> dict[int, bytes]:
        """Terms that are their own key are brought up to date, the others claim their keys; the
        last token of each target of the former."""
        held = self.reader.held(lambda done, total: self.report("evaluate", done, total))
        terms = heapq.merge(held, self.decoys, key=attrgetter("token"))
        places = [p for p, target in enumerate(self.targets) if not _shares(target)]
        after = b""
        while True:
            wanted: dict[int, dict[bytes, _Wanted]] = {place: {} for place in places}
            claimed: list[Claim] = []
            last = b""
            for term in islice(terms, PAGE):
                last = term.token
                for place, spoken in self._speak(term).items():
                    if place in wanted:
                        entry = self._entry(place, term.token, spoken.value, spoken)
                        wanted[place][term.token] = entry
                    else:
                        claimed += self._claims(place, term.token, spoken)
            if not last:
                return dict.fromkeys(places, after)
            claims.add(claimed)
            for place, entries in wanted.items():
                marks = {token: entry.mark for token, entry in entries.items()}
                self._page(file, workers, place, marks, entries.__getitem__, after, last)
            after = last

    def _shared(self, file: EntryFile, workers: Workers, claims: Claims) -> dict[int, bytes]:
        """Keys that terms may share, brought up to date; the last token of each target."""
        ends = {}
        matched = partial(self.report, "match")
        for place in (p for p, target in enumerate(self.targets) if _shares(target)):
            won, after = claims.won(place, self.reader.unmask, matched), b""
            while page := {claim.token: claim for claim in islice(won, PAGE)}:
                last = max(page)
                marks = {token: claim.print for token, claim in page.items()}

                def entry_of(token: bytes, page: Mapping[bytes, Claim] = page) -> _Wanted:
                    return self._claimed(page[token])

                self._page(file, workers, place, marks, entry_of, after, last)
                after = last
            ends[place] = after
        return ends

    def _speak(self, term: HeldTerm) -> dict[int, _Spoken]:
        """Target → what the newest record that may be published there says."""
        found: dict[int, _Spoken] = {}
        for record in term.records:
            scheme, value = self._named(term.token, record.terms)
            left = [p for p in self._of_scheme.get(scheme, ()) if p not in found]
            if not left:
                break
            kind = kind_of(record, self.until)
            if kind is None:
                continue
            for place in left:
                said = self.targets[place].told.get(kind)
                if said is not None:
                    found[place] = _Spoken(value=value, record=record, said=said)
        return found

    def _named(self, token: bytes, terms: Sequence[tuple[str, str]]) -> tuple[str, str]:
        for scheme, value in terms:
            if self.reader.token(scheme, value) == token:
                return scheme, value
        raise index_changed()

    def _keys(self, place: int, spoken: _Spoken) -> Iterator[tuple[bytes, str]]:
        """Tokens and values of the keys of a term."""
        scheme = self.targets[place].scheme
        for key in held_keys(scheme, spoken.value):
            yield self.reader.token(scheme, key.value), key.value

    def _claims(self, place: int, term: bytes, spoken: _Spoken) -> Iterator[Claim]:
        for token, value in self._keys(place, spoken):
            where = where_claimed(place, token, term)
            yield Claim(
                place=place,
                token=token,
                term=term,
                masked=self.reader.mask(where, spoken.record.occurred_at),
                record=spoken.record.ref,
                print=self._entry(place, token, value, spoken).mark,
            )

    def _claimed(self, claim: Claim) -> _Wanted:
        """The entry that a claim is to: the term is read again, its name was written nowhere."""
        spoken = self._speak(self.reader.term(claim.term)).get(claim.place)
        if spoken is not None:
            for token, value in self._keys(claim.place, spoken):
                if token == claim.token:
                    return self._entry(claim.place, token, value, spoken)
        raise index_changed()

    def _entry(self, place: int, token: bytes, value: str, spoken: _Spoken) -> _Wanted:
        """The entry of one key (``token``, ``value``)."""
        ref = self._references.of(spoken.record.ref, token=token, target=self._names[place])
        payload = payload_of(spoken.record, spoken.said, self.targets[place], ref)
        return _Wanted(value=value, payload=payload, mark=self._print(payload))

    def _print(self, payload: bytes) -> bytes:
        """What tells this payload from another, and to nobody else what it says."""
        return hashlib.blake2b(
            payload, digest_size=_PRINT, key=self.token_key, person=b"blind print"
        ).digest()

    def _page(
        self, file: EntryFile, workers: Workers, place: int, marks: Mapping[bytes, bytes],
        entry_of: Callable[[bytes], _Wanted], after: bytes, last: bytes,
    ) -> None:  # fmt: skip
        """Entries behind one token and up to another: ``marks`` are those that should be there."""
        number, target = self._numbers[place], self.targets[place]
        held = file.prints(number, after, last)
        file.drop(number, held.keys() - marks.keys())
        fresh = {t: entry_of(t) for t, mark in marks.items() if held.get(t) != mark}
        if not fresh:
            return
        values = [entry.value for entry in fresh.values()]
        work = Work(
            place=place,
            scalar=target.scalar,
            audience=target.audience,
            epoch=target.epoch,
            tokens=tuple(fresh),
            inputs=tuple(encode_terms(NORM_VERSION, target.scheme, values)),
            payloads=tuple(entry.payload for entry in fresh.values()),
            prints=tuple(entry.mark for entry in fresh.values()),
        )
        self.computed += len(fresh)
        for finished, entries in workers.put(work):
            file.keep(self._numbers[finished.place], finished, entries)

    def _write(self, file: EntryFile, place: int) -> Built:
        target, number = self.targets[place], self._numbers[place]
        self.report("write", place, len(self.targets))
        terms = file.count(number)
        entries = heapq.merge(file.sorted(number), target.fillers(terms))
        unfinished = self.folder / f"{target.name.hex()}.unfinished"
        digest = write_snapshot(unfinished, entries)
        root = pages_root_of(unfinished)
        unfinished.replace(self.folder / f"{digest.hex()}{SUFFIX}")
        return Built(terms=terms, entries=padded_count(terms), digest=digest, pages_root=root)


def _shares(target: Target) -> bool:
    """Whether terms of the target's scheme have keys that others may have as well."""
    return keys_per_term(target.scheme) > 1
