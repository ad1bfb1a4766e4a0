"""``fairlead policy``: what a security officer does. One file per command or two."""

from __future__ import annotations

import typer

app = typer.Typer(help="Draft, judge, publish and explain policy.", no_args_is_help=True)


def _assemble() -> None:
    from fairlead.cli.policy import publishing, reasons, release

    app.command("fetch")(publishing.fetch)
    app.command("keygen")(release.keygen)
    app.command("publish")(publishing.publish)
    app.command("reasons")(reasons.reasons)
    app.command("revert")(release.revert)
    app.command("sign")(release.sign)
    app.command("status")(publishing.status)


_assemble()
