"""``fairlead stats priorities``: what the Alliance resolved to do, who sees to it, until when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import ProfileOption, RowsOption
from fairlead.cli.output import RowFormat, emit_rows, say

if TYPE_CHECKING:
    from fairlead.priorities import Priorities

app = typer.Typer(help="Keep the register of priorities.", no_args_is_help=True)
COLUMNS = ("number", "title", "owner", "due", "status", "closed")
RegisterOption = Annotated[
    Path | None,
    typer.Option("--register", help="The register's file; default: beside your profile."),
]


@app.command("add")
def add(
    title: Annotated[str, typer.Argument(help="What is to be done; no person's name.")],
    owner: Annotated[str, typer.Option(help="The partner that sees to it.")],
    due: Annotated[str, typer.Option(help="The day it is due, as 2026-01-31.")],
    register: RegisterOption = None,
    profile: ProfileOption = None,
) -> None:
    """Enter a priority into the register."""
    from fairlead.priorities import parse_day

    path = register_path(register, profile)
    changed = loaded(path).added(title, owner, parse_day(due))
    changed.save(path)
    say(f"entered as number {len(changed.entries)}\nnext: fairlead stats priorities list")


@app.command("list")
def list_priorities(
    register: RegisterOption = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """List the priorities with their owners, due dates and status."""
    found = loaded(register_path(register, profile))
    if not found.entries:
        say("the register is empty\nnext: fairlead stats priorities add --help")
    emit_rows(records(found, _today()), columns=COLUMNS, output=output)


@app.command("close")
def close(
    number: Annotated[int, typer.Argument(help="Its number in the list.")],
    dropped: Annotated[
        bool, typer.Option("--dropped", help="It was given up; else it is done.")
    ] = False,
    register: RegisterOption = None,
    profile: ProfileOption = None,
) -> None:
    """Close a priority: done, or dropped."""
    from fairlead.priorities import State

    path = register_path(register, profile)
    state = State.DROPPED if dropped else State.DONE
    loaded(path).closed(number, state, _today()).save(path)
    say(f"closed: {state.value}")


def records(found: Priorities, day: dt.date) -> Sequence[dict[str, object]]:
    """The register for printing, as of a day."""
    return [
        {
            "number": entry.number,
            "title": entry.title,
            "owner": entry.owner,
            "due": entry.due.isoformat(),
            "status": entry.status(day),
            "closed": None if entry.closed is None else entry.closed.isoformat(),
        }
        for entry in found.entries
    ]


def register_path(register: Path | None, profile: Path | None) -> Path:
    """Where the register is: as named, or beside the profile."""
    from fairlead.priorities import FILE
    from fairlead.profile import profile_path

    return register or profile_path(profile).parent / FILE


def loaded(path: Path) -> Priorities:
    """The register; an empty one where there is no file.

    :raises Misconfigured: it cannot be read.
    """
    from fairlead.priorities import Priorities

    return Priorities.load(path)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
