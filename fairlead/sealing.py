"""Sealing to one reader, at sizes that tell the number of terms and nothing else.

HPKE (RFC 9180) with MLKEM768-X25519, HKDF-SHA256 and AES-256-GCM, so that what is recorded
today stays closed to a later quantum computer. A question travels under a content key of its
own that is wrapped to the owner: the key can later be shown to an audit quorum without the
owner's private key. An answer is sealed to the query's one-time reply key.

Fixed sizes (octets of plaintext before sealing), with *n* terms:

* question: 1,024 + 256·n
* answer: 4,096 for one term, else 4,096 + 256·n

and of a blind query with *n* blinded elements, the same for every owner:

* question: 4,096 + 32·n
* answer: 4,096 + 32·n, and 64 for each 1,000 elements begun
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.keyfile import read_private

MAX_TERMS = 512
"""Terms in one sealed query."""

MAX_BLIND_TERMS = 1024
"""Terms in one blind query."""

MAX_ELEMENTS = 4096
"""Blinded elements in one blind query."""

PUBLIC_KEY_SIZE = 1184 + 32
SEED_SIZE = 64 + 32

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_KEY_SIZE = 32
_NONCE_SIZE = 12
SECRET_SIZE = _KEY_SIZE + _NONCE_SIZE
"""Octets of a content key with its nonce."""
WRAPPED_SIZE = 1088 + 32 + _KEY_SIZE + 16
"""Octets of a wrapped content key: two encapsulations, the key, a tag."""


class SealingKey:
    """A reader's private key, kept as its 96-octet seed (64 ML-KEM, 32 X25519)."""

    __slots__ = ("_private", "_seed")

    def __init__(self, seed: bytes) -> None:
        """:raises Misconfigured: the seed is not 96 octets."""
        if len(seed) != SEED_SIZE:
            raise Misconfigured("a sealing key file has the wrong size", reasons=("KEY_KIND",))
        self._seed = seed
        self._private = hpke.MLKEM768X25519PrivateKey(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:64]),
            x25519.X25519PrivateKey.from_private_bytes(seed[64:]),
        )

    @classmethod
    def generate(cls) -> SealingKey:
        """Make a new key from the system's randomness."""
        return cls(os.urandom(SEED_SIZE))

    @classmethod
    def load(cls, path: Path) -> SealingKey:
        """Read a seed file.

        :raises Misconfigured: missing, readable by others, or of the wrong size.
        """
        try:
            return cls(read_private(path))
        except OSError:
            raise Misconfigured(
                "a sealing key file is missing or unreadable",
                reasons=("KEY_FILE",),
                remedy="make certs   (development), or restore the key folder from its backup",
            ) from None

    def save(self, path: Path) -> None:
        """Write the seed, readable by its owner alone (mode 0600)."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(self._seed)

    def to_seed(self) -> bytes:
        """The 96-octet seed, to be kept encrypted."""
        return self._seed

    def public_bytes(self) -> bytes:
        """The 1,216-octet public key: ML-KEM-768 then X25519."""
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(self._seed[:64]).public_key()
        point = x25519.X25519PrivateKey.from_private_bytes(self._seed[64:]).public_key()
        return kem.public_bytes_raw() + point.public_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Open what was sealed to this key for this ``info``.

        :raises Forged: it was not sealed to this key, or for another purpose, or was altered.
        """
        try:
            return _SUITE.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            raise Forged("a sealed message does not open", reasons=("UNSEALABLE",)) from None


def check_public_key(public: bytes) -> None:
    """Refuse now what nobody could seal to later.

    :raises InvalidInput: ``public`` is not an MLKEM768-X25519 public key, or its point is of
        small order (RFC 7748 §6.1: the shared secret would be zero).
    """
    _public(public)
    if _is_small_order(public[1184:]):
        raise InvalidInput("a sealing key is not usable", reasons=("SEALING_KEY",))


