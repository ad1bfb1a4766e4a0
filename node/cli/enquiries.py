"""``fairlead-node enquiries``: what ensued from a report."""

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
    help="Enquiries: kept here, counted in figures, never sent.", no_args_is_help=True
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As in your own records.")]


@app.command("open")
def open_(
    enquiry: IdArgument,
    by: ByOption,
    opened: Annotated[str, typer.Option("--opened", help="The day, as in 2026-02-17.")],
    report: Annotated[str, typer.Option("--report", help="The id of the report behind it.")] = "",
    place: PlaceOption = "",
    correct: CorrectOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Enter an enquiry; its place is the report's, if there is one."""
    found = act(
        config, "enquiry-open", entry=enquiry, by=by, on=opened, report=report, place=place,
        correct=correct,
    )  # fmt: skip
    done(found, output)
    say(
        f"next: fairlead-node outcomes add ID --enquiry {enquiry} --outcome CODE --on DAY --by {by}"
    )


@app.command("close")
def close(
    enquiry: IdArgument,
    by: ByOption,
    closed: Annotated[str, typer.Option("--closed", help="The day, as in 2026-03-01.")],
    correct: CorrectOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say when an enquiry ended; what came of it was entered before."""
    done(act(config, "enquiry-close", entry=enquiry, by=by, on=closed, correct=correct), output)


@app.command("list")
def listed(
    every: AllOption = False, config: ConfigOption = CONFIG, output: RowsOption = RowFormat.TABLE
) -> None:
    """List the enquiries."""
    show(config, "enquiry", every=every, output=output)


@app.command("withdraw")
def withdraw(
    enquiry: IdArgument,
    by: ByOption,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say that an enquiry was entered by mistake; it stays in the register and counts nowhere."""
    withdrawal(config, "enquiry", enquiry, by=by, output=output)
