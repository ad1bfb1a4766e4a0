"""``authority.toml``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fairlead.config import Creatable, Existing, Listen, LogLevel, PartnerId, Table


class AuthorityConfig(Table):
    """``fairlead-authority``'s file."""

    federation: str = Field(description='the federation\'s name, as in "port.example"')
    partner: PartnerId = Field(description="the partner's id, as the directory spells it")
    listen: Listen = Field(description='a "host:port" to listen on, as in "127.0.0.1:7444"')
    state_dir: Creatable = Field(description="a path to the folder for register and audit log")
    keys_dir: Existing = Field(description="a path to the existing folder of keys")
    directory: Creatable = Field(
        description="a path to the signed directory, handed to people who log in"
    )
    trust: Creatable = Field(description="a path to the trust anchors, handed out with it")
    deny_list: Creatable = Field(
        description="a path to the deny list to write; the node's user_deny_list names it"
    )
    deny_list_hours: int = Field(
        default=24, ge=1, le=168, description="a whole number of hours a deny list is in force"
    )
    log_level: LogLevel = Field(
        default="info", description='one of "debug", "info", "warning", "error"'
    )

    @property
    def register(self) -> Path:
        """The register's file."""
        return self.state_dir / "register.sqlite"
