"""The newest checkpoint that a quorum of witnesses cosigned, held against what one node was shown.

A gateway that keeps one node on a fork of its own can show it an agreeable log every hour. It
cannot show it a checkpoint of that fork which the others cosigned too; so a node demands, each
time, one that extends what it had accepted a while before. ``reached`` is the one place where
this meets the witnesses: ``fairlead/cosigning.py`` says who cosigned, ``fairlead/quorum.py``
whether that is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fairlead import merkle, receipts
from fairlead.errors import FairleadError, Forked
from fairlead.receipts import CheckpointFork, Head

Reached = Callable[[str], bool]
"""Whether a quorum of this federation's witnesses cosigned a checkpoint's note."""


class Unwitnessed(Forked):
    """No quorum stands behind what a gateway shows."""

    default_code = "RECONCILE_UNWITNESSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """What the gateway shows: a cosigned checkpoint, the proof that it extends the head settled
    on, and the proof that the present one extends it."""

    note: str
    from_settled: Sequence[bytes]
    to_checkpoint: Sequence[bytes]


def require_witnessed(
    shown: Cosigned, *, settled: Head | None, present: Head, log_key: bytes, reached: Reached
) -> Head:
    """Verify that a quorum saw the history this node is in.

    1. It is a checkpoint of the same log. 2. A quorum cosigned it. 3. It extends the newest head
    that this node accepted at least a quarter of an hour ago. 4. The head it was shown now extends
    it.

    :param settled: that head; None while there is none. :param present: verified against what this
        node had accepted. :returns: the cosigned head.
    :raises Unwitnessed: 1 or 2 fails, or it is older than ``settled``: nobody else saw this one.
    :raises CheckpointFork: 3 or 4 fails: what the witnesses cosigned is another one.
    """
    # 1
    try:
        opened = receipts.open_checkpoint(shown.note, present.origin, log_key)
    except FairleadError:
        raise _unwitnessed() from None
    found = Head(origin=present.origin, size=opened.size, root=opened.root, checkpoint=shown.note)
    # 2
    if not reached(shown.note) or found.size > present.size:
        raise _unwitnessed()
    # 3
    if settled is not None:
        if found.size < settled.size:
            raise _unwitnessed()
        require_extension(settled, found, shown.from_settled)
    # 4
    require_extension(found, present, shown.to_checkpoint)
    return found


def require_extension(old: Head, new: Head, proof: Sequence[bytes]) -> None:
    """:raises CheckpointFork: ``new`` is not shown to extend ``old``; both are signed."""
    if old.size == 0:
        return
    try:
        merkle.verify_consistency(
            old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof
        )
    except FairleadError:
        raise CheckpointFork(accepted=old.checkpoint, offered=new.checkpoint) from None


def size_of(checkpoint: str) -> int:
    """The size that a checkpoint of one's own log states; nothing is verified."""
    return int(checkpoint.split("\n")[1])


def _unwitnessed() -> Unwitnessed:
    return Unwitnessed(
        "no quorum of witnesses cosigned the history that the gateway shows",
        remedy="ask another partner for the checkpoint it holds: fairlead-node status",
    )
