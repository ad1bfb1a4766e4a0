"""``fairlead-node reconcile``: hold this node's log against the gateway's now."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.output import Exit, Format, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption, act

COLUMNS = ("code", "not_in", "kind", "count")


def reconcile(
    config: ConfigOption = CONFIG,
    output: Annotated[Format, typer.Option("--output", help="How to print.")] = Format.TABLE,
) -> int:
    """Hold this log against the gateway's now, not at the next hour."""
    found = act(config, "reconcile")
    if output is Format.JSON:
        emit_json(found)
    elif found["incidents"]:
        emit(found["incidents"], columns=COLUMNS, output=output)
    say(
        f"{found['listed']} entries of this log, {found['met']} of the gateway's, "
        f"{found['excused']} excused"
    )
    if not found["reasons"]:
        say("both logs agree")
        return Exit.ANSWERED
    say("an incident: " + ", ".join(found["reasons"]))
    say("next: fairlead audit reconciliation AUDIT_FILE   (docs/operate.md says what to do)")
    return Exit.CHECK_FAILED
