"""What was typed, read as one question; whatever is wrong is told before anything is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.cli.stats.completing import remember
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, TimeStep, Unit
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput, Refused
from fairlead.strategic.received import Request

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

LIST_TIMEOUT_S = 30
NEAR = 3
"""Names that are offered instead of one that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The cubes in force at the own node. ``purposes``: for which the caller may ask, each with the
    cubes that it may ask for."""

    registry: Registry
    purposes: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, listed: asking_pb2.ListCubesResponse) -> Known:
        """Read what the node says; the registry's octets prove themselves by its digest, which the
        question names."""
        return cls(
            registry=Registry.parse(listed.registry),
            purposes={item.purpose: frozenset(item.cubes) for item in listed.purposes},
        )

    def permitted(self, cube: Cube) -> tuple[str, ...]:
        """The purposes for which the caller may ask for a cube."""
        return tuple(sorted(name for name, cubes in self.purposes.items() if cube.id in cubes))


async def known_at(client: Any, folder: Path) -> Known:
    """What the own node says of its cubes; kept for completion.

    :param folder: for what is kept of figures. :raises grpc.RpcError: refused.
    """
    listed = await client.list_cubes(timeout_s=LIST_TIMEOUT_S)
    known = Known.of(listed)
    remember(folder, listed.registry)
    return known


def choose(
    known: Known, *, cube: str, level: str, period: str, purpose: str | None, now: float
) -> Request:
    """The question that was typed.

    :param now: Unix seconds.
    :raises InvalidInput: CUBE_UNKNOWN, LEVEL_UNKNOWN, PERIOD_MALFORMED, PERIOD_STEP,
        PERIOD_TOO_LONG, PERIOD_OPEN, PURPOSE_MISSING: the remedy says what there is.
    :raises Refused: FIGURES_NOT_AGREED.
    """
    found = cube_of(known.registry, cube)
    at = level_of(found, level)
    when = at.period(period)
    check_over(when, now)
    return Request(
        registry=known.registry,
        cube=found,
        level=at,
        period=when,
        purpose=purpose or only_purpose(known, found),
    )


def cube_of(registry: Registry, name: str) -> Cube:
    """:raises InvalidInput: CUBE_UNKNOWN, with the nearest names."""
    names = [cube.id for cube in registry.cubes]
    if name in names:
        return registry.cube(name)
    raise InvalidInput(
        "there is no such cube; nothing was sent",
        reasons=("CUBE_UNKNOWN",),
        remedy=_offered(_near(name, names), "fairlead stats list   (has them all)"),
    )


def level_of(cube: Cube, name: str) -> Level:
    """A level of a cube, whose steps may be typed in any order.

    :raises InvalidInput: LEVEL_UNKNOWN, with the nearest levels.
    """
    typed = frozenset(word.strip() for word in name.split(","))
    for found in cube.levels:
        if frozenset(found.name.split(",")) == typed:
            return found
    names = [found.name for found in cube.levels]
    shared = sorted(names, key=lambda level: -len(typed & frozenset(level.split(","))))
    near = [level for level in shared if typed & frozenset(level.split(","))][:NEAR]
    raise InvalidInput(
        "the cube is not counted at this level; nothing was sent",
        reasons=("LEVEL_UNKNOWN",),
        remedy=_offered(
            near or _near(name, names), f"fairlead stats list {cube.id}   (has its levels)"
        ),
    )


def check_over(period: Period, now: float) -> None:
    """:raises InvalidInput: PERIOD_OPEN; the remedy is the part of it that is over, or the last
    unit that is."""
    if period.closed(now):
        return
    last = last_over(period.step, now)
    over = Period(min(period.first, last, key=lambda unit: unit.number), last)
    raise InvalidInput(
        "the period is not over yet; nothing was sent",
        reasons=("PERIOD_OPEN",),
        remedy=f"what is over of it, or the last before: --period {over.spelling}",
    )


def last_over(step: TimeStep, now: float) -> Unit:
    """The last unit of a step that has ended. :param now: Unix seconds."""
    day = dt.datetime.fromtimestamp(now, dt.UTC)
    return Unit(step, (day.year * 12 + day.month - 1) // step.months - 1)


def only_purpose(known: Known, cube: Cube) -> str:
    """The one purpose for which the caller may ask for a cube.

    :raises Refused: FIGURES_NOT_AGREED: there is none.
    :raises InvalidInput: PURPOSE_MISSING: there are several.
    """
    found = known.permitted(cube)
    if not found:
        raise Refused(
            "policy lets you ask for no figure of this cube; nothing was sent",
            reasons=("FIGURES_NOT_AGREED",),
            remedy="fairlead stats list   (says what you may ask for)",
        )
    if len(found) > 1:
        raise InvalidInput(
            "there are several purposes for which you may ask for this; nothing was sent",
            reasons=("PURPOSE_MISSING",),
            remedy=f"say which: {_listed(f'--purpose {name}' for name in found)}",
        )
    return found[0]


def _near(name: str, names: Sequence[str]) -> list[str]:
    """The names that were most likely meant: those that look alike, and those that a part names."""
    typed = name.strip().lower()
    close = get_close_matches(typed, names, n=NEAR, cutoff=0.5)
    return [*close, *(item for item in names if typed and typed in item and item not in close)][
        :NEAR
    ]


def _offered(near: Sequence[str], otherwise: str) -> str:
    return f"did you mean {_listed(near)}?  {otherwise}" if near else otherwise


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names)
