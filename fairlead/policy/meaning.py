"""What agreements mean: every word one of the registry, no limit lifted, every transfer lawful."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fairlead.partners import PartnerKind, Sector
from fairlead.policy.documents import EU, Agreement, PolicyFile, Registry
from fairlead.policy.extending import Written
from fairlead.written import Path

KINDS = {kind.value: kind.sector.value for kind in PartnerKind}
"""Kind of organisation → sector."""
Problem = tuple[Path, str]
Words = tuple[Path, Sequence[str], Iterable[str]]

_SECTORS = {sector.value for sector in Sector}
_UNREGISTERED = "is not registered"


def registry_problems(file: PolicyFile, registry: Registry) -> Iterator[str]:
    """Every word of the registry that it does not define, and a registry without an EU."""
    for path, names, known in _registry_words(registry):
        for place in _strangers(names, known):
            yield file.problem(("registry", *path, place), _UNREGISTERED)
    if not any(row.eu for row in registry.jurisdictions.values()):
        yield file.problem(("registry", "jurisdictions"), "no country is in the EU")


def _registry_words(registry: Registry) -> Iterator[Words]:
    for name, purpose in registry.purposes.items():
        yield ("purposes", name, "legal_bases"), purpose.legal_bases, registry.legal_bases
    for name, basis in registry.legal_bases.items():
        yield ("legal_bases", name, "kinds"), basis.kinds, KINDS
    for name, country in registry.jurisdictions.items():
        yield ("jurisdictions", name, "grounds"), country.grounds, registry.transfer_grounds


def agreement_problems(
    registry: Registry, rows: Iterable[tuple[Written, Agreement]], taken: Iterable[str]
) -> Iterator[str]:
    """What is wrong with agreements of the right form, each told where it is written.

    :param taken: ids that agreements elsewhere have.
    """
    seen = dict.fromkeys(taken, "")
    for item, row in rows:
        if row.id in seen:
            yield item.problem(("id",), f"is used already{seen[row.id]}")
        line = item.file.lines.get(("agreements", item.place, "id"), 1)
        seen[row.id] = f", at {item.file.name}:{line}"
        for path, text in (
            *_words(registry, row),
            *_limits(registry, row),
            *_places(registry, row),
        ):
            if item.owns(path) or path[0] in _CROSSING:
                yield item.problem(path, text)


_CROSSING = {"valid_until", "transfer_ground"}
"""Wrong together with a field that the row itself may have written."""


def _words(registry: Registry, row: Agreement) -> Iterator[Problem]:
    facets = {"existence", "count_band", "contact_desk", "full_record"}
    lists: list[Words] = [
        (("purposes",), row.purposes, registry.purposes),
        (("legal_bases",), row.legal_bases, registry.legal_bases),
        (("schemes",), row.schemes, registry.schemes),
        (("roles",), row.roles, registry.roles),
        (("facets",), row.facets, facets | {f"field:{name}" for name in registry.fields}),
        (("redact",), row.redact, registry.fields),
        *_instrument_words(registry, row),
        *(
            ((name,), countries, {EU, *registry.jurisdictions})
            for name, countries in _countries(row).items()
        ),
    ]
    for path, names, known in lists:
        yield from (((*path, place), _UNREGISTERED) for place in _strangers(names, known))
    for where, side in (("from", row.asked_by), ("to", row.to)):
        yield from (((where, at), "no such sector or kind") for at in party_strangers(side))


def party_strangers(side: Sequence[str]) -> list[int]:
    """The places at which a side names a sector or a kind that there is not."""
    known = {*(f"sector:{s}" for s in _SECTORS), *(f"kind:{k}" for k in KINDS)}
    return _strangers(side, known | {party for party in side if party.startswith("partner:")})


def _instrument_words(registry: Registry, row: Agreement) -> Iterator[Words]:
    if row.instrument is None:
        return
    kinds = row.instrument.kinds
    issuing = [registry.instruments[k].authorities for k in kinds if k in registry.instruments]
    yield ("instrument", "kinds"), kinds, registry.instruments
    yield ("instrument", "authorities"), row.instrument.authorities, {a for i in issuing for a in i}


def _limits(registry: Registry, row: Agreement) -> Iterator[Problem]:
    limits = registry.limits
    for where, value, ceiling in (
        ("max_terms", row.max_terms, limits.max_terms),
        ("max_records", row.max_records, limits.max_records),
        ("retention_days", row.retention_days, limits.retention_days),
    ):
        if value > ceiling:
            yield (where,), "is above the federation's limit"
    if row.valid_from >= row.valid_until:
        yield ("valid_until",), "is not after valid_from"


def _countries(row: Agreement) -> dict[str, Sequence[str]]:
    return {
        "asker_countries": row.asker_countries,
        "owner_countries": row.owner_countries,
        "record_countries": row.record_countries,
    }


def _places(registry: Registry, row: Agreement) -> Iterator[Problem]:
    """A transfer out of the EU rests on a ground that holds in every country concerned."""
    if row.transfer_ground is not None and row.transfer_ground not in registry.transfer_grounds:
        yield ("transfer_ground",), _UNREGISTERED
        return
    known = registry.jurisdictions
    abroad = {*row.asker_countries, *row.owner_countries} & {n for n in known if not known[n].eu}
    if abroad and row.transfer_ground is None:
        yield ("transfer_ground",), "is missing: a country of the two sides is outside the EU"
    elif any(row.transfer_ground not in known[name].grounds for name in abroad):
        yield ("transfer_ground",), "is not among the grounds of every country outside the EU"


def _strangers(names: Sequence[str], known: Iterable[str]) -> list[int]:
    allowed = set(known)
    return [place for place, name in enumerate(names) if name not in allowed]
