"""``fairlead-node outcomes``: what came of an enquiry."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.options import RowsOption
from fairlead.cli.output import Format, RowFormat, say
from node.cli.act import CONFIG, ConfigOption, act
from node.cli.registering import (
    AllOption,
    ByOption,
    CorrectOption,
    OutputOption,
    PlaceOption,
    done,
    show,
    withdrawal,
)

app = typer.Typer(
    help="What came of enquiries: kept here, counted in figures, never sent.", no_args_is_help=True
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As in your own records.")]


@app.command("add")
def add(
    outcome_id: IdArgument,
    by: ByOption,
    enquiry: Annotated[str, typer.Option("--enquiry", help="The id of the enquiry.")],
    outcome: Annotated[
        str,
        typer.Option("--outcome", help="unsubstantiated, substantiated, measure, seizure."),
    ],
    on: Annotated[str, typer.Option("--on", help="The day, as in 2026-02-17.")],
    kg: Annotated[
        int | None, typer.Option("--kg", help="Of a seizure: whole kilograms, gross.", min=0)
    ] = None,
    exchange: Annotated[
        str,
        typer.Option("--exchange", help="Of a seizure: linked to an answer here, or unlinked."),
    ] = "",
    place: PlaceOption = "",
    correct: CorrectOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Enter what came of an enquiry; there may be several, and the furthest counts."""
    weight = {} if kg is None else {"kg": kg}
    found = act(
        config, "outcome-add", entry=outcome_id, by=by, on=on, enquiry=enquiry, outcome=outcome,
        exchange=exchange, place=place, correct=correct, **weight,
    )  # fmt: skip
    done(found, output)
    say(f"next: fairlead-node enquiries close {enquiry} --closed DAY --by {by}")


@app.command("list")
def listed(
    every: AllOption = False, config: ConfigOption = CONFIG, output: RowsOption = RowFormat.TABLE
) -> None:
    """List the outcomes."""
    show(config, "outcome", every=every, output=output)


@app.command("withdraw")
def withdraw(
    outcome_id: IdArgument,
    by: ByOption,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say that an outcome was entered by mistake; it stays in the register and counts nowhere."""
    withdrawal(config, "outcome", outcome_id, by=by, output=output)
