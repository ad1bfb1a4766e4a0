"""Reading one source into the stage, from the last mark that is durable."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from fairlead.errors import FairleadError, SourceUnusable
from node.index.codec import NONCE_SIZE, Codec
from node.index.record import write_record
from node.index.stage import PartReading, Stage
from node.index.tables import EntryRow, RecordRow, Tables
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import Mark, Part

PROGRESS_ROWS = 20_000


class Readable(Protocol):
    """What a refresh needs of a source, see :class:`node.sources.source.Source`."""

    name: str

    def parts(self) -> tuple[Part, ...]:
        """What there is to read."""
        ...

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:
        """The records of one part."""
        ...

    def report(self) -> ImportReport:
        """What became of the rows."""
        ...


class SourceFailed(Exception):
    """The source, and not the index, is what failed; ``error`` says how."""

    def __init__(self, error: FairleadError) -> None:
        super().__init__()
        self.error = error


def parts_of(source: Readable) -> tuple[Part, ...]:
    """Its parts. :raises SourceFailed: it is down, or not what its mapping says."""
    try:
        return source.parts()
    except SourceUnusable as error:
        raise SourceFailed(error) from None


def _guarded(
    records: Iterable[SourceRecord | Mark],
) -> Iterator[SourceRecord | Mark]:
    try:
        yield from records
    except SourceUnusable as error:
        raise SourceFailed(error) from None


class PartReader:
    """Reads parts of one source into a stage."""

    def __init__(
        self,
        source: Readable,
        tables: Tables,
        stage: Stage,
        progress: Callable[[int], None],
    ) -> None:
        self._source = source
        self._tables = tables
        self._stage = stage
        self._progress = progress
        self._counted = 0

    def read(self, part: Part, reading: PartReading) -> None:
        """Read the part from where its reading stands to its end, and commit.

        :raises SourceFailed: what was read before the last mark is kept.
        """
        state, stage, codec = reading.state, self._stage, self._tables.codec
        known = state.records > 0
        before = _Counts(self._source.report())
        base = (state.rows, Counter(state.excluded), state.checksum_failed)

        def count() -> None:
            now = _Counts(self._source.report())
            state.rows = base[0] + now.rows - before.rows
            state.excluded = dict(base[1] + (now.excluded - before.excluded))
            state.checksum_failed = base[2] + now.checksum_failed - before.checksum_failed

        for item in _guarded(self._source.read(part, after=state.cursor)):
            if isinstance(item, Mark):
                state.cursor = item.cursor
                if stage.due:
                    count()
                    stage.commit()
                continue
            row, entries = seal_record(
                codec, item, state.number, self._tables.random, self._held if known else None
            )
            stage.add(row, entries)
            reading.staged += 1
            state.first_expiry = min(state.first_expiry, item.expires_at)
            self._counted += 1
            if not self._counted % PROGRESS_ROWS:
                self._progress(self._counted)
        count()
        reading.complete = True
        stage.commit()

    def _held(self, part: int, key: bytes) -> bool:
        row = self._tables.connection.execute(
            "SELECT 1 FROM record WHERE part = ? AND key = ?", (part, key)
        ).fetchone()
        return row is not None


def seal_record(
    codec: Codec,
    record: SourceRecord,
    part: int,
    random: Callable[[int], bytes],
    held: Callable[[int, bytes], bool] | None = None,
) -> tuple[RecordRow, list[EntryRow]]:
    """The rows of a record; without content and entries when ``held`` says they are there."""
    content = write_record(record)
    tokens = sorted({codec.token(i.scheme, i.value) for i in record.identifiers})
    joined = b"".join(tokens)
    key = codec.key(record.origin, joined + content)
    if held is not None and held(part, key):
        return RecordRow(part, key, bytes(8), b"", b""), []
    expires = codec.mask(key, record.expires_at)
    sealed = codec.seal(key, content, random(NONCE_SIZE))
    moment = record.occurred_at
    entries = [(token, part, key, codec.mask(token + key, moment)) for token in tokens]
    return RecordRow(part, key, expires, joined, sealed), entries


class _Counts:
    """A report in numbers."""

    def __init__(self, report: ImportReport) -> None:
        self.rows = report.rows
        self.excluded = Counter(report.excluded_by_reason())
        self.checksum_failed = report.checksum_failed


class Pace:
    """How fast something goes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def of(self, done: int) -> float:
        """So many a second; 0 when no time has passed."""
        elapsed = self._clock() - self._began
        return done / elapsed if elapsed > 0 else 0.0
