"""Facts that the policy tests share: the demo's partners and one good question."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.engine import PolicyEngine, WasmEngine
from fairlead.policy.inputs import (
    CaseFacts,
    GrantFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)
from fairlead.policy.points import Layer, PolicyPoints

POLICIES = Path(__file__).resolve().parent.parent / "policies"
WASM = (POLICIES / "policy.wasm").read_bytes()
BASELINE = {"data/agreements.yaml": (POLICIES / "data/agreements.yaml").read_bytes()}
DEMO = {**BASELINE, "data/demo.yaml": (POLICIES / "data/demo.yaml").read_bytes()}
CUBES = (POLICIES / "cubes/registry.yaml").read_bytes()
EXAMPLE = (POLICIES / "data/local.example.yaml").read_bytes()

POLICY = "tested"
"""The identity of the policy that these engines have."""
NOW = 1_795_000_000
SCHEMES = ("container", "vehicle-plate", "vessel-imo")
FIELDS = ("plate", "account", "driver_name", "operator_name", "event")


def party(name: str, kind: str, sector: str, country: str = "NL") -> PartyFacts:
    """A partner that answers for every scheme."""
    return PartyFacts(partner_id=name, kind=kind, sector=sector, country=country, schemes=SCHEMES)


CUSTOMS = party("customs", "customs", "public")
POLICE = party("police", "police", "public")
INLAND = party("inland-port", "inland_port", "public", "DE")
TERMINAL = party("terminal-north", "terminal", "private")
LINE = party("oceanic-line", "shipping_line", "private", "DK")
GUARD = party("quayguard", "security_company", "private", "BE")
CANDIDATES = {p.partner_id: p for p in (POLICE, INLAND, TERMINAL, LINE, GUARD)}

QUERY = QueryFacts(
    mode="sealed",
    purpose="drug-trafficking",
    legal_basis="eu-ucc-art-46",
    schemes=("container",),
    term_count=1,
    window_days=90,
    events=(),
)
ANALYST = UserFacts(pseudonym="u-c01", roles=("analyst",))
CASE = CaseFacts(
    open=True,
    assigned=True,
    purpose="drug-trafficking",
    legal_basis="eu-ucc-art-46",
    schemes=("container",),
    expires_at=NOW + 3600,
)
GRANT = GrantFacts(
    mode="sealed",
    facets=("contact_desk", "count_band", "existence", "full_record"),
    policy_serial=1,
    expires_at=NOW + 60,
)
RECORD = RecordFacts(
    record_type="release",
    event="release-looked-up",
    tlp="AMBER",
    pap="GREEN",
    europol="H0",
    source_grade="A",
    information_grade="1",
    purposes=("drug-trafficking",),
    expires_at=NOW + 3600,
    active_target=False,
    personal=False,
    fields=FIELDS,
    country="NL",
)
BLIND = replace(QUERY, mode="blind")


@cache
def engine(*, demo: bool = True) -> WasmEngine:
    """The committed policy over the committed agreements, with or without the demo's own.

    The deadline is generous: these tests are about decisions, and test machines are busy.
    """
    return engine_of(federation_data(DEMO if demo else BASELINE, CUBES))


def engine_of(data: dict[str, object]) -> WasmEngine:
    """The committed kernel over some data, as the policy :data:`POLICY`."""
    return WasmEngine(WASM, identified(data, POLICY), deadline_s=10)


def layered(*engines: PolicyEngine) -> PolicyPoints:
    """Decision points over some engines, the federation's first."""
    return PolicyPoints([Layer(engine, POLICY) for engine in engines], 1)


def points(*, demo: bool = True) -> PolicyPoints:
    """One layer of the committed policy."""
    return layered(engine(demo=demo))
