"""``fairlead audit copy``: a log as one file; and where the log lies that a command names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import say

if TYPE_CHECKING:
    from fairlead.auditlog import Place

LOG_HELP = (
    "The log's file, for example audit.sqlite; or env:NAME or file:PATH, which holds the "
    "postgresql:// address of its database."
)


def copy(
    log: Annotated[str, typer.Argument(help=LOG_HELP)],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a log, beside those who write it, into one file that verify reads.

    It holds the leaves with their details, the checkpoints and the decision records, and nothing
    else that the log's process keeps beside them.
    """
    from fairlead.auditlog import copy_log

    count = copy_log(place_of(log), out)
    say(f"{out}: {count} leaves")
    say(f"next: fairlead audit verify {out}")


def place_of(log: str) -> Place:
    """Where a log lies that was named on the command line.

    :raises Misconfigured: SECRET_MISSING, DATABASE_URL or DATABASE_TLS.
    """
    from fairlead.auditlog import DatabaseUrl
    from fairlead.config import SecretReference, reveal

    if not log.startswith(("env:", "file:")):
        return Path(log)
    address = reveal(SecretReference(log), os.environ)
    return DatabaseUrl.parse(address.decode("utf-8", "replace"))
