"""Attacks: a gateway that says a partner dropped out once it has everything, and an asker that
wants to tell from an answer why it has no figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError
from fairlead.published import Shown
from fairlead.strategic.terms import quarter_at, terms_of, terms_to_wire
from fairlead.summing import Combined, Figures, ListKeeper, Terms
from gateway.figures.rounds import Partners
from gateway.members import Transport
from tests.tallying import CUBE, LEVEL, REGISTRY, UNIT, Town, plenty
from tests.walks import World, make_world

TARGET, SECRET = "p07", 61_803
FINER = "quarter,country,kind"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("evil"))


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = Town(world, tmp_path)
    yield made
    made.close()


# ── Claimed drop-out ─────────────────────────────────────────────────────────────────────────


def with_secret(partner: str, terms: Terms) -> Figures:
    """Everybody has a little, and the target what is looked for."""
    found = plenty(partner, terms)
    if partner != TARGET:
        return found
    return replace(found, values=tuple((SECRET, *row[1:]) for row in found.values))


async def summed(town: Town, participants: tuple[str, ...]) -> Combined | set[str]:
    """What a gateway gets for a list; why not, where a node refuses."""
    partners = Partners(
        transport=cast("Transport", town.wire),
        directory=town.directory,
        deny_lists=town.world.opened.deny_lists,
        clock=lambda: town.now,
    )
    terms = terms_of(
        CUBE, CUBE.level(LEVEL), parse_unit(UNIT), version=1, participants=participants,
        quarter=quarter_at(town.now), cut_off=int(town.now),
    )  # fmt: skip
    wire = terms_to_wire(terms, CUBE, REGISTRY.digest)
    said = await partners.ready(terms, wire, lambda *_: None)
    if said.failed:
        return {why.reason for why in said.failed.values()}
    return await partners.sums(terms, wire, said.statements, lambda *_: None)


async def difference(town: Town) -> int | set[str]:
    """All rounds with everybody; then again without the target, who is said to be gone."""
    town.wire.counts = with_secret
    everybody = await summed(town, town.nodes.ids)
    rest = await summed(town, tuple(name for name in town.nodes.ids if name != TARGET))
    assert isinstance(everybody, Combined)
    if not isinstance(rest, Combined):
        return rest
    cell = next(iter(everybody.sums))
    return everybody.sums[cell]["records"] - rest.sums[cell]["records"]


async def test_nobody_sums_without_a_partner_that_is_said_to_be_gone(town: Town) -> None:
    """Every other node refuses the shorter list."""
    assert await difference(town) == {"LIST_TOO_CLOSE"}


async def test_without_the_rule_of_lists_the_difference_is_its_figure(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: two sums, and only the noise between them."""
    monkeypatch.setattr(ListKeeper, "judge", lambda *_: None)
    found = await difference(town)
    assert isinstance(found, int)
    assert abs(found - SECRET) < 200


# ── Refusal against suppression ──────────────────────────────────────────────────────────────


def few(partner: str, terms: Terms) -> Figures:
    """Three of all have something."""
    found = plenty(partner, terms)
    if partner in {"p00", "p01", "p02"}:
        return found
    empty = tuple((0,) * len(row) for row in found.values)
    return Figures(contributes=(False,) * len(empty), values=empty)


async def answered(world: World, folder: Path, *, used_up: bool) -> bytes:
    """The octets of a second release, of which nothing is shown: because the nodes state no more,
    or because too few of them have anything."""
    folder.mkdir()
    town = Town(world, folder)
    try:
        town.wire.counts = few
        await town.ask(level=LEVEL)
        if used_up:
            town.wire.counts = plenty
            town.wire.looks_used_up = True
        return (await town.ask(level=FINER))[-1].released.release
    finally:
        town.close()


async def test_who_is_refused_figures_cannot_tell_it_from_who_has_few(
    world: World, tmp_path: Path, town: Town
) -> None:
    """The same octets, of nodes that state no more and of cells that too few have anything in."""
    refused = await answered(world, tmp_path / "refused", used_up=True)
    assert refused == await answered(world, tmp_path / "few", used_up=False)
    (shown,) = await town.released(level=FINER)
    assert Shown.VALUE in shown.counted()


async def test_without_it_a_refusal_says_that_there_would_be_figures(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the nodes say is passed on, and differs."""

    class Other(Exception):
        """Nothing that is caught."""

    monkeypatch.setattr("gateway.figures.making.LooksUsedUp", Other)
    assert await answered(world, tmp_path / "few", used_up=False)
    with pytest.raises(FairleadError) as caught:
        await answered(world, tmp_path / "refused", used_up=True)
    assert caught.value.code == "FIGURES_USED_UP"
