"""Waivers at the gateway: taken from their owner alone, once, and known to whatever is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fairlead.certificates import Identity
from fairlead.cubes.registry import Registry
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Refused
from fairlead.leaves import LeafWriter
from fairlead.published import Published, Shown
from fairlead.strategic.books import Books
from fairlead.strategic.deciding import Made
from fairlead.strategic.layout import layout_of
from fairlead.strategic.waiver import Waiver, sign_waiver
from fairlead.summing import Figures, Terms
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures import making, waivers
from gateway.figures.waivers import WaiverDesk, WaiverShelf
from tests.audited import shelf as logs
from tests.cubes import written
from tests.postgres import Postgres
from tests.summed import figures_of
from tests.tallying import CUBE, LARGER, LEVEL, UNIT, Town
from tests.walks import World, make_world

CELL = f"{UNIT}/NL"
NL = 1
"""The place of that cell."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("waivers"))


def town_of(world: World, folder: Path, **changes: Any) -> Town:
    """Four partners, as few as show anything, each with much in every cell."""
    made = Town(world, folder, count=4, **changes)
    made.wire.counts = much
    return made


def much(_partner: str, terms: Terms) -> Figures:
    return figures_of(terms.measures, [(900,) * len(terms.measures) for _ in terms.cells])


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = town_of(world, tmp_path)
    yield made
    made.close()


def peer(town: Town, partner: str) -> Identity:
    """A partner's node."""
    return replace(town.world.peer("police"), partner_id=partner)


def waived(town: Town, partner: str = "p00", **changes: Any) -> Waiver:
    """What a partner publishes: its nine hundred of a cell."""
    usual: dict[str, Any] = {
        "federation": town.directory.federation,
        "partner": partner,
        "cube": CUBE.id,
        "measure": "due",
        "level": LEVEL,
        "cell": CELL,
        "version": 1,
        "layout": layout_of(CUBE),
        "value": 900,
        "issued_at": int(town.now),
    }
    return Waiver(**(usual | changes))


def signed(town: Town, waiver: Waiver, *, by: str = "") -> pb.PublishWaiverRequest:
    """As its owner, or somebody else, sends it."""
    signature = sign_waiver(waiver, town.nodes.signers[by or waiver.partner])
    return pb.PublishWaiverRequest(
        waiver=pb.SignedWaiver(waiver=waiver.to_bytes(), signature=signature)
    )


def desk(town: Town) -> WaiverDesk:
    """The gateway's."""
    return WaiverDesk(
        log=town.log,
        leaves=LeafWriter(log="gateway/gw-1", clock=lambda: town.now),
        directory=cast("Any", town.directory),
        policy=cast("Any", town.policy),
        clock=lambda: town.now,
    )


async def publish(town: Town, waiver: Waiver, *, by: str = "", brought: str = "") -> None:
    """Bring it to the gateway."""
    await desk(town).publish(signed(town, waiver, by=by), peer(town, brought or waiver.partner))


def kept(town: Town) -> list[Waiver]:
    """What the gateway has."""
    return WaiverShelf(town.log).of_year(CUBE.id, "2026")


async def shown(town: Town) -> list[Shown]:
    """How the cells of the count are shown."""
    (release,) = await town.released()
    return [cell.shown for cell in release.of("due")]


# ── What it does ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("defended", [True, False])
async def test_who_publishes_its_share_covers_nobody(
    town: Town, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Of four one publishes its share: the other three are too few to be shown, and a gateway that
    does not take that as known shows what they have together, but for noise."""
    await publish(town, waived(town))
    if not defended:
        monkeypatch.setattr(WaiverShelf, "of_year", lambda *_: [])
    assert await shown(town) == [Shown.VALUE, Shown.SUPPRESSED if defended else Shown.VALUE]


async def test_the_audit_takes_a_published_share_as_known(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The books of every decision of that cube and year have it, and of no other year."""
    books = noted_books(monkeypatch)
    await publish(town, waived(town))
    await town.ask()
    assert [each.share for each in books[-1].waivers] == [waived(town).share]
    await town.ask(period="2025-Q3")
    assert books[-1].waivers == ()


def noted_books(monkeypatch: pytest.MonkeyPatch) -> list[Books]:
    """The books of every decision from now on."""
    decide, books = making.decide_unit, []

    def noted(*arguments: Any, **named: Any) -> Made:
        books.append(arguments[5])
        return decide(*arguments, **named)

    monkeypatch.setattr(making, "decide_unit", noted)
    return books


# ── Who may, and what ────────────────────────────────────────────────────────────────────────


async def test_a_waiver_is_taken_once_and_outlives_the_gateway(town: Town) -> None:
    """The same again has no second leaf, whenever it was signed; another value is refused."""
    waiver = waived(town)
    await publish(town, waiver)
    town.restart()
    await publish(town, waiver)
    await publish(town, waived(town, issued_at=waiver.issued_at - 60))
    (leaf,) = town.leaves("figures-waived")
    assert (leaf.partner_id, leaf.figures.period, leaf.figures.version) == ("p00", UNIT, 1)
    assert not {CELL, "due"} & {leaf.figures.cube, leaf.figures.level, leaf.user}
    assert kept(town) == [waiver]
    with pytest.raises(Conflict) as caught:
        await publish(town, waived(town, value=8))
    assert caught.value.reasons == ("WAIVED_OTHERWISE",)
    (refusal,) = town.leaves("StatisticsService.PublishWaiver")
    assert refusal.reasons == ["WAIVED_OTHERWISE"]


async def test_on_postgresql_it_is_the_same(
    world: World, tmp_path: Path, log_server: Postgres
) -> None:
    """One row for the same waiver, whichever gateway of the log it is brought to."""
    with logs(tmp_path, log_server) as made:
        town = town_of(world, tmp_path, place=made.place())
        for _ in range(2):
            await publish(town, waived(town))
        await publish(town, waived(town, partner="p01"))
        assert [each.partner for each in kept(town)] == ["p00", "p01"]
        with pytest.raises(Conflict):
            await publish(town, waived(town, value=8))
        assert await shown(town) == [Shown.VALUE, Shown.SUPPRESSED]
        town.close()


@pytest.mark.parametrize(
    ("how", "reason"),
    [({"brought": "p01"}, "WRONG_PEER"), ({"by": "p01"}, "SIGNATURE")],
)
async def test_nobody_publishes_anothers_figure(
    town: Town, how: dict[str, str], reason: str
) -> None:
    """Neither with the owner's signature from elsewhere, nor with another one's."""
    with pytest.raises(Forged) as caught:
        await publish(town, waived(town), **how)
    assert caught.value.reasons == (reason,)
    assert kept(town) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cube": "nothing"}, "CUBE_UNKNOWN"),
        ({"measure": "days"}, "WAIVER"),
        ({"cell": f"{UNIT}/XX"}, "CELL_UNKNOWN"),
        ({"cell": "2027-Q3/NL"}, "PERIOD_OPEN"),
        ({"version": 2}, "RELEASE_VERSION"),
        ({"value": 100_000_001}, "MEASURE_BOUND"),
        ({"layout": "0" * 64}, "CUBE_VERSION"),
        ({"issued_at": 2**39}, "WAIVER_TIME"),
    ],
)
async def test_what_is_no_figure_is_not_published(
    town: Town, changes: dict[str, Any], reason: str
) -> None:
    """Unknown, not due, more than one may state, or of other cells: refused, on the record."""
    with pytest.raises(FairleadError) as caught:
        await publish(town, waived(town, **changes))
    assert caught.value.reasons == (reason,)
    assert kept(town) == []
    assert town.leaves("StatisticsService.PublishWaiver")


