"""Agreements: who may ask whom what, as data that officers edit without knowing Rego.

A federation's data is one file with the registry (the meaning of every word) and agreements,
and any number of files that add agreements. A partner's own file is a second layer over the
same registry: its own agreements and those of the federation it adopts by id. Everything wrong
with a file is reported at once, each with its path in the file. Dates are UTC midnights;
``valid_until`` is exclusive. docs/policy.md explains every field.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fairlead.errors import Misconfigured
from fairlead.partners import PartnerKind, Sector

MAX_FILE = 1024 * 1024
"""Octets of one file."""

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Party = Annotated[
    str, Field(pattern=r"^(sector:[a-z]+|kind:[a-z_]+|partner:[a-z][a-z0-9-]{1,31})$")
]
FacetName = Annotated[
    str, Field(pattern=r"^(existence|count_band|contact_desk|full_record|field:[a-z][a-z0-9_]*)$")
]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Natural = Annotated[int, Field(ge=0, le=1_000_000_000)]
Kind = Annotated[str, Field(pattern=r"^[a-z_]+$")]


class InvalidAgreements(Misconfigured):
    """A policy file is wrong; ``problems`` has every problem as ``path: what is expected``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "the agreements cannot be used",
            reasons=("AGREEMENTS_INVALID",),
            remedy="correct every line listed, then: fairlead policy check",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next command."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Limits(_Row):
    """Ceilings no agreement can lift."""

    max_terms: Count
    second_person_above_terms: Count
    max_records: Count
    retention_days: Count


class Purpose(_Row):
    """What a question may be for. ``covert``: nobody at the owner must notice it."""

    title: Title
    covert: bool
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    approvals: Annotated[int, Field(ge=0, le=5)]


class LegalBasis(_Row):
    """Which kinds of organisation may rely on which law."""

    title: Title
    kinds: Annotated[list[Kind], Field(min_length=1)]


class FieldRow(_Row):
    """A field that sources may release."""

    personal: bool


class Registry(_Row):
    """The meaning of every word the agreements use."""

    limits: Limits
    purposes: Annotated[dict[Id, Purpose], Field(min_length=1)]
    legal_bases: Annotated[dict[Id, LegalBasis], Field(min_length=1)]
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    fields: Annotated[dict[Id, FieldRow], Field(min_length=1)]


class Agreement(_Row):
    """Partners of ``from`` may ask partners of ``to``, under these terms."""

    id: Id
    asked_by: Annotated[list[Party], Field(min_length=1, alias="from")]
    to: Annotated[list[Party], Field(min_length=1)]
    purposes: Annotated[list[Id], Field(min_length=1)]
    legal_bases: Annotated[list[Id], Field(min_length=1)]
    modes: Annotated[list[Literal["sealed", "blind"]], Field(min_length=1)]
    schemes: Annotated[list[Id], Field(min_length=1)]
    roles: Annotated[list[Id], Field(min_length=1)]
    facets: Annotated[list[FacetName], Field(min_length=1)]
    redact: list[Id]
    max_records: Count
    approvals: Annotated[int, Field(ge=0, le=5)] = 0
    notice_delay_s: Natural
    retention_days: Count
    max_terms: Count
    max_window_days: Count | None
    valid_from: dt.date
    valid_until: dt.date


class Document(_Row):
    """One file."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    registry: Registry | None = None
    adopt: list[Id] = []
    agreements: list[Agreement] = []


def federation_data(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Compile the federation's files, name → octets, into the engine's data document.

    :raises InvalidAgreements: every problem of every file; exactly one has a registry.
    """
    problems: list[str] = []
    parsed = {name: _parse(name, data, problems) for name, data in files.items()}
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
    document = _parse(name, data, problems)
    documents = {n: d for n, raw in files.items() if (d := _parse(n, raw, problems)) is not None}
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


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


class _Loader(yaml.SafeLoader):
    """YAML without aliases and without a key written twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise yaml.YAMLError
        return super().construct_mapping(node, deep)


def _parse(name: str, data: bytes, problems: list[str]) -> Document | None:
    if len(data) > MAX_FILE:
        problems.append(f"{name}: a file of at most 1 MiB is expected")
        return None
    try:
        content = yaml.load(data, Loader=_Loader)  # noqa: S506  (a SafeLoader made stricter)
    except (yaml.YAMLError, ValueError, RecursionError):
        problems.append(f"{name}: YAML is expected, without aliases and without repeated keys")
        return None
    try:
        return Document.model_validate(content)
    except ValidationError as error:
        problems.extend(f"{name}: {_problem(item)}" for item in error.errors())
        return None


def _problem(item: Any) -> str:
    """``path: what is expected``; never the value, and never an unknown key's own spelling."""
    path, kind = list(item["loc"]), item["type"]
    if kind == "extra_forbidden":
        return f"{_path(path[:-1])}: an unknown key is here{_meant(str(path[-1]))}"
    if kind == "missing":
        return f"{_path(path)}: is missing"
    return f"{_path(path)}: {_EXPECTED.get(kind, 'a value of the documented form is expected')}"


_EXPECTED = {
    "int_type": "a whole number is expected",
    "bool_type": "true or false is expected",
    "string_type": "text is expected",
    "list_type": "a list is expected",
    "dict_type": "a table is expected",
    "model_type": "a table is expected",
    "date_type": "a date is expected, as in 2026-01-31",
    "too_short": "at least one entry is expected",
    "greater_than_equal": "a larger number is expected",
    "less_than_equal": "a smaller number is expected",
    "literal_error": "one of the documented words is expected",
    "string_pattern_mismatch": "one of the documented spellings is expected",
}


def _path(parts: Sequence[object]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top)"


def _meant(key: str) -> str:
    from difflib import get_close_matches

    models = (Document, Registry, Limits, Purpose, LegalBasis, FieldRow, Agreement)
    known = {f.alias or n for model in models for n, f in model.model_fields.items()}
    close = get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


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
