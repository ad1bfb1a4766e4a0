"""One question for figures, in the words of a table or a command, and what decides it.

What is not said is the ordinary: an analyst in the Netherlands asks for quarters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.policy.figures.sides import FigureQuestion
from fairlead.policy.inputs import PartyFacts, UserFacts
from fairlead.policy.inquiry import ANYBODY, Verdict, named, party_of, wrong
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Policy

POINT = "statistics"
ORDINARY: Mapping[str, str] = {
    "asker": "", "asker_country": "NL", "cube": "", "level": "quarter", "purpose": "",
    "role": "analyst",
}  # fmt: skip
"""Every column of a question for figures, and what it is when nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureInquiry:
    """The facts of one question for figures."""

    now: int
    cube: str
    level: str
    purpose: str
    asker: PartyFacts
    user: UserFacts

    @classmethod
    def of(cls, words: Mapping[str, str], policy: Policy, *, now: int) -> FigureInquiry:
        """Read a question from words.

        :raises InvalidInput: QUESTION_WORDS: an unknown column, or a word that is not one.
        """
        if words.keys() - ORDINARY.keys():
            raise wrong("a question for figures has no such column")
        said = {**ORDINARY, **{k: v for k, v in words.items() if v}}
        missing = [k for k in ("asker", "cube", "purpose") if not said[k]]
        if missing:
            raise wrong(f"the {missing[0]} is not said")
        return cls(
            now=now,
            cube=said["cube"],
            level=said["level"],
            purpose=said["purpose"],
            asker=party_of(said["asker"], said["asker_country"], (), policy, ANYBODY[0]),
            user=UserFacts(pseudonym="u-1", roles=tuple(said["role"].split())),
        )

    @property
    def question(self) -> FigureQuestion:
        """The same as agreements see it."""
        return FigureQuestion(
            asker=named(self.asker),
            country=self.asker.country,
            cube=self.cube,
            purpose=self.purpose,
            roles=self.user.roles,
            at=self.now,
        )


def decide(points: PolicyPoints, inquiry: FigureInquiry) -> Verdict:
    """What the one point says."""
    decision = points.statistics(
        now=inquiry.now,
        cube=inquiry.cube,
        level=inquiry.level,
        purpose=inquiry.purpose,
        asker=inquiry.asker,
        user=inquiry.user,
    )
    return Verdict(decision=decision, steps={POINT: decision}, people=0)
