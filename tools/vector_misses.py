"""The golden vectors that miss by one: sizes at their limits, and one thing wrong at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product as every
from typing import Any

from vector_facts import (
    BASES,
    CASE,
    GRANT,
    MAKERS,
    NOW,
    OPEN_ENDED,
    PRIVATE_BASIS,
    Vector,
    admission,
    ask,
    by_id,
    org,
    record,
    sovereignty,
)

from fairlead.policy.inputs import UserFacts


def sizes() -> Iterator[Vector]:
    """Numbers of terms on either side of every limit, without and with a second person."""
    for count, approvals in every((0, 1, 1000, 1001, 1_048_576, 1_048_577), (0, 1)):
        query = ask("customs", term_count=count)
        yield Vector(
            name=f"sizes/admission-{count}-{approvals}", point="admission", data="baseline",
            document=admission(query=query, approvals=approvals),
        )  # fmt: skip
    for count in (16, 17, 4096, 4097):
        for kind, other in (("terminal", "police"), ("customs", "police")):
            query = ask(kind, term_count=count)
            yield Vector(
                name=f"sizes/{kind}-{count}", point="sovereignty", data="baseline",
                document=sovereignty(query=query, asker=org(kind), owner=org(other)),
            )  # fmt: skip
    for days in (0, 90, 91, 730, 731, None):
        for kind in ("terminal", "customs"):
            query = ask(kind, window_days=days)
            yield Vector(
                name=f"sizes/{kind}-window-{days}", point="sovereignty", data="baseline",
                document=sovereignty(query=query, asker=org(kind)),
            )  # fmt: skip


def near_general() -> Iterator[Vector]:
    """At each point, a good question with one thing wrong about question or asker."""
    wrong: dict[str, dict[str, Any]] = {
        "good": {},
        "no-such-kind": {"asker": replace(org("customs"), kind="coast_guard")},
        "nowhere": {"asker": org("customs", "XX")},
        "other-sector": {"asker": replace(org("customs"), sector="private")},
        "no-such-purpose": {"query": replace(ask("customs"), purpose="curiosity")},
        "no-such-basis": {"query": replace(ask("customs"), legal_basis="because")},
        "basis-of-agencies": {"query": replace(ask("customs"), legal_basis=BASES["eu_agency"])},
        "other-basis": {"query": replace(ask("customs"), legal_basis=BASES["police"])},
        "basis-of-others": {"query": replace(ask("customs"), legal_basis=PRIVATE_BASIS)},
        "no-scheme": {"query": ask("customs", schemes=())},
        "no-such-scheme": {"query": ask("customs", schemes=("horoscope",))},
        "two-schemes": {"query": ask("customs", schemes=("container", "person-name"))},
        "no-terms": {"query": ask("customs", term_count=0)},
        "before": {"now": 1_700_000_000},
        "after": {"now": 1_950_000_000},
    }
    for (what, changed), (point, make) in every(wrong.items(), MAKERS.items()):
        if point == "statistics" and "query" in changed:
            continue  # which asks for figures, and has no query
        yield Vector(
            name=f"near/{point}-{what}", point=point, data="baseline", document=make(**changed)
        )


def near_whole() -> Iterator[Vector]:
    """A good question to each point, over data that has lost something elsewhere."""
    for point, make in MAKERS.items():
        yield Vector(name=f"near/{point}-broken", point=point, data="broken", document=make())


def near_particular() -> Iterator[Vector]:
    """What only one point knows, a little wrong."""
    nobody = UserFacts(pseudonym="u-c03", roles=("approver",))
    stranger = replace(org("police"), kind="coast_guard")
    mute = replace(org("police"), schemes=("vessel-imo",))
    nowhere = org("police", "XX")
    itself = replace(org("police"), partner_id=org("customs").partner_id)
    fine = replace(CASE, purpose=OPEN_ENDED)
    wrong: dict[str, Sequence[dict[str, Any]]] = {
        "asking": [
            {"user": nobody}, {"user": replace(nobody, roles=())}, {"case": None},
            {"case": replace(fine, open=False)}, {"case": replace(fine, expires_at=NOW)},
            {"case": replace(fine, assigned=False)}, {"case": CASE},
            {"case": replace(fine, legal_basis=BASES["police"])},
            {"case": replace(fine, schemes=("seal",))}, {"candidates": {}},
            *({"candidates": by_id([owner])} for owner in (stranger, mute, itself, nowhere)),
            {"query": ask("customs", window_days=731)}, {"query": ask("customs", term_count=4097)},
        ],
        "admission": [
            {"user": nobody}, {"user": replace(nobody, roles=())}, {"case_open": False},
            {"user_assigned": False}, {"query": ask("customs", term_count=1001)},
        ],
        "routing": [
            {"candidates": {}},
            *({"candidates": by_id([owner, org("eu_agency")])} for owner in (stranger, mute)),
            *({"candidates": by_id([owner])} for owner in (itself, nowhere)),
        ],
        "sovereignty": [
            *({"owner": owner} for owner in (stranger, mute, itself, nowhere)),
            {"grant": replace(GRANT, expires_at=NOW)}, {"grant": replace(GRANT, mode="blind")},
            {"grant": replace(GRANT, policy_serial=0)}, {"grant": replace(GRANT, facets=())},
            {"grant": replace(GRANT, facets=("field:plate", "existence"))},
            {"asker": org("terminal"), "query": ask("terminal"),
             "grant": replace(GRANT, facets=("field:plate",))},
        ],
        "release": [
            *({"owner": owner} for owner in (stranger, mute, itself, nowhere)),
            {"facets": ()}, {"facets": ("field:plate",)},
            {"facets": ("field:plate",), "records": [record(europol="H2")]},
            {"query": ask("customs", events=("gate-in",))},
            {"query": ask("customs", events=("release-looked-up", "gate-in"))},
            {"records": []},
            {"asker": org("terminal"), "query": ask("terminal"),
             "records": [record(personal=True), record(tlp="AMBER_STRICT")]},
        ],
    }  # fmt: skip
    for point, changes in wrong.items():
        for n, changed in enumerate(changes):
            yield Vector(
                name=f"near/{point}-own-{n:02d}", point=point, data="baseline",
                document=MAKERS[point](**changed),
            )  # fmt: skip


def ill_formed() -> Iterator[Vector]:
    """Inputs that are none: one field too many, too few, or of another type."""
    for point, make in MAKERS.items():
        good = make()
        yield _ill(point, "other-point", {**good, "point": "curiosity"})
        yield _ill(point, "other-schema", {**good, "schema": 0})
        yield _ill(point, "too-many", {**good, "operator": True})
        yield _ill(point, "text-time", {**good, "now": str(NOW)})
        yield _ill(point, "no-asker", {k: v for k, v in good.items() if k != "asker"})
        what, inner = ("question", "cube") if "question" in good else ("query", "term_count")
        yield _ill(point, "null-count", {**good, what: {**good[what], inner: None}})


def _ill(point: str, what: str, document: dict[str, Any]) -> Vector:
    return Vector(name=f"ill/{point}-{what}", point=point, data="baseline", document=document)
