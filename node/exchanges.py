"""Figures of a partner's own exchanges: its audit log, and what its analysts said of answers.

Counted from leaves that this node wrote itself: no gateway has a say in them. A query is what a
user signed once, in however many messages it travelled; it is dated by its first leaf.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from fairlead.auditing import reading
from fairlead.auditing.selection import Selection
from fairlead.cubes.cube import Cube, MadeOf, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2
from node.feedback import WORDS, FeedbackBook
from node.figures import Counted, FiguresUnusable
from node.figures.adding import Made, own_part
from node.figures.tally import Fact, tally

QUERIES: Made = frozenset({MadeOf.AUDIT_LOG})
COVERAGE: Made = frozenset({MadeOf.AUDIT_LOG, MadeOf.FEEDBACK})
PARTNER_KIND = "partner-kind"
ANSWER = "OwnerService.Answer"
DAY_S, HOUR_S = 86_400, 3_600
BEFORE_S = 2 * DAY_S
"""A mandate is valid for a day: a query that began before the unit is found here, and not counted
again."""
AFTER_S = 14 * DAY_S
"""Answers are looked for so long after the unit: twice the longest time that is told apart."""
WITHIN: Mapping[str, int] = {
    "within-8h": 8 * HOUR_S,
    "within-3d": 3 * DAY_S,
    "within-7d": 7 * DAY_S,
}
MEASURES: Mapping[Made, frozenset[str]] = {
    QUERIES: frozenset({"asked", "received", "answered", "refused", "hours", *WITHIN}),
    COVERAGE: frozenset({"eligible", "answered", "judged", "mistaken"}),
}
MISTAKEN = WORDS[query_pb2.FEEDBACK_OUTCOME_NOT_USEFUL]
_TYPES = frozenset(
    {
        pb.LEAF_TYPE_INTENT,
        pb.LEAF_TYPE_RELEASE,
        pb.LEAF_TYPE_OUTCOME,
        pb.LEAF_TYPE_REFUSAL,
    }
)
_NOBODY = frozenset({query_pb2.STATUS_UNSPECIFIED, query_pb2.STATUS_NOT_ASKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFigures:
    """Counts the leaves of one partner's log.

    :param kind: the partner's own kind, as the directory has it. :param size: of the log now.
    :param kept_since: feedback given before this (Unix seconds) may have been deleted.
    """

    partner: str
    kind: Callable[[], str]
    read: reading.Read
    size: Callable[[], int]
    book: FeedbackBook
    kept_since: Callable[[], float]

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :meth:`FiguresOf.count`.

        :raises FiguresUnusable: FIGURES_ERASED: leaves or feedback of the unit may be gone;
            FIGURES_MEASURE; MEASURE_BOUND. :raises Forged: LOG_CORRUPTED.
        """
        return await asyncio.to_thread(self._count, cube, level, unit, cut_off)

    def _count(self, cube: Cube, level: Level, unit: Unit, cut_off: float) -> Counted:
        made = own_part(cube)
        stated = [measure.id for measure in cube.measures if measure.kind is not MeasureKind.RATE]
        unknown = [name for name in stated if name not in MEASURES.get(made, ())]
        if made not in MEASURES or (unknown and MadeOf.SOURCE not in cube.made_of):
            raise FiguresUnusable(
                [f"{cube.id}: {name}: the log has no such figure" for name in unknown or stated],
                reasons=("FIGURES_MEASURE",),
                remedy="install the newest version of this program, or map a source for the cube",
            )
        self._check_kept(unit, made)
        seen = self._seen(unit, cut_off)
        found = _queries(seen)
        if made == COVERAGE:
            found = chain(_coverage(seen), self._judged(cut_off))
        codes = {PARTNER_KIND: self.kind()}
        facts = (
            Fact(row=n, at=at, codes=codes, adds={k: v for k, v in adds.items() if k in stated})
            for n, (at, adds) in enumerate(found, 1)
        )
        return tally(cube, level, unit, facts, what="query")

    def _check_kept(self, unit: Unit, made: Made) -> None:
        """:raises FiguresUnusable: FIGURES_ERASED."""
        rows = self.read("SELECT max(until_ms) FROM erasure", ())
        until = reading.number_of(rows[0][0])
        problems = []
        if unit.begins * 1000 < until:
            problems.append(f"{unit.spelling}: leaves of the audit log were erased")
        if made == COVERAGE and unit.begins <= self.kept_since():
            problems.append(f"{unit.spelling}: feedback of it is kept no longer")
        if problems:
            raise FiguresUnusable(
                problems,
                reasons=("FIGURES_ERASED",),
                remedy="count a period sooner after its end; what was released of it stays",
            )

    def _seen(self, unit: Unit, cut_off: float) -> _Seen:
        """What the log says until the cut-off of queries of the unit, and just before it."""
        until = min(int(cut_off * 1000) + 1, (unit.ends + AFTER_S) * 1000)
        selection = Selection(
            since_ms=(unit.begins - BEFORE_S) * 1000, until_ms=until, types=_TYPES
        )
        places = reading.span(self.read, selection, self.size())
        seen = _Seen(self.partner)
        for low in range(places.start, places.stop, reading.STEP):
            step = range(low, min(low + reading.STEP, places.stop))
            for row in reading.rows(self.read, selection, step):
                seen.take(row.leaf)
        return seen

    def _judged(self, cut_off: float) -> Iterator[tuple[float, dict[str, float]]]:
        """What this partner's analysts said of answers they got, dated by the asking: a query's id
        has its time in it (RFC 9562 §5.7), and this node made it."""
        for kept in self.book.listed():
            if not kept.received and kept.time_s <= cut_off:
                at = int.from_bytes(kept.query_id[:6], "big") / 1000
                yield at, {"judged": 1, "mistaken": float(kept.outcome == MISTAKEN)}


