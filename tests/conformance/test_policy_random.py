"""Random inputs: both engines give the same, or both deny.

Half are questions whose every word is drawn anew, from the registry or from outside it; the
others are such questions with something deleted, repeated, or replaced by any JSON at all. The
draw is the same in every run, so a failure is found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import PolicyUnavailable
from fairlead.policy.engine import PolicyEngine
from tests.holes import decided
from tests.policy_engines import Slate, opa_slate, wasm_slate
from tests.policy_inputs import ANYTHING, DATA, damaged, questions

# isort: split
from test_opa import ordered
from vector_facts import MAKERS, data_of

POINTS = sorted(MAKERS)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Slate, Slate]]:
    """Both engines over the demo's agreements."""
    with wasm_slate() as wasm, opa_slate() as opa:
        for slate in (wasm, opa):
            slate.load(data_of(DATA))
        yield wasm, opa


# ── What must hold ───────────────────────────────────────────────────────────────────────────

SETTINGS = settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


class _Said:
    """An engine that says what another said, or nothing."""

    def __init__(self, octets: bytes | None) -> None:
        self._octets = octets

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: it said nothing."""
        if self._octets is None:
            raise PolicyUnavailable("nothing")
        return self._octets


def said(engine: PolicyEngine, point: str, document: Mapping[str, object]) -> bytes | None:
    """An engine's octets; None when it has none."""
    try:
        return engine.evaluate(point, document)
    except PolicyUnavailable:
        return None


def permits(octets: bytes | None, point: str, document: Mapping[str, Any]) -> bool:
    """Whether the enforcement point would permit anything on these octets."""
    asked = {"candidates": document.get("candidates"), "records": document.get("records")}
    names = {k: v if isinstance(v, dict | list) else {} for k, v in asked.items()}
    found = decided([_Said(octets)], point, document, names)
    return any(decision.permit for decision in found.values())


def agree(both: tuple[Slate, Slate], point: str, document: dict[str, Any]) -> None:
    """Both engines say the same about a document, or neither permits anything."""
    ours, theirs = (said(slate, point, document) for slate in both)
    if ours is not None and theirs is not None:
        one, other = (ordered(orjson.loads(octets)) for octets in (ours, theirs))
        if one == other:
            return
    assert not permits(ours, point, document)
    assert not permits(theirs, point, document)


@pytest.mark.parametrize("point", POINTS)
def test_both_engines_agree_on_any_question(both: tuple[Slate, Slate], point: str) -> None:
    """Whatever is asked in good form, the two engines' outputs are the same."""
    permitted = []

    @SETTINGS
    @given(questions(point))
    def check(document: dict[str, Any]) -> None:
        ours, theirs = (said(slate, point, document) for slate in both)
        assert ours is not None
        assert theirs is not None
        assert ordered(orjson.loads(ours)) == ordered(orjson.loads(theirs))
        permitted.append(permits(ours, point, document))

    check()
    assert permitted.count(True) >= 5
    assert permitted.count(False) >= 5


@pytest.mark.parametrize("point", POINTS)
def test_both_engines_agree_or_deny_what_is_no_question(
    both: tuple[Slate, Slate], point: str
) -> None:
    """Whatever JSON stands in the place of a question, what one engine permits so does the other,
    in the same words."""

    @SETTINGS
    @given(damaged(point))
    def check(document: dict[str, Any]) -> None:
        agree(both, point, document)

    check()


@pytest.mark.parametrize("point", POINTS)
def test_both_engines_agree_on_any_json(both: tuple[Slate, Slate], point: str) -> None:
    """An input that is no object of ours at all is permitted by neither."""

    @SETTINGS
    @given(st.dictionaries(st.text(max_size=6), ANYTHING, max_size=4))
    def check(document: dict[str, Any]) -> None:
        for slate in both:
            assert not permits(said(slate, point, document), point, document)
        agree(both, point, document)

    check()
