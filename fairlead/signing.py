"""Domain-separated signatures, digests and commitments over bytes as transmitted.

Every signature in the federation is over ``"fairlead/v1/" domain NUL data``: Ed25519 (RFC 8032)
for organisations, sessions, operators and roots; ECDSA P-256 with SHA-256 (FIPS 186-5) for
people, because browsers and smart cards hold P-256 keys. Signed messages are canonical
protobuf: :func:`parse_canonical` refuses unknown fields and any other encoding of the same
content, so one signature fits exactly one byte string.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError, Message

from fairlead import sodium
from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.keyfile import read_private

M = TypeVar("M", bound=Message)

MAX_MESSAGE = 4 * 1024 * 1024
"""Octets; no signed message is larger."""


def preimage(domain: str, data: bytes) -> bytes:
    """Return the exact octets that are signed for ``data`` in ``domain``."""
    return b"fairlead/v1/" + domain.encode("ascii") + b"\x00" + data


def sign(private: Ed25519PrivateKey, domain: str, data: bytes) -> bytes:
    """Sign ``data`` in ``domain``; returns 64 octets (RFC 8032)."""
    return private.sign(preimage(domain, data))


def verify(public: bytes, domain: str, data: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature by the raw 32-octet key ``public``.

    :raises Forged: the key is not one, or the signature is not this key's over this domain.
    """
    if not _verifies(public, preimage(domain, data), signature):
        raise Forged("a signature does not verify", reasons=("SIGNATURE",))


def _verified_by_openssl(public: bytes, data: bytes, signature: bytes) -> bool:
    try:
        _public_key(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


_sodium = sodium.find()
_verifies: sodium.Verify = _sodium.verify if _sodium else _verified_by_openssl


@lru_cache(maxsize=1024)
def _public_key(public: bytes) -> Ed25519PublicKey:
    """The key object of raw octets: the organisations of a federation sign again and again."""
    return Ed25519PublicKey.from_public_bytes(public)


def sign_as_user(private: ec.EllipticCurvePrivateKey, domain: str, data: bytes) -> bytes:
    """Sign ``data`` with a person's P-256 key; returns a DER ECDSA signature."""
    return private.sign(preimage(domain, data), ec.ECDSA(hashes.SHA256()))


def verify_as_user(
    public: ec.EllipticCurvePublicKey, domain: str, data: bytes, signature: bytes
) -> None:
    """Check a person's P-256 signature.

    :raises Forged: the signature is not this key's over this domain.
    """
    try:
        public.verify(signature, preimage(domain, data), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Forged("a user's signature does not verify", reasons=("SIGNATURE",)) from None


def digest(data: bytes) -> bytes:
    """SHA-256 of ``data``: 32 octets."""
    return hashlib.sha256(data).digest()


def commit(nonce: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 of ``data`` under a 32-octet random ``nonce``: binding, and hiding even a
    value that could be guessed, such as a container number (RFC 2104)."""
    return hmac.digest(nonce, data, "sha256")


def canonical(message: Message) -> bytes:
    """Serialise deterministically; the only encoding :func:`parse_canonical` accepts."""
    return message.SerializeToString(deterministic=True)


def parse_canonical(kind: type[M], data: bytes, *, limit: int = MAX_MESSAGE) -> M:
    """Parse a signed message, refusing everything but its one canonical encoding.

    :raises InvalidInput: too large, undecodable, unknown fields, or not canonical.
    """
    if len(data) > limit:
        raise InvalidInput("a signed message is larger than allowed", reasons=("TOO_LARGE",))
    try:
        message = kind.FromString(data)
        message.DiscardUnknownFields()  # type: ignore[attr-defined, unused-ignore]
        exact = canonical(message) == data
    except (DecodeError, RecursionError, ValueError):
        raise InvalidInput("a signed message cannot be decoded", reasons=("MALFORMED",)) from None
    if not exact:
        raise InvalidInput(
            "a signed message is not canonical or has unknown fields", reasons=("NOT_CANONICAL",)
        )
    return message


def public_bytes(private: Ed25519PrivateKey) -> bytes:
    """The raw 32-octet public key."""
    return private.public_key().public_bytes_raw()


def save_key(path: Path, private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Write a private key as PKCS #8 PEM readable by its owner alone (mode 0600)."""
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(pem)


def _load(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(read_private(path), password=None)
    except (OSError, ValueError, TypeError):
        raise Misconfigured(
            "a private key file is missing or unreadable",
            reasons=("KEY_FILE",),
            remedy="make certs   (development), or restore the key folder from its backup",
        ) from None


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 key.

    :raises Misconfigured: missing, unreadable, readable by others, or of another kind.
    """
    key = _load(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(
            "a signing key file does not hold an Ed25519 key", reasons=("KEY_KIND",)
        )
    return key if _sodium is None else sodium.SodiumKey(key, _sodium.sign)


def load_user_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a person's P-256 key.

    :raises Misconfigured: missing, unreadable, readable by others, or of another kind.
    """
    key = _load(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Misconfigured("a user key file does not hold a P-256 key", reasons=("KEY_KIND",))
    return key
