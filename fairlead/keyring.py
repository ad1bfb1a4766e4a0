"""Key rings: the keys of one key folder, each found by its public half.

While a key is being rotated the folder holds the old and the new one, and the directory of a
query's serial says which of them speaks: ``signing*.key`` and, at a node, ``witness*.key``
(Ed25519, PKCS #8 PEM), ``mask*.key`` (X25519, likewise) and ``sealing*.seed`` (96 raw octets). A
new file is seen at the first key asked for in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fairlead import signing
from fairlead.errors import Misconfigured
from fairlead.keyfile import read_private
from fairlead.sealing import SealingKey

MAX_KEYS = 16
"""Files of one kind in a folder, at most."""

K = TypeVar("K")


class KeyRing:
    """The signing, witness, mask and sealing keys of one key folder."""

    def __init__(self, folder: Path) -> None:
        """:raises Misconfigured: a key file is unreadable, or there are too many."""
        self._folder = folder
        self._signing: dict[bytes, Ed25519PrivateKey] = {}
        self._witness: dict[bytes, Ed25519PrivateKey] = {}
        self._mask: dict[bytes, X25519PrivateKey] = {}
        self._sealing: dict[bytes, SealingKey] = {}
        self.read()

    def read(self) -> None:
        """Read the folder anew.

        :raises Misconfigured: a key file is unreadable, or there are too many.
        """
        self._signing = _keys(
            self._folder, "signing*.key", signing.load_signing_key, signing.public_bytes
        )
        self._witness = _keys(
            self._folder, "witness*.key", signing.load_signing_key, signing.public_bytes
        )
        self._mask = _keys(self._folder, "mask*.key", load_mask_key, mask_public)
        self._sealing = _keys(
            self._folder, "sealing*.seed", SealingKey.load, SealingKey.public_bytes
        )

    def signing(self, public: bytes) -> Ed25519PrivateKey:
        """The private half of a signing key.

        :raises Misconfigured: KEY_MISMATCH, the folder does not hold it.
        """
        if public not in self._signing:
            self.read()
        try:
            return self._signing[public]
        except KeyError:
            raise _missing() from None

    def witness(self, public: bytes) -> Ed25519PrivateKey:
        """The private half of a key that cosigns.

        :raises Misconfigured: KEY_MISMATCH, the folder does not hold it.
        """
        if public not in self._witness:
            self.read()
        try:
            return self._witness[public]
        except KeyError:
            raise _missing() from None

    def mask(self, public: bytes) -> X25519PrivateKey:
        """The private half of a key from which masks of figures are made.

        :raises Misconfigured: KEY_MISMATCH, the folder does not hold it.
        """
        if public not in self._mask:
            self.read()
        try:
            return self._mask[public]
        except KeyError:
            raise _missing() from None

    def sealing(self, public: bytes) -> SealingKey:
        """The private half of a sealing key.

        :raises Misconfigured: KEY_MISMATCH, the folder does not hold it.
        """
        if public not in self._sealing:
            self.read()
        try:
            return self._sealing[public]
        except KeyError:
            raise _missing() from None

    def signing_keys(self) -> list[bytes]:
        """The public half of every signing key held."""
        return list(self._signing)


def load_mask_key(path: Path) -> X25519PrivateKey:
    """Read a mask key (PKCS #8 PEM).

    :raises Misconfigured: missing, unreadable, readable by others, or of another kind.
    """
    try:
        key = load_pem_private_key(read_private(path), password=None)
    except (OSError, ValueError, TypeError):
        raise Misconfigured(
            "a mask key file is missing or unreadable",
            reasons=("KEY_FILE",),
            remedy="make certs   (development), or restore the key folder from its backup",
        ) from None
    if not isinstance(key, X25519PrivateKey):
        raise Misconfigured("a mask key file holds another kind of key", reasons=("KEY_KIND",))
    return key


def mask_public(private: X25519PrivateKey) -> bytes:
    """The public half of a mask key, as the directory has it."""
    return private.public_key().public_bytes_raw()


def _keys(
    folder: Path, pattern: str, load: Callable[[Path], K], public: Callable[[K], bytes]
) -> dict[bytes, K]:
    paths = sorted(folder.glob(pattern))
    if len(paths) > MAX_KEYS:
        raise Misconfigured(
            "a key folder holds too many keys of one kind",
            reasons=("KEY_COUNT",),
            remedy="move keys of former years to the backup; two of a kind are enough",
        )
    found = [load(path) for path in paths]
    return {public(key): key for key in found}


def _missing() -> Misconfigured:
    return Misconfigured(
        "the keys of this process are not those of the directory",
        reasons=("KEY_MISMATCH",),
        remedy="correct keys_dir, or restore the key folder from its backup",
    )
