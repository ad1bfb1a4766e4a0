"""Blind, evaluate, finalise: RFC 9497 §3.3.2, in batches.

The asker blinds its inputs and sends :attr:`Blinded.elements`; the owner evaluates them under its
key without learning anything but their number; the asker finalises: it verifies every proof and
only then takes its blinds off. There is no function that takes them off alone.

On the wire an element is 32 octets each way, and a proof of 64 octets covers up to 1,000.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import ristretto
from fairlead.blinding import proof
from fairlead.blinding.suite import PrivateKey, hash_to_group, output
from fairlead.errors import Forged, InvalidInput

MAX_ELEMENTS = 4096
"""Elements in one exchange."""

OUTPUT_SIZE = 64
"""Octets that an input becomes under a key."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Blinded:
    """What the asker keeps of a batch; only ``elements`` leaves."""

    inputs: tuple[bytes, ...]
    blinds: bytes
    elements: bytes

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the owner returns: ``elements`` in the order asked, ``proofs`` for each 1,000."""

    elements: bytes
    proofs: bytes


def blind(inputs: Sequence[bytes], blinds: bytes) -> Blinded:
    """Hide each input behind its own scalar (RFC 9497 §3.3.2 Blind).

    :param inputs: 1 to :data:`MAX_ELEMENTS`, each as :func:`encode_terms` writes it.
    :param blinds: as many scalars of 32 octets, from :func:`derive_blinds`; never used twice.
    :raises InvalidInput: ``ROWS``, ``SCALAR`` (zero or not reduced) or ``TOO_LONG``.
    """
    count = _check_elements(blinds)
    if count != len(inputs):
        raise InvalidInput("not as many blinds as inputs", reasons=("ROWS",))
    for at in range(0, len(blinds), ristretto.SIZE):
        ristretto.check_scalar(blinds[at : at + ristretto.SIZE])
    elements = ristretto.multiply(blinds, hash_to_group(inputs))
    return Blinded(inputs=tuple(inputs), blinds=blinds, elements=elements)


def evaluate(
    key: PrivateKey, elements: bytes, *, random: proof.Randomness = os.urandom
) -> Evaluation:
    """Answer blinded elements and prove it (RFC 9497 §3.3.2 BlindEvaluate).

    :param elements: 1 to :data:`MAX_ELEMENTS` rows of 32 octets, from a stranger.
    :raises InvalidInput: ``ROWS``, or ``POINT``: one is the identity or not canonical.
    """
    _check_elements(elements)
    evaluated = ristretto.multiply_all(key.scalar, elements)
    proofs = [
        proof.prove(key, elements[batch], evaluated[batch], random)
        for batch in _batches(len(elements))
    ]
    return Evaluation(elements=evaluated, proofs=b"".join(proofs))


def finalise(asked: Blinded, answer: Evaluation, public: bytes) -> list[bytes]:
    """The outputs, 64 octets an input, once all is proved (RFC 9497 §3.3.2 Finalize).

    :param public: the owner's key as its manifest states it, 32 octets. What is no point, or is
        the identity, verifies nothing; :func:`check_public_key` says so where a manifest is read.
    :raises Forged: ``BLIND_PROOF``; then nothing was unblinded.
    """
    # 1. As many elements as were asked, and a proof for each batch of them.
    batches = _batches(len(asked.elements))
    if (len(answer.elements), len(answer.proofs)) != (
        len(asked.elements),
        len(batches) * proof.SIZE,
    ):
        raise Forged("a blind answer has the wrong size", reasons=("BLIND_PROOF",))
    # 2. Every batch is proved, in this order, under this key.
    for number, batch in enumerate(batches):
        one = answer.proofs[number * proof.SIZE : (number + 1) * proof.SIZE]
        proof.verify_proof(public, asked.elements[batch], answer.elements[batch], one)
    # 3. Only now the blinds come off.
    points = ristretto.multiply(ristretto.invert(asked.blinds), answer.elements)
    return _outputs(asked.inputs, points)


def evaluate_unblinded(key: PrivateKey, inputs: Sequence[bytes]) -> list[bytes]:
    """What :func:`finalise` would give, for whoever has the key and the inputs.

    The owner builds its index with it (RFC 9497 §3.3.2 Evaluate): one multiplication an input.

    :raises InvalidInput: no input, or ``TOO_LONG``.
    """
    return _outputs(inputs, ristretto.multiply_all(key.scalar, hash_to_group(inputs)))


def _outputs(inputs: Sequence[bytes], points: bytes) -> list[bytes]:
    rows = range(0, len(points), ristretto.SIZE)
    return [output(i, points[at : at + ristretto.SIZE]) for i, at in zip(inputs, rows, strict=True)]


def _check_elements(rows: bytes) -> int:
    count = ristretto.check_rows(rows)
    if count > MAX_ELEMENTS:
        raise InvalidInput("too many elements for one exchange", reasons=("ROWS",))
    return count


def _batches(size: int) -> list[slice]:
    step = proof.BATCH * ristretto.SIZE
    return [slice(at, at + step) for at in range(0, size, step)]
