"""Golden vectors under ``treaty.yaml``: countries, instruments, second approvers, opt-outs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product as every
from typing import Any

from vector_facts import (
    COUNTRIES,
    NOW,
    OPEN_ENDED,
    Vector,
    ask,
    asking,
    by_id,
    org,
    record,
    release,
    routing,
    sovereignty,
)

from fairlead.policy.inputs import InstrumentFacts

DATA = "treaty"
TRAFFICKING = "drug-trafficking"


def across() -> Iterator[Vector]:
    """Police forces of six jurisdictions ask each other, with a treaty for the one outside."""
    for asker, owner in every(COUNTRIES, COUNTRIES):
        other = org("police", owner) if owner != asker else org("customs", owner)
        document = sovereignty(
            query=ask("police", TRAFFICKING), asker=org("police", asker), owner=other
        )
        yield _vector(f"across-{asker}-{owner}", "sovereignty", document)
    owners = by_id([org("police", country) for country in COUNTRIES])
    for asker in ("BE", "GB"):
        query = ask("police", TRAFFICKING, "blind")
        document = routing(query=query, asker=org("police", asker), candidates=owners)
        yield _vector(f"across-{asker}", "routing", document)
    for country in ("", "XX", "NO"):
        owner = org("police", country)
        yield _vector(
            f"across-to-{country or 'nowhere'}", "sovereignty",
            sovereignty(query=ask("police", TRAFFICKING), asker=org("police", "BE"), owner=owner),
        )  # fmt: skip
        document = routing(query=ask("police", TRAFFICKING), asker=owner)
        yield _vector(f"across-from-{country or 'nowhere'}", "routing", document)


def records_across() -> Iterator[Vector]:
    """Records of every country, on lanes inside the EU and out of it."""
    for asker, owner in (("BE", "NL"), ("GB", "NL"), ("NL", "GB")):
        records = [
            record(purposes=(TRAFFICKING,), country=country, fields=("driver_card", "driver_name"))
            for country in (*COUNTRIES, "", "XX")
        ]
        document = release(
            query=ask("police", TRAFFICKING), asker=org("police", asker),
            owner=org("police", owner), records=records,
        )  # fmt: skip
        yield _vector(f"records-{asker}-{owner}", "release", document)


INSTRUMENTS: dict[str, InstrumentFacts | None] = {
    "none": None,
    "court": InstrumentFacts(kind="court-order", authority="court", valid_until=NOW + 1),
    "prosecutor": InstrumentFacts(
        kind="prosecutor-order", authority="public-prosecutor", valid_until=NOW + 86_400
    ),
    "expired": InstrumentFacts(kind="court-order", authority="court", valid_until=NOW),
    "of-another": InstrumentFacts(
        kind="court-order", authority="public-prosecutor", valid_until=NOW + 1
    ),
    "of-a-judge": InstrumentFacts(
        kind="court-order", authority="investigating-judge", valid_until=NOW + 1
    ),
    "of-another-kind": InstrumentFacts(
        kind="mutual-legal-assistance", authority="court", valid_until=NOW + 1
    ),
    "unheard-of": InstrumentFacts(kind="note", authority="friend", valid_until=NOW + 1),
}


def instruments() -> Iterator[Vector]:
    """What a case may carry, where the agreement demands an order."""
    owner = org("terminal")
    for name, instrument in INSTRUMENTS.items():
        common: dict[str, Any] = {
            "query": ask("police", OPEN_ENDED, instrument=instrument), "asker": org("police", "BE"),
        }  # fmt: skip
        owners = by_id([owner, org("port_authority"), org("customs")])
        yield _vector(f"instrument-{name}", "asking", asking(**common, candidates=owners))
        yield _vector(f"instrument-{name}", "routing", routing(**common, candidates=owners))
        yield _vector(f"instrument-{name}", "sovereignty", sovereignty(**common, owner=owner))
        yield _vector(f"instrument-{name}", "release", release(**common, owner=owner))


def second_approvers() -> Iterator[Vector]:
    """None, one or both of the second persons at the asker, and partners that opted out."""
    owners = [org("terminal"), org("shipping_line"), org("shipping_line", "BE")]
    for count, country in every((0, 1, 2, 3), ("NL", "DE")):
        common: dict[str, Any] = {
            "query": ask("port_authority", OPEN_ENDED), "asker": org("port_authority", country),
            "approvals": count,
        }  # fmt: skip
        name = f"approvers-{count}-{country}"
        yield _vector(name, "asking", asking(**common, candidates=by_id(owners)))
        yield _vector(name, "routing", routing(**common, candidates=by_id(owners)))
        yield _vector(name, "sovereignty", sovereignty(**common, owner=owners[1]))


def _vector(name: str, point: str, document: dict[str, Any]) -> Vector:
    return Vector(name=f"treaty/{point}-{name}", point=point, data=DATA, document=document)
