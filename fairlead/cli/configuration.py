"""``config show`` and ``config schema``: the same two commands for every server's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Format, emit, emit_json

if TYPE_CHECKING:
    from pydantic import BaseModel

COLUMNS = ("key", "value", "origin", "meaning")


def config_app(model: Callable[[], type[BaseModel]], default: Path) -> typer.Typer:
    """The ``config`` commands of one program.

    :param model: returns the configuration's model; called late, because it is slow to import.
    :param default: the file of `show` when none is named.
    """
    app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)

    @app.command("show")
    def show(
        config: Annotated[
            Path, typer.Option("--config", help="Configuration file (TOML).")
        ] = default,
        origin: Annotated[
            bool, typer.Option("--origin", help="Say where each value comes from.")
        ] = False,
        output: Annotated[
            Format, typer.Option("--output", help="How to print the data.")
        ] = Format.TABLE,
    ) -> None:
        """Print every key with the value in force; secrets stay references."""
        from fairlead.config import effective

        rows = [row.as_record() for row in effective(model(), config)]
        columns = COLUMNS if origin else ("key", "value")
        emit(
            [{name: row[name] for name in columns} for row in rows], columns=columns, output=output
        )

    @app.command("schema")
    def schema() -> None:
        """Print the JSON Schema of the file, for editors."""
        from fairlead.config import json_schema

        emit_json(json_schema(model()))

    return app
