"""Counting what becomes of rows while they are read, also across a drop and a resumption."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fairlead.errors import InvalidInput
from fairlead.identifiers import Validity
from node.sources.record import SourceRecord
from node.sources.report import ExcludedRow, ImportReport
from node.sources.row import Row, RowReader

MAX_LISTED = 10_000
"""Excluded rows that are named one by one; further ones are only counted, by reason."""


@dataclass(slots=True)
class _Counts:
    records: int = 0
    listed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    validities: Counter[Validity] = field(default_factory=Counter)

    def copy(self) -> _Counts:
        return _Counts(self.records, self.listed, Counter(self.reasons), Counter(self.validities))


class Tally:
    """Counts of one source. What was counted behind the last :meth:`settle` is not yet sure:
    :meth:`begin`, at the start of every read, drops it, because it will be read again.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._excluded: list[ExcludedRow] = []
        self._now, self._settled = _Counts(), _Counts()

    def begin(self) -> None:
        """Forget what a read that was broken off counted behind its last mark."""
        self._now = self._settled.copy()
        del self._excluded[self._now.listed :]

    def settle(self) -> None:
        """Everything counted until now is complete."""
        self._settled = self._now.copy()

    def take(
        self, reader: RowReader, row: Row, number: int, *, file: str, origin: str | int
    ) -> SourceRecord | None:
        """Read one row; count it as a record, or exclude it with its reason and give None."""
        try:
            record = reader.read(row, origin)
        except InvalidInput as error:
            self.exclude(file, number, error.code)
            return None
        self.keep(record)
        return record

    def keep(self, record: SourceRecord) -> None:
        """Count a record."""
        self._now.records += 1
        for identifier in record.identifiers:
            self._now.validities[identifier.validity] += 1

    def exclude(self, file: str, number: int, reason: str) -> None:
        """Count a row that gives no record, and name it while the list has room."""
        self._now.reasons[reason] += 1
        if len(self._excluded) < MAX_LISTED:
            self._excluded.append(ExcludedRow(file=file, row=number, reason=reason))
            self._now.listed = len(self._excluded)

    def exclude_unseen(self, count: int, reason: str) -> None:
        """Count rows that the source knows of and that have no number."""
        if count:
            self._now.reasons[reason] += count

    def report(self) -> ImportReport:
        """What became of the rows read until now."""
        now = self._now
        return ImportReport(
            source=self._source,
            rows=now.records + sum(now.reasons.values()),
            records=now.records,
            excluded=tuple(sorted(self._excluded, key=lambda row: (row.file, row.row))),
            reasons=dict(now.reasons),
            identifiers=sum(now.validities.values()),
            checksum_failed=now.validities[Validity.CHECKSUM_FAILED],
            unverifiable=now.validities[Validity.UNVERIFIABLE],
        )
