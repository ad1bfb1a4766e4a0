"""An oversight that decides about an auditor's request: puts it on the record, then releases."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fairlead.errors import InvalidInput, LogUnavailable
from fairlead.keyfile import require_private, write_private
from fairlead.opening.record import RELEASED, opening_leaf
from fairlead.opening.request import Request
from fairlead.opening.share import release
from fairlead.oversight.app import drain, leaf_writer
from fairlead.oversight.config import OversightConfig
from fairlead.oversight.register import Register
from fairlead.oversight.taking import load_keys

DRAIN_S = 30.0
"""How long a process that runs has to move a leaf into the log."""
_STEP_S = 0.2


def share(
    config: OversightConfig,
    register: Register,
    request: Request,
    target: Path,
    *,
    by: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Release this oversight's shares into ``target``.

    1. The request challenges this oversight, and the file is not there yet.
    2. The OPENING leaf is durable in the oversight's own log.
    3. Only then the shares are sealed to the request's key and written.

    :param by: the officer's pseudonym, as the command was told.
    :raises Refused: NO_SHARE. :raises InvalidInput: FILE_EXISTS.
    :raises LogUnavailable: the leaf could not be made durable; nothing was released.
    """
    # 1
    request.challenge(config.partner)
    require_private(config.keys_dir)
    if target.exists():
        raise InvalidInput(
            "there is a file of that name already", reasons=("FILE_EXISTS",),
            remedy="name another one: --to FILE",
        )  # fmt: skip
    # 2
    leaf = opening_leaf(leaf_writer(config, clock), request, RELEASED, by=by)
    with register.change():
        register.record(leaf)
    _drained(config, register, sleep)
    # 3
    octets = release(request, partner_id=config.partner, keys=load_keys(config.keys_dir), leaf=leaf)
    write_private(target, octets)


def _drained(config: OversightConfig, register: Register, sleep: Callable[[float], None]) -> None:
    """Wait until every leaf is in the log, moved here or by the process that runs."""
    waited = 0.0
    drain(config, register)
    while register.waiting():
        if waited >= DRAIN_S:
            raise LogUnavailable(
                "the oversight's audit log does not take the leaf",
                reasons=("LOG_UNAVAILABLE",),
                remedy="fairlead-oversight status; fairlead-oversight verify",
            )
        sleep(_STEP_S)
        waited += _STEP_S
