"""YAML as officers write it, with the line of everything in it.

Stricter than YAML: no alias, no key written twice, and only ``true`` and ``false`` are booleans,
so that Norway (``NO``) stays a country.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_STUMBLES = (
    *(yaml.YAMLError, ValueError, RecursionError),
    *(LookupError, ArithmeticError, AttributeError, TypeError),
)
"""What PyYAML raises for octets that are none; some tags (``!!bool perhaps``) meet its faults."""

Path = tuple[str | int, ...]
"""Where something stands in a document: keys and places, from the outside in."""


class Unreadable(Exception):
    """The octets are no such YAML; ``line`` counts from 1."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a file says, and on which line each part of it begins."""

    content: Any
    lines: Mapping[Path, int]


def load(data: bytes) -> Marked:
    """:raises Unreadable: not YAML, or YAML with what is not allowed here."""
    try:
        loader = _Loader(data)
        node = loader.get_single_node()
        if node is None:
            return Marked(content=None, lines={(): 1})
        lines = dict(_lines(node, ()))
        return Marked(content=loader.construct_document(node), lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(1 if mark is None else mark.line + 1) from None
    except _STUMBLES:
        raise Unreadable(1) from None


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of the innermost part of ``path`` that is there."""
    return next(lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines)


def spelt(path: Sequence[object]) -> str:
    """A path as it is said: ``agreements[0].purposes``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top)"


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield from _lines(value, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*path, place))


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str) or name in seen:
                raise yaml.MarkedYAMLError(problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|false)$"), list("tf"))
