"""The group: published multiples, arithmetic against Python's integers, and what is no element."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import ristretto
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.ristretto import HASH_SIZE, ORDER, SIZE
from tests.blind import NO_POINTS, NO_SCALARS, ROOT, SCALARS, octets, require_libsodium

require_libsodium()

# RFC 9496 §A.1, the generator's first multiples.
ONE = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
TWO = bytes.fromhex("6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919")

POINTS = SCALARS.map(ristretto.multiply_base)


def test_published_multiples_of_the_generator() -> None:
    """The generator, once and twice, is what RFC 9496 prints."""
    assert ristretto.multiply_base(octets(1)) == ONE
    assert ristretto.multiply_base(octets(2)) == TWO
    assert ristretto.add(ONE, ONE) == TWO
    assert ristretto.multiply_all(octets(2), ONE + ONE) == TWO + TWO


@given(st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=4))
def test_a_weighted_sum_is_the_sum_of_the_products(pairs: list[tuple[bytes, bytes]]) -> None:
    """Weights times multiples of the generator add up as the integers do."""
    weights = b"".join(weight for weight, _ in pairs)
    points = b"".join(ristretto.multiply_base(scalar) for _, scalar in pairs)
    wanted = sum(number(weight) * number(scalar) for weight, scalar in pairs) % ORDER
    assert ristretto.weighted_sum(weights, points) == times_generator(wanted)


def test_points_that_cancel_out_sum_to_the_identity() -> None:
    """A sum may be the identity, though no addend is."""
    assert ristretto.weighted_sum(octets(1) + octets(ORDER - 1), ONE + ONE) == ristretto.IDENTITY


@given(st.lists(SCALARS, min_size=1, max_size=5), POINTS)
def test_each_point_meets_the_scalar_in_its_place(scalars: list[bytes], point: bytes) -> None:
    """Rows stay rows: multiplying a batch is multiplying each."""
    together = ristretto.multiply(b"".join(scalars), point * len(scalars))
    assert together == b"".join(ristretto.multiply_all(scalar, point) for scalar in scalars)


@given(st.lists(SCALARS, min_size=1, max_size=6))
def test_inverses_are_those_of_the_integers(scalars: list[bytes]) -> None:
    """A batch's inverses by one inversion equal each scalar's own."""
    wanted = b"".join(octets(pow(number(scalar), -1, ORDER)) for scalar in scalars)
    assert ristretto.invert(b"".join(scalars)) == wanted


@given(st.lists(st.binary(min_size=HASH_SIZE, max_size=HASH_SIZE), min_size=1, max_size=4))
def test_hashes_reduce_as_integers_do(hashes: list[bytes]) -> None:
    """64 octets become the scalar that they are modulo the order."""
    wanted = b"".join(octets(int.from_bytes(one, "little") % ORDER) for one in hashes)
    assert ristretto.reduce(b"".join(hashes)) == wanted


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4))
def test_a_hash_becomes_a_point(data: list[bytes]) -> None:
    """64 octets of a hash become a point in its one encoding, each row its own."""
    hashes = [hashlib.sha512(one).digest() for one in data]
    points = ristretto.from_hashes(b"".join(hashes))
    rows = [points[at : at + SIZE] for at in range(0, len(points), SIZE)]
    assert rows == [ristretto.from_hashes(one) for one in hashes]
    for row in rows:
        ristretto.check_point(row)


def test_a_point_has_one_spelling() -> None:
    """The 256th bit, which libsodium 1.0.18 ignores, is refused wherever a point is taken."""
    spelt = ONE[:-1] + bytes([ONE[-1] | 0x80])
    for attempt in (
        lambda: ristretto.check_point(spelt),
        lambda: ristretto.multiply(octets(1) * 2, TWO + spelt),
        lambda: ristretto.multiply_all(octets(1), TWO + spelt),
        lambda: ristretto.weighted_sum(octets(1) * 2, TWO + spelt),
        lambda: ristretto.add(TWO, spelt),
        lambda: ristretto.add(spelt, TWO),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "POINT"


@given(SCALARS, SCALARS, SCALARS)
def test_a_product_is_subtracted(scalar: bytes, first: bytes, second: bytes) -> None:
    """What a proof's response needs is what the integers say."""
    wanted = (number(scalar) - number(first) * number(second)) % ORDER
    assert ristretto.subtract_product(scalar, first, second) == octets(wanted)


