"""Agreements: who may ask whom what, as data that officers edit without knowing Rego.

A federation's data is one file with the registry (the meaning of every word) and agreements,
and any number of files that add agreements. A partner's own file is a second layer over the
same registry: its own agreements and those of the federation it adopts by id. Everything wrong
with a file is reported at once, each with its path in the file. Dates are UTC midnights;
``valid_until`` is exclusive. docs/policy.md explains every field.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairlead.partners import PartnerKind, Sector
from fairlead.policy.documents import (
    Agreement,
    Document,
    InvalidAgreements,
    Registry,
    parse_document,
)


def federation_data(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Compile the federation's files, name → octets, into the engine's data document.

    :raises InvalidAgreements: every problem of every file; exactly one has a registry.
    """
    problems: list[str] = []
    parsed = {name: parse_document(name, data, problems) for name, data in files.items()}
    documents = {name: d for name, d in parsed.items() if d is not None}
    registries = [d.registry for d in documents.values() if d.registry is not None]
    if len(registries) != 1 and not problems:
        problems.append("registry: exactly one file of the federation has it")
    for name, document in documents.items():
        if document.adopt:
            problems.append(f"{name}: adopt: for a partner's own file only")
    if len(registries) == 1:
        _check(registries[0], documents, (), problems)
    if problems:
        raise InvalidAgreements(problems)
    rows = [row for d in documents.values() for row in d.agreements]
    return {"federation": {**_registry(registries[0]), "agreements": _index(rows)}}


def local_data(
    federation: Mapping[str, Any], files: Mapping[str, bytes], name: str, data: bytes
) -> dict[str, Any]:
    """Compile a partner's own file into the data of a second layer.

    :param federation: what :func:`federation_data` made of ``files``.
    :raises InvalidAgreements: every problem of the file.
    """
    problems: list[str] = []
    document = parse_document(name, data, problems)
    documents = {
        n: d for n, raw in files.items() if (d := parse_document(n, raw, problems)) is not None
    }
    registry = next((d.registry for d in documents.values() if d.registry is not None), None)
    if document is None or registry is None or problems:
        raise InvalidAgreements(problems or ["registry: the federation's data has none"])
    if document.registry is not None:
        problems.append(f"{name}: registry: for the federation's own file only")
    known = federation["federation"]["agreements"]
    for i, adopted in enumerate(document.adopt):
        if adopted not in known:
            problems.append(f"{name}: adopt[{i}]: no agreement of the federation has this id")
    _check(registry, {name: document}, known, problems)
    if problems:
        raise InvalidAgreements(problems)
    rows = {**{i: known[i] for i in document.adopt}, **_index(document.agreements)}
    return {"federation": {**federation["federation"], "agreements": rows}}


# ── Meaning ──────────────────────────────────────────────────────────────────────────────────

_KINDS = {kind.value: kind.sector.value for kind in PartnerKind}
_SECTORS = {sector.value for sector in Sector}


def _check(
    registry: Registry,
    documents: Mapping[str, Document],
    taken: Iterable[str],
    problems: list[str],
) -> None:
    """Every word an agreement uses is one of the registry; ids are used once."""
    for where, names, known in _registry_words(registry):
        problems.extend(f"{where}[{i}]: is not registered" for i in _strangers(names, known))
    seen = set(taken)
    for name, document in documents.items():
        for i, row in enumerate(document.agreements):
            where = f"{name}: agreements[{i}]"
            if row.id in seen:
                problems.append(f"{where}.id: is used already")
            seen.add(row.id)
            problems.extend(f"{where}.{problem}" for problem in _row_problems(registry, row))


def _registry_words(registry: Registry) -> list[tuple[str, list[str], Iterable[str]]]:
    purposes = registry.purposes.items()
    bases = registry.legal_bases.items()
    return [
        *((f"registry.purposes.{n}.legal_bases", p.legal_bases, registry.legal_bases)
          for n, p in purposes),
        *((f"registry.legal_bases.{n}.kinds", b.kinds, _KINDS) for n, b in bases),
    ]  # fmt: skip


