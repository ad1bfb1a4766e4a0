"""``fairlead-gateway decisions``: what this gateway decided, for an officer to replay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import moment
from fairlead.cli.output import say
from gateway.cli.partner import CONFIG, ConfigOption

app = typer.Typer(help="What this gateway decided.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What this gateway decided."""


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    config: ConfigOption = CONFIG,
    since: Annotated[str, typer.Option(help="A span like 30d, or an ISO 8601 time.")] = "30d",
) -> None:
    """Write decision records and their proof into a file, also while the gateway serves.

    What they were decided on stays sealed: only the replay key opens it.
    """
    from fairlead.auditlog import receipt_at, snapshot
    from fairlead.config import GatewayConfig, load
    from fairlead.decisions.shelf import span
    from fairlead.decisions.stream import responses, write_file
    from fairlead.errors import Conflict
    from gateway.app import log_place

    settings = load(GatewayConfig, config)
    begin = moment(since, now=time.time())
    try:
        with snapshot(log_place(settings)) as database, out.open("xb") as file:
            numbers = span(database, begin * 1000, 0)
            out.chmod(0o600)
            items = responses(database, numbers, lambda leaf: receipt_at(database, leaf))
            count = write_file(items, file)
    except FileExistsError:
        raise Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        ) from None
    say(f"{out}: {count} batches of decision records")
    say(f"next, whoever holds the replay key: fairlead policy replay DIR --key KEY --from {out}")
