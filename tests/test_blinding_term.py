"""What is blinded, and with what: one spelling a term, one blind a term and owner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.blinding import blind, derive_blinds, encode_terms
from fairlead.errors import InvalidInput
from fairlead.identifiers import NORM_VERSION, SCHEMES
from tests.blind import SEED, require_libsodium

require_libsodium()

ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates included
CODES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
TERMS = st.tuples(st.integers(1, 2**16 - 1), CODES, ANY_TEXT)


def encode_term(version: int, scheme: str, value: str) -> bytes:
    (encoded,) = encode_terms(version, scheme, [value])
    return encoded


def read(data: bytes) -> tuple[int, str, str]:
    """The way back, written from the layout alone."""
    version, size = int.from_bytes(data[:2]), data[2]
    scheme, rest = data[3 : 3 + size], data[3 + size :]
    assert len(rest) == 2 + int.from_bytes(rest[:2])
    return version, scheme.decode(), rest[2:].decode("utf-8", "surrogatepass")


@given(TERMS)
def test_an_encoding_says_exactly_one_term(term: tuple[int, str, str]) -> None:
    """Version, scheme and value can be read back, so no two terms share an encoding."""
    assert read(encode_term(*term)) == term
    version, scheme, value = term
    assert encode_terms(version, scheme, [value, "", value])[::2] == [encode_term(*term)] * 2


@given(TERMS, TERMS)
def test_different_terms_are_encoded_differently(
    one: tuple[int, str, str], other: tuple[int, str, str]
) -> None:
    """Equal encodings mean equal terms, and no encoding begins another."""
    first, second = encode_term(*one), encode_term(*other)
    assert (first == second) == (one == other)
    assert one == other or not second.startswith(first)


def test_a_known_encoding() -> None:
    """The layout is fixed: whoever changes it changes the version."""
    assert encode_term(1, "container", "MSCU6639870") == (
        b"\x00\x01\x09container\x00\x0bMSCU6639870"
    )
    for scheme in SCHEMES:
        assert encode_term(NORM_VERSION, scheme, "x")


@pytest.mark.parametrize(
    ("version", "scheme", "value", "code"),
    [(0, "container", "x", "NORM_VERSION"), (2**16, "container", "x", "NORM_VERSION"),
     (-1, "container", "x", "NORM_VERSION"), (1, "", "x", "CODE"), (1, "Container", "x", "CODE"),
     (1, "a|b", "x", "CODE"), (1, "a" * 65, "x", "CODE"), (1, "container", "x" * 2**16, "TOO_LONG"),
     (1, "container", "x" * (2**16 - 14), "TOO_LONG")],
)  # fmt: skip
def test_what_cannot_be_encoded_is_refused(
    version: int, scheme: str, value: str, code: str
) -> None:
    """Nothing is cut to fit."""
    with pytest.raises(InvalidInput) as caught:
        encode_term(version, scheme, value)
    assert caught.value.code == code


def test_the_longest_value_fits_exactly() -> None:
    """The limit is the OPRF's own, 65,535 octets in all."""
    assert len(encode_term(1, "container", "x" * (2**16 - 15))) == 2**16 - 1


# ── Blinds ───────────────────────────────────────────────────────────────────────────────────


def blinds(seed: bytes = SEED, owner: str = "customs", chunk: int = 0, count: int = 3) -> bytes:
    return derive_blinds(seed, owner=owner, chunk=chunk, count=count)


def test_no_blind_is_used_twice() -> None:
    """Another seed, owner, chunk or place gives another blind."""
    every = (
        blinds(), blinds(seed=bytes(32)), blinds(owner="customs-2"), blinds(owner="police"),
        blinds(chunk=1), blinds(chunk=2**32 - 1),
    )  # fmt: skip
    rows = [one[at : at + 32] for one in every for at in range(0, 96, 32)]
    assert len(set(rows)) == 18


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_the_audit_committee_derives_the_same_elements(seed: bytes, chunk: int, count: int) -> None:
    """From seed and terms follow the elements that were sent; a longer chunk begins alike."""
    inputs = [encode_term(1, "container", str(number)) for number in range(count)]
    sent = blind(inputs, blinds(seed, chunk=chunk, count=count))
    again = blind(inputs, blinds(seed, chunk=chunk, count=count))
    assert sent.elements == again.elements
    assert blinds(seed, chunk=chunk, count=count + 1).startswith(sent.blinds)


def test_one_term_looks_different_to_each_owner() -> None:
    """Two owners who compare notes cannot tell that they were asked the same."""
    inputs = [encode_term(1, "container", "MSCU6639870")] * 2
    seen = [blind(inputs, blinds(owner=o, count=2)).elements for o in ("customs", "police")]
    rows = {one[at : at + 32] for one in seen for at in (0, 32)}
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("seed", "owner", "chunk", "count", "code"),
    [(b"", "customs", 0, 1, "SEED"), (bytes(31), "customs", 0, 1, "SEED"),
     (bytes(64), "customs", 0, 1, "SEED"), (SEED, "", 0, 1, "PARTNER_ID"),
     (SEED, "../x", 0, 1, "PARTNER_ID"), (SEED, "customs", -1, 1, "ROWS"),
     (SEED, "customs", 2**32, 1, "ROWS"), (SEED, "customs", 0, 0, "ROWS"),
     (SEED, "customs", 0, -1, "ROWS")],
)  # fmt: skip
def test_blinds_of_nothing_are_refused(
    seed: bytes, owner: str, chunk: int, count: int, code: str
) -> None:
    """A wrong seed, owner, chunk or count is an error."""
    with pytest.raises(InvalidInput) as caught:
        derive_blinds(seed, owner=owner, chunk=chunk, count=count)
    assert caught.value.code == code
