"""The tokens of a log, verified offline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509

from fairlead import receipts
from fairlead.auditing.reading import Read, leaf_of, newest_first
from fairlead.auditing.selection import Selection
from fairlead.errors import Forged
from fairlead.timestamping.token import Token, require_plausible, verify
from fairlead.v1 import audit_pb2

Open = Callable[[str], receipts.Head]
"""Verifies a checkpoint of the log; raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A TIMESTAMP leaf in its place, and the response kept beside it. Nothing is verified yet."""

    index: int
    leaf: audit_pb2.AuditLeaf
    response: bytes

    @property
    def checkpoint(self) -> str:
        """The head it says was stamped; empty where it says none."""
        return self.leaf.checkpoints[0] if len(self.leaf.checkpoints) == 1 else ""


def stamps_of(read: Read, size: int) -> list[Stamp]:
    """Every stamp of a log, the oldest first."""
    selection = Selection(types=frozenset({audit_pb2.LEAF_TYPE_TIMESTAMP}))
    found = []
    for rows in newest_first(read, selection, range(size)):
        for row in rows:
            ((detail,),) = read("SELECT detail FROM leaf WHERE idx = ?", (row.index,))
            found.append(
                Stamp(
                    index=row.index,
                    leaf=row.leaf,
                    response=detail if isinstance(detail, bytes) else b"",
                )
            )
    return found[::-1]


def opener(origin: str, public_keys: Sequence[bytes]) -> Open:
    """Verifies checkpoints with the keys of a log."""

    def opened(note: str) -> receipts.Head:
        found = receipts.open_checkpoint_of(note, origin, public_keys)
        return receipts.Head(origin=origin, size=found.size, root=found.root, checkpoint=note)

    return opened


def heads(stamps: Iterable[Stamp], opened: Open) -> list[receipts.Head]:
    """The stamped heads, each signed by the log: it must extend them.

    :raises Forged: TIMESTAMP_IMPRINT: one is not from before its own leaf.
    """
    found = []
    for stamp in stamps:
        head = opened(stamp.checkpoint)
        if head.size > stamp.index:
            raise Forged(
                "a timestamp is of a head that its log had not reached",
                reasons=("TIMESTAMP_IMPRINT",),
                remedy="keep the file as evidence and compare it with the receipts of the partners",
            )
        found.append(head)
    return found


def verify_stamp(
    stamp: Stamp, head: receipts.Head, read: Read, authorities: Sequence[x509.Certificate]
) -> Token:
    """Verify one stamp of a log that :func:`fairlead.auditlog.verify_log` found sound.

    :raises InvalidInput: :raises Forged: as :func:`verify` and :func:`require_plausible`.
    """
    token = verify(stamp.response, stamp.checkpoint, authorities)
    newest = stamp.leaf.time_ms / 1000
    if head.size:
        ((body,),) = read("SELECT body FROM leaf WHERE idx = ?", (head.size - 1,))
        if body != b"":  # of an erased leaf the hash alone is left
            newest = leaf_of(body).time_ms / 1000
    require_plausible(token, newest=newest, stamped=stamp.leaf.time_ms / 1000)
    return token
