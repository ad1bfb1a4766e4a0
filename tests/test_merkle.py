"""The Merkle tree: reference vectors, a naive definition, and every one-bit forgery."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import errors, merkle

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "merkle.json").read_text(encoding="utf-8")
)


def tree_of(leaves: list[bytes]) -> merkle.Tree:
    tree = merkle.Tree()
    for leaf in leaves:
        tree.append(merkle.leaf_hash(leaf))
    return tree


def numbered(size: int) -> merkle.Tree:
    return tree_of([str(number).encode() for number in range(size)])


def reference_tree() -> merkle.Tree:
    return tree_of([bytes.fromhex(leaf) for leaf in VECTORS["leaves"]])


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH exactly as RFC 6962 §2.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH exactly as RFC 6962 §2.1.1 writes it."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF exactly as RFC 6962 §2.1.2 writes it."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_proof(old, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_proof(old - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_reference_roots() -> None:
    """Every prefix of the reference leaves has the published root."""
    tree = reference_tree()
    assert tree.root(0).hex() == VECTORS["empty_root"]
    assert [tree.root(size).hex() for size in range(1, 9)] == VECTORS["roots"]


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_reference_inclusion(case: dict[str, Any]) -> None:
    """The published inclusion proofs are made and verified."""
    tree = reference_tree()
    proof = [bytes.fromhex(value) for value in case["proof"]]
    assert tree.inclusion(case["index"], case["size"]) == proof
    merkle.verify_inclusion(
        leaf=tree.leaf(case["index"]),
        index=case["index"],
        size=case["size"],
        proof=proof,
        root=bytes.fromhex(VECTORS["roots"][case["size"] - 1]),
    )


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_reference_consistency(case: dict[str, Any]) -> None:
    """The published consistency proofs are made and verified."""
    tree = reference_tree()
    proof = [bytes.fromhex(value) for value in case["proof"]]
    assert tree.consistency(case["old"], case["new"]) == proof
    merkle.verify_consistency(
        old_size=case["old"],
        old_root=bytes.fromhex(VECTORS["roots"][case["old"] - 1]),
        new_size=case["new"],
        new_root=bytes.fromhex(VECTORS["roots"][case["new"] - 1]),
        proof=proof,
    )


@given(leaves=st.lists(st.binary(max_size=4), min_size=1, max_size=40), data=st.data())
def test_tree_equals_the_recursive_definition(leaves: list[bytes], data: st.DataObject) -> None:
    """Roots and proofs of every size equal the RFC's recursive definition and verify."""
    tree = tree_of(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    assert tree.root(size) == naive_root(leaves[:size])
    path = tree.inclusion(index, size)
    assert path == naive_path(index, leaves[:size])
    proof = tree.consistency(old, size)
    assert proof == naive_proof(old, leaves[:size])
    merkle.verify_inclusion(
        leaf=tree.leaf(index), index=index, size=size, proof=path, root=tree.root(size)
    )
    merkle.verify_consistency(
        old_size=old, old_root=tree.root(old), new_size=size, new_root=tree.root(size), proof=proof
    )


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (2, 3), (4, 7), (6, 7), (3, 8)])
def test_any_flipped_bit_breaks_inclusion(index: int, size: int) -> None:
    """Flipping any bit of the leaf, of the root or of any proof hash is caught."""
    tree = numbered(size)
    honest = [tree.leaf(index), tree.root(), *tree.inclusion(index, size)]
    for part, value in enumerate(honest):
        for bit in range(256):
            forged = [*honest[:part], flipped(value, bit), *honest[part + 1 :]]
            with pytest.raises(errors.Forged):
                merkle.verify_inclusion(
                    leaf=forged[0], root=forged[1], proof=forged[2:], index=index, size=size
                )


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 5), (3, 7), (4, 8), (6, 7), (5, 5)])
def test_any_flipped_bit_breaks_consistency(old: int, new: int) -> None:
    """Flipping any bit of either root or of any proof hash is caught."""
    tree = numbered(new)
    honest = [tree.root(old), tree.root(new), *tree.consistency(old, new)]
    for part, value in enumerate(honest):
        for bit in range(256):
            forged = [*honest[:part], flipped(value, bit), *honest[part + 1 :]]
            with pytest.raises(errors.Forged):
                merkle.verify_consistency(
                    old_size=old,
                    old_root=forged[0],
                    new_size=new,
                    new_root=forged[1],
                    proof=forged[2:],
                )


