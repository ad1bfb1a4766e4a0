"""Have the owner's act done: by the node when it runs, on its files when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli.output import awaited

ConfigOption = Annotated[Path, typer.Option("--config", help="The node's configuration file.")]
CONFIG = Path("node.toml")


def act(config: Path, command: str, **fields: object) -> dict[str, Any]:
    """The act's result.

    :raises FairleadError: it was refused, there or here.
    """
    from fairlead import telemetry
    from fairlead.config import NodeConfig, load
    from node.control.client import call

    settings = load(NodeConfig, config)
    found = call(settings.state_dir, command, fields)
    if found is not None:
        return found

    telemetry.configure("error")

    async def here() -> dict[str, Any]:
        from node.owning import at_rest

        async with at_rest(settings) as steering:
            return dict(await steering.handlers[command](**fields))

    return awaited(here())
