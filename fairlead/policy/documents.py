"""Policy files as officers write them: their form, and every error of form with its path.

A value is never repeated in a problem, and neither is an unknown key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fairlead.errors import Misconfigured

MAX_FILE = 1024 * 1024
"""Octets of one file."""

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Party = Annotated[
    str, Field(pattern=r"^(sector:[a-z]+|kind:[a-z_]+|partner:[a-z][a-z0-9-]{1,31})$")
]
FacetName = Annotated[
    str, Field(pattern=r"^(existence|count_band|contact_desk|full_record|field:[a-z][a-z0-9_]*)$")
]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Natural = Annotated[int, Field(ge=0, le=1_000_000_000)]
Kind = Annotated[str, Field(pattern=r"^[a-z_]+$")]


class InvalidAgreements(Misconfigured):
    """A policy file is wrong; ``problems`` has every problem as ``path: what is expected``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the agreements cannot be used",
            reasons=("AGREEMENTS_INVALID",),
            remedy="correct every line listed, then: fairlead-node check --config FILE",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Limits(_Row):
    """Ceilings no agreement can lift."""

    max_terms: Count
    second_person_above_terms: Count
    max_records: Count
    retention_days: Count


class Purpose(_Row):
    """What a question may be for. ``covert``: nobody at the owner must notice it."""

    title: Title
    covert: bool
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    approvals: Annotated[int, Field(ge=0, le=5)]


class LegalBasis(_Row):
    """Which kinds of organisation may rely on which law."""

    title: Title
    kinds: Annotated[list[Kind], Field(min_length=1)]


class FieldRow(_Row):
    """A field that sources may release."""

    personal: bool


class Registry(_Row):
    """The meaning of every word the agreements use."""

    limits: Limits
    purposes: Annotated[dict[Id, Purpose], Field(min_length=1)]
    legal_bases: Annotated[dict[Id, LegalBasis], Field(min_length=1)]
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    fields: Annotated[dict[Id, FieldRow], Field(min_length=1)]


class Agreement(_Row):
    """Partners of ``from`` may ask partners of ``to``, under these terms."""

    id: Id
    asked_by: Annotated[list[Party], Field(min_length=1, alias="from")]
    to: Annotated[list[Party], Field(min_length=1)]
    purposes: Annotated[list[Id], Field(min_length=1)]
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    modes: Annotated[list[Literal["sealed", "blind"]], Field(min_length=1)]
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    facets: Annotated[list[FacetName], Field(min_length=1)]
    redact: list[Id]
    max_records: Count
    approvals: Annotated[int, Field(ge=0, le=5)] = 0
    notice_delay_s: Natural
    retention_days: Count
    max_terms: Count
    max_window_days: Count | None
    valid_from: dt.date
    valid_until: dt.date


class Document(_Row):
    """One file."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    registry: Registry | None = None
    adopt: list[Id] = []
    agreements: list[Agreement] = []


class _Loader(yaml.SafeLoader):
    """YAML without aliases and without a key written twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise yaml.YAMLError
        return super().construct_mapping(node, deep)


def parse_document(name: str, data: bytes, problems: list[str]) -> Document | None:
    """Read one file; None, and its problems added to ``problems``, when it is wrong."""
    document, found = _read(data)
    problems.extend(f"{name}: {problem}" for problem in found)
    return document


@lru_cache(maxsize=8)
def _read(data: bytes) -> tuple[Document | None, tuple[str, ...]]:
    """The document in some octets, and what is wrong; the same octets are read once."""
    if len(data) > MAX_FILE:
        return None, ("a file of at most 1 MiB is expected",)
    try:
        content = yaml.load(data, Loader=_Loader)  # noqa: S506  (a SafeLoader made stricter)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None, ("YAML is expected, without aliases and without repeated keys",)
    try:
        return Document.model_validate(content), ()
    except ValidationError as error:
        return None, tuple(_problem(item) for item in error.errors())


def _problem(item: Any) -> str:
    """``path: what is expected``; never the value, and never an unknown key's own spelling."""
    path, kind = list(item["loc"]), item["type"]
    if kind == "extra_forbidden":
        return f"{_path(path[:-1])}: an unknown key is here{_meant(str(path[-1]))}"
    if kind == "missing":
        return f"{_path(path)}: is missing"
    return f"{_path(path)}: {_EXPECTED.get(kind, 'a value of the documented form is expected')}"


_EXPECTED = {
    "int_type": "a whole number is expected",
    "bool_type": "true or false is expected",
    "string_type": "text is expected",
    "list_type": "a list is expected",
    "dict_type": "a table is expected",
    "model_type": "a table is expected",
    "date_type": "a date is expected, as in 2026-01-31",
    "too_short": "at least one entry is expected",
    "greater_than_equal": "a larger number is expected",
    "less_than_equal": "a smaller number is expected",
    "literal_error": "one of the documented words is expected",
    "string_pattern_mismatch": "one of the documented spellings is expected",
}


def _path(parts: Sequence[object]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top)"


def _meant(key: str) -> str:
    models = (Document, Registry, Limits, Purpose, LegalBasis, FieldRow, Agreement)
    known = {f.alias or n for model in models for n, f in model.model_fields.items()}
    close = get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
