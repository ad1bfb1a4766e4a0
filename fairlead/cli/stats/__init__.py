"""``fairlead stats``: the Alliance's figures."""

from __future__ import annotations

import typer

from fairlead.cli.stats import listing, packing, priorities, query, verifying

app = typer.Typer(help="The Alliance's figures, and what it resolved to do.", no_args_is_help=True)
app.command("list")(listing.list_cubes)
app.command("query")(query.query)
app.command("kpi-pack")(packing.kpi_pack)
app.command("verify-pack")(verifying.verify_pack)
app.add_typer(priorities.app, name="priorities")
