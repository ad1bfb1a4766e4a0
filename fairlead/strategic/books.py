"""What is out of one cube: a row for each release, and from the rows a ledger for each measure.

A release's own octets do not say which figures are totals of published parts, so a row lies beside
them. Figures are in steps of their measure, as they are decided (:mod:`.deciding`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.period import TimeStep, Unit, parse_unit
from fairlead.disclosure.ledger import Asked, Ledger, Release
from fairlead.disclosure.system import Cell, Interval
from fairlead.errors import InvalidInput
from fairlead.forms import STRICT
from fairlead.strategic.lattice import Place, level_named, references
from fairlead.strategic.layout import layout_of
from fairlead.strategic.looks import Look
from fairlead.strategic.waiver import Waiver

Count = Annotated[int, Field(ge=0)]


class Kept(BaseModel):
    """One measure of a release, in steps; ``errors`` in the measure's own unit. ``partial`` and the
    first numbers of ``spans`` are places of cells, the others the values behind a whole total."""

    model_config = STRICT

    figures: list[Count | None]
    errors: list[Count]
    partial: list[Count]
    spans: list[tuple[Count, float, float]]


class Row(BaseModel):
    """One release, of every measure that adds up."""

    model_config = STRICT

    cube_version: Count
    level: str
    unit: str
    version: Count
    layout: str
    """Of the cube as it then was (:mod:`.layout`)."""
    participants: Count
    measures: dict[str, Kept]

    @property
    def place(self) -> Place:
        """Its level's name and its unit."""
        return self.level, parse_unit(self.unit)

    def to_bytes(self) -> bytes:
        """Octets to keep beside the release's."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Row:
        """Undo :meth:`to_bytes`.

        :raises InvalidInput: BOOKS.
        """
        try:
            found = cls.model_validate_json(data)
            parse_unit(found.unit)
        except (ValidationError, InvalidInput):
            raise InvalidInput(
                "what is kept of a release is unreadable", reasons=("BOOKS",)
            ) from None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Every release of one cube, in the order in which they were made, and what owners waived."""

    rows: tuple[Row, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[bytes], waivers: Iterable[Waiver] = ()) -> Books:
        """From what was kept.

        :raises InvalidInput: BOOKS.
        """
        return cls(rows=tuple(Row.from_bytes(row) for row in rows), waivers=tuple(waivers))

    def with_row(self, row: Row) -> Books:
        """With one release more."""
        return replace(self, rows=(*self.rows, row))

    def found(self, cube: Cube, place: Place, version: int) -> bool:
        """Whether there is such a release of the cube, in whatever version it had this layout."""
        wanted = (layout_of(cube), *place, version)
        return any((row.layout, *row.place, row.version) == wanted for row in self.rows)

    def foreign(self, cube: Cube, unit: Unit) -> bool:
        """Whether something is out of a unit's months by another layout: how its cells add up to
        those of this one, nobody knows."""
        layout = layout_of(cube)
        return any(row.layout != layout and _overlap(row.place[1], unit) for row in self.rows)

    def near(self, cube: Cube, unit: Unit) -> tuple[Row, ...]:
        """The releases that may have to do with a unit: those of its calendar year."""
        layout, year = layout_of(cube), unit.within(TimeStep.YEAR)
        return tuple(
            row
            for row in self.rows
            if row.layout == layout and row.place[1].within(TimeStep.YEAR) == year
        )

    def beside(self, cube: Cube, unit: Unit, version: int) -> list[Row]:
        """Those of a version whose time a unit shares."""
        rows = self.near(cube, unit)
        return [row for row in rows if row.version == version and _overlap(row.place[1], unit)]


def _overlap(one: Unit, other: Unit) -> bool:
    return one.begins < other.ends and other.begins < one.ends


@dataclass(slots=True, kw_only=True)
class Account:
    """One measure in what is near a release: its ledger, the errors of its figures, its looks."""

    ledger: Ledger
    errors: dict[tuple[int, Cell], int] = field(default_factory=dict)
    """By version and cell."""
    looks: list[Look] = field(default_factory=list)


def account(
    cube: Cube, measure: Measure, rows: Sequence[Row], waived: Mapping[Cell, Interval]
) -> Account:
    """What the rows of one layout say of one measure.

    :raises InvalidInput: BOOKS, RELEASE: rows that are not of these cells.
    """
    found = Account(ledger=Ledger(waivers=waived))
    for row in rows:
        kept = row.measures.get(measure.id)
        if kept is None:
            continue
        level, unit = level_named(cube, row.level), row.place[1]
        cells = references(level, unit)
        if len(cells) != len(kept.figures) or len(cells) != len(kept.errors):
            raise InvalidInput("what is kept of a release is unreadable", reasons=("BOOKS",))
        made = release_of(asked_of(cube, measure, row), cells, kept)
        found.ledger = found.ledger.with_release(made)
        found.looks.append(Look(level=level, unit=unit, drawn=drawn_of(made)))
        for cell, error in zip(cells, kept.errors, strict=True):
            found.errors[row.version, cell] = error
    return found


def asked_of(cube: Cube, measure: Measure, row: Row) -> Asked:
    """The name of a row's release in a measure's ledger. All rows are of the cube's layout, and
    what is out goes on when its version is raised."""
    return Asked(
        cube=cube.id,
        cube_version=cube.version,
        measure=measure.id,
        level=row.level,
        period=row.unit,
        version=row.version,
    )


def release_of(asked: Asked, cells: tuple[Cell, ...], kept: Kept) -> Release:
    """A release as it was decided."""
    return Release(
        asked=asked,
        cells=cells,
        figures=tuple(kept.figures),
        spans={cells[at]: Interval(low=low, high=high) for at, low, high in kept.spans},
        partial=frozenset(cells[at] for at in kept.partial),
    )


def kept_of(made: Release, errors: Mapping[Cell, int]) -> Kept:
    """Undo :func:`release_of`."""
    return Kept(
        figures=list(made.figures),
        errors=[errors.get(cell, 0) for cell in made.cells],
        partial=[at for at, cell in enumerate(made.cells) if cell in made.partial],
        spans=list(_spans(made)),
    )


def _spans(made: Release) -> Iterator[tuple[int, float, float]]:
    for at, cell in enumerate(made.cells):
        if (span := made.spans.get(cell)) is not None:
            yield at, span.low, span.high


def drawn_of(made: Release) -> tuple[bool, ...]:
    """Which cells have a figure with noise of its own."""
    drawn = made.shown.keys() - made.partial - made.spans.keys()
    return tuple(cell in drawn for cell in made.cells)
