"""What the two halves of a node share: it asks, and it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import LiveDirectory, Membership
from fairlead.policy.live import LivePolicy
from node.heads import HeadKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Opened once. ``clock`` gives unix seconds."""

    config: NodeConfig
    member: Membership
    keys: KeyRing
    log: AuditLog
    leaves: LeafWriter
    policy: LivePolicy
    heads: HeadKeeper
    clock: Callable[[], float]

    @property
    def directory(self) -> LiveDirectory:
        """The directory as it changes."""
        return self.member.directory

    @property
    def deadline_s(self) -> float:
        """Seconds a query may take."""
        return self.config.limits.deadline_ms / 1000
