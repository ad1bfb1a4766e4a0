"""The declarative mapping from an owner's columns to the cells of a cube, one TOML file each.

::

    cube = "displacement"
    files = ["events*.parquet"]         # relative to the mapping; or a table [database]

    [date]                              # what dates a record: the cube's `about` says which date
    column = "happened_at"
    format = "iso"                      # or "unix"
    timezone = "Europe/Amsterdam"       # of times that state none

    [recorded]                          # when it was entered: what came later is counted later
    column = "entered_at"               # or, where nobody knows that, recorded = false

    [dimensions.place]
    column = "port"
    step = "port"                       # of which its codes are; else the finest that is counted by
    map = { "Rotterdam" = "NLRTM" }     # their word = our code; any other has to be a code
    other = "ZZOTH"                     # what every other word counts as: else an error
    empty = "ZZOTH"                     # what no word counts as: else an error

    [dimensions.shore]
    by_port = true                      # of the place; or a column, or a constant, value = "sea"

    [dimensions.event]
    column = "what"

    [measures.events]                   # a count: rows, or those with one of `values` in a column
    unit = "events"
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fairlead import config
from fairlead.names import check_code
from node.sources.cell import Table, check_word
from node.sources.database import DatabaseTable
from node.sources.mapping import Format, TimeColumn, files_found

MAX_WORDS = 20_000
"""Entries of one map."""

Word = Annotated[str, Field(min_length=1, max_length=200)]
Column = Annotated[str, Field(min_length=1, max_length=200)]


class DateColumn(TimeColumn):
    """A column of dates or moments."""

    format: str = Field(default="iso", description='"iso" or "unix"')

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in {"iso", "unix"}:
            raise PydanticCustomError("format", "no such format")
        return value


class DimensionColumn(Table):
    """By what a row counts in one dimension: exactly one of a column, the port, a constant."""

    column: Column | None = Field(default=None, description="a column's name")
    by_port: bool = Field(
        default=False, description="true, for the shore of the port that [dimensions.place] states"
    )
    value: Word | None = Field(default=None, description="a code, for every row")
    step: str | None = Field(
        default=None, description="the step whose codes these are, by default the finest counted"
    )
    map: dict[Word, Word] = Field(
        default={},
        max_length=MAX_WORDS,
        description="a table from the column's words (with by_port, from ports) to codes",
    )
    other: Word | None = Field(
        default=None, description="a code that every other word of the column counts as"
    )
    empty: Word | None = Field(default=None, description="a code that an empty cell counts as")

    @model_validator(mode="after")
    def _one_of(self) -> DimensionColumn:
        if (self.column is not None) + self.by_port + (self.value is not None) != 1:
            raise PydanticCustomError("dimension", "not one of column, by_port and value")
        beside = self.other is not None or self.empty is not None
        if (self.column is None and beside) or (self.value is not None and self.map):
            raise PydanticCustomError("dimension", "words without a column")
        if self.by_port and self.step is not None:
            raise PydanticCustomError("dimension", "a step of what has one")
        return self


class MeasureColumn(Table):
    """Of what a measure is made: rows, or the numbers in a column."""

    unit: Word = Field(description="the unit that the figures are in")
    column: Column | None = Field(default=None, description="a column's name")
    since: Column | None = Field(
        default=None,
        description="for a median of time: a column of moments, from which those of `column` are"
        " counted; both are written as [date] says",
    )
    values: tuple[Word, ...] = Field(
        default=(),
        strict=False,
        max_length=MAX_WORDS,
        description="for a count: a list of the column's words with which a row counts, by default"
        " any word",
    )
    empty_is_zero: bool = Field(
        default=False, description="for a sum: true, where an empty cell is no mistake"
    )

    @model_validator(mode="after")
    def _of_a_column(self) -> MeasureColumn:
        if self.column is None and (self.values or self.empty_is_zero or self.since is not None):
            raise PydanticCustomError("measure", "words without a column")
        return self


def _recorded(value: object) -> object:
    return None if value is False else value


class MappedFile(Table):
    """The file as written; :func:`load_figures` reads it."""

    cube: str = Field(description="the id of a cube of the registry")
    format: Format | None = Field(
        default=None, strict=False, description='"csv", "parquet" or "json"'
    )
    database: DatabaseTable | None = Field(
        default=None,
        description="a table [database] with url, key and either table or query, without cursor",
    )
    files: tuple[str, ...] = Field(
        default=(),
        validate_default=True,
        strict=False,
        description="a list of at least one file pattern relative to this mapping, or, without"
        " this key, a table [database]",
    )
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="one character between columns"
    )
    date: DateColumn = Field(description="a table [date]: what dates a record")
    recorded: Annotated[DateColumn | None, BeforeValidator(_recorded)] = Field(
        description="a table [recorded], when a row was entered, or false where nobody knows"
    )
    dimensions: dict[str, DimensionColumn] = Field(
        default={}, description="a table [dimensions.…] for each dimension of the cube"
    )
    measures: dict[str, MeasureColumn] = Field(
        description="a table [measures.…] for each measure of the cube that is no rate"
    )

    @field_validator("cube")
    @classmethod
    def _spelt(cls, value: str) -> str:
        return check_word(value, check_code)

    @field_validator("format")
    @classmethod
    def _counted_here(cls, value: Format | None) -> Format | None:
        if value is Format.XLSX:
            raise PydanticCustomError("format", "a workbook is not counted")
        return value

    @field_validator("database")
    @classmethod
    def _whole(cls, value: DatabaseTable | None) -> DatabaseTable | None:
        if value is not None and value.cursor is not None:
            raise PydanticCustomError("cursor", "what is counted is counted whole")
        return value

    @field_validator("files")
    @classmethod
    def _relative(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "database" in info.data and bool(value) == (info.data["database"] is not None):
            raise PydanticCustomError("kind", "neither files nor a database, or both")
        if any(not glob or "\0" in glob or Path(glob).is_absolute() for glob in value):
            raise PydanticCustomError("glob", "not a relative pattern")
        return value

    def columns(self) -> dict[str, str]:
        """Every place of the mapping that names a column, with the column it names."""
        found = {"date.column": self.date.column}
        if self.recorded is not None:
            found["recorded.column"] = self.recorded.column
        named = {f"dimensions.{name}.column": row.column for name, row in self.dimensions.items()}
        named |= {f"measures.{name}.column": row.column for name, row in self.measures.items()}
        named |= {f"measures.{name}.since": row.since for name, row in self.measures.items()}
        found |= {key: column for key, column in named.items() if column is not None}
        if self.database is not None:
            keys = enumerate(self.database.key)
            found |= {f"database.key.{place}": column for place, column in keys}
        return found


class FiguresMapping:
    """A mapping and where it stands; relative paths start at ``base``."""

    __slots__ = ("base", "file", "name")

    def __init__(self, file: MappedFile, base: Path, name: str) -> None:
        self.file, self.base, self.name = file, base, name

    def data_files(self) -> tuple[Path, ...]:
        """The files the patterns find now, in order, each once.

        :raises SourceUnusable: ``FILE_MISSING``, a pattern finds nothing.
        """
        return files_found(self.file.files, self.base)


def load_figures(path: Path) -> FiguresMapping:
    """Read a mapping; whether it fits the cube is for :func:`~node.figures.mapped_plan.check_fits`.

    :raises ConfigurationInvalid: every wrong key and value at once, with what is expected.
    """
    return FiguresMapping(config.load(MappedFile, path), path.absolute().parent, path.name)
