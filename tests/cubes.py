"""Registries for tests: a small one to change, and random ones."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fairlead.cubes.period import TimeStep
from fairlead.cubes.registry import InvalidCubes, Registry

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = (ROOT / "policies" / "cubes" / "registry.yaml").read_bytes()

SMALL: dict[str, Any] = {
    "schema": 1,
    "version": 3,
    "dimensions": [
        {
            "id": "place", "title": "Where",
            "steps": [
                {"step": "port", "title": "Port", "codes": [
                    {"code": "NLRTM", "title": "Rotterdam", "parent": "NL"},
                    {"code": "BEANR", "title": "Antwerp", "parent": "BE"},
                    {"code": "NLAMS", "title": "Amsterdam", "parent": "NL"},
                ]},
                {"step": "country", "title": "Country", "codes": [
                    {"code": "BE", "title": "Belgium"}, {"code": "NL", "title": "Netherlands"},
                ]},
            ],
        },
        {
            "id": "report-kind", "title": "How",
            "steps": [{"step": "kind", "title": "Kind", "codes": [
                {"code": "anonymous", "title": "Anonymous"}, {"code": "named", "title": "Named"},
            ]}],
        },
    ],
    "cubes": [
        {
            "id": "reports", "version": 2, "title": "Reports", "about": "By the day of receipt.",
            "made_of": ["reports"], "dimensions": ["place", "report-kind"],
            "measures": [
                {"id": "due", "title": "Due", "kind": "count", "unit": "reports", "bound": 9},
                {"id": "done", "title": "Done", "kind": "count", "unit": "reports", "bound": 9},
                {"id": "kg", "title": "Weight", "kind": "sum", "unit": "kg", "bound": 99,
                 "dominance": True},
                {"id": "days", "title": "Days", "kind": "median", "unit": "days", "bound": 9,
                 "edges": [1, 7, 30]},
                {"id": "share", "title": "Share", "kind": "rate", "unit": "per cent",
                 "numerator": "done", "denominator": "due"},
            ],
            "levels": [
                {"level": "month,port,kind", "rolls_up_to": "quarter,country,kind"},
                {"level": "quarter,country,kind", "rolls_up_to": "quarter,country"},
                {"level": "quarter,country", "rolls_up_to": "year"},
                {"level": "year"},
            ],
        },
    ],
}  # fmt: skip


def written(document: Any) -> bytes:
    """A document as a file, a thing on each line."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")


def small(**changes: Any) -> dict[str, Any]:
    """The small registry's document, to be changed."""
    return {**deepcopy(SMALL), **changes}


def problems(document: Any) -> list[str]:
    """What is said of a document, without the file's name and the lines."""
    return [problem.split(": ", 1)[1] for problem in told(written(document))]


def told(data: bytes) -> tuple[str, ...]:
    """The problems of a file; none of one that is right."""
    try:
        Registry.parse(data)
    except InvalidCubes as error:
        return error.problems
    return ()


# ── Random ones ──────────────────────────────────────────────────────────────────────────────

_TITLES = st.text(st.characters(exclude_categories=("C", "Zl", "Zp", "Zs")), min_size=1, max_size=9)


@st.composite
def dimensions(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A hierarchy of up to three steps, every coarser code with at least one finer."""
    sizes = sorted(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)), reverse=True)
    steps = []
    for place, size in enumerate(sizes):
        codes = [{"code": f"c{place}-{n}", "title": draw(_TITLES)} for n in range(size)]
        if place + 1 < len(sizes):
            above = sizes[place + 1]
            rest = [draw(st.integers(0, above - 1)) for _ in range(size - above)]
            parents = draw(st.permutations([*range(above), *rest]))
            for code, parent in zip(codes, parents, strict=True):
                code["parent"] = f"c{place + 1}-{parent}"
        steps.append({"step": f"step-{number}-{place}", "title": draw(_TITLES), "codes": codes})
    return {"id": f"dimension-{number}", "title": draw(_TITLES), "steps": steps}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A registry with one cube over up to three dimensions and some of the levels it could have."""
    found = [draw(dimensions(n)) for n in range(draw(st.integers(0, 3)))]
    choices = [[None, *(step["step"] for step in row["steps"])] for row in found]
    wanted = st.tuples(st.sampled_from(list(TimeStep)), *(st.sampled_from(c) for c in choices))
    tuples = draw(st.lists(wanted, max_size=4))
    for place, row in enumerate(found):  # every dimension is counted by
        only = [row["steps"][0]["step"] if n == place else None for n in range(len(found))]
        tuples.append((TimeStep.MONTH, *only))
    names = [",".join(filter(None, parts)) for parts in tuples]
    levels = [{"level": n, "rolls_up_to": "year"} for n in dict.fromkeys(names) if n != "year"]
    cube = {**deepcopy(SMALL["cubes"][0]), "dimensions": [row["id"] for row in found]}
    cube["levels"] = [*levels, {"level": "year"}]
    return {"schema": 1, "version": 1, "dimensions": found, "cubes": [cube]}


def registries() -> st.SearchStrategy[Registry]:
    """The same, read."""
    return documents().map(lambda document: Registry.parse(written(document)))
