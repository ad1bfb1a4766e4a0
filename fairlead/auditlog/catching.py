"""Catching up with a store: at the start with everything in it, later with what others added."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import errors, merkle, receipts
from fairlead.auditlog.store import Store, corrupted


def take(store: Store, tree: merkle.Tree) -> None:
    """Put the leaves that ``tree`` lacks into it, unproven.

    :raises LogUnavailable: ``LOG_CORRUPTED``: one is missing, or is none.
    """
    for index, leaf_hash in store.leaves(tree.size):
        whole = isinstance(leaf_hash, bytes) and len(leaf_hash) == merkle.HASH_SIZE
        if index != tree.size or not whole:
            raise corrupted()
        tree.append(leaf_hash)


def catch_up(
    store: Store, tree: merkle.Tree, origin: str, keys: Sequence[bytes]
) -> receipts.Head | None:
    """Take the leaves that ``tree`` lacks, and check it against the last checkpoint.

    :param keys: public keys that may have signed that checkpoint.
    :returns: the last head; None for a log without any.
    :raises LogUnavailable: ``LOG_CORRUPTED``.
    """
    take(store, tree)
    stored = store.note()
    if stored is None and tree.size == 0:
        return None
    note = str(stored or "")
    try:
        last = receipts.open_checkpoint_of(note, origin, keys)
    except errors.FairleadError as error:
        raise corrupted(error.code) from error
    if (last.size, last.root) != (tree.size, tree.root()):
        raise corrupted()
    return receipts.Head(origin=origin, size=last.size, root=last.root, checkpoint=note)
