"""Masks: they cancel when all add up, hide everything else, and are never used twice."""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.errors import FairleadError, Forged, InvalidInput, Misconfigured
from fairlead.keyring import load_mask_key
from fairlead.summing import Binding, Round, list_digest, mask, pair_seed
from fairlead.summing.masking import MAX_WORDS, ParticipantMissing, pack, sum_of
from tests.summed import RELEASE, names, octets

BINDING = Binding(
    release=RELEASE, round=Round.VALUES, list_digest=list_digest(names(3)), earlier=bytes(32)
)
VALUE = st.integers(-(2**100), 2**100)


def seeds(own: str, ids: tuple[str, ...]) -> dict[str, bytes]:
    return {other: octets(*sorted((own, other))) for other in ids if other != own}


def masked(values: dict[str, list[int]], binding: Binding = BINDING) -> dict[str, bytes]:
    ids = tuple(values)
    return {
        own: mask(row, own, [o for o in ids if o != own], seeds(own, ids), binding)
        for own, row in values.items()
    }


@settings(max_examples=60, deadline=None)
@given(data=st.data(), nodes=st.integers(2, 7), length=st.integers(0, 9))
def test_all_vectors_add_up_to_the_sum(data: st.DataObject, nodes: int, length: int) -> None:
    """Whatever the values, the number of words, odd or even, and of nodes."""
    row = st.lists(VALUE, min_size=length, max_size=length)
    values = {name: data.draw(row) for name in names(nodes)}
    found = sum_of(masked(values), length, names(nodes))
    assert found == tuple(map(sum, zip(*values.values(), strict=True)))


def test_a_mask_is_what_its_definition_says() -> None:
    """Word by word, with another arithmetic: AES-256-CTR under HMAC-SHA256, added by the first."""
    ids, values = names(3), [5, -7, 2**90]
    expected = [value % 2**128 for value in values]
    for other, sign in (("p00", -1), ("p02", 1)):
        key = hmac.digest(seeds("p01", ids)[other], BINDING.to_bytes(), "sha256")
        block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - by hand
        for place in range(3):
            word = int.from_bytes(block.update(place.to_bytes(16, "big")), "little")
            expected[place] = (expected[place] + sign * word) % 2**128
    found = mask(values, "p01", ["p00", "p02"], seeds("p01", ids), BINDING)
    assert found == b"".join(word.to_bytes(16, "little") for word in expected)


def test_no_part_of_the_vectors_adds_up_to_anything() -> None:
    """Of each true part of the list every word of the sum is far from any figure."""
    values = {name: [1] * 20 for name in names(4)}
    vectors = masked(values)
    for chosen in range(1, 15):
        some = [name for place, name in enumerate(values) if chosen >> place & 1]
        found = sum_of({name: vectors[name] for name in some}, 20, some)
        assert min(map(abs, found)) > 2**100


def other_bindings() -> list[Binding]:
    changed = {
        "cube": "seizures", "cube_version": 2, "level": "quarter",
        "period": "2026-Q2", "version": 2,
    }  # fmt: skip
    releases = [replace(RELEASE, **{key: value}) for key, value in changed.items()]
    return [
        *(replace(BINDING, release=release) for release in releases),
        replace(BINDING, round=Round.INDICATORS),
        replace(BINDING, list_digest=list_digest(names(4))),
        replace(BINDING, earlier=octets("other")),
    ]


def test_each_part_of_a_binding_gives_another_mask() -> None:
    """Cube, its version, level, period, version, round, list, what came before: all change it."""
    values = {name: [0] * 8 for name in names(3)}
    words = set()
    for binding in [BINDING, *other_bindings()]:
        vector = masked(values, binding)["p00"]
        words |= {vector[at : at + 16] for at in range(0, len(vector), 16)}
    assert len(words) == 8 * (1 + len(other_bindings()))


def test_vectors_of_two_rounds_do_not_add_up() -> None:
    """One node's vector of the other round among those of this one: nothing comes out."""
    values = {name: [1] * 8 for name in names(3)}
    vectors = masked(values)
    vectors["p01"] = masked(values, replace(BINDING, round=Round.INDICATORS))["p01"]
    assert min(map(abs, sum_of(vectors, 8, names(3)))) > 2**100


@settings(max_examples=200, deadline=None)
@given(
    vectors=st.dictionaries(st.sampled_from(names(4)), st.binary(max_size=40), max_size=4),
    length=st.integers(-1, 3),
    participants=st.lists(st.sampled_from(names(4)), unique=True),
)
def test_a_sum_of_anything_is_a_sum_or_an_error_of_ours(
    vectors: dict[str, bytes], length: int, participants: list[str]
) -> None:
    """No input raises anything else."""
    with suppress(FairleadError):
        assert len(sum_of(vectors, length, participants)) == length


def test_a_sum_is_of_exactly_the_list() -> None:
    """One missing, one too many, one word too few, or nobody at all: no sum."""
    vectors = masked({name: [1, 2] for name in names(3)})
    less = {name: vectors[name] for name in names(2)}
    with pytest.raises(ParticipantMissing):
        sum_of(less, 2, names(3))
    with pytest.raises(ParticipantMissing):
        sum_of({}, 2, ())
    with pytest.raises(Forged, match="another length or node"):
        sum_of(vectors, 2, names(2))
    with pytest.raises(Forged, match="another length or node"):
        sum_of(vectors | {"p01": vectors["p01"][:-16]}, 2, names(3))
    with pytest.raises(Forged, match="another length or node"):
        sum_of(vectors, 3, names(3))


