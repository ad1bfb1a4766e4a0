"""``fairlead policy``: what a security officer does. One file per command or two.

Those here work on a folder, offline: a draft that looks like ``policies/``, or a bundle. What each
does is in ``fairlead/policy``; in these files are words and options only, and imports are late.
"""

from __future__ import annotations

import typer

app = typer.Typer(help="Draft, judge and publish policy.", no_args_is_help=True)


def _assemble() -> None:
    from fairlead.cli.policy import (
        building,
        checking,
        conflicting,
        differing,
        drafting,
        explaining,
        matrix,
        trying,
    )

    app.command("init")(building.init)
    app.command("new-agreement")(drafting.new_agreement)
    app.command("check")(checking.check)
    app.command("test")(trying.try_tables)
    app.command("matrix")(matrix.matrix)
    app.command("conflicts")(conflicting.conflicts)
    app.command("diff")(differing.diff)
    app.command("explain")(explaining.explain)
    app.command("build")(building.build)


_assemble()
