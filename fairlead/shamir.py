"""Shamir's secret sharing of a 32-octet key over GF(2⁸). Pure.

Each octet of the key is the constant of a polynomial of degree ``threshold - 1`` over the field of
AES (x⁸ + x⁴ + x³ + x + 1), whose other coefficients are random; share *i* holds the polynomials'
values at *i* (Shamir 1979; draft-mcgrew-tss-03). ``threshold`` shares give the key, and fewer say
nothing about it, whatever is computed: each key is as likely as before.

Only indices decide what is computed. Secret octets lie side by side in one integer and go through
the same shifts, masks and products whatever they are, so no branch and no table depends on them.
Nothing here tells a right share from a wrong one; who shares a key commits to both
(:mod:`fairlead.detail`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fairlead.errors import InvalidInput

KEY_SIZE = 32
"""Octets of a key, and of a share's value."""
SHARE_SIZE = 1 + KEY_SIZE
"""Octets of a share: its index, its value."""
MIN_THRESHOLD = 2
MAX_SHARES = 5

_ONES = int.from_bytes(b"\x01" * KEY_SIZE, "big")
_LOW = _ONES * 0x7F
_POLYNOMIAL = 0x1B


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One share: its index, counted from 1, and its value of 32 octets."""

    index: int
    value: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """33 octets."""
        return bytes([self.index]) + self.value

    @classmethod
    def from_bytes(cls, data: bytes) -> Share:
        """Undo :meth:`to_bytes`.

        :raises InvalidInput: SHARE: another size, or no such index.
        """
        if len(data) != SHARE_SIZE or not 0 < data[0] <= MAX_SHARES:
            raise _invalid("a share of a key has the wrong size or index")
        return cls(index=data[0], value=data[1:])


def split(
    key: bytes, *, threshold: int, shares: int, random: Callable[[int], bytes] = os.urandom
) -> tuple[Share, ...]:
    """Share ``key`` so that any ``threshold`` of ``shares`` shares give it back.

    :raises InvalidInput: SHARE: not 32 octets, or not 2 ≤ threshold ≤ shares ≤ 5.
    """
    if len(key) != KEY_SIZE:
        raise _invalid("a key to be shared has the wrong size")
    if not MIN_THRESHOLD <= threshold <= shares <= MAX_SHARES:
        raise _invalid("a key is shared among 2 to 5, of whom 2 or more open")
    drawn = random(KEY_SIZE * (threshold - 1))
    coefficients = [key, *(drawn[at : at + KEY_SIZE] for at in range(0, len(drawn), KEY_SIZE))]
    rows = [int.from_bytes(row, "big") for row in reversed(coefficients)]
    return tuple(
        Share(index=index, value=_evaluate(rows, index).to_bytes(KEY_SIZE, "big"))
        for index in range(1, shares + 1)
    )


def combine(shares: Collection[Share]) -> bytes:
    """The key whose shares these are, when they are as many as its threshold and all are right.

    :raises InvalidInput: SHARE: fewer than two, too many, or one index twice.
    """
    indices = [share.index for share in shares]
    if not MIN_THRESHOLD <= len(indices) <= MAX_SHARES or len({*indices}) != len(indices):
        raise _invalid("a key follows from 2 to 5 shares of different indices")
    found = 0
    for share in shares:
        found ^= _times(int.from_bytes(share.value, "big"), _weight(share.index, indices))
    return found.to_bytes(KEY_SIZE, "big")


def _evaluate(rows: list[int], index: int) -> int:
    """Every octet's polynomial at ``index``, by Horner; the highest coefficients come first."""
    found = 0
    for row in rows:
        found = _times(found, index) ^ row
    return found


def _times(octets: int, factor: int) -> int:
    """Each of 32 octets, side by side, times a factor that is no secret."""
    found = 0
    while factor:
        if factor & 1:
            found ^= octets
        octets = ((octets & _LOW) << 1) ^ ((octets >> 7) & _ONES) * _POLYNOMIAL
        factor >>= 1
    return found


def _weight(index: int, indices: Collection[int]) -> int:
    """What the share at ``index`` counts for at 0 (Lagrange): Π j / (j - index)."""
    found = 1
    for other in indices:
        if other != index:
            found = _times(found, _times(other, _inverse(other ^ index)))
    return found


def _inverse(factor: int) -> int:
    """The 254th power, 2 + 4 + … + 128: the group has 255 elements."""
    found, square = 1, factor
    for _ in range(7):
        square = _times(square, square)
        found = _times(found, square)
    return found


def _invalid(fault: str) -> InvalidInput:
    return InvalidInput(fault, reasons=("SHARE",))
