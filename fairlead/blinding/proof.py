"""One proof for a batch: every element was multiplied by the key of one and the same owner.

RFC 9497 §2.2, discrete logarithm equality (DLEQ). A proof is 64 octets, two scalars, for at most
:data:`BATCH` elements. Elements are rows of 32 octets. The order counts: each element's place
goes into its coefficient.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from fairlead import ristretto
from fairlead.blinding.suite import CONTEXT, PrivateKey, framed, hash_to_scalar, scalar_hash
from fairlead.errors import Forged, InvalidInput

SIZE = 64
"""Octets of a proof: the challenge, the response."""

BATCH = 1000
"""Elements under one proof."""

Randomness = Callable[[int], bytes]
"""So many octets that nobody can guess: :func:`os.urandom`."""


def prove(key: PrivateKey, blinded: bytes, evaluated: bytes, random: Randomness) -> bytes:
    """RFC 9497 §2.2.1 GenerateProof with ComputeCompositesFast: one multiplication an element.

    :param blinded: at most :data:`BATCH` rows.
    :param evaluated: the same rows multiplied by the key.
    :param random: never twice the same: two proofs with one nonce give the key away.
    :returns: 64 octets.
    :raises InvalidInput: ``ROWS``, ``POINT``, or a nonce of zero.
    """
    composite = ristretto.weighted_sum(_weights(key.public, blinded, evaluated), blinded)
    multiplied = ristretto.multiply_all(key.scalar, composite)
    nonce = ristretto.reduce(random(ristretto.HASH_SIZE))
    commitments = ristretto.multiply_base(nonce), ristretto.multiply_all(nonce, composite)
    challenge = _challenge(key.public, composite, multiplied, *commitments)
    return challenge + ristretto.subtract_product(nonce, challenge, key.scalar)


def verify_proof(public: bytes, blinded: bytes, evaluated: bytes, proof: bytes) -> None:
    """RFC 9497 §2.2.2 VerifyProof with ComputeComposites: two multiplications an element.

    :param public: the owner's key, 32 octets.
    :param blinded: what was asked, at most :data:`BATCH` rows.
    :param evaluated: what was answered, as many rows.
    :raises Forged: ``BLIND_PROOF``: it proves nothing about these, in this order, under this key;
        or the key or an element is the identity or not canonical.
    """
    try:
        # 1. Two scalars, neither zero, both reduced.
        challenge, response = proof[: ristretto.SIZE], proof[ristretto.SIZE :]
        ristretto.check_scalar(challenge)
        ristretto.check_scalar(response)
        # 2. One point for all that was asked, one for all that was answered.
        weights = _weights(public, blinded, evaluated)
        composite = ristretto.weighted_sum(weights, blinded)
        multiplied = ristretto.weighted_sum(weights, evaluated)
        # 3. What the prover must have committed to before it knew the challenge.
        first = ristretto.add(
            ristretto.multiply_base(response), ristretto.multiply_all(challenge, public)
        )
        second = ristretto.add(
            ristretto.multiply_all(response, composite),
            ristretto.multiply_all(challenge, multiplied),
        )
        # 4. The challenge is the one that these commitments lead to.
        expected = _challenge(public, composite, multiplied, first, second)
    except InvalidInput:
        raise _forged() from None
    if not hmac.compare_digest(expected, challenge):
        raise _forged()


def _weights(public: bytes, blinded: bytes, evaluated: bytes) -> bytes:
    """RFC 9497 §2.2.1: a coefficient for each pair, bound to its place and to the key.

    :raises InvalidInput: ``ROWS``: not whole, none, too many, or not equally many.
    """
    count = ristretto.check_rows(blinded)
    if count > BATCH or len(evaluated) != len(blinded):
        raise InvalidInput("octets are not a whole number of elements", reasons=("ROWS",))
    seed = hashlib.sha512(framed(public) + framed(b"Seed-" + CONTEXT)).digest()
    start, size = framed(seed), ristretto.SIZE
    hashes = [
        scalar_hash(
            b"%b%b\x00\x20%b\x00\x20%bComposite"
            % (start, i.to_bytes(2, "big"), blinded[at : at + size], evaluated[at : at + size])
        )
        for i, at in enumerate(range(0, count * size, size))
    ]
    return ristretto.reduce(b"".join(hashes))


def _challenge(*points: bytes) -> bytes:
    """RFC 9497 §2.2.1: key, composites and commitments, hashed to a scalar."""
    return hash_to_scalar(b"".join(map(framed, points)) + b"Challenge")


def _forged() -> Forged:
    return Forged("a blind answer does not prove what it says", reasons=("BLIND_PROOF",))
