"""Chunks: aligned terms of a mandate, each a complete subtree under its root (ADR 13).

A sealed query's chunks have 512 terms, a blind one's 1,024 (ADR 19).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import merkle, sealing
from fairlead.errors import Forged, InvalidInput
from fairlead.v1 import query_pb2 as pb

MAX_CHUNKS = 128
"""Chunks under one sealed mandate: 65,536 terms. Policy decides how many anybody may ask."""
MAX_BLIND_CHUNKS = 1024
"""Chunks under one blind mandate: 1,048,576 terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk of a mandate's terms: those from ``number`` times :func:`chunk_size` on, the root
    over their leaves, and the audit path from there to the mandate's root, sibling first."""

    number: int
    term_count: int
    root: bytes
    path: tuple[bytes, ...]


def chunk_size(mode: int) -> int:
    """Terms in every chunk but the last one."""
    return sealing.MAX_BLIND_TERMS if mode == pb.MODE_BLIND else sealing.MAX_TERMS


def max_chunks(mode: int) -> int:
    """Chunks under one mandate, at most."""
    return MAX_BLIND_CHUNKS if mode == pb.MODE_BLIND else MAX_CHUNKS


def max_terms(mode: int) -> int:
    """Terms under one mandate, at most."""
    return max_chunks(mode) * chunk_size(mode)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 root over leaf hashes."""
    tree = merkle.Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


class Cutter:
    """Cuts leaves into chunks as they come and keeps 32 octets of each chunk.

    RFC 6962 splits at powers of two, so aligned leaves of such a number are a complete subtree,
    and the tree above them is the tree over their roots.
    """

    def __init__(self, mode: int = pb.MODE_SEALED) -> None:
        self._size = chunk_size(mode)
        self._roots: list[bytes] = []
        self._open = merkle.Tree()

    def add(self, leaf: bytes) -> None:
        """Take in the next leaf hash."""
        self._open.append(leaf)
        if self._open.size == self._size:
            self._close()

    def roots(self) -> tuple[bytes, ...]:
        """The roots of all chunks; nothing may be added after."""
        if self._open.size:
            self._close()
        return tuple(self._roots)

    def _close(self) -> None:
        self._roots.append(self._open.root())
        self._open = merkle.Tree()


def chunks_under(
    roots: Sequence[bytes], terms: int, mode: int = pb.MODE_SEALED
) -> tuple[Chunk, ...]:
    """Where the chunks with these roots stand, of ``terms`` terms together."""
    size, tree = chunk_size(mode), merkle.Tree()
    for root in roots:
        tree.append(root)
    return tuple(
        Chunk(
            number=number,
            term_count=min(size, terms - number * size),
            root=root,
            path=tuple(tree.inclusion(number, len(roots))),
        )
        for number, root in enumerate(roots)
    )


def chunks_of(leaves: Sequence[bytes], mode: int = pb.MODE_SEALED) -> tuple[Chunk, ...]:
    """Cut the leaves of a whole mandate into chunks."""
    cutter = Cutter(mode)
    for leaf in leaves:
        cutter.add(leaf)
    return chunks_under(cutter.roots(), len(leaves), mode)


def chunk_count(terms: int, mode: int = pb.MODE_SEALED) -> int:
    """How many chunks hold ``terms`` terms."""
    return -(-terms // chunk_size(mode))


def check_chunk(header: pb.QueryHeader, mandate: pb.Mandate) -> None:
    """The header's terms are those at its place: a full chunk, or in the last what is left.

    :raises InvalidInput: TERM_COUNT or CHUNK_PATH: no such chunk, or malformed.
    :raises Forged: CHUNK_PATH: its root does not stand there under the mandate's.
    """
    size = chunk_size(mandate.mode)
    left = mandate.term_count - header.chunk * size
    if not 0 < header.term_count == min(size, left):
        raise InvalidInput("a header's terms are not its mandate's", reasons=("TERM_COUNT",))
    shaped = len(header.chunk_root) == merkle.HASH_SIZE
    if not shaped or len(header.chunk_path) > max_chunks(mandate.mode).bit_length():
        raise InvalidInput("a chunk's path has the wrong shape", reasons=("CHUNK_PATH",))
    try:
        merkle.verify_inclusion(
            leaf=header.chunk_root,
            index=header.chunk,
            size=chunk_count(mandate.term_count, mandate.mode),
            proof=header.chunk_path,
            root=mandate.terms_root,
        )
    except Forged:
        raise Forged("a chunk is not of the mandate's terms", reasons=("CHUNK_PATH",)) from None
