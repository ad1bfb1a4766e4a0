"""The RFC 6962 Merkle tree: append, inclusion proofs, consistency proofs.

Pure. Hashes are 32 bytes (SHA-256); a leaf hash is ``SHA-256(0x00 || leaf)``, an inner node
``SHA-256(0x01 || left || right)``, so that neither can be passed off as the other. Proof
verification follows RFC 9162 §2.1.3.2 and §2.1.4.2, which define the same tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fairlead import errors

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf's bytes (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node from the hashes of its children (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree that keeps the hash of every complete subtree.

    64 bytes a leaf; every proof costs O(log n). One thread may append while others make proofs
    for sizes that were reached before.
    """

    def __init__(self) -> None:
        # _levels[k] holds the hashes of the complete subtrees of 2**k leaves, 32 bytes each.
        self._levels: list[bytearray] = [bytearray()]
        self._size = 0

    @property
    def size(self) -> int:
        """How many leaves were appended."""
        return self._size

    def append(self, leaf: bytes) -> int:
        """Append a leaf *hash* and return its index. :raises InvalidInput: not 32 bytes."""
        if len(leaf) != HASH_SIZE:
            raise errors.InvalidInput("a leaf hash has 32 bytes", reasons=("MERKLE_HASH",))
        position, level, node = self._size, 0, bytes(leaf)
        self._levels[0] += node
        while position & 1:
            row = self._levels[level]
            node = node_hash(bytes(row[-2 * HASH_SIZE : -HASH_SIZE]), bytes(row[-HASH_SIZE:]))
            position, level = position >> 1, level + 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
        self._size += 1
        return self._size - 1

    def cut(self, size: int) -> None:
        """Forget every leaf from ``size`` on: they were appended, and never became durable.

        Proofs for sizes up to ``size`` may be made meanwhile.
        """
        self._require(0 <= size <= self._size)
        self._size = size
        for level, row in enumerate(self._levels):
            del row[(size >> level) * HASH_SIZE :]

    def leaf(self, index: int) -> bytes:
        """The leaf hash at an index. :raises InvalidInput: no such leaf."""
        self._require(0 <= index < self._size)
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """Root of the first ``size`` leaves (default: all). :raises InvalidInput: no such size."""
        wanted = self._size if size is None else size
        self._require(0 <= wanted <= self._size)
        return self._range(0, wanted) if wanted else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that leaf ``index`` is in the first ``size`` leaves (RFC 6962 §2.1.1).

        Hashes run from the leaf's sibling up. :raises InvalidInput: no such leaf or size.
        """
        self._require(0 <= index < size <= self._size)
        proof: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        proof.reverse()
        return proof

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the first ``old`` leaves begin the first ``new`` ones (RFC 6962 §2.1.2).

        :raises InvalidInput: a size of 0, or no such size.
        """
        self._require(0 < old <= new <= self._size)
        proof: list[bytes] = []
        low, high, whole = 0, new, True
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low, whole = middle, False
        if not whole:
            proof.append(self._range(low, high))
        proof.reverse()
        return proof

    def frontier(self, size: int) -> list[bytes]:
        """What a :class:`Frontier` of the first ``size`` leaves begins with.

        :raises InvalidInput: no such size.
        """
        self._require(0 <= size <= self._size)
        hashes, low = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                hashes.append(self._node(level, low >> level))
                low += 1 << level
        return hashes

    def _node(self, level: int, position: int) -> bytes:
        start = position * HASH_SIZE
        return bytes(self._levels[level][start : start + HASH_SIZE])

    def _range(self, low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._node(level, low >> level)
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))

    @staticmethod
    def _require(possible: bool) -> None:
        if not possible:
            raise errors.InvalidInput("no such leaf or tree size", reasons=("MERKLE_RANGE",))


class Frontier:
    """A tree that can only grow: of its leaves it keeps the hashes of the complete subtrees that
    the next ones are joined to, the largest first.

    A signed root that it reaches proves its hashes and every leaf hash appended, each in its place:
    what is hashed with what follows from the sizes alone.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """:raises InvalidInput: not as many hashes as a tree of this size has such subtrees."""
        if size < 0 or len(hashes) != size.bit_count() or not _hashes(hashes):
            raise errors.InvalidInput("a frontier is malformed", reasons=("MERKLE_RANGE",))
        self._size = size
        self._hashes = [bytes(value) for value in hashes]

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """What it can be begun with again."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Append a leaf *hash*. :raises InvalidInput: not 32 bytes."""
        if len(leaf) != HASH_SIZE:
            raise errors.InvalidInput("a leaf hash has 32 bytes", reasons=("MERKLE_HASH",))
        position, node = self._size, bytes(leaf)
        while position & 1:
            node = node_hash(self._hashes.pop(), node)
            position >>= 1
        self._hashes.append(node)
        self._size += 1

    def root(self) -> bytes:
        """Root of all its leaves."""
        if not self._hashes:
            return EMPTY_ROOT
        node = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            node = node_hash(left, node)
        return node


def root_from_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162 §2.1.3.2).

    :raises Forged: the proof has not the shape that ``index`` and ``size`` demand.
    """
    if not 0 <= index < size or not _hashes((leaf, *proof)):
        raise _not_included()
    first, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _not_included()
        if first & 1 or first == last:
            node = node_hash(sibling, node)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise _not_included()
    return node


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Verify that a leaf hash stands at ``index`` in the tree (``size``, ``root``).

    :raises Forged: it does not, or the proof is malformed.
    """
    if root_from_inclusion(leaf=leaf, index=index, size=size, proof=proof) != root:
        raise _not_included()


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Verify that the tree (``new_size``, ``new_root``) extends the older one (RFC 9162 §2.1.4.2).

    An old size of 0 is refused: everything extends the empty tree, so it would prove nothing.

    :raises Forged: it does not, or the proof is malformed.
    """
    if not 0 < old_size <= new_size or not _hashes((old_root, new_root, *proof)):
        raise _not_consistent()
    if old_size == new_size:
        if proof or old_root != new_root:
            raise _not_consistent()
        return
    if not proof:
        raise _not_consistent()
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _not_consistent()
        if first & 1 or first == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        first, last = first >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise _not_consistent()


def _split(width: int) -> int:
    """The largest power of two smaller than ``width`` (RFC 6962's k)."""
    return 1 << ((width - 1).bit_length() - 1)


def _hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_SIZE for value in values)


def _not_included() -> errors.Forged:
    return errors.Forged("the inclusion proof does not verify", reasons=("INCLUSION_PROOF",))


def _not_consistent() -> errors.Forged:
    return errors.Forged("the consistency proof does not verify", reasons=("CONSISTENCY_PROOF",))
