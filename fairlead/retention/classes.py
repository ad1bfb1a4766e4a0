"""Whose leaf it is, and how long it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fairlead.config import RetentionDays
from fairlead.errors import InvalidInput
from fairlead.leaves import CHEATING
from fairlead.partners import Directory, PartnerKind, Sector
from fairlead.v1 import audit_pb2 as pb

FLOOR_DAYS = 35
"""Nothing younger is erased, whatever the configuration says: replays, approvals, watches,
reconciliations that are late and kept answers all look at leaves of the last weeks."""
DAY_MS = 86_400_000
REMEMBERED = 100_000
"""Queries whose class is known while a log is read; a query's leaves stand close together."""
_ERASABLE = frozenset(
    {
        pb.LEAF_TYPE_INTENT,
        pb.LEAF_TYPE_RELEASE,
        pb.LEAF_TYPE_OUTCOME,
        pb.LEAF_TYPE_REFUSAL,
        pb.LEAF_TYPE_CASE,
        pb.LEAF_TYPE_HISTORY,
        pb.LEAF_TYPE_FEEDBACK,
        pb.LEAF_TYPE_APPROVAL,
        pb.LEAF_TYPE_RECONCILED,
        pb.LEAF_TYPE_ALARM,
        pb.LEAF_TYPE_FIGURES,
    }
)
_ASKER = frozenset(
    {
        pb.LEAF_TYPE_INTENT,
        pb.LEAF_TYPE_OUTCOME,
        pb.LEAF_TYPE_REFUSAL,
        pb.LEAF_TYPE_ALARM,
        pb.LEAF_TYPE_FIGURES,
    }
)
"""Types whose ``partner_id`` is who asks."""


def _is_evidence(leaf: pb.AuditLeaf) -> bool:
    """Whether an alarm says that somebody cheated: with signed heads, or by its codes alone."""
    return bool(leaf.checkpoints) or not CHEATING.isdisjoint(leaf.reasons)


class LeafClass(StrEnum):
    """Whose question a leaf is about, as far as the law tells them apart."""

    NATIONAL = "national"
    """A national public authority (Directive (EU) 2016/680, and national law)."""
    EU_AGENCY = "eu-agency"
    """An agency of the Union (Regulation (EU) 2018/1725; Europol: Regulation (EU) 2016/794)."""
    PRIVATE = "private"
    """A company (Regulation (EU) 2016/679)."""

    @classmethod
    def of(cls, kind: PartnerKind) -> LeafClass:
        """The class of a partner's questions."""
        if kind is PartnerKind.EU_AGENCY:
            return cls.EU_AGENCY
        return cls.NATIONAL if kind.sector is Sector.PUBLIC else cls.PRIVATE

    @classmethod
    def parse(cls, text: str) -> LeafClass:
        """:raises InvalidInput: LEAF_CLASS."""
        try:
            return cls(text)
        except ValueError:
            raise InvalidInput(
                "leaves are of another class",
                reasons=("LEAF_CLASS",),
                remedy="one of national, eu-agency, private",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days the leaves of each class are kept, and who is of which class."""

    days: Mapping[LeafClass, int]
    partners: Mapping[str, LeafClass]
    own: LeafClass
    """The class of leaves that no question made, and of partners that nobody knows any more."""

    @classmethod
    def of(cls, configured: RetentionDays, directory: Directory, partner_id: str = "") -> Retention:
        """The retention of a log.

        :param partner_id: whose log it is; of a gateway's, its own leaves are kept as long as any.
        """
        days = {
            LeafClass.NATIONAL: configured.national,
            LeafClass.EU_AGENCY: configured.eu_agency,
            LeafClass.PRIVATE: configured.private,
        }
        partners = {
            name: LeafClass.of(partner.kind) for name, partner in directory.partners.items()
        }
        longest = max(LeafClass, key=lambda one: days[one])
        return cls(days=days, partners=partners, own=partners.get(partner_id, longest))

    def due_before_ms(self, leaf_class: LeafClass, now: float) -> int:
        """Leaves of the class from before this moment are due (Unix milliseconds)."""
        return int(now * 1000) - max(self.days[leaf_class], FLOOR_DAYS) * DAY_MS

    def longest(self, classes: set[LeafClass]) -> LeafClass:
        """Of several classes the one that is kept longest."""
        return max(classes, key=lambda one: (self.days[one], one.value))


class Sorter:
    """Tells the class of the leaves of one log, given in their order."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._askers: dict[bytes, LeafClass] = {}

    def take(self, leaf: pb.AuditLeaf) -> LeafClass | None:
        """The class of the next leaf; None: it is never erased, because the log cannot be verified
        without it, or because it says what was done with the log itself."""
        found = self._class_of(leaf)
        if leaf.type not in _ERASABLE or (leaf.type == pb.LEAF_TYPE_ALARM and _is_evidence(leaf)):
            return None
        return found

    def _class_of(self, leaf: pb.AuditLeaf) -> LeafClass:
        """The asker's; of a leaf about questions of several, that of the one kept longest."""
        known = self._retention.partners.get(leaf.partner_id)
        if leaf.type == pb.LEAF_TYPE_INTENT:
            found = known or self._retention.own
            if len(self._askers) >= REMEMBERED:
                self._askers.pop(next(iter(self._askers)))
            self._askers[leaf.query_id] = found
            return found
        queries = {leaf.query_id, *(answer.query_id for answer in leaf.released)}
        classes = {self._askers[query] for query in queries if query in self._askers}
        if not classes and known and leaf.type in _ASKER:
            return known
        return self._retention.longest(classes) if classes else self._retention.own
