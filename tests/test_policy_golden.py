"""What a person reviews of the golden vectors: what must hold of every one, whoever wrote it.

Each invariant is a sentence of docs/policy.md, read off the vector's input and expectation alone:
neither an engine nor an agreement is asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.partners import PartnerKind
from fairlead.policy.reading import REQUIRED

ROOT = Path(__file__).resolve().parent.parent
LINES = (ROOT / "tests/vectors/policy/golden.jsonl").read_text(encoding="ascii").splitlines()
VECTORS: list[dict[str, Any]] = [json.loads(line) for line in LINES]

POINTS = {"asking", "admission", "routing", "sovereignty", "release", "statistics"}
PERSONAL = {"driver_name", "operator_name"}
POINTER = {"existence", "contact_desk"}
PRIVATE_PAIR = POINTER | {
    "field:event", "field:occurred_at", "field:plate", "field:seal", "field:company_eori",
}  # fmt: skip
SEALED = {"demo-sealed-trafficking", "treaty-port-order", "treaty-two-approve"}
"""The agreements that let a public partner ask a private one sealed: none is of the baseline."""
PERSON_SCHEMES = {"person", "person-name", "identity-document", "phone", "email", "imei", "badge"}
SEES_RECORDS = {
    "event_asked", "purpose_shared", "retained", "tlp_permits", "pap_permits", "europol_known",
    "graded", "target_inactive", "person_permits", "facets_left",
}  # fmt: skip
OWNERS_CODES = {
    "ACTIVE_TARGET", "HANDLING_TLP", "HANDLING_PAP", "HANDLING_EUROPOL", "HANDLING_GRADE",
    "PERSON_RECORD", "RECORD_PURPOSE", "RECORD_EXPIRED", "EVENT_NOT_ASKED",
    "NOTHING_TO_DISCLOSE",
}  # fmt: skip


def decisions(vector: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Kind, decision, and the owner or record it is about (empty for the decision over all)."""
    point, given, expect = vector["point"], vector["input"], vector["expect"]
    if "records" in expect:
        for place, decision in enumerate(expect["records"]):
            yield point, decision, given["records"][place]
        return
    yield point, expect, given.get("owner", {})
    for name, decision in expect.get("candidates", {}).items():
        yield f"{point}.candidate", decision, given["candidates"][name]


def permits(point: str = "") -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Every permit with its vector and what it is about; of one point, or of all."""
    for vector in VECTORS:
        if vector["point"].startswith(point):
            for _, decision, about in decisions(vector):
                if decision["effect"] == "permit":
                    yield vector, decision, about


def pairs() -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Every permit about one owner: its input, asker, owner, decision."""
    for vector, decision, about in permits():
        given = vector["input"]
        owner = given.get("owner", about)
        if owner:
            yield given, given["asker"], owner, decision


def shown(decision: dict[str, Any], fields: list[str]) -> set[str]:
    """The fields of a record that leave under a decision."""
    every = "full_record" in decision["facets"]
    named = {name for name in fields if every or f"field:{name}" in decision["facets"]}
    return named - set(decision["obligations"]["redact"])


# ── How much is looked at ────────────────────────────────────────────────────────────────────


def test_there_are_enough_vectors_and_each_has_a_name_of_its_own() -> None:
    """At least three hundred, of every point, permits and denials."""
    assert len(VECTORS) >= 300
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
    found = Counter((v["point"], d["effect"]) for v in VECTORS for _, d, _ in decisions(v))
    for point in POINTS:
        assert found[point, "permit"] >= 5
        assert found[point, "deny"] >= 10


