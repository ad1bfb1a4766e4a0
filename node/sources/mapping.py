"""The declarative mapping from an owner's columns to records, one TOML file per source.

::

    source = "gate"
    files = ["gate*.csv"]             # relative to the mapping; or a table [database]
    record_type = "movement"
    event = { column = "direction", map = { IN = "gate-in", OUT = "gate-out" } }
    purposes = ["drug-trafficking"]
    retention_days = 365
    country = "BE"                    # only where these records are kept in another country
    active_target = false             # or { column = "watched", map = { yes = "true" } }
    redact_always = ["driver_card"]   # named as withheld; the value never enters the index

    [[identifiers]]
    scheme = "vehicle-plate"
    column = "plate"
    issuer = { column = "country" }   # or a constant, issuer = "NL"

    [time]
    column = "moved_at"
    format = "iso"                    # "iso", "unix", or one of strptime
    timezone = "Europe/Amsterdam"     # of times that state none

    [handling]                        # each a constant, or { column = …, map = {…} }
    tlp = "AMBER"
    pap = "AMBER"
    europol = "H0"
    source_grade = "A"
    information_grade = "1"

    [fields]                          # releasable field = column
    driver_name = "driver"

    [personal]                        # or, where no record is about a person, personal = false
    ground = "GDPR art. 6(1)(f), assessment 2026-07"
    approved_by = "dpo"

Every cell is a constant or ``{ column, map }``; a value that a map does not hold is taken as
it stands, and then has to be a word of the vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from fairlead import config, vocabulary
from fairlead.errors import SourceUnusable
from fairlead.identifiers import NORM_VERSION, SCHEMES, normaliser
from fairlead.marking import check_marking
from fairlead.names import check_code
from node.sources.cell import Cell, CellTable, Table, check_outcomes, check_word, parse_flag
from node.sources.database import DatabaseTable
from node.sources.personal import PERSON_SCHEMES, about_person

MAX_RETENTION_DAYS = 3660

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_RIGHT_HANDLING = {
    "tlp": "RED", "pap": "RED", "europol": "H0", "source_grade": "A", "information_grade": "1"
}  # fmt: skip


class IdentifierColumn(Table):
    """One column that holds identifiers of one scheme."""

    scheme: str = Field(description=f"one of {', '.join(SCHEMES)}")
    column: str = Field(min_length=1, description="a column's name")
    issuer: Cell | None = Field(
        default=None,
        description="what the scheme needs beside it, as a country, or a table { column, map }",
    )

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        return check_word(value, normaliser)


class TimeColumn(Table):
    """When it happened."""

    column: str = Field(min_length=1, description="a column's name")
    format: str = Field(
        default="iso", min_length=1, description='"iso", "unix" or a strptime format'
    )
    timezone: str = Field(
        default="UTC", description="an IANA time zone (apt install tzdata when none is known)"
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError("zone", "no such time zone") from None
        return value


class HandlingColumns(Table):
    """The handling of every record of the source; no part has a default."""

    tlp: Cell = Field(description="CLEAR, GREEN, AMBER, AMBER+STRICT, RED, or a column")
    pap: Cell = Field(description="CLEAR, GREEN, AMBER, RED, or a column")
    europol: Cell = Field(description="H0, H1, H2, H3, or a column")
    source_grade: Cell = Field(description="A, B, C, X, or a column")
    information_grade: Cell = Field(description="1, 2, 3, 4 as a text, or a column")
    marking: Cell | None = Field(
        default=None, description="a column of free markings: a row marked classified is refused"
    )

    @field_validator("marking")
    @classmethod
    def _unclassified(cls, value: CellTable | None) -> CellTable | None:
        return None if value is None else check_outcomes(value, check_marking)

    @field_validator("tlp", "pap", "europol", "source_grade", "information_grade")
    @classmethod
    def _known_words(cls, value: CellTable, info: ValidationInfo) -> CellTable:
        part = str(info.field_name)
        return check_outcomes(
            value, lambda word: vocabulary.parse_handling(**(_RIGHT_HANDLING | {part: word}))
        )


class Format(StrEnum):
    """How a file is written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    XLSX = "xlsx"


SUFFIXES = {
    ".csv": Format.CSV, ".tsv": Format.CSV, ".txt": Format.CSV, ".parquet": Format.PARQUET,
    ".json": Format.JSON, ".jsonl": Format.JSON, ".ndjson": Format.JSON, ".xlsx": Format.XLSX,
    ".xlsm": Format.XLSX,
}  # fmt: skip
"""The formats that a file's suffix states."""


class PersonalTable(Table):
    """On which ground records about persons are read, and who said so."""

    ground: str = Field(min_length=1, max_length=500, description="the legal ground, as a text")
    approved_by: str = Field(min_length=1, max_length=100, description="who approved, as a text")


_GROUND = (
    "false, or a table [personal] with ground and approved_by, which records about persons and"
    " fields or identifiers of persons need (or take those out, or list them in redact_always)"
)


def _personal(value: object) -> object:
    return None if value is False else value


