"""What came of a reconciliation, for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fairlead.reconciling import Exchange, Judgement


@dataclass(slots=True)
class Report:
    """Counts of all its rounds. ``codes``: what is wrong, raised before or not; ``rows``: of which
    entries."""

    rounds: int = 0
    listed: int = 0
    met: int = 0
    excused: int = 0
    codes: set[str] = field(default_factory=set)
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, found: Exchange, judged: Judgement) -> None:
        """One more round."""
        self.rounds += 1
        self.listed += len(found.statement.entries)
        self.met += len(found.said.entries)
        self.excused += judged.excused
        self.codes.update(judged.reasons)
        self.rows += judged.table()

    def as_record(self) -> dict[str, Any]:
        """For printing."""
        return {
            "rounds": self.rounds,
            "listed": self.listed,
            "met": self.met,
            "excused": self.excused,
            "reasons": sorted(self.codes),
            "incidents": self.rows,
        }
