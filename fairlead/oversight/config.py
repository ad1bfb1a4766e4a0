"""``oversight.toml``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fairlead.config import Creatable, Existing, LogLevel, PartnerId, Table


class OversightConfig(Table):
    """``fairlead-oversight``'s file."""

    federation: str = Field(description='the federation\'s name, as in "port.example"')
    partner: PartnerId = Field(description="the partner's id, as the directory spells it")
    outbox: Creatable = Field(
        description="a path to the folder of notices: oversight/outbox in the node's state_dir"
    )
    state_dir: Creatable = Field(description="a path to the folder for alerts and audit log")
    keys_dir: Existing = Field(description="a path to the existing folder of keys")
    directory: Creatable = Field(
        description="a path to the signed directory, as the node has it: who may have signed"
    )
    trust: Creatable = Field(description="a path to the trust anchors that it is verified with")
    log_level: LogLevel = Field(
        default="info", description='one of "debug", "info", "warning", "error"'
    )

    @property
    def register(self) -> Path:
        """The file of alerts, and of what they are made of."""
        return self.state_dir / "oversight.sqlite"

    @property
    def quarantine(self) -> Path:
        """Where files go that are no notices of the node."""
        return self.state_dir / "quarantine"
