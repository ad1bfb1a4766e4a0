"""Agreements that get in each other's way, or in nobody's: what an officer should look at.

* Several cover a question and say different things: the narrowest of each term holds. Which that
  is, and what the others would have given, is told.
* A larger question falls under fewer agreements, and so gets more than a smaller one.
* An agreement that changes nothing, or that no question can fall under.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

from fairlead.policy.cells import Cell, Plane, may_rely
from fairlead.policy.compiling import layer_data
from fairlead.policy.figures.cells import cells
from fairlead.policy.figures.sides import figures_of
from fairlead.policy.narrowing import BESIDE, is_wider, statement
from fairlead.policy.sides import Policy, Row, day, listed
from fairlead.policy.terms import Terms, terms_of
from fairlead.policy.widened import Widening, united


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One thing to look at: a stable code, the agreements, what it is, and what to do."""

    code: str
    agreements: tuple[str, ...]
    text: str
    remedy: str

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "code": self.code, "agreements": list(self.agreements),
            "what": self.text, "next": self.remedy,
        }  # fmt: skip


NARROWEST = "give them the same terms, or make their purposes, schemes or modes not overlap"
CODES: Mapping[str, str] = {
    "NOTHING_IN_COMMON": "each permits, and together they refuse",
    "CONTRADICTION": "they cover the same question with other terms",
    "SIDESTEPPED": "a larger question escapes the narrower agreement",
    "SHADOWED": "without it nothing would change",
    "EXPIRED": "it is not in force any more",
    "UNREACHABLE": "no question can fall under it",
    "PURPOSE_UNUSABLE": "a purpose that nobody here may ask for on these legal bases",
    "BASIS_UNUSABLE": "a legal basis on which nobody here may ask",
    "ASKER_UNUSABLE": "a kind of asker that may rely on none of its legal bases",
    "OPT_OUT_EMPTY": "a partner opted out that it never named",
}


def conflicts(data: Mapping[str, Any], *, now: int) -> list[Conflict]:
    """Everything worth a look in one compiled data document, by code in the order of ``CODES``.

    :param now: Unix seconds; what has ended by then is told once, as expired, and left out of
        the rest.
    """
    policy = data["federation"]
    live = {n: r for n, r in policy["agreements"].items() if r["valid_until"] > now}
    alive = layer_data(_words(policy), live)
    figures = {n: r for n, r in figures_of(policy).items() if r["valid_until"] > now}
    found = [
        *_expired({**policy["agreements"], **figures_of(policy)}, now),
        *_overlaps(alive["federation"]),
        *_idle(alive),
        *(c for name, row in live.items() for c in _unusable(policy, name, row)),
        *_idle_figures(policy, figures),
    ]
    return sorted(found, key=lambda c: (list(CODES).index(c.code), c.agreements, c.text))


# ── Overlaps ─────────────────────────────────────────────────────────────────────────────────


def _overlaps(policy: Policy) -> Iterator[Conflict]:
    every = list(Plane([policy]).cells())
    clashes = [w for cell in every if len(cell.granted[0]) > 1 for w in _clash(policy, cell)]
    for clash in _united(clashes):
        refused = clash.before is None
        yield Conflict(
            code="NOTHING_IN_COMMON" if refused else "CONTRADICTION",
            agreements=clash.agreements,
            text=f"{clash.subject(policy)}: "
            + ("each permits, and together nothing is left" if refused else
               f"the narrowest holds; lost: {' · '.join(clash.grown)}"),
            remedy=NARROWEST,
        )  # fmt: skip
    for escape in _united(_sidestepped(policy, every)):
        yield Conflict(
            code="SIDESTEPPED",
            agreements=escape.agreements,
            text=f"{escape.subject(policy)}: {'; '.join(escape.grown)}",
            remedy="give the narrower agreement the larger limit and every scheme of the other",
        )


def _clash(policy: Policy, cell: Cell) -> Iterator[Widening]:
    """What each agreement of the cell alone would give and all of them together do not."""
    together = _terms(policy, cell, cell.granted[0])
    lost = []
    for name in cell.granted[0]:
        alone = _terms(policy, cell, (name,))
        if alone is not None and (grown := alone.grown(together)):
            lost.append(f"{name}: {'; '.join(grown)}")
    if lost:
        yield statement(cell, tuple(lost), together, together, cell.granted[0])


def _united(found: Iterable[Widening]) -> list[Widening]:
    """One statement for each set of agreements and what is said of it, over all it concerns."""
    groups: dict[tuple[object, ...], list[Widening]] = {}
    for item in found:
        key = (item.agreements, item.grown, item.before is None)
        groups.setdefault(key, []).append(item)
    return [united(group) for group in groups.values()]


