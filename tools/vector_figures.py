"""The golden vectors of questions for figures: who, in which role, for which cube and purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product as every

from vector_facts import (
    COUNTRIES,
    KINDS,
    NOW,
    STRATEGIC,
    Vector,
    data_of,
    org,
    statistics,
)

from fairlead.policy.inputs import UserFacts

ROLES = ("analyst", "approver", "auditor", "security-officer", "operator")


CUBES = ("reports-received", "seizures", "queries", "displacement")
"""Some of the cubes there are: a new one changes no vector."""


def user(*roles: str) -> UserFacts:
    """Somebody with these roles."""
    return UserFacts(pseudonym="u-c01", roles=roles)


def figures() -> Iterator[Vector]:
    """Every kind of organisation for some cubes, roles and countries taking turns; every purpose,
    role and country; and what is a little wrong."""
    for n, (kind, cube) in enumerate(every(KINDS, CUBES)):
        asker, who = org(kind, COUNTRIES[n % 5]), user(ROLES[n % 4])
        yield _vector(f"{kind}-{cube}", statistics(cube=cube, asker=asker, user=who))
    for purpose in (*data_of("baseline")["federation"]["purposes"], "curiosity"):
        yield _vector(f"for-{purpose}", statistics(purpose=purpose))
    for role, country in every(ROLES, COUNTRIES):
        document = statistics(user=user(role), asker=org("police", country))
        yield _vector(f"{role}-{country}", document)
    for n, roles in enumerate(((), ("operator", "auditor"), ("trainee",), ("Analyst",))):
        yield _vector(f"roles-{n}", statistics(user=user(*roles)))
    for n, cube in enumerate(("all", "*", "seizure", "Seizures", "seizures ")):
        yield _vector(f"cube-{n}", statistics(cube=cube))
    good = statistics()
    for n, question in enumerate(
        (
            {**good["question"], "period": "2026-Q1"}, {**good["question"], "level": ""},
            {"cube": "seizures", "purpose": STRATEGIC}, "seizures",
        )
    ):  # fmt: skip
        yield _vector(f"question-{n}", {**good, "question": question})
    query = {"query": {**statistics()["question"]}}
    yield _vector("query-too", {**good, **query})


def treaty_figures() -> Iterator[Vector]:
    """Under ``treaty.yaml``, which lets a force outside the EU ask for two cubes, and one partner
    for one, for a while."""
    for country, cube, role in every(
        ("GB", "NL"), ("seizures", "displacement", "queries"), ("auditor", "analyst")
    ):
        document = statistics(cube=cube, asker=org("police", country), user=user(role))
        yield _vector(f"{country}-{cube}-{role}", document, "treaty")
    named = replace(org("terminal", "GB"), partner_id="terminal-gb")
    for n, now in enumerate((NOW, 1_799_999_999, 1_830_297_600)):
        document = statistics(now=now, cube="queries", asker=named, user=user("auditor"))
        yield _vector(f"named-{n}", document, "treaty")
    stranger = replace(named, partner_id="terminal-ni")
    document = statistics(cube="queries", asker=stranger, user=user("auditor"))
    yield _vector("stranger", document, "treaty")


def _vector(name: str, document: dict[str, object], data: str = "baseline") -> Vector:
    return Vector(name=f"figures/{data}-{name}", point="statistics", data=data, document=document)
