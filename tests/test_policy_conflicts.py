"""Agreements that contradict each other, change nothing, or reach nobody are named."""

from __future__ import annotations

import copy
from typing import Any

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import layer_data
from fairlead.policy.conflicts import CODES, Conflict, conflicts
from fairlead.policy.difference import compare
from tests.policy_cases import BASELINE, CUBES, DEMO, NOW

DATA = federation_data(DEMO, CUBES)["federation"]


def with_rows(**rows: Any) -> dict[str, Any]:
    """The demo's policy with more agreements."""
    words = {k: v for k, v in DATA.items() if k not in {"agreements", "sizes"}}
    return layer_data(words, {**copy.deepcopy(DATA["agreements"]), **rows})


def row(like: str, **changes: Any) -> dict[str, Any]:
    """An agreement like a committed one, but for some fields."""
    return {**copy.deepcopy(DATA["agreements"][like]), **changes}


def kinds(*names: str) -> dict[str, Any]:
    """A side that names kinds."""
    return {"kinds": dict.fromkeys(names, True), "partners": {}}


def found(data: dict[str, Any], now: int = NOW) -> dict[str, list[Conflict]]:
    """Conflicts by code."""
    by_code: dict[str, list[Conflict]] = {}
    for conflict in conflicts(data, now=now):
        by_code.setdefault(conflict.code, []).append(conflict)
    assert by_code.keys() <= CODES.keys()
    return by_code


def test_the_committed_agreements_have_none() -> None:
    """Baseline and demo neither overlap nor idle."""
    assert conflicts(federation_data(BASELINE, CUBES), now=NOW) == []
    assert conflicts(federation_data(DEMO, CUBES), now=NOW) == []


def test_a_contradiction_names_what_each_alone_would_give() -> None:
    """The narrowest of each term holds; what that takes away from whom is told."""
    narrow = row("public-asks-private", facets=["existence"], retention_days=10,
                 **{"from": kinds("police")})  # fmt: skip
    (conflict,) = found(with_rows(narrow=narrow))["CONTRADICTION"]
    assert conflict.agreements == ("narrow", "public-asks-private")
    assert "police asking every private partner" in conflict.text
    assert "public-asks-private: discloses also the record" in conflict.text
    assert "may be kept 90 instead of 10 days" in conflict.text


def test_agreements_with_nothing_in_common_refuse_together() -> None:
    """Each permits something, and both together nothing: the worst of them, told first."""
    rows = {
        name: row("public-asks-private", facets=[facet], **{"from": kinds("customs")})
        for name, facet in (("count", "count_band"), ("desk", "contact_desk"))
    }
    every = conflicts(with_rows(**rows), now=NOW)
    assert every[0].code == "NOTHING_IN_COMMON"
    assert {"count", "desk"} <= set(every[0].agreements)


def test_a_larger_question_that_escapes_is_told() -> None:
    """More terms than the narrower agreement allows, or one more scheme, must not give more."""
    small = row("public-asks-private", facets=["existence"], max_terms=16,
                **{"from": kinds("police")})  # fmt: skip
    (escape,) = found(with_rows(small=small))["SIDESTEPPED"]
    assert "more than 16 terms escapes small, and discloses also the record" in escape.text
    few = row("public-asks-private", facets=["existence"], schemes={"seal": True},
              **{"from": kinds("police")})  # fmt: skip
    told = [escape.text for escape in found(with_rows(few=few))["SIDESTEPPED"]]
    assert any("seal together escapes few, and discloses also the record" in t for t in told)


def test_an_agreement_that_others_say_all_of_is_shadowed() -> None:
    """Without it nothing would change, so it only confuses who reads it."""
    twin = row("police-asks-police")
    names = {c.agreements for c in found(with_rows(twin=twin))["SHADOWED"]}
    assert names == {("twin",), ("police-asks-police",)}


def test_what_nobody_can_fall_under_is_told() -> None:
    """Expired; on a law that fits nobody; with a purpose, a basis or an asker that never fits."""
    data = with_rows(
        old=row("police-asks-police", valid_until=NOW),
        odd=row("police-asks-police", legal_bases={"gdpr-art-6-1-f": True}),
        part=row("police-asks-police", **{"from": kinds("police", "terminal")},
                 purposes={"infiltration": True, "customs-risk": True}),
    )  # fmt: skip
    codes = found(data)
    assert [c.agreements for c in codes["EXPIRED"]] == [("old",)]
    assert [c.agreements for c in codes["UNREACHABLE"]] == [("odd",)]
    assert any("customs-risk" in c.text for c in codes["PURPOSE_UNUSABLE"])
    assert any("gdpr-art-6-1-f" in c.text for c in codes["BASIS_UNUSABLE"])
    assert any("terminal" in c.text for c in codes["ASKER_UNUSABLE"])


def test_an_opt_out_of_nothing_is_told() -> None:
    """A partner that an agreement between two others never named cannot leave it."""
    between = {
        "from": {"kinds": {}, "partners": {"north": True}},
        "to": {"kinds": {}, "partners": {"south": True}},
    }
    lost = row("police-asks-police", opted_out={"west": True}, **between)
    (conflict,) = found(with_rows(lost=lost))["OPT_OUT_EMPTY"]
    assert "west" in conflict.text


def test_a_difference_tells_both_directions() -> None:
    """Widening, narrowing, what changed and what did not, from the same two policies."""
    new = with_rows(more=row("demo-sealed-trafficking", purposes={"infiltration": True}))
    new["federation"]["agreements"]["private-asks-public"]["max_records"] = 1
    new["federation"]["agreements"].pop("police-asks-police")
    new["federation"]["sizes"].pop("police-asks-police")
    told = compare({"federation": DATA}, new)
    assert not told.tightening
    assert (told.added, told.removed) == (("more",), ("police-asks-police",))
    assert {w.agreements for w in told.widening} == {("more",)}
    assert all("is refused" in w.grown for w in told.narrowing)
    assert {tuple(sorted(w.askers)) for w in told.narrowing} == {("police",)}
    assert "public-asks-public" in told.same
    assert compare(new, {"federation": DATA}).widening != ()


def test_other_rules_are_never_called_a_tightening() -> None:
    """Agreements alone do not say what a change of the rules does."""
    same = {"federation": DATA}
    assert compare(same, same).tightening
    assert not compare(same, same, rules=True).tightening
