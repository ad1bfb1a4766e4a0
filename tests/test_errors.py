"""The error tree: who must act, one status each, fixed words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grpc
import pytest

from fairlead import errors

ROOT = Path(__file__).resolve().parent.parent


def tree(
    kind: type[errors.FairleadError] = errors.FairleadError,
) -> list[type[errors.FairleadError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in tree(sub))]


DRAWN = [kind for kind in tree() if kind.__module__ == "fairlead.errors"]


@pytest.mark.parametrize("kind", DRAWN)
def test_every_error_stands_in_the_drawing(kind: type[errors.FairleadError]) -> None:
    """The docstring draws the whole tree, and a drawn status is the class's own."""
    drawing = errors.__doc__ or ""
    line = next(
        (row for row in drawing.splitlines() if re.search(rf"\b{kind.__name__}\b", row)), ""
    )
    assert line
    statuses = {status.name for status in grpc.StatusCode}
    drawn = statuses & set(line.split())
    assert drawn <= {kind.status}


def test_defaults_and_diagnostics() -> None:
    """Without reasons an error has its class's code; diagnostics end with the next command."""
    plain = errors.InvalidInput("text")
    assert (plain.code, plain.reasons) == ("INVALID_INPUT", ("INVALID_INPUT",))
    assert plain.diagnostics() == "text [INVALID_INPUT]"
    full = errors.Refused("text", reasons=("A", "B"), remedy="fairlead partners")
    assert full.code == "A"
    assert full.diagnostics() == "text [A, B]\nnext: fairlead partners"
    assert str(full) == "text"


def test_exit_codes_and_statuses_agree_with_who_must_act() -> None:
    """Refused is 5, a failed check 8, unreachable 7; only a defect is INTERNAL."""
    assert errors.Refused.exit_code == 5
    assert {k.exit_code for k in tree(errors.PeerError)} == {8}
    assert errors.Unreachable.exit_code == errors.Overloaded.exit_code == 7
    concrete = [kind for kind in DRAWN if "default_code" in vars(kind)]
    for kind in concrete:
        if kind is not errors.FairleadError:
            assert kind.status != "INTERNAL", kind


def calls() -> list[tuple[str, ast.Call]]:
    """Every construction of one of our errors in the product."""
    names = {kind.__name__ for kind in tree() if "__init__" not in vars(kind)}
    names |= {"FairleadError"}
    found = []
    for folder in ("fairlead", "gateway", "node"):
        for path in (ROOT / folder).rglob("*.py"):
            if "v1" in path.parts:
                continue
            for item in ast.walk(ast.parse(path.read_text())):
                if isinstance(item, ast.Call):
                    name = getattr(item.func, "id", getattr(item.func, "attr", ""))
                    if name in names:
                        found.append((f"{path.relative_to(ROOT)}:{item.lineno}", item))
    return found


def test_every_message_is_fixed_text() -> None:
    """No error's message is put together from anything: it cannot carry a term."""
    # The one exception tells the auditor who runs it at which leaf a log breaks.
    for place, call in calls():
        if not call.args or place.startswith("fairlead/auditlog/verification.py"):
            continue
        words = call.args[0]
        fixed = isinstance(words, ast.Constant | ast.Subscript | ast.Name | ast.Attribute)
        assert fixed, place
        assert not isinstance(words, ast.JoinedStr | ast.BinOp), place


def test_every_reason_is_a_code() -> None:
    """Reasons written out are upper-case codes, none of them empty."""
    code = re.compile(r"[A-Z][A-Z0-9_]*\Z")
    for place, call in calls():
        for keyword in call.keywords:
            if keyword.arg == "reasons" and isinstance(keyword.value, ast.Tuple):
                for item in keyword.value.elts:
                    if isinstance(item, ast.Constant):
                        assert code.match(str(item.value)), place
