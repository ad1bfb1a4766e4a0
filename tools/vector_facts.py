"""What golden vectors are made of: organisations, questions, and one input maker a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from test_opa import POLICY, VECTORS

from fairlead.partners import PartnerKind
from fairlead.policy import inputs
from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.inputs import PartyFacts, QueryFacts, RecordFacts
from tests.policy_cases import ANALYST, CASE, CUBES, GRANT, NOW, POLICIES, QUERY, RECORD

DATA = {
    "baseline": ("data/agreements.yaml",),
    "demo": ("data/agreements.yaml", "data/demo.yaml"),
    "treaty": ("data/agreements.yaml", "treaty.yaml"),
    "broken": ("data/agreements.yaml",),  # of which one agreement has lost a field to withhold
}
"""The agreements a vector is decided under."""
KINDS = {kind.value: kind.sector.value for kind in PartnerKind}
COUNTRIES = ("NL", "BE", "DE", "ES", "FR", "GB")
MODES = ("sealed", "blind")
OPEN_ENDED = "infiltration"
"""The purpose that every kind of organisation has a legal basis for."""
STRATEGIC = "strategic-analysis"
"""The purpose of figures."""
BASES = {
    "customs": "eu-ucc-art-46",
    "police": "national-criminal-procedure",
    "eu_agency": "eu-2016-794-art-18",
    "port_authority": "gdpr-art-6-1-e",
    "inland_port": "gdpr-art-6-1-e",
}
PRIVATE_BASIS = "gdpr-art-6-1-f"
FULL = ("contact_desk", "count_band", "existence", "full_record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One question to one point under the agreements ``data``, a key of :data:`DATA`."""

    name: str
    point: str
    data: str
    document: Mapping[str, Any]


@cache
def data_of(name: str) -> dict[str, Any]:
    """The compiled agreements of that name, as a bundle would hand them to an engine."""
    places = {file: (POLICIES if "/" in file else VECTORS) / file for file in DATA[name]}
    files = {file: path.read_bytes() for file, path in places.items()}
    data = federation_data(files, CUBES)
    if name == "broken":
        data["federation"]["agreements"]["private-asks-private"]["redact"].pop()
    return identified(data, POLICY)


def org(kind: str, country: str = "NL", schemes: Sequence[str] = ("container",)) -> PartyFacts:
    """An organisation of that kind."""
    name = f"{kind.replace('_', '-')}-{country.lower()}"
    return PartyFacts(
        partner_id=name, kind=kind, sector=KINDS[kind], country=country, schemes=tuple(schemes)
    )


def ask(kind: str, purpose: str = OPEN_ENDED, mode: str = "sealed", **more: Any) -> QueryFacts:
    """A question of that kind of organisation, on the law it usually relies on."""
    basis = BASES.get(kind, PRIVATE_BASIS)
    return replace(QUERY, mode=mode, purpose=purpose, legal_basis=basis, **more)


def by_id(parties: Sequence[PartyFacts]) -> dict[str, PartyFacts]:
    """Candidates."""
    return {party.partner_id: party for party in parties}


def admission(**changed: Any) -> dict[str, Any]:
    """Customs' question at the gateway."""
    usual = {
        "now": NOW, "query": ask("customs"), "asker": org("customs"), "user": ANALYST,
        "case_open": True, "user_assigned": True, "approvals": 0,
    }  # fmt: skip
    return inputs.admission_input(**{**usual, **changed})


def asking(**changed: Any) -> dict[str, Any]:
    """Customs' analyst wants to ask; the case is one for the question."""
    usual = {
        "now": NOW, "query": ask("customs"), "asker": org("customs"), "user": ANALYST,
        "approvals": 0, "candidates": by_id([org("police"), org("terminal")]),
    }  # fmt: skip
    said = {**usual, **changed}
    query = said["query"]
    case = replace(
        CASE, purpose=query.purpose, legal_basis=query.legal_basis, schemes=query.schemes
    )
    return inputs.asking_input(**{"case": case, **said})


def routing(**changed: Any) -> dict[str, Any]:
    """The gateway looks for owners."""
    usual = {
        "now": NOW, "query": ask("customs"), "asker": org("customs"),
        "approvals": 0, "candidates": by_id([org("police"), org("terminal")]),
    }  # fmt: skip
    return inputs.routing_input(**{**usual, **changed})


def sovereignty(**changed: Any) -> dict[str, Any]:
    """The police decide whether they answer customs."""
    usual = {
        "now": NOW, "query": ask("customs"), "asker": org("customs"), "approvals": 0,
        "owner": org("police"),
    }  # fmt: skip
    said = {**usual, **changed}
    grant = replace(GRANT, mode=said["query"].mode)
    return inputs.sovereignty_input(**{"grant": grant, **said})


def release(**changed: Any) -> dict[str, Any]:
    """The police decide what customs get of a record; records are held for every purpose asked."""
    usual = {
        "now": NOW, "query": ask("customs"), "asker": org("customs"), "owner": org("police"),
        "facets": FULL, "records": [record()],
    }  # fmt: skip
    return inputs.release_input(**{**usual, **changed})


def statistics(**changed: Any) -> dict[str, Any]:
    """Customs' analyst asks for figures."""
    usual = {
        "now": NOW, "cube": "seizures", "level": "quarter", "purpose": STRATEGIC,
        "asker": org("customs"), "user": ANALYST,
    }  # fmt: skip
    return inputs.statistics_input(**{**usual, **changed})


def record(**changed: Any) -> RecordFacts:
    """A record that may leave, with one personal field, one plain and one unknown."""
    usual = {"purposes": (OPEN_ENDED,), "fields": ("plate", "driver_name", "colour")}
    return replace(RECORD, **{**usual, **changed})


MAKERS = {
    "asking": asking, "admission": admission, "routing": routing,
    "sovereignty": sovereignty, "release": release, "statistics": statistics,
}  # fmt: skip
