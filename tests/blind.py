"""What the tests of blind queries share: a library that must be there, inputs, bad elements."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fairlead import ristretto
from fairlead.blinding import Blinded, blind, derive_blinds
from fairlead.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[1]
SEED = bytes(range(32))
FIELD = 2**255 - 19


def require_libsodium() -> None:
    """Skip the module on a machine without libsodium; where everything is required, go on."""
    try:
        ristretto.load()
    except Misconfigured as error:
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") != "1":
            pytest.skip(error.diagnostics(), allow_module_level=True)


def octets(number: int) -> bytes:
    """32 octets, little-endian."""
    return number.to_bytes(32, "little")


def blinded(inputs: Sequence[bytes], seed: bytes = SEED) -> Blinded:
    """The inputs, blinded for one owner."""
    return blind(inputs, derive_blinds(seed, owner="terminal-north", chunk=0, count=len(inputs)))


def changed(data: bytes, place: int, change: int) -> bytes:
    """``data`` with one octet changed; ``change`` is from 1 to 255."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]


INPUTS = st.lists(st.binary(max_size=40), min_size=1, max_size=4)
SCALARS = st.integers(1, ristretto.ORDER - 1).map(octets)

NO_POINTS = {
    "identity": ristretto.IDENTITY,
    "the field's prime, zero again": octets(FIELD),
    "above the prime": octets(FIELD + 4),
    "negative": octets(1),
    "the identity and a 256th bit": octets(2**255),
    "a point and a 256th bit": octets(4 + 2**255),
    "all ones": b"\xff" * 32,
    "not a square": octets(2),
}
NO_SCALARS = {
    "zero": octets(0),
    "the order, zero again": octets(ristretto.ORDER),
    "the order and one": octets(ristretto.ORDER + 1),
    "the top bit": octets(2**255 + 1),
    "all ones": b"\xff" * 32,
}
