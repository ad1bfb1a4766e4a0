"""The registry of cubes: read whole or not at all, with every problem and its line.

What a file says, whatever its spelling and comments, has one canonical form: JSON with sorted keys,
no white space. The registry's digest is over that, so that two who agree on it agree on every cell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import ValidationError

from fairlead import signing
from fairlead.cubes.cube import Cube, MadeOf, Measure, MeasureKind
from fairlead.cubes.dimension import Code, Dimension, Step
from fairlead.cubes.documents import CubeRow, DimensionRow, Document, MeasureRow, said
from fairlead.cubes.level import Axis, Level
from fairlead.cubes.meaning import registry_problems
from fairlead.cubes.period import TimeStep
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.forms import placed
from fairlead.written import Unreadable, load

MAX_FILE = 1024 * 1024
"""Octets of the registry."""
DOMAIN = "cubes"
NAME = "registry.yaml"


class InvalidCubes(Misconfigured):
    """The registry is wrong; ``problems`` has every one, ``file:line: path: what is expected``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the registry of cubes cannot be used",
            reasons=("CUBES_INVALID",),
            remedy="correct every line listed, then: fairlead policy check DIR",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Every cube there is. ``canonical``: the octets that say so, readable by :meth:`parse`."""

    version: int
    dimensions: tuple[Dimension, ...]
    cubes: tuple[Cube, ...]
    canonical: bytes

    @classmethod
    def parse(cls, data: bytes, name: str = NAME) -> Registry:
        """Read a registry, of YAML as officers write it or of canonical JSON, which is YAML too.

        :param name: what problems call the file.
        :raises InvalidCubes: CUBES_INVALID: every problem at once.
        """
        found = _read(data)
        if isinstance(found, Registry):
            return found
        raise InvalidCubes([f"{name}:{problem}" for problem in found])

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form under its domain; 32 octets."""
        return signing.digest(signing.preimage(DOMAIN, self.canonical))

    def cube(self, name: str) -> Cube:
        """:raises InvalidInput: CUBE_UNKNOWN; the remedy has the cubes there are."""
        for found in self.cubes:
            if found.id == name:
                return found
        names = "  ".join(cube.id for cube in self.cubes)
        raise InvalidInput(
            "the registry has no such cube",
            reasons=("CUBE_UNKNOWN",),
            remedy=f"name one of: {names}",
        )


@lru_cache(maxsize=4)
def _read(data: bytes) -> Registry | tuple[str, ...]:
    """The registry, or what is wrong; the same octets are read once."""
    if len(data) > MAX_FILE:
        return ("1: (top): a file of at most 1 MiB is expected",)
    try:
        written = load(data)
    except Unreadable as error:
        return (f"{error.line}: (top): YAML is expected, without aliases and repeated keys",)
    try:
        document = Document.model_validate(written.content)
    except ValidationError as error:
        found = [(tuple(item["loc"]), said(item)) for item in error.errors()]
    else:
        found = list(registry_problems(document))
        if not found:
            return _made(document)
    return tuple(placed(written.lines, path, text) for path, text in found)


# ── From rows ────────────────────────────────────────────────────────────────────────────────


def _made(document: Document) -> Registry:
    dimensions = {row.id: _dimension(row) for row in document.dimensions}
    plain = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Registry(
        version=document.version,
        dimensions=tuple(dimensions.values()),
        cubes=tuple(_cube(row, dimensions) for row in document.cubes),
        canonical=json.dumps(
            plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode(),
    )


def _dimension(row: DimensionRow) -> Dimension:
    return Dimension(
        id=row.id,
        title=row.title,
        steps=tuple(
            Step(
                step=step.step,
                title=step.title,
                codes=tuple(
                    Code(code=code.code, title=code.title, parent=code.parent or "")
                    for code in step.codes
                ),
            )
            for step in row.steps
        ),
    )


def _cube(row: CubeRow, known: Mapping[str, Dimension]) -> Cube:
    dimensions = tuple(known[name] for name in row.dimensions)
    above = {level.level: level.rolls_up_to for level in row.levels}
    made: dict[str, Level] = {}

    def level(name: str) -> Level:
        if name not in made:
            parent = above[name]
            made[name] = _level(row.id, name, dimensions, None if parent is None else level(parent))
        return made[name]

    return Cube(
        id=row.id,
        version=row.version,
        title=row.title,
        about=row.about,
        made_of=tuple(MadeOf(word) for word in row.made_of),
        dimensions=dimensions,
        measures=tuple(_measure(item) for item in row.measures),
        levels=tuple(level(name) for name in above),
    )


def _level(cube: str, name: str, dimensions: Sequence[Dimension], parent: Level | None) -> Level:
    time, *steps = name.split(",")
    axes = tuple(
        Axis(dimension=dimension, step=step)
        for dimension in dimensions
        for step in dimension.steps
        if step.step in steps
    )
    return Level(cube=cube, time=TimeStep(time), axes=axes, parent=parent)


def _measure(row: MeasureRow) -> Measure:
    parts = (row.numerator, row.denominator)
    return Measure(
        id=row.id,
        title=row.title,
        kind=MeasureKind(row.kind),
        unit=row.unit,
        bound=row.bound or 0,
        step=row.step or 1,
        dominance=row.dominance,
        edges=tuple(row.edges),
        parts=None if parts[0] is None or parts[1] is None else (parts[0], parts[1]),
    )
