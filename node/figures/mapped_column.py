"""How a column is read where it is counted in a database: SQLite by values, PostgreSQL by types.

Every expression is total: what is not of its kind is NULL, which the count then finds; nothing is
an error of the statement as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import sqlalchemy as sa

from fairlead.errors import SourceUnusable
from node.figures.mapped_plan import MAX_NUMBER, MICROSECONDS, THOUSANDTHS, Moments

Column = sa.ColumnElement[Any]


class Cells(Protocol):
    """Columns as expressions of one dialect."""

    def word(self, column: str) -> Column:
        """The text without blanks around it; where nothing stands the empty text."""
        ...

    def empty(self, column: str) -> Column:
        """Whether nothing stands there; never NULL."""
        ...

    def number(self, column: str) -> Column:
        """Whole thousandths of a number from 0; NULL where there is none."""
        ...

    def milliseconds(self, since: Moments, until: Moments) -> Column:
        """From the one moment to the other; NULL where one is not there or they are in the wrong
        order."""
        ...

    def readable(self, moments: Moments) -> Column:
        """Whether a moment stands there; never NULL."""
        ...

    def within(self, moments: Moments, begins: int, ends: int) -> Column:
        """Whether it is from the one second until before the other; false where none is there."""
        ...

    def until(self, moments: Moments, cut_off: float) -> Column:
        """Whether it is not after this; false where none is there."""
        ...


def cells_of(dialect: str, kinds: Mapping[str, Any]) -> Cells:
    """The columns of a described relation. :param kinds: what the driver says each is."""
    return SqliteCells() if dialect == "sqlite" else PostgresCells(kinds)


def _word(column: str) -> Column:
    return sa.func.trim(sa.func.coalesce(sa.cast(sa.column(column), sa.Text), ""))


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────

_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_OFFSETS = (f"{_DAY}?*[0-9]Z", f"{_DAY}?*[0-9]z", f"{_DAY}?*[0-9][-+][0-9][0-9]:[0-9][0-9]")


class SqliteCells:
    """Any value may stand in any column, so each is looked at. Of an ISO moment whole seconds
    count, as ``strftime`` reads them; a day that is none (the 30th of February) is no moment: older
    versions give it back as it is spelled, unless something is added to it."""

    def word(self, column: str) -> Column:
        """See :class:`Cells`."""
        return _word(column)

    def empty(self, column: str) -> Column:
        """See :class:`Cells`."""
        return _word(column) == ""

    def number(self, column: str) -> Column:
        """See :class:`Cells`."""
        value: Column = sa.column(column)
        limit = sa.literal(MAX_NUMBER, sa.BigInteger)
        good = sa.and_(self._is_number(column), value >= 0, value < limit)
        thousandths = sa.func.round(value * sa.literal(THOUSANDTHS, sa.Integer))
        return sa.case((good, sa.cast(thousandths, sa.BigInteger)), else_=sa.null())

    def milliseconds(self, since: Moments, until: Moments) -> Column:
        """See :class:`Cells`. Only one of them with an offset is no span."""
        passed = self._at(until) - self._at(since)
        good = passed >= sa.literal(0, sa.Integer)
        if not since.unix:
            good = sa.and_(good, self._aware(since.column) == self._aware(until.column))
        exact = sa.func.round(passed * sa.literal(THOUSANDTHS, sa.Integer))
        return sa.case((good, sa.cast(exact, sa.BigInteger)), else_=sa.null())

    def readable(self, moments: Moments) -> Column:
        """See :class:`Cells`."""
        if moments.unix:
            return self._is_number(moments.column)
        return self._seconds(moments.column).is_not(None)

    def within(self, moments: Moments, begins: int, ends: int) -> Column:
        """See :class:`Cells`."""
        at = self._at(moments)
        inside = sa.and_(
            at >= self._limit(moments, begins, begins), at < self._limit(moments, ends, ends)
        )
        return sa.func.coalesce(inside, sa.false())

    def until(self, moments: Moments, cut_off: float) -> Column:
        """See :class:`Cells`."""
        last: float = cut_off if moments.unix else int(cut_off)
        return sa.func.coalesce(
            self._at(moments) <= self._limit(moments, cut_off, last), sa.false()
        )

    def _at(self, moments: Moments) -> Column:
        if moments.unix:
            value: Column = sa.column(moments.column)
            return sa.case((self._is_number(moments.column), value), else_=sa.null())
        return self._seconds(moments.column)

    def _limit(self, moments: Moments, moment: float, spelt: float) -> Column:
        """The moment as the column's rows are compared with it: those that state no offset with
        what a clock of the zone shows then."""
        plain = sa.literal(spelt)
        if moments.unix:
            return plain
        aware = self._aware(moments.column)
        wall = moments.wall_us(moment) // MICROSECONDS
        return sa.case((aware, plain), else_=sa.literal(wall))

    def _aware(self, column: str) -> Column:
        text = self._text(column)
        return sa.or_(*[text.bool_op("GLOB")(sa.literal(shape)) for shape in _OFFSETS])

    def _text(self, column: str) -> Column:
        return sa.func.trim(sa.cast(sa.column(column), sa.Text))

    def _seconds(self, column: str) -> Column:
        text = self._text(column)
        day = sa.func.substr(text, 1, 10)
        real = sa.and_(
            text.bool_op("GLOB")(sa.literal(f"{_DAY}*")),
            sa.func.strftime("%Y-%m-%d", day, "+0 days") == day,
        )
        return sa.case(
            (real, sa.cast(sa.func.strftime("%s", text), sa.BigInteger)), else_=sa.null()
        )

    def _is_number(self, column: str) -> Column:
        return sa.func.typeof(sa.column(column)).in_(["integer", "real"])


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────

_NUMBERS = {20, 21, 23, 700, 701, 1700}
"""int8, int2, int4, float4, float8, numeric."""
_DATE, _TIMESTAMP, _TIMESTAMPTZ = 1082, 1114, 1184


class PostgresCells:
    """The server says each column's type; a text is neither a number nor a moment.

    :param kinds: the types' object ids, as the driver describes them.
    """

    def __init__(self, kinds: Mapping[str, Any]) -> None:
        self._kinds = kinds

    def word(self, column: str) -> Column:
        """See :class:`Cells`."""
        return _word(column)

    def empty(self, column: str) -> Column:
        """See :class:`Cells`."""
        return _word(column) == ""

    def number(self, column: str) -> Column:
        """See :class:`Cells`. :raises SourceUnusable: COLUMN_TYPE."""
        self._check(column, _NUMBERS)
        value: Column = sa.column(column)
        good = sa.and_(
            value >= sa.literal(0, sa.Integer), value < sa.literal(MAX_NUMBER, sa.BigInteger)
        )
        exact = sa.cast(value, sa.Numeric) * sa.literal(THOUSANDTHS, sa.Integer)
        return sa.case((good, sa.cast(sa.func.round(exact), sa.BigInteger)), else_=sa.null())

    def milliseconds(self, since: Moments, until: Moments) -> Column:
        """See :class:`Cells`. :raises SourceUnusable: COLUMN_TYPE: also where only one is of a type
        with an offset."""
        kinds = {self._kinds[moments.column] == _TIMESTAMPTZ for moments in (since, until)}
        for moments in (since, until):
            self._check(moments.column, self._moments(moments) if len(kinds) == 1 else set())
        passed = self._epoch(until) - self._epoch(since)
        both = [] if since.unix else [
            sa.func.isfinite(sa.column(moments.column), type_=sa.Boolean)
            for moments in (since, until)
        ]  # fmt: skip
        good = sa.and_(*both, passed >= sa.literal(0, sa.Integer))
        exact = sa.cast(passed, sa.Numeric) * sa.literal(THOUSANDTHS, sa.Integer)
        return sa.case((good, sa.cast(sa.func.round(exact), sa.BigInteger)), else_=sa.null())

    def readable(self, moments: Moments) -> Column:
        """See :class:`Cells`. :raises SourceUnusable: COLUMN_TYPE."""
        self._check(moments.column, self._moments(moments))
        return sa.column(moments.column).is_not(None)

    def within(self, moments: Moments, begins: int, ends: int) -> Column:
        """See :class:`Cells`."""
        at: Column = sa.column(moments.column)
        inside = sa.and_(at >= self._limit(moments, begins), at < self._limit(moments, ends))
        return sa.func.coalesce(inside, sa.false())

    def until(self, moments: Moments, cut_off: float) -> Column:
        """See :class:`Cells`."""
        at: Column = sa.column(moments.column)
        return sa.func.coalesce(at <= self._limit(moments, cut_off), sa.false())

    def _limit(self, moments: Moments, moment: float) -> Column:
        if moments.unix:
            return sa.literal(moment, sa.Float)
        if self._kinds[moments.column] == _TIMESTAMPTZ:
            return sa.literal(moments.instant(moment), sa.DateTime(timezone=True))
        return sa.literal(moments.wall(moment), sa.DateTime())

    def _epoch(self, moments: Moments) -> Column:
        value: Column = sa.column(moments.column)
        if moments.unix:
            return value
        zoned = self._kinds[moments.column] == _TIMESTAMPTZ
        return sa.extract("epoch", sa.cast(value, sa.DateTime(timezone=zoned)))

    def _moments(self, moments: Moments) -> set[int]:
        return _NUMBERS if moments.unix else {_DATE, _TIMESTAMP, _TIMESTAMPTZ}

    def _check(self, column: str, wanted: set[int]) -> None:
        if self._kinds[column] not in wanted:
            raise SourceUnusable(
                "a column of a source's database is of a type that is not counted",
                reasons=("COLUMN_TYPE",),
                remedy="cast it in database.query, to date, timestamp or numeric, then:"
                " fairlead-node statistics check",
            )
