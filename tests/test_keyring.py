"""Key rings: the key that the directory names, whichever file it lies in."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Misconfigured
from fairlead.keyring import MAX_KEYS, KeyRing
from fairlead.sealing import SealingKey


def test_each_key_is_found_by_its_public_half(tmp_path: Path) -> None:
    """Old and new lie side by side, and a key made while the process runs is found as well."""
    first, second = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signing.save_key(tmp_path / "signing.key", first)
    seed = SealingKey.generate()
    seed.save(tmp_path / "sealing.seed")
    ring = KeyRing(tmp_path)
    signing.save_key(tmp_path / "signing-2.key", second)
    later = SealingKey.generate()
    later.save(tmp_path / "sealing-2.seed")
    for key in (first, second):
        public = signing.public_bytes(key)
        assert signing.public_bytes(ring.signing(public)) == public
    for sealed in (seed, later):
        assert ring.sealing(sealed.public_bytes()).public_bytes() == sealed.public_bytes()
    assert len(ring.signing_keys()) == 2


def test_a_key_that_is_not_there_is_named_as_a_mismatch(tmp_path: Path) -> None:
    """A directory that names somebody else's key is a configuration error with a remedy."""
    ring = KeyRing(tmp_path)
    for ask in (ring.signing, ring.sealing):
        with pytest.raises(Misconfigured) as refused:
            ask(bytes(32))
        assert refused.value.code == "KEY_MISMATCH"
        assert refused.value.remedy


def test_a_folder_full_of_keys_is_refused(tmp_path: Path) -> None:
    """More keys than anybody rotates is a mistake."""
    for number in range(MAX_KEYS + 1):
        signing.save_key(tmp_path / f"signing-{number}.key", Ed25519PrivateKey.generate())
    with pytest.raises(Misconfigured) as refused:
        KeyRing(tmp_path)
    assert refused.value.code == "KEY_COUNT"