def _sidestepped(policy: Policy, every: list[Cell]) -> Iterator[Widening]:
    """Two questions that differ in size or in schemes only, where the larger gets more."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in every:
        for name in ("terms", "schemes"):
            others = tuple(v for k, v in cell.values.items() if k != name)
            groups.setdefault((name, cell.asker, cell.owner, *others), []).append(cell)
    for (name, *_), group in groups.items():
        if name == "terms":
            group.sort(key=lambda cell: max(cell.values["terms"]))
            pairs = list(pairwise(group))
        else:
            pairs = list(permutations(group, 2))
        for small, large in pairs:
            if set(large.granted[0]) < set(small.granted[0]):
                yield from _escape(policy, name, small, large)


def _escape(policy: Policy, name: str, small: Cell, large: Cell) -> Iterator[Widening]:
    before, after = (_terms(policy, cell, cell.granted[0]) for cell in (small, large))
    grown = after.grown(before) if after is not None else ()
    if not grown:
        return
    joined = {*small.values["schemes"][0], *large.values["schemes"][0]}
    how = (
        f"more than {max(small.values['terms']):,} terms"
        if name == "terms"
        else f"{' and '.join(sorted(joined))} together"
    )
    escaped = listed(set(small.granted[0]) - set(large.granted[0]))
    told = f"a question for {how} escapes {escaped}, and {'; '.join(grown)}"
    yield statement(small, (told,), before, after, small.granted[0])


def _terms(policy: Policy, cell: Cell, names: tuple[str, ...]) -> Terms | None:
    rows = [policy["agreements"][name] for name in names]
    return terms_of(
        policy, rows, rows, asker=cell.asker.kind, owner=cell.owner.kind,
        purpose=cell.values["ground"][0][0], terms=cell.values["terms"][0],
    )  # fmt: skip


# ── Without effect ───────────────────────────────────────────────────────────────────────────


def _expired(rows: Mapping[str, Row], now: int) -> Iterator[Conflict]:
    for name, row in rows.items():
        if row["valid_until"] <= now:
            yield Conflict(
                code="EXPIRED",
                agreements=(name,),
                text=f"{name} ended on {day(row['valid_until'])}",
                remedy="take it out, or give it a later valid_until",
            )


def _idle(alive: Mapping[str, Any]) -> Iterator[Conflict]:
    policy = alive["federation"]
    rows = policy["agreements"]
    for name in rows:
        reached = any(name in cell.covering[0] for cell in Plane([policy]).cells({name}))
        if not reached:
            yield Conflict(
                code="UNREACHABLE",
                agreements=(name,),
                text=f"no question that the registry lets anybody ask falls under {name}",
                remedy="compare its kinds, purposes, legal bases and countries with the registry",
            )
            continue
        without = layer_data(_words(policy), {n: r for n, r in rows.items() if n != name})
        if not is_wider(alive, without) and not is_wider(without, alive):
            yield Conflict(
                code="SHADOWED",
                agreements=(name,),
                text=f"without {name} every question would be answered the same",
                remedy="take it out: others say all of it",
            )


def _idle_figures(policy: Policy, rows: Mapping[str, Row]) -> Iterator[Conflict]:
    """No agreement on figures narrows another: each question needs one, and any one will do."""
    covering = [cell.covering[0] for cell in cells([{**policy, "statistics": rows}])]
    for name in rows:
        mine = [names for names in covering if name in names]
        if not mine:
            yield Conflict(
                code="UNREACHABLE",
                agreements=(name,),
                text=f"no question for figures that anybody may ask falls under {name}",
                remedy="compare its cubes, roles and purposes with the two registries",
            )
        elif all(len(names) > 1 for names in mine):
            yield Conflict(
                code="SHADOWED",
                agreements=(name,),
                text=f"without {name} the same figures could be asked for",
                remedy="take it out: others say all of it",
            )


def _unusable(policy: Policy, name: str, row: Row) -> Iterator[Conflict]:
    kinds = list(row["from"]["kinds"]) or list(policy["kinds"])
    fits = [
        (kind, purpose, basis)
        for kind in (policy["kinds"] if row["from"]["partners"] else kinds)
        for purpose in row["purposes"]
        for basis in row["legal_bases"]
        if may_rely(policy, kind, purpose, basis)
    ]
    for code, words, used in (
        ("PURPOSE_UNUSABLE", row["purposes"], {fit[1] for fit in fits}),
        ("BASIS_UNUSABLE", row["legal_bases"], {fit[2] for fit in fits}),
        ("ASKER_UNUSABLE", _kinds(policy, row), {fit[0] for fit in fits}),
    ):
        if idle := sorted(set(words) - used):
            yield Conflict(
                code=code,
                agreements=(name,),
                text=f"{name}: {listed(idle)}: {CODES[code]}",
                remedy="see the registry's legal_bases, or take it out",
            )
    for partner in sorted(row["opted_out"]):
        if not _named(row, partner):
            yield Conflict(
                code="OPT_OUT_EMPTY",
                agreements=(name,),
                text=f"{partner} opted out of {name}, which names it on neither side",
                remedy="take the opt-out away, or name the agreement that it means",
            )


def _kinds(policy: Policy, row: Row) -> list[str]:
    """The kinds that ask, but none that is there as one of its sector."""
    named = row["from"]["kinds"]
    sectors = [
        {k for k, sector in policy["kinds"].items() if sector == wanted}
        for wanted in set(policy["kinds"].values())
    ]
    whole = {kind for sector in sectors if sector <= named.keys() for kind in sector}
    return sorted(named.keys() - whole)


def _named(row: Row, partner: str) -> bool:
    """Whether a side names the partner, or kinds, of which it may be one."""
    return any(partner in row[s]["partners"] or row[s]["kinds"] for s in ("from", "to"))


def _words(policy: Policy) -> dict[str, Any]:
    return {key: value for key, value in policy.items() if key not in BESIDE}
