"""An index from records in memory or made on the fly, in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node.index.writer import IndexWriter, Progress
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import Mark, Part

NAME = "records"


def no_report(_records: int, _per_second: float) -> None:
    """Nobody is watching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """A finished build: how many records and (token, record) entries, in how many seconds."""

    records: int
    entries: int
    seconds: float
    root: bytes

    @property
    def per_second(self) -> float:
        """Records a second; 0 when the clock did not move."""
        return self.records / self.seconds if self.seconds > 0 else 0.0


class RecordList:
    """Records as a source of one part that is always read whole."""

    name = NAME

    def __init__(self, records: Iterable[SourceRecord]) -> None:
        self._records = records
        self._count = 0

    def parts(self) -> tuple[Part, ...]:
        """One part; nobody knows whether it changed."""
        return (Part(name=NAME, stamp="", appends=False),)

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:  # noqa: ARG002
        """Every record."""
        for record in self._records:
            self._count += 1
            yield record

    def report(self) -> ImportReport:
        """All of them were records."""
        return ImportReport(
            source=NAME,
            rows=self._count,
            records=self._count,
            excluded=(),
            reasons={},
            identifiers=0,
            checksum_failed=0,
            unverifiable=0,
        )


def build_index(
    path: Path,
    records: Iterable[SourceRecord],
    *,
    token_key: bytes,
    field_key: bytes,
    clock: Callable[[], float],
    progress: Callable[[int, float], None],
    random: Callable[[int], bytes],
) -> BuildReport:
    """Make the index at ``path`` hold these records and no others.

    Whatever goes wrong, an index that is already there stays as it is.

    :param progress: called now and then with the records read so far and the rate.
    :raises Misconfigured: ``INDEX_KEY``, ``INDEX_UNWRITABLE``, ``INDEX_IN_USE``.
    :raises SourceUnusable: from ``records``; ``INDEX_CHANGED``, ``NORM_VERSION``.
    """

    def watch(found: Progress) -> None:
        if found.phase == "read":
            progress(found.done, found.per_second)

    started = clock()
    writer = IndexWriter.open(
        path, token_key=token_key, field_key=field_key, clock=clock, random=random, watch=watch
    )
    try:
        writer.refresh(RecordList(records), mapping="", accept_changes=True)
        writer.settle([NAME])
        return BuildReport(
            records=writer.records,
            entries=writer.entries,
            seconds=clock() - started,
            root=writer.root,
        )
    finally:
        writer.abandon()
        writer.close()
