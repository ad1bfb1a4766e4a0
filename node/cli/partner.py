"""``fairlead-node partner``: whose root keys this node trusts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Format, emit, say
from node.cli.act import CONFIG, ConfigOption

if TYPE_CHECKING:
    from fairlead.config import NodeConfig
    from fairlead.partners import Directory
    from fairlead.trust import Trust

app = typer.Typer(help="Whose root keys this node trusts.", no_args_is_help=True)
COLUMNS = ("partner", "pinned", "phrase")


@app.callback()
def _group() -> None:
    """Whose root keys this node trusts."""


@app.command("list")
def list_partners(
    config: ConfigOption = CONFIG,
    output: Annotated[
        Format, typer.Option("--output", help="How to print the data.")
    ] = Format.TABLE,
) -> None:
    """List the directory's partners: pinned here or not, and the phrase of each root key."""
    from fairlead.phrases import check_phrase

    _, trust, directory = _opened(config)
    roots = {**directory.unpinned, **{p: trust.roots[p] for p in directory.partners}}
    records = [
        {
            "partner": partner,
            "pinned": "yes" if partner in directory.partners else "no",
            "phrase": check_phrase(roots[partner]),
        }
        for partner in directory.listed
    ]
    emit(records, columns=COLUMNS, output=output)
    if directory.unpinned:
        say("next: telephone each partner that is not pinned, on a number you know, then")
        say(f"      fairlead-node partner pin PARTNER --phrase 'twelve words' --config {config}")


@app.command("pin")
def pin(
    partner: Annotated[str, typer.Argument(help="The partner's id.")],
    phrase: Annotated[
        str, typer.Option(help="The twelve words that the partner reads to you by telephone.")
    ],
    config: ConfigOption = CONFIG,
) -> None:
    """Trust a partner's root key, once its check phrase was compared by telephone."""
    from fairlead.phrases import compare_phrase
    from fairlead.trust import add_pin

    settings, trust, directory = _opened(config)
    if partner in directory.partners:
        compare_phrase(phrase, trust.roots[partner])
        say(f"{partner} is pinned already, under this phrase")
        return
    if partner not in directory.unpinned:
        directory.partner(partner)  # raises UNKNOWN_PARTNER
    fingerprint = directory.unpinned[partner]
    compare_phrase(phrase, fingerprint)
    add_pin(settings.pins, partner, fingerprint, settings.directory, now=time.time())
    say(f"{partner} is pinned; a running node takes it up within a second")
    say(f"next: fairlead-node partner list --config {config}")


def _opened(config: Path) -> tuple[NodeConfig, Trust, Directory]:
    from fairlead.config import NodeConfig, load
    from fairlead.trust import Trust

    settings = load(NodeConfig, config)
    trust = Trust.load(settings.pins)
    return settings, trust, trust.directory(settings.directory, now=time.time())
