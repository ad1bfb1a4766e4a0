"""Everything that can be said of a draft without asking it a question: form, words, rules, build.

What needs OPA and cannot run is told as not checked, never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fairlead.cubes.registry import InvalidCubes
from fairlead.errors import Misconfigured
from fairlead.policy.building import is_stale, revision
from fairlead.policy.compiler import VERSION, InvalidRules, Opa
from fairlead.policy.cubes import CUBES, check_cubes
from fairlead.policy.documents import InvalidAgreements
from fairlead.policy.draft import Draft
from fairlead.policy.input_schemas import input_schemas
from fairlead.policy.lints import lint
from fairlead.policy.tables import InvalidTables, read_tables

OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a draft: how it ended, and every problem with its place."""

    name: str
    state: str
    problems: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {"check": self.name, "state": self.state, "problems": list(self.problems)}


def check_draft(draft: Draft, opa: Opa | None) -> list[Check]:
    """Every check; those of the rules need OPA and the sources."""
    return [
        _check("agreements", lambda: _agreements(draft)),
        _check("tables", lambda: _tables(draft)),
        _check("cubes", lambda: _cubes(draft)),
        *_rules(draft, opa),
        _check("module", lambda: _module(draft, opa)),
    ]


def _rules(draft: Draft, opa: Opa | None) -> Iterator[Check]:
    why = "" if draft.sources else "the folder has no rules"
    if opa is None:
        why = f"OPA {VERSION} is not on PATH (in a checkout: make tools)"
    if opa is None or why:
        for name in ("rules", "lints"):
            yield Check(name=name, state=NOT_CHECKED, problems=(why,))
        return
    yield _check("rules", lambda: opa.check(draft.sources, input_schemas()))
    yield _check("lints", lambda: [str(found) for found in lint(opa.parse(draft.sources))])


def _check(name: str, find: Callable[[], list[str]]) -> Check:
    problems = find()
    return Check(name=name, state=FAILED if problems else OK, problems=tuple(problems))


def _agreements(draft: Draft) -> list[str]:
    try:
        _ = draft.compiled
    except InvalidAgreements as error:
        return list(error.problems)
    return []


def _tables(draft: Draft) -> list[str]:
    try:
        read_tables(draft.tests)
    except InvalidTables as error:
        return list(error.problems)
    return []


def _cubes(draft: Draft) -> list[str]:
    try:
        check_cubes({} if draft.cubes is None else {CUBES: draft.cubes}, None)
    except InvalidCubes as error:
        return list(error.problems)
    return []


def _module(draft: Draft, opa: Opa | None) -> list[str]:
    """``policy.wasm`` is what the rules give: built again where OPA is there, else by its list."""
    if draft.wasm is None:
        return ["policy.wasm: is missing (next: fairlead policy build DIR)"]
    stale = ["policy.wasm: is not what the rules give (next: fairlead policy build DIR)"]
    if opa is None or not draft.sources:
        return stale if is_stale(draft) else []
    try:
        same = opa.build(draft.sources, revision(draft.sources)) == draft.wasm
    except InvalidRules:
        return stale
    except Misconfigured as error:
        return [error.message]
    return [] if same else stale
