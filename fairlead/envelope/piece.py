"""A piece of a publication: at most 1 MiB, sealed to its reader for one manifest, kind and place.

Pieces are not signed. What they make is compared as a whole with the manifest, so a piece that
somebody exchanged shows when the whole is there; one that was made for another reader, manifest,
kind, place or size does not open.
"""

from __future__ import annotations

from fairlead import sealing, signing
from fairlead.errors import Forged, InvalidInput
from fairlead.v1 import blind_pb2 as pb

PIECE_SIZE = 1 << 20
"""Octets; only the last piece is shorter."""
MAX_SIZE = 1 << 40
"""Octets of a whole."""
MAX_SEALED = PIECE_SIZE + 2_048
"""Octets of a sealed piece: an encapsulated key of 1,120, and a tag of 16."""
KINDS = frozenset({pb.PIECE_KIND_SNAPSHOT, pb.PIECE_KIND_DELTA, pb.PIECE_KIND_DECOYS})
_DOMAIN = "blind-piece"


def check_piece(piece: pb.Piece) -> None:
    """Whether a piece can be asked for.

    :raises InvalidInput: ``PIECE``: no manifest, an unknown kind, or between two pieces.
    """
    placed = piece.offset % PIECE_SIZE == 0 and piece.offset < MAX_SIZE
    if len(piece.manifest) != 32 or piece.kind not in KINDS or not placed:
        raise InvalidInput("this is no piece of a publication", reasons=("PIECE",))


def seal_piece(
    content: bytes, piece: pb.Piece, *, reader: str, size: int, public: bytes
) -> pb.SealedPiece:
    """Seal a piece to ``reader``'s sealing key ``public``; ``size`` is that of the whole.

    :raises InvalidInput: the key is not one.
    """
    sealed = sealing.seal(content, public, info=_info(piece, reader, size))
    return pb.SealedPiece(sealed=sealed, size=size)


def open_piece(
    sealed: pb.SealedPiece, piece: pb.Piece, *, reader: str, key: sealing.SealingKey
) -> bytes:
    """Open a piece as the reader who asked for it.

    :raises Forged: ``UNSEALABLE``: for another reader, manifest, kind, place or size, or altered;
        ``PIECE_SIZE``: not as long as a piece of such a whole is at this place.
    """
    if len(sealed.sealed) > MAX_SEALED or sealed.size > MAX_SIZE:
        raise _wrong_size()
    content = key.open(sealed.sealed, info=_info(piece, reader, sealed.size))
    if len(content) != min(PIECE_SIZE, max(0, sealed.size - piece.offset)):
        raise _wrong_size()
    return content


def _info(piece: pb.Piece, reader: str, size: int) -> bytes:
    numbers = (int(piece.kind).to_bytes(1, "big"), piece.offset.to_bytes(8, "big"),
               size.to_bytes(8, "big"))  # fmt: skip
    return signing.preimage(_DOMAIN, piece.manifest + b"".join(numbers) + reader.encode("ascii"))


def _wrong_size() -> Forged:
    return Forged("a piece has not the size of one", reasons=("PIECE_SIZE",))
