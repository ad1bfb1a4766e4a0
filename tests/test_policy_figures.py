"""Who may ask for which figures: how it is written, decided, compared, explained and replayed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import yaml

from fairlead.errors import PolicyUnavailable
from fairlead.partners import PartnerKind
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.documents import InvalidAgreements
from fairlead.policy.figures.inquiry import FigureInquiry, decide
from fairlead.policy.narrowing import FIGURE_KEYS
from fairlead.policy.reading import decision_of, read_decision
from tests.policy_cases import (
    BASELINE,
    CUBES,
    DEMO,
    EXAMPLE,
    GUARD,
    NOW,
    POLICY,
    engine_of,
    layered,
    points,
)
from tests.readers import NAME, question, words, written

ROLES = ("analyst", "approver", "auditor", "security-officer")


def codes(found: Any) -> list[str]:
    """The reason codes, most important first."""
    return [reason.code for reason in found.decision.reasons]


# ── The baseline ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("demo", [True, False])
def test_every_partner_may_ask_for_every_cube(demo: bool) -> None:
    """In four roles, for the one purpose of figures, with the demo's agreements and without."""
    policy, cubes = points(demo=demo), words()["cubes"]
    assert len(cubes) >= 12
    for n, kind in enumerate(PartnerKind):
        for m, cube in enumerate(cubes):
            found = decide(policy, question(kind.value, cube=cube, roles=(ROLES[(n + m) % 4],)))
            assert found.decision.permit
            assert found.decision.facets == {"figures"}
            assert found.decision.rules == ("figures-for-all",)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"roles": ("operator",)}, "USER_ROLE"),
        ({"roles": ()}, "USER_ROLE"),
        ({"purpose": "drug-trafficking"}, "FIGURES_PURPOSE"),
        ({"purpose": "curiosity"}, "PURPOSE_UNKNOWN"),
        ({"cube": "all"}, "CUBE_UNKNOWN"),
        ({"cube": "*"}, "CUBE_UNKNOWN"),
        ({"country": "GB"}, "FIGURES_COUNTRY"),
        ({"now": 2**31}, "FIGURES_NOT_AGREED"),
    ],
)
def test_what_is_not_agreed_is_refused_with_its_reason(changed: Any, code: str) -> None:
    """Each side that is missed has a code of its own, and all of them are for the requester."""
    found = decide(points(), question("police", **changed))
    assert not found.decision.permit
    assert codes(found)[0] == code
    assert {reason.audience for reason in found.decision.reasons} == {"requester"}


def test_without_a_registry_of_cubes_nobody_asks() -> None:
    """`all` of nothing is nothing: figures need the file that says which there are."""
    bare = layered(engine_of(federation_data(DEMO)))
    assert codes(decide(bare, question("police"))) == ["CUBE_UNKNOWN", "FIGURES_NOT_AGREED"]


class Broken:
    """An engine that gives nothing."""

    name = "wasm"

    def evaluate(self, point: str, document: Any) -> bytes:
        """:raises RuntimeError: always."""
        raise RuntimeError

    def close(self) -> None:
        """Nothing to free."""


def test_a_broken_engine_denies() -> None:
    """Alone, or as a partner's own layer behind one that permits."""
    for policy in (layered(Broken()), layered(engine_of(federation_data(DEMO, CUBES)), Broken())):
        assert codes(decide(policy, question("police"))) == ["POLICY_UNAVAILABLE"]


# ── A partner's own ──────────────────────────────────────────────────────────────────────────


def own(text: bytes) -> dict[str, Any]:
    """A partner's own file, compiled."""
    return local_data(federation_data(DEMO, CUBES), DEMO, "local.yaml", text)


OWN = b"""schema: 2
statistics:
  - id: our-auditors
    from: ["partner:quayguard"]
    cubes: %s
    purposes: [strategic-analysis]
    roles: [auditor]
    valid_from: 2026-01-01
    valid_until: 2031-01-01
"""


@pytest.mark.parametrize(
    ("text", "permitted"),
    [
        (EXAMPLE, {"analyst", "auditor"}),
        (b"schema: 2\n", set()),
        (OWN % b"[seizures]", {"auditor"}),
        (OWN % b"all", {"auditor"}),
        (OWN % b"[queries]", set()),
    ],
)
def test_both_layers_must_permit(text: bytes, permitted: set[str]) -> None:
    """Who adopts an agreement keeps it, who writes rows narrows, who says nothing asks nothing."""
    policy = layered(engine_of(federation_data(DEMO, CUBES)), engine_of(own(text)))
    asks = {"asker": GUARD, "now": NOW, "cube": "seizures", "level": "quarter"}
    found = {
        role: decide(
            policy,
            FigureInquiry(
                **asks, purpose="strategic-analysis",
                user=question("police", roles=(role,)).user,
            ),
        )
        for role in ("analyst", "auditor")
    }  # fmt: skip
    assert {role for role, verdict in found.items() if verdict.decision.permit} == permitted


