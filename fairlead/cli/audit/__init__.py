"""``fairlead audit``: what an auditor does. One file per command.

What each does is in ``fairlead/auditing`` and ``fairlead/auditlog``; here are words and options
only, and imports are late."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Read, prove and verify audit logs, and open what is sealed.", no_args_is_help=True
)


def _assemble() -> None:
    from fairlead.cli import opening, reconciliation, searching
    from fairlead.cli.audit import (
        approving,
        copying,
        counting,
        exporting,
        listing,
        showing,
        stamps,
        verifying,
    )

    app.command("list")(listing.list_leaves)
    app.command("show")(showing.show_leaf)
    app.command("export")(exporting.export_leaves)
    app.command("usage")(counting.usage)
    app.command("timestamps")(stamps.timestamps)
    app.command("verify")(verifying.verify)
    app.command("copy")(copying.copy)
    app.command("approve")(approving.approve)
    app.command("reconciliation")(reconciliation.reconciliation)
    app.command("open")(opening.opening)
    app.command("search")(searching.search)


_assemble()