_FIELD = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""Every u-coordinate of order 1, 2, 4 or 8 on Curve25519 and its twist: an X25519 secret, which
is a multiple of 8, makes zero of exactly these (RFC 7748 §5, §6.1)."""


def _is_small_order(point: bytes) -> bool:
    """Whether every shared secret with ``point`` is zero; no secret is needed to know it."""
    return int.from_bytes(point, "little") % 2**255 % _FIELD in _SMALL_ORDER


def _public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_KEY_SIZE:
        raise InvalidInput("a sealing key has the wrong size", reasons=("SEALING_KEY",))
    try:
        return hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]),
            x25519.X25519PublicKey.from_public_bytes(public[1184:]),
        )
    except ValueError:
        raise InvalidInput("a sealing key is not one", reasons=("SEALING_KEY",)) from None


def seal(plaintext: bytes, public: bytes, *, info: bytes) -> bytes:
    """Seal ``plaintext`` to ``public`` (1,216 octets) for the context ``info`` (RFC 9180 §6.1).

    :raises InvalidInput: ``public`` is not a sealing key, or is a point of small order.
    """
    try:
        return _SUITE.encrypt(plaintext, _public(public), info)
    except ValueError:
        raise InvalidInput("a sealing key is not usable", reasons=("SEALING_KEY",)) from None


def wrap(
    plaintext: bytes, public: bytes, *, info: bytes, secret: bytes | None = None
) -> tuple[bytes, bytes]:
    """Encrypt under a content key and wrap that key to ``public``.

    :param secret: content key and nonce, of 44 octets and used for nothing else; None draws them.
    :returns: the wrapped key and the ciphertext (nonce, AES-256-GCM).
    """
    secret = os.urandom(SECRET_SIZE) if secret is None else secret
    return seal(secret[:_KEY_SIZE], public, info=info), encrypt(plaintext, secret, info=info)


def encrypt(plaintext: bytes, secret: bytes, *, info: bytes) -> bytes:
    """The ciphertext that :func:`wrap` makes with ``secret``: nonce, AES-256-GCM."""
    key, nonce = secret[:_KEY_SIZE], secret[_KEY_SIZE:]
    return nonce + AESGCM(key).encrypt(nonce, plaintext, info)


def unwrap(wrapped: bytes, ciphertext: bytes, private: SealingKey, *, info: bytes) -> bytes:
    """Undo :func:`wrap`.

    :raises Forged: not for this key, not for this ``info``, or altered.
    """
    key = private.open(wrapped, info=info)
    try:
        return AESGCM(key).decrypt(ciphertext[:_NONCE_SIZE], ciphertext[_NONCE_SIZE:], info)
    except (InvalidTag, ValueError):
        raise Forged("a sealed message does not open", reasons=("UNSEALABLE",)) from None


def question_size(terms: int) -> int:
    """Octets of a padded question about ``terms`` terms."""
    return 1024 + 256 * terms


def answer_size(terms: int) -> int:
    """Octets of a padded answer about ``terms`` terms."""
    return 4096 if terms == 1 else 4096 + 256 * terms


def blind_question_size(elements: int) -> int:
    """Octets of a padded question of ``elements`` blinded elements."""
    return 4096 + 32 * elements


def blind_answer_size(elements: int) -> int:
    """Octets of a padded answer to them."""
    return 4096 + 32 * elements + 64 * -(-elements // 1000)


def pad(data: bytes, size: int) -> bytes:
    """Frame ``data`` by its length (4 octets, big-endian) and zeroes up to ``size`` octets.

    :raises InvalidInput: it does not fit.
    """
    if len(data) + 4 > size:
        raise InvalidInput("a message does not fit its fixed size", reasons=("TOO_LARGE",))
    return (len(data).to_bytes(4, "big") + data).ljust(size, b"\x00")


def unpad(padded: bytes, size: int) -> bytes:
    """Undo :func:`pad`.

    :raises Forged: not ``size`` octets, a wrong length, or padding other than zeroes.
    """
    length = int.from_bytes(padded[:4], "big")
    if len(padded) != size or length > size - 4 or padded[4 + length :].strip(b"\x00"):
        raise Forged("a sealed message is not framed as agreed", reasons=("PADDING",))
    return padded[4 : 4 + length]
