"""Past decisions under a draft: what would be the same, newly allowed, newly refused, changed.

Pure: records come in, counts come out, and nothing but the counts is kept. Each input is decided
again by the draft and by the policy in force, both as of the same moments: the present one, and
each at which an agreement of either begins or ends, for a draft that opens a door on Monday opens
it, and so does one that lets a restriction end on Monday.
Times that an input names (an end of a case, of a grant, of a record) move along. What the gateway
granted an owner is replayed as if it had granted everything, because the draft decides that at the
gateway, too. So a widening is counted at its widest.

Without the policy in force the records themselves are what is compared with: as they were granted.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairlead.policy.decision import FIGURES, Decision
from fairlead.policy.points import PolicyPoints
from fairlead.policy.recorded import Recorded, malformed
from fairlead.policy.widening import OTHERS, Change, Kind, Widening, compare

WHOLE = ("contact_desk", "count_band", "existence", "full_record")
"""What a gateway can grant at most."""
ENDS = frozenset({"expires_at", "valid_until"})
"""Names of an input's times, which move with its ``now``."""
PROBES_END = 86_400
"""A record that ended on the first day of 1970 is none: an owner's node asks about such ones before
every answer."""
MAX_CLASSES = 4096


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """Counts, and nothing that was replayed. A decision is one candidate's or one record's.

    ``without_input``: records that cannot be replayed. ``unlike``: decisions that the policy in
    force, of the serial they were made under, does not make again: their record or policy is false.
    """

    records: int = 0
    first_ms: int = 0
    last_ms: int = 0
    """Times of the first and the last record, Unix milliseconds: what was asked for may be more."""
    without_input: int = 0
    unlike: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    widenings: Counter[Widening] = field(default_factory=Counter)
    newly: Counter[Widening] = field(default_factory=Counter)
    """Of the widenings, how many were newly allowed."""

    @property
    def decisions(self) -> int:
        """Decisions that were replayed."""
        return sum(self.kinds.values())

    def add(self, change: Change, widening: Widening) -> None:
        """Count one decision."""
        self.kinds[change.kind] += 1
        if not change.gained:
            return
        if widening not in self.widenings and len(self.widenings) >= MAX_CLASSES:
            widening = OTHERS
        self.widenings[widening] += 1
        self.newly[widening] += change.kind is Kind.NEWLY_ALLOWED

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, widenings first and the most frequent of them first."""
        rows = [
            {
                "id": widening.widening_id,
                "decisions": count,
                "newly_allowed": self.newly[widening],
                **widening.to_json(),
            }
            for widening, count in self.widenings.items()
        ]
        rows.sort(key=lambda row: (-row["decisions"], row["id"]))
        return {
            "widenings": rows,
            "newly_allowed": self.kinds[Kind.NEWLY_ALLOWED],
            "changed": self.kinds[Kind.CHANGED],
            "newly_refused": self.kinds[Kind.NEWLY_REFUSED],
            "same": self.kinds[Kind.SAME],
            "decisions": self.decisions,
            "records": self.records,
            "first_day": _day(self.first_ms),
            "last_day": _day(self.last_ms),
            "without_input": self.without_input,
            "unlike": self.unlike,
        }


def _day(time_ms: int) -> str:
    """A day, as in 2026-01-31: a report tells no moment at which somebody asked. Empty: none."""
    if not time_ms:
        return ""
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).date().isoformat()


@dataclass(slots=True, kw_only=True)
class Replay:
    """A replay under way: :meth:`take` records one by one, then read :attr:`report`.

    :param current: the policy in force; None compares with what was recorded.
    :param at: moments, Unix seconds, at least one; of each decision the widest counts.
    :param fields: names of the fields that a record may have (those of the registry).
    """

    draft: PolicyPoints
    current: PolicyPoints | None
    at: Sequence[int]
    fields: Collection[str] = ()
    report: ReplayReport = field(default_factory=ReplayReport)

    def take(self, recorded: Recorded) -> None:
        """Decide a record again.

        :raises InvalidInput: DECISION_RECORD: its input is none.
        """
        document = recorded.document
        self.report.first_ms = self.report.first_ms or recorded.time_ms
        self.report.last_ms = max(self.report.last_ms, recorded.time_ms)
        self.report.records += 1
        if document is None:
            self.report.without_input += 1
            return
        try:
            if not _is_probe(document):
                self._decide(recorded, document)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise malformed() from None  # a signed log holds it, and no decision point wrote it

    def _decide(self, recorded: Recorded, document: Mapping[str, Any]) -> None:
        current = self.current
        if current is not None and current.serial == recorded.policy_serial:
            found = current.decide(recorded.point, dict(document))
            self.report.unlike += _unlike(recorded, found)
        widest: dict[str, tuple[Change, Decision]] = {}
        for moment in self.at:
            before, after = self._both(recorded, rebased(document, moment))
            for place in _counted(recorded):
                universe = _universe(recorded.point, document, place, self.fields)
                change = compare(before[place], after[place], universe)
                if place not in widest or _weight(change) > _weight(widest[place][0]):
                    widest[place] = change, after[place]
        for place, (change, decision) in widest.items():
            self.report.add(change, _class(document, place, decision, change))

    def _both(
        self, recorded: Recorded, document: dict[str, Any]
    ) -> tuple[Mapping[str, Decision], Mapping[str, Decision]]:
        """What was or would be decided now, and what the draft decides."""
        if self.current is None:
            before = {place: outcome.decision() for place, outcome in recorded.outcomes.items()}
        else:
            document = granted(document)
            before = self.current.decide(recorded.point, document)
        return before, self.draft.decide(recorded.point, document)


def replay(
    records: Iterable[Recorded],
    *,
    draft: PolicyPoints,
    current: PolicyPoints | None,
    at: Sequence[int],
    fields: Collection[str] = (),
) -> ReplayReport:
    """Decide every record again; see :class:`Replay`."""
    under_way = Replay(draft=draft, current=current, at=at, fields=fields)
    for recorded in records:
        under_way.take(recorded)
    return under_way.report


def _counted(recorded: Recorded) -> Iterator[str]:
    """The places of the decisions: that over all candidates counts where there is none."""
    return (place for place in recorded.outcomes if place or len(recorded.outcomes) == 1)


def _weight(change: Change) -> tuple[bool, bool, int, bool]:
    """The wider, the heavier; what is new comes before what is more."""
    newly = change.kind is Kind.NEWLY_ALLOWED
    return bool(change.gained), newly, len(change.gained), change.kind is not Kind.SAME


def _unlike(recorded: Recorded, found: Mapping[str, Decision]) -> int:
    """How many decisions are not the recorded ones."""
    return sum(
        place not in found
        or (outcome.permit, outcome.facets, outcome.obligations)
        != (found[place].permit, found[place].facets, found[place].obligations)
        for place, outcome in recorded.outcomes.items()
    )


# ── Inputs ───────────────────────────────────────────────────────────────────────────────────


def rebased(document: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The same question asked at another time; everything that ends, ends as much later."""
    delta = at - int(document["now"])
    moved = {name: _moved(value, delta) for name, value in document.items()}
    return {**moved, "now": at}


