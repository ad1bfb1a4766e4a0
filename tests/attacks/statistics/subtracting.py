"""Attacks that subtract what is known from what is shown.

The attacker is as strong as can be: it knows every record but one, which the coin decides on.
"""

from __future__ import annotations

import json
import random

from fairlead.disclosure.exposure import exposed
from fairlead.disclosure.ledger import Asked, Release
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Sum
from tests.attacks.statistics.pool import (
    ALL,
    BOUND,
    RULES,
    Defence,
    Pool,
    few,
    guess,
    several,
)  # fmt: skip

EXACT = ALL - {Defence.NOISE, Defence.ROUNDING, Defence.COMPLEMENT}
REGIONS = tuple(f"2026/r{number}" for number in range(5))
WIDEST = Rules(width=10 * BOUND)
"""Every cell is exposed: the audit then tells the bounds of each."""


def total(luck: random.Random, on: frozenset[Defence]) -> bool:
    """The total, less all regions but the withheld one."""
    coin = luck.random() < 0.5
    pool = Pool(luck=luck, on=on, relations=(Sum(whole="2026", parts=REGIONS),))
    held = {REGIONS[0]: few(luck)} | {region: several(luck) for region in REGIONS[1:]}
    base = _true(held)
    held[REGIONS[0]][0] += coin
    made = pool.release("year", {"2026": _added(held.values())})
    parts = pool.release("region", held)
    if on == EXACT:
        return (made.shown["2026"] - sum(parts.shown.values()) > base[REGIONS[0]]) == coin
    return guess(luck, [(made.shown["2026"], sum(base.values()))]) == coin


def children(luck: random.Random, on: frozenset[Defence]) -> bool:
    """A coarser level, less its children; and the level above, less its own."""
    coin = luck.random() < 0.5
    ports = {f"2026/r{r}/p{p}": several(luck) for r in range(2) for p in range(3)}
    ports["2026/r0/p0"] = few(luck)
    regions = {f"2026/r{r}": [port for port in ports if f"/r{r}/" in port] for r in range(2)}
    relations = [Sum(whole=whole, parts=tuple(parts)) for whole, parts in regions.items()]
    pool = Pool(
        luck=luck, on=on, relations=(*relations, Sum(whole="2026", parts=tuple(regions)))
    )  # fmt: skip
    base = _true(ports)
    ports["2026/r0/p0"][0] += coin
    rolled = {whole: _added([ports[part] for part in parts]) for whole, parts in regions.items()}
    country = pool.release("year", {"2026": _added(ports.values())})
    coarse = pool.release("region", rolled)
    fine = pool.release("port", ports)
    if on == EXACT:
        beside = sum(fine.shown[part] for part in regions["2026/r0"][1:])
        return (coarse.shown["2026/r0"] - beside > base["2026/r0/p0"]) == coin
    region = sum(base[part] for part in regions["2026/r0"])
    seen = [(country.shown["2026"], sum(base.values()))]
    if "2026/r0" in coarse.shown:
        seen.append((coarse.shown["2026/r0"], region))
    return guess(luck, seen) == coin


def tables(luck: random.Random, on: frozenset[Defence]) -> tuple[bool, int]:
    """Every level of a cube in some order, and linear programmes over all of them.

    Returns with the guess how many withheld cells are bounded too closely.
    """
    coin = luck.random() < 0.5
    rows, columns = range(3), range(3)
    fine = {
        f"2026/r{r}/k{k}": several(luck) if luck.random() < 0.7 else few(luck)
        for r in rows for k in columns
    }  # fmt: skip
    target = luck.choice([*fine])
    fine[target] = few(luck)
    base = sum(fine[target])
    by_row = {f"2026/r{r}": tuple(f"2026/r{r}/k{k}" for k in columns) for r in rows}
    by_column = {f"2026/k{k}": tuple(f"2026/r{r}/k{k}" for r in rows) for k in columns}
    rolls = {**by_row, **by_column}
    relations = [Sum(whole=whole, parts=parts) for whole, parts in rolls.items()]
    relations += [Sum(whole="2026", parts=tuple(by)) for by in (by_row, by_column)]
    pool = Pool(luck=luck, on=on, relations=tuple(relations))
    fine[target][0] += coin
    levels = {
        "region,kind": fine, "year": {"2026": _added(fine.values())},
        "region": {whole: _added([fine[part] for part in by_row[whole]]) for whole in by_row},
        "kind": {whole: _added([fine[part] for part in by_column[whole]]) for whole in by_column},
    }  # fmt: skip
    for level in luck.sample([*levels], len(levels)):
        pool.release(level, levels[level])
    known, withheld = pool.ledger.known(pool.rules.round_to), pool.ledger.withheld()
    assert target in withheld
    close = exposed(relations, known, withheld, RULES, bound=BOUND)
    (found,) = exposed(relations, known, [target], WIDEST, bound=BOUND)
    middle = (found.low + found.high) / 2
    return (middle > base + 0.5) == coin, len(close)


def own_share(luck: random.Random, on: frozenset[Defence]) -> bool:
    """A contributor takes its own share off a cell, in which there are few others."""
    coin = luck.random() < 0.5
    others = luck.randrange(1, 5) if Defence.CONTRIBUTORS in on else 1
    held = [luck.randrange(5, 20) for _ in range(1 + others)]
    base = sum(held)
    held[0] += coin
    made = Pool(luck=luck, on=on).release("region", {"2026/r": held})
    exact = Defence.NOISE not in on
    return guess(luck, [(f, base) for f in made.shown.values()], exact=exact) == coin


def refusal(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Whether figures were refused by a rule of the asker's, or withheld for what is in them."""
    coin = luck.random() < 0.5
    held = {region: few(luck) for region in REGIONS}
    asked = Asked(
        cube="reports", cube_version=1, measure="count", level="region", period="2026", version=1
    )
    made = Release.refused(asked, REGIONS) if coin else Pool(luck=luck).release("region", held)
    refused, suppressed = (_octets(_answer(asked, held, refused=flag)) for flag in (True, False))
    octets = _octets(made)
    if Defence.IDENTICAL not in on:
        octets += b"refused" if coin else b"too few contributors"
        return (b"refused" in octets) == coin
    if octets != refused or suppressed != refused:
        return (octets == refused) == coin
    return (luck.random() < 0.5) == coin


def _answer(asked: Asked, held: dict[str, list[int]], *, refused: bool) -> Release:
    """What the attacker makes for itself, to compare with."""
    if refused:
        return Release.refused(asked, tuple(held))
    return Pool(luck=random.Random(1)).release("region", held)


def _octets(made: Release) -> bytes:
    """An answer's content."""
    content = [made.asked.level, made.asked.period, made.asked.version, made.cells, made.figures]
    return json.dumps([*content, sorted(made.partial), sorted(made.spans)]).encode()


def _added(cells: object) -> list[int]:
    """Records by partner, of several cells together."""
    return [sum(column) for column in zip(*cells, strict=True)]  # type: ignore[call-overload]


def _true(held: dict[str, list[int]]) -> dict[str, int]:
    return {cell: sum(counts) for cell, counts in held.items()}


OFF = {
    total: EXACT,
    children: EXACT,
    tables: EXACT,
    own_share: ALL - {Defence.CONTRIBUTORS, Defence.NOISE, Defence.ROUNDING},
    refusal: ALL - {Defence.IDENTICAL},
}
"""Each attack, with what is left when its defence is switched off."""
