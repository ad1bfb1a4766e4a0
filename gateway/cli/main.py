"""``fairlead-gateway``: found a federation, admit partners, check, serve. One file per noun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fairlead.cli.backup import add_backup
from fairlead.cli.configuration import config_app
from fairlead.cli.output import Exit, run, say
from fairlead.cli.streaming import add_audit
from fairlead.cli.version import add_version
from gateway.cli.partner import CONFIG, ConfigOption

if TYPE_CHECKING:
    from fairlead.auditlog import Place
    from fairlead.cli.retention import Kept
    from fairlead.config import GatewayConfig

app = typer.Typer(
    name="fairlead-gateway",
    help="The exchange: routes queries between partners and never reads them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("check")
def check(config: ConfigOption = CONFIG) -> None:
    """Check the configuration and everything it names; report every error at once."""
    import time

    from fairlead import process, telemetry
    from fairlead.config import GatewayConfig, load
    from fairlead.policy import making
    from fairlead.timestamping.token import load_authorities
    from fairlead.trust import Trust
    from gateway.app import own_keys

    telemetry.configure("error")  # what is wrong is raised
    settings = load(GatewayConfig, config)
    own_keys(settings, process.join(settings, time.time))
    if settings.timestamps:
        load_authorities(settings.timestamps.ca)
    process.load_policy(settings, Trust.load(settings.pins), now=time.time())
    say(f"decisions are made by {making.told(settings.policy)}")
    say("the configuration, the directory and the policy are in order")
    say(f"next: fairlead-gateway serve --config {config}")


@app.command("serve")
def serve(config: ConfigOption = CONFIG) -> int:
    """Serve until told to stop."""
    import asyncio

    from fairlead import telemetry
    from fairlead.config import GatewayConfig, load
    from gateway.app import run as run_gateway

    settings = load(GatewayConfig, config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_gateway(settings)) else Exit.INTERNAL


def _model() -> type[GatewayConfig]:
    from fairlead.config import GatewayConfig

    return GatewayConfig


def _state(config: Path) -> tuple[Path, str]:
    from fairlead.config import load
    from fairlead.errors import Misconfigured

    settings = load(_model(), config)
    if settings.database is not None:
        raise Misconfigured(
            "this gateway's log is in a database, which is backed up with the database's own tools",
            reasons=("BACKUP_DATABASE",),
            remedy="pg_basebackup, and a copy of state_dir; the log alone, for reading: "
            "fairlead audit copy env:NAME FILE",
        )
    return settings.state_dir, settings.name


app.add_typer(config_app(_model, CONFIG), name="config")


def _log_place(config: Path) -> Place:
    from fairlead.config import GatewayConfig, load
    from gateway.app import log_place

    return log_place(load(GatewayConfig, config))


def _keeper(config: Path) -> Kept:
    from fairlead.cli.retention import Kept
    from fairlead.config import load

    return Kept(_log_place(config), load(_model(), config), "")


add_audit(app, "gateway", _log_place, _keeper)
add_backup(app, "gateway", _state, _keeper)


def _assemble() -> None:
    from gateway.cli import decisions, directory, founding, partner, status

    app.command("init")(founding.init)
    app.command("status")(status.status)
    app.add_typer(founding.app, name="operator")
    app.add_typer(partner.app, name="partner")
    app.add_typer(directory.app, name="directory")
    app.add_typer(decisions.app, name="decisions")


_assemble()
add_version(app)


def main() -> None:
    """Entry point of the ``fairlead-gateway`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
