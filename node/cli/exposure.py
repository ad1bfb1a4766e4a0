"""``fairlead-node exposure``: what this node could release, and that somebody accepts it."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli.output import emit_json, emit_table, say, wrapped
from node.cli.act import CONFIG, ConfigOption, act

app = typer.Typer(
    help="Show everything this node could release, and accept it.", rich_markup_mode=None
)


class ExposureFormat(StrEnum):
    """``--output`` of the exposure."""

    TABLE = "table"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


@app.callback(invoke_without_command=True)
def exposure(
    context: typer.Context,
    config: ConfigOption = CONFIG,
    output: Annotated[
        ExposureFormat, typer.Option("--output", help="html: a page to read, print and sign.")
    ] = ExposureFormat.TABLE,
) -> None:
    """Show what could leave, and to whom; nothing is shared before it was accepted."""
    if context.invoked_subcommand is not None:
        return
    found = act(config, "exposure")
    _print(found, output)
    _advise(found, config)


@app.command("accept")
def accept(
    by: Annotated[str, typer.Option("--by", help="Pseudonym of who accepts, such as u-t01.")],
    config: ConfigOption = CONFIG,
    digest: Annotated[
        str, typer.Option("--digest", help="Accept only this exposure, as the signed page says.")
    ] = "",
) -> None:
    """Accept what could leave now; accepting it again changes nothing."""
    found = act(config, "accept", by=by, digest=digest)
    emit_json(found)
    if found["changed"]:
        say(f"accepted by {found['by']}; a leaf of this node's log says so")
        say(f"next: fairlead-node index --config {config}")
    else:
        say(f"nothing changed: {found['by']} accepted this exposure on {found['at']}")


def _print(found: Mapping[str, Any], output: ExposureFormat) -> None:
    from node.exposure.document import TABLE_COLUMNS, table_rows
    from node.exposure.page import page

    if output is ExposureFormat.JSON:
        emit_json(found)
    elif output is ExposureFormat.CSV:
        sys.stdout.write(_csv(found))
    elif output is ExposureFormat.HTML:
        sys.stdout.write(page(found))
    else:
        rows = table_rows(found)
        emit_table(
            TABLE_COLUMNS,
            [
                line
                for row in rows
                for line in wrapped([str(row[name]) for name in TABLE_COLUMNS], 40)
            ],
        )


def _csv(found: Mapping[str, Any]) -> str:
    from node.exposure.document import CSV_COLUMNS, csv_rows

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in csv_rows(found):
        writer.writerow([_cell(row[name]) for name in CSV_COLUMNS])
    return text.getvalue()


def _cell(value: object) -> str:
    """A spreadsheet computes what begins like a formula; an apostrophe makes it text."""
    text = str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _advise(found: Mapping[str, Any], config: Path) -> None:
    if not found["rows"]:
        say("nobody could get anything: no other partner is pinned, or no agreement covers one")
    waiting = [s["name"] for s in found["sources"] if not s["accepted"]]
    if found["accepted"] is None:
        say("nobody has accepted this: the node answers nobody and indexes nothing")
    elif found["pending"] or waiting:
        say(f"{len(found['pending'])} lines and {len(waiting)} sources are withheld until accepted")
    else:
        say(f"accepted by {found['accepted']['by']} on {found['accepted']['at']}")
        return
    digest = found["digest"]
    say(f"next: fairlead-node exposure accept --by USER --digest {digest} --config {config}")
