"""``fairlead policy check``: form, words, rules and build of a draft."""

from __future__ import annotations

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Exit, Format, emit_json, emit_table, say
from fairlead.cli.policy.options import FolderArgument, RequireOpaOption, opa


def check(
    folder: FolderArgument,
    require_opa: RequireOpaOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check agreements, tables and rules; every problem with its file and line. Fails with 8."""
    from fairlead.policy.checking import FAILED, NOT_CHECKED, check_draft
    from fairlead.policy.draft import Draft

    checks = check_draft(Draft.read(folder), opa(required=require_opa))
    if output is Format.JSON:
        emit_json([found.record() for found in checks])
    else:
        emit_table(("check", "state"), [(found.name, found.state) for found in checks])
    for found in checks:
        for problem in found.problems:
            say(f"{found.name}: {found.state}: {problem}")
    if any(found.state == NOT_CHECKED for found in checks):
        say("not everything was checked; --require-opa makes that a failure")
    if any(found.state == FAILED for found in checks):
        say("next: correct every line listed, then: fairlead policy check DIR")
        raise typer.Exit(Exit.CHECK_FAILED)
    say("next: fairlead policy test DIR")
