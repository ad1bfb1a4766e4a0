"""libsodium's Ed25519, where the machine has it: half the time of OpenSSL's.

RFC 8032 both, without the cofactor, so signatures are the same octets; in verifying, libsodium
moreover refuses keys and nonces of small order, which no honest signer makes. So what passes here
passes there, and a machine without the library (Debian: ``apt-get install libsodium23``) is only
slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
)

LIBRARIES = ("libsodium.so.23", "libsodium.so.26")
KEY_SIZE, SIGNATURE_SIZE = 32, 64

Verify = Callable[[bytes, bytes, bytes], bool]
"""(key, data, signature) → whether the signature is that key's over these octets."""
Sign = Callable[[bytes, bytes], bytes]
"""(seed followed by public key, data) → the signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sodium:
    """The two functions of a library that was found."""

    verify: Verify
    sign: Sign


def find(names: tuple[str, ...] = LIBRARIES) -> Sodium | None:
    """The functions of the first library found; None where there is none."""
    for name in names:
        try:
            library = ctypes.PyDLL(name)
            check = library.crypto_sign_ed25519_verify_detached
            make = library.crypto_sign_ed25519_detached
            ready = library.sodium_init() >= 0
        except (OSError, AttributeError):
            continue
        if ready:
            return Sodium(verify=_verify(check), sign=_sign(make))
    return None


# The types below say what each argument is, so that a length cannot be cut on its way.


def _verify(check: Callable[..., int]) -> Verify:
    check.argtypes = (  # type: ignore[attr-defined]
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_ulonglong,
        ctypes.c_char_p,
    )
    check.restype = ctypes.c_int  # type: ignore[attr-defined]

    def verify(key: bytes, data: bytes, signature: bytes) -> bool:
        if len(key) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
            return False  # the library reads exactly so many octets
        return check(signature, data, len(data), key) == 0

    return verify


def _sign(make: Callable[..., int]) -> Sign:
    make.argtypes = (  # type: ignore[attr-defined]
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_ulonglong,
        ctypes.c_char_p,
    )
    make.restype = ctypes.c_int  # type: ignore[attr-defined]
    Signature = ctypes.c_char * SIGNATURE_SIZE  # noqa: N806  a type

    def sign(secret: bytes, data: bytes) -> bytes:
        if len(secret) != 2 * KEY_SIZE:
            raise ValueError
        signature = Signature()
        if make(signature, None, data, len(data), secret) != 0:
            raise ValueError
        return signature.raw

    return sign


class SodiumKey(Ed25519PrivateKey):
    """A private key that signs by libsodium, and is the key it was made of in all else."""

    __slots__ = ("_key", "_public", "_secret", "_sign")

    def __init__(self, key: Ed25519PrivateKey, sign: Sign) -> None:
        self._key = key
        self._public = key.public_key()
        self._secret = key.private_bytes_raw() + self._public.public_bytes_raw()
        self._sign = sign

    def public_key(self) -> Ed25519PublicKey:
        """The public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:  # type: ignore[override]
        """Sign ``data``: 64 octets (RFC 8032)."""
        return self._sign(self._secret, data)

    def private_bytes(
        self,
        encoding: Encoding,
        format: PrivateFormat,  # noqa: A002  the parent's name
        encryption_algorithm: KeySerializationEncryption,
    ) -> bytes:
        """The key, serialised."""
        return self._key.private_bytes(encoding, format, encryption_algorithm)

    def private_bytes_raw(self) -> bytes:
        """The seed: 32 octets."""
        return self._key.private_bytes_raw()

    def __copy__(self) -> SodiumKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> SodiumKey:
        return self
