"""An owner publishes its own figure: shown first, signed once, on the record, and handed over."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fairlead.errors import FairleadError, InvalidInput, Refused, Stale, Unreachable
from fairlead.strategic.waiver import Waiver, verify_waiver
from fairlead.v1 import statistics_pb2 as pb
from node.statistics.waiving import Waiving
from tests.stating import CUBE, LEVEL, PARTNERS, Clock, One, Row, Stating
from tests.walks import NOW, World, make_world

OWNER = PARTNERS[2]
CELL = "2026-Q3/NL"
HAS: Row = (5, 4, 3, 60, 1, 2, 0, 0)
"""Five records, four due, three done, 60 kg."""
ROWS: dict[str, list[Row]] = {name: [HAS, HAS] for name in PARTNERS}
ASKED: dict[str, Any] = {
    "cube": "reports", "level": LEVEL, "cell": CELL, "measure": "due", "version": 1, "by": "u-t01",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("waiving"), partners=PARTNERS)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """The files of nodes that have said nothing yet."""
    folder = tmp_path_factory.mktemp("fresh")
    asyncio.run(Stating(folder, world, ROWS, clock=Clock(NOW)).close())
    return folder


@pytest.fixture
async def nodes(tmp_path: Path, fresh: Path, world: World) -> AsyncIterator[Stating]:
    shutil.copytree(fresh, tmp_path / "nodes")
    made = Stating(tmp_path / "nodes", world, ROWS, clock=Clock(NOW))
    yield made
    await made.close()


@dataclass
class Desk:
    """A gateway that takes waivers, or does not answer."""

    nodes: Stating
    silent: bool = False
    taken: list[pb.SignedWaiver] = field(default_factory=list)

    async def take(self, request: pb.PublishWaiverRequest) -> None:
        if self.silent:
            raise Unreachable("the gateway does not answer", reasons=("GATEWAY_UNREACHABLE",))
        self.taken.append(request.waiver)

    async def waive(self, **changes: Any) -> dict[str, Any]:
        """What the owner of one node does."""
        taking = self.nodes.nodes[OWNER].taking
        return await Waiving(taking=taking, hand_over=self.take).waive(**(ASKED | changes))

    def waivers(self) -> list[Waiver]:
        """Those taken, each verified."""
        directory = self.nodes.world.directory.current
        return [
            verify_waiver(each.waiver, each.signature, directory=directory, cube=CUBE)
            for each in self.taken
        ]

    def leaves(self) -> list[str]:
        """Who published, by the node's log."""
        rows = self.nodes.nodes[OWNER].leaves
        return [leaf.user for leaf in rows if leaf.subject == "figure-waived"]


async def test_it_is_shown_first_and_published_as_shown(nodes: Stating) -> None:
    """Nothing leaves, and nothing is recorded, before the value that was shown is confirmed."""
    desk = Desk(nodes)
    found = await desk.waive()
    assert (found["value"], found["unit"], found["state"]) == (4, "reports", "shown")
    assert found["frozen"] is False
    assert (desk.taken, desk.leaves()) == ([], [])
    with pytest.raises(Stale) as caught:
        await desk.waive(value=5)
    assert caught.value.reasons == ("FIGURE_CHANGED",)
    assert (desk.taken, desk.leaves()) == ([], [])
    done = await desk.waive(value=4)
    assert (done["state"], done["changed"]) == ("published", True)
    (waiver,) = desk.waivers()
    assert (waiver.partner, waiver.cell, waiver.value, waiver.version) == (OWNER, CELL, 4, 1)
    assert desk.leaves() == ["u-t01"]


async def test_the_same_again_hands_over_the_same_octets(nodes: Stating) -> None:
    """What the gateway did not get, it gets later; records that came meanwhile change nothing."""
    desk = Desk(nodes, silent=True)
    with pytest.raises(Unreachable):
        await desk.waive(value=4)
    desk.silent = False
    nodes.clock.now += 60
    nodes.nodes[OWNER].taking.figures.origin.rows = [(9, 9, 9, 99, 1, 0, 0, 0)] * 2
    await nodes.nodes[OWNER].again()
    found = await desk.waive()
    assert (found["value"], found["state"]) == (4, "published")
    for _ in range(2):
        assert (await desk.waive(value=4))["changed"] is False
    assert len({each.waiver for each in desk.taken}) == 1
    assert len(desk.leaves()) == 1


@pytest.mark.parametrize(("measure", "value"), [("due", 4), ("done", 3), ("kg", 60)])
async def test_of_a_release_the_figure_that_was_summed_is_published(
    nodes: Stating, measure: str, value: int
) -> None:
    """Once the rounds froze it, late records have no say."""
    await nodes.run(nodes.terms())
    nodes.nodes[OWNER].taking.figures.origin.rows = [(9, 9, 9, 99, 1, 0, 0, 0)] * 2
    desk = Desk(nodes)
    found = await desk.waive(measure=measure)
    assert (found["value"], found["frozen"]) == (value, True)
    await desk.waive(measure=measure, value=value)
    (waiver,) = desk.waivers()
    assert (waiver.measure, waiver.value) == (measure, value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cube": "nothing"}, "CUBE_UNKNOWN"),
        ({"level": "quarter,nothing"}, "LEVEL_UNKNOWN"),
        ({"cell": "2026-Q3/XX"}, "CELL_UNKNOWN"),
        ({"cell": "2026/NL"}, "CELL_UNKNOWN"),
        ({"measure": "nothing"}, "MEASURE_UNKNOWN"),
        ({"measure": "days"}, "WAIVER_MEASURE"),
        ({"measure": "share"}, "WAIVER_MEASURE"),
        ({"cell": "2027-Q3/NL"}, "PERIOD_OPEN"),
        ({"version": 0}, "RELEASE_VERSION"),
        ({"version": 2}, "RELEASE_VERSION"),
        ({"cell": "2025-Q3/NL"}, "RELEASE_VERSION"),
        ({"by": "Jan Jansen"}, "CODE"),
    ],
)
async def test_what_is_no_own_figure_is_refused(
    nodes: Stating, changes: dict[str, Any], reason: str
) -> None:
    """Unknown, made of others, open, not due, or of first figures that were never stated."""
    desk = Desk(nodes)
    with pytest.raises(FairleadError) as caught:
        await desk.waive(**{"value": 4} | changes)
    assert caught.value.reasons == (reason,)
    assert (desk.taken, desk.leaves()) == ([], [])
    assert isinstance(caught.value, InvalidInput) or caught.value.remedy


async def test_what_is_not_counted_here_is_not_published(nodes: Stating) -> None:
    """Not reported is not nought; and another node of the partner has said nothing."""
    desk, taking = Desk(nodes), nodes.nodes[OWNER].taking
    taking.figures = One(None)
    with pytest.raises(Refused) as caught:
        await desk.waive()
    assert caught.value.reasons == ("NOT_REPORTED",)
    directory = nodes.world.directory.current
    listed = directory.partner(OWNER)
    first = replace(listed.nodes[0], spiffe_id=f"{listed.nodes[0].spiffe_id}-first")
    partners = {**directory.partners, OWNER: replace(listed, nodes=(first, *listed.nodes))}
    taking.directory = replace(directory, partners=MappingProxyType(partners))
    with pytest.raises(Refused) as caught:
        await desk.waive()
    assert caught.value.reasons == ("FIRST_NODE",)
