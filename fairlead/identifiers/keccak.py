"""Keccak-256 as Ethereum uses it: the padding of the submission, not of FIPS 202.

:mod:`hashlib` has SHA-3 only, whose padding differs. For check sums of addresses, one block.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_RATE = 136
_ROUNDS = 24


def keccak_256(data: bytes) -> bytes:
    """The digest, 32 octets, of fewer than 136 octets.

    :raises ValueError: longer input, a programmer's error.
    """
    if len(data) >= _RATE:
        raise ValueError("one block only")
    block = bytearray(data.ljust(_RATE, b"\x00"))
    block[len(data)] ^= 0x01
    block[-1] ^= 0x80
    state = [[0] * 5 for _ in range(5)]
    for lane in range(_RATE // 8):
        state[lane % 5][lane // 5] = int.from_bytes(block[8 * lane : 8 * lane + 8], "little")
    _permute(state)
    return b"".join(state[lane][0].to_bytes(8, "little") for lane in range(4))


def _rotated(value: int, places: int) -> int:
    places %= 64
    return ((value << places) | (value >> (64 - places))) & _MASK


def _permute(a: list[list[int]]) -> None:
    """Keccak-f[1600], in place: theta, rho and pi, chi, iota."""
    register = 1
    for _ in range(_ROUNDS):
        parity = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        for x in range(5):
            change = parity[(x + 4) % 5] ^ _rotated(parity[(x + 1) % 5], 1)
            for y in range(5):
                a[x][y] ^= change
        x, y, current = 1, 0, a[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, a[x][y] = a[x][y], _rotated(current, (step + 1) * (step + 2) // 2)
        for y in range(5):
            row = [a[x][y] for x in range(5)]
            for x in range(5):
                a[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5] & _MASK)
        for bit in range(7):
            register = ((register << 1) ^ ((register >> 7) * 0x71)) % 256
            if register & 2:
                a[0][0] ^= 1 << ((1 << bit) - 1)
