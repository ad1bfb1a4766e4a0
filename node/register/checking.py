"""Whether an entry can be counted: its codes are the registry's, and every cube finds its cell."""

from __future__ import annotations

from collections.abc import Mapping

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
LISTED = 40


def check(entry: Entry, registry: Registry) -> None:
    """Refuse now what no cube could count later.

    :raises InvalidInput: REGISTER_CODE: the registry has no such code. REGISTER_INCOMPLETE: a cube
        cannot count it without what is missing.
    """
    dimensions = {dimension.id: dimension for dimension in registry.dimensions}
    for name, code in entry.codes.items():
        if name not in dimensions or not _has(dimensions[name], code):
            raise _unknown(name, dimensions.get(name))
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


def _unknown(name: str, dimension: Dimension | None) -> InvalidInput:
    option = OPTIONS.get(name, name)
    codes = [code.code for code in dimension.steps[0].codes] if dimension else []
    listed = "  ".join([*codes[:LISTED], *(["…"] if len(codes) > LISTED else [])])
    return InvalidInput(
        "the registry of cubes in force has no such code",
        reasons=("REGISTER_CODE",),
        remedy=f"for {option} name one of: {listed}" if codes else f"leave {option} out",
    )


def first_code(registry: Registry, dimension: str) -> str:
    """The first code of a dimension's finest step; empty where the registry has none."""
    for found in registry.dimensions:
        if found.id == dimension:
            return found.steps[0].codes[0].code
    return ""
