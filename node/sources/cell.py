"""A cell of a mapping: a constant, or a column with a translation of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fairlead.errors import InvalidInput

TRUE_WORDS = frozenset({"true", "yes", "y", "t", "1"})
FALSE_WORDS = frozenset({"false", "no", "n", "f", "0", ""})


class Table(BaseModel):
    """A table of a mapping: closed, frozen, and silent about the values it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class CellTable(Table):
    """``{ value }`` or ``{ column, map }``."""

    value: str | None = Field(default=None, description="a constant text")
    column: str | None = Field(default=None, min_length=1, description="a column's name")
    map: dict[str, str] = Field(default={}, description="a table from the column's values to words")

    @model_validator(mode="after")
    def _one_of(self) -> CellTable:
        if (self.value is None) == (self.column is None) or (self.map and self.column is None):
            raise PydanticCustomError("cell", "neither a constant nor a column")
        return self


def _constant(value: object) -> object:
    if isinstance(value, bool):
        return {"value": str(value).lower()}
    return {"value": value} if isinstance(value, str) else value


Cell = Annotated[CellTable, BeforeValidator(_constant)]
"""In the file: a text, true or false, or a table ``{ column, map }``."""


def check_outcomes(cell: CellTable, check: Callable[[str], object]) -> CellTable:
    """Refuse a cell whose constant, or whose map, leads to a word that ``check`` refuses.

    :raises PydanticCustomError: for pydantic to collect.
    """
    known = cell.map.values() if cell.value is None else (cell.value,)
    for word in known:
        check_word(word, check)
    return cell


def check_word(word: str, check: Callable[[str], object]) -> str:
    """Turn a refusal of the vocabulary into one for pydantic to collect.

    :raises PydanticCustomError: ``check`` refused.
    """
    try:
        check(word)
    except InvalidInput:
        raise PydanticCustomError("word", "not one of the words") from None
    return word


def parse_flag(word: str) -> bool:
    """Read yes or no. :raises InvalidInput: ``FLAG``, neither."""
    plain = word.strip().lower()
    if plain not in TRUE_WORDS | FALSE_WORDS:
        raise InvalidInput("a flag is neither yes nor no", reasons=("FLAG",))
    return plain in TRUE_WORDS
