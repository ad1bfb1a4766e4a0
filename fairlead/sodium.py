"""libsodium's Ed25519 verification, where the machine has it: half the time of OpenSSL's.

RFC 8032 both, without the cofactor; libsodium moreover refuses keys and nonces of small order,
which no honest signer makes. So what passes here passes there, and a machine without the library
(Debian: ``apt-get install libsodium23``) only verifies more slowly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

LIBRARIES = ("libsodium.so.23", "libsodium.so.26")
KEY_SIZE, SIGNATURE_SIZE = 32, 64

Verify = Callable[[bytes, bytes, bytes], bool]
"""(key, data, signature) → whether the signature is that key's over these octets."""


def find(names: tuple[str, ...] = LIBRARIES) -> Verify | None:
    """The function of the first library found; None where there is none."""
    for name in names:
        try:
            library = ctypes.PyDLL(name)
            check = library.crypto_sign_ed25519_verify_detached
            ready = library.sodium_init() >= 0
        except (OSError, AttributeError):
            continue
        if ready:
            return _wrap(check)
    return None


def _wrap(check: Callable[..., int]) -> Verify:
    # The types say what each argument is, so that a length cannot be cut on its way.
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
