"""The suite ristretto255-SHA512 in verifiable mode: what RFC 9497 §4.1 fixes.

Its hashes to points and scalars (RFC 9380's ``expand_message_xmd`` with SHA-512) and the
derivation of a key pair (RFC 9497 §3.2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairlead import ristretto
from fairlead.errors import InvalidInput

CONTEXT = b"OPRFV1-\x01-ristretto255-SHA512"
"""RFC 9497 §3.1: version, mode 0x01 (VOPRF), suite."""

SEED_SIZE = 32
"""Octets from which a key pair is derived."""

MAX_INPUT = 2**16 - 1
"""Octets of an input (RFC 9497 §1.2), and of any part that is framed by its length."""

_BLOCK = 128
"""Octets of a block of SHA-512."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PrivateKey:
    """An owner's key for one node, epoch, audience and scheme: 32 octets each half."""

    scalar: bytes
    public: bytes = field(init=False)

    def __post_init__(self) -> None:
        """:raises InvalidInput: ``SCALAR``, zero or not reduced."""
        ristretto.check_scalar(self.scalar)
        object.__setattr__(self, "public", ristretto.multiply_base(self.scalar))


def check_public_key(public: bytes) -> None:
    """Refuse now what no proof could be verified against.

    :raises InvalidInput: ``BLIND_KEY``, not a point's one encoding, or the identity.
    """
    try:
        ristretto.check_point(public)
    except InvalidInput:
        raise InvalidInput("a key for blind queries is not one", reasons=("BLIND_KEY",)) from None


def derive_key(seed: bytes, info: bytes) -> PrivateKey:
    """RFC 9497 §3.2.1 DeriveKeyPair.

    :param seed: 32 secret octets.
    :param info: at most 65,535 octets that tell this key from others of the same seed.
    :raises InvalidInput: a wrong length.
    """
    if len(seed) != SEED_SIZE:
        raise InvalidInput("a seed has 32 octets", reasons=("SEED",))
    source = seed + framed(info)
    for counter in range(256):
        scalar = ristretto.reduce(_derivation(source + bytes([counter])))
        if scalar != bytes(ristretto.SIZE):
            return PrivateKey(scalar=scalar)
    raise InvalidInput("no key can be derived", reasons=("SEED",))  # probability 2 ** -64512


def hash_to_group(inputs: Iterable[bytes]) -> bytes:
    """The point of each input: rows of 32 octets. :raises InvalidInput: none, or ``TOO_LONG``."""
    return ristretto.from_hashes(b"".join(map(_input_hash, inputs)))


def hash_to_scalar(message: bytes) -> bytes:
    """RFC 9497 §4.1: one scalar, which may be zero."""
    return ristretto.reduce(scalar_hash(message))


def output(data: bytes, point: bytes) -> bytes:
    """RFC 9497 §3.3.1, the end of Finalize: the 64 octets of an input and its evaluated point."""
    return hashlib.sha512(framed(data) + b"\x00\x20" + point + b"Finalize").digest()


def framed(part: bytes) -> bytes:
    """``part`` behind its length (2 octets, big-endian).

    :raises InvalidInput: ``TOO_LONG``, more than :data:`MAX_INPUT` octets.
    """
    if len(part) > MAX_INPUT:
        raise InvalidInput("an input is too long", reasons=("TOO_LONG",))
    return len(part).to_bytes(2, "big") + part


def _expander(tag: bytes) -> Callable[[bytes], bytes]:
    """RFC 9380 §5.3.1 expand_message_xmd with SHA-512 to 64 octets, for one domain."""
    tag += CONTEXT
    suffix = tag + len(tag).to_bytes(1, "big")
    begun = hashlib.sha512(bytes(_BLOCK))
    first = ristretto.HASH_SIZE.to_bytes(2, "big") + b"\x00" + suffix
    second = b"\x01" + suffix

    def expand(message: bytes) -> bytes:
        hashed = begun.copy()
        hashed.update(message + first)
        return hashlib.sha512(hashed.digest() + second).digest()

    return expand


_point_hash = _expander(b"HashToGroup-")
_derivation = _expander(b"DeriveKeyPair")
scalar_hash = _expander(b"HashToScalar-")
"""64 octets that :func:`fairlead.ristretto.reduce` makes a scalar: apart, so that a batch is
reduced at once."""


def _input_hash(data: bytes) -> bytes:
    if len(data) > MAX_INPUT:
        raise InvalidInput("an input is too long", reasons=("TOO_LONG",))
    return _point_hash(data)
