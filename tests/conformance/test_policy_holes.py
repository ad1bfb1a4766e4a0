"""Hole-fuzz: whatever is missing from an input or from the data, both engines deny.

From a question that every point permits, each path of the input and each path of the data, leaf
or inner node, is deleted in turn. Without any path of the data nothing is permitted at all. What
of an input need not deny stands in a table, each row with its argument, and even there nothing is
permitted that was not permitted before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fairlead.policy.decision import Decision
from tests.holes import Argued, decided, no_wider, paths, without
from tests.policy_engines import Slate, opa_slate, wasm_slate

# isort: split
from vector_facts import MAKERS, data_of, record

DATA = "baseline"
INPUTS = (
    Argued(
        pattern="asker.schemes.*", why="what the asker answers for does not matter when it asks",
    ),
    Argued(
        pattern="candidates.*", comes="narrower", why="it is missed alone; the others are whole",
    ),
    Argued(
        pattern="candidates.*.schemes.*", comes="narrower", why="it answers for one scheme less",
    ),
    Argued(pattern="facets.*", comes="narrower", why="one facet less was granted"),
    Argued(pattern="grant.facets.*", comes="narrower", why="one facet less was granted"),
    Argued(pattern="records.*.fields.*", comes="narrower", why="the record has one field less"),
)  # fmt: skip
"""Of an input: elements of lists, without which it is another, smaller question."""


@pytest.fixture(scope="module", params=["wasm", "opa"])
def slate(request: pytest.FixtureRequest) -> Iterator[Slate]:
    """Each engine in turn."""
    with wasm_slate() if request.param == "wasm" else opa_slate() as engine:
        yield engine


def good(point: str) -> dict[str, Any]:
    """A question that the point permits; of its record the registry knows every field."""
    records = [record(fields=("plate", "driver_name"))]
    return MAKERS["release"](records=records) if point == "release" else MAKERS[point]()


def permitted(slate: Slate, point: str) -> dict[str, Decision]:
    """The good question's decisions, all of them permits."""
    document = good(point)
    found = decided([slate], point, document, document)
    assert found
    assert any(decision.permit for decision in found.values())
    return found


def trouble(
    after: Mapping[str, Decision], before: Mapping[str, Decision], argued: Argued | None
) -> str:
    """What is wrong with what came of a hole; nothing when it denied, or as was argued."""
    if not any(decision.permit for decision in after.values()):
        return ""
    if argued is None:
        return "permits"
    if not all(no_wider(after[name], before[name]) for name in before):
        return "permits more"
    same = all(no_wider(before[name], after[name]) for name in before)
    return "" if same or argued.comes == "narrower" else "permits less"


@pytest.mark.parametrize("point", sorted(MAKERS))
def test_an_input_with_a_hole_is_denied(slate: Slate, point: str) -> None:
    """Every path of the input is needed; a candidate that is missing is missed alone."""
    slate.load(data_of(DATA))
    before, document, wrong = permitted(slate, point), good(point), []
    holes = list(paths(document))
    assert len(holes) > 15
    for path in holes:
        after = decided([slate], point, without(document, path), document)
        row = next((row for row in INPUTS if row.fits(path)), None)
        told = trouble(after, before, row)
        wrong += [f"{path}: {told}"] if told else []
        if path[0] == "candidates" and len(path) == 2 and after[path[1]].permit:
            wrong.append(f"{path}: permitted though not asked")
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_data_with_a_hole_denies(slate: Slate) -> None:
    """Every path of the data is needed at every point, whether a question rests on it or not."""
    data = data_of(DATA)
    slate.load(data)
    asked = {point: good(point) for point in MAKERS}
    for point in MAKERS:
        permitted(slate, point)
    holes, wrong = list(paths(data)), []
    assert len(holes) > 1000
    for path in holes:
        slate.load(without(data, path))
        for point, document in asked.items():
            after = decided([slate], point, document, document)
            if any(decision.permit for decision in after.values()):
                wrong.append(f"{point}: {'.'.join(map(str, path))}")
    assert wrong == []
