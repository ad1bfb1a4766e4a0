"""``fairlead-gateway directory``: renew what two operators signed before it expires."""

from __future__ import annotations

import time

import typer

from gateway.cli.partner import CONFIG, ConfigOption, OperatorOption, open_books, told

app = typer.Typer(help="The signed directory.", no_args_is_help=True)


@app.callback()
def directory() -> None:
    """The signed directory."""


@app.command("renew")
def renew(operator: OperatorOption, config: ConfigOption = CONFIG) -> None:
    """Sign the directory and the operators' deny list for another 30 days."""
    from fairlead.signing import load_signing_key
    from gateway import changes

    books = open_books(config)
    with books.desk().alone():
        outcome = changes.renew(open_books(config), load_signing_key(operator), now=time.time())
    told(outcome, "directory", "fairlead-gateway directory renew")
