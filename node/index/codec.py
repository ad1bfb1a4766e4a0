"""The index's cryptography: everything that needs one of the node's two secrets."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from fairlead.errors import Misconfigured, SourceUnusable
from fairlead.identifiers import NORM_VERSION

SECRET_SIZE = 32
TOKEN_SIZE = 16
ORIGIN_SIZE = 12
KEY_SIZE = 2 * ORIGIN_SIZE
REF_SIZE = 16
MOMENT_SIZE = 8
NONCE_SIZE = 12
ROOT_SIZE = 32
PADDING = 64
"""Octets: a sealed record's length tells its content's to the next multiple."""


class Codec:
    """Tokens, keys, masks and seals under (token key, field key).

    :raises Misconfigured: ``INDEX_KEY``, a key is not 32 octets.
    """

    __slots__ = ("_aead", "_key")

    def __init__(self, token_key: bytes, field_key: bytes) -> None:
        if len(token_key) != SECRET_SIZE or len(field_key) != SECRET_SIZE:
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
        return self._keyed(b"token", text, TOKEN_SIZE)

    def key(self, origin: str, version: bytes) -> bytes:
        """24 octets: 12 for the row, then 12 for what it says (content and tokens)."""
        text = origin.encode("utf-8", "surrogatepass")
        row = self._keyed(b"origin", text, ORIGIN_SIZE)
        return row + self._keyed(b"version", row + version, ORIGIN_SIZE)

    def ref(self, key: bytes) -> bytes:
        """16 octets by which others may name the record of ``key``."""
        return self._keyed(b"ref", key, REF_SIZE)

    def mask(self, where: bytes, moment: int) -> bytes:
        """8 octets that hide a time (unix seconds); ``where`` is unlike that of any other time."""
        return (moment ^ self._stream(where)).to_bytes(MOMENT_SIZE)

    def unmask(self, where: bytes, masked: bytes) -> int:
        """The reverse of :meth:`mask`; what nobody masked gives any number."""
        return int.from_bytes(masked) ^ self._stream(where)

    def _stream(self, where: bytes) -> int:
        return int.from_bytes(self._keyed(b"moment", where, MOMENT_SIZE))

    def element(self, kind: bytes, octets: bytes) -> int:
        """256 bits for one element of a multiset, see :mod:`node.index.multiset`."""
        return int.from_bytes(self._keyed(kind, octets, ROOT_SIZE))

    def root(self, octets: bytes) -> bytes:
        """32 octets that attest a description and show nothing of it."""
        return self._keyed(b"root", octets, ROOT_SIZE)

    def state_name(self, name: str) -> bytes:
        """16 octets under which a document of the index's own is kept."""
        return self._keyed(b"state", name.encode(), TOKEN_SIZE)

    def seal(self, name: bytes, content: bytes, nonce: bytes) -> bytes:
        """Pad with blanks (JSON does not mind) and encrypt; the nonce stands in front."""
        padded = content.ljust(-(-len(content) // PADDING) * PADDING)
        return nonce + self._aead.encrypt(nonce, padded, name)

    def open(self, name: bytes, sealed: bytes) -> bytes:
        """Decrypt and verify.

        :raises SourceUnusable: ``INDEX_CHANGED``, not sealed under this key for this name.
        """
        try:
            return self._aead.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], name)
        except (InvalidTag, ValueError, TypeError):
            raise index_changed() from None

    def _keyed(self, person: bytes, data: bytes, size: int) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self._key, person=person).digest()


def index_changed() -> SourceUnusable:
    """The index is not what this node built, or its secret is another."""
    return SourceUnusable(
        "the index was changed, or its secret was",
        reasons=("INDEX_CHANGED",),
        remedy="find out who changed it, then: fairlead-node index --anew --config FILE",
    )
