"""Whether an entry can be counted: its codes are the registry's, and every cube finds its cell."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from fairlead.cubes.dimension import Dimension
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from node.figures.adding import own_part
from node.figures.port import FiguresUnusable
from node.figures.tally import Places
from node.register.entry import Entry
from node.register.facts import RULES, facts

OPTIONS: Mapping[str, str] = {
    "place": "--place",
    "report-kind": "--kind",
    "event": "--event",
    "modus": "--modus",
    "shore": "--shore",
    "staff": "--staff",
    "commodity": "--commodity",
    "origin": "--origin",
    "outcome": "--outcome",
    "exchange": "--exchange",
    "weight": "--kg",
}
"""Dimension → the option that states it."""
LISTED, MANY = 40, 8
"""Codes of a dimension that are listed; of those that are spelled almost so."""
CLOSE = 0.75
"""How alike two spellings are, from 0 to 1."""


def check(entry: Entry, registry: Registry) -> None:
    """Refuse now what no cube could count later.

    :raises InvalidInput: REGISTER_CODE: the registry has no such code. REGISTER_INCOMPLETE: a cube
        cannot count it without what is missing.
    """
    dimensions = {dimension.id: dimension for dimension in registry.dimensions}
    for name, code in entry.codes.items():
        if name not in dimensions or not _has(dimensions[name], code):
            raise _unknown(name, code, dimensions.get(name))
    wrong = sorted({name for name, _ in _wrong(entry, registry)})
    if wrong:
        options = " ".join(OPTIONS.get(name, name) for name in wrong)
        raise InvalidInput(
            "a cube of the registry cannot count this without more, or finer, codes",
            reasons=("REGISTER_INCOMPLETE",),
            remedy=f"state these as well, as finely as docs/statistics.md has them: {options}",
        )


def _wrong(entry: Entry, registry: Registry) -> list[tuple[str, str]]:
    found = []
    for cube in registry.cubes:
        if own_part(cube) not in RULES:
            continue
        places = Places(cube)
        try:
            for fact in facts(cube, [(0, entry)], {}):
                found += places.wrong(fact.codes)
        except FiguresUnusable:  # a cube that this program cannot count at all
            continue
    return found


def _has(dimension: Dimension, code: str) -> bool:
    return any(code == found.code for step in dimension.steps for found in step.codes)


def _unknown(name: str, typed: str, dimension: Dimension | None) -> InvalidInput:
    option = OPTIONS.get(name, name)
    remedy = f"leave {option} out"
    if dimension is not None:
        codes = [code.code for code in dimension.steps[0].codes]
        rest = ["…, all of policies/cubes/registry.yaml"] if len(codes) > LISTED else []
        listed = resembling(dimension, typed) or [*codes[:LISTED], *rest]
        remedy = f"for {option} name one of: {'  '.join(listed)}"
    return InvalidInput(
        "the registry of cubes in force has no such code",
        reasons=("REGISTER_CODE",),
        remedy=remedy,
    )


def resembling(dimension: Dimension, typed: str) -> list[str]:
    """The codes, of any step, that are spelled or named almost so; the coarsest first, and what a
    title names with it in brackets."""
    sought = typed.casefold()
    known = {code.code: code.title for step in reversed(dimension.steps) for code in step.codes}
    spelled = get_close_matches(sought, [code.casefold() for code in known], MANY, CLOSE)
    return [
        f"{code} ({title})"
        for code, title in known.items()
        if code.casefold() in spelled or (len(sought) > 2 and sought in title.casefold())
    ][:MANY]


def first_code(registry: Registry, dimension: str) -> str:
    """The first code of a dimension's finest step; empty where the registry has none."""
    for found in registry.dimensions:
        if found.id == dimension:
            return found.steps[0].codes[0].code
    return ""
