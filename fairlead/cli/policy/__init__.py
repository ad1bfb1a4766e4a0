"""``fairlead policy``: what a security officer does. One file per command or two."""

from __future__ import annotations

import typer

app = typer.Typer(help="Draft, judge and publish policy.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Draft, judge and publish policy."""


def _assemble() -> None:
    from fairlead.cli.policy import justify, replay

    app.command("replay")(replay.replay)
    app.command("replay-keygen")(replay.keygen)
    app.command("justify")(justify.justify)


_assemble()
