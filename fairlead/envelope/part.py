"""How a header commits to the parts of a query, so that an auditor can make a part again.

The encapsulation that wraps a part's content key is random and cannot be made a second time. So a
part's digest is over two digests: of its first :data:`WRAPPED` octets, which are the wrapped key,
and of all others, which follow from the question and a content key that follows from the query's
part seed. Whoever opens the sealed detail knows seed, question, and the first digest.

At the place of a partner that is sent nothing stands a digest that follows from the seed as well:
to everybody else it is as good as any, and whoever opens the detail sees that no part was left out.
"""

from __future__ import annotations

import hashlib

from fairlead import sealing, signing
from fairlead.v1 import query_pb2 as pb

WRAPPED = 3 + sealing.WRAPPED_SIZE
"""Octets of a part's first field, its tag and length among them."""
SEED_SIZE = 32


def part_secret(seed: bytes, owner: str) -> bytes:
    """Content key and nonce of one owner's part: BLAKE2b (RFC 7693) keyed with the query's seed, so
    that no owner's says anything of another's."""
    size, person = sealing.SECRET_SIZE, b"fairlead/part"
    return hashlib.blake2b(owner.encode(), key=seed, digest_size=size, person=person).digest()


def unsent_digest(seed: bytes, partner: str) -> bytes:
    """What a header says of the part of a partner that is sent none."""
    return hashlib.blake2b(
        partner.encode(), key=seed, digest_size=32, person=b"fairlead/unsent"
    ).digest()


def part_digest(part: bytes) -> bytes:
    """What a header says of a part. Total: octets that are no part have one too."""
    return named_by(wrapped_digest(part), part[WRAPPED:])


def wrapped_digest(part: bytes) -> bytes:
    """SHA-256 of a part's wrapped key."""
    return signing.digest(part[:WRAPPED])


def named_by(wrapped: bytes, rest: bytes) -> bytes:
    """The digest of a part of whose wrapped key only the digest is known."""
    return signing.digest(wrapped + signing.digest(rest))


def remade_digest(wrapped: bytes, padded: bytes, secret: bytes, info: bytes) -> bytes:
    """What a header says of the part with this question under this secret."""
    rest = pb.SealedPart(ciphertext=sealing.encrypt(padded, secret, info=info))
    return named_by(wrapped, signing.canonical(rest))
