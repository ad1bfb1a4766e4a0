"""The registry as officers write it: its form (docs/statistics.md explains every field)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from fairlead.forms import STRICT, said_of

SCHEMA = 1
MAX_CODES = 4096
MAX_BOUND = 2**48
"""A thousand contributors' squares of it stay below 2**127, the middle of the sums' modulus."""
MAX_STEP = 1_000_000


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError
    return text


Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
CodeWord = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,31}$")]
LevelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}(,[a-z][a-z0-9-]{0,63}){0,8}$")]
Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Version = Annotated[int, Field(ge=1, le=1_000_000)]


class _Row(BaseModel):
    model_config = STRICT


class CodeRow(_Row):
    """One value."""

    code: CodeWord
    title: Title
    parent: CodeWord | None = None
    """The code of the next step that it belongs to; none at the coarsest step."""


class StepRow(_Row):
    """A step of a hierarchy; its codes are counted in this order."""

    step: Id
    """What levels call it."""
    title: Title
    codes: Annotated[list[CodeRow], Field(min_length=1, max_length=MAX_CODES)]


class DimensionRow(_Row):
    """By what figures are broken down: steps from the finest to the coarsest."""

    id: Id
    title: Title
    steps: Annotated[list[StepRow], Field(min_length=1, max_length=8)]


class MeasureRow(_Row):
    """One figure of a cell."""

    id: Id
    title: Title
    kind: Literal["count", "sum", "median", "rate"]
    unit: Title
    bound: Annotated[int, Field(ge=1, le=MAX_BOUND)] | None = None
    """The largest number that one contributor may state in one cell; not for a rate."""
    step: Annotated[int, Field(ge=1, le=MAX_STEP)] | None = None
    """For a sum: noise hides differences of it and rounding keeps to five of it; 1 if not given."""
    dominance: bool = False
    """For a sum: released only where no contributor makes up most of it."""
    edges: Annotated[list[Annotated[int, Field(ge=0, le=MAX_BOUND)]], Field(max_length=64)] = []
    """For a median: between the bars of its histogram, ascending."""
    numerator: Id | None = None
    """For a rate: a count or sum of the cube."""
    denominator: Id | None = None
    """For a rate: another one, of which the rate is so many per cent."""


class LevelRow(_Row):
    """What may be asked for."""

    level: LevelName
    """month, quarter or year, then steps in the order of the cube's dimensions."""
    rolls_up_to: LevelName | None = None
    """The coarser level that stands in for it; one level of a cube has none."""


class CubeRow(_Row):
    """One table of figures."""

    id: Id
    version: Version
    """Grows with every change of the cube."""
    title: Title
    about: Title
    """In one line: what it says, and what dates a record."""
    made_of: Annotated[
        list[Literal["reports", "enquiries", "outcomes", "feedback", "audit-log", "source"]],
        Field(min_length=1),
    ]
    dimensions: Annotated[list[Id], Field(max_length=8)]
    measures: Annotated[list[MeasureRow], Field(min_length=1, max_length=32)]
    levels: Annotated[list[LevelRow], Field(min_length=1, max_length=64)]


class Document(_Row):
    """The whole registry."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    version: Version
    """Grows with every change of the registry."""
    dimensions: Annotated[list[DimensionRow], Field(max_length=64)]
    cubes: Annotated[list[CubeRow], Field(max_length=128)]


_MODELS = (CodeRow, StepRow, DimensionRow, MeasureRow, LevelRow, CubeRow, Document)


def said(item: Any) -> str:
    """What is expected where pydantic found an error; never the value, nor an unknown key."""
    return said_of(item, _MODELS)


def json_schema() -> dict[str, Any]:
    """The form as JSON Schema, for editors; ``policies/schema`` has it."""
    schema = Document.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
