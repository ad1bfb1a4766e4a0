"""Options that the officer's commands share."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.errors import InvalidInput, Misconfigured

if TYPE_CHECKING:
    from fairlead.policy.compiler import Opa

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="A draft that looks like policies/, or a bundle.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="DATE", help="The day to ask on; default: today.")
]
RequireOpaOption = Annotated[
    bool,
    typer.Option("--require-opa", help="Fail where OPA is missing (as FAIRLEAD_REQUIRE_ALL does)."),
]


def moment_of(day: str | None) -> int:
    """Noon of a day in Unix seconds; now where none is said.

    :raises InvalidInput: no date.
    """
    if day is None:
        return int(datetime.now(UTC).timestamp())
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise InvalidInput(
            "a day is written as 2026-12-01", reasons=("DATE",), remedy="--at 2026-12-01"
        ) from None
    return int(datetime.combine(found, time(12), UTC).timestamp())


def opa(*, required: bool) -> Opa | None:
    """OPA where it is there.

    :raises Misconfigured: it is required and missing; the exit code is that of a failed check.
    """
    from fairlead.policy.compiler import Opa

    found = Opa.find()
    if found is None and (required or os.environ.get("FAIRLEAD_REQUIRE_ALL")):
        raise OpaMissing(
            "what needs OPA cannot be checked: it is not on PATH",
            reasons=("OPA_MISSING",),
            remedy="put the official OPA on PATH (in a checkout: make tools)",
        )
    return found


class OpaMissing(Misconfigured):
    """A check was required that needs OPA."""

    exit_code = 8
