"""What is wrong with rules although they compile: our own checks, over OPA's syntax tree.

A permission must be concluded from evidence that is there, never from the absence of an objection:
what is undefined, empty or of another type must refuse. Each check has a code, and its sentence in
docs/policy-tools.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.policy.capabilities import forbidden
from fairlead.policy.compiler import POINTS

Node = Any
CODES: Mapping[str, str] = {
    "ABSENCE_AS_EVIDENCE": "concludes a truth from something being empty: an objection that could "
    "not be computed is missing too",
    "NESTED_NOT": "negates a reference that may be undefined, and `not undefined` is true",
    "MIXED_ORDER": "orders what the input says: null, numbers and texts compare across types",
    "EMPTY_ORDER": "takes the least or the greatest of what may be empty, which is undefined: "
    "guard it with count(…) > 0 in the same rule",
    "WALL_CLOCK": "reads a clock: time comes from the input alone, or replays decide otherwise",
    "OUTSIDE_WORLD": "asks or tells the world outside of the input",
    "DEFAULT_TRUE": "is true when nothing is known",
    "ENTRYPOINT": "a point's package has the rule `decision` with METADATA entrypoint, "
    "no other has",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place where a check objects."""

    file: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}: {CODES[self.code]}"


def lint(trees: Mapping[str, Node]) -> list[Finding]:
    """Every objection to some files, by place. Tests (``*_test.rego``) are left alone."""
    found: set[Finding] = set()
    for name, tree in trees.items():
        if name.endswith("_test.rego"):
            continue
        found |= {Finding(name, line, code) for code, line in _file(tree)}
    return sorted(found)


def _file(tree: Node) -> Iterator[tuple[str, int]]:
    yield from _entrypoint(tree)
    for rule in tree.get("rules") or []:
        yield from _rule(rule)
        yield from _calls(rule)


def _rule(rule: Node) -> Iterator[tuple[str, int]]:
    head, body = rule["head"], rule.get("body") or []
    true = (head.get("value") or {"value": True}).get("value") is True
    if rule.get("default") and true:
        yield "DEFAULT_TRUE", _line(rule)
    for expression in _expressions(body):
        if expression.get("negated") and _dotted(expression["terms"]):
            yield "NESTED_NOT", _line(expression)
        if true and _concludes_absence(expression):
            yield "ABSENCE_AS_EVIDENCE", _line(expression)
    guarded = set().union(*(_counted(expression) for expression in _expressions(body)))
    for call, operator, arguments in _called({"head": head, "body": body}):
        if operator in {"min", "max", "sort"}:
            if any(_from_input(argument) for argument in arguments):
                yield "MIXED_ORDER", _line(call)
            if operator != "sort" and not _never_empty(arguments[0], guarded):
                yield "EMPTY_ORDER", _line(call)
    if rule.get("else"):
        yield from _rule(rule["else"])


def _calls(rule: Node) -> Iterator[tuple[str, int]]:
    for call, operator, _ in _called(rule):
        if operator == "time.now_ns":
            yield "WALL_CLOCK", _line(call)
        elif forbidden(operator):
            yield "OUTSIDE_WORLD", _line(call)


def _entrypoint(tree: Node) -> Iterator[tuple[str, int]]:
    path = [str(term["value"]) for term in tree["package"]["path"][1:]]
    point = len(path) == 2 and path[0] == "fairlead" and path[1] in POINTS
    marked = [
        rule["head"]["name"]
        for rule in tree.get("rules") or []
        if any(a.get("entrypoint") for a in rule.get("annotations") or [])
    ]
    if marked != (["decision"] if point else []):
        yield "ENTRYPOINT", _line(tree["package"])


# ── Absence ──────────────────────────────────────────────────────────────────────────────────

_SWAPPED = {"lt": "gt", "gt": "lt", "lte": "gte", "gte": "lte"}
_NONE = {("equal", 0), ("eq", 0), ("lte", 0), ("lt", 1)}
"""Comparisons of a count that hold of nothing alone."""
_SOME = {("gt", 0), ("gte", 1), ("neq", 0)}


def _concludes_absence(expression: Node) -> bool:
    negated = bool(expression.get("negated"))
    for operator, left, right in _comparisons(expression["terms"]):
        counted = _count_of(left)
        computed = counted is not None and not _is_input(counted)
        if computed and (operator, _number(right)) in (_SOME if negated else _NONE):
            return True
        empty = right.get("type") in {"set", "array", "object"} and not right.get("value")
        if empty and operator == ("neq" if negated else "equal") and not _is_input(left):
            return True
    return negated and _any_of(expression["terms"])


