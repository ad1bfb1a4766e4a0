"""The authority's audit log, and the way of leaves from the register into it."""

from __future__ import annotations

from collections.abc import Callable

from fairlead import journal, signing
from fairlead.journal import Journal
from fairlead.keyfile import private_folder
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.register import Register

LOG_FILE = "audit.sqlite"


def origin(config: AuthorityConfig) -> str:
    """Origin line of the authority's log."""
    return f"{config.federation}/partner/{config.partner}/authority"


def open_journal(
    config: AuthorityConfig,
    register: Register,
    *,
    clock: Callable[[], float],
    on_failure: Callable[[], None] | None = None,
) -> Journal:
    """Open or create the log.

    :raises Misconfigured: DATABASE_IN_USE: another process serves.
    """
    return Journal.open(
        private_folder(config.state_dir) / LOG_FILE,
        register,
        origin=origin(config),
        key=signing.load_signing_key(config.keys_dir / "log.key"),
        clock=clock,
        on_failure=on_failure,
    )


async def drain_if_free(
    config: AuthorityConfig, register: Register, clock: Callable[[], float]
) -> bool:
    """Move what waits, unless a serving authority holds the log and will do so itself."""
    return await journal.drain_if_free(lambda: open_journal(config, register, clock=clock))
