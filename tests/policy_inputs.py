"""Random policy inputs: questions in good form, questions with damage, and any JSON at all."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from hypothesis import strategies as st

from tests.holes import Path, paths

sys.path.insert(0, str(File(__file__).resolve().parent.parent / "tools"))

from vector_facts import COUNTRIES, FULL, KINDS, MAKERS, NOW, data_of

DATA = "demo"
REGISTRY = data_of(DATA)["federation"]
STRANGE = ["", "unheard-of", "sector:public", "full_record", "é", "\x00", "a" * 300]


def plain(document: Any) -> Any:
    """As it goes over to an engine."""
    return json.loads(json.dumps(document))


# ── Questions ────────────────────────────────────────────────────────────────────────────────


def _word(*known: str) -> st.SearchStrategy[str]:
    """Mostly a known word, sometimes not."""
    return st.sampled_from([*known, *known, *STRANGE]) if known else st.sampled_from(STRANGE)


def _some(*known: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(known) | _word(*known), max_size=3)


PURPOSE, BASIS = _word(*REGISTRY["purposes"]), _word(*REGISTRY["legal_bases"])
CUBE, LEVEL = _word(*REGISTRY["cubes"], "all", "*"), _word("quarter", "year,kind")
SCHEMES = _some("container", "vehicle-plate", "person-name", "seal")
COUNT = st.sampled_from([0, 1, 2, 16, 17, 1000, 1001, 4096, 4097, 2**20, 2**20 + 1, 2**31, 1.5])
TIME = st.sampled_from([0, NOW - 1, NOW, NOW + 1, NOW + 60, 2_000_000_000])
FIELDS = _some(*REGISTRY["fields"], "colour")
FACETS = _some(*FULL, "field:plate", "field:driver_name")
KIND = st.sampled_from(sorted(KINDS))


@st.composite
def _party(draw: st.DrawFn, name: str | None = None) -> dict[str, Any]:
    kind = draw(KIND)
    sector = KINDS[kind] if draw(st.integers(0, 9)) else draw(_word("public", "private"))
    return {
        "partner_id": name or draw(st.sampled_from(["p-1", "p-2", "p-3"])),
        "kind": kind, "sector": sector, "country": draw(_word(*COUNTRIES)),
        "schemes": draw(SCHEMES),
    }  # fmt: skip


RECORD = {
    "tlp": _word("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED"),
    "pap": _word("CLEAR", "GREEN", "AMBER", "RED"),
    "europol": _word("H0", "H1", "H2", "H3"),
    "source_grade": _word("A", "B", "C", "X"),
    "information_grade": _word("1", "2", "3", "4"),
    "event": _word("gate-in", "release-looked-up", "unspecified"),
    "purposes": _some(*REGISTRY["purposes"]),
    "active_target": st.booleans(),
    "personal": st.booleans(),
    "fields": FIELDS,
    "expires_at": TIME,
}
"""Of a record: what is drawn anew, each with one chance in eight."""


@st.composite
def questions(draw: st.DrawFn, point: str) -> dict[str, Any]:
    """A well-formed question, drawn around the good one of its point."""
    good = json.loads(json.dumps(MAKERS[point]()))
    sealed = point in {"admission", "routing"}
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "mode": st.sampled_from(["sealed", "blind"]), "purpose": PURPOSE, "legal_basis": BASIS,
        "schemes": SCHEMES, "term_count": COUNT,
    }  # fmt: skip
    if not sealed:
        drawn["window_days"] = st.sampled_from([None, 0, 90, 91, 730, 731])
        drawn["events"] = _some("gate-in", "release-looked-up")
    _redraw(draw, good.get("query", {}), drawn)
    _redraw(draw, good.get("question", {}), {"cube": CUBE, "level": LEVEL, "purpose": PURPOSE})
    _redraw(draw, good, {"asker": _party(), "now": TIME, "owner": _party()})
    _redraw(draw, good, {"facets": FACETS, "approvals": COUNT, "case_open": st.booleans(),
                         "user_assigned": st.booleans()})  # fmt: skip
    if "candidates" in good:
        names = draw(st.lists(st.sampled_from(["p-1", "p-2", "p-3"]), unique=True))
        good["candidates"] |= {name: draw(_party(name)) for name in names}
    if "user" in good:
        _redraw(draw, good["user"], {"roles": _some("analyst", "approver", "auditor")})
    if good.get("case"):
        case = {"open": st.booleans(), "purpose": PURPOSE, "schemes": SCHEMES, "expires_at": TIME}
        _redraw(draw, good["case"], case)
    if "grant" in good:
        _redraw(draw, good["grant"], {"facets": FACETS, "expires_at": TIME})
    for record in good.get("records", ()):
        _redraw(draw, record, RECORD)
    return good


def _redraw(
    draw: st.DrawFn, document: dict[str, Any], drawn: Mapping[str, st.SearchStrategy[Any]]
) -> None:
    """Each field that is there, with one chance in eight."""
    for name, strategy in drawn.items():
        if name in document and draw(st.integers(0, 7)) == 7:
            document[name] = draw(strategy)


# ── Damage ───────────────────────────────────────────────────────────────────────────────────

NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1.0, 0.5, -0.0, 1e300])
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(STRANGE) | st.text(max_size=4)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, point: str) -> dict[str, Any]:
    """A question with one to three things wrong about its form."""
    document = draw(questions(point))
    for _ in range(draw(st.integers(1, 3))):
        found = list(paths(document))
        if found:
            document = _damage(draw, document, draw(st.sampled_from(found)))
    return document


def _damage(draw: st.DrawFn, document: dict[str, Any], path: Path) -> dict[str, Any]:
    document = copy.deepcopy(document)
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    how = draw(st.sampled_from(["delete", "replace", "replace", "add", "swap"]))
    if how == "delete":
        del inner[path[-1]]
    elif how == "replace":
        inner[path[-1]] = draw(ANYTHING)
    elif how == "add" and isinstance(inner, dict):
        inner[draw(st.text(max_size=6))] = draw(ANYTHING)
    elif how == "swap":
        other = draw(st.sampled_from([p for p in paths(document) if len(p) == 1]))
        inner[path[-1]] = copy.deepcopy(document[other[0]])
    return document
