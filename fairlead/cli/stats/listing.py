"""``fairlead stats list``: which figures there are, and which of them you may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import ProfileOption, RowsOption, connect
from fairlead.cli.output import RowFormat, awaited, emit_json, emit_rows, say
from fairlead.cli.stats import completing

if TYPE_CHECKING:
    from fairlead.cli.stats.choosing import Known
    from fairlead.cubes.cube import Cube

CUBE_COLUMNS = ("cube", "title", "levels", "you_may_ask")
LEVEL_COLUMNS = ("level", "cells", "rolls_up_to")
CubeArgument = Annotated[
    str | None,
    typer.Argument(
        help="A cube, to see its measures and levels; else all cubes.",
        autocompletion=completing.cubes,
    ),
]


def list_cubes(
    cube: CubeArgument = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """List the cubes, or the levels of one, and for which purposes you may ask for them."""
    from fairlead.cli.stats.choosing import cube_of, known_at
    from fairlead.cli.stats.keeping import FOLDER

    async def run() -> Known:
        client, _, folder = connect(profile)
        async with client:
            return await known_at(client, folder / FOLDER)

    known = awaited(run())
    if cube is None:
        _show_cubes(known, output)
    else:
        _show_levels(known, cube_of(known.registry, cube), output)


def _show_cubes(known: Known, output: RowFormat) -> None:
    if output is RowFormat.JSON:
        emit_json([record(known, cube) for cube in known.registry.cubes])
        return
    emit_rows(
        [
            {
                "cube": cube.id,
                "title": cube.title,
                "levels": len(cube.levels),
                "you_may_ask": _permitted(known, cube),
            }
            for cube in known.registry.cubes
        ],
        columns=CUBE_COLUMNS,
        output=output,
    )
    if output is RowFormat.TABLE:
        say("next: fairlead stats list CUBE   (its levels)")


def _show_levels(known: Known, cube: Cube, output: RowFormat) -> None:
    if output is RowFormat.JSON:
        emit_json(record(known, cube))
        return
    if output is RowFormat.TABLE:
        say(f"{cube.title}: {cube.about}")
        for measure in cube.measures:
            say(f"  {measure.id}: {measure.title} ({measure.kind.value}, {measure.unit})")
        say(f"you may ask for: {_permitted(known, cube)}")
    emit_rows(level_records(cube), columns=LEVEL_COLUMNS, output=output)
    if output is RowFormat.TABLE:
        say(f"next: fairlead stats query {cube.id} --level {cube.levels[-1].name} --period PERIOD")


def record(known: Known, cube: Cube) -> dict[str, object]:
    """All about a cube, for programs."""
    return {
        "cube": cube.id,
        "version": cube.version,
        "title": cube.title,
        "about": cube.about,
        "measures": [
            {
                "measure": measure.id,
                "title": measure.title,
                "kind": measure.kind.value,
                "unit": measure.unit,
            }
            for measure in cube.measures
        ],
        "levels": level_records(cube),
        "purposes": list(known.permitted(cube)),
    }


def level_records(cube: Cube) -> Sequence[dict[str, object]]:
    """The levels of a cube; ``cells``: in one unit of time."""
    return [
        {
            "level": level.name,
            "cells": level.width,
            "rolls_up_to": None if level.parent is None else level.parent.name,
        }
        for level in cube.levels
    ]


def _permitted(known: Known, cube: Cube) -> str:
    return ", ".join(known.permitted(cube)) or "no"
