"""``--version``: the same option for every program."""

from __future__ import annotations

from typing import Annotated

import typer


def _show(context: typer.Context, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{context.find_root().command.name} {version('fairlead')}")
        raise typer.Exit


def add_version(app: typer.Typer) -> None:
    """Give a program its ``--version``, which says which release of which program this is."""

    @app.callback()
    def _program(
        _version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_show, is_eager=True, help="Show the version and exit."
            ),
        ] = False,
    ) -> None:
        """Nothing but its options."""
