"""``fairlead stats``: the Alliance's figures."""

from __future__ import annotations

import typer

from fairlead.cli.stats import priorities, verifying

app = typer.Typer(help="The Alliance's figures, and what it resolved to do.", no_args_is_help=True)
app.command("verify-pack")(verifying.verify_pack)
app.add_typer(priorities.app, name="priorities")
