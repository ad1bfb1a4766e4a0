"""Shamir's secret sharing: published values, any k of n, and fewer that say nothing."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import InvalidInput
from fairlead.shamir import KEY_SIZE, MAX_SHARES, Share, combine, split

KEYS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)
SEATS = st.integers(2, MAX_SHARES).flatmap(
    lambda shares: st.tuples(st.integers(2, shares), st.just(shares))
)


def wide(value: bytes) -> bytes:
    """Values of a published vector in the first octets of a key's."""
    return value.ljust(KEY_SIZE, b"\x00")


@pytest.mark.parametrize(
    ("secret", "shares"),
    [
        # draft-mcgrew-tss-03, test case 1: the secret is "test" and a NUL.
        ("7465737400", {1: "b9fa07e185", 2: "f5409b4511"}),
        # codahale/shamir, its test of known shares.
        ("0102030405", {1: "40a3d8bdc1", 3: "c2fa75d452", 5: "5f11996ffc"}),
    ],
)
def test_published_shares_give_their_secret(secret: str, shares: dict[int, str]) -> None:
    """Two other implementations of the same field agree with this one."""
    found = combine([Share(index=i, value=wide(bytes.fromhex(v))) for i, v in shares.items()])
    assert found == wide(bytes.fromhex(secret))


@settings(max_examples=60, deadline=None)
@given(key=KEYS, seats=SEATS)
def test_any_threshold_of_the_shares_gives_the_key(key: bytes, seats: tuple[int, int]) -> None:
    """Every choice of k, in any order, and more than k too."""
    threshold, count = seats
    shares = split(key, threshold=threshold, shares=count)
    for size in range(threshold, count + 1):
        for chosen in combinations(shares, size):
            assert combine(chosen) == combine(chosen[::-1]) == key


def every_sharing(key: int, threshold: int) -> Counter[tuple[int, ...]]:
    """How often each ``threshold - 1`` shares of an octet occur, over all coefficients there are;
    the octets of a key are as many polynomials at once."""
    seen: Counter[tuple[int, ...]] = Counter()
    choices = list(product(range(256), repeat=threshold - 1))
    for at in range(0, len(choices), KEY_SIZE):
        rows = choices[at : at + KEY_SIZE]
        drawn = b"".join(bytes(column) for column in zip(*rows, strict=True))
        shares = split(
            bytes([key]) * KEY_SIZE, threshold=threshold, shares=3, random=lambda _, d=drawn: d
        )
        held = [share.value for share in shares[-(threshold - 1) :]]
        seen.update(zip(*held, strict=True))
    return seen


@pytest.mark.parametrize("key", [0, 1, 0x53, 255])
@pytest.mark.parametrize("threshold", [2, 3])
def test_fewer_shares_than_the_threshold_say_nothing(key: int, threshold: int) -> None:
    """Over all coefficients, whatever the key is, each value of k - 1 shares occurs just once."""
    seen = every_sharing(key, threshold)
    assert len(seen) == 256 ** (threshold - 1)
    assert set(seen.values()) == {1}


@settings(max_examples=20, deadline=None)
@given(key=KEYS, seats=SEATS)
def test_every_key_is_as_possible_as_before(key: bytes, seats: tuple[int, int]) -> None:
    """To any k - 1 shares there is a k-th one for each value that an octet of the key may have."""
    threshold, count = seats
    held = split(key, threshold=threshold, shares=count)[: threshold - 1]
    keys = {
        combine([*held, Share(index=threshold, value=bytes([value]) * KEY_SIZE)])[0]
        for value in range(256)
    }
    assert len(keys) == 256


@settings(max_examples=40, deadline=None)
@given(key=KEYS, bit=st.integers(0, 8 * KEY_SIZE - 1), seats=SEATS)
def test_a_wrong_share_gives_another_key(key: bytes, bit: int, seats: tuple[int, int]) -> None:
    """One flipped bit is never lost on the way."""
    threshold, count = seats
    first, *others = split(key, threshold=threshold, shares=count)[:threshold]
    flipped = int.from_bytes(first.value, "big") ^ (1 << bit)
    wrong = Share(index=first.index, value=flipped.to_bytes(KEY_SIZE, "big"))
    assert combine([wrong, *others]) != key


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (4, 3), (2, 6), (0, 0), (2, 1)])
def test_other_seats_are_refused(threshold: int, shares: int) -> None:
    """At least two must agree, and there are at most five."""
    with pytest.raises(InvalidInput):
        split(bytes(KEY_SIZE), threshold=threshold, shares=shares)


def test_what_gives_no_key_is_refused() -> None:
    """A key of another size, a single share, one twice, or too many."""
    one, two, *_ = split(bytes(KEY_SIZE), threshold=2, shares=5)
    for wrong in ([], [one], [one, one], [one, two] * 3):
        with pytest.raises(InvalidInput):
            combine(wrong)
    with pytest.raises(InvalidInput):
        split(bytes(31), threshold=2, shares=3)


@given(data=st.binary(max_size=40))
def test_any_octets_are_a_share_or_are_refused(data: bytes) -> None:
    """The parser is total, and what it takes it writes again."""
    try:
        share = Share.from_bytes(data)
    except InvalidInput:
        return
    assert share.to_bytes() == data
    assert 0 < share.index <= MAX_SHARES
