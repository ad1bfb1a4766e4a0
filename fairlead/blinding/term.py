"""What a term becomes before it is blinded, and what it is blinded with."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from fairlead import ristretto
from fairlead.blinding.suite import MAX_INPUT
from fairlead.errors import InvalidInput
from fairlead.names import check_code, check_partner_id

SEED_SIZE = 32
"""Octets of the secret from which a query's blinds follow."""

MAX_INDEX = 2**32 - 1

_PERSON = b"fairlead blind 1"


def encode_term(norm_version: int, scheme: str, value: str) -> bytes:
    """The OPRF's input for one canonical value, the same octets at asker and owner.

    Version (2 octets), length of the scheme (1), scheme (ASCII), length of the value (2), value
    (UTF-8): no two different terms share an encoding, whatever they contain.

    :param norm_version: of the canonical form, :data:`fairlead.identifiers.NORM_VERSION`.
    :param scheme: lower-case letters, digits, hyphens; at most 64.
    :param value: any text, lone surrogates included, as :func:`fairlead.identifiers.normalise`
        may return it.
    :raises InvalidInput: ``NORM_VERSION``, ``CODE`` or ``TOO_LONG``.
    """
    head, text = _head(norm_version, scheme), value.encode("utf-8", "surrogatepass")
    if len(head) + 2 + len(text) > MAX_INPUT:
        raise InvalidInput("an input is too long", reasons=("TOO_LONG",))
    return head + len(text).to_bytes(2, "big") + text


@lru_cache(maxsize=64)
def _head(norm_version: int, scheme: str) -> bytes:
    """Version and scheme, which are the same for a whole batch."""
    if not 0 < norm_version < 2**16:
        raise InvalidInput("no such version of canonical forms", reasons=("NORM_VERSION",))
    name = check_code(scheme).encode()
    return norm_version.to_bytes(2, "big") + len(name).to_bytes(1, "big") + name


def derive_blinds(seed: bytes, *, owner: str, chunk: int, count: int) -> bytes:
    """The blinds of one chunk for one owner: PRF(seed of the query; owner, chunk, index).

    Keyed BLAKE2b, first to a key for owner and chunk, then to 64 octets for each index, reduced
    modulo the group's order: uniform but for 2⁻²⁵⁹. The audit committee derives them again from
    the sealed detail and compares the blinded elements.

    :param seed: 32 octets, secret, new for each query.
    :param owner: partner id.
    :param chunk: number of the chunk in the query, from 0.
    :param count: how many terms the chunk has.
    :returns: ``count`` scalars of 32 octets.
    :raises InvalidInput: ``SEED``, ``PARTNER_ID`` or ``ROWS``.
    """
    if len(seed) != SEED_SIZE:
        raise InvalidInput("a seed has 32 octets", reasons=("SEED",))
    if not (0 <= chunk <= MAX_INDEX and 0 < count <= MAX_INDEX):
        raise InvalidInput("a chunk is numbered from 0 and not empty", reasons=("ROWS",))
    place = chunk.to_bytes(4, "big") + check_partner_id(owner).encode()
    key = hashlib.blake2b(place, key=seed, person=_PERSON).digest()
    hashes = [
        hashlib.blake2b(index.to_bytes(4, "big"), key=key, person=_PERSON).digest()
        for index in range(count)
    ]
    return ristretto.reduce(b"".join(hashes))
