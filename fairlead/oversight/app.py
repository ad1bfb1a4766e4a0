"""The oversight's process: look every two seconds, move leaves into the log."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from fairlead import journal, signing
from fairlead.errors import FairleadError, LogUnavailable
from fairlead.journal import Journal
from fairlead.keyfile import private_folder, require_private
from fairlead.leaves import LeafWriter
from fairlead.oversight.config import OversightConfig
from fairlead.oversight.register import Register
from fairlead.oversight.taking import Taking, load_keys
from fairlead.telemetry import Event, get_logger

LOG_FILE = "audit.sqlite"
LOOK_S = 2.0


def origin(config: OversightConfig) -> str:
    """Origin line of the oversight's log."""
    return f"{config.federation}/partner/{config.partner}/oversight"


def open_register(config: OversightConfig) -> Register:
    """The register of a configured oversight. :raises Misconfigured: it cannot be used."""
    private_folder(config.state_dir)
    return Register.open(config.register)


def leaf_writer(config: OversightConfig, clock: Callable[[], float] = time.time) -> LeafWriter:
    """Who writes the leaves of its log."""
    return LeafWriter(log=f"partner/{config.partner}", clock=clock)


def open_journal(
    config: OversightConfig,
    register: Register,
    *,
    clock: Callable[[], float] = time.time,
    on_failure: Callable[[], None] | None = None,
) -> Journal:
    """Open or create the log.

    :raises Misconfigured: DATABASE_IN_USE: another process runs.
    """
    return Journal.open(
        config.state_dir / LOG_FILE,
        register,
        origin=origin(config),
        key=signing.load_signing_key(config.keys_dir / "log.key"),
        clock=clock,
        on_failure=on_failure,
    )


def drain(config: OversightConfig, register: Register) -> None:
    """Move leaves into the log, unless the process that runs will."""
    asyncio.run(journal.drain_if_free(lambda: open_journal(config, register)))


def open_taking(
    config: OversightConfig, register: Register, clock: Callable[[], float] = time.time
) -> Taking:
    """What takes notices. :raises Misconfigured: a key is missing, or may be read by others."""
    require_private(config.keys_dir)
    return Taking(
        config=config,
        register=register,
        keys=load_keys(config.keys_dir),
        leaves=leaf_writer(config, clock),
        clock=clock,
    )


async def run(config: OversightConfig) -> bool:
    """Run until SIGTERM or SIGINT.

    :returns: False when the audit log failed. :raises FairleadError: it could not start.
    """
    register = open_register(config)
    taking = open_taking(config, register)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def failed() -> None:
        get_logger().error(Event.LOG_FAILED)
        loop.call_soon_threadsafe(ended.set)

    opened = open_journal(config, register, on_failure=failed)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    get_logger().info(Event.SERVER_STARTED)
    looking = asyncio.create_task(_look(taking, opened))
    looking.add_done_callback(lambda _: ended.set())
    await ended.wait()
    get_logger().info(Event.SERVER_STOPPING)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    healthy = opened.log.healthy
    await opened.close()
    register.close()
    get_logger().info(Event.SERVER_STOPPED)
    return healthy


async def _look(taking: Taking, opened: Journal) -> None:
    while True:
        try:
            taking.look()
            await opened.drain()
        except LogUnavailable:
            get_logger().error(Event.LOG_FAILED)
            return
        except (FairleadError, OSError) as error:
            get_logger().error(Event.OVERSIGHT_NOT_READ, error=error)
        await asyncio.sleep(LOOK_S)