@given(size=st.integers(1, 20), data=st.data())
def test_a_shortened_or_lengthened_proof_is_refused(size: int, data: st.DataObject) -> None:
    """A proof with one hash too few or too many does not verify."""
    tree = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    path, proof = tree.inclusion(index, size), tree.consistency(old, size)
    for bad_path in ([*path, tree.root()], path[:-1] if path else [tree.root()]):
        with pytest.raises(errors.Forged):
            merkle.verify_inclusion(
                leaf=tree.leaf(index), index=index, size=size, proof=bad_path, root=tree.root()
            )
    for bad_proof in ([*proof, tree.root()], proof[:-1] if proof else [tree.root()]):
        with pytest.raises(errors.Forged):
            merkle.verify_consistency(
                old_size=old,
                old_root=tree.root(old),
                new_size=size,
                new_root=tree.root(),
                proof=bad_proof,
            )


def test_consistency_from_nothing_is_refused() -> None:
    """A consistency proof from size 0 proves nothing and is refused on both sides."""
    tree = numbered(3)
    with pytest.raises(errors.InvalidInput):
        tree.consistency(0, 3)
    for proof in ([], [tree.root()], tree.consistency(1, 3)):
        with pytest.raises(errors.Forged):
            merkle.verify_consistency(
                old_size=0,
                old_root=merkle.EMPTY_ROOT,
                new_size=3,
                new_root=tree.root(),
                proof=proof,
            )


def test_a_root_under_a_false_size_is_refused() -> None:
    """True roots and a true proof do not verify under a larger size than they have."""
    tree = numbered(2)
    merkle.verify_consistency(
        old_size=1,
        old_root=tree.root(1),
        new_size=2,
        new_root=tree.root(),
        proof=tree.consistency(1, 2),
    )
    with pytest.raises(errors.Forged):
        merkle.verify_consistency(
            old_size=1,
            old_root=tree.root(1),
            new_size=4,
            new_root=tree.root(),
            proof=tree.consistency(1, 2),
        )
    with pytest.raises(errors.Forged):
        merkle.verify_inclusion(
            leaf=tree.leaf(0), index=0, size=4, proof=tree.inclusion(0, 2), root=tree.root()
        )


def test_an_inner_node_cannot_pose_as_a_leaf() -> None:
    """The bytes of two child hashes, logged as a leaf, do not hash to their parent."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize(
    ("index", "size"), [(-1, 4), (4, 4), (0, 0), (0, -1), (3, 2), (2**70, 2**71)]
)
def test_impossible_positions_are_refused(index: int, size: int) -> None:
    """A position outside the tree is refused whatever the proof says."""
    tree = numbered(4)
    with pytest.raises(errors.Forged):
        merkle.verify_inclusion(
            leaf=tree.leaf(0), index=index, size=size, proof=tree.inclusion(0, 4), root=tree.root()
        )
    with pytest.raises(errors.InvalidInput):
        tree.inclusion(index, size)


@given(proof=st.lists(st.binary(max_size=40), max_size=5), size=st.integers(), index=st.integers())
def test_verifiers_are_total(proof: list[bytes], size: int, index: int) -> None:
    """Arbitrary proofs raise Forged and nothing else."""
    with pytest.raises(errors.Forged):
        merkle.verify_inclusion(leaf=bytes(32), index=index, size=size, proof=proof, root=b"")
    with pytest.raises(errors.Forged):
        merkle.verify_consistency(
            old_size=index, old_root=bytes(32), new_size=size, new_root=b"\1" * 32, proof=proof
        )


def test_sizes_and_hashes_outside_the_tree_are_refused() -> None:
    """The tree takes 32-byte hashes only and knows no size beyond its own."""
    tree = numbered(2)
    for call in (
        lambda: tree.append(b"short"),
        lambda: tree.root(3),
        lambda: tree.root(-1),
        lambda: tree.leaf(2),
        lambda: tree.consistency(2, 3),
        lambda: tree.consistency(2, 1),
    ):
        with pytest.raises(errors.InvalidInput):
            call()


@given(size=st.integers(0, 70), more=st.integers(0, 40))
def test_a_frontier_grows_to_the_same_roots(size: int, more: int) -> None:
    """What stands for a tree's first leaves grows with the next ones exactly as the tree does."""
    tree = numbered(size + more)
    frontier = merkle.Frontier(size, tree.frontier(size))
    assert frontier.root() == tree.root(size)
    for index in range(size, size + more):
        frontier.append(tree.leaf(index))
        assert frontier.root() == tree.root(index + 1)
    assert (frontier.size, list(frontier.hashes)) == (size + more, tree.frontier(size + more))


@given(
    size=st.integers(-2, 2**64), hashes=st.lists(st.binary(min_size=30, max_size=33), max_size=6)
)
def test_a_frontier_of_another_shape_is_refused(size: int, hashes: list[bytes]) -> None:
    """A tree has one number of complete subtrees, each with a hash of 32 bytes."""
    right = size >= 0 and len(hashes) == size.bit_count() and {len(h) for h in hashes} <= {32}
    try:
        merkle.Frontier(size, hashes)
    except errors.InvalidInput:
        assert not right
    else:
        assert right
