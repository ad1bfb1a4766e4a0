"""The golden vectors' product: who, for what, about what, where, and under which handling."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product as every
from typing import Any

from vector_facts import (
    COUNTRIES,
    KINDS,
    MODES,
    NOW,
    OPEN_ENDED,
    RecordFacts,
    Vector,
    ask,
    asking,
    by_id,
    data_of,
    org,
    record,
    release,
    routing,
    sovereignty,
)


def kinds() -> Iterator[Vector]:
    """Every kind of organisation to every kind, the mode and the country taking turns."""
    for n, (asker, owner) in enumerate(every(KINDS, KINDS)):
        mode, country = MODES[n % 2], COUNTRIES[n % 5]
        document = sovereignty(
            query=ask(asker, mode=mode), asker=org(asker, country), owner=org(owner, "BE")
        )
        yield Vector(
            name=f"kinds/{asker}-{owner}-{mode}", point="sovereignty", data="baseline",
            document=document,
        )  # fmt: skip


def purposes() -> Iterator[Vector]:
    """Every kind of asker for every purpose in both modes, to one owner of each sort."""
    names = list(data_of("baseline")["federation"]["purposes"])
    owners = by_id([org(k, "DE") for k in ("police", "customs", "terminal")])
    for asker, purpose, mode in every(KINDS, names, MODES):
        document = routing(query=ask(asker, purpose, mode), asker=org(asker), candidates=owners)
        yield Vector(
            name=f"purposes/{asker}-{purpose}-{mode}", point="routing",
            data=("baseline", "demo")[names.index(purpose) % 2], document=document,
        )  # fmt: skip


def schemes() -> Iterator[Vector]:
    """Every scheme, asked by a public partner and answered by a private one."""
    for scheme in data_of("baseline")["federation"]["schemes"]:
        owners = by_id([org(k, "BE", [scheme]) for k in ("police", "terminal")])
        query = ask("customs", "drug-trafficking", "blind", schemes=(scheme,))
        yield Vector(
            name=f"schemes/{scheme}-customs", point="asking", data="baseline",
            document=asking(query=query, candidates=owners),
        )  # fmt: skip
        query = ask("terminal", "security-incident", schemes=(scheme,))
        document = sovereignty(
            query=query, asker=org("terminal"), owner=org("forwarder", "DE", [scheme])
        )
        yield Vector(
            name=f"schemes/{scheme}-terminal", point="sovereignty", data="baseline",
            document=document,
        )  # fmt: skip


def countries() -> Iterator[Vector]:
    """Every pair of six jurisdictions between private partners."""
    for asker, owner in every(COUNTRIES, COUNTRIES):
        document = sovereignty(
            query=ask("terminal", "security-incident"), asker=org("terminal", asker),
            owner=org("forwarder", owner),
        )  # fmt: skip
        yield Vector(
            name=f"countries/terminal-{asker}-{owner}", point="sovereignty", data="baseline",
            document=document,
        )  # fmt: skip


def countries_at_once() -> Iterator[Vector]:
    """Customs of each country to terminals of all."""
    owners = by_id([org("terminal", country) for country in COUNTRIES])
    for country, mode in every(COUNTRIES, MODES):
        document = routing(
            query=ask("customs", "drug-trafficking", mode), asker=org("customs", country),
            candidates=owners,
        )  # fmt: skip
        yield Vector(
            name=f"countries/customs-{country}-{mode}", point="routing", data="demo",
            document=document,
        )  # fmt: skip


LANES = {
    "public-private-blind": ("customs", "terminal", OPEN_ENDED, "blind"),
    "public-private-sealed": ("police", "terminal", "drug-trafficking", "sealed"),
    "police-police": ("police", "police", OPEN_ENDED, "sealed"),
    "public-public": ("customs", "police", OPEN_ENDED, "sealed"),
    "private-private": ("terminal", "forwarder", "security-incident", "sealed"),
    "private-public": ("security_company", "port_authority", OPEN_ENDED, "sealed"),
}
"""Asker, owner, purpose, mode."""
HANDLING = {
    "tlp": ("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED", "", "UNHEARD_OF"),
    "pap": ("CLEAR", "GREEN", "AMBER", "RED", "", "unheard-of"),
    "europol": ("H0", "H1", "H2", "H3", "", "H9"),
    "source_grade": ("B", "X", "", "D"),
    "information_grade": ("2", "4", "", "5"),
}


def handling() -> Iterator[Vector]:
    """Every handling code on every lane, and the codes that matter together."""
    for lane, (asker, owner, purpose, mode) in LANES.items():
        common = {
            "query": ask(asker, purpose, mode),
            "asker": org(asker),
            "owner": org(owner, "DE"),
        }
        for code, values in HANDLING.items():
            records = [record(purposes=(purpose,), **{code: value}) for value in values]
            yield _lane(lane, code, release(**common, records=records))
        mixed = [
            record(purposes=(purpose,), tlp=t, pap=p, europol=e)
            for t, p, e in every(("AMBER_STRICT", "RED"), ("AMBER", "RED"), ("H1", "H2"))
        ]
        yield _lane(lane, "mixed", release(**common, records=mixed))
        yield _lane(lane, "rest", release(**common, records=_particular(purpose)))


def _lane(lane: str, what: str, document: dict[str, Any]) -> Vector:
    return Vector(name=f"handling/{lane}-{what}", point="release", data="demo", document=document)


def _particular(purpose: str) -> list[RecordFacts]:
    """Records that differ in what is not a handling code."""
    own = (purpose,)
    return [
        record(purposes=own),
        record(purposes=own, event="unspecified"),
        record(purposes=()),
        record(purposes=own, expires_at=NOW),
        record(purposes=own, active_target=True),
        record(purposes=own, personal=True),
        record(purposes=own, fields=()),
        record(purposes=own, fields=("account", "driver_card", "operator_name", "seal")),
    ]