def test_a_value_that_does_not_fit_is_not_masked() -> None:
    """Nothing is taken modulo anything that was not already a word."""
    assert pack([2**127 - 1, -(2**127)])
    for value in (2**127, -(2**127) - 1):
        with pytest.raises(InvalidInput, match="too large"):
            masked({"p00": [value], "p01": [0]})


def test_a_vector_is_masked_against_somebody_else() -> None:
    """Alone, or against itself, a node would send its figures in clear."""
    for others in ([], ["p00"]):
        with pytest.raises(InvalidInput, match="against all others"):
            mask([1], "p00", others, {"p00": bytes(32)}, BINDING)
    with pytest.raises(InvalidInput, match="too many words"):
        mask([0] * (MAX_WORDS + 1), "p00", ["p01"], {"p01": bytes(32)}, BINDING)
    with pytest.raises(InvalidInput, match="32 octets"):
        mask([1], "p00", ["p01"], {"p01": b"short"}, BINDING)


def test_a_thousand_cells_are_sixteen_thousand_octets() -> None:
    """What a node sends for 1,000 cells stays within 20 kB."""
    assert len(mask([1] * 1000, "p00", ["p01"], {"p01": bytes(32)}, BINDING)) == 16_000


def key(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(octets(name))


def seed_of(own: str = "a1", other: str = "b1", node: str = "", **changes: str) -> bytes:
    told = {"quarter": "2026-Q4", "federation": "test"} | changes
    public = key(other).public_key().public_bytes_raw()
    return pair_seed(key(own), public, ids=(own, other), nodes=(own, node or other), **told)  # type: ignore[arg-type]


def test_both_ends_of_a_pair_have_one_seed() -> None:
    """And another in each quarter, in each federation, with each other partner, and once another
    node of a partner is the first."""
    assert seed_of("a1", "b1") == seed_of("b1", "a1")
    changed = [seed_of(), seed_of(quarter="2027-Q1"), seed_of(federation="b"), seed_of(other="c1")]
    assert len({*changed, seed_of(node="b1/two")}) == 5
    swapped = pair_seed(
        key("a1"), key("b1").public_key().public_bytes_raw(),
        quarter="2026-Q4", federation="test", ids=("b1", "a1"),
        nodes=("b1", "a1"),
    )  # fmt: skip
    assert swapped != seed_of()


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"", bytes(31)])
def test_a_mask_key_of_small_order_gives_no_seed(public: bytes) -> None:
    """A seed that everybody knows, because a point makes zero of every key, is refused."""
    with pytest.raises(InvalidInput, match="mask key"):
        pair_seed(
            key("a1"), public, quarter="2026-Q4", federation="t", ids=("a1", "b1"),
            nodes=("a1", "b1"),
        )  # fmt: skip


def test_a_pair_is_of_two_nodes() -> None:
    """Nobody shares a seed with itself."""
    with pytest.raises(InvalidInput, match="two nodes"):
        seed_of("a1", "a1")


def test_a_mask_key_file_is_read_as_nodes_write_it(tmp_path: Path) -> None:
    """PKCS #8 of X25519, for its owner alone; another kind, or none, is said to be so."""
    from node.founding import _x25519

    path = tmp_path / "mask.key"
    public = _x25519(path)
    assert load_mask_key(path).public_key().public_bytes_raw() == public
    signing.save_key(tmp_path / "other.key", Ed25519PrivateKey.generate())
    for name in ("other.key", "none.key"):
        with pytest.raises(Misconfigured):
            load_mask_key(tmp_path / name)
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="by others"):
        load_mask_key(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"cube": "No"}, {"level": ""}, {"level": "a b"}, {"period": "2026-Q5"}, {"version": 0},
        {"period": "2026-Q1..2026-Q2"}, {"period": "2026-13"}, {"period": "2026\n"},
        {"cube_version": 2**32},
    ],
)  # fmt: skip
def test_a_release_is_of_one_calendar_unit(changed: dict[str, object]) -> None:
    """Windows, misspelt names and versions that do not count are refused."""
    with pytest.raises(InvalidInput):
        replace(RELEASE, **changed)  # type: ignore[arg-type]


def test_months_of_a_period_are_counted() -> None:
    """A year has its quarters' months, and a quarter its months'."""

    def months(period: str) -> list[int]:
        return list(replace(RELEASE, period=period).months)

    quarters = [m for number in range(1, 5) for m in months(f"2026-Q{number}")]
    singles = [m for number in range(1, 13) for m in months(f"2026-{number:02}")]
    assert months("2026") == quarters == singles
    assert months("2027")[0] == months("2026-12")[0] + 1


def test_a_binding_has_whole_digests() -> None:
    """A digest of another size would be bound to nothing."""
    with pytest.raises(InvalidInput):
        replace(BINDING, earlier=b"")
