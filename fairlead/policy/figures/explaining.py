"""Why a question for figures is decided as it is, and which single change would permit it.

As :mod:`fairlead.policy.explanation` for questions to owners: every change is tried on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fairlead.policy.change import Change
from fairlead.policy.explanation import Considered, Explanation, Way
from fairlead.policy.figures.inquiry import FigureInquiry, decide
from fairlead.policy.figures.sides import failed, figures_of
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Policy

Edit = Callable[[FigureInquiry], FigureInquiry]


def explain(points: PolicyPoints, policy: Policy, inquiry: FigureInquiry) -> Explanation:
    """Decide, say what was considered, and find what would have to change."""
    verdict = decide(points, inquiry)
    nearest = sorted(_considered(policy, inquiry), key=lambda c: (c.failed, c.agreement))
    return Explanation(
        inquiry=inquiry,
        verdict=verdict,
        considered=tuple(nearest),
        ways=() if verdict.decision.permit else tuple(_ways(points, policy, inquiry)),
    )


def _considered(policy: Policy, inquiry: FigureInquiry) -> Iterator[Considered]:
    question = inquiry.question
    for name, row in figures_of(policy).items():
        sides = failed(row, question)
        first = sides[0] if sides else None
        yield Considered(
            agreement=name,
            failed=len(sides),
            side=first.name if first else "",
            asked=first.asked(question) if first else "",
            agreed=first.agreed(row) if first else "",
        )


def _ways(points: PolicyPoints, policy: Policy, inquiry: FigureInquiry) -> Iterator[Way]:
    """What helps; of changes of the same group, the first."""
    seen: set[str] = set()
    for change in _changes(policy, inquiry):
        if change.group in seen:
            continue
        after = decide(points, change.edit(inquiry)).decision
        if after.permit:
            seen.add(change.group)
            yield Way(changes=(change,), facets=after.facets)


def _changes(policy: Policy, inquiry: FigureInquiry) -> Iterator[Change[FigureInquiry]]:
    for role in sorted(set(policy["figure_roles"]) - set(inquiry.user.roles)):
        yield Change(f"have somebody with the role {role} ask", "the asker", _as(role), "role")
    for purpose in sorted(set(policy["purposes"]) - {inquiry.purpose}):
        text = f"ask for {purpose}, if that is what it is for"
        yield Change(text, "whoever asks", _for(purpose), "purpose")
    for cube in sorted(set(policy["cubes"]) - {inquiry.cube}):
        text = f"ask for the figures of {cube}, if these are meant"
        yield Change(text, "whoever asks", _of(cube), "cube")


def _as(role: str) -> Edit:
    return lambda i: replace(i, user=replace(i.user, roles=(role,)))


def _for(purpose: str) -> Edit:
    return lambda i: replace(i, purpose=purpose)


def _of(cube: str) -> Edit:
    return lambda i: replace(i, cube=cube)
