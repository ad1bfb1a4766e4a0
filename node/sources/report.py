"""What became of a source's rows: nothing is dropped without being counted and named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

UNCLOSED_QUOTE = "UNCLOSED_QUOTE"
"""A quote without its end took the lines behind it, up to the next quote, into one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedRow:
    """One row that gave no record. ``row`` is 1 for the first row behind the header."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """An import in numbers. ``rows`` = ``records`` + number of ``excluded``.

    ``checksum_failed`` and ``unverifiable`` count identifiers that were kept and marked.
    Blank lines are no rows; a row's number counts them all the same only where the row could
    not be read.
    """

    source: str
    rows: int
    records: int
    excluded: tuple[ExcludedRow, ...]
    checksum_failed: int
    unverifiable: int

    @property
    def complete(self) -> bool:
        """False when an unclosed quote took other lines along, which nobody could count."""
        return all(row.reason != UNCLOSED_QUOTE for row in self.excluded)

    def excluded_by_reason(self) -> dict[str, int]:
        """Reason code → number of rows, most frequent first."""
        return dict(Counter(row.reason for row in self.excluded).most_common())
