"""Proofs from a log at rest, or beside the processes that write it."""

from __future__ import annotations

from collections.abc import Collection

from fairlead import errors, merkle, receipts
from fairlead.auditlog.erased import was_erased
from fairlead.auditlog.store import Reading
from fairlead.v1 import audit_pb2


def receipt_at(database: Reading, index: int) -> audit_pb2.Receipt:
    """Prove leaf ``index`` under the last checkpoint; see :func:`receipts_of`."""
    return receipts_of(database, [index])[index]


def receipts_of(
    database: Reading, indices: Collection[int], *, head: tuple[int, str] | None = None
) -> dict[int, audit_pb2.Receipt]:
    """Prove leaves under the last checkpoint, for a reader who knows no head.

    The tree is built anew: a second for a million leaves.

    :param head: size and note of another checkpoint of this log, to prove them under.

    :raises Forged: LOG_CORRUPTED: leaves and checkpoints are not of one another.
    :raises NotFound: LEAF_ERASED.
    """
    newest = "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
    row = head or database.execute(newest).fetchone()
    tree = merkle.Tree()
    for (leaf_hash,) in database.execute("SELECT hash FROM leaf ORDER BY idx"):
        tree.append(leaf_hash)
    found = {}
    for index in indices:
        leaf = database.execute("SELECT body FROM leaf WHERE idx = ?", (index,)).fetchone()
        if row is None or leaf is None or not index < row[0] <= tree.size:
            raise errors.Forged(
                "the log cannot be read",
                reasons=("LOG_CORRUPTED",),
                remedy="fairlead audit verify FILE",
            )
        if not leaf[0]:
            raise was_erased()
        found[index] = receipts.make_receipt(
            leaf=leaf[0], index=index, inclusion=tree.inclusion(index, row[0]), checkpoint=row[1]
        )
    return found
