"""``fairlead stats query``: ask for figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import ProfileOption, RowsOption, connect
from fairlead.cli.output import RowFormat, awaited, say
from fairlead.cli.stats import completing

if TYPE_CHECKING:
    from fairlead.cli.stats.showing import Answer


def query(
    cube: Annotated[
        str,
        typer.Argument(help="A cube; see: fairlead stats list.", autocompletion=completing.cubes),
    ],
    level: Annotated[
        str,
        typer.Option(
            help="How finely: one of the cube's, as quarter,country.",
            autocompletion=completing.levels,
        ),
    ],
    period: Annotated[str, typer.Option(help="2026-01, 2026-Q1, 2026 or 2026-Q1..2026-Q3.")],
    purpose: Annotated[
        str | None, typer.Option(help="Why; needed where you may ask for several purposes.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(help="Draw the figures as SVG, with their table, into this file.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="Which measure to draw; by default the cube's first.")
    ] = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """Ask for the Alliance's figures of periods that are over. Nobody's own figures leave home.

    Exit codes: 0 answered (also where nothing may be shown), 2 usage, 5 refused by policy or
    budget, 7 the gateway cannot be reached, 8 a check failed.
    """
    from fairlead.cli.stats.keeping import check_folder, draw
    from fairlead.cli.stats.showing import as_chart, show

    if chart is not None:
        check_folder(chart)
    answer = awaited(_ask(cube, level, period, purpose, measure, profile))
    show(answer, output)
    if chart is not None:
        draw(chart, as_chart(answer, measure))
        say(f"chart: {chart}")


async def _ask(
    cube: str,
    level: str,
    period: str,
    purpose: str | None,
    measure: str | None,
    profile: Path | None,
) -> Answer:
    from fairlead.cli.stats.choosing import choose, known_at
    from fairlead.cli.stats.gathering import Telling, gather
    from fairlead.cli.stats.keeping import FOLDER, Kept
    from fairlead.cli.stats.showing import Answer

    client, _, folder = connect(profile)
    async with client:
        wanted = choose(
            await known_at(client, folder / FOLDER),
            cube=cube,
            level=level,
            period=period,
            purpose=purpose,
            now=time.time(),
        )
        if measure is not None:
            wanted.cube.measure(measure)
        kept = Kept(folder=folder / FOLDER, directory=client.directory)
        releases = await gather(client, wanted, kept=kept, telling=Telling.to_person())
    return Answer(cube=wanted.cube, level=wanted.level, units=wanted.units, releases=releases)