@pytest.mark.parametrize("bad", NO_POINTS.values(), ids=NO_POINTS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_point_spoils_a_batch(bad: bytes, place: int) -> None:
    """Wherever a point stands, identity and non-canonical encodings are refused."""
    rows = b"".join([ONE] * place + [bad] + [TWO] * (2 - place))
    scalars = octets(3) * 3
    for attempt in (
        lambda: ristretto.multiply(scalars, rows),
        lambda: ristretto.multiply_all(octets(3), rows),
        lambda: ristretto.weighted_sum(scalars, rows),
        lambda: ristretto.check_point(bad),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "POINT"


@pytest.mark.parametrize("bad", NO_SCALARS.values(), ids=NO_SCALARS)
def test_zero_and_unreduced_scalars_are_refused(bad: bytes) -> None:
    """A scalar from outside is below the order and not zero."""
    with pytest.raises(InvalidInput) as caught:
        ristretto.check_scalar(bad)
    assert caught.value.code == "SCALAR"


def test_zero_is_never_inverted_nor_multiplied_by() -> None:
    """One zero among scalars is an error, not a silent zero for all."""
    with pytest.raises(InvalidInput):
        ristretto.invert(octets(5) + octets(0) + octets(7))
    with pytest.raises(InvalidInput):
        ristretto.multiply_base(octets(0))
    with pytest.raises(InvalidInput):
        ristretto.multiply(octets(5) + octets(0), ONE + ONE)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63])
def test_rows_of_another_length_never_reach_the_library(size: int) -> None:
    """A length that is no multiple of a row's is refused before any address is taken."""
    rows = bytes(size)
    for attempt in (
        lambda: ristretto.multiply(rows, rows),
        lambda: ristretto.multiply(octets(1), rows),
        lambda: ristretto.multiply(rows, ONE),
        lambda: ristretto.multiply_all(rows, ONE),
        lambda: ristretto.multiply_all(octets(1), rows),
        lambda: ristretto.multiply_base(rows),
        lambda: ristretto.weighted_sum(octets(1), rows),
        lambda: ristretto.weighted_sum(rows, ONE),
        lambda: ristretto.add(rows, ONE),
        lambda: ristretto.add(ONE, rows),
        lambda: ristretto.invert(rows),
        lambda: ristretto.reduce(rows),
        lambda: ristretto.from_hashes(rows),
        lambda: ristretto.subtract_product(octets(1), octets(1), rows),
        lambda: ristretto.check_point(rows),
        lambda: ristretto.check_scalar(rows),
    ):
        with pytest.raises(InvalidInput):
            attempt()


def test_a_machine_without_the_library_is_told_the_command() -> None:
    """Nothing computes without libsodium, and the error names the package."""
    with pytest.raises(Misconfigured) as caught:
        ristretto.load(("libnowhere.so.1", "libc.so.6"))
    assert caught.value.code == "LIBSODIUM"
    assert "apt-get install libsodium23" in caught.value.diagnostics()


def test_importing_needs_no_library_and_using_says_so() -> None:
    """A process without libsodium imports everything, and its first blind query is refused."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "LIBSODIUM"


WITHOUT = """
from fairlead import sodium
sodium.LIBRARIES = ()
from fairlead import blinding, entries
from fairlead.errors import Misconfigured
try:
    blinding.derive_key(bytes(32), b"")
except Misconfigured as error:
    print(error.code)
"""


def number(scalar: bytes) -> int:
    """The integer these octets stand for."""
    return int.from_bytes(scalar, "little")


def times_generator(scalar: int) -> bytes:
    """That multiple of the generator; zero is the identity."""
    return ristretto.multiply_base(octets(scalar)) if scalar else ristretto.IDENTITY
