"""``fairlead policy``: the security officer's tools. One file per command.

They work on a folder, offline: a draft that looks like ``policies/``, or a bundle. What each does
is in ``fairlead/policy``; here are words and options only, and imports are late.
"""

from __future__ import annotations

import typer

from fairlead.cli.policy.building import build, init
from fairlead.cli.policy.checking import check
from fairlead.cli.policy.conflicting import conflicts
from fairlead.cli.policy.differing import diff
from fairlead.cli.policy.drafting import new_agreement
from fairlead.cli.policy.explaining import explain
from fairlead.cli.policy.matrix import matrix
from fairlead.cli.policy.trying import try_tables

app = typer.Typer(
    help="Write, check, compare and explain who may learn what.", no_args_is_help=True
)
app.command("init")(init)
app.command("new-agreement")(new_agreement)
app.command("check")(check)
app.command("test")(try_tables)
app.command("matrix")(matrix)
app.command("conflicts")(conflicts)
app.command("diff")(diff)
app.command("explain")(explain)
app.command("build")(build)
