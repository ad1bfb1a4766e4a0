"""``fairlead policy``: what a security officer does with policies. One file per command or two."""

from __future__ import annotations

import typer

from fairlead.cli.policy.reasons import reasons

app = typer.Typer(help="Write, judge and explain policies.", no_args_is_help=True)
app.command("reasons")(reasons)