def _comparisons(terms: Node) -> Iterator[tuple[str, Node, Node]]:
    """A comparison as it stands, and with its sides changed over."""
    if isinstance(terms, list) and len(terms) == 3:
        operator, left, right = _operator(terms[0]), terms[1], terms[2]
    elif isinstance(terms, dict) and terms.get("type") == "call" and len(terms["value"]) == 3:
        head, left, right = terms["value"]
        operator = _operator(head)
    else:
        return
    yield operator, left, right
    yield _SWAPPED.get(operator, operator), right, left


def _number(term: Node) -> int | None:
    return term["value"] if term.get("type") == "number" else None


def _count_of(term: Node) -> Node | None:
    if isinstance(term, dict) and term.get("type") == "call":
        head, *arguments = term["value"]
        if _operator(head) == "count":
            return arguments[0]
    return None


def _any_of(terms: Node) -> bool:
    """``x[_]``: any member of something that rules compute."""
    if not isinstance(terms, dict) or terms.get("type") != "ref":
        return False
    inner = terms["value"][1:]
    return not _is_input(terms) and any(term["type"] == "var" for term in inner)


def _dotted(terms: Node) -> bool:
    """Whether a reference of more than one part is in it, other than the name of a function."""
    return any(len(ref["value"]) > 1 for ref in _references(terms))


# ── Order ────────────────────────────────────────────────────────────────────────────────────


def _counted(expression: Node) -> set[str]:
    """Variables of which the expression says that there is at least one."""
    found: set[str] = set()
    if not expression.get("negated"):
        for operator, left, right in _comparisons(expression["terms"]):
            counted = _count_of(left)
            if counted is not None and (operator, _number(right)) in _SOME:
                found |= _variables(counted)
    return found


def _never_empty(argument: Node, guarded: set[str]) -> bool:
    if argument.get("type") in {"array", "set"}:
        return bool(argument["value"])
    return bool(_variables(argument) & guarded)


def _from_input(argument: Node) -> bool:
    return any(_is_input(ref) for ref in _references(argument))


def _is_input(term: Node) -> bool:
    return (
        isinstance(term, dict)
        and term.get("type") == "ref"
        and term["value"][0]["value"] == "input"
    )


# ── The tree ─────────────────────────────────────────────────────────────────────────────────


def _expressions(body: Sequence[Node]) -> Iterator[Node]:
    """The expressions of a body, and of every body in it."""
    for expression in body:
        yield expression
        for node in _nodes(expression["terms"]):
            if isinstance(node.get("body"), list):
                yield from _expressions(node["body"])


def _nodes(node: Node) -> Iterator[dict[str, Any]]:
    """Every object of a tree but those in bodies of its own, which are walked as bodies."""
    if isinstance(node, list):
        for item in node:
            yield from _nodes(item)
    elif isinstance(node, dict):
        yield node
        for key, item in node.items():
            if key not in {"location", "body"}:
                yield from _nodes(item)


def _called(node: Node) -> Iterator[tuple[Node, str, list[Node]]]:
    """Every call: where, of what, with which arguments."""
    if isinstance(node, list):
        for item in node:
            yield from _called(item)
        return
    if not isinstance(node, dict):
        return
    terms = node.get("terms")
    if node.get("type") == "call":
        head, *arguments = node["value"]
        yield node, _operator(head), arguments
    elif isinstance(terms, list) and terms:
        yield node, _operator(terms[0]), terms[1:]
    for key, item in node.items():
        if key not in {"location", "annotations", "else"}:
            yield from _called(item)
    if "else" in node:
        yield from _called(node["else"])


def _references(node: Node) -> Iterator[Node]:
    """Every reference that is a value: not the name of a function, nor an index in another."""
    if isinstance(node, list):
        items = node[1:] if node and _operator(node[0]) else node
        for item in items:
            yield from _references(item)
    elif isinstance(node, dict):
        if node.get("type") == "ref":
            yield node
        elif node.get("type") == "call":
            yield from _references(node["value"][1:])
        else:
            for key, item in node.items():
                if key != "location":
                    yield from _references(item)


def _operator(term: Node) -> str:
    """The name of a function, as ``time.now_ns``; empty where the term is none."""
    if not isinstance(term, dict) or term.get("type") != "ref":
        return ""
    return ".".join(str(part["value"]) for part in term["value"])


def _variables(node: Node) -> set[str]:
    if isinstance(node, list):
        return set().union(*(_variables(item) for item in node))
    if not isinstance(node, dict):
        return set()
    own = {str(node["value"])} if node.get("type") == "var" else set()
    return own.union(*(_variables(v) for k, v in node.items() if k != "location"))


def _line(node: Node) -> int:
    return int(node["location"]["row"])
