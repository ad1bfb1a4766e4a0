"""Random agreements on figures, and questions near them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import layer_data
from fairlead.policy.figures.inquiry import FigureInquiry
from fairlead.policy.inputs import PartyFacts, UserFacts
from tests.policy_cases import BASELINE, CUBES, NOW

NAME = "data/agreements.yaml"
KINDS = {"customs": "public", "police": "public", "terminal": "private"}
PARTNERS = ("north", "south")
COUNTRIES, CUBE_IDS = ("NL", "BE", "GB"), ("seizures", "queries", "displacement")
PURPOSES, ROLES = ("strategic-analysis", "customs-risk"), ("analyst", "auditor", "operator")
MOMENTS = (NOW - 10, NOW, NOW + 10, NOW + 20)


@cache
def words() -> dict[str, Any]:
    """The committed words, without any agreement."""
    found = copy.deepcopy(federation_data(BASELINE, CUBES)["federation"])
    return {k: v for k, v in found.items() if k not in {"agreements", "sizes", "statistics"}}


def policy_of(rows: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A policy of these agreements on figures alone."""
    return layer_data({**words(), **changed, "statistics": rows}, {})


def _some(names: tuple[str, ...], least: int = 1) -> st.SearchStrategy[dict[str, bool]]:
    return st.lists(st.sampled_from(names), min_size=least, unique=True).map(
        lambda found: dict.fromkeys(found, True)
    )


ROW = st.fixed_dictionaries(
    {
        "from": st.fixed_dictionaries(
            {"kinds": _some(tuple(KINDS)), "partners": _some(PARTNERS, 0)}
        ),
        "countries": _some(COUNTRIES),
        "cubes": _some(CUBE_IDS),
        "purposes": _some(PURPOSES),
        "roles": _some(ROLES[:2]),
        "valid_from": st.sampled_from(MOMENTS[:2]),
        "valid_until": st.sampled_from(MOMENTS[2:]),
    }
)


@st.composite
def two_policies(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two policies, the second made from the first by changing a few things."""
    old = {f"f{n}": row for n, row in enumerate(draw(st.lists(ROW, max_size=3)))}
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*old, "more"]))
        fresh = draw(ROW)
        if name not in new:
            new[name] = fresh
        elif draw(st.booleans()):
            del new[name]
        else:
            key = draw(st.sampled_from(sorted(fresh)))
            new[name][key] = fresh[key]
    known = words()["cubes"]
    fewer = {cube: True for cube in known if cube != draw(st.sampled_from([*CUBE_IDS, ""]))}
    return policy_of(old, cubes=fewer), policy_of(new)


@st.composite
def questions(draw: st.DrawFn) -> FigureInquiry:
    """A question that agreements as above may cover."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    return question(
        kind,
        draw(st.sampled_from(("other", *PARTNERS))),
        draw(st.sampled_from(COUNTRIES)),
        cube=draw(st.sampled_from(CUBE_IDS)),
        purpose=draw(st.sampled_from(PURPOSES)),
        roles=tuple(draw(st.lists(st.sampled_from(ROLES), max_size=2))),
        now=draw(st.sampled_from((NOW - 11, *MOMENTS))),
    )


def question(
    kind: str,
    partner: str = "other",
    country: str = "NL",
    *,
    cube: str = "seizures",
    purpose: str = "strategic-analysis",
    roles: tuple[str, ...] = ("analyst",),
    now: int = NOW,
) -> FigureInquiry:
    """One question."""
    sector = words()["kinds"][kind]
    return FigureInquiry(
        now=now,
        cube=cube,
        level="quarter",
        purpose=purpose,
        asker=PartyFacts(partner_id=partner, kind=kind, sector=sector, country=country, schemes=()),
        user=UserFacts(pseudonym="u", roles=roles),
    )


def written(**changed: Any) -> tuple[bytes, bytes]:
    """The baseline with its agreement on figures changed, and the octets of the registry."""
    document = yaml.safe_load(BASELINE[NAME])
    document["statistics"][0].update(changed)
    return yaml.safe_dump(document, sort_keys=False).encode(), CUBES
