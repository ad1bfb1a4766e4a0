"""What is wrong with the rows of a mapped source: where, and why; never what stands there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairlead.errors import SourceUnusable
from node.figures.port import FiguresUnusable

CHECK = "fairlead-node statistics check"
MAX_RANGES = 20
"""Ranges of rows that are listed of one fault in one part; the others are counted."""

_MEANING = {
    "DATE_UNREADABLE": "a date is expected",
    "FIGURES_CODES": "a code of the registry's step, or a word of the mapping, is expected",
    "NUMBER_UNREADABLE": "a number from 0 to below 10^12 is expected",
    "ENCODING": "UTF-8 is expected",
    "MALFORMED": "a row of the file's columns is expected",
    "UNCLOSED_QUOTE": "the quotation mark is never closed",
}


@dataclass(slots=True)
class Fault:
    """One thing wrong with rows of one part: the key of the mapping it is about, a stable code,
    and the rows (both ends included, counted from 1)."""

    part: str
    key: str
    code: str
    ranges: list[tuple[int, int]] = field(default_factory=list)
    rows: int = 0
    listed: int = 0
    """How many of the rows are in ``ranges``."""

    def add(self, number: int) -> None:
        """One more row, behind those before."""
        self.rows += 1
        if self.ranges and number == self.ranges[-1][1] + 1 and self.listed == self.rows - 1:
            self.ranges[-1] = (self.ranges[-1][0], number)
        elif len(self.ranges) < MAX_RANGES:
            self.ranges.append((number, number))
        else:
            return
        self.listed += 1

    def sentence(self) -> str:
        """For a person."""
        spans = [str(a) if a == b else f"{a}–{b}" for a, b in self.ranges]
        rest = f" and {self.rows - self.listed:,} more" if self.rows > self.listed else ""
        where = f"row{'' if self.rows == 1 else 's'} {', '.join(spans)}{rest}"
        return f"{self.part}, {where}: {self.key}: {_MEANING[self.code]}"

    def as_record(self) -> dict[str, object]:
        """For programs."""
        return {"part": self.part, "key": self.key, "code": self.code, "rows": self.rows,
                "ranges": [list(span) for span in self.ranges]}  # fmt: skip


class Uncountable(FiguresUnusable):
    """Rows cannot be counted as the mapping says, so nothing is; ``faults`` has where."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(
            [fault.sentence() for fault in faults],
            reasons=tuple(dict.fromkeys(fault.code for fault in faults)),
            remedy=f"correct the rows, or give their words a code in the mapping, then: {CHECK}",
        )
        self.faults = tuple(faults)


def gathered(
    part: str, known: Sequence[tuple[str, str]], rows: Iterable[Sequence[int]]
) -> list[Fault]:
    """Faulty rows (number, place among the ``known`` faults), ascending, as ranges."""
    found: dict[int, Fault] = {}
    for number, which in rows:
        if which not in found:
            key, code = known[which]
            found[which] = Fault(part=part, key=key, code=code)
        found[which].add(number)
    return [found[which] for which in sorted(found)]


def uncountable(faults: Sequence[Fault]) -> Exception:
    """The error of faulty rows; where a second look finds none, of a source that changed."""
    return Uncountable(faults) if faults else changed()


def changed() -> SourceUnusable:
    """The error of a source that was written to while it was read."""
    return SourceUnusable(
        "a source changed while it was counted, so nothing is",
        reasons=("SOURCE_CHANGED",),
        remedy=f"ask again; write a new export under another name, rename it into place: {CHECK}",
    )
