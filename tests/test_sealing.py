"""Sealing: one reader, one purpose, one size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import sealing
from fairlead.errors import Forged, InvalidInput, Misconfigured

KEY = sealing.SealingKey(bytes(range(96)))
OTHER = sealing.SealingKey(bytes(96))
PUBLIC = KEY.public_bytes()
INFO = b"test\x00"


@given(st.binary(max_size=200), st.integers(0, 64))
def test_padding_is_undone_exactly(data: bytes, room: int) -> None:
    """What fits a size comes back from exactly that size."""
    size = len(data) + 4 + room
    padded = sealing.pad(data, size)
    assert len(padded) == size
    assert sealing.unpad(padded, size) == data


@given(st.binary(max_size=64), st.integers(0, 67))
def test_what_does_not_fit_is_refused(data: bytes, size: int) -> None:
    """Padding never cuts: content over the size is InvalidInput."""
    if len(data) + 4 > size:
        with pytest.raises(InvalidInput):
            sealing.pad(data, size)
    else:
        assert len(sealing.pad(data, size)) == size


@given(st.binary(max_size=40), st.integers(0, 40))
def test_only_one_octet_string_unpads_to_a_content(padded: bytes, size: int) -> None:
    """Unpadding any octets gives a content whose padding is those octets, or Forged."""
    try:
        data = sealing.unpad(padded, size)
    except Forged:
        return
    assert sealing.pad(data, size) == padded


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\x00\x00\x00",
        b"\x00\x00\x00\x05abcd",
        b"\xff\xff\xff\xffabcd",
        b"\x00\x00\x00\x01abc\x01",
    ],
)
def test_wrong_frames_are_forged(padded: bytes) -> None:
    """Short frames, lengths beyond the frame and padding other than zeroes are Forged."""
    with pytest.raises(Forged):
        sealing.unpad(padded, 8)


@given(st.integers(1, sealing.MAX_TERMS - 1))
def test_sizes_grow_with_the_number_of_terms_alone(terms: int) -> None:
    """Sizes are functions of the number of terms, and more terms never get less room."""
    assert sealing.question_size(terms) == 1024 + 256 * terms
    assert sealing.answer_size(1) == 4096
    assert sealing.answer_size(terms + 1) == 4096 + 256 * (terms + 1)
    assert sealing.answer_size(terms) < sealing.answer_size(terms + 1)


@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_sealed_messages_open_for_their_reader(data: bytes) -> None:
    """Sealing adds a fixed number of octets, whatever the content, and opening undoes it."""
    sealed = sealing.seal(data, PUBLIC, info=INFO)
    assert len(sealed) == len(data) + 1136
    assert KEY.open(sealed, info=INFO) == data


@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_wrapped_messages_open_for_their_reader(data: bytes) -> None:
    """Wrapping and unwrapping are inverse, at a fixed overhead."""
    wrapped, ciphertext = sealing.wrap(data, PUBLIC, info=INFO)
    assert len(wrapped) == 32 + 1136
    assert len(ciphertext) == len(data) + 28
    assert sealing.unwrap(wrapped, ciphertext, KEY, info=INFO) == data


def test_another_reader_or_purpose_opens_nothing() -> None:
    """The wrong key, the wrong info and any changed octet are Forged."""
    sealed = sealing.seal(b"secret", PUBLIC, info=INFO)
    with pytest.raises(Forged):
        OTHER.open(sealed, info=INFO)
    with pytest.raises(Forged):
        KEY.open(sealed, info=b"other\x00")
    for place in (0, 1087, 1088, 1119, 1120, len(sealed) - 1):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(Forged):
            KEY.open(changed, info=INFO)


@settings(max_examples=50)
@given(st.binary(max_size=1300))
def test_any_octets_offered_as_sealed_are_forged(data: bytes) -> None:
    """Garbage of any length is Forged, for both forms, never another exception."""
    with pytest.raises(Forged):
        KEY.open(data, info=INFO)
    with pytest.raises(Forged):
        sealing.unwrap(data, data, KEY, info=INFO)


@pytest.mark.parametrize("key", [b"", bytes(5), bytes(16), bytes(33)])
def test_a_wrapped_key_of_another_size_is_forged(key: bytes) -> None:
    """An asker who wraps something other than a 256-bit key is told it does not open."""
    wrapped = sealing.seal(key, PUBLIC, info=INFO)
    for ciphertext in (b"", bytes(11), bytes(12), bytes(64)):
        with pytest.raises(Forged):
            sealing.unwrap(wrapped, ciphertext, KEY, info=INFO)


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PUBLIC[:-1],
        PUBLIC + b"\x00",
        b"\xff" * 1216,  # ML-KEM coefficients out of range (FIPS 203 §7.2)
        PUBLIC[:1184] + bytes(32),  # X25519's point of order 1
        PUBLIC[:1184] + b"\x01" + bytes(31),
    ],
)
def test_an_unusable_public_key_is_invalid(public: bytes) -> None:
    """Wrong sizes, impossible ML-KEM keys and X25519 points of small order seal nothing."""
    with pytest.raises(InvalidInput):
        sealing.seal(b"secret", public, info=INFO)


NEAR = [
    base + offset for base in (0, sealing._FIELD) for offset in range(-3, 4) if base + offset >= 0
]


@given(
    st.one_of(st.sampled_from(sorted({*NEAR, *sealing._SMALL_ORDER})), st.integers(0, 2**255 - 1)),
    st.booleans(),
)
def test_points_of_small_order_are_those_that_x25519_refuses(value: int, top_bit: bool) -> None:
    """Whatever the point and its spelling, the list and OpenSSL's exchange agree."""
    point = (value % 2**255 | top_bit << 255).to_bytes(32, "little")
    secret = x25519.X25519PrivateKey.generate()
    try:
        secret.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        zero = False
    except ValueError:
        zero = True
    assert sealing._is_small_order(point) == zero


def test_a_key_file_comes_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    """A saved seed is 0600 and loads as the same key; other sizes and places do not load."""
    path = tmp_path / "sealing.seed"
    KEY.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sealing.SealingKey.load(path).public_bytes() == PUBLIC
    with pytest.raises(Misconfigured):
        sealing.SealingKey.load(tmp_path / "none")
    path.write_bytes(os.urandom(95))
    with pytest.raises(Misconfigured):
        sealing.SealingKey.load(path)


def test_generated_keys_differ() -> None:
    """Two generated keys are two keys, of the documented size."""
    one, two = sealing.SealingKey.generate(), sealing.SealingKey.generate()
    assert one.public_bytes() != two.public_bytes()
    assert len(one.public_bytes()) == sealing.PUBLIC_KEY_SIZE
    sealing.check_public_key(one.public_bytes())
