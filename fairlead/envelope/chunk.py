"""Chunks: 512 aligned terms of a mandate, each a complete subtree under its root (ADR 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import merkle, sealing
from fairlead.errors import Forged, InvalidInput
from fairlead.v1 import query_pb2 as pb

MAX_CHUNKS = 128
"""Chunks under one mandate: 65,536 terms. Policy decides how many of them anybody may ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk of a mandate's terms: terms [512·number, 512·number + term_count), the root over
    their leaves, and the audit path from there to the mandate's root, sibling first."""

    number: int
    term_count: int
    root: bytes
    path: tuple[bytes, ...]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 root over leaf hashes."""
    tree = merkle.Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def chunks_of(leaves: Sequence[bytes]) -> tuple[Chunk, ...]:
    """Cut the leaves into chunks.

    RFC 6962 splits at powers of two, so every 512 aligned leaves are a complete subtree, and the
    tree above them is the tree over their roots.
    """
    size = sealing.MAX_TERMS
    parts = [leaves[start : start + size] for start in range(0, len(leaves), size)]
    tree = merkle.Tree()
    for part in parts:
        tree.append(root_of(part))
    return tuple(
        Chunk(
            number=number,
            term_count=len(part),
            root=tree.leaf(number),
            path=tuple(tree.inclusion(number, len(parts))),
        )
        for number, part in enumerate(parts)
    )


def chunk_count(terms: int) -> int:
    """How many chunks hold ``terms`` terms."""
    return -(-terms // sealing.MAX_TERMS)


def check_chunk(header: pb.QueryHeader, mandate: pb.Mandate) -> None:
    """The header's terms are those at its place: 512, or in the last chunk what is left.

    :raises InvalidInput: TERM_COUNT or CHUNK_PATH: no such chunk, or malformed.
    :raises Forged: CHUNK_PATH: its root does not stand there under the mandate's.
    """
    first = header.chunk * sealing.MAX_TERMS
    if not 0 < header.term_count == min(sealing.MAX_TERMS, mandate.term_count - first):
        raise InvalidInput("a header's terms are not its mandate's", reasons=("TERM_COUNT",))
    shaped = len(header.chunk_root) == merkle.HASH_SIZE
    if not shaped or len(header.chunk_path) > MAX_CHUNKS.bit_length():
        raise InvalidInput("a chunk's path has the wrong shape", reasons=("CHUNK_PATH",))
    try:
        merkle.verify_inclusion(
            leaf=header.chunk_root,
            index=header.chunk,
            size=chunk_count(mandate.term_count),
            proof=header.chunk_path,
            root=mandate.terms_root,
        )
    except Forged:
        raise Forged("a chunk is not of the mandate's terms", reasons=("CHUNK_PATH",)) from None
