"""What the index knows of each source: which parts it read, when, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter


@dataclass(slots=True, kw_only=True)
class PartState:
    """One part as last read. Times are unix seconds; ``records`` are those the index holds.

    ``number`` stands for the part in the tables. ``first_expiry`` is not after the first expiry
    among its records. ``whole_at`` is when it was last read from its beginning to its end.
    """

    number: int
    stamp: str = ""
    schema: str = ""
    cursor: str = ""
    records: int = 0
    rows: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    checksum_failed: int = 0
    first_expiry: int = 1 << 62
    whole_at: float = 0.0
    swept_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class SourceState:
    """One source. ``good_at`` is when it was last known that the index holds what it has.

    ``mapping`` is a digest of its mapping; another one means that everything is read again.
    ``incident`` is the code of what stands in the way since ``incident_at``, empty when nothing
    does; ``held`` is a digest of the reading that was held back because it shrank.
    """

    name: str
    mapping: str = ""
    parts: dict[str, PartState] = field(default_factory=dict)
    good_at: float = 0.0
    incident: str = ""
    incident_at: float = 0.0
    held: str = ""

    @property
    def records(self) -> int:
        """Records the index holds of it."""
        return sum(part.records for part in self.parts.values())

    @property
    def rows(self) -> int:
        """Rows it had when its parts were last read."""
        return sum(part.rows for part in self.parts.values())

    @property
    def excluded(self) -> Mapping[str, int]:
        """Reason → rows that gave no record, most frequent first."""
        total: Counter[str] = Counter()
        for part in self.parts.values():
            total.update(part.excluded)
        return dict(total.most_common())

    @property
    def checksum_failed(self) -> int:
        """Identifiers kept although their check digit is wrong."""
        return sum(part.checksum_failed for part in self.parts.values())

    def failed(self, code: str, now: float) -> None:
        """Note an incident; one that lasts keeps the time at which it began."""
        if self.incident != code:
            self.incident, self.incident_at = code, now

    def to_document(self) -> dict[str, Any]:
        """For the index's own file, and for whoever watches."""
        found: dict[str, Any] = _STATE.dump_python(self)
        return found

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> SourceState:
        """The reverse, for a document whose seal was verified."""
        return _STATE.validate_python(document)


_STATE: TypeAdapter[SourceState] = TypeAdapter(SourceState)
