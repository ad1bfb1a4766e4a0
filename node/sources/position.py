"""A position in a database's order, written into a mark and read back. Pure.

A mark behind a row holds the cursor's value and the key's; a mark at the end of a complete read
holds the cursor's value alone, so that the next read begins with the rows that share it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from fairlead.errors import SourceUnusable

Value = int | float | str | bytes | Decimal | datetime | date | UUID


@dataclass(frozen=True, slots=True)
class Position:
    """``key`` is empty at the end of a complete read; ``cursor`` is None without one."""

    cursor: Value | None
    key: tuple[Value, ...]

    def write(self) -> str:
        """As text. :raises SourceUnusable: ``KEY_TYPE``, a value of another kind."""
        cursor = None if self.cursor is None else _write(self.cursor)
        return json.dumps([cursor, [_write(value) for value in self.key]])


def read_position(text: str) -> Position:
    """The reverse of :meth:`Position.write`. :raises SourceUnusable: ``CURSOR``."""
    try:
        cursor, key = json.loads(text)
        return Position(
            None if cursor is None else _read(cursor), tuple(_read(value) for value in key)
        )
    except (ValueError, TypeError, KeyError, RecursionError, InvalidOperation, OverflowError):
        raise SourceUnusable(
            "where the last read of a source ended cannot be understood",
            reasons=("CURSOR",),
            remedy="read the source anew: fairlead-node index",
        ) from None


def row_place(values: Sequence[object]) -> str:
    """The key's values as the place of a row within its source; equal keys, equal places.

    :raises SourceUnusable: ``KEY_TYPE``.
    """
    return json.dumps([_write(value) for value in values])


_READERS: dict[str, Callable[[str], Value]] = {
    "int": int,
    "float": float.fromhex,
    "str": str,
    "bytes": bytes.fromhex,
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
}


def _write(value: object) -> list[str]:  # noqa: PLR0911  (one line a type)
    if isinstance(value, bool):
        return ["int", str(int(value))]
    if isinstance(value, int):
        return ["int", str(value)]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, str) and value.isprintable():  # lone surrogates are not
        return ["str", value]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, UUID):
        return ["uuid", str(value)]
    raise SourceUnusable(
        "a column of a source's key or cursor holds values that have no place in an order",
        reasons=("KEY_TYPE",),
        remedy="name columns of numbers, times, UUIDs or plain texts in database.key and cursor",
    )


def _read(pair: list[str]) -> Value:
    kind, text = pair
    return _READERS[kind](text)
