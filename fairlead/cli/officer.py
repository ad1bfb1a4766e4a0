"""An oversight officer's place: the oversight's configuration, and its register."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Format

if TYPE_CHECKING:
    from fairlead.oversight.config import OversightConfig
    from fairlead.oversight.register import Register

ConfigOption = Annotated[Path, typer.Option("--config", help="The oversight's configuration.")]
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
CONFIG = Path("oversight.toml")


def load_settings(config: Path) -> OversightConfig:
    """The configuration. :raises Misconfigured: it is none."""
    from fairlead.config import load
    from fairlead.oversight.config import OversightConfig

    return load(OversightConfig, config)


@contextmanager
def opened_register(config: Path) -> Iterator[tuple[OversightConfig, Register]]:
    """The configuration and the register, while a command runs."""
    from fairlead.oversight.app import open_register

    settings = load_settings(config)
    register = open_register(settings)
    try:
        yield settings, register
    finally:
        register.close()
