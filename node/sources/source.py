"""The port of every source: parts that say whether they changed, read as records and marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from node.sources.mapping import SourceMapping
from node.sources.record import SourceRecord
from node.sources.report import ImportReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of a source that is read in one go: a file, a sheet, a table or a query.

    ``name`` is stable and unique within the source. ``stamp`` is opaque: equal stamps mean that
    nothing changed and the part need not be read; the empty stamp means that nobody knows.
    Where ``appends`` is true, reading behind the last cursor gives what is new or changed
    since, and says nothing about what was deleted; where it is false, a changed part is read
    whole, and an origin that does not come again is gone. ``schema`` is a fingerprint of the
    columns that the mapping names and of their types, where the source states types; empty
    means unknown. (A column that is missing is an error of :meth:`Source.parts` or
    :meth:`Source.read`, ``COLUMN_MISSING``.)
    """

    name: str
    stamp: str
    appends: bool
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Stands between records: everything before it is complete.

    :meth:`Source.read` with this ``cursor`` continues behind it. A part that was read to its
    end has yielded a mark behind its last record when it can be continued at all.
    """

    cursor: str


class Source(Protocol):
    """What an owner has, read-only. ``SourceRecord.origin`` is stable for a row across reads."""

    name: str
    mapping: SourceMapping

    def parts(self) -> tuple[Part, ...]:
        """What there is to read now, in order.

        :raises SourceUnusable: the source is down or no longer has what the mapping names.
        """
        ...

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:
        """The records of one part, from its beginning or behind a mark's cursor.

        :raises SourceUnusable: as :meth:`parts`, also in the middle: go on at the last mark.
        """
        ...

    def report(self) -> ImportReport:
        """What became of the rows read until now; complete when the reads are exhausted."""
        ...


def records_of(source: Source) -> Iterator[SourceRecord]:
    """Every record of every part, read once from the beginning.

    :raises SourceUnusable: as the source's own methods.
    """
    for part in source.parts():
        yield from (found for found in source.read(part) if isinstance(found, SourceRecord))
