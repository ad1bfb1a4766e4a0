"""Whether a mapping fits the cube it is for: every problem at once, none of the source's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairlead.config import ConfigurationInvalid, Problem
from fairlead.cubes.cube import Cube, MadeOf, MeasureKind
from fairlead.cubes.dimension import Dimension, Step
from fairlead.cubes.registry import Registry
from fairlead.cubes.shore import INLAND, SEA
from fairlead.errors import InvalidInput
from node.figures.mapped_form import DimensionColumn, FiguresMapping, MappedFile, MeasureColumn
from node.figures.mapped_plan import UNITS, scale
from node.figures.mapped_words import PLACE, PORT, step_of, words_of


def check_fits(mapping: FiguresMapping, registry: Registry) -> Cube:
    """The mapping's cube, of which it states everything.

    :raises ConfigurationInvalid: ``FIGURES_UNFIT``: every key that is wrong for the cube, with
        what is expected.
    """
    try:
        cube = registry.cube(mapping.file.cube)
    except InvalidInput:
        names = ", ".join(found.id for found in registry.cubes)
        raise _unfit(mapping.name, [Problem(key="cube", expected=f"one of {names}")]) from None
    if found := problems_of(mapping.file, cube):
        raise _unfit(mapping.name, found)
    return cube


def problems_of(file: MappedFile, cube: Cube) -> list[Problem]:
    """What of a mapping is wrong for its cube."""
    return list(_problems(file, cube))


def _unfit(name: str, problems: list[Problem]) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        "FIGURES_UNFIT",
        problems,
        remedy=f"correct these keys in {name}, then: fairlead-node statistics check",
    )


def _problems(file: MappedFile, cube: Cube) -> Iterator[Problem]:
    if MadeOf.SOURCE not in cube.made_of:
        yield Problem(key="cube", expected="a cube that is made of sources (docs/statistics.md)")
    known = {dimension.id: dimension for dimension in cube.dimensions}
    yield from _names("dimensions", file.dimensions, known)
    for name, entry in file.dimensions.items():
        if name in known:
            key = f"dimensions.{name}"
            if entry.by_port:
                yield from _shore(key, file, cube, known[name], entry)
            else:
                yield from _dimension(key, cube, known[name], entry)
    needed = {row.id: row for row in cube.measures if row.kind is not MeasureKind.RATE}
    yield from _names("measures", file.measures, needed)
    for name, row in file.measures.items():
        if name in needed:
            yield from _measure(f"measures.{name}", needed[name].kind, needed[name].unit, row)


def _names(
    table: str, given: Mapping[str, object], known: Mapping[str, object]
) -> Iterator[Problem]:
    for name in known:
        if name not in given:
            yield Problem(key=f"{table}.{name}", expected="missing; expected a table")
    if unknown := [name for name in given if name not in known]:
        kinds = ", ".join(known) or "nothing"
        yield Problem(key=table, expected=f"{len(unknown)} unknown; the cube has {kinds}")


# ── Dimensions ───────────────────────────────────────────────────────────────────────────────


def _dimension(
    key: str, cube: Cube, dimension: Dimension, entry: DimensionColumn
) -> Iterator[Problem]:
    finest = cube.finest(dimension.id)
    most = dimension.place(finest.step)
    steps = ", ".join(step.step for step in dimension.steps[: most + 1])
    try:
        step = step_of(cube, dimension.id, entry)
    except InvalidInput:
        yield Problem(key=f"{key}.step", expected=f"one of {steps}")
        return
    if dimension.place(step.step) > most:
        yield Problem(key=f"{key}.step", expected=f"one of {steps}: levels count by {finest.step}")
    yield from _codes(key, step, entry)


def _codes(key: str, step: Step, entry: DimensionColumn) -> Iterator[Problem]:
    codes = {code.code for code in step.codes}
    for field in ("value", "other", "empty"):
        if getattr(entry, field) not in {None, *codes}:
            yield Problem(key=f"{key}.{field}", expected=f"a code of the step {step.step}")
    if wrong := sum(code not in codes for code in entry.map.values()):
        text = f"codes of the step {step.step}; {wrong} of {len(entry.map)} are none"
        yield Problem(key=f"{key}.map", expected=text)


def _shore(
    key: str, file: MappedFile, cube: Cube, dimension: Dimension, entry: DimensionColumn
) -> Iterator[Problem]:
    where = next((row for row in cube.dimensions if row.id == PLACE), None)
    place = file.dimensions.get(PLACE)
    own = {code.code for code in cube.finest(dimension.id).codes}
    if where is None or place is None or place.by_port or not {SEA, INLAND} <= own:
        yield Problem(key=f"{key}.by_port", expected="a shore, and a table [dimensions.place]")
        return
    try:
        step = step_of(cube, PLACE, place)
        fine = where.place(step.step) <= where.place(PORT)
    except InvalidInput:
        return  # the place's own problem
    if not fine:
        yield Problem(key=f"{key}.by_port", expected="a place by its port, or finer")
        return
    ports = {code.code for code in where.steps[where.place(PORT)].codes}
    if not (set(entry.map) <= ports and set(entry.map.values()) <= own):
        yield Problem(key=f"{key}.map", expected="a table from ports to sea or inland")
        return
    if place.value is not None and words_of(file, cube, dimension.id).constant is None:
        yield Problem(key=f"{key}.map", expected="the shore of the port that is stated")


# ── Measures ─────────────────────────────────────────────────────────────────────────────────


def _measure(key: str, kind: MeasureKind, unit: str, row: MeasureColumn) -> Iterator[Problem]:
    counted = kind is MeasureKind.COUNT
    own_only = counted or row.since is not None
    if (row.unit != unit) if own_only else (scale(row.unit, unit) is None):
        others = [] if own_only else [own for own, to in UNITS if to == unit]
        yield Problem(key=f"{key}.unit", expected=f"the unit {' or '.join([unit, *others])}")
    if not counted and row.column is None:
        yield Problem(key=f"{key}.column", expected="missing; expected a column of numbers")
    if row.since is not None and (kind is not MeasureKind.MEDIAN or ("seconds", unit) not in UNITS):
        yield Problem(key=f"{key}.since", expected="nothing: only a median of days or hours has it")
    if not counted and row.values:
        yield Problem(key=f"{key}.values", expected="nothing: only a count has it")
    if kind is not MeasureKind.SUM and row.empty_is_zero:
        yield Problem(key=f"{key}.empty_is_zero", expected="nothing: only a sum has it")
