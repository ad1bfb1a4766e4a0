"""What became of a source's rows: nothing is dropped without being counted and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNCLOSED_QUOTE = "UNCLOSED_QUOTE"
"""A quote without its end took the lines behind it, up to the next quote, into one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedRow:
    """One row that gave no record. ``row`` is 1 for the first row behind the header.

    ``file`` is the part's name. In a database, rows count in the order of the key, or of the
    cursor and the key, from where the read began.
    """

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """An import in numbers. ``rows`` = ``records`` + ``excluded_rows``.

    ``excluded`` lists the first :data:`node.sources.tally.MAX_LISTED` of them; ``reasons``
    counts all. ``checksum_failed`` and ``unverifiable`` count identifiers that were kept and
    marked. Blank lines are no rows; a row's number counts them all the same only where the row
    could not be read.
    """

    source: str
    rows: int
    records: int
    excluded: tuple[ExcludedRow, ...]
    reasons: Mapping[str, int]
    identifiers: int
    checksum_failed: int
    unverifiable: int

    @property
    def excluded_rows(self) -> int:
        """How many rows gave no record, listed or not."""
        return sum(self.reasons.values())

    @property
    def complete(self) -> bool:
        """False when an unclosed quote took other lines along, which nobody could count."""
        return UNCLOSED_QUOTE not in self.reasons

    def excluded_by_reason(self) -> dict[str, int]:
        """Reason code → number of rows, most frequent first."""
        return dict(sorted(self.reasons.items(), key=lambda item: -item[1]))
