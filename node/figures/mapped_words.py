"""Which word of an owner's column is which code of a dimension. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.cubes.cube import Cube
from fairlead.cubes.dimension import Dimension, Step
from fairlead.cubes.shore import shore_of
from fairlead.errors import InvalidInput
from node.figures.mapped_form import DimensionColumn, MappedFile

PLACE, PORT = "place", "port"
"""The dimension whose port tells the shore, and its step of ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Of one dimension: ``column`` with ``codes`` by word (the empty word among them if it is one)
    and the code of every ``other`` word; or, without a column, a ``constant`` code. None: no code.
    The codes are of ``step``."""

    dimension: str
    step: str
    column: str | None
    codes: Mapping[str, str]
    other: str | None
    constant: str | None

    def at(self, dimension: Dimension, step: str | None) -> Mapping[str, int]:
        """The place of every code of its step at a coarser one; without one, 0 for each."""
        codes = dimension.steps[dimension.place(self.step)].codes
        up = (0,) * len(codes) if step is None else dimension.up(self.step, step)
        return {code.code: place for code, place in zip(codes, up, strict=True)}


def words_of(file: MappedFile, cube: Cube, dimension: str) -> Words:
    """What a mapping says of one dimension.

    :raises InvalidInput: DIMENSION_UNKNOWN; STEP_UNKNOWN.
    """
    entry = file.dimensions[dimension]
    if entry.by_port:
        return _by_port(file, cube, dimension, entry)
    step = step_of(cube, dimension, entry)
    codes = {code.code: code.code for code in step.codes}
    codes |= {word.strip(" "): code for word, code in entry.map.items()}
    if entry.empty is not None:
        codes[""] = entry.empty
    return Words(
        dimension=dimension,
        step=step.step,
        column=entry.column,
        codes=codes,
        other=entry.other,
        constant=entry.value,
    )


def step_of(cube: Cube, dimension: str, entry: DimensionColumn) -> Step:
    """The step whose codes a column holds.

    :raises InvalidInput: DIMENSION_UNKNOWN; STEP_UNKNOWN.
    """
    found = next((row for row in cube.dimensions if row.id == dimension), None)
    if found is None or entry.step is None:
        return cube.finest(dimension)
    return found.steps[found.place(entry.step)]


def _by_port(file: MappedFile, cube: Cube, dimension: str, entry: DimensionColumn) -> Words:
    """The shore, from the words of the place; a port of no known shore is no word."""
    place = words_of(file, cube, PLACE)
    where = next(row for row in cube.dimensions if row.id == PLACE)
    ports = where.steps[where.place(PORT)].codes
    up = where.up(place.step, PORT)
    below = where.steps[where.place(place.step)].codes
    shores = {
        code.code: shore
        for code, to in zip(below, up, strict=True)
        if (shore := entry.map.get(ports[to].code) or _known(ports[to].code)) is not None
    }
    return Words(
        dimension=dimension,
        step=cube.finest(dimension).step,
        column=place.column,
        codes={word: shores[code] for word, code in place.codes.items() if code in shores},
        other=shores.get(place.other or ""),
        constant=shores.get(place.constant or ""),
    )


def _known(port: str) -> str | None:
    try:
        return shore_of(port)
    except InvalidInput:
        return None
