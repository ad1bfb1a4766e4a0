"""What ``reports``, ``enquiries`` and ``outcomes`` have in common: options, and how they print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import Format, RowFormat, emit, emit_json, emit_rows, say
from node.cli.act import act

ByOption = Annotated[str, typer.Option("--by", help="Pseudonym of who enters it, such as u-t01.")]
OnOption = Annotated[str, typer.Option("--received", help="The day, as in 2026-02-17.")]
PlaceOption = Annotated[
    str, typer.Option("--place", help="UN/LOCODE, terminal or region, as in NLRTM or NL-ZH.")
]
CorrectOption = Annotated[
    bool, typer.Option("--correct", help="Say something else under this id, in a new row.")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Every row, with what was corrected or withdrawn.")
]
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]


def done(found: Mapping[str, object], output: Format) -> None:
    """Say what an act did."""
    if output is Format.JSON:
        emit_json(dict(found))
    else:
        emit([found], columns=("id", "changed"), output=output)
    if not found["changed"]:
        say("nothing changed: the register said so already")


def show(config: Path, noun: str, *, every: bool, output: RowFormat) -> None:
    """Print the entries of a noun."""
    from node.register.entry import Noun
    from node.register.listing import COLUMNS

    found = act(config, "register-list", noun=noun, revisions=every)
    emit_rows(found["entries"], columns=COLUMNS[Noun(noun)], output=output)


def withdrawal(config: Path, noun: str, entry: str, *, by: str, output: Format) -> None:
    """Withdraw an entry, and say so."""
    done(act(config, "register-withdraw", noun=noun, entry=entry, by=by), output)
