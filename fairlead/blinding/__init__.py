"""Blind queries' cryptography: RFC 9497 VOPRF, ristretto255-SHA512, verifiable mode. Pure.

The asker hides its terms (:func:`blind`), the owner multiplies them by a key without seeing them
(:func:`evaluate`), the asker verifies and unblinds (:func:`finalise`): the output is what the owner
gets from the same term directly (:func:`evaluate_unblinded`) when it builds its index. Neither can
compute an output alone without the other's part, so a stolen index cannot be swept for terms
without the owner, and a bought employee of the owner sees points, not terms.

libsodium is needed (:mod:`fairlead.ristretto`); there is no other implementation to fall back to.
"""

from fairlead.blinding.exchange import (
    MAX_ELEMENTS,
    OUTPUT_SIZE,
    Blinded,
    Evaluation,
    blind,
    evaluate,
    evaluate_unblinded,
    finalise,
)
from fairlead.blinding.proof import BATCH, prove, verify_proof
from fairlead.blinding.ratchet import (
    AUDIENCE_SIZE,
    EpochSeed,
    check_audience,
    check_epoch,
    epoch_key,
    next_seed,
)
from fairlead.blinding.suite import PrivateKey, check_public_key, derive_key
from fairlead.blinding.term import derive_blinds, encode_terms

__all__ = [
    "AUDIENCE_SIZE",
    "BATCH",
    "MAX_ELEMENTS",
    "OUTPUT_SIZE",
    "Blinded",
    "EpochSeed",
    "Evaluation",
    "PrivateKey",
    "blind",
    "check_audience",
    "check_epoch",
    "check_public_key",
    "derive_blinds",
    "derive_key",
    "encode_terms",
    "epoch_key",
    "evaluate",
    "evaluate_unblinded",
    "finalise",
    "next_seed",
    "prove",
    "verify_proof",
]
