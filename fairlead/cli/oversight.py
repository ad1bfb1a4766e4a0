"""``fairlead-oversight``: a partner's oversight, and its alerts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.output import Exit, Format, emit, emit_json, run, say
from fairlead.cli.telling import explanations
from fairlead.cli.version import add_version

if TYPE_CHECKING:
    from fairlead.opening.request import Request
    from fairlead.oversight.config import OversightConfig
    from fairlead.oversight.register import Register

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

ConfigOption = Annotated[Path, typer.Option("--config", help="The oversight's configuration.")]
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
CONFIG = Path("oversight.toml")
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
        say(f"put the node's directory.bin and pins.toml into {folder / 'federation'}")
    say(f"next: fairlead-oversight run --config {folder / 'oversight.toml'}")


@app.command("run")
def serve(config: ConfigOption = CONFIG) -> int:
    """Take the node's notices and raise alerts until told to stop."""
    import asyncio

    from fairlead import telemetry
    from fairlead.oversight.app import run as run_oversight

    settings = _load(config)
    telemetry.configure(settings.log_level)
    return Exit.ANSWERED if asyncio.run(run_oversight(settings)) else Exit.INTERNAL


@app.command("share")
def share(
    request: Annotated[Path, typer.Argument(help="An auditor's request: request.opening.")],
    by: Annotated[
        str | None,
        typer.Option("--by", help="Your pseudonym; without it the request is only shown."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file of shares; default: PARTNER.shares.")
    ] = None,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Decide about an auditor's request to open sealed detail: look at it, then release.

    Verifies the request and shows who asks, why, and for what. With --by it is put on the record
    in your oversight's own log, and then your shares are sealed to the auditor's key, for this
    request alone. What you hold is a share: it says nothing to you, nor to anybody alone.
    """
    import time

    from fairlead.names import check_code
    from fairlead.opening.files import directories, read_request
    from fairlead.oversight.sharing import share as release

    with _opened(config) as (settings, register):
        known = directories(settings.directory, settings.trust, now=time.time())
        wanted = read_request(request, known, now=time.time())
        emit([_wanted(wanted)], columns=tuple(_wanted(wanted)), output=output)
        if by is None:
            say(f"next: fairlead-oversight share {request} --by USER --config {config}")
            return
        target = to or Path(f"{settings.partner}.shares")
        release(settings, register, wanted, target, by=check_code(by))
    say(f"give this file to the auditor: {target}")


@app.command("status")
def status(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Say whether notices come, and what waits for somebody."""
    from fairlead.cli.options import when
    from fairlead.oversight.alert import Reason

    with _opened(config) as (settings, register):
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
    from fairlead.auditlog import verify_log
    from fairlead.oversight.app import LOG_FILE, origin
    from fairlead.signing import load_signing_key, public_bytes

    settings = _load(config)
    key = public_bytes(load_signing_key(settings.keys_dir / "log.key"))
    report = verify_log(settings.state_dir / LOG_FILE, origin=origin(settings), public_key=key)
    record = {"log": origin(settings), "leaves": report.size, "root": report.root.hex()}
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
    with _opened(config) as (_, register):
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
    with _opened(config) as (settings, register):
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


def _wanted(request: Request) -> dict[str, Any]:
    """What an officer decides about."""
    from fairlead.cli.options import when

    alone = None if request.search else request.sought[0]
    leaf = alone and alone.leaf
    return {
        "auditor": request.auditor.spiffe_id.partition("/partner/")[2],
        "ground": request.ground,
        "reference": request.reference,
        "made_at": when(request.issued_at),
        "leaves": len(request.sought),
        "from": when(request.since or request.sought[0].at),
        "to": when(request.until) if request.search else None,
        "query": leaf.query_id.hex() if leaf else None,
        "asked_by": leaf.user.partition("/partner/")[2] if leaf else None,
        "purpose": leaf.purpose if leaf else None,
        "sealed_by": alone.bound.maker if alone else None,
    }


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


def _load(config: Path) -> OversightConfig:
    from fairlead.config import load
    from fairlead.oversight.config import OversightConfig

    return load(OversightConfig, config)


@contextmanager
def _opened(config: Path) -> Iterator[tuple[OversightConfig, Register]]:
    from fairlead.oversight.app import open_register

    settings = _load(config)
    register = open_register(settings)
    try:
        yield settings, register
    finally:
        register.close()


def main() -> None:
    """Entry point of the ``fairlead-oversight`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
