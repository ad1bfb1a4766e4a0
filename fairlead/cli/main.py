"""``fairlead``: the analyst's, approver's and auditor's command. One file per noun."""

from __future__ import annotations

import typer

from fairlead.cli.output import run
from fairlead.cli.version import add_version

app = typer.Typer(
    name="fairlead",
    help="Ask a port's partners, under policy and with proof of every access.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _assemble() -> None:
    from fairlead.cli import (
        approvals,
        ask,
        audit,
        budgets,
        cases,
        cover,
        evidence,
        feedback,
        login,
        partners,
        policy,
        queries,
        receipts,
        stats,
        watch,
    )

    app.command("ask")(ask.ask)
    app.command("cover")(cover.cover)
    app.command("login")(login.login)
    app.command("partners")(partners.partners)
    app.command("budgets")(budgets.budgets)
    app.command("feedback")(feedback.feedback)
    app.add_typer(queries.app, name="queries")
    app.add_typer(watch.app, name="watch")
    app.add_typer(cases.app, name="cases")
    app.add_typer(approvals.app, name="approvals")
    app.add_typer(policy.app, name="policy")
    app.add_typer(receipts.app, name="receipts")
    app.add_typer(evidence.app, name="evidence")
    app.add_typer(stats.app, name="stats")
    app.add_typer(audit.app, name="audit")
    app.add_typer(policy.app, name="policy")


_assemble()
add_version(app)


def main() -> None:
    """Entry point of the ``fairlead`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
