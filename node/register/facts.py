"""How the cubes count the register: which entries, by which date, and how much each adds.

A measure has a meaning by its id and by what its cube is made of; places, kinds and whatever else
entries are counted by, and how these add up, are the registry's alone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from fairlead.cubes.cube import Cube, MadeOf, MeasureKind
from fairlead.cubes.dimension import Dimension
from fairlead.vocabulary import Event
from node.figures.adding import Made, own_part
from node.figures.port import FiguresUnusable
from node.figures.tally import Fact
from node.register.entry import Entry, Noun, seconds

KIND, EVENT, MODUS, OUTCOME, WEIGHT = "report-kind", "event", "modus", "outcome", "weight"
"""Dimensions that have a meaning here beside their codes."""
SEIZURE = "seizure"
"""The outcome that has a weight."""
_LOWER = re.compile(r"(below-|from-)?([0-9]{1,9})(?:-[0-9]{1,9})?\Z")

Counts = tuple[dt.date, float]
"""The date by which a record counts, and what it adds; of a median, the value."""
Rule = Callable[[Entry], Counts | None]


def _when(entry: Entry) -> dt.date:
    return entry.happened or entry.on


def _days(entry: Entry) -> Counts | None:
    return (entry.on, (entry.done - entry.on).days) if entry.done else None


def _waits(entry: Entry) -> bool:
    return entry.due or entry.done is not None


def _seizure(entry: Entry) -> bool:
    return entry.codes.get(OUTCOME) == SEIZURE


RULES: Mapping[Made, tuple[Noun, Mapping[str, Rule]]] = {
    frozenset({MadeOf.REPORTS}): (
        Noun.REPORT,
        {
            "reports": lambda e: (e.on, 1),
            "approaches": lambda e: (
                (_when(e), 1) if e.codes.get(EVENT) == Event.BRIBE_APPROACH else None
            ),
            "incidents": lambda e: (_when(e), 1) if MODUS in e.codes else None,
            "events": lambda e: (_when(e), 1) if EVENT in e.codes else None,
        },
    ),
    frozenset({MadeOf.REPORTS, MadeOf.FEEDBACK}): (
        Noun.REPORT,
        {
            "due": lambda e: (e.on, 1) if _waits(e) else None,
            "given": lambda e: (e.on, 1) if e.done else None,
            "days": _days,
        },
    ),
    frozenset({MadeOf.ENQUIRIES, MadeOf.OUTCOMES}): (
        Noun.ENQUIRY,
        {"enquiries": lambda e: (e.on, 1), "days": _days},
    ),
    frozenset({MadeOf.OUTCOMES}): (
        Noun.OUTCOME,
        {
            "seizures": lambda e: (e.on, 1) if _seizure(e) else None,
            "weight": lambda e: (e.on, e.kg or 0) if _seizure(e) else None,
        },
    ),
}
"""What the register can count: of what a cube is made, which entries, and each measure's rule."""


def known(cube: Cube) -> Mapping[str, Rule]:
    """The rules of a cube's measures.

    :raises FiguresUnusable: FIGURES_MEASURE: it has one without, and no mapped source has it.
    """
    _, rules = RULES[own_part(cube)]
    stated = [measure.id for measure in cube.measures if measure.kind is not MeasureKind.RATE]
    if MadeOf.SOURCE not in cube.made_of and (other := [n for n in stated if n not in rules]):
        raise FiguresUnusable(
            [f"{cube.id}: {name}: the register has no such figure" for name in other],
            reasons=("FIGURES_MEASURE",),
            remedy="install the newest version of this program, or map a source for the cube",
        )
    return {name: rules[name] for name in stated if name in rules}


def facts(
    cube: Cube, entries: Sequence[tuple[int, Entry]], came_of: Mapping[str, Sequence[str]]
) -> Iterator[Fact]:
    """The entries as a cube of :data:`RULES` counts them.

    :param entries: each with its row. :param came_of: an enquiry's id → its outcomes' codes.
    """
    noun, _ = RULES[own_part(cube)]
    rules = known(cube)
    dimensions = {dimension.id: dimension for dimension in cube.dimensions}
    for row, entry in entries:
        if entry.noun is not noun or entry.withdrawn:
            continue
        adds: dict[dt.date, dict[str, float]] = defaultdict(dict)
        for name, rule in rules.items():
            if (counts := rule(entry)) is not None:
                adds[counts[0]][name] = counts[1]
        codes = dict(entry.codes)
        if noun is Noun.ENQUIRY and OUTCOME in dimensions:
            codes[OUTCOME] = furthest(dimensions[OUTCOME], came_of.get(entry.id, ()))
        if entry.kg is not None and WEIGHT in dimensions:
            codes[WEIGHT] = band(dimensions[WEIGHT], entry.kg)
        for date, each in adds.items():
            yield Fact(row=row, at=seconds(date), codes=codes, adds=each)


def furthest(dimension: Dimension, codes: Sequence[str]) -> str:
    """The furthest of some outcomes: the one that stands last in the registry; without any, its
    first, which says that there is none yet. One that the registry has not is given back, to be
    found wrong."""
    order = {code.code: place for place, code in enumerate(dimension.steps[0].codes)}
    if not codes:
        return dimension.steps[0].codes[0].code
    unknown = [code for code in codes if code not in order]
    return unknown[0] if unknown else max(codes, key=order.__getitem__)


def band(dimension: Dimension, number: int) -> str:
    """The code of the band that a number is in, by the lower ends that codes spell: ``below-10``,
    ``10-100``, ``from-1000``. Empty where one spells none, to be found wrong."""
    lower: list[tuple[int, str]] = []
    for code in dimension.steps[0].codes:
        spelt = _LOWER.match(code.code)
        if spelt is None:
            return ""
        lower.append((0 if spelt[1] == "below-" else int(spelt[2]), code.code))
    return max((one for one in lower if one[0] <= number), default=(0, ""))[1]
