"""Building snapshots: every term of the index once, every entry that is new or has changed."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path

from fairlead.blinding import encode_terms
from fairlead.identifiers import NORM_VERSION
from fairlead.snapshot import padded_count, write_snapshot
from node.index.codec import index_changed
from node.publication.entries import EntryFile
from node.publication.evaluating import Work, Workers
from node.publication.folder import SUFFIX
from node.publication.kind import kind_of
from node.publication.payload import References, payload_of
from node.publication.target import Target
from node.publication.terms import HeldTerm, TermReader

ENTRIES_FILE = "entries.sqlite"
PAGE = 2_048
"""Terms that are looked at together; as many at most are computed in one batch."""
_PRINT = 16

Report = Callable[[str, int, int], None]
"""Called now and then with the phase (``evaluate``, ``write``), what is done, and of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A snapshot as written: its terms, its entries with fillers, its SHA-256."""

    terms: int
    entries: int
    digest: bytes


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
    _numbers: tuple[int, ...] = ()
    _of_scheme: dict[str, list[int]] = field(default_factory=dict)
    _names: tuple[bytes, ...] = ()

    def run(self) -> list[Built]:
        """Bring the entries up to date with the index, then write each target's snapshot.

        1. A term's newest record that may be published speaks for it. 2. An entry of the same
        payload is kept, another computed, and what no term stands behind goes. 3. Fillers bring
        each snapshot to a rung, and it is written sorted.

        :raises SourceUnusable: the index is damaged. :raises Misconfigured: no room.
        """
        for place, target in enumerate(self.targets):
            self._of_scheme.setdefault(target.scheme, []).append(place)
        self._names = tuple(target.name for target in self.targets)
        with EntryFile(self.folder / ENTRIES_FILE) as file, Workers(self.workers) as workers:
            self._numbers = file.open([target.keyed_name for target in self.targets])
            self._update(file, workers)
            return [self._write(file, place) for place in range(len(self.targets))]

    def _update(self, file: EntryFile, workers: Workers) -> None:
        held = self.reader.held(lambda done, total: self.report("evaluate", done, total))
        terms = heapq.merge(held, self.decoys, key=attrgetter("token"))
        references, after = References(self.token_key), b""
        while True:
            wanted: list[dict[bytes, _Wanted]] = [{} for _ in self.targets]
            last = b""
            for term in islice(terms, PAGE):
                last = term.token
                for place, entry in self._speak(term, references).items():
                    wanted[place][term.token] = entry
            if not last:
                break
            for place, entries in enumerate(wanted):
                self._page(file, workers, place, entries, after, last)
            after = last
        for work, computed in workers.rest():
            file.keep(self._numbers[work.place], work, computed)
        for number in self._numbers:
            file.drop_after(number, after)

    def _speak(self, term: HeldTerm, references: References) -> dict[int, _Wanted]:
        """Target → what the newest record that may be published there says."""
        found: dict[int, _Wanted] = {}
        for record in term.records:
            scheme, value = self._named(term.token, record.terms)
            left = [p for p in self._of_scheme.get(scheme, ()) if p not in found]
            if not left:
                break
            kind = kind_of(record, self.until)
            if kind is None:
                continue
            for place in left:
                target = self.targets[place]
                said = target.told.get(kind)
                if said is None:
                    continue
                ref = references.of(record.ref, token=term.token, target=self._names[place])
                payload = payload_of(record, said, target, ref)
                mark = self._print(payload)
                found[place] = _Wanted(value=value, payload=payload, mark=mark)
        return found

    def _named(self, token: bytes, terms: Sequence[tuple[str, str]]) -> tuple[str, str]:
        for scheme, value in terms:
            if self.reader.token(scheme, value) == token:
                return scheme, value
        raise index_changed()

    def _print(self, payload: bytes) -> bytes:
        """What tells this payload from another, and to nobody else what it says."""
        return hashlib.blake2b(
            payload, digest_size=_PRINT, key=self.token_key, person=b"blind print"
        ).digest()

    def _page(
        self, file: EntryFile, workers: Workers, place: int, wanted: Mapping[bytes, _Wanted],
        after: bytes, last: bytes,
    ) -> None:  # fmt: skip
        number, target = self._numbers[place], self.targets[place]
        held = file.prints(number, after, last)
        file.drop(number, held.keys() - wanted.keys())
        fresh = [token for token, entry in wanted.items() if held.get(token) != entry.mark]
        if not fresh:
            return
        values = [wanted[token].value for token in fresh]
        work = Work(
            place=place,
            scalar=target.scalar,
            audience=target.audience,
            epoch=target.epoch,
            tokens=tuple(fresh),
            inputs=tuple(encode_terms(NORM_VERSION, target.scheme, values)),
            payloads=tuple(wanted[token].payload for token in fresh),
            prints=tuple(wanted[token].mark for token in fresh),
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
        unfinished.replace(self.folder / f"{digest.hex()}{SUFFIX}")
        return Built(terms=terms, entries=padded_count(terms), digest=digest)
