"""``fairlead-gateway directory``: renew what two operators signed before it expires."""

from __future__ import annotations

import time

import typer

from gateway.cli.partner import CONFIG, ConfigOption, OperatorOption, signing_over, told

app = typer.Typer(help="The signed directory.", no_args_is_help=True)


@app.callback()
def directory() -> None:
    """The signed directory."""


@app.command("renew")
def renew(operator: OperatorOption, config: ConfigOption = CONFIG) -> None:
    """Sign the directory and the operators' deny list for another 30 days."""
    from fairlead.signing import load_signing_key
    from gateway import changes

    with signing_over(config, operator) as books:
        outcome = changes.renew(books, load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory renew")
