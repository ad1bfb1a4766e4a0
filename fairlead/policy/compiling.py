"""Registry and agreements as the data document that the kernel reads.

Sets are objects of ``true``, so that a rule looks one entry up. ``sizes`` has how many entries
each agreement has with all that is in it, ``size`` the same of the registry: the kernel counts
again (``policies/integrity``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairlead.policy.documents import EU, Agreement, Registry
from fairlead.policy.meaning import KINDS

Json = dict[str, Any]


def registry_data(registry: Registry) -> Json:
    """The words. Titles stay in the file: no rule reads one."""
    handling = registry.handling
    return {
        "kinds": KINDS,
        "limits": registry.limits.model_dump(),
        "purposes": {
            name: {
                "approvals": p.approvals,
                "legal_bases": named(p.legal_bases),
                "highly_sensitive": p.highly_sensitive,
            }
            for name, p in registry.purposes.items()
        },
        "legal_bases": {n: {"kinds": named(b.kinds)} for n, b in registry.legal_bases.items()},
        "schemes": named(registry.schemes),
        "roles": named(registry.roles),
        "figure_roles": named(registry.figure_roles),
        "fields": {
            name: {"personal": f.personal, "facet": f"field:{name}"}
            for name, f in registry.fields.items()
        },
        "jurisdictions": {
            name: {"eu": j.eu, "grounds": named(j.grounds)}
            for name, j in registry.jurisdictions.items()
        },
        "instruments": {n: named(i.authorities) for n, i in registry.instruments.items()},
        "handling": {
            **{name: named(codes) for name, codes in handling if isinstance(codes, list)},
            "active_target": handling.active_target,
        },
    }


def agreement_data(
    registry: Registry, rows: Iterable[Agreement], opted_out: Mapping[str, Iterable[str]]
) -> dict[str, Json]:
    """The agreements by id. ``opted_out``: id → partners that take no part."""

    def countries(names: Sequence[str]) -> dict[str, bool]:
        return country_set(registry, names)

    return {
        row.id: {
            "from": side(row.asked_by),
            "to": side(row.to),
            "asker_countries": countries(row.asker_countries),
            "owner_countries": countries(row.owner_countries),
            "record_countries": countries(row.record_countries),
            "transfer_ground": row.transfer_ground or "",
            "instrument": row.instrument
            and {
                "kinds": named(row.instrument.kinds),
                "authorities": named(row.instrument.authorities),
            },
            "opted_out": named(opted_out.get(row.id, ())),
            "purposes": named(row.purposes),
            "legal_bases": named(row.legal_bases),
            "modes": named(row.modes),
            "schemes": named(row.schemes),
            "roles": named(row.roles),
            "facets": sorted(set(row.facets)),
            "redact": sorted(set(row.redact)),
            "max_records": row.max_records,
            "approvals": row.approvals,
            "second_approvers": row.second_approver,
            "onward": row.onward,
            "notice_delay_s": row.notice_delay_s,
            "retention_days": row.retention_days,
            "max_terms": row.max_terms,
            "max_window_days": row.max_window_days,
            "valid_from": midnight(row.valid_from),
            "valid_until": midnight(row.valid_until),
        }
        for row in rows
    }


def layer_data(words: Json, rows: Mapping[str, Json]) -> Json:
    """One layer's document: the words, the agreements and their sizes."""
    sizes = {name: size(row) for name, row in rows.items()}
    words = {name: word for name, word in words.items() if name != "size"}
    counted = sum(map(size, words.values()))
    federation = {**words, "agreements": dict(rows), "sizes": sizes, "size": counted}
    return {"federation": federation}


def size(value: object) -> int:
    """How many entries a value has, its own and those of everything in it."""
    if isinstance(value, dict):
        return len(value) + sum(map(size, value.values()))
    return len(value) if isinstance(value, list) else 0


def identified(data: Json, policy_id: str) -> Json:
    """The same data, saying which policy it is; every decision over it then says so."""
    return {"federation": {**data["federation"], "policy": policy_id}}


def country_set(registry: Registry, names: Sequence[str]) -> dict[str, bool]:
    """Countries as a set; EU is all of the registry's countries there."""
    europe = [name for name, row in registry.jurisdictions.items() if row.eu]
    return named(c for name in names for c in (europe if name == EU else [name]))


def side(parties: Sequence[str]) -> dict[str, dict[str, bool]]:
    """Kinds and partners apart: a partner that calls itself "police" is not thereby police."""
    kinds: dict[str, bool] = {}
    partners: dict[str, bool] = {}
    for party in parties:
        what, _, name = party.partition(":")
        if what == "sector":
            kinds.update((kind, True) for kind, sector in KINDS.items() if sector == name)
        elif what == "kind":
            kinds[name] = True
        else:
            partners[name] = True
    return {"kinds": kinds, "partners": partners}


def named(names: Iterable[str]) -> dict[str, bool]:
    """A set, as rules look one up."""
    return dict.fromkeys(names, True)


def midnight(day: dt.date) -> int:
    """Unix seconds at which the day begins in UTC."""
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
