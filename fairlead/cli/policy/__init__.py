"""``fairlead policy``: what a security officer does. One file per command or two.

Drafts are judged on a folder, offline; releases and replays go through the officer's own node.
What each does is in ``fairlead/policy``; here are words and options only, and imports are late.
"""

from __future__ import annotations

import typer

app = typer.Typer(help="Draft, judge, publish and explain policy.", no_args_is_help=True)


def _assemble() -> None:
    _judging()
    _deciding()


def _judging() -> None:
    """What works on a folder."""
    from fairlead.cli.policy import (
        building,
        checking,
        conflicting,
        differing,
        drafting,
        explaining,
        matrix,
        reasons,
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
    app.command("reasons")(reasons.reasons)


def _deciding() -> None:
    """What goes through a node, or signs."""
    from fairlead.cli.policy import justify, publishing, release, replay

    app.command("fetch")(publishing.fetch)
    app.command("replay")(replay.replay)
    app.command("justify")(justify.justify)
    app.command("sign")(release.sign)
    app.command("publish")(publishing.publish)
    app.command("status")(publishing.status)
    app.command("revert")(release.revert)
    app.command("keygen")(release.keygen)
    app.command("replay-keygen")(replay.keygen)


_assemble()
