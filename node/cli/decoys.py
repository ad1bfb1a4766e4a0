"""``fairlead-node decoys``: invented identifiers that alarm the oversight of who asks for them."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.output import Format, emit, say
from node.cli.act import CONFIG, ConfigOption

app = typer.Typer(help="Identifiers of no record, published like those of records.")
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
COLUMNS = ("decoy", "scheme", "value", "origin", "added_at", "removed_at")


@app.command("add")
def add(
    scheme: Annotated[str | None, typer.Argument(help="As in container.")] = None,
    value: Annotated[str | None, typer.Argument(help="An identifier that no record has.")] = None,
    generate: Annotated[
        int, typer.Option("--generate", help="Invent so many instead, which resemble records.")
    ] = 0,
    of_scheme: Annotated[str | None, typer.Option("--scheme", help="Of which kind.")] = None,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Take an identifier as a decoy, or invent some; they are published with the next snapshot."""
    from fairlead.errors import InvalidInput
    from node.cli.act import act

    generates = generate > 0 and of_scheme is not None
    if generates == (scheme is not None and value is not None) or (generates and scheme):
        raise InvalidInput(
            "either an identifier is named, or a number and a kind to invent",
            reasons=("DECOY_ADD",),
            remedy="fairlead-node decoys add --generate 5 --scheme container --config FILE",
        )
    if generates:
        found = act(config, "decoys-add", scheme=of_scheme, generate=generate)
    else:
        found = act(config, "decoys-add", scheme=scheme, value=value)
    emit(found["decoys"], columns=COLUMNS, output=output)
    say(f"next: fairlead-node blind publish --config {config}")


@app.command("list")
def listed(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """List decoys, and those removed lately that may still be found."""
    from node.cli.act import act

    emit(act(config, "decoys-list")["decoys"], columns=COLUMNS, output=output)


@app.command("remove")
def remove(
    decoy: Annotated[str, typer.Argument(help="Its id, as `decoys list` prints it.")],
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """End a decoy; in an older snapshot it is still found, and alarms, until the epoch is over."""
    from node.cli.act import act

    emit(act(config, "decoys-remove", decoy=decoy)["decoys"], columns=COLUMNS, output=output)
    say(f"next: fairlead-node blind publish --config {config}")