async def test_a_partner_publishes_few(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is part of every audit; those of others are not counted."""
    monkeypatch.setattr(waivers, "MOST", 1)
    await publish(town, waived(town))
    with pytest.raises(Refused) as caught:
        await publish(town, waived(town, measure="done"))
    assert caught.value.reasons == ("WAIVER_LIMIT",)
    await publish(town, waived(town, partner="p01"))


async def test_octets_that_are_no_waiver_are_refused(town: Town) -> None:
    """Nothing at all, and a waiver with a blank more."""
    for octets in (b"", waived(town).to_bytes() + b" "):
        request = pb.PublishWaiverRequest(waiver=pb.SignedWaiver(waiver=octets))
        with pytest.raises(InvalidInput):
            await desk(town).publish(request, peer(town, "p00"))


# ── A raised version of the cube ─────────────────────────────────────────────────────────────


async def test_what_is_out_goes_on_under_a_raised_version_of_the_same_layout(town: Town) -> None:
    """With another title nobody is asked again, and every figure is the one that is frozen."""
    (first,) = await town.released()
    raise_version(town)
    town.wire.seen.clear()
    again = await raised(town)
    assert not town.wire.seen
    assert again == replace(first, cube=again.cube, registry_digest=town.registry.digest)
    assert again.cube.version == first.cube.version + 1
    assert again == await raised(town)


async def test_a_measure_that_is_new_or_another_is_not_shown_of_what_is_out(town: Town) -> None:
    """A rate of other parts is another one, a new one was not there, and the others go on."""
    (first,) = await town.released()
    *kept, share = LARGER["cubes"][0]["measures"]
    other = share | {"numerator": "due", "denominator": "done"}
    raise_version(town, measures=[*kept, other, share | {"id": "fresh"}])
    again = await raised(town)
    for name in ("due", "done", "kg", "days"):
        assert again.of(name) == first.of(name)
    for name in ("share", "fresh"):
        assert {cell.shown for cell in again.of(name)} == {Shown.SUPPRESSED}


async def test_what_is_out_of_another_layout_does_not_go_on(town: Town) -> None:
    """With a code more the cells are others, and everything of those months is withheld."""
    await town.ask()
    place, kind = LARGER["dimensions"]
    port, country = place["steps"]
    codes = [*port["codes"], {"code": "NLMOE", "title": "Moerdijk", "parent": "NL"}]
    raise_version(town, dimensions=[place | {"steps": [port | {"codes": codes}, country]}, kind])
    again = await raised(town)
    assert {cell.shown for cell in again.of("due")} == {Shown.SUPPRESSED}


async def raised(town: Town) -> Published:
    """The release as the cube's readers of today have it."""
    cube = town.registry.cube("reports")
    released = (await town.ask(cube=cube))[-1].released.release
    return Published.parse(released, [town.registry])


def raise_version(
    town: Town, *, dimensions: list[Any] | None = None, measures: list[Any] | None = None
) -> None:
    """Put another registry in force."""
    (cube, *others) = LARGER["cubes"]
    content = LARGER | {
        "version": LARGER["version"] + 1,
        "dimensions": dimensions or LARGER["dimensions"],
        "cubes": [
            cube
            | {
                "version": cube["version"] + 1,
                "title": "Reports that came in",
                "measures": measures or cube["measures"],
            },
            *others,
        ],
    }
    town.registry = town.wire.registry = Registry.parse(written(content))
    town.policy.cubes = town.registry.canonical
