"""RFC 6962, 2.1: what inclusion and consistency proofs lead to, by the RFC's own recursion."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fairlead.verifier.finding import require

HASH = 32
_MISSHAPEN = "has a proof of the wrong shape"


def leaf_of(data: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def parent_of(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_over(leaves: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes (2.1)."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = _power_below(len(leaves))
    return parent_of(root_over(leaves[:k]), root_over(leaves[k:]))


def require_included(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """PATH (2.1.1). :raises EvidenceFailed: the leaf hash does not stand there under the root."""
    require(0 <= index < size < 2**63 and _hashes(leaf, root, *path), _MISSHAPEN)
    require(_upwards(leaf, index, size, list(path)) == root, "does not stand where its proof says")


def require_extends(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """PROOF (2.1.2). :raises EvidenceFailed: the newer tree does not extend the older one, which
    must not be empty: everything extends that."""
    require(0 < old_size <= new_size < 2**63, _MISSHAPEN)
    require(_hashes(old_root, new_root, *path), _MISSHAPEN)
    found = _both(old_size, new_size, old_root, list(path), whole=True)
    require(found == (old_root, new_root), "is of a log that does not extend its earlier state")


def _upwards(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    if size == 1:
        require(not path, _MISSHAPEN)
        return leaf
    require(path, _MISSHAPEN)
    k, sibling, below = _power_below(size), path[-1], path[:-1]
    if index < k:
        return parent_of(_upwards(leaf, index, k, below), sibling)
    return parent_of(sibling, _upwards(leaf, index - k, size - k, below))


def _both(
    old: int, new: int, old_root: bytes, path: list[bytes], *, whole: bool
) -> tuple[bytes, bytes]:
    """SUBPROOF read backwards: the older and the newer root that a path leads to."""
    if old == new:
        require(len(path) == (0 if whole else 1), _MISSHAPEN)
        return (old_root, old_root) if whole else (path[0], path[0])
    require(path, _MISSHAPEN)
    k, sibling, below = _power_below(new), path[-1], path[:-1]
    if old <= k:
        first, second = _both(old, k, old_root, below, whole=whole)
        return first, parent_of(second, sibling)
    first, second = _both(old - k, new - k, old_root, below, whole=False)
    return parent_of(sibling, first), parent_of(sibling, second)


def _power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH for value in values)
