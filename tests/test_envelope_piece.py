"""A piece of a publication: opened by its reader, for its manifest, kind, place and size, alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.envelope import piece as module
from fairlead.envelope.piece import MAX_SEALED, PIECE_SIZE, check_piece, open_piece, seal_piece
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.sealing import SealingKey
from fairlead.v1 import blind_pb2 as pb

KEY = SealingKey.generate()
READER = "customs"


def piece(**changes: object) -> pb.Piece:
    settings: dict[str, object] = {
        "manifest": b"m" * 32, "kind": pb.PIECE_KIND_SNAPSHOT, "offset": 0,
    }  # fmt: skip
    return pb.Piece(**{**settings, **changes})  # type: ignore[arg-type]


def sealed(content: bytes, *, size: int | None = None, **changes: object) -> pb.SealedPiece:
    whole = len(content) if size is None else size
    return seal_piece(
        content, piece(**changes), reader=READER, size=whole, public=KEY.public_bytes()
    )


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE])
def test_a_piece_comes_back(size: int) -> None:
    """None at all, one octet, and a full one, which stays within what may be sent."""
    found = sealed(bytes(size))
    assert open_piece(found, piece(), reader=READER, key=KEY) == bytes(size)
    assert len(found.sealed) <= MAX_SEALED


@pytest.mark.parametrize(
    "changes",
    [{"manifest": b"n" * 32}, {"kind": pb.PIECE_KIND_DELTA}, {"offset": PIECE_SIZE}],
)
def test_a_piece_of_something_else_does_not_open(changes: dict[str, object]) -> None:
    """Another manifest, kind or place than the one that was asked for."""
    with pytest.raises(Forged):
        open_piece(sealed(b"x", **changes), piece(), reader=READER, key=KEY)


def test_a_piece_for_somebody_else_does_not_open() -> None:
    """Another name under the same key, another key, or another size of the whole."""
    found = sealed(b"x")
    with pytest.raises(Forged):
        open_piece(found, piece(), reader="police", key=KEY)
    with pytest.raises(Forged):
        open_piece(found, piece(), reader=READER, key=SealingKey.generate())
    found.size = 2
    with pytest.raises(Forged):
        open_piece(found, piece(), reader=READER, key=KEY)


@pytest.mark.parametrize(
    ("content", "size", "offset"),
    [(b"", 1, 0), (b"xy", 1, 0), (b"x", PIECE_SIZE + 1, 0), (b"x", PIECE_SIZE, PIECE_SIZE),
     (b"", module.MAX_SIZE + 1, 0)],
)  # fmt: skip
def test_a_piece_is_as_long_as_its_place_says(content: bytes, size: int, offset: int) -> None:
    """Shorter or longer than what a whole of that size has there is refused, even if it opens."""
    found = sealed(content, size=size, offset=offset)
    with pytest.raises(Forged) as caught:
        open_piece(found, piece(offset=offset), reader=READER, key=KEY)
    assert caught.value.code == "PIECE_SIZE"


@pytest.mark.parametrize(
    "changes",
    [{"manifest": b""}, {"manifest": b"m" * 33}, {"kind": 0}, {"kind": 9}, {"offset": 1},
     {"offset": PIECE_SIZE - 1}, {"offset": module.MAX_SIZE}, {"offset": 2**64 - PIECE_SIZE}],
)  # fmt: skip
def test_what_is_no_piece_is_refused(changes: dict[str, object]) -> None:
    """A wrong name, an unknown kind, or a place between two pieces."""
    with pytest.raises(InvalidInput):
        check_piece(piece(**changes))


@given(st.binary(max_size=2_000), st.integers(0, 2**64 - 1))
def test_octets_that_nobody_sealed_are_refused(octets: bytes, size: int) -> None:
    """Opening never succeeds, and never fails in another way."""
    found = pb.SealedPiece(sealed=octets, size=size)
    with pytest.raises(FairleadError) as caught:
        open_piece(found, piece(), reader=READER, key=KEY)
    assert caught.value.code in {"UNSEALABLE", "PIECE_SIZE"}
