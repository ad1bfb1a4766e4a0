"""libsodium and OpenSSL say the same of every signature an honest signer could make or break."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fairlead import signing, sodium
from fairlead.errors import Forged

SODIUM = sodium.find()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = signing.public_bytes(KEY)
ORDER = 2**252 + 27742317777372353535851937790883648493

if SODIUM is None and os.environ.get("FAIRLEAD_REQUIRE_ALL") != "1":
    pytest.skip("libsodium is missing: apt-get install libsodium23", allow_module_level=True)


def found() -> sodium.Sodium:
    """The library this machine must have."""
    assert SODIUM is not None, "libsodium is missing: apt-get install libsodium23"
    return SODIUM


def sodium_says(public: bytes, data: bytes, signature: bytes) -> bool:
    """libsodium's verdict."""
    return found().verify(public, data, signature)


@given(st.binary(max_size=300), st.integers(0, 95), st.integers(1, 255))
def test_both_accept_what_was_signed_and_refuse_every_change(
    data: bytes, place: int, change: int
) -> None:
    """A right signature passes both; one changed octet of key or signature passes neither."""
    signature = KEY.sign(data)
    assert sodium_says(PUBLIC, data, signature)
    assert signing._verified_by_openssl(PUBLIC, data, signature)
    joined = bytearray(signature + PUBLIC)
    joined[place] ^= change
    broken, key = bytes(joined[:64]), bytes(joined[64:])
    assert not sodium_says(key, data, broken)
    assert not signing._verified_by_openssl(key, data, broken)
    assert not sodium_says(PUBLIC, data + b"\x00", signature)


@given(st.binary(max_size=64), st.binary(max_size=100), st.binary(max_size=128))
def test_what_passes_libsodium_passes_openssl(key: bytes, data: bytes, signature: bytes) -> None:
    """Octets of any length never fail otherwise, and libsodium is never the more lenient."""
    if sodium_says(key, data, signature):
        assert signing._verified_by_openssl(key, data, signature)


def _high_s(signature: bytes) -> bytes:
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


@pytest.mark.parametrize(
    "key", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", PUBLIC]
)
def test_signatures_that_fit_every_message_are_refused(key: bytes) -> None:
    """Keys and nonces of small order, and a second spelling of a right signature, do not pass."""
    identity = b"\x01" + bytes(31)
    assert not sodium_says(key, b"message", identity + bytes(32))
    assert not sodium_says(PUBLIC, b"message", _high_s(KEY.sign(b"message")))


def test_a_machine_without_the_library_verifies_all_the_same() -> None:
    """Without libsodium there is OpenSSL, and the error is the same."""
    assert sodium.find(("libnone.so.0",)) is None
    assert sodium.find(("libc.so.6",)) is None


@pytest.mark.parametrize("engine", [signing._verified_by_openssl, sodium_says])
def test_the_error_does_not_tell_which_library_verified(
    engine: Callable[[bytes, bytes, bytes], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways a forged signature is SIGNATURE."""
    monkeypatch.setattr(signing, "_verifies", engine)
    signing.verify(PUBLIC, "test", b"data", signing.sign(KEY, "test", b"data"))
    for wrong in (bytes(64), b"", bytes(65)):
        with pytest.raises(Forged) as forged:
            signing.verify(PUBLIC, "test", b"data", wrong)
        assert forged.value.reasons == ("SIGNATURE",)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_both_make_the_same_signature(seed: bytes, data: bytes) -> None:
    """RFC 8032 signatures are deterministic: whoever signs, the octets are the same."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    quick = sodium.SodiumKey(key, found().sign)
    assert quick.sign(data) == key.sign(data)
    assert quick.public_key() == key.public_key()
    assert quick.private_bytes_raw() == seed


def test_a_key_read_from_its_file_signs_and_is_written_as_before(tmp_path: Path) -> None:
    """A key that was loaded is saved as the same file, and a copy of it is the key."""
    signing.save_key(tmp_path / "a.key", KEY)
    loaded = signing.load_signing_key(tmp_path / "a.key")
    signing.save_key(tmp_path / "b.key", loaded)
    assert (tmp_path / "a.key").read_bytes() == (tmp_path / "b.key").read_bytes()
    assert (
        copy.deepcopy(loaded).sign(b"data") == copy.copy(loaded).sign(b"data") == KEY.sign(b"data")
    )


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(63), bytes(65)])
def test_a_secret_of_another_length_signs_nothing(secret: bytes) -> None:
    """The library reads exactly 64 octets: others are refused before it is called."""
    with pytest.raises(ValueError):  # noqa: PT011  it has no text
        found().sign(secret, b"data")
