"""``fairlead-node reports``: what somebody reported, in the owner's own register."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import RowsOption
from fairlead.cli.output import Format, RowFormat, emit_json, say
from node.cli.act import CONFIG, ConfigOption, act
from node.cli.registering import (
    AllOption,
    ByOption,
    CorrectOption,
    OnOption,
    OutputOption,
    PlaceOption,
    done,
    show,
    withdrawal,
)

app = typer.Typer(
    help="What was reported: kept here, counted in figures, never sent.", no_args_is_help=True
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As in your own records.")]


@app.command("add")
def add(
    report: IdArgument,
    by: ByOption,
    received: OnOption,
    place: PlaceOption = "",
    kind: Annotated[
        str, typer.Option("--kind", help="anonymous, confidential, named, partner, system.")
    ] = "anonymous",
    event: Annotated[str, typer.Option("--event", help="What happened, as in seal-broken.")] = "",
    happened: Annotated[
        str, typer.Option("--happened", help="The day of it, if not that of receipt.")
    ] = "",
    shore: Annotated[str, typer.Option("--shore", help="Of an event: sea or inland.")] = "",
    modus: Annotated[str, typer.Option("--modus", help="How, as in rip-off; unknown.")] = "",
    staff: Annotated[
        str, typer.Option("--staff", help="Of a bribe approach: the employer's size, as 50-249.")
    ] = "",
    commodity: Annotated[str, typer.Option("--commodity", help="HS code, as in 080390.")] = "",
    origin: Annotated[str, typer.Option("--origin", help="Country of loading, as in EC.")] = "",
    no_feedback: Annotated[
        bool, typer.Option("--no-feedback", help="Nobody waits to hear what came of it.")
    ] = False,
    reporter: Annotated[
        str,
        typer.Option("--reporter-from", help="A file with who reported it, or - to type it."),
    ] = "",
    correct: CorrectOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Enter a report. Entering the same again changes nothing; nobody is named unless you do."""
    found = act(
        config, "report-add", entry=report, by=by, on=received, place=place, kind=kind,
        event=event, happened=happened, shore=shore, modus=modus, staff=staff,
        commodity=commodity, origin=origin, no_feedback=no_feedback,
        reporter=_reporter(reporter), correct=correct,
    )  # fmt: skip
    done(found, output)
    say(f"next: fairlead-node enquiries open ID --report {report} --opened DAY --by {by}")


@app.command("feedback")
def feedback(
    report: IdArgument,
    by: ByOption,
    given: Annotated[str, typer.Option("--given", help="The day on which they heard back.")],
    correct: CorrectOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say that whoever made a report has heard what came of it."""
    done(act(config, "report-feedback", entry=report, by=by, on=given, correct=correct), output)


@app.command("list")
def listed(
    every: AllOption = False, config: ConfigOption = CONFIG, output: RowsOption = RowFormat.TABLE
) -> None:
    """List the reports; who made them is not among it."""
    show(config, "report", every=every, output=output)


@app.command("withdraw")
def withdraw(
    report: IdArgument,
    by: ByOption,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say that a report was entered by mistake; it stays in the register and counts nowhere."""
    withdrawal(config, "report", report, by=by, output=output)


@app.command("reporter")
def reporter(
    report: IdArgument,
    by: ByOption,
    forget: Annotated[bool, typer.Option("--forget", help="Delete it; the report stays.")] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Print who made a report; the node's log says who looked."""
    emit_json(act(config, "report-reporter", entry=report, by=by, forget=forget))


def _reporter(source: str) -> str:
    """The text of a file, or what is typed: not an argument, which others on a machine can see."""
    from fairlead.errors import InvalidInput

    if not source:
        return ""
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text("utf-8")
    except (OSError, UnicodeError):
        raise InvalidInput(
            "the file with the reporter cannot be read",
            reasons=("FILE_MISSING",),
            remedy="name another one, or: fairlead-node reports add … --reporter-from -",
        ) from None
    return text.strip()