# ── How it is written ────────────────────────────────────────────────────────────────────────


def problems(data: bytes, cubes: bytes = CUBES) -> tuple[str, ...]:
    """What is said of files that are refused; nothing of others."""
    try:
        federation_data({NAME: data}, cubes)
    except InvalidAgreements as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("changed", "path", "text"),
    [
        ({"cubes": ["seizures", "seizure"]}, "cubes[1]", "no cube of the registry has this id"),
        ({"cubes": ["all"]}, "cubes[0]", "no cube of the registry has this id"),
        ({"cubes": []}, "cubes", "at least one entry"),
        ({"cubes": None}, "cubes", "a list is expected"),
        ({"cubes": True}, "cubes", "a list is expected"),
        ({"cubes": "*"}, "cubes", "a list is expected"),
        ({"cubes": "ALL"}, "cubes", "a list is expected"),
        ({"cubes": ["*"]}, "cubes[0]", "one of the documented spellings"),
        ({"purposes": ["curiosity"]}, "purposes[0]", "is not registered"),
        ({"roles": ["analyst", "operator"]}, "roles[1]", "is not registered"),
        ({"countries": ["XX"]}, "countries[0]", "is not registered"),
        ({"from": ["sector:secret"]}, "from[0]", "no such sector or kind"),
        ({"id": "public-asks-public"}, "id", "is used already"),
        ({"valid_until": yaml.safe_load("2026-01-01")}, "valid_until", "is not after valid_from"),
        ({"facets": ["figures"]}, "statistics[0]", "an unknown key is here"),
    ],
)
def test_a_mistake_is_told_with_its_line(changed: Any, path: str, text: str) -> None:
    """The place of every mistake, and what is expected there; no accident reads as all cubes."""
    data, cubes = written(**changed)
    (found,) = problems(data, cubes)
    name, line, rest = found.split(":", 2)
    assert name == NAME
    lines = data.decode().splitlines()
    assert lines.index("statistics:") < int(line) - 1 < len(lines)
    assert path in rest
    assert text in rest


def test_a_wrong_registry_of_cubes_is_told_too() -> None:
    """What the agreements name cannot be looked up in a file that is wrong."""
    broken = CUBES.replace(b"version: 1\n", b"version: one\n", 1)
    assert any(p.startswith("cubes/registry.yaml:") for p in problems(BASELINE[NAME], broken))


def test_all_is_written_out_as_names() -> None:
    """The compiled agreement has every cube by name and no word for all of them."""
    (row,) = federation_data(BASELINE, CUBES)["federation"]["statistics"].values()
    assert row["cubes"].keys() == words()["cubes"].keys()
    assert row.keys() == FIGURE_KEYS
    assert not {"all", "*"} & row["cubes"].keys()


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("facets", [["existence"], ["figures", "existence"], ["full_record"], []])
def test_a_permit_for_anything_but_figures_is_unreadable(facets: list[str]) -> None:
    """An engine, or a partner's own rules, cannot let records out through this point."""
    said = orjson.loads(_said())
    said["facets"] = facets
    with pytest.raises(PolicyUnavailable):
        read_decision(orjson.dumps(said), kind="statistics", policy_serial=1, policy_id=POLICY)


def test_no_other_point_permits_figures() -> None:
    """The facet of figures at another point is unreadable, alone or beside others."""
    said = orjson.loads(
        points()._layers[0].engine.evaluate("sovereignty", _vector("sovereignty"))
    )  # fmt: skip
    said.pop("policy")
    assert decision_of(said, kind="sovereignty", policy_serial=1).permit
    for facets in (["figures"], [*said["facets"], "figures"]):
        with pytest.raises(PolicyUnavailable):
            decision_of({**said, "facets": facets}, kind="sovereignty", policy_serial=1)


def _said() -> bytes:
    return points()._layers[0].engine.evaluate("statistics", _vector("statistics"))


def _vector(name: str) -> Any:
    from tests import opas

    return opas.vector(name)["input"]
