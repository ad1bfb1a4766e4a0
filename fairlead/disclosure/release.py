"""One release: from noised sums to what anybody may see, in numbered steps. Pure.

A security procedure in one function, :func:`decide`. Wanting more than it shows is asking for a
coarser level, which is another release, judged in the same way: no threshold is
ever lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairlead.disclosure.complement import in_every_sight
from fairlead.disclosure.draws import most_draws
from fairlead.disclosure.exposure import Exposed
from fairlead.disclosure.ledger import Asked, Ledger, Release
from fairlead.disclosure.rounding import behind, round_to_base
from fairlead.disclosure.rules import Reason, Rules, primary
from fairlead.disclosure.system import Cell, Interval, Sum
from fairlead.disclosure.totals import Total, totals
from fairlead.errors import Conflict, InvalidInput, Refused, Stale

Draws = Callable[[Sequence[Cell]], int]
"""The most figures of their own that one record is in, once each of these cells has one more."""


class ReleaseRefused(Refused):
    """The rules allow no further version of this period, or no further level of it."""

    default_code = "FIGURES_USED_UP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the nodes' vectors added up to, cell by cell in canonical order.

    ``values``, ``counts`` and ``squares`` bear every node's noise; ``indicators`` and ``waived``
    are exact. See :func:`fairlead.disclosure.rules.primary`.
    """

    cells: tuple[Cell, ...]
    values: tuple[int, ...]
    indicators: tuple[int, ...]
    counts: tuple[int, ...]
    squares: tuple[tuple[int, int], ...] | None = None
    waived: tuple[int, ...] | None = None

    @classmethod
    def unasked(cls, cells: Sequence[Cell]) -> Sums:
        """For a release that needs none (:func:`needs_sums`)."""
        nothing = (0,) * len(cells)
        return cls(cells=tuple(cells), values=nothing, indicators=nothing, counts=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A release, the ledger with it, and what only those who decide may know: the reasons, and
    withheld cells that no suppression protects any more (:class:`~.complement.Complement`)."""

    release: Release
    ledger: Ledger
    reasons: Mapping[Cell, Reason]
    beyond: tuple[Exposed, ...] = ()


def decide(
    asked: Asked,
    sums: Sums,
    relations: Iterable[Sum],
    ledger: Ledger,
    rules: Rules,
    *,
    bound: float,
    draws: Draws | None = None,
) -> Decided:
    """Release what may be shown; in steps (PROTOCOL §6):

    1. what is frozen is given again;
    2. a version is later than those that are out, and there are few;
    3. a cell whose parts are all published is their total, which tells nothing new; any other one
       with too few contributors or records, or a dominated one, is withheld;
    4. so is what an earlier version withheld;
    5. the others are rounded, and no record is in many of them
       (:mod:`fairlead.disclosure.draws`);
    6. further cells are withheld, until no programme bounds a withheld one too closely, whichever
       version is believed; in the place of one whose parts are out stands the total of the
       published ones, marked;
    7. the release is frozen.

    :param relations: between cells of this release and of all in the ledger, waived shares too.
    :param bound: the most that one cell may hold: the measure's bound × participants.
    :param draws: how many figures of their own one record is in; by default what the relations
        say, which have to have the cells of which all others are made.
    :raises InvalidInput: RULES, RELEASE: the sums are not as many as the cells.
    :raises Stale: VERSION: not a later version than what is out.
    :raises Conflict: RELEASE_FROZEN: another release of this version has one of the cells.
    :raises ReleaseRefused: FIGURES_USED_UP; it depends on nothing but what is out.
    :raises Unsolved: the audit came to no end; nothing is released.
    """
    # 1
    if (frozen := ledger.find(asked)) is not None:
        return Decided(release=frozen, ledger=ledger, reasons={})
    # 2
    _check(asked, sums, ledger, rules)
    # 3
    relations, cells = tuple(relations), sums.cells
    unfit = primary(sums.indicators, sums.counts, sums.squares, rules, waived=sums.waived)
    parts = totals(relations, cells, ledger, asked.version, rules.round_to)
    own = [cell for cell in cells if cell not in parts or not parts[cell].whole]
    reasons = {cells[at]: reason for at, reason in unfit.items()}
    reasons = {cell: reasons[cell] for cell in own if cell in reasons}
    # 4
    for cell in ledger.withheld_before(own):
        reasons.setdefault(cell, Reason.WITHHELD_BEFORE)
    # 5
    drawn = _drawn(sums, parts, rules.round_to)
    for cell in _often_drawn(own, draws or _of_relations(relations, ledger), parts, rules):
        reasons.setdefault(cell, Reason.OFTEN_DRAWN)
    # 6
    offered = {cell: drawn[cell][1] for cell in own if cell not in reasons}
    known = ledger.known(rules.round_to)
    secret = [cell for cell in reasons if cell not in parts]
    # Where all are totals of published parts there is nothing new to audit.
    secret = _protected([*ledger.withheld(), *secret], relations, ledger, known) if own else []
    sights = ledger.sights(rules.round_to, asked.version)
    found = in_every_sight(
        offered, relations, sights, secret, rules, bound=bound, replaced=parts.keys()
    )
    reasons |= dict.fromkeys(found.further, Reason.COMPLEMENTARY)
    # 7
    made = _made(asked, cells, drawn, reasons, parts)
    return Decided(
        release=made, ledger=ledger.with_release(made), reasons=reasons, beyond=found.beyond
    )


def needs_sums(
    asked: Asked, cells: Sequence[Cell], relations: Iterable[Sum], ledger: Ledger, rules: Rules
) -> bool:
    """Whether the nodes must be asked: not for what is frozen, nor for totals of published parts.

    Nodes state few figures of a month, and keep count: none is to be asked for in vain.
    """
    if ledger.find(asked) is not None:
        return False
    parts = totals(relations, cells, ledger, asked.version, rules.round_to)
    return not all(cell in parts and parts[cell].whole for cell in cells)


def _check(asked: Asked, sums: Sums, ledger: Ledger, rules: Rules) -> None:
    """:raises InvalidInput, Stale, Conflict, ReleaseRefused: see :func:`decide`."""
    if len(sums.values) != len(sums.cells) or len(sums.indicators) != len(sums.cells):
        raise InvalidInput("a release's cells and figures do not match", reasons=("RELEASE",))
    if asked.version <= ledger.latest(asked):
        raise Stale("a later version of the release is out", reasons=("VERSION",))
    if not ledger.held(asked.version).isdisjoint(sums.cells):
        raise Conflict("a cell of this release is frozen in another", reasons=("RELEASE_FROZEN",))
    if asked.version > rules.versions:
        raise ReleaseRefused("no further version of this period is released")


def _protected(
    cells: Iterable[Cell],
    relations: Iterable[Sum],
    ledger: Ledger,
    known: Mapping[Cell, Interval],
) -> list[Cell]:
    """Withheld cells that can be protected, and what is left of them without waived shares."""
    secret = dict.fromkeys(cells)
    for each in relations:
        if each.whole in secret and not ledger.waivers.keys().isdisjoint(each.parts):
            secret |= dict.fromkeys(each.parts)
    return [cell for cell in secret if cell not in known]


def _of_relations(relations: Sequence[Sum], ledger: Ledger) -> Draws:
    return lambda cells: most_draws(cells, relations, ledger)


def _often_drawn(
    own: Sequence[Cell], draws: Draws, parts: Mapping[Cell, Total], rules: Rules
) -> list[Cell]:
    """Which of the cells that are no whole totals get the total of their published parts, because
    more figures are too many.

    :raises ReleaseRefused: FIGURES_USED_UP: other cells would have too many too.
    """
    if draws(own) <= rules.draws:
        return []
    if draws([cell for cell in own if cell not in parts]) > rules.draws:
        raise ReleaseRefused("no further figures of this period are released")
    return [cell for cell in own if cell in parts]


def _drawn(sums: Sums, parts: Mapping[Cell, Total], base: int) -> dict[Cell, tuple[int, Interval]]:
    """Each cell's figure, and the values that may lie behind it."""
    drawn = {}
    for cell, value in zip(sums.cells, sums.values, strict=True):
        figure = round_to_base(value, base)
        drawn[cell] = figure, behind(figure, base)
        if (total := parts.get(cell)) is not None and total.whole:
            drawn[cell] = total.figure, total.span
    return drawn


def _made(
    asked: Asked,
    cells: tuple[Cell, ...],
    drawn: Mapping[Cell, tuple[int, Interval]],
    reasons: Mapping[Cell, Reason],
    parts: Mapping[Cell, Total],
) -> Release:
    """The release: a withheld cell whose parts are out has the total of those that are."""
    figures = {cell: drawn[cell][0] for cell in cells if cell not in reasons}
    figures |= {cell: parts[cell].figure for cell in reasons if cell in parts}
    return Release(
        asked=asked,
        cells=cells,
        figures=tuple(figures.get(cell) for cell in cells),
        spans={cell: total.span for cell, total in parts.items() if total.whole},
        partial=frozenset(cell for cell in reasons if cell in parts and not parts[cell].whole),
    )
