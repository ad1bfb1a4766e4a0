"""Every reason code that the product's source states, with where: read from the syntax alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_COMPOUND = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\Z")
"""Of two words or more: a code, wherever it stands."""
_SINGLE = re.compile(r"[A-Z][A-Z0-9]{2,}\Z")
"""Of one word: a code where codes stand (:func:`_places`)."""
_KEYWORDS = {"reasons", "reason", "code", "codes"}
_NAMES = {"reason", "default_code", "code", "codes", "CODE"}
_RAISES = re.compile(
    r"(_refus|_unknown|_find|_check|_put_back|_gone|_wrong|_error|LegFailed|diagnosis)"
)
_CLASSES = {"Reason", "Incident", "Sign"}
_TABLES = re.compile(r"_?(MESSAGES|REMEDIES|PASSED_ON|DELIVERY_PASSED_ON|[A-Z]+_OVER|SUSPENDED)\Z")


@lru_cache
def source_codes() -> dict[str, set[str]]:
    """Code → the files that state it."""
    found: dict[str, set[str]] = {}
    for package in ("fairlead", "gateway", "node"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("fairlead/v1/", "fairlead/reasons/")):
                continue
            for code in codes_of(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(code, set()).add(name)
    for path in sorted((ROOT / "policies").rglob("*.rego")):
        if not path.name.endswith("_test.rego"):
            for code in re.findall(r'"([A-Z][A-Z0-9_]{2,})"', path.read_text(encoding="utf-8")):
                found.setdefault(code, set()).add(path.relative_to(ROOT).as_posix())
    return found


def codes_of(tree: ast.AST) -> Iterator[str]:
    """The codes of one file."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Constant) and _is(item, _COMPOUND):
            yield str(item.value)
        for place in _places(item):
            for part in ast.walk(place):
                if isinstance(part, ast.Constant) and _is(part, _SINGLE):
                    yield str(part.value)


def _is(item: ast.Constant, pattern: re.Pattern[str]) -> bool:
    return isinstance(item.value, str) and pattern.match(item.value) is not None


def _places(item: ast.AST) -> Iterator[ast.AST]:
    """Where a code may stand: a keyword, a name or a table of codes, what makes an error, what a
    function gives back, a class that lists codes."""
    match item:
        case ast.keyword(arg=arg) if arg in _KEYWORDS:
            yield item.value
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if _RAISES.match(name):
            yield from item.args
        case ast.Assign(targets=targets, value=value):
            own = [getattr(target, "id", "") for target in targets]
            if any(_named(target) for target in targets) or getattr(value, "value", None) in own:
                yield value  # a name for codes, or a code by its own name
        case ast.AnnAssign(target=target, value=ast.expr() as value) if _named(target):
            yield value
        case ast.Return(value=ast.Constant() as value):
            yield value
        case ast.ClassDef(name=name) if name in _CLASSES:
            yield from item.body


def _named(target: ast.AST) -> bool:
    names = [getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(target)]
    return any(name in _NAMES or _TABLES.match(name) for name in names)
