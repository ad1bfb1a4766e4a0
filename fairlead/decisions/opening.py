"""The recorder of a process, from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fairlead import sealing
from fairlead.auditlog import AuditLog
from fairlead.decisions.recorder import BatchRecorder
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.leaves import LeafWriter


def open_recorder(
    log: AuditLog, leaves: LeafWriter, *, replay_key: Path | None, clock: Callable[[], float]
) -> BatchRecorder:
    """Take down what this process decides, in its log.

    :param replay_key: the file of a public key; without one no input is kept.
    :raises Misconfigured: REPLAY_KEY.
    """
    public = None if replay_key is None else load_public(replay_key)
    return BatchRecorder.open(log, leaves, clock=clock, replay_key=public)


def load_public(path: Path) -> bytes:
    """Read a public replay key: 1,216 octets.

    :raises Misconfigured: REPLAY_KEY: unreadable, or none.
    """
    try:
        with path.open("rb") as file:
            public = file.read(sealing.PUBLIC_KEY_SIZE + 1)
        sealing.check_public_key(public)
    except (OSError, InvalidInput):
        raise Misconfigured(
            "the replay key cannot be used",
            reasons=("REPLAY_KEY",),
            remedy="fairlead policy replay-keygen FILE   makes a pair; this process needs FILE.pub",
        ) from None
    return public
