"""Why a question is decided as it is, and which single change would decide it otherwise.

Nothing is guessed: every change is tried on the engine, and only what then really permits more is
told. A change is one that somebody can make: ask blind, ask for less, open a case, have the owner
review a record's handling. Where no single change helps, two together are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fairlead.policy.change import Change, changes
from fairlead.policy.decision import Decision
from fairlead.policy.figures.inquiry import FigureInquiry
from fairlead.policy.inquiry import Inquiry, Verdict, decide
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Policy, failed

MAX_PAIRS = 400
"""Pairs of changes that are tried: a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One agreement: the first side on which it fails the question, with both values.

    ``failed`` is on how many it does; with none, the agreement covers the question.
    """

    agreement: str
    failed: int
    side: str
    asked: str
    agreed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Changes after which more is permitted, and what then is."""

    changes: tuple[Change[Any], ...]
    facets: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The verdict with everything it rests on."""

    inquiry: Inquiry | FigureInquiry
    verdict: Verdict
    considered: tuple[Considered, ...]
    ways: tuple[Way, ...]

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        decision = self.verdict.decision
        return {
            "effect": decision.effect.value,
            "decided_by": self.verdict.decided_by or None,
            "facets": sorted(decision.facets),
            "obligations": obligations(decision),
            "people_at_the_asker": self.verdict.people,
            "agreements": list(decision.rules),
            "points": [
                {
                    "point": point,
                    "effect": step.effect.value,
                    "checks": dict(sorted(step.checks.items())),
                    "reasons": [
                        {"code": r.code, "audience": r.audience.value} for r in step.reasons
                    ],
                }
                for point, step in self.verdict.steps.items()
            ],
            "considered": [
                {"agreement": c.agreement, "failed": c.failed, "fails_at": c.side or None,
                 "asked": c.asked, "agreed": c.agreed}
                for c in self.considered
            ],
            "would_permit": [
                {"changes": [{"what": c.text, "who": c.who} for c in way.changes],
                 "facets": sorted(way.facets)}
                for way in self.ways
            ],
        }  # fmt: skip


def explain(
    points: PolicyPoints, policy: Policy, inquiry: Inquiry, *, only: str = ""
) -> Explanation:
    """Decide, say what was considered, and find what would have to change.

    :param only: one decision point, where only its input is known; else all.
    """
    verdict = decide(points, inquiry, only=only)
    nearest = sorted(_considered(policy, inquiry), key=lambda c: (c.failed, c.agreement))
    tried = _Tried(points, inquiry, verdict, only)
    return Explanation(
        inquiry=inquiry,
        verdict=verdict,
        considered=() if only == "admission" else tuple(nearest),
        ways=tuple(tried.ways(list(changes(policy, inquiry)))),
    )


def obligations(decision: Decision) -> dict[str, Any]:
    """The duties that come with a permission, by name."""
    found = decision.obligations
    values = {name: getattr(found, name) for name in found.__slots__}
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in values.items()
    }


def _considered(policy: Policy, inquiry: Inquiry) -> Iterator[Considered]:
    question = inquiry.question
    for name, row in policy["agreements"].items():
        sides = failed(policy, row, question)
        first = sides[0] if sides else None
        yield Considered(
            agreement=name,
            failed=len(sides),
            side=first.name if first else "",
            asked=first.asked(question) if first else "",
            agreed=first.agreed(row) if first else "",
        )


# ── What would have to change ────────────────────────────────────────────────────────────────


class _Tried:
    """Changes of one question, tried on the engine."""

    def __init__(self, points: PolicyPoints, inquiry: Inquiry, verdict: Verdict, only: str) -> None:
        self._points = points
        self._inquiry = inquiry
        self._verdict = verdict
        self._only = only

    def ways(self, found: list[Change[Inquiry]]) -> Iterator[Way]:
        single = self._mildest((change,) for change in found)
        if single or self._verdict.decision.permit:
            yield from single
            return
        yield from self._mildest(list(combinations(found, 2))[:MAX_PAIRS])

    def _mildest(self, made: Iterable[tuple[Change[Inquiry], ...]]) -> list[Way]:
        """What helps; of changes of the same groups, the first."""
        ways: list[Way] = []
        seen: set[tuple[str, ...]] = set()
        for changes_made in made:
            groups = tuple(change.group or change.text for change in changes_made)
            if groups not in seen and (way := self._way(changes_made)):
                seen.add(groups)
                ways.append(way)
        return ways

    def _way(self, made: tuple[Change[Inquiry], ...]) -> Way | None:
        changed = self._inquiry
        for change in made:
            changed = change.edit(changed)
        if changed == self._inquiry:
            return None
        after = decide(self._points, changed, only=self._only).decision
        more = after.facets - self._verdict.decision.facets
        return Way(changes=made, facets=after.facets) if after.permit and more else None
