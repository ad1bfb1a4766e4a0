"""One row of a source into one record, as the mapping says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from fairlead import vocabulary
from fairlead.errors import InvalidInput, SourceUnusable
from fairlead.identifiers import Identifier, normaliser
from fairlead.marking import check_marking
from fairlead.vocabulary import Handling
from node.sources.cell import CellTable, parse_flag
from node.sources.mapping import HandlingColumns, MappingFile, TimeColumn
from node.sources.record import SourceRecord

Row = Sequence[str | None]
Getter = Callable[[Row], str]

DAY_S = 86_400
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
_REMEMBERED = 4096
_READ = TypeVar("_READ")


class ColumnsMissing(SourceUnusable):
    """The file lacks columns of the mapping; ``missing`` holds (key of the mapping, column)."""

    default_code = "COLUMN_MISSING"

    def __init__(
        self, missing: Sequence[tuple[str, str]], *, then: str = "fairlead-node index"
    ) -> None:
        super().__init__(
            "a source lacks, or has twice, columns that its mapping names",
            remedy=f"correct these keys of the mapping, or the export, then: {then}",
        )
        self.missing = tuple(missing)

    def diagnostics(self) -> str:
        """One line per column between the message and the next command."""
        head, *rest = super().diagnostics().split("\n")
        lines = [f"  {key}: not exactly one column {column!a}" for key, column in self.missing]
        return "\n".join([head, *lines, *rest])


class RowReader:
    """Reads rows of one file.

    :param header: the file's column names, in order.
    :param name: the file's name, which makes each row's origin unlike any other's.
    :param now: unix seconds; a row whose retention is over by then is refused.
    :raises ColumnsMissing: with every column that the file lacks or has twice.
    """

    def __init__(self, file: MappingFile, header: Sequence[str], *, name: str, now: float) -> None:
        columns = file.columns()
        wrong = [(key, column) for key, column in columns.items() if header.count(column) != 1]
        if wrong:
            raise ColumnsMissing(wrong)
        self.positions = tuple(sorted({header.index(column) for column in columns.values()}))
        """Positions in the file of the columns to select, in the order in which rows hold them."""
        self._place = {header[position]: place for place, position in enumerate(self.positions)}
        self._file, self._name, self._now = file, name, now
        self._event = _remembering(self._cell(file.event), vocabulary.parse_event)
        self._flag = _remembering(self._cell(file.active_target), parse_flag)
        self._time = _time_reader(self._column(file.time.column), file.time)
        self._handling = self._handling_reader(file.handling)
        marking = file.handling.marking
        self._check_marking = (
            _remembering(self._cell(marking), check_marking) if marking else lambda _: None
        )
        self._identifiers = tuple(
            (
                self._column(entry.column),
                normaliser(entry.scheme),
                self._cell(entry.issuer) if entry.issuer else lambda _: "",
            )
            for entry in file.identifiers
        )
        self._fields = tuple(
            (name, self._place[column]) for name, column in sorted(file.fields.items())
        )
        self._record_type = vocabulary.parse_record_type(file.record_type)
        self._redacted = frozenset(file.redact_always)

    def read(self, row: Row, place: str | int) -> SourceRecord:
        """One row, selected as :attr:`positions` says.

        :param place: what tells the row from every other row of the file, table or query.
        :raises InvalidInput: ``EU_CLASSIFIED``, ``NO_IDENTIFIER``, ``TIME``, ``EXPIRED``,
            ``FLAG``, and what :func:`parse_event` and :func:`parse_handling` refuse.
        """
        self._check_marking(row)
        occurred_at = self._time(row)
        expires_at = occurred_at + self._file.retention_days * DAY_S
        if expires_at <= self._now:
            raise InvalidInput("a record's retention is over", reasons=("EXPIRED",))
        fields = {name: value.strip() for name, place in self._fields if (value := row[place])}
        withheld = tuple(name for name in fields if name in self._redacted)
        for name in withheld:
            del fields[name]
        return SourceRecord(
            origin=f"{self._file.source}|{self._name}|{place}",
            identifiers=self._read_identifiers(row),
            record_type=self._record_type,
            event=self._event(row),
            occurred_at=occurred_at,
            expires_at=expires_at,
            handling=self._handling(row),
            purposes=self._file.purposes,
            active_target=self._flag(row),
            personal=self._file.personal is not None,
            fields=fields,
            withheld=withheld,
            country=self._file.country or "",
        )

    def _read_identifiers(self, row: Row) -> tuple[Identifier, ...]:
        """Every identifier of the row once; a wrong check digit is marked and kept."""
        found: dict[tuple[str, str], Identifier] = {}
        for text, normal, issuer in self._identifiers:
            if raw := text(row):
                identifier = normal(raw, issuer(row))
                if identifier.value:
                    found[identifier.scheme, identifier.value] = identifier
        if not found:
            raise InvalidInput("a row holds no identifier", reasons=("NO_IDENTIFIER",))
        return tuple(found.values())

    def _column(self, column: str) -> Getter:
        place = self._place[column]
        return lambda row: (row[place] or "").strip()

    def _cell(self, cell: CellTable) -> Getter:
        if cell.column is None:
            constant = cell.value or ""
            return lambda _: constant
        text, words = self._column(cell.column), cell.map
        if not words:
            return text

        def translated(row: Row) -> str:
            found = text(row)
            return words.get(found, found)

        return translated

    def _handling_reader(self, columns: HandlingColumns) -> Callable[[Row], Handling]:
        tlp, pap = self._cell(columns.tlp), self._cell(columns.pap)
        europol = self._cell(columns.europol)
        source, information = (
            self._cell(columns.source_grade),
            self._cell(columns.information_grade),
        )
        known: dict[tuple[str, str, str, str, str], Handling] = {}

        def read(row: Row) -> Handling:
            parts = (tlp(row), pap(row), europol(row), source(row), information(row))
            if parts not in known:
                handling = vocabulary.parse_handling(
                    tlp=parts[0],
                    pap=parts[1],
                    europol=parts[2],
                    source_grade=parts[3],
                    information_grade=parts[4],
                )
                if len(known) >= _REMEMBERED:
                    return handling
                known[parts] = handling
            return known[parts]

        return read


def _remembering(text: Getter, parse: Callable[[str], _READ]) -> Callable[[Row], _READ]:
    """Parse each spelling of a small vocabulary once; at most ``_REMEMBERED`` are kept."""
    known: dict[str, _READ] = {}

    def read(row: Row) -> _READ:
        raw = text(row)
        if raw not in known:
            if len(known) >= _REMEMBERED:
                return parse(raw)
            known[raw] = parse(raw)
        return known[raw]

    return read


def _time_reader(text: Getter, time: TimeColumn) -> Callable[[Row], int]:
    """Unix seconds of a column; times without an offset are in the mapping's zone."""
    zone = UTC if time.timezone == "UTC" else ZoneInfo(time.timezone)

    def moment(raw: str) -> float:
        if time.format == "unix":
            return float(raw)
        when = (
            datetime.fromisoformat(raw)
            if time.format == "iso"
            else datetime.strptime(raw, time.format)  # noqa: DTZ007  (the zone follows)
        )
        return (when if when.tzinfo else when.replace(tzinfo=zone)).timestamp()

    def read(row: Row) -> int:
        try:
            seconds = int(moment(text(row)))
        except (ValueError, OverflowError, OSError):
            seconds = -1
        if not 0 < seconds <= _LAST_SECOND:
            raise InvalidInput("a row's time cannot be read", reasons=("TIME",))
        return seconds

    return read
