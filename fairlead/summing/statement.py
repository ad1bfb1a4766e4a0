"""What a node says in a round: a vector, signed for exactly this round and list.

Without the signature a gateway could add to a vector on its way, and so make up contributors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged
from fairlead.summing.binding import Binding
from fairlead.summing.masking import ParticipantMissing
from fairlead.summing.release import framed

DOMAIN = "statistics-round"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A partner's vector of one round (empty where it only says that it is ready)."""

    partner_id: str
    vector: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def sign(
        cls, partner_id: str, private: Ed25519PrivateKey, binding: Binding, vector: bytes
    ) -> Statement:
        """Sign; the same vector for the same binding always gives the same octets."""
        signature = signing.sign(private, DOMAIN, _octets(partner_id, binding, vector))
        return cls(partner_id=partner_id, vector=vector, signature=signature)

    def verify(self, public: bytes, binding: Binding) -> None:
        """:raises Forged: SIGNATURE: by another key, or for another round, list or release."""
        octets = _octets(self.partner_id, binding, self.vector)
        signing.verify(public, DOMAIN, octets, self.signature)


def vectors_of(
    statements: Mapping[str, Statement],
    participants: tuple[str, ...],
    binding: Binding,
    keys: Callable[[str], bytes],
) -> dict[str, bytes]:
    """The vectors of exactly these participants, each signed for this binding.

    :param keys: the signing key of a partner; raises for one that is unknown or unpinned.
    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS: one of somebody else; SIGNATURE.
    """
    if not statements.keys() >= {*participants}:
        raise ParticipantMissing(
            "a participant of the list has not sent its statement",
            remedy="ask again once all participants' nodes run: fairlead partners",
        )
    for name, statement in statements.items():
        if name not in participants or statement.partner_id != name:
            raise Forged("a statement is of another node", reasons=("VECTORS",))
        statement.verify(keys(name), binding)
    return {name: statement.vector for name, statement in statements.items()}


def _octets(partner_id: str, binding: Binding, vector: bytes) -> bytes:
    return framed(partner_id.encode(), binding.to_bytes(), hashlib.sha256(vector).digest())
