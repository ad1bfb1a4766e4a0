"""HPKE (RFC 9180, MLKEM768-X25519): an answer opened with the one-time reply key of its query.

The library may be too old for it, or without ML-KEM; then nothing can be opened, and the verifier
says so.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import x25519

from fairlead.verifier.finding import EvidenceFailed, require

try:
    from cryptography.hazmat.primitives import hpke as _hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem as _mlkem
except ImportError:  # an older library
    _hpke = _mlkem = None  # type: ignore[assignment]

SEED = 96


def can_open() -> bool:
    """Whether this library opens answers at all."""
    try:
        _suite()
        reply_pair(bytes(SEED))
    except (AttributeError, UnsupportedAlgorithm):
        return False
    return True


def reply_pair(seed: bytes) -> tuple[Any, bytes]:
    """The private key of a seed (64 octets ML-KEM, 32 X25519), and the public octets.

    :raises EvidenceFailed: not 96 octets.
    """
    require(len(seed) == SEED, "has a reply key of the wrong size")
    lattice = _mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(seed[64:])
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return _hpke.MLKEM768X25519PrivateKey(lattice, curve), public


def open_answer_body(private: Any, body: bytes, query_id: bytes, owner: str) -> bytes:
    """What an owner sealed, without its padding.

    :raises EvidenceFailed: it is not sealed to this key, query and owner, or wrongly framed.
    """
    info = b"fairlead/v1/answer\x00" + query_id + owner.encode()
    try:
        padded: bytes = _suite().decrypt(body, private, info)
    except (InvalidTag, ValueError):
        raise EvidenceFailed("does not open with the query's reply key") from None
    size = int.from_bytes(padded[:4], "big")
    require(size <= len(padded) - 4, "is not framed as agreed")
    require(not padded[4 + size :].strip(b"\x00"), "is not framed as agreed")
    return padded[4 : 4 + size]


def body_octets(terms: int, elements: int) -> int:
    """How large a sealed body is, which the number of terms or elements alone decides."""
    if elements:
        size = 4096 + 32 * elements + 64 * -(-elements // 1000)
    else:
        size = 4096 if terms == 1 else 4096 + 256 * terms
    return size + 1088 + 32 + 16


def _suite() -> Any:
    return _hpke.Suite(_hpke.KEM.MLKEM768_X25519, _hpke.KDF.HKDF_SHA256, _hpke.AEAD.AES_256_GCM)
