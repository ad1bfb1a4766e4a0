"""The group ristretto255 (RFC 9496) and its scalars, computed by libsodium.

Everything works on *rows*: octets in which each 32 are one encoded point or one little-endian
scalar, so that a batch is one buffer and no element becomes an object. A function that takes
points refuses those that are not canonical and those that are the identity; a scalar that comes
from outside is checked once, by :func:`check_scalar`. There is no other implementation: without
libsodium (Debian: ``apt-get install libsodium23``) the first use raises, importing does not.

The library is called without the interpreter's lock, so a batch may run in a thread. It computes
in constant time; copies of secrets in Python's memory are not wiped.
"""

from __future__ import annotations

import ctypes
from functools import cache

from fairlead.errors import InvalidInput, Misconfigured
from fairlead.sodium import LIBRARIES

SIZE = 32
"""Octets of an encoded point, and of a scalar."""

HASH_SIZE = 64
"""Octets that become one point or one scalar."""

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The number of points in the group (RFC 9496 §4), a prime."""

IDENTITY = bytes(SIZE)
"""The encoding of the neutral element."""

_TOP = 0x7F
"""The largest last octet of an encoding: a field element has 255 bits. libsodium 1.0.18 ignores
the 256th, and would take two spellings of every point."""

_STATUS = {  # what answers 0, or -1 when it cannot be done: how many pointers it takes
    "crypto_core_ristretto255_add": 3,
    "crypto_core_ristretto255_from_hash": 2,
    "crypto_core_ristretto255_is_valid_point": 1,
    "crypto_core_ristretto255_scalar_invert": 2,
    "crypto_scalarmult_ristretto255": 3,
    "crypto_scalarmult_ristretto255_base": 2,
}
_ALWAYS = {  # what cannot fail
    "crypto_core_ristretto255_scalar_mul": 3,
    "crypto_core_ristretto255_scalar_reduce": 2,
    "crypto_core_ristretto255_scalar_sub": 3,
}


def load(names: tuple[str, ...] = LIBRARIES) -> ctypes.CDLL:
    """The first of these libraries that can do the group.

    :raises Misconfigured: ``LIBSODIUM``, there is none.
    """
    for name in names:
        try:
            library = ctypes.CDLL(name)
            for functions, result in ((_STATUS, ctypes.c_int), (_ALWAYS, None)):
                for function, pointers in functions.items():
                    bound = getattr(library, function)
                    bound.argtypes = (ctypes.c_void_p,) * pointers
                    bound.restype = result
            ready = library.sodium_init() >= 0
        except (OSError, AttributeError):
            continue
        if ready:
            return library
    raise Misconfigured(
        "blind queries need libsodium with ristretto255",
        reasons=("LIBSODIUM",),
        remedy="apt-get install libsodium23",
    )


_library = cache(load)


# ── Checks ───────────────────────────────────────────────────────────────────────────────────


def check_rows(rows: bytes, size: int = SIZE) -> int:
    """How many rows of ``size`` octets these are. :raises InvalidInput: ``ROWS``, not whole."""
    count, rest = divmod(len(rows), size)
    if rest or not count:
        raise InvalidInput("octets are not a whole number of elements", reasons=("ROWS",))
    return count


def check_scalar(scalar: bytes) -> None:
    """Whether these 32 octets are a scalar other than zero.

    :raises InvalidInput: ``SCALAR``, of another length, zero, or not below :data:`ORDER`.
    """
    if len(scalar) != SIZE or not 0 < int.from_bytes(scalar, "little") < ORDER:
        raise InvalidInput("a scalar is zero or not reduced", reasons=("SCALAR",))


def check_point(point: bytes) -> None:
    """Whether these 32 octets are the one encoding of a point other than the identity.

    :raises InvalidInput: ``POINT``, they are not.
    """
    if len(point) != SIZE or point == IDENTITY or point[-1] > _TOP:
        raise _no_point()
    if _library().crypto_core_ristretto255_is_valid_point(point) != 1:
        raise _no_point()


# ── Points ───────────────────────────────────────────────────────────────────────────────────


def from_hashes(hashes: bytes) -> bytes:
    """The points that uniform octets stand for (RFC 9496 §4.3.4): 64·n octets to 32·n.

    No hash leads to the identity; octets chosen for it do.

    :raises InvalidInput: ``ROWS``.
    """
    return _each(_library().crypto_core_ristretto255_from_hash, hashes)


def multiply(scalars: bytes, points: bytes) -> bytes:
    """Each point by the scalar in its place, 32·n octets each.

    :raises InvalidInput: ``ROWS``, or ``POINT`` when a point is not canonical, or when it or the
        product is the identity (a scalar is zero).
    """
    _same(scalars, points)
    left = _copy(scalars)
    return _multiply(ctypes.addressof(left), SIZE, points)


def multiply_all(scalar: bytes, points: bytes) -> bytes:
    """Every point by one and the same scalar. :raises InvalidInput: as :func:`multiply`."""
    _one(scalar)
    left = _copy(scalar)
    return _multiply(ctypes.addressof(left), 0, points)


def multiply_base(scalar: bytes) -> bytes:
    """The generator by a scalar. :raises InvalidInput: ``POINT``, the scalar is zero."""
    _one(scalar)
    out = _room(SIZE)
    if _library().crypto_scalarmult_ristretto255_base(ctypes.addressof(out), scalar):
        raise _no_point()
    return out.raw


def weighted_sum(scalars: bytes, points: bytes) -> bytes:
    """The sum of all points, each multiplied by the scalar in its place: 32 octets.

    :raises InvalidInput: as :func:`multiply`; the sum itself may be the identity.
    """
    count = _same(scalars, points)
    multiply_one = _library().crypto_scalarmult_ristretto255
    add_one = _library().crypto_core_ristretto255_add
    total, product, left, right = _room(SIZE), _room(SIZE), _copy(scalars), _copy(points)
    to, by = ctypes.addressof(total), ctypes.addressof(product)
    weight, point = ctypes.addressof(left), ctypes.addressof(right)
    failed: int = multiply_one(to, weight, point)
    for at in range(SIZE, count * SIZE, SIZE):
        failed |= multiply_one(by, weight + at, point + at)
        failed |= add_one(to, to, by)
    if failed:
        raise _no_point()
    return total.raw


def add(first: bytes, second: bytes) -> bytes:
    """The sum of two points. :raises InvalidInput: ``ROWS``, or ``POINT``, one is not canonical."""
    for point in (first, second):
        _one(point)
        _points(point)
    out = _room(SIZE)
    if _library().crypto_core_ristretto255_add(ctypes.addressof(out), first, second):
        raise _no_point()
    return out.raw


# ── Scalars ──────────────────────────────────────────────────────────────────────────────────


def reduce(hashes: bytes) -> bytes:
    """The scalars that uniform octets stand for, modulo :data:`ORDER`: 64·n octets to 32·n.

    :raises InvalidInput: ``ROWS``.
    """
    return _each(_library().crypto_core_ristretto255_scalar_reduce, hashes)


def invert(scalars: bytes) -> bytes:
    """The inverse of each scalar, by one inversion and three multiplications each (Montgomery).

    :raises InvalidInput: ``ROWS``, or ``SCALAR`` when one is zero.
    """
    size = check_rows(scalars) * SIZE
    times = _library().crypto_core_ristretto255_scalar_mul
    out, given, prefix, rest = _room(size), _copy(scalars), _copy(scalars), _room(SIZE)
    to, by, before = ctypes.addressof(out), ctypes.addressof(given), ctypes.addressof(prefix)
    left = ctypes.addressof(rest)
    for at in range(SIZE, size, SIZE):  # prefix[i] = product of the scalars up to i
        times(before + at, before + at - SIZE, by + at)
    if _library().crypto_core_ristretto255_scalar_invert(left, before + size - SIZE):
        raise InvalidInput("a scalar is zero or not reduced", reasons=("SCALAR",))
    for at in range(size - SIZE, 0, -SIZE):  # left = inverse of the product up to here
        times(to + at, left, before + at - SIZE)
        times(left, left, by + at)
    ctypes.memmove(to, left, SIZE)
    return out.raw


def subtract_product(scalar: bytes, first: bytes, second: bytes) -> bytes:
    """``scalar - first · second``, 32 octets each. :raises InvalidInput: ``ROWS``."""
    for one in (scalar, first, second):
        _one(one)
    out = _room(SIZE)
    to = ctypes.addressof(out)
    library = _library()
    library.crypto_core_ristretto255_scalar_mul(to, first, second)
    library.crypto_core_ristretto255_scalar_sub(to, scalar, to)
    return out.raw


# ── Buffers: the only addresses, always with lengths that were checked ──────────────────────
# One row is handed to the library as it is, many are copied to where each has an address.


def _room(size: int) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * size)()


def _copy(octets: bytes) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * len(octets)).from_buffer_copy(octets)


def _one(octets: bytes) -> None:
    if len(octets) != SIZE:
        raise InvalidInput("octets are not a whole number of elements", reasons=("ROWS",))


def _points(rows: bytes) -> int:
    """How many rows, none of which says more than 255 bits; libsodium checks the rest."""
    count = check_rows(rows)
    if max(rows[SIZE - 1 :: SIZE]) > _TOP:
        raise _no_point()
    return count


def _same(scalars: bytes, points: bytes) -> int:
    count = _points(points)
    if len(scalars) != len(points):
        raise InvalidInput("octets are not a whole number of elements", reasons=("ROWS",))
    return count


def _each(function: ctypes._NamedFuncPointer, hashes: bytes) -> bytes:
    """``function`` of each row of 64 octets, as rows of 32."""
    count = check_rows(hashes, HASH_SIZE)
    out, given = _room(count * SIZE), _copy(hashes)
    to, source = ctypes.addressof(out), ctypes.addressof(given)
    for row in range(count):
        function(to + row * SIZE, source + row * HASH_SIZE)
    return out.raw


def _multiply(scalar: int, step: int, points: bytes) -> bytes:
    """``points`` by scalars that lie ``step`` octets apart, from the address ``scalar`` on."""
    size = _points(points) * SIZE
    out, right = _room(size), _copy(points)
    to, point = ctypes.addressof(out), ctypes.addressof(right)
    multiply_one = _library().crypto_scalarmult_ristretto255
    failed = 0
    for at in range(0, size, SIZE):
        failed |= multiply_one(to + at, scalar, point + at)
        scalar += step
    if failed:
        raise _no_point()
    return out.raw


def _no_point() -> InvalidInput:
    return InvalidInput("a group element is the identity or not canonical", reasons=("POINT",))
