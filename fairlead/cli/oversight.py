"""``fairlead-oversight``: a partner's oversight, and its alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli import deciding
from fairlead.cli.officer import (
    CONFIG,
    ConfigOption,
    OutputOption,
    load_settings,
    opened_register,
)
from fairlead.cli.output import Exit, Format, emit, emit_json, run, say
from fairlead.cli.telling import explanations
from fairlead.cli.version import add_version

app = typer.Typer(
    name="fairlead-oversight",
    help="Learns what the node may not: who asks for decoys. Its key belongs on no node.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
alerts = typer.Typer(help="Alerts, and who has seen them.", no_args_is_help=True)
app.add_typer(alerts, name="alerts")
add_version(app)

COLUMNS = (
    "alert", "reason", "at", "owner", "partner", "user", "purpose", "query", "decoy", "count",
    "acknowledged_by",
)  # fmt: skip


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the oversight.")],
    partner: Annotated[str, typer.Option("--partner", help="The partner's id.")],
    federation: Annotated[str, typer.Option("--federation", help="The federation's name.")],
    node_folder: Annotated[
        Path | None,
        typer.Option("--node-folder", help="The node's folder, when it is on this machine."),
    ] = None,
    seed: Annotated[
        Path | None,
        typer.Option("--seed", help="A key that the node made for you: oversight.seed."),
    ] = None,
) -> None:
    """Make the oversight's key, or take over the one that the node made."""
    from fairlead.oversight.founding import found

    public = found(
        folder, partner=partner, federation=federation, node_folder=node_folder, seed=seed
    )
    if seed is None:
        say(f"the public half of your key, for fairlead-node init … --oversight: {public}")
    else:
        say(f"your key is copied; remove {seed}, which the node must not have")
    if node_folder is None:
        files = "directory.bin, deny-lists.bin and pins.toml"
        say(f"put the node's {files} into {folder / 'federation'}")
    say(f"next: fairlead-oversight run --config {folder / 'oversight.toml'}")


@app.command("run")
def serve(config: ConfigOption = CONFIG) -> int:
    """Take the node's notices and raise alerts until told to stop."""
    import asyncio

    from fairlead import telemetry
    from fairlead.oversight.app import run as run_oversight

    settings = load_settings(config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_oversight(settings)) else Exit.INTERNAL


app.command("share")(deciding.share)
app.command("search")(deciding.search)


@app.command("status")
def status(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Say whether notices come, and what waits for somebody."""
    from fairlead.cli.options import when
    from fairlead.oversight.alert import Reason

    with opened_register(config) as (settings, register):
        position = register.position()
        try:
            files = sum(1 for path in settings.outbox.iterdir() if path.suffix == ".notice")
        except OSError:
            files = None
        record = {
            "partner": settings.partner,
            "newest_notice": position.number if position else None,
            "taken_at": when(position.at) if position else None,
            "files_waiting": files,
            "decoys_known": register.decoys(),
            "alerts_waiting": len(register.alerts(waiting=True)),
            "tampering": register.count(Reason.NOTICE_FORGED),
            "missing": register.count(Reason.NOTICES_MISSING),
        }
    emit([record], columns=tuple(record), output=output)
    if files is None:
        say(f"the folder of notices cannot be read: {settings.outbox}")
    say(f"next: fairlead-oversight alerts list --config {config}")


@app.command("verify")
def verify(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Verify the oversight's own audit log: every alert is a leaf."""
    from fairlead.auditlog import verify_unerased
    from fairlead.oversight.app import LOG_FILE, origin
    from fairlead.signing import load_signing_key, public_bytes

    settings = load_settings(config)
    key = public_bytes(load_signing_key(settings.keys_dir / "log.key"))
    log = settings.state_dir / LOG_FILE
    report = verify_unerased(log, origin=origin(settings), public_key=key)
    record = {
        "log": origin(settings),
        "leaves": report.size,
        "root": report.root.hex(),
        "key": key.hex(),
    }
    emit([record], columns=tuple(record), output=output)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from fairlead.config import json_schema
    from fairlead.oversight.config import OversightConfig

    emit_json(json_schema(OversightConfig))


@alerts.command("list")
def listed(
    every: Annotated[bool, typer.Option("--all", help="Also those that were seen.")] = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """List alerts that nobody has acknowledged, the newest first."""
    with opened_register(config) as (_, register):
        records = [_row(alert) for alert in register.alerts(waiting=not every)]
    emit(records, columns=COLUMNS, output=output)
    if output is Format.TABLE:
        for line in explanations([(r["reason"], "") for r in records], {"config": str(config)}):
            say(line)
    if records:
        say(f"next: fairlead-oversight alerts acknowledge NUMBER --by USER --config {config}")


@alerts.command("acknowledge")
def acknowledge(
    number: Annotated[str, typer.Argument(help="The alert's number.")],
    by: Annotated[str, typer.Option("--by", help="Your pseudonym, written into the leaf.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Put on the record that somebody has seen an alert and looks into it."""
    import time

    from fairlead.names import check_code
    from fairlead.oversight.app import drain, leaf_writer

    check_code(by)
    with opened_register(config) as (settings, register):
        with register.change():
            wanted = int(number) if number.isdecimal() else 0
            found = register.acknowledge(wanted, by, int(time.time()))
            if not found["acknowledged_at"]:
                leaf = leaf_writer(settings).owner(
                    "alert-acknowledged", user=by, reasons=[found["reason"]],
                    digest=found["identity"],
                )  # fmt: skip
                register.record(leaf)
        drain(settings, register)
    say(f"alert {number} is acknowledged")


def _row(alert: dict[str, Any]) -> dict[str, Any]:
    from fairlead.cli.options import when

    return {
        "alert": alert["number"],
        "reason": alert["reason"],
        "at": when(alert["at"]),
        **{name: alert[name] or None for name in ("owner", "partner", "user", "purpose")},
        "query": alert["query_id"].hex() or None,
        "decoy": alert["decoy"] or None,
        "count": alert["count"] or None,
        "acknowledged_by": alert["acknowledged_by"] or None,
    }


def main() -> None:
    """Entry point of the ``fairlead-oversight`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
