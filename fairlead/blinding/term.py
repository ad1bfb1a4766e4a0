"""What a term becomes before it is blinded, and what it is blinded with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fairlead import ristretto
from fairlead.blinding.suite import MAX_INPUT
from fairlead.errors import InvalidInput
from fairlead.names import check_code, check_partner_id

SEED_SIZE = 32
"""Octets of the secret from which a query's blinds follow."""

MAX_INDEX = 2**32 - 1

_PERSON = b"fairlead blind 1"


def encode_terms(norm_version: int, scheme: str, values: Iterable[str]) -> list[bytes]:
    """The OPRF's inputs for canonical values, the same octets at asker and owner.

    Version (2 octets), length of the scheme (1), scheme (ASCII), length of the value (2), value
    (UTF-8): no two different terms share an encoding, whatever they contain.

    :param norm_version: of the canonical form, :data:`fairlead.identifiers.NORM_VERSION`.
    :param scheme: lower-case letters, digits, hyphens; at most 64.
    :param values: any texts, lone surrogates included, as
        :func:`fairlead.identifiers.normalise` may return them.
    :raises InvalidInput: ``NORM_VERSION``, ``CODE`` or ``TOO_LONG``.
    """
    if not 0 < norm_version < 2**16:
        raise InvalidInput("no such version of canonical forms", reasons=("NORM_VERSION",))
    name = check_code(scheme).encode()
    head = norm_version.to_bytes(2, "big") + len(name).to_bytes(1, "big") + name
    texts = [value.encode("utf-8", "surrogatepass") for value in values]
    if max(map(len, texts), default=0) > MAX_INPUT - len(head) - 2:
        raise InvalidInput("an input is too long", reasons=("TOO_LONG",))
    return [head + len(text).to_bytes(2, "big") + text for text in texts]


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
