"""The index's cryptography: everything that needs one of the node's two secrets."""

from __future__ import annotations

import hashlib
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from fairlead.errors import Misconfigured, SourceUnusable
from fairlead.identifiers import NORM_VERSION

KEY_SIZE = 32
REF_SIZE = 16
MAC_SIZE = 32
NONCE_SIZE = 12
PADDING = 64
"""Octets: a sealed record's length tells its content's to the next multiple."""


class Codec:
    """Tokens, references and seals under (token key, field key).

    :raises Misconfigured: ``INDEX_KEY``, a key is not 32 octets.
    """

    __slots__ = ("_aead", "_key")

    def __init__(self, token_key: bytes, field_key: bytes) -> None:
        if len(token_key) != KEY_SIZE or len(field_key) != KEY_SIZE:
            raise Misconfigured(
                "a key of the index is not 32 octets",
                reasons=("INDEX_KEY",),
                remedy="point index_key in the node's configuration to a secret of 64 octets",
            )
        self._key = token_key
        self._aead = AESGCMSIV(field_key)

    def token(self, scheme: str, value: str) -> bytes:
        """16 octets that stand for one identifier in its canonical form."""
        text = f"{NORM_VERSION}|{scheme}|{value}".encode("utf-8", "surrogatepass")
        return self._keyed(b"token", text, REF_SIZE)

    def ref(self, origin: str, content: bytes) -> bytes:
        """16 octets that stand for one record, the same while it stays what and where it is."""
        text = origin.encode("utf-8", "surrogatepass")
        return self._keyed(b"ref", struct.pack(">I", len(text)) + text + content, REF_SIZE)

    def mac(self, description: bytes) -> bytes:
        """32 octets that only this node can put under a description of the index."""
        return self._keyed(b"meta", description, MAC_SIZE)

    def seal(self, ref: bytes, content: bytes, nonce: bytes) -> bytes:
        """Pad with blanks (JSON does not mind) and encrypt; the nonce stands in front."""
        padded = content.ljust(-(-len(content) // PADDING) * PADDING)
        return nonce + self._aead.encrypt(nonce, padded, ref)

    def open(self, ref: bytes, sealed: bytes) -> bytes:
        """Decrypt and verify.

        :raises SourceUnusable: ``INDEX_CHANGED``, not sealed under this key for this record.
        """
        try:
            return self._aead.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], ref)
        except (InvalidTag, ValueError, TypeError):
            raise index_changed() from None

    def _keyed(self, person: bytes, data: bytes, size: int) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self._key, person=person).digest()


def index_changed() -> SourceUnusable:
    """The index is not what this node built, or its secret is another."""
    return SourceUnusable(
        "the index was changed, or its secret was",
        reasons=("INDEX_CHANGED",),
        remedy="find out who changed it, then build it anew: fairlead-node index --config FILE",
    )
