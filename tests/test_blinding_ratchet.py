"""Seeds that only turn forward, and one key for each node, epoch, audience and scheme."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.blinding import EpochSeed, epoch_key, next_seed
from fairlead.errors import InvalidInput
from tests.blind import SEED, require_libsodium

require_libsodium()

FIRST = EpochSeed(epoch=1, secret=SEED)
NODE, AUDIENCE, SCHEME = "partner/customs/node/main", bytes(32), "container"


def key(
    seed: EpochSeed = FIRST, node: str = NODE, audience: bytes = AUDIENCE, scheme: str = SCHEME
) -> bytes:
    return epoch_key(seed, node=node, audience=audience, scheme=scheme).scalar


def test_a_known_chain() -> None:
    """The derivation is fixed: whoever changes it locks every index that exists."""
    second = next_seed(FIRST)
    assert (second.epoch, second.secret.hex()) == (2, KNOWN_SEED)
    assert key(second).hex() == KNOWN_KEY


def test_every_part_of_its_name_changes_a_key() -> None:
    """Another node, epoch, audience, scheme or seed has another key."""
    every = [
        key(),
        key(EpochSeed(epoch=2, secret=SEED)),
        key(EpochSeed(epoch=1, secret=bytes(32))),
        key(next_seed(FIRST)),
        key(node="partner/customs/node/second"),
        key(node="partner/police/node/main"),
        key(audience=b"\x01" + bytes(31)),
        key(audience=bytes(31) + b"\x01"),
        key(scheme="vessel-imo"),
        key(scheme="container-1"),
    ]
    assert len(set(every)) == len(every)


NAMES = st.from_regex(r"[a-z][a-z0-9-]{1,5}", fullmatch=True)
NAMED = st.tuples(NAMES, NAMES, st.integers(0, 3), st.binary(min_size=32, max_size=32), NAMES)


@given(NAMED, NAMED)
def test_keys_are_equal_only_for_equal_names(
    one: tuple[str, str, int, bytes, str], other: tuple[str, str, int, bytes, str]
) -> None:
    """No part of a name can be shifted into its neighbour."""
    first, second = (
        key(EpochSeed(epoch=epoch, secret=SEED), f"partner/{partner}/node/{name}", audience, scheme)
        for partner, name, epoch, audience, scheme in (one, other)
    )
    assert (first == second) == (one == other)


def test_a_chain_never_comes_back() -> None:
    """Each epoch's seed is new and follows from the one before, however it was reached."""
    seeds = [FIRST]
    for _ in range(50):
        seeds.append(next_seed(seeds[-1]))
    assert [seed.epoch for seed in seeds] == list(range(1, 52))
    assert len({seed.secret for seed in seeds}) == 51
    assert next_seed(EpochSeed(epoch=20, secret=seeds[19].secret)).secret == seeds[20].secret


def test_a_later_seed_yields_no_earlier_key() -> None:
    """From a stolen seed, under any number and turned ever further, no earlier key comes out."""
    stolen = next_seed(FIRST)
    for _ in range(50):
        named = (EpochSeed(epoch=epoch, secret=stolen.secret) for epoch in (0, 1, stolen.epoch))
        assert key(FIRST) not in {key(seed) for seed in named}
        assert stolen.secret != FIRST.secret
        stolen = next_seed(stolen)


def test_the_last_epoch_has_no_next() -> None:
    """Numbers do not wrap around."""
    with pytest.raises(InvalidInput) as caught:
        next_seed(EpochSeed(epoch=2**32 - 1, secret=SEED))
    assert caught.value.code == "EPOCH"


@pytest.mark.parametrize(("epoch", "secret", "code"), [
    (-1, SEED, "EPOCH"), (2**32, SEED, "EPOCH"), (0, b"", "SEED"), (0, bytes(33), "SEED"),
])  # fmt: skip
def test_a_malformed_seed_is_refused(epoch: int, secret: bytes, code: str) -> None:
    """A number in range and 32 octets."""
    with pytest.raises(InvalidInput) as caught:
        EpochSeed(epoch=epoch, secret=secret)
    assert caught.value.code == code


@pytest.mark.parametrize(("node", "audience", "scheme", "code"), [
    ("", AUDIENCE, SCHEME, "NODE"), ("partner/customs", AUDIENCE, SCHEME, "NODE"),
    ("partner/customs/node/main/x", AUDIENCE, SCHEME, "NODE"),
    ("partner/customs/user/main", AUDIENCE, SCHEME, "NODE"),
    ("partner/../node/main", AUDIENCE, SCHEME, "PARTNER_ID"),
    ("partner/customs/node/", AUDIENCE, SCHEME, "CODE"),
    (NODE, b"", SCHEME, "AUDIENCE"), (NODE, bytes(33), SCHEME, "AUDIENCE"),
    (NODE, AUDIENCE, "", "CODE"), (NODE, AUDIENCE, "a/b", "CODE"),
])  # fmt: skip
def test_a_misspelt_name_has_no_key(node: str, audience: bytes, scheme: str, code: str) -> None:
    """Two spellings of one name would be two keys, so there is one spelling."""
    with pytest.raises(InvalidInput) as caught:
        key(node=node, audience=audience, scheme=scheme)
    assert caught.value.code == code


def test_seeds_do_not_show() -> None:
    """A seed's octets are not in what a log would print."""
    assert SEED.hex() not in repr(FIRST)
    assert repr(SEED) not in repr(FIRST)


KNOWN_SEED = "9b8cedde467766cbeb04fa05bf89d8acee8310067e47a813a36fd2e5d4ae3524"
KNOWN_KEY = "23cb5811f2f5ede9e0828462d2b6d43ecf72e02a88d90d09281bb5267e011804"
