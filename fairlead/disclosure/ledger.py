"""What is out: the frozen releases of one measure of a cube, and what they say together. Pure.

A release is one answer to (cube version, level, period, version); whoever asks again gets the same
one. The ledger holds all of them, because the next one is judged by what all say together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fairlead.disclosure.rounding import behind
from fairlead.disclosure.system import Cell, Interval
from fairlead.errors import Conflict, InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Asked:
    """What is released: nothing else tells one release from another."""

    cube: str
    cube_version: int
    measure: str
    level: str
    period: str
    """One unit of the level's time step: a query over several is as many releases, so that
    periods which overlap share them."""
    version: int
    """Counts from 1; a later one has later records, or another list of participants."""

    @property
    def series(self) -> tuple[str, int, str, str, str]:
        """What all versions of a release share."""
        return self.cube, self.cube_version, self.measure, self.level, self.period


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The figures of one release, in canonical order; ``None`` where a cell is withheld.

    Why a cell is withheld stands nowhere in it: a refusal and every kind of suppression are the
    same octets.
    """

    asked: Asked
    cells: tuple[Cell, ...]
    figures: tuple[int | None, ...]
    spans: Mapping[Cell, Interval] = field(default_factory=dict)
    """Where a figure is the sum of all of a cell's parts, what it says: less than rounding does."""
    partial: frozenset[Cell] = frozenset()
    """Cells whose figure is the total of their published parts, while others are withheld."""
    shown: Mapping[Cell, int] = field(init=False, compare=False, repr=False)
    """The cells that have a figure, with it."""
    held: frozenset[Cell] = field(init=False, compare=False, repr=False)
    """``cells``."""

    def __post_init__(self) -> None:
        """:raises InvalidInput: RELEASE: cells and figures do not match."""
        if len(self.cells) != len(self.figures) or len({*self.cells}) != len(self.cells):
            raise InvalidInput("a release's cells and figures do not match", reasons=("RELEASE",))
        object.__setattr__(self, "shown", self._shown())
        object.__setattr__(self, "held", frozenset(self.cells))

    @classmethod
    def refused(cls, asked: Asked, cells: Sequence[Cell]) -> Release:
        """The answer to who may not have it: what an answer without one figure looks like."""
        return cls(asked=asked, cells=tuple(cells), figures=(None,) * len(cells))

    def _shown(self) -> dict[Cell, int]:
        pairs = zip(self.cells, self.figures, strict=True)
        return {cell: figure for cell, figure in pairs if figure is not None}

    def span(self, cell: Cell, base: int) -> Interval:
        """The values that may lie behind a cell's figure."""
        return self.spans.get(cell) or behind(self.shown[cell], base)

    @property
    def withheld(self) -> tuple[Cell, ...]:
        """The cells that have none."""
        pairs = zip(self.cells, self.figures, strict=True)
        return tuple(cell for cell, figure in pairs if figure is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One way to read what is out: what is believed of each cell.

    ``settled``: what a further figure says of these cells is not believed. Of any other one it is
    believed alone (``alone``), or together with what is out.
    """

    known: Mapping[Cell, Interval]
    settled: frozenset[Cell] = frozenset()
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All releases of one measure of one cube, in the order in which they were made."""

    releases: tuple[Release, ...] = ()
    waivers: Mapping[Cell, Interval] = field(default_factory=dict)
    """What owners publish of their own, by a key of its own; sums tell which cell it is part of."""

    def find(self, asked: Asked) -> Release | None:
        """The frozen release, if there is one."""
        return next((made for made in self.releases if made.asked == asked), None)

    def latest(self, asked: Asked) -> int:
        """The latest version released of what is asked, whatever version it names; 0 is none."""
        same = (made.asked for made in self.releases if made.asked.series == asked.series)
        return max((each.version for each in same), default=0)

    def with_release(self, made: Release) -> Ledger:
        """The ledger with one release more.

        :raises Conflict: RELEASE_FROZEN: there is another one for the same.
        """
        found = self.find(made.asked)
        if found is None:
            return replace(self, releases=(*self.releases, made))
        if found != made:
            raise Conflict("this release is frozen", reasons=("RELEASE_FROZEN",))
        return self

    def with_waiver(self, share: Cell, value: int) -> Ledger:
        """The ledger when an owner has published its own share of a cell, exactly."""
        known = Interval(low=value, high=value)
        return replace(self, waivers={**self.waivers, share: known})

    def known(self, base: int) -> dict[Cell, Interval]:
        """Of every cell with a figure of its own, in whatever version, what may lie behind it.

        A total of published parts is none: it says what they say. Counted beside them, it would
        have a say twice in which of two figures that contradict each other is believed.
        """
        known = dict(self.waivers)
        for made in self.releases:
            for cell, said in _own(made, base):
                known[cell] = known[cell].met(said) if cell in known else said
        return known

    def sights(self, base: int, version: int) -> list[Sight]:
        """How what is out can be read when ``version`` has further figures: all versions together
        and, where there are several, each before any other.

        Late records and noise have versions contradict each other. Read together, they leave a
        cell in them the room between both; who believes one of them has a narrower one.
        """
        said: dict[int, dict[Cell, Interval]] = {version: {}}
        for made in self.releases:
            said.setdefault(made.asked.version, {}).update(_own(made, base))
        found, latest = [Sight(known=self.known(base))], dict(self.waivers)
        for number in sorted(said):
            latest |= said[number]
        for number, own in said.items():
            settled = frozenset(own) if number != version else frozenset[Cell]()
            found.append(Sight(known={**latest, **own}, settled=settled, alone=True))
        return found if len(said) > 1 else found[:1]

    def withheld(self) -> list[Cell]:
        """Every cell that was withheld from somebody, and never shown whole, in order."""
        shown = {cell for made in self.releases for cell in made.shown.keys() - made.partial}
        cells = (cell for made in self.releases for cell in made.withheld)
        return [*dict.fromkeys(cell for cell in cells if cell not in shown)]

    def withheld_before(self, cells: Iterable[Cell]) -> set[Cell]:
        """Which of ``cells`` an earlier release withheld."""
        before = {cell for made in self.releases for cell in made.withheld}
        return before.intersection(cells)

    def held(self, version: int) -> set[Cell]:
        """Every cell that is in some release of a version."""
        of_version = (made for made in self.releases if made.asked.version == version)
        return {cell for made in of_version for cell in made.held}

    def holding(self, cell: Cell, version: int) -> Release | None:
        """The release that has a cell in a version, with a figure or without."""
        of_version = (made for made in self.releases if made.asked.version == version)
        return next((made for made in of_version if cell in made.held), None)


def _own(made: Release, base: int) -> Iterator[tuple[Cell, Interval]]:
    """What each figure of its own of a release says."""
    for cell in made.shown.keys() - made.partial - made.spans.keys():
        yield cell, made.span(cell, base)
