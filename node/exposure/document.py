"""The exposure as one plain document: printed, exported, signed, and sent over the socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fairlead.partners import Directory
from fairlead.policy.documents import Registry
from node.exposure.acceptance import Acceptance, widened
from node.exposure.matrix import UNLIMITED, Exposure, row_document

Json = dict[str, Any]
CSV_COLUMNS = (
    "partner", "partner_name", "kind", "purpose", "legal_basis", "mode", "scheme", "record_type",
    "personal", "facets", "redacted", "max_records", "retention_days", "approvals", "agreements",
    "sources", "accepted",
)  # fmt: skip
TABLE_COLUMNS = (
    "partner", "purpose", "mode", "schemes", "records", "facets", "approvals", "accepted"
)  # fmt: skip


def document(
    exposure: Exposure,
    *,
    directory: Directory,
    registry: Registry,
    acceptance: Acceptance | None,
    now: float,
) -> Json:
    """Everything a reader needs, in words of the registry and the directory.

    Rows keep their order; ``pending`` holds what goes beyond the acceptance.
    """
    own = directory.partner(exposure.partner)
    sources = dict(acceptance.sources) if acceptance else {}
    return {
        "schema": 1,
        "node": {
            "partner": own.partner_id,
            "display_name": own.display_name,
            "kind": own.kind.value,
            "country": own.country,
            "contact_desk": own.contact_desk,
            "federation": directory.federation,
        },
        "made_at": moment(now),
        "policy_serial": exposure.policy_serial,
        "directory_serial": exposure.directory_serial,
        "digest": exposure.digest,
        "accepted": _accepted(acceptance, exposure),
        "purposes": {
            name: {"title": p.title, "covert": p.covert} for name, p in registry.purposes.items()
        },
        "legal_bases": {name: b.title for name, b in registry.legal_bases.items()},
        "fields": {name: {"personal": f.personal} for name, f in registry.fields.items()},
        "partners": {
            p.partner_id: {
                "display_name": p.display_name,
                "kind": p.kind.value,
                "sector": p.sector.value,
                "country": p.country,
            }
            for p in directory.partners.values()
            if p.partner_id != own.partner_id
        },
        "sources": [
            {**_source(asdict(s)), "accepted": sources.get(s.name) == s.digest}
            for s in exposure.sources
        ],
        "rows": [row_document(row) for row in exposure.rows],
        "pending": [row_document(row) for row in widened(exposure, acceptance)],
    }


def _source(facts: Json) -> Json:
    facts["handlings"] = sorted({f"TLP:{h[0]} PAP:{h[1]} {h[2]}" for h in facts["handlings"]})
    return facts


def _accepted(acceptance: Acceptance | None, exposure: Exposure) -> Json | None:
    if acceptance is None:
        return None
    current = acceptance.digest == exposure.digest
    return {
        "digest": acceptance.digest,
        "by": acceptance.by,
        "at": moment(acceptance.accepted_at),
        "unchanged": current,
    }


def moment(seconds: float) -> str:
    """Unix seconds as UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def csv_rows(found: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """One line for each partner, purpose, legal basis, mode, scheme and kind of record."""
    waiting = {_key(row): set(row["facets"]) for row in found["pending"]}
    for row in lines(found):
        partner = found["partners"].get(row["partner"], {})
        yield {
            **{name: row[name] for name in ("partner", "purpose", "legal_basis", "mode", "scheme")},
            "partner_name": partner.get("display_name", ""),
            "kind": partner.get("kind", ""),
            "record_type": row["record_type"] or "(none held: always no hit)",
            "personal": "yes" if row["personal"] else "no",
            "facets": " ".join(row["facets"]),
            "redacted": " ".join(row["redacted"]),
            "max_records": limit(row["max_records"]),
            "retention_days": limit(row["retention_days"]),
            "approvals": row["approvals"],
            "agreements": " ".join(row["rules"]),
            "sources": " ".join(row["sources"]),
            "accepted": "no" if _key(row) in waiting else "yes",
        }


def groups(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same lines for a reader: schemes and legal bases that bring the same, together."""
    together: dict[tuple[object, ...], dict[str, Any]] = {}
    waiting = {_key(row) for row in found["pending"]}
    for row in lines(found):
        key = (
            row["partner"], row["purpose"], row["mode"], row["record_type"], row["personal"],
            row["approvals"], tuple(row["facets"]), tuple(row["redacted"]), row["max_records"],
            row["retention_days"], tuple(row["sources"]), _key(row) in waiting,
        )  # fmt: skip
        group = together.setdefault(
            key,
            {**row, "schemes": [], "legal_bases": [], "agreements": [], "accepted": not key[-1]},
        )
        for name, values in (
            ("schemes", [row["scheme"]]),
            ("legal_bases", [row["legal_basis"]]),
            ("agreements", row["rules"]),
        ):
            group[name] = sorted({*group[name], *values})
    return list(together.values())


def table_rows(found: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """:func:`groups` for a terminal."""
    for group in groups(found):
        yield {
            "partner": group["partner"],
            "purpose": group["purpose"],
            "mode": group["mode"],
            "schemes": several_schemes(group) or " ".join(group["schemes"]),
            "records": group["record_type"] + (" (personal)" if group["personal"] else "")
            or "none",
            "facets": " ".join(f.removeprefix("field:") for f in group["facets"]) or "no hit",
            "approvals": group["approvals"],
            "accepted": "yes" if group["accepted"] else "NO",
        }


def several_schemes(group: Mapping[str, Any]) -> str:
    """What a reader needs of a long list of kinds of which nothing is held; else nothing."""
    many = len(group["schemes"]) > FEW and not group["record_type"]
    return f"{len(group['schemes'])} schemes of which nothing is held" if many else ""


def limit(value: int) -> object:
    """A limit, or that there is none."""
    return "none" if value >= UNLIMITED else value


FEW = 4
"""Schemes without a record that are still worth naming one by one."""
_CHANNEL = ("partner", "purpose", "legal_basis", "mode", "scheme")


def _key(row: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in (*_CHANNEL, "record_type", "personal", "approvals"))


def lines(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows to show: that a channel is answered goes without saying where records follow."""
    held = {tuple(row[n] for n in _CHANNEL) for row in found["rows"] if row["record_type"]}
    for row in found["rows"]:
        if row["record_type"] or tuple(row[n] for n in _CHANNEL) not in held:
            yield row