@dataclass(slots=True)
class _Query:
    """One query. ``lines``: who was asked, and whether an answer came."""

    at: float
    own: bool
    answered_at: float | None = None
    refused: bool = False
    lines: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class _Seen:
    """Leaves in their order, gathered by query."""

    partner: str
    queries: dict[bytes, _Query] = field(default_factory=dict)
    """By the digest of the mandate; of what was refused at the door, by its claimed id."""
    _of: dict[bytes, bytes] = field(default_factory=dict)
    _doors: list[tuple[float, bytes]] = field(default_factory=list)

    def take(self, leaf: pb.AuditLeaf) -> None:
        """Add one leaf."""
        at = leaf.time_ms / 1000
        if leaf.type == pb.LEAF_TYPE_INTENT:
            key = leaf.mandate_digest
            self._of[leaf.query_id] = key
            self.queries.setdefault(key, _Query(at=at, own=leaf.partner_id == self.partner))
        elif leaf.type == pb.LEAF_TYPE_OUTCOME:
            if (query := self._query(leaf.query_id)) is not None:
                self._outcome(query, leaf)
        elif leaf.type == pb.LEAF_TYPE_REFUSAL:
            if leaf.subject == ANSWER:
                self._doors.append((at, leaf.query_id))
        else:
            self._release(leaf, at)

    def _query(self, query_id: bytes) -> _Query | None:
        return self.queries.get(self._of.get(query_id, b""))

    def _outcome(self, query: _Query, leaf: pb.AuditLeaf) -> None:
        for line in leaf.partners:
            if line.status not in _NOBODY:
                came = line.status == query_pb2.STATUS_ANSWERED
                query.lines[line.partner_id] = query.lines.get(line.partner_id, False) or came

    def _release(self, leaf: pb.AuditLeaf, at: float) -> None:
        for answer in leaf.released:
            query = self._query(answer.query_id)
            if query is None or query.own or answer.partner_id != self.partner:
                continue
            if answer.status == query_pb2.STATUS_REFUSED:
                query.refused = True
            elif answer.status == query_pb2.STATUS_ANSWERED and query.answered_at is None:
                query.answered_at = at

    def doors(self) -> Iterator[float]:
        """When something was refused that never came further: each claimed id once."""
        known: set[bytes] = set(self._of)
        for at, query_id in self._doors:
            if query_id and query_id in known:
                continue
            known.add(query_id)
            yield at


def _queries(seen: _Seen) -> Iterator[tuple[float, dict[str, float]]]:
    for query in seen.queries.values():
        if query.own:
            yield query.at, {"asked": 1}
        elif query.answered_at is not None:
            took = query.answered_at - query.at
            within = {name: 1.0 for name, most in WITHIN.items() if took <= most}
            yield query.at, {"received": 1, "answered": 1, "hours": took / HOUR_S, **within}
        else:
            yield query.at, {"received": 1, "refused": float(query.refused)}
    for at in seen.doors():
        yield at, {"received": 1, "refused": 1}


def _coverage(seen: _Seen) -> Iterator[tuple[float, dict[str, float]]]:
    for query in seen.queries.values():
        if query.own and query.lines:
            came = sum(query.lines.values())
            yield query.at, {"eligible": len(query.lines), "answered": came}