def _row_problems(registry: Registry, row: Agreement) -> Iterable[str]:
    fields = {f"field:{name}" for name in registry.fields}
    facets = {"existence", "count_band", "contact_desk", "full_record"} | fields
    for where, names, known in (
        ("purposes", row.purposes, registry.purposes.keys()),
        ("legal_bases", row.legal_bases, registry.legal_bases.keys()),
        ("schemes", row.schemes, registry.schemes),
        ("roles", row.roles, registry.roles),
        ("facets", row.facets, facets),
        ("redact", row.redact, registry.fields.keys()),
    ):
        yield from (f"{where}[{i}]: is not registered" for i in _strangers(names, known))
    for where, side in (("from", row.asked_by), ("to", row.to)):
        known = {*(f"sector:{s}" for s in _SECTORS), *(f"kind:{k}" for k in _KINDS)}
        named = [p if not p.startswith("partner:") else "sector:public" for p in side]
        yield from (f"{where}[{i}]: no such sector or kind" for i in _strangers(named, known))
    limits = registry.limits
    for where, value, ceiling in (
        ("max_terms", row.max_terms, limits.max_terms),
        ("max_records", row.max_records, limits.max_records),
        ("retention_days", row.retention_days, limits.retention_days),
    ):
        if value > ceiling:
            yield f"{where}: is above the federation's limit"
    if row.valid_from >= row.valid_until:
        yield "valid_until: is not after valid_from"


def _strangers(names: Sequence[str], known: Iterable[str]) -> list[int]:
    allowed = set(known)
    return [i for i, name in enumerate(names) if name not in allowed]


# ── Compiling ────────────────────────────────────────────────────────────────────────────────


def _registry(registry: Registry) -> dict[str, Any]:
    return {
        "kinds": _KINDS,
        "limits": registry.limits.model_dump(),
        "purposes": {
            name: {
                "covert": p.covert,
                "approvals": p.approvals,
                "legal_bases": _set(p.legal_bases),
            }
            for name, p in registry.purposes.items()
        },
        "legal_bases": {n: {"kinds": _set(b.kinds)} for n, b in registry.legal_bases.items()},
        "schemes": _set(registry.schemes),
        "roles": _set(registry.roles),
        "fields": {
            name: {"personal": f.personal, "facet": f"field:{name}"}
            for name, f in registry.fields.items()
        },
    }


def _index(rows: Sequence[Agreement]) -> dict[str, Any]:
    return {
        row.id: {
            "from": _side(row.asked_by),
            "to": _side(row.to),
            "purposes": _set(row.purposes),
            "legal_bases": _set(row.legal_bases),
            "modes": _set(row.modes),
            "schemes": _set(row.schemes),
            "roles": _set(row.roles),
            "facets": sorted(set(row.facets)),
            "redact": sorted(set(row.redact)),
            "max_records": row.max_records,
            "approvals": row.approvals,
            "notice_delay_s": row.notice_delay_s,
            "retention_days": row.retention_days,
            "max_terms": row.max_terms,
            "max_window_days": row.max_window_days,
            "valid_from": _midnight(row.valid_from),
            "valid_until": _midnight(row.valid_until),
        }
        for row in rows
    }


def _side(parties: Sequence[str]) -> dict[str, dict[str, bool]]:
    """Kinds and partners apart: a partner that calls itself "police" is not thereby police."""
    kinds: dict[str, bool] = {}
    partners: dict[str, bool] = {}
    for party in parties:
        what, _, name = party.partition(":")
        if what == "sector":
            kinds.update((kind, True) for kind, sector in _KINDS.items() if sector == name)
        elif what == "kind":
            kinds[name] = True
        else:
            partners[name] = True
    return {"kinds": kinds, "partners": partners}


def _set(names: Iterable[str]) -> dict[str, bool]:
    return dict.fromkeys(names, True)


def _midnight(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())
