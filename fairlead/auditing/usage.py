"""What a partner asked, what it was asked, and what became of it: counted from leaves alone.

Counts and names of the federation's registries only: no term, no person. Whether an answer was a
hit stands in no leaf, so it is counted nowhere. The same leaves give the same report, whoever
counts: the node's auditor, or a supervisor with an export."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fairlead.auditing.fields import status_word, type_word, values
from fairlead.errors import InvalidInput
from fairlead.v1 import audit_pb2 as pb

DAY_MS = 86_400_000
_PERIOD = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(0[1-9]|1[0-2])))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One count: in which part of the report, of what, which one, how many."""

    part: str
    of: str
    which: str
    count: int

    def as_record(self) -> dict[str, object]:
        """For printing."""
        return {"part": self.part, "of": self.of, "which": self.which, "count": self.count}


@dataclass(slots=True)
class _Asked:
    """The queries of one side: a query is what a user signed once; it may travel in parts."""

    queries: set[bytes] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    terms: int = 0
    parts: int = 0
    seconded: set[bytes] = field(default_factory=set)
    by: Counter[tuple[str, str]] = field(default_factory=Counter)
    user_days: Counter[tuple[str, int]] = field(default_factory=Counter)
    partner_days: Counter[tuple[str, int]] = field(default_factory=Counter)

    def intent(self, leaf: pb.AuditLeaf, *, asker: bool) -> None:
        """Count one INTENT."""
        said = values(leaf)
        first = leaf.mandate_digest not in self.queries
        self.queries.add(leaf.mandate_digest)
        self.users.add(leaf.user)
        self.parts += 1
        self.terms += leaf.term_count
        self.user_days[leaf.user, leaf.time_ms // DAY_MS] += leaf.term_count
        self.partner_days[leaf.partner_id, leaf.time_ms // DAY_MS] += leaf.term_count
        if leaf.approvers:
            self.seconded.add(leaf.mandate_digest)
        if asker:
            self.by["terms of partner", leaf.partner_id] += leaf.term_count
        if first:
            if asker:
                self.by["queries of partner", leaf.partner_id] += 1
            self.by["queries by purpose", leaf.purpose] += 1
            self.by["queries by mode", str(said.get("mode", ""))] += 1
            for scheme in leaf.schemes:
                self.by["queries by scheme", scheme] += 1

    def lines(self, part: str) -> Iterator[Line]:
        """What was counted; nothing where nothing was asked."""
        if not self.parts:
            return
        totals = {
            "queries": len(self.queries),
            "messages": self.parts,
            "terms": self.terms,
            "users": len(self.users),
            "queries let go by a second person": len(self.seconded),
            "most terms of one user in a day": max(self.user_days.values()),
            "most terms of one partner in a day": max(self.partner_days.values()),
        }
        for of, count in totals.items():
            yield Line(part=part, of=of, which="", count=count)
        for (of, which), count in sorted(self.by.items()):
            yield Line(part=part, of=of, which=which, count=count)


@dataclass(slots=True, kw_only=True)
class Usage:
    """Counts the leaves of one log, in their order, of one period.

    In a partner's log a query of its own people is ``asked``, another's ``asked of us``; a gateway
    has one kind, ``asked``, by asking partner. ``since_ms`` and ``until_ms`` as in a selection.
    """

    since_ms: int = 0
    until_ms: int = 0
    log: str = ""
    leaves: int = 0
    _asked: _Asked = field(default_factory=_Asked)
    _of_us: _Asked = field(default_factory=_Asked)
    _more: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def take(self, leaf: pb.AuditLeaf) -> None:
        """Count a leaf, if it is of the period."""
        if leaf.time_ms < self.since_ms or (self.until_ms and leaf.time_ms >= self.until_ms):
            return
        self.log = self.log or leaf.log
        self.leaves += 1
        own = self.log.removeprefix("partner/")
        gateway = self.log.startswith("gateway/")
        if leaf.type == pb.LEAF_TYPE_INTENT:
            ours = gateway or leaf.partner_id == own
            (self._asked if ours else self._of_us).intent(leaf, asker=gateway or not ours)
        elif leaf.type == pb.LEAF_TYPE_OUTCOME:
            self._outcome(leaf)
        elif leaf.type == pb.LEAF_TYPE_RELEASE and not gateway:
            for answer in leaf.released:
                self._count("asked of us", "answers by status", status_word(answer.status))
        elif leaf.type in _COUNTED and (leaf.type != pb.LEAF_TYPE_FIGURES or leaf.user):
            self._other(leaf)

    def lines(self) -> list[Line]:
        """The whole report, in the order of its parts."""
        found = [*self._asked.lines("asked"), *self._of_us.lines("asked of us")]
        found += [
            Line(part=part, of=of, which=which, count=count)
            for (part, of, which), count in sorted(self._more.items())
        ]
        order = {"asked": 0, "asked of us": 1, "people": 2, "refused": 3, "alarms": 4}
        return sorted(found, key=lambda line: order[line.part])

    def _outcome(self, leaf: pb.AuditLeaf) -> None:
        for answered in leaf.partners:
            status = str(values(answered).get("status", ""))
            self._count("asked", f"{answered.partner_id} by status", status)
            if answered.reason:
                self._count("asked", f"{answered.partner_id} by reason", answered.reason)

    def _other(self, leaf: pb.AuditLeaf) -> None:
        if leaf.type == pb.LEAF_TYPE_REFUSAL:
            for reason in leaf.reasons[:1]:
                self._count("refused", "by reason", reason)
        elif leaf.type == pb.LEAF_TYPE_ALARM:
            for reason in leaf.reasons[:1]:
                self._count("alarms", "by reason", reason)
        else:
            self._count("people", type_word(leaf.type).lower(), leaf.subject)

    def _count(self, part: str, of: str, which: str) -> None:
        self._more[part, of, which] += 1


_COUNTED = frozenset(
    {
        pb.LEAF_TYPE_REFUSAL,
        pb.LEAF_TYPE_ALARM,
        pb.LEAF_TYPE_APPROVAL,
        pb.LEAF_TYPE_CASE,
        pb.LEAF_TYPE_HISTORY,
        pb.LEAF_TYPE_FEEDBACK,
        pb.LEAF_TYPE_READ,
        pb.LEAF_TYPE_FIGURES,
    }
)


def period(text: str) -> tuple[int, int]:
    """``2026``, ``2026-Q4`` or ``2026-11`` in Unix milliseconds, UTC, half open.

    :raises InvalidInput: TIME.
    """
    found = _PERIOD.match(text)
    if found is None or not 1970 <= int(found[1]) <= 9998:
        raise InvalidInput(
            "a period is a year, a quarter or a month",
            reasons=("TIME",),
            remedy="fairlead audit usage --period 2026-Q4",
        )
    year = int(found[1])
    if found[2]:
        begin, months = 3 * int(found[2]) - 2, 3
    else:
        begin, months = (int(found[3]), 1) if found[3] else (1, 12)
    after = begin + months
    return _month_ms(year, begin), _month_ms(year + (after > 12), (after - 1) % 12 + 1)


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
