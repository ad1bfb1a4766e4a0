"""``fairlead-node feedback``: what answers were good for."""

from __future__ import annotations

import typer

from fairlead.cli.options import RowsOption
from fairlead.cli.output import RowFormat, emit_rows
from node.cli.act import CONFIG, ConfigOption

app = typer.Typer(help="What answers were good for.", no_args_is_help=True)
COLUMNS = ("time", "direction", "partner", "query", "outcome", "scheme", "term")


@app.command("list")
def list_feedback(
    config: ConfigOption = CONFIG,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """List what others said of this owner's answers, and what was said to others."""
    from fairlead.cli.options import when
    from fairlead.config import NodeConfig, load
    from node.feedback import FeedbackBook
    from node.opening import open_vault

    vault = open_vault(load(NodeConfig, config), readonly=True)
    try:
        kept = FeedbackBook(vault).listed()
    finally:
        vault.close()
    records = [
        {
            "time": when(item.time_s),
            "direction": "received" if item.received else "sent",
            "partner": item.partner_id,
            "query": item.query_id.hex(),
            "outcome": item.outcome,
            "scheme": item.scheme or None,
            "term": item.value or None,
        }
        for item in kept
    ]
    emit_rows(records, columns=COLUMNS, output=output)
