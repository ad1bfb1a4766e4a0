"""``fairlead-node``: check a configuration, index the sources, serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.backup import add_backup
from fairlead.cli.configuration import config_app
from fairlead.cli.output import Exit, run, say
from node.cli import source
from node.cli.index import app as index_app

if TYPE_CHECKING:
    from fairlead.config import NodeConfig

app = typer.Typer(
    name="fairlead-node",
    help="The owner: keeps its data, answers for itself, asks for its own users.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(index_app, name="index")
app.add_typer(source.app, name="source")
ConfigOption = Annotated[Path, typer.Option("--config", help="Configuration file (TOML).")]


@app.command("check")
def check(config: ConfigOption) -> None:
    """Check the configuration and everything it names; report every error at once."""
    import os
    import time

    from fairlead import process
    from fairlead.config import NodeConfig, load
    from fairlead.trust import Trust
    from node.app import own_keys
    from node.sources.opening import open_source

    settings = load(NodeConfig, config)
    own_keys(settings, process.join(settings, time.time))
    process.load_policy(settings, Trust.load(settings.pins), now=time.time())
    for mapping in settings.sources:
        open_source(mapping, now=time.time(), environ=os.environ).parts()
    say("the configuration, the directory, the policy and the mappings are in order")
    say(f"next: fairlead-node index --config {config}")


@app.command("serve")
def serve(config: ConfigOption) -> int:
    """Serve until told to stop."""
    import asyncio

    from fairlead import telemetry
    from fairlead.config import NodeConfig, load
    from node.app import run as run_node

    settings = load(NodeConfig, config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_node(settings)) else Exit.INTERNAL


def _model() -> type[NodeConfig]:
    from fairlead.config import NodeConfig

    return NodeConfig


def _state(config: Path) -> tuple[Path, str]:
    from fairlead.config import load

    settings = load(_model(), config)
    return settings.state_dir, settings.partner


app.add_typer(config_app(_model), name="config")
add_backup(app, "node", _state)


def main() -> None:
    """Entry point of the ``fairlead-node`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