def test_the_product_is_whole() -> None:
    """Every kind asks and owns, every purpose, scheme, mode and handling code is asked about."""
    registry = json.loads(json.dumps(_registry()))
    askers, owners, purposes, schemes, modes, countries = (set() for _ in range(6))
    for vector in VECTORS:
        given = vector["input"]
        asker = given.get("asker", {"kind": "", "country": ""})
        askers.add(asker["kind"])
        countries.add(asker["country"])
        if vector["point"] == "statistics":
            continue
        purposes.add(given["query"]["purpose"])
        modes.add(given["query"]["mode"])
        schemes.update(given["query"]["schemes"])
        owners.update(o["kind"] for o in given.get("candidates", {}).values())
        owners.add(given.get("owner", asker)["kind"])
    kinds = {kind.value for kind in PartnerKind}
    assert kinds <= askers
    assert kinds <= owners
    assert registry["purposes"].keys() <= purposes
    assert set(registry["schemes"]) <= schemes
    assert modes == {"sealed", "blind"}
    assert {"NL", "BE", "DE", "ES", "FR", "GB"} <= countries


def _registry() -> dict[str, Any]:
    import yaml

    content = yaml.safe_load((ROOT / "policies/data/agreements.yaml").read_text(encoding="utf-8"))
    registry: dict[str, Any] = content["registry"]
    return registry


NO_AGREEMENT = {
    "country_covered", "transfer_grounded", "taking_part", "instrument_valid", "agreement_covers",
    "second_approvers_agreed", "facets_granted", "facets_left", "record_located",
    "partner_available", "figures_agreed",
}  # fmt: skip
"""What fails with an agreement's cover, each after the one before it."""
FOLLOWS = {
    "input_valid": frozenset().union(*REQUIRED.values()),
    "asker_known": NO_AGREEMENT | {"legal_basis_fits"},
    "purpose_known": NO_AGREEMENT | {"legal_basis_fits", "purpose_shared", "approvals_sufficient"},
    "cube_known": NO_AGREEMENT,
    **dict.fromkeys(
        ("asker_located", "partner_known", "partner_located", "user_permitted", *NO_AGREEMENT),
        NO_AGREEMENT,
    ),
    "record_located": {"facets_left"},
    "facets_left": set(),
    "facets_granted": set(),
}
"""What cannot hold where a check fails; every other check can fail alone."""
REFUSED_EARLIER = {"transfer_grounded"}
"""An agreement that would miss this alone is refused by the compiler (tests/test_policy_*)."""


@pytest.mark.parametrize("kind", sorted(REQUIRED))
def test_every_check_is_missed_by_one_vector(kind: str) -> None:
    """For each check there is a denial in which it fails and nothing that could have held."""
    seen = [
        frozenset(decision.get("failed", ()))
        for vector in VECTORS
        for found, decision, _ in decisions(vector)
        if found == kind
    ]
    over_all = {"partner_available"} if kind in {"asking", "routing"} else set()
    missed = {
        check
        for failed in seen
        for check in failed
        if failed <= {check} | FOLLOWS.get(check, set()) | over_all
    }
    assert REQUIRED[kind] - missed - REFUSED_EARLIER == set()


# ── What must hold of each ───────────────────────────────────────────────────────────────────


def test_a_permit_has_all_its_evidence_and_a_denial_a_reason() -> None:
    """No permit with a failed check, without facets or limits; no denial without an explanation."""
    for vector in VECTORS:
        for kind, decision, _ in decisions(vector):
            if decision["effect"] == "permit":
                assert not decision.keys() & {"failed", "reasons"}, vector["name"]
                assert decision["facets"], vector["name"]
                duties = decision["obligations"]
                if kind == "statistics":  # see the next test
                    continue
                assert duties["max_records"] >= 1, vector["name"]
                assert 1 <= duties["retention_days"] <= 365, vector["name"]
                assert decision.get("rules") or kind in {"admission", "asking", "routing"}
            else:
                assert decision["failed"], vector["name"]
                assert decision["reasons"], vector["name"]
                assert decision.get("obligations", {}).keys() <= {"notify"}, vector["name"]


