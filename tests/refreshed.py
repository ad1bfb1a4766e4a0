"""A source in memory that behaves as the port says, and an index to refresh from it.

``python -m tests.refreshed INDEX ROWS`` refreshes as a process of its own and prints a line for
each step, so that a test can kill it there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.errors import SourceUnusable
from fairlead.identifiers import Identifier, normalise
from fairlead.vocabulary import Event, Handling, RecordType
from node.index import IndexWriter, Progress, SourceState, applying, reading, stage
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import Mark, Part

NOW = 1_790_000_000.0
KEYS = {"token_key": b"t" * 32, "field_key": b"f" * 32}
DAY_S = 86_400


def box(number: int) -> Identifier:
    """The ``number``-th container."""
    return normalise("container", f"MSCU{number:06d}")


def row(
    number: int, origin: int | str | None = None, *, keep_s: int = 30 * DAY_S, place: str = "Gate 7"
) -> SourceRecord:
    """A record about one container; its origin is its number unless stated."""
    return SourceRecord(
        origin=str(number if origin is None else origin),
        identifiers=(box(number),),
        record_type=RecordType.MOVEMENT,
        event=Event.GATE_IN,
        occurred_at=int(NOW) - 1_000,
        expires_at=int(NOW) - 1_000 + keep_s,
        handling=Handling(
            tlp="AMBER", pap="AMBER", europol="H0", source_grade="A", information_grade="1"
        ),
        purposes=("drug-trafficking",),
        active_target=False,
        personal=False,
        fields={"place": place},
        withheld=(),
    )


@dataclass(slots=True)
class Table:
    """One part of a source: what it holds, and how it behaves."""

    rows: list[SourceRecord]
    stamp: str = ""
    appends: bool = False
    schema: str = ""
    mark_every: int = 0
    fails_at: int | None = None
    """Break off before this row."""


@dataclass(slots=True)
class Memory:
    """A source; ``asked`` holds every read as (part, after)."""

    tables: dict[str, Table]
    name: str = "gate"
    down: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    _count: int = 0

    def parts(self) -> tuple[Part, ...]:
        """The tables."""
        if self.down:
            raise SourceUnusable("down", reasons=("SOURCE_DOWN",))
        return tuple(
            Part(name=name, stamp=t.stamp, appends=t.appends, schema=t.schema)
            for name, t in self.tables.items()
        )

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:
        """The rows of a table, from its beginning or behind a mark, which is a row's place."""
        self.asked.append((part.name, after))
        table = self.tables[part.name]
        for place in range(int(after or 0), len(table.rows)):
            if place == table.fails_at:
                raise SourceUnusable("dropped", reasons=("SOURCE_DOWN",))
            self._count += 1
            yield table.rows[place]
            if table.mark_every and not (place + 1) % table.mark_every:
                yield Mark(str(place + 1))
        if table.appends or table.mark_every:
            yield Mark(str(len(table.rows)))

    def report(self) -> ImportReport:
        """Every row is a record."""
        return ImportReport(
            source=self.name,
            rows=self._count,
            records=self._count,
            excluded=(),
            reasons={},
            identifiers=self._count,
            checksum_failed=0,
            unverifiable=0,
        )


def refresh(
    path: Path,
    source: Memory,
    *,
    now: float = NOW,
    mapping: str = "m",
    accept: bool = False,
    names: Sequence[str] = (),
    watch: object = None,
) -> SourceState:
    """One whole refresh, as a node does it."""
    writer = IndexWriter.open(
        path, clock=lambda: now, watch=watch or (lambda _progress: None), **KEYS
    )
    try:
        state = writer.refresh(source, mapping=mapping, accept_changes=accept)
        writer.sweep()
        writer.settle([source.name, *names])
        return writer.state(source.name) if state.parts or state.incident else state
    finally:
        writer.close()


def whole(rows: int) -> Memory:
    """The source of the killed process: every third row of its first half in a part of its own."""
    early = [row(n) for n in range(rows) if n % 3 == 0]
    late = [row(n) for n in range(rows) if n % 3]
    return Memory(
        {
            "early": Table(early, stamp="1", mark_every=20),
            "late": Table(late, stamp="1", mark_every=20),
        }
    )


def shorten() -> None:
    """Short transactions, so that little data has many places to be killed at."""
    stage.FLUSH_ROWS = 40
    applying.APPLY_ROWS = 25
    reading.PROGRESS_ROWS = 10


def main() -> None:
    """Refresh and say each step."""

    def step(progress: Progress) -> None:
        print(progress.phase, progress.done, flush=True)
        sys.stdin.readline()  # go on when told

    shorten()
    refresh(Path(sys.argv[1]), whole(int(sys.argv[2])), watch=step)


if __name__ == "__main__":
    main()