def _moved(value: Any, delta: int) -> Any:
    if isinstance(value, dict):
        return {
            name: item + delta if name in ENDS and type(item) is int else _moved(item, delta)
            for name, item in value.items()
        }
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return [_moved(item, delta) for item in value]
        return value
    return value


def granted(document: dict[str, Any]) -> dict[str, Any]:
    """The same question to an owner that was granted everything."""
    if isinstance(document.get("grant"), dict):
        return {**document, "grant": {**document["grant"], "facets": list(WHOLE)}}
    if "records" in document:
        return {**document, "facets": list(WHOLE)}
    return document


def _is_probe(document: Mapping[str, Any]) -> bool:
    records = document.get("records")
    return bool(records) and all(record["expires_at"] < PROBES_END for record in records or ())


def _universe(
    point: str, document: Mapping[str, Any], place: str, fields: Collection[str]
) -> Collection[str]:
    if point != "release":
        return fields
    return [*document["records"][int(place)]["fields"], *EVERY_RECORD]


EVERY_RECORD = ("event", "occurred_at")
"""Fields of a record beside those that its source lists."""


def _class(document: Mapping[str, Any], place: str, after: Decision, change: Change) -> Widening:
    if "question" in document:
        return _figures(document, after, change)
    query = document["query"]
    owner = document.get("owner") or document.get("candidates", {}).get(place) or {}
    return Widening(
        agreements=after.rules,
        asker_kind=document["asker"]["kind"],
        owner_kind=owner.get("kind", ""),
        purpose=query["purpose"],
        schemes=tuple(sorted(query["schemes"])),
        mode=query["mode"],
        gained=change.gained,
    )


def _figures(document: Mapping[str, Any], after: Decision, change: Change) -> Widening:
    """Of a question for figures: the cube stands where the kinds of identifiers do."""
    return Widening(
        agreements=after.rules,
        asker_kind=document["asker"]["kind"],
        owner_kind="",
        purpose=document["question"]["purpose"],
        schemes=(document["question"]["cube"],),
        mode=FIGURES,
        gained=change.gained,
    )
