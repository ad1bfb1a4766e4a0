"""``fairlead-gateway directory``: renew what two operators signed, whom it appoints, and a log that
has to begin anew."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.partner import CONFIG, ConfigOption, OperatorOption, read, signing_over, told

app = typer.Typer(help="The signed directory.", no_args_is_help=True)


@app.callback()
def directory() -> None:
    """The signed directory."""


@app.command("renew")
def renew(operator: OperatorOption, config: ConfigOption = CONFIG) -> None:
    """Sign the directory and the operators' deny list for another 30 days."""
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome = changes.renew(books, load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory renew")


@app.command("appoint")
def appoint(
    operator: OperatorOption,
    committee: Annotated[
        list[str] | None, typer.Option(help="Partner in the audit committee; repeat, 2 to 5.")
    ] = None,
    threshold: Annotated[
        int, typer.Option(help="So many of the committee together open a sealed detail.")
    ] = 0,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="Partner that cosigns the gateway's log; repeat. Default: every partner."
        ),
    ] = None,
    tolerate: Annotated[
        int, typer.Option(help="So many witnesses may lie without harm to a quorum.")
    ] = 1,
    config: ConfigOption = CONFIG,
) -> None:
    """Name the audit committee and the witnesses, in place of those named before."""
    from fairlead.appointed import Appointed
    from fairlead.signing import load_signing_key
    from gateway import changes

    wanted = Appointed(
        committee=tuple(sorted({*(committee or ())})),
        threshold=threshold,
        witnesses=tuple(sorted({*(witness or ())})),
        tolerated=tolerate,
    )
    with signing_over(config, operator) as books:
        outcome = changes.appoint(books, wanted, load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory appoint")


@app.command("new-origin")
def new_origin(
    last: Annotated[
        Path, typer.Argument(help="The last cosigned checkpoint of the log as it was: a text file.")
    ],
    operator: OperatorOption,
    config: ConfigOption = CONFIG,
) -> None:
    """Let a log that lost its tail begin anew under another origin, which names the last cosigned
    checkpoint of the old one. Move the old log's file away before the gateway starts again."""
    from fairlead.cli.output import say
    from fairlead.signing import load_signing_key
    from gateway.restarting import new_origin as begin_anew

    with signing_over(config, operator) as books:
        note = read(last).decode(errors="replace")
        outcome = begin_anew(books, note, load_signing_key(operator), now=time.time())
        state = books.config.state_dir
    told(outcome, "directory", f"fairlead-gateway directory new-origin {last}")
    if outcome.published:
        say(f"move {state / 'audit.sqlite'} to where evidence is kept, then start the gateway")
