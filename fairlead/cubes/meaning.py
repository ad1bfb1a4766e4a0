"""What is wrong with a registry of the right form: every problem, with its place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from fairlead.cubes.documents import (
    CubeRow,
    DimensionRow,
    Document,
    LevelRow,
    MeasureRow,
    StepRow,
)
from fairlead.cubes.level import MAX_CELLS
from fairlead.cubes.period import TimeStep
from fairlead.written import Path

Problem = tuple[Path, str]

TWICE = "the same name stands above"
_FIELDS = {
    "count": {"bound"},
    "sum": {"bound", "step", "dominance"},
    "median": {"bound", "edges"},
    "rate": {"numerator", "denominator"},
}
_DEMANDED = {**_FIELDS, "sum": {"bound"}}
MAX_ADDED = 9
"""Measures with contributors of their own: see :mod:`fairlead.summing.indicators`."""
PER_CENT = "per cent"
LEVEL = (
    "month, quarter or year is expected, then at most one step of each of the cube's dimensions, "
    "in their order"
)


def registry_problems(document: Document) -> Iterator[Problem]:
    """Every problem of the words, the hierarchies, the measures and the levels."""
    yield from _twice(("dimensions",), "id", [row.id for row in document.dimensions])
    yield from _steps_twice(document.dimensions)
    for place, dimension in enumerate(document.dimensions):
        yield from _hierarchy(("dimensions", place), dimension)
    yield from _twice(("cubes",), "id", [row.id for row in document.cubes])
    known = {row.id: row for row in document.dimensions}
    for place, cube in enumerate(document.cubes):
        path: Path = ("cubes", place)
        yield from _dimensions(path, cube, known)
        yield from _measures(path, cube)
        yield from _levels(path, cube, [known[name] for name in cube.dimensions if name in known])


def _twice(path: Path, key: str, names: Sequence[str]) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if name in names[:place]:
            yield (*path, place, key), TWICE


# ── Hierarchies ──────────────────────────────────────────────────────────────────────────────


def _steps_twice(dimensions: Sequence[DimensionRow]) -> Iterator[Problem]:
    """A step is named by itself in a level, so no two dimensions have one of the same name."""
    seen = {step.value for step in TimeStep}
    for place, dimension in enumerate(dimensions):
        for number, row in enumerate(dimension.steps):
            if row.step in seen:
                path: Path = ("dimensions", place, "steps", number, "step")
                yield path, f"{TWICE}, or is a step of time"
            seen.add(row.step)


def _hierarchy(path: Path, dimension: DimensionRow) -> Iterator[Problem]:
    for number, row in enumerate(dimension.steps):
        inner = (*path, "steps", number, "codes")
        above = dimension.steps[number + 1] if number + 1 < len(dimension.steps) else None
        codes: set[str] = set()
        for place, code in enumerate(row.codes):
            if code.code in codes:
                yield (*inner, place, "code"), TWICE
            codes.add(code.code)
        yield from _parents(inner, row, None if above is None else {c.code for c in above.codes})
        if above is not None:
            yield from _childless((*path, "steps", number + 1, "codes"), above, row)


def _parents(path: Path, row: StepRow, above: set[str] | None) -> Iterator[Problem]:
    for place, code in enumerate(row.codes):
        if above is None and code.parent is not None:
            yield (*path, place, "parent"), "the coarsest step belongs to nothing"
        elif above is not None and code.parent is None:
            yield (*path, place, "parent"), "is missing: a code of the next step is expected"
        elif above is not None and code.parent not in above:
            yield (*path, place, "parent"), "the next step has no such code"


def _childless(path: Path, above: StepRow, below: StepRow) -> Iterator[Problem]:
    """Without a finer code a coarse cell would not be the sum of its parts."""
    named = {code.parent for code in below.codes}
    for place, code in enumerate(above.codes):
        if code.code not in named:
            yield (*path, place, "code"), "no code of the step before belongs to it"


def _dimensions(path: Path, cube: CubeRow, known: dict[str, DimensionRow]) -> Iterator[Problem]:
    yield from _listed((*path, "dimensions"), cube.dimensions)
    yield from _listed((*path, "made_of"), cube.made_of)
    named = {step for level in cube.levels for step in level.level.split(",")}
    for place, name in enumerate(cube.dimensions):
        if name not in known:
            yield (*path, "dimensions", place), "the registry has no such dimension"
        elif named.isdisjoint(step.step for step in known[name].steps):
            yield (*path, "dimensions", place), "no level counts by it"


def _listed(path: Path, names: Sequence[str]) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if name in names[:place]:
            yield (*path, place), TWICE


# ── Measures ─────────────────────────────────────────────────────────────────────────────────


def _measures(path: Path, cube: CubeRow) -> Iterator[Problem]:
    path = (*path, "measures")
    if sum(row.kind != "rate" for row in cube.measures) > MAX_ADDED:
        yield path, f"at most {MAX_ADDED} that are no rates are expected"
    yield from _twice(path, "id", [row.id for row in cube.measures])
    additive = {row.id for row in cube.measures if row.kind in ("count", "sum")}
    for place, row in enumerate(cube.measures):
        own = (*path, place)
        yield from _fields(own, row)
        for field in ("numerator", "denominator"):
            if getattr(row, field) not in {None, *additive}:
                yield (*own, field), "the cube has no such count or sum"
        if row.numerator is not None and row.numerator == row.denominator:
            yield (*own, "denominator"), "another measure than the numerator is expected"
        if not all(low < high for low, high in pairwise(row.edges)):
            yield (*own, "edges"), "ascending numbers are expected"
        if row.step is not None and row.bound is not None and row.step > row.bound:
            yield (*own, "step"), "no more than the bound is expected"
        if (row.kind == "rate") != (row.unit == PER_CENT):
            yield (*own, "unit"), f"a rate, and nothing else, is in {PER_CENT}"


def _fields(path: Path, row: MeasureRow) -> Iterator[Problem]:
    given = {
        field
        for field in ("bound", "step", "dominance", "edges", "numerator", "denominator")
        if getattr(row, field)
    }
    for field in sorted(_DEMANDED[row.kind] - given):
        yield (*path, field), f"is missing: a {row.kind} has it"
    for field in sorted(given - _FIELDS[row.kind]):
        yield (*path, field), f"a {row.kind} has none"


# ── Levels ───────────────────────────────────────────────────────────────────────────────────


def _levels(path: Path, cube: CubeRow, dimensions: Sequence[DimensionRow]) -> Iterator[Problem]:
    path = (*path, "levels")
    yield from _twice(path, "level", [row.level for row in cube.levels])
    ranks = {row.level: _rank(row.level, dimensions) for row in cube.levels}
    for place, row in enumerate(cube.levels):
        own = (*path, place)
        rank = ranks[row.level]
        if rank is None:
            yield (*own, "level"), LEVEL
        elif _cells(row.level, dimensions) > MAX_CELLS:
            yield (*own, "level"), f"has more than {MAX_CELLS} cells in one unit of time"
        yield from _parent(own, row, rank, ranks)
    tops = [place for place, row in enumerate(cube.levels) if row.rolls_up_to is None]
    if not tops:
        yield path, "one level that rolls up to nothing is expected"
    for place in tops[1:]:
        yield (*path, place, "rolls_up_to"), "is missing: one level only rolls up to nothing"


Rank = tuple[int, ...]
"""How coarse a level is in time and in each dimension of its cube."""


def _parent(
    path: Path, row: LevelRow, rank: Rank | None, ranks: dict[str, Rank | None]
) -> Iterator[Problem]:
    if row.rolls_up_to is None:
        return
    if row.rolls_up_to not in ranks:
        yield (*path, "rolls_up_to"), "the cube has no such level"
        return
    above = ranks[row.rolls_up_to]
    if rank is None or above is None:
        return
    if rank == above or any(own > other for own, other in zip(rank, above, strict=True)):
        yield (*path, "rolls_up_to"), "a level that is nowhere finer, and coarser somewhere"


def _rank(level: str, dimensions: Sequence[DimensionRow]) -> Rank | None:
    """None: it is no level of these dimensions, or they are not in their order."""
    time, *steps = level.split(",")
    times = [step.value for step in TimeStep]
    if time not in times:
        return None
    found = [times.index(time)]
    rest = list(steps)
    for dimension in dimensions:
        names = [row.step for row in dimension.steps]
        found.append(names.index(rest.pop(0)) if rest and rest[0] in names else len(names))
    return None if rest else tuple(found)


def _cells(level: str, dimensions: Iterable[DimensionRow]) -> int:
    sizes = {row.step: len(row.codes) for dimension in dimensions for row in dimension.steps}
    return math.prod(sizes[step] for step in level.split(",")[1:])
