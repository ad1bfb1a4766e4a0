"""What a masked vector, and a signature on it, is bound to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fairlead.errors import InvalidInput
from fairlead.summing.release import Release, framed

DIGEST_SIZE = 32


class Round(IntEnum):
    """The rounds of PROTOCOL §6."""

    READY = 0
    INDICATORS = 1
    VALUES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One round of one release with one list of participants.

    ``earlier`` is the SHA-256 of what all must have seen alike before: in the first two rounds the
    terms, in the last one all indicator vectors too. Nodes that did not see the same have other
    masks, and what they send adds up to noise.

    :raises InvalidInput: BINDING: a digest of another size.
    """

    release: Release
    round: Round
    list_digest: bytes
    earlier: bytes

    def __post_init__(self) -> None:
        if {len(self.list_digest), len(self.earlier)} != {DIGEST_SIZE}:
            raise InvalidInput("a binding's digests have 32 octets", reasons=("BINDING",))

    def to_bytes(self) -> bytes:
        """Canonical octets."""
        return b"fairlead/v1/statistics-binding\x00" + framed(
            self.release.to_bytes(), bytes([self.round]), self.list_digest, self.earlier
        )
