"""``fairlead-node witness``: what this node holds of the gateway's log as its witness."""

from __future__ import annotations

import sqlite3
import time
from typing import Annotated

import typer

from fairlead.cli.output import say
from node.cli.act import CONFIG, ConfigOption


def witness(
    config: ConfigOption = CONFIG,
    origin: Annotated[
        str, typer.Option("--origin", help="Of an earlier log; default: of the gateway's own now.")
    ] = "",
) -> None:
    """Print the newest checkpoint of the gateway's log that a quorum cosigned; works beside the
    running node. It is what a log that lost its tail must name to begin anew."""
    from fairlead import storage
    from fairlead.config import NodeConfig, load
    from fairlead.errors import NotFound
    from fairlead.trust import Trust
    from node.indexing import LOG_FILE
    from node.witness import QUORUM_NOTE, SIZES

    settings = load(NodeConfig, config)
    if not origin:
        listed = Trust.load(settings.pins).directory(settings.directory, now=time.time())
        origin = listed.gateway.log_origin
    database = storage.open_readonly(settings.state_dir / LOG_FILE)
    try:
        notes = database.execute(QUORUM_NOTE, (origin,)).fetchall()
        sizes = database.execute(SIZES, (origin, origin)).fetchall()
    except sqlite3.Error:  # a node of an older version
        notes, sizes = [], []
    finally:
        database.close()
    for head, cosigned in sizes:
        say(f"accepted up to {head or 0}, cosigned up to {cosigned or 0}: {origin}")
    if not notes:
        raise NotFound(
            "this node holds no checkpoint of this log that a quorum cosigned",
            reasons=("NO_CHECKPOINT",),
            remedy="ask another witness, or name the log: fairlead-node witness --origin ORIGIN",
        )
    typer.echo(notes[0][0], nl=False)
