"""``fairlead-node``: index the sources, serve; what else an owner does has a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from fairlead.cli.backup import add_backup
from fairlead.cli.configuration import config_app
from fairlead.cli.output import Exit, run
from fairlead.cli.streaming import add_audit
from fairlead.cli.version import add_version
from node.cli import (
    blind,
    check,
    decoys,
    doctor,
    enquiries,
    exposure,
    feedback,
    outcomes,
    partner,
    pause,
    preview,
    reconcile,
    reports,
    rotate,
    snapshots,
    source,
    statistics,
    status,
    witness,
)
from node.cli.act import CONFIG, ConfigOption
from node.cli.index import app as index_app

if TYPE_CHECKING:
    from pathlib import Path

    from fairlead.cli.retention import Kept
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
app.add_typer(statistics.app, name="statistics")
app.add_typer(exposure.app, name="exposure")
app.add_typer(blind.app, name="blind")
app.add_typer(decoys.app, name="decoys")
app.command("preview")(preview.preview)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("status")(status.status)
app.command("snapshots")(snapshots.snapshots)
app.command("witness")(witness.witness)
app.command("reconcile")(reconcile.reconcile)
app.command("doctor")(doctor.doctor)
app.command("check")(check.check)


@app.command("serve")
def serve(config: ConfigOption = CONFIG) -> int:
    """Serve until told to stop."""
    import asyncio

    from fairlead import telemetry
    from fairlead.config import NodeConfig, load
    from node.app import run as run_node

    settings = load(NodeConfig, config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_node(settings)) else Exit.INTERNAL


app.add_typer(partner.app, name="partner")
app.add_typer(rotate.app, name="rotate")


def _model() -> type[NodeConfig]:
    from fairlead.config import NodeConfig

    return NodeConfig


def _state(config: Path) -> tuple[Path, str]:
    from fairlead.config import load

    settings = load(_model(), config)
    return settings.state_dir, settings.partner


app.add_typer(feedback.app, name="feedback")
app.add_typer(reports.app, name="reports")
app.add_typer(enquiries.app, name="enquiries")
app.add_typer(outcomes.app, name="outcomes")
app.add_typer(config_app(_model, CONFIG), name="config")


def _log_file(config: Path) -> Path:
    from node.indexing import LOG_FILE

    return _state(config)[0] / LOG_FILE


def _keeper(config: Path) -> Kept:
    from fairlead.cli.retention import Kept
    from fairlead.config import load

    settings = load(_model(), config)
    return Kept(_log_file(config), settings, settings.partner)


add_audit(app, "node", _log_file, _keeper)
add_backup(app, "node", _state, _keeper)


def _assemble() -> None:
    from node.cli import enrolling

    app.command("init")(enrolling.init)
    app.command("enrol")(enrolling.enrol)


_assemble()
add_version(app)


def main() -> None:
    """Entry point of the ``fairlead-node`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
