"""The ``[database]`` table of a mapping: which rows of which database, and in which order."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fairlead.config import Reference
from node.sources.cell import Table

MAX_QUERY = 16 * 1024
"""Characters in a query of a mapping."""

_REFERENCE = TypeAdapter(Reference)
_QUERY = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
_SECRET = re.compile(r"(?i)pass|pwd|secret|token")


def holds_secret(url: str) -> bool:
    """Whether a database URL states a password; what cannot be read is taken to hold one."""
    try:
        parts = urlsplit(url)
        asked = parse_qsl(parts.query)
    except ValueError:
        return True
    return parts.password is not None or any(_SECRET.search(key) for key, _ in asked)


def _url(value: str, info: ValidationInfo) -> str:
    if value.startswith(("env:", "file:")):
        try:
            return _REFERENCE.validate_python(value, context=info.context)
        except ValidationError:
            raise PydanticCustomError("reference", "not a reference") from None
    if "://" not in value or holds_secret(value):
        raise PydanticCustomError("url", "not a URL, or a password in clear")
    return value


def _query(value: str) -> str:
    if _QUERY.match(value) is None or ";" in value or "\0" in value:
        raise PydanticCustomError("query", "not one SELECT")
    return value


class DatabaseTable(Table):
    """Rows of one table or one query, read in the order of ``key`` (or ``cursor``, then key)."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description='a reference to a URL, "env:NAME" or "file:path", or a URL without a password'
        " (write a URL with one into a file of mode 0600 and name it here)"
    )
    table: str | None = Field(
        default=None, min_length=1, max_length=256, description='a "table" or a "schema.table"'
    )
    query: Annotated[str, AfterValidator(_query)] | None = Field(
        default=None, max_length=MAX_QUERY, description="one SELECT without a semicolon"
    )
    key: tuple[str, ...] = Field(
        strict=False,
        min_length=1,
        max_length=8,
        description="a list of columns whose values together tell every row apart",
    )
    cursor: str | None = Field(
        default=None,
        min_length=1,
        description="a column that grows with every insert and update (a serial, updated_at)",
    )
    timeout_s: int = Field(
        default=300, ge=1, le=86_400, description="a whole number of seconds for one statement"
    )

    @model_validator(mode="after")
    def _one_of(self) -> DatabaseTable:
        if (self.table is None) == (self.query is None):
            raise PydanticCustomError("rows", "neither a table nor a query")
        return self

    @property
    def reads(self) -> str:
        """What is read, in one stable word: the table, or ``query``."""
        return self.table or "query"
