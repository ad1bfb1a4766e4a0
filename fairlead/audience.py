"""An audience class: the partners and purposes that one snapshot of an owner's index is for.

A class is partners x purposes under one policy serial. Its name is the SHA-256 of all three, so
that whoever has a manifest can recompute for whom its entries were made: keys and tags are bound
to that name, and another class's snapshot cannot be passed off as this one's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead import signing
from fairlead.errors import InvalidInput
from fairlead.names import check_code, check_partner_id
from fairlead.v1 import blind_pb2 as pb

MAX_PARTNERS = 1_024
MAX_PURPOSES = 64


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Audience:
    """Who may ask, and what for; every partner for every purpose.

    :raises InvalidInput: ``AUDIENCE``: none, too many, or not in order and each once;
        ``PARTNER_ID``; ``CODE``.
    """

    partners: tuple[str, ...]
    purposes: tuple[str, ...]
    policy_serial: int

    def __post_init__(self) -> None:
        for names, most in ((self.partners, MAX_PARTNERS), (self.purposes, MAX_PURPOSES)):
            if not 0 < len(names) <= most or list(names) != sorted(set(names)):
                raise _no_audience()
        for partner in self.partners:
            check_partner_id(partner)
        for purpose in self.purposes:
            check_code(purpose)
        if not 0 < self.policy_serial < 2**63:
            raise _no_audience()

    @property
    def name(self) -> bytes:
        """32 octets, :data:`fairlead.blinding.AUDIENCE_SIZE`."""
        content = signing.canonical(self.to_wire())
        return signing.digest(signing.preimage("blind-audience", content))

    def to_wire(self) -> pb.BlindAudience:
        """Wire form."""
        return pb.BlindAudience(
            partners=self.partners, purposes=self.purposes, policy_serial=self.policy_serial
        )

    @classmethod
    def from_wire(cls, content: pb.BlindAudience) -> Audience:
        """:raises InvalidInput: as the class."""
        return cls(
            partners=tuple(content.partners),
            purposes=tuple(content.purposes),
            policy_serial=content.policy_serial,
        )


def _no_audience() -> InvalidInput:
    return InvalidInput("an audience class is not well formed", reasons=("AUDIENCE",))
