"""``fairlead-node snapshots``: what this node holds of others' publications."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.output import Format, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption, act

COLUMNS = ("owner", "scheme", "purposes", "epoch", "serial", "entries", "age_s", "confirmed_s")


def snapshots(
    config: ConfigOption = CONFIG,
    output: Annotated[Format, typer.Option("--output", help="How to print the data.")] = (
        Format.TABLE
    ),
) -> None:
    """Show every snapshot that can be asked blind, its age and when it was confirmed."""
    found = act(config, "snapshots")
    if output is Format.JSON:
        emit_json(found)
        return
    rows = [
        {
            **row,
            "purposes": " ".join(row["purposes"]),
            "confirmed_s": "–" if row["confirmed_s"] is None else row["confirmed_s"],
        }
        for row in found["snapshots"]
    ]
    emit(rows, columns=COLUMNS, output=output)
    if found["waiting"]:
        say(f"{found['waiting']} wait to be fetched")
    if not found["snapshots"]:
        say("nobody has published anything for this node, or it has not run since")
