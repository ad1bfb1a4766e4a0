"""What oversight is alerted of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairlead import signing


class Reason(StrEnum):
    """Why an alert was raised; docs/oversight.md says what to do about each."""

    DECOY_HIT = "DECOY_HIT"
    """An own user asked blind for another owner's decoy."""
    DECOY_FOLLOWED = "DECOY_FOLLOWED"
    """Somebody asked this owner, sealed, for one of its decoys."""
    DECOYS_MISSING = "DECOYS_MISSING"
    """Hits were told in a snapshot whose owner's decoys never arrived."""
    NOTICE_FORGED = "NOTICE_FORGED"
    """A file is no notice of the node, or not the one that its number had."""
    NOTICES_MISSING = "NOTICES_MISSING"
    """Numbers were skipped: notices were taken away, or could not be written."""
    NOTICES_BEGUN_ANEW = "NOTICES_BEGUN_ANEW"
    """The node counts from 1 again: it was restored, or its counter was taken away."""
    NOTICES_SILENT = "NOTICES_SILENT"
    """Nothing has come for three hours, although a node writes every hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. ``owner`` is whose decoy it was; ``partner`` and ``user`` who asked; ``decoy`` the
    id of an own decoy. Times are unix seconds. ``identity`` tells the same alert from another."""

    reason: Reason
    identity: bytes
    at: int
    owner: str = ""
    partner: str = ""
    user: str = ""
    purpose: str = ""
    query_id: bytes = b""
    case_commitment: bytes = b""
    decoy: str = ""
    count: int = 0


def identity(reason: Reason, *parts: bytes) -> bytes:
    """32 octets that name what an alert is about."""
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (reason.encode(), *parts))
    return signing.digest(framed)
