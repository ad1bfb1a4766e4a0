"""Refreshing an index while others read it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fairlead.errors import FairleadError, SourceUnusable
from node.index import applying, plan
from node.index.applying import Applied, Applying
from node.index.codec import Codec, index_changed
from node.index.reading import Pace, PartReader, Readable, SourceFailed, parts_of
from node.index.retention import SWEEP_S, empty_part, sweep_part
from node.index.source_state import SourceState
from node.index.stage import Reading, Stage, discard
from node.index.tables import Tables, read_document, unwritable
from node.sources.incident import Incident, incident_of
from node.sources.source import Part

CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a refresh is: in ``phase`` (``read``, ``apply``), ``done`` of ``total`` (0: nobody
    knows), ``per_second``. Reading counts records, applying counts steps."""

    source: str
    phase: str
    done: int
    total: int
    per_second: float

    @property
    def left_s(self) -> float | None:
        """Seconds left at this rate, None when nobody knows."""
        known = self.total >= self.done and self.per_second > 0
        return (self.total - self.done) / self.per_second if known and self.total else None


Watch = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Nobody is watching."""


class IndexWriter:
    """The one writer of an index file, until :meth:`close`."""

    def __init__(self, tables: Tables, stage_path: Path, watch: Watch) -> None:
        self._tables = tables
        self._stage_path = stage_path
        self._watch = watch

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        token_key: bytes,
        field_key: bytes,
        clock: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
        watch: Watch = silent,
    ) -> IndexWriter:
        """Open the file for refreshing, create it if need be, finish what a crash left half.

        :raises Misconfigured: ``INDEX_KEY``, ``INDEX_IN_USE``, ``INDEX_UNWRITABLE``.
        :raises SourceUnusable: ``INDEX_CHANGED``, ``NORM_VERSION``.
        """
        codec = Codec(token_key, field_key)
        tables = Tables.open(path, codec, clock=clock, random=random)
        writer = cls(tables, path.with_name(path.name + ".stage"), watch)
        try:
            writer._recover()
        except BaseException:
            tables.close()
            raise
        return writer

    @property
    def pending(self) -> str:
        """The source whose reading an earlier process left incomplete, empty when none did."""
        codec, random = self._tables.codec, self._tables.random
        stage = Stage.resume(self._stage_path, codec, random=random)
        if stage is None:
            return ""
        stage.close()
        return stage.reading.source

    @property
    def records(self) -> int:
        """Records held."""
        return self._tables.description.records.count

    @property
    def entries(self) -> int:
        """(Token, record) pairs held."""
        return self._tables.description.entries.count

    @property
    def root(self) -> bytes:
        """See :meth:`node.index.description.Description.root`."""
        return self._tables.description.root(self._tables.codec)

    def states(self) -> dict[str, SourceState]:
        """Every source the index knows of."""
        return read_states(self._tables.connection, self._tables.codec)

    def state(self, name: str) -> SourceState:
        """One source; an unknown one has no parts."""
        document = self._tables.document(f"source/{name}")
        return SourceState.from_document(document) if document else SourceState(name=name)

    # ── Refreshing ───────────────────────────────────────────────────────────────────────────

    def refresh(
        self, source: Readable, *, mapping: str, accept_changes: bool = False
    ) -> SourceState:
        """Bring one source up to date.

        1. Parts whose stamp is the same are left alone; the others are read into the stage.
        2. A source with too few of the records it had is held back, see :func:`plan.lost_many`.
        3. The reading is applied, see :mod:`node.index.applying`.

        :param mapping: a digest of how the source is mapped.
        :param accept_changes: the source may have lost as many records as it has, and may have
            other types of columns.
        :returns: its state; ``incident`` is ``ROWS_SHRANK`` when it was held back.
        :raises SourceUnusable: it is down, or not what its mapping says. What the index holds
            stays, and so does what was read before the last mark.
        :raises Misconfigured: ``INDEX_UNWRITABLE``.
        """
        now = self._tables.clock()
        state = self.state(source.name)
        try:
            with _writing():
                return self._refresh(source, state, mapping, accept_changes)
        except SourceFailed as failure:
            with _writing():
                self.fail(source.name, failure.error, now)
            raise failure.error from None

    def fail(self, name: str, error: FairleadError, now: float) -> None:
        """Note what stands in the way of a source; its records stay."""
        known = incident_of(error) if isinstance(error, SourceUnusable) else None
        state = self.state(name)
        state.failed(known or error.code, now)
        self._save(state)

    def _refresh(
        self, source: Readable, state: SourceState, mapping: str, accept_changes: bool
    ) -> SourceState:
        now = self._tables.clock()
        parts = parts_of(source)
        held = plan.digest(parts, mapping)
        if state.held and state.held == held and not accept_changes:
            return state
        if plan.changed_schema(state, parts, mapping) and not accept_changes:
            raise SourceFailed(_other_schema())
        # 1
        stage = self._resume(state, parts, mapping) or self._begin(state, parts, mapping, now)
        if stage is None:
            state.held, state.incident, state.good_at = "", "", now
            self._save(state)
            return state
        try:
            self._read(source, stage, {part.name: part for part in parts})
        except BaseException:
            stage.close()
            raise
        # 2
        if not accept_changes and plan.lost_many(state, stage.reading):
            stage.discard()
            state.failed(Incident.ROWS_SHRANK, now)
            state.held = held
            self._save(state)
            return state
        # 3
        self._apply(stage)
        return self.state(source.name)

    def _read(self, source: Readable, stage: Stage, parts: dict[str, Part]) -> None:
        total = sum(reading.state.records for reading in stage.reading.parts if reading.whole)
        pace = Pace()

        def tell(done: int) -> None:
            self._watch(Progress(source.name, "read", done, total, pace.of(done)))

        reader = PartReader(source, self._tables, stage, tell)
        for reading in stage.reading.parts:
            if not reading.complete:
                reader.read(parts[reading.name], reading)

    def _begin(
        self, state: SourceState, parts: Sequence[Part], mapping: str, now: float
    ) -> Stage | None:
        """A stage for what has to be read, None when nothing has."""
        jobs = plan.jobs(state, parts, mapping=mapping, now=now, number=self._next_number())
        if not jobs:
            return None
        reading = Reading(
            number=os.urandom(16).hex(), source=state.name, mapping=mapping, began=now, parts=jobs
        )
        codec, random = self._tables.codec, self._tables.random
        return Stage.begin(self._stage_path, codec, reading, random=random)

    def _resume(self, state: SourceState, parts: Sequence[Part], mapping: str) -> Stage | None:
        """What an earlier refresh of this source read, when it is still of use."""
        codec, random = self._tables.codec, self._tables.random
        stage = Stage.resume(self._stage_path, codec, random=random)
        if stage is not None and not plan.usable(stage.reading, state.name, parts, mapping):
            stage.discard()
            return None
        return stage

    def _recover(self) -> None:
        applied = applying.begun(self._tables)
        if applied is None:
            return
        codec, random = self._tables.codec, self._tables.random
        stage = Stage.resume(self._stage_path, codec, random=random)
        if stage is None or stage.reading.number != applied.reading:
            raise index_changed()
        with _writing():
            self._apply(stage)

    def _apply(self, stage: Stage) -> None:
        reading = stage.reading

        def finish(applied: Applied) -> None:
            state = self.state(reading.source)
            for job in reading.parts:
                held = state.parts.pop(job.name, None)
                before = held.records if held else 0
                job.state.records = applied.records(before, job.state.number)
                if not job.vanished:
                    state.parts[job.name] = job.state
            state.mapping, state.good_at = reading.mapping, reading.began
            state.incident = state.held = ""
            highest = max((job.state.number for job in reading.parts), default=0)
            self._put(state, next_number=highest + 1)

        pace = Pace()

        def tell(done: int, total: int) -> None:
            self._watch(Progress(reading.source, "apply", done, total, pace.of(done)))

        Applying(self._tables, stage).run(finish, tell)
        self._tables.fold()
        stage.discard()

    # ── Retention, and sources that are no more ──────────────────────────────────────────────

    def sweep(self) -> int:
        """Delete records whose retention is over; returns how many.

        A part is searched when its first record expires, and at most every :data:`SWEEP_S`.
        """
        now, gone = self._tables.clock(), 0
        with _writing():
            for state in self.states().values():
                for part in state.parts.values():
                    if part.first_expiry <= now and part.swept_at + SWEEP_S <= now:
                        gone += sweep_part(self._tables, part, now, partial(self._put, state))
        return gone

    def drop(self, name: str) -> None:
        """Forget a source and everything the index holds of it."""
        with _writing():
            if self.pending == name:
                self.abandon()
            state = self.state(name)
            for part in state.parts.values():
                part.stamp = part.cursor = ""
                empty_part(self._tables, part, partial(self._put, state))
            with self._tables.transaction():
                self._tables.put_document(f"source/{name}", None)
                self._catalogue(remove=name)

    def settle(self, names: Collection[str]) -> None:
        """End a refresh of these sources, which are all there are: the index is as old as the
        one among them that was good longest ago."""
        with _writing():
            for name in self.states():
                if name not in names:
                    self.drop(name)
            good = [s.good_at for s in self.states().values() if s.good_at]
            with self._tables.transaction() as transaction:
                transaction.fresh_at = min(good, default=self._tables.clock())

    def close(self) -> None:
        """Fold the log into the file and close it; a reading that is not complete stays."""
        try:
            with _writing():
                self._tables.fold()
        finally:
            self._tables.close()

    def abandon(self) -> None:
        """Throw away a reading that nobody can continue."""
        discard(self._stage_path)

    # ── Documents ────────────────────────────────────────────────────────────────────────────

    def _save(self, state: SourceState) -> None:
        with self._tables.transaction():
            self._put(state)

    def _put(self, state: SourceState, next_number: int = 0) -> None:
        self._tables.put_document(f"source/{state.name}", state.to_document())
        self._catalogue(add=state.name, next_number=next_number)

    def _next_number(self) -> int:
        found: int = (self._tables.document(CATALOGUE) or {}).get("next", 1)
        return found

    def _catalogue(self, *, add: str = "", remove: str = "", next_number: int = 0) -> None:
        old = self._tables.document(CATALOGUE) or {"names": [], "next": 1}
        names = sorted(({*old["names"], add} if add else set(old["names"])) - {remove})
        new = {"names": names, "next": max(old["next"], next_number)}
        if new != old:
            self._tables.put_document(CATALOGUE, new)


def read_states(connection: sqlite3.Connection, codec: Codec) -> dict[str, SourceState]:
    """Every source an index knows of.

    :raises SourceUnusable: ``INDEX_CHANGED``.
    """
    names = (read_document(connection, codec, CATALOGUE) or {"names": []})["names"]
    found = {name: read_document(connection, codec, f"source/{name}") for name in names}
    return {name: SourceState.from_document(doc) for name, doc in found.items() if doc}


def _other_schema() -> SourceUnusable:
    return SourceUnusable(
        "a source's columns are not those of the last time; the index keeps what it had",
        reasons=(Incident.SCHEMA_CHANGED,),
        remedy="correct the mapping, or if it is still right: "
        "fairlead-node index --accept-shrunk SOURCE --config FILE",
    )


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError):
        raise unwritable() from None
