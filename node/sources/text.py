"""A typed cell of a source as the text that a mapping speaks about."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from fairlead.errors import InvalidInput

MAX_CELL = 1024 * 1024
"""Characters in one cell."""


def text_of(value: object) -> str | None:  # noqa: PLR0911  (one a type)
    """A cell's text; times keep the offset they state, whole numbers have no fraction.

    :raises InvalidInput: ``ENCODING`` octets that are not UTF-8, ``TOO_LONG``, ``TYPE`` a kind
        of value that has no plain text.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _checked(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, int | UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return _checked(bytes(value).decode("utf-8"))
        except UnicodeDecodeError:
            raise _encoding() from None
    raise InvalidInput("a cell is neither a text nor a number nor a time", reasons=("TYPE",))


def _checked(text: str) -> str:
    if len(text) > MAX_CELL:
        raise InvalidInput("a cell is too long", reasons=("TOO_LONG",))
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # octets that were not UTF-8 arrive as lone surrogates
            raise _encoding() from None
    return text


def _encoding() -> InvalidInput:
    return InvalidInput("a cell's octets are not UTF-8", reasons=("ENCODING",))