class MappingFile(Table):
    """The file as written; :func:`load_mapping` reads it."""

    source: str = Field(description="a name: lower-case letters, digits, hyphens")
    format: Format | None = Field(
        default=None, strict=False, description='"csv", "parquet", "json" or "xlsx"'
    )
    sheet: str | None = Field(
        default=None, min_length=1, max_length=31, description="the name of a sheet of a workbook"
    )
    database: DatabaseTable | None = Field(
        default=None,
        description="a table [database] with url, key and either table or query",
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
    record_type: str = Field(description=f"one of {', '.join(vocabulary.RecordType)}")
    event: Cell = Field(description="an event of the vocabulary, or a table { column, map }")
    purposes: tuple[str, ...] = Field(
        strict=False, min_length=1, description="a list of at least one purpose"
    )
    retention_days: int = Field(ge=1, le=MAX_RETENTION_DAYS, description="a whole number of days")
    country: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{2}$",
        description="two capital letters (ISO 3166), where these records are kept elsewhere than"
        " in the partner's own country",
    )
    active_target: Cell = Field(description="true, false, or a table { column, map }")
    identifiers: tuple[IdentifierColumn, ...] = Field(
        strict=False, min_length=1, description="a list of [[identifiers]] tables"
    )
    time: TimeColumn = Field(description="a table [time]")
    handling: HandlingColumns = Field(description="a table [handling]")
    fields: dict[FieldName, str] = Field(
        min_length=1, description="a table from field names (a-z, 0-9, _) to columns"
    )
    redact_always: tuple[FieldName, ...] = Field(
        default=(), strict=False, description="a list of names that [fields] also lists"
    )
    personal: Annotated[PersonalTable | None, BeforeValidator(_personal)] = Field(
        description=_GROUND
    )

    @field_validator("source")
    @classmethod
    def _spelt(cls, value: str) -> str:
        return check_word(value, check_code)

    @field_validator("record_type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        return check_word(value, vocabulary.parse_record_type)

    @field_validator("event")
    @classmethod
    def _known_event(cls, value: CellTable) -> CellTable:
        return check_outcomes(value, vocabulary.parse_event)

    @field_validator("active_target")
    @classmethod
    def _known_flag(cls, value: CellTable) -> CellTable:
        return check_outcomes(value, parse_flag)

    @field_validator("purposes")
    @classmethod
    def _known_purposes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({check_word(purpose, check_code) for purpose in value}))

    @field_validator("files")
    @classmethod
    def _relative(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "database" in info.data and bool(value) == (info.data["database"] is not None):
            raise PydanticCustomError("kind", "neither files nor a database, or both")
        if any(not glob or "\0" in glob or Path(glob).is_absolute() for glob in value):
            raise PydanticCustomError("glob", "not a relative pattern")
        return value

    @field_validator("redact_always")
    @classmethod
    def _listed(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not set(value) <= set(info.data.get("fields", value)):
            raise PydanticCustomError("field", "not a listed field")
        return value

    @field_validator("personal")
    @classmethod
    def _ground_for_persons(
        cls, value: PersonalTable | None, info: ValidationInfo
    ) -> PersonalTable | None:
        if value is None and person_places(info.data):
            raise PydanticCustomError("personal", "no ground for data about persons")
        return value

    def columns(self) -> dict[str, str]:
        """Every place of the mapping that names a column, with the column it names."""
        return dict(self._columns())

    def _columns(self) -> Iterator[tuple[str, str]]:
        cells = {"event": self.event, "active_target": self.active_target}
        cells |= {f"handling.{part}": getattr(self.handling, part) for part in _RIGHT_HANDLING}
        if self.handling.marking is not None:
            cells["handling.marking"] = self.handling.marking
        for place, entry in enumerate(self.identifiers):
            yield f"identifiers.{place}.column", entry.column
            if entry.issuer:
                cells[f"identifiers.{place}.issuer"] = entry.issuer
        yield "time.column", self.time.column
        for key, cell in cells.items():
            if cell.column is not None:
                yield f"{key}.column", cell.column
        for name, column in self.fields.items():
            yield f"fields.{name}", column
        if self.database is not None:
            for place, column in enumerate(self.database.key):
                yield f"database.key.{place}", column
            if self.database.cursor is not None:
                yield "database.cursor", self.database.cursor


def person_places(parts: Mapping[str, Any]) -> tuple[str, ...]:
    """The places of a mapping's parts that let data about persons into the index."""
    entries = enumerate(parts.get("identifiers", ()))
    schemes = [f"identifiers.{place}" for place, e in entries if e.scheme in PERSON_SCHEMES]
    kept = [name for name in parts.get("fields", {}) if name not in parts.get("redact_always", ())]
    return (*schemes, *(f"fields.{name}" for name in kept if about_person(name)))


class SourceMapping:
    """A mapping and where it stands.

    ``digest`` changes with everything that decides what a row becomes: what was read under
    another digest has to be read anew.
    """

    __slots__ = ("base", "digest", "file")

    def __init__(self, file: MappingFile, base: Path) -> None:
        self.file = file
        self.base = base
        content = f"{NORM_VERSION}\n{file.model_dump_json()}".encode()
        self.digest = hashlib.sha256(content).hexdigest()[:32]

    def data_files(self) -> tuple[Path, ...]:
        """The files the patterns find now, in order, each once.

        :raises SourceUnusable: ``FILE_MISSING``, a pattern finds nothing.
        """
        return files_found(self.file.files, self.base)


def files_found(patterns: Iterable[str], base: Path) -> tuple[Path, ...]:
    """The files that patterns find now below a folder, in order, each once.

    :raises SourceUnusable: ``FILE_MISSING``, a pattern finds nothing.
    """
    found: dict[Path, None] = {}
    for glob in patterns:
        here = [path for path in sorted(base.glob(glob)) if path.is_file()]
        if not here:
            raise SourceUnusable(
                "a file pattern of the mapping finds no file",
                reasons=("FILE_MISSING",),
                remedy="compare `files` in the mapping with the folder it stands in (ls -l)",
            )
        found |= dict.fromkeys(here)
    return tuple(found)


def load_mapping(path: Path) -> SourceMapping:
    """Read and verify a mapping.

    :raises ConfigurationInvalid: every wrong key and value at once, with what is expected.
    """
    return SourceMapping(config.load(MappingFile, path), path.absolute().parent)
