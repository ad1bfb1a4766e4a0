"""``fairlead-node``: index the sources, serve; what else an owner does has a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.backup import add_backup
from fairlead.cli.configuration import config_app
from fairlead.cli.output import Exit, Format, emit, run, say
from node.cli import check, doctor, exposure, partner, pause, preview, rotate, source, status
from node.cli.act import ConfigOption

if TYPE_CHECKING:
    from pathlib import Path

    from fairlead.config import NodeConfig

app = typer.Typer(
    name="fairlead-node",
    help="The owner: keeps its data, answers for itself, asks for its own users.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COLUMNS = ("source", "rows", "records", "excluded", "reasons", "check_digit_wrong")


app.add_typer(source.app, name="source")
app.add_typer(exposure.app, name="exposure")
app.command("preview")(preview.preview)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("check")(check.check)


@app.command("index")
def index(
    config: ConfigOption,
    output: Annotated[
        Format, typer.Option("--output", help="How to print the data.")
    ] = Format.TABLE,
) -> None:
    """Read the sources and build the index anew; the index in use stays until it is done."""
    from fairlead.config import NodeConfig, load
    from node.indexing import build

    settings = load(NodeConfig, config)
    report, imports, skipped = build(
        settings, progress=lambda count, rate: say(f"{count:,} records, {rate:,.0f} a second")
    )
    records = [
        {
            "source": item.source,
            "rows": item.rows,
            "records": item.records,
            "excluded": item.excluded_rows,
            "reasons": ", ".join(f"{k} {v}" for k, v in sorted(item.excluded_by_reason().items())),
            "check_digit_wrong": item.checksum_failed,
        }
        for item in imports
    ]
    emit(records, columns=COLUMNS, output=output)
    for item in imports:
        if not item.complete:
            say(
                f"warning: {item.source} has a quote that is never closed; rows behind it are "
                "lost and cannot be counted\nnext: repair the file and index again"
            )
    for name in skipped:
        say(
            f"warning: {name} was not indexed: nobody has accepted its mapping\n"
            f"next: fairlead-node exposure --config {config}"
        )
    say(f"{report.records:,} records indexed in {report.seconds:.1f} s")
    say(f"next: fairlead-node serve --config {config}")


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


app.add_typer(partner.app, name="partner")
app.add_typer(rotate.app, name="rotate")


def _model() -> type[NodeConfig]:
    from fairlead.config import NodeConfig

    return NodeConfig


def _state(config: Path) -> tuple[Path, str]:
    from fairlead.config import load

    settings = load(_model(), config)
    return settings.state_dir, settings.partner


app.add_typer(config_app(_model), name="config")
add_backup(app, "node", _state)


def _assemble() -> None:
    from node.cli import enrolling

    app.command("init")(enrolling.init)
    app.command("enrol")(enrolling.enrol)


_assemble()


def main() -> None:
    """Entry point of the ``fairlead-node`` script."""
    run(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
