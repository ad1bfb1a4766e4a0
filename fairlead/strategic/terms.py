"""What nodes and gateway agree on before they sum: terms that follow from registry and list alone.

Words of a cell: its records, then a word for each count and sum and, of a sum that one partner may
make up most of, its square; of a median a word for each bar. They are named by their places, as no
measure's name is. A measure is summed where enough have more than nought of it; that they have
records in the cell is not enough.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

from fairlead import summing
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from fairlead.strategic.question import check_registry, other_cube
from fairlead.v1 import statistics_pb2 as pb

SCALE = 5
"""Of the noise on what one record counts, or on a sum's step: ε = .2."""
RECORDS = "records"
RECORDS_BOUND = 10**8
"""Records that one partner may have in one cell."""
FINAL_AFTER_S = 180 * 24 * 3600
"""Seconds after a unit's end from which its final figures are released, and no first ones."""
FIRST, FINAL = 1, 2


class Rows(Protocol):
    """What a node counted: see ``node.figures.port.Counted``."""

    @property
    def records(self) -> Sequence[int]:
        """How many records are behind each cell."""

    @property
    def values(self) -> Sequence[Sequence[int]]:
        """The cube's words of each cell, in the order of its measures."""


class RoundsOf(NamedTuple):
    """What terms on the wire are of."""

    cube: Cube
    level: Level
    unit: Unit
    terms: summing.Terms


def quarter_at(now: float) -> str:
    """The calendar quarter of a moment (UTC): ``2026-Q4``; of the pair seeds."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    return f"{moment.year:04d}-Q{(moment.month + 2) // 3}"


def version_at(unit: Unit, now: float) -> int:
    """The version of a unit's figures that is released from a moment on: its first ones once it is
    over, its final ones once late records had their time. What is asked decides nothing.

    :raises InvalidInput: PERIOD_OPEN.
    """
    Period(unit, unit).check_closed(now)
    return FINAL if now >= unit.ends + FINAL_AFTER_S else FIRST


def scale_of(measure: Measure) -> int:
    """The scale of the noise on a measure's words, in its unit."""
    return SCALE * measure.step


def words_of(cube: Cube) -> tuple[summing.Measure, ...]:
    """What is summed of each cell of a cube, in order."""
    records = summing.Measure(measure_id=RECORDS, bound=RECORDS_BOUND, scale=Fraction(SCALE))
    found = [records]
    for place, measure in enumerate(cube.measures):
        found += _words(place, measure)
    return tuple(found)


def word_names(place: int, measure: Measure) -> tuple[str, ...]:
    """The names of a measure's words, by the place that it has in its cube."""
    if measure.kind is MeasureKind.MEDIAN:
        return tuple(f"m{place}-bar{bar}" for bar in range(measure.words))
    return () if measure.kind is MeasureKind.RATE else (f"m{place}",)


def group_name(place: int) -> str:
    """The name under which a measure has contributors of its own, by its place in the cube."""
    return f"m{place}"


def _words(place: int, measure: Measure) -> Iterator[summing.Measure]:
    scale = Fraction(scale_of(measure))
    # One step more or less changes a square by at most this much.
    square = 2 * measure.bound * scale if measure.dominance else None
    for name in word_names(place, measure):
        yield summing.Measure(
            measure_id=name,
            bound=measure.bound,
            scale=scale,
            square_scale=square,
            group=group_name(place),
        )


def terms_of(
    cube: Cube,
    level: Level,
    unit: Unit,
    *,
    version: int,
    participants: Sequence[str],
    quarter: str,
    cut_off: int,
) -> summing.Terms:
    """The terms of one release's rounds. Whoever takes part may read it, and so counts as a reader.

    :raises InvalidInput: PARTICIPANTS, PARTNER_ID, QUARTER, RELEASE, PERIOD_OPEN: the unit was not
        over at the cut-off; TERMS_LAYOUT: too many words.
    :raises TooFewParticipants: no cell could be shown.
    """
    if unit.step is not level.time:
        raise InvalidInput("a unit is not one of the level's", reasons=("PERIOD_STEP",))
    listed = tuple(participants)
    return summing.Terms(
        release=summing.Release(
            cube=cube.id,
            cube_version=cube.version,
            level=level.name,
            period=unit.spelling,
            version=version,
        ),
        participants=listed,
        readers=listed,
        quarter=quarter,
        cut_off=cut_off,
        measures=words_of(cube),
        cells=tuple(cell.spelling for cell in level.cells(Period(unit, unit))),
    )


def terms_to_wire(terms: summing.Terms, cube: Cube, registry_digest: bytes) -> pb.RoundTerms:
    """The terms as a node is told them."""
    return pb.RoundTerms(
        cube=cube.id,
        cube_version=cube.version,
        registry_digest=registry_digest,
        level=terms.release.level,
        unit=terms.release.period,
        version=terms.release.version,
        participants=terms.participants,
        quarter=terms.quarter,
        cut_off=terms.cut_off,
    )


def terms_from_wire(said: pb.RoundTerms, registry: Registry) -> RoundsOf:
    """The terms that a node is told, found in the registry in force at this node. Total.

    What they leave to the node: whether cut-off and quarter are of now, whether it is on the list,
    and whether it knows everybody who is.

    :raises Stale: CUBE_VERSION: of another registry.
    :raises InvalidInput: CUBE_UNKNOWN, LEVEL_UNKNOWN, PERIOD_MALFORMED, and as :func:`terms_of`.
    :raises TooFewParticipants: no cell could be shown.
    """
    check_registry(said.registry_digest, registry)
    cube = registry.cube(said.cube)
    if cube.version != said.cube_version:
        raise other_cube()
    level, unit = cube.level(said.level), parse_unit(said.unit)
    terms = terms_of(
        cube,
        level,
        unit,
        version=said.version,
        participants=said.participants,
        quarter=said.quarter,
        cut_off=said.cut_off,
    )
    return RoundsOf(cube, level, unit, terms)


def figures_of_counted(counted: Rows) -> summing.Figures:
    """What a node counted, as it is summed: records first, then the cube's words. A node
    contributes to a cell in which it has a record."""
    rows = zip(counted.records, counted.values, strict=True)
    return summing.Figures(
        contributes=tuple(records > 0 for records in counted.records),
        values=tuple((records, *row) for records, row in rows),
    )
