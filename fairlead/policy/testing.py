"""Whether a draft decides as its tables expect, on both engines, and how much of it was looked at.

The tables run on the shipped engine. Where OPA is there, every input they led to is decided by OPA
too and compared, and the tests beside the rules run with their coverage. The report names the
digest of everything that decided, so that a release can say which tests it passed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fairlead.policy.compiler import Opa
from fairlead.policy.compiling import identified
from fairlead.policy.draft import IDENTITY, Draft
from fairlead.policy.engine import PolicyEngine
from fairlead.policy.figures.sides import figures_of
from fairlead.policy.points import Layer, PolicyPoints
from fairlead.policy.tables import Result, check_row, read_tables

REPORT = "reports/tests.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What the tables, the other engine and the rules' own tests said."""

    __test__ = False

    results: tuple[Result, ...]
    differing: tuple[str, ...]
    rules: Mapping[str, Any] | None
    exercised: frozenset[str]
    untested: tuple[str, ...]
    inputs: Mapping[str, str]

    @property
    def failed(self) -> list[Result]:
        """Rows that were decided otherwise than expected."""
        return [result for result in self.results if result.wrong]

    @property
    def ok(self) -> bool:
        """Whether there were rows and all of it is as expected."""
        rules = self.rules is None or bool(self.rules["ok"])
        return bool(self.results) and not self.failed and not self.differing and rules

    def report(self) -> dict[str, Any]:
        """What a release keeps: counts and digests, the same for the same files."""
        total = len(self.exercised) + len(self.untested)
        text = json.dumps(dict(self.inputs), sort_keys=True)
        return {
            "schema": 1,
            "ok": self.ok,
            "engines": ["wasm"] if self.rules is None else ["wasm", "opa"],
            "tables": {"rows": len(self.results), "failed": len(self.failed)},
            "engines_differ": list(self.differing),
            "rules": None if self.rules is None else dict(self.rules),
            "agreements": {
                "exercised": sorted(self.exercised),
                "untested": list(self.untested),
                "coverage": round(100 * len(self.exercised) / total, 1) if total else 0.0,
            },
            "inputs": dict(self.inputs),
            "digest": hashlib.sha256(text.encode()).hexdigest(),
        }


class _Recording:
    """An engine that keeps what it was asked and what it said."""

    def __init__(self, inner: PolicyEngine) -> None:
        self.name = getattr(inner, "name", "wasm")
        self.asked: dict[bytes, tuple[str, Mapping[str, object], bytes]] = {}
        self._inner = inner

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        octets = self._inner.evaluate(point, document)
        self.asked[orjson.dumps([point, document])] = (point, document, octets)
        return octets

    def close(self) -> None:
        """The engine inside is the draft's."""


def run_tests(draft: Draft, opa: Opa | None) -> TestRun:
    """Run every table, and where OPA is there all that needs it.

    :raises Misconfigured: the draft or a table cannot be read.
    """
    rows = read_tables(draft.tests)
    engine = _Recording(draft.engine)
    points = PolicyPoints([Layer(engine, IDENTITY)], 1)
    results = tuple(check_row(points, draft.policy, row) for row in rows)
    verdicts = [result.verdict for result in results if result.verdict is not None]
    used = frozenset(rule for verdict in verdicts for rule in verdict.decision.rules)
    return TestRun(
        results=results,
        differing=() if opa is None else tuple(_differing(draft, opa, list(engine.asked.values()))),
        rules=None if opa is None else opa.test({**draft.sources, **draft.rule_tests}),
        exercised=used,
        untested=tuple(sorted({*draft.policy["agreements"], *figures_of(draft.policy)} - used)),
        inputs=draft.inputs(),
    )


def _differing(
    draft: Draft, opa: Opa, asked: Sequence[tuple[str, Mapping[str, object], bytes]]
) -> list[str]:
    """The points over whose inputs the two engines differ, with how often."""
    if not draft.sources:
        return []
    data = identified(draft.compiled, IDENTITY)
    found = opa.decide(draft.sources, data, [(point, document) for point, document, _ in asked])
    differing: dict[str, int] = {}
    for (point, _, octets), other in zip(asked, found, strict=True):
        if _ordered(orjson.loads(octets)) != _ordered(other):
            differing[point] = differing.get(point, 0) + 1
    return [f"{point}: {count} of its inputs" for point, count in differing.items()]


def _ordered(value: Any) -> Any:
    """The same document with lists that stand for sets in order."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        return sorted(items) if all(isinstance(item, str) for item in items) else items
    return value
