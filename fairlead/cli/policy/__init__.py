"""``fairlead policy``: what a security officer does. One file per command or two."""

from __future__ import annotations

import typer

app = typer.Typer(help="Draft, judge, publish and explain policy.", no_args_is_help=True)


def _assemble() -> None:
    from fairlead.cli.policy import justify, publishing, reasons, release, replay

    app.command("fetch")(publishing.fetch)
    app.command("justify")(justify.justify)
    app.command("keygen")(release.keygen)
    app.command("publish")(publishing.publish)
    app.command("reasons")(reasons.reasons)
    app.command("replay")(replay.replay)
    app.command("replay-keygen")(replay.keygen)
    app.command("revert")(release.revert)
    app.command("sign")(release.sign)
    app.command("status")(publishing.status)


_assemble()