def test_figures_are_all_that_a_question_for_them_gives() -> None:
    """It permits figures and no record, for the purpose of figures, in a role for them, about a
    cube by its name, under an agreement; and no other question permits figures."""
    cubes = {row["id"] for row in _cubes()}
    roles, named = {"analyst", "approver", "auditor", "security-officer"}, set[str]()
    for vector, decision, _ in permits():
        given = vector["input"]
        assert ("figures" in decision["facets"]) is (vector["point"] == "statistics")
        if vector["point"] == "statistics":
            assert decision["facets"] == ["figures"]
            assert decision["obligations"]["max_records"] == 0
            assert decision["rules"]
            assert given["question"]["purpose"] == "strategic-analysis"
            assert given["question"]["cube"] in cubes
            assert roles & set(given["user"]["roles"])
            country = given["asker"]["country"]
            assert country in EU or decision["rules"][0].startswith("treaty-figures-")
            named.add(given["question"]["cube"])
    assert len(named) >= 4


def _cubes() -> list[dict[str, Any]]:
    import yaml

    content = yaml.safe_load((ROOT / "policies/cubes/registry.yaml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content["cubes"]
    return found


def test_no_name_of_a_person_leaves_but_between_police_forces() -> None:
    """Personal fields, and fields that the registry does not know, are withheld."""
    between = 0
    for vector, decision, record in permits("release"):
        asker, owner = vector["input"]["asker"], vector["input"]["owner"]
        left = shown(decision, record["fields"])
        police = asker["kind"] == owner["kind"] == "police"
        between += police and bool(left & PERSONAL)
        assert police or not left & PERSONAL, vector["name"]
        assert "colour" not in left, vector["name"]
    assert between


def test_handling_codes_hold_on_every_lane() -> None:
    """TLP RED never leaves, PAP RED is blind only, without a code or a grade nothing does."""
    for vector, decision, record in permits("release"):
        assert record["tlp"] in {"CLEAR", "GREEN", "AMBER", "AMBER_STRICT"}, vector["name"]
        mode = vector["input"]["query"]["mode"]
        pap = {"CLEAR", "GREEN", "AMBER"} | ({"RED"} if mode == "blind" else set())
        assert record["pap"] in pap, vector["name"]
        assert record["europol"] in {"H0", "H1", "H2", "H3"}, vector["name"]
        assert record["source_grade"] in set("ABCX"), vector["name"]
        assert record["information_grade"] in set("1234"), vector["name"]
        if record["europol"] in {"H2", "H3"}:
            assert set(decision["facets"]) <= POINTER, vector["name"]
        if record["tlp"] == "AMBER_STRICT" and vector["input"]["asker"]["sector"] == "private":
            assert set(decision["facets"]) <= POINTER, vector["name"]


def test_an_active_target_is_no_hit_and_the_desk_hears_of_it() -> None:
    """Whatever else speaks against it, the owner's desk is told, and nobody else ever is."""
    seen = 0
    for vector in VECTORS:
        for kind, decision, about in decisions(vector):
            told = decision.get("obligations", {}).get("notify", [])
            active = kind == "release" and about.get("active_target") is True
            assert told == (["owner_desk"] if active else []), vector["name"]
            seen += active
            assert not active or decision["effect"] == "deny", vector["name"]
    assert seen


def test_what_is_not_held_for_the_purpose_or_any_more_stays() -> None:
    """Purpose, retention, event and the person of a record are looked at on every lane."""
    for vector, _, record in permits("release"):
        given = vector["input"]
        assert given["query"]["purpose"] in record["purposes"], vector["name"]
        assert given["now"] < record["expires_at"], vector["name"]
        assert record["event"] != "unspecified", vector["name"]
        assert not given["query"]["events"] or record["event"] in given["query"]["events"]
        assert not record["personal"] or given["asker"]["sector"] == "public", vector["name"]


def test_sectors_get_what_the_domain_allows() -> None:
    """Public asks private blind; private gets the desk of public; private pairs no persons."""
    for given, asker, owner, decision in pairs():
        sectors = (asker["sector"], owner["sector"])
        facets, query = set(decision["facets"]), given["query"]
        if sectors == ("public", "private") and query["mode"] == "sealed":
            assert set(decision["rules"]) <= SEALED
        if sectors == ("private", "public"):
            assert facets <= POINTER
            assert decision["obligations"]["approvals"] >= 1
        if sectors == ("private", "private"):
            assert facets <= PRIVATE_PAIR
            assert {"operator_name", "driver_name"} <= set(decision["obligations"]["redact"])
        if asker["sector"] == "private":
            assert not set(query["schemes"]) & PERSON_SCHEMES


def test_nobody_asks_itself_or_in_another_kinds_name() -> None:
    """Who is permitted is of its sector, another partner than the owner, and has a legal basis."""
    sector = {kind.value: kind.sector.value for kind in PartnerKind}
    for _, asker, owner, _ in pairs():
        assert asker["partner_id"] != owner["partner_id"]
        assert sector[asker["kind"]] == asker["sector"]
        assert sector[owner["kind"]] == owner["sector"]


EU = {"NL", "BE", "DE", "ES", "FR"}
TREATY = {"treaty-police-gb"}


def test_nothing_crosses_the_union_without_a_treaty() -> None:
    """Asker and owner are in the EU, or the one agreement with a ground for the other covers
    them; a record comes from where its agreements say, and from nowhere it does not say."""
    crossed = 0
    for _, asker, owner, decision in pairs():
        if not {asker["country"], owner["country"]} <= EU:
            assert {asker["country"], owner["country"]} <= EU | {"GB"}
            assert set(decision["rules"]) == TREATY
            crossed += 1
    assert crossed
    for vector, _, record in permits("release"):
        assert record["country"] in EU, vector["name"]
    for vector, _, _ in permits("admission"):
        assert vector["input"]["asker"]["country"] in EU, vector["name"]


def test_an_order_is_demanded_wherever_the_agreement_demands_one() -> None:
    """Under such an agreement the case carries an order that is valid, and issued by its issuer."""
    issued = {("court-order", "court"), ("prosecutor-order", "public-prosecutor")}
    seen = 0
    for given, _, _, decision in pairs():
        if "treaty-port-order" in decision["rules"]:
            order = given["query"]["instrument"]
            assert (order["kind"], order["authority"]) in issued
            assert given["now"] < order["valid_until"]
            seen += 1
    assert seen


def test_second_approvers_and_opt_outs_hold() -> None:
    """Where two must agree at the asker, two did, or the asker is told so; who opted out of the
    agreement neither asks nor answers under it."""
    seen = 0
    for given, asker, owner, decision in pairs():
        if "treaty-two-approve" in decision["rules"]:
            assert decision["obligations"]["second_approvers"] == 2
            assert given["point"] in {"asking", "release"} or given["approvals"] >= 2
            parties = {asker["partner_id"], owner["partner_id"]}
            assert not parties & {"shipping-line-be", "port-authority-nl"}
            seen += 1
    assert seen


def test_broken_data_permits_nothing() -> None:
    """Data of which one entry is gone denies at every point, whatever the question."""
    broken = [vector for vector in VECTORS if vector["data"] == "broken"]
    assert {vector["point"] for vector in broken} == POINTS
    for vector in broken:
        assert {d["effect"] for _, d, _ in decisions(vector)} == {"deny"}


def test_more_people_agree_where_more_is_asked() -> None:
    """A batch above the limit is admitted with a second person only."""
    for vector, _, _ in permits("admission"):
        given = vector["input"]
        assert given["query"]["term_count"] <= 1000 or given["approvals"] >= 1, vector["name"]
        assert 1 <= given["query"]["term_count"] <= 1_048_576, vector["name"]


def test_a_reason_for_the_owner_is_never_given_before_its_records_are_looked_at() -> None:
    """Codes that depend on records come from the point that decides on records."""
    for vector in VECTORS:
        for kind, decision, _ in decisions(vector):
            codes = set(decision.get("reasons", ()))
            assert kind == "release" or not codes & OWNERS_CODES, vector["name"]


def test_an_ill_formed_input_says_nothing_more() -> None:
    """INPUT_INVALID stands alone: what is no question is not explained."""
    for vector in VECTORS:
        for _, decision, _ in decisions(vector):
            if "input_valid" in decision.get("failed", ()):
                assert decision["reasons"] == ["INPUT_INVALID"], vector["name"]
