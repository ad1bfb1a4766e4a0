"""A node in the rounds: what it says sums up, once, on the record; all else it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import telemetry
from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import FairleadError, LogUnavailable
from fairlead.strategic.terms import FINAL_AFTER_S
from fairlead.summing.noise import Noise
from fairlead.v1 import statistics_pb2 as pb
from node.statistics.agreeing import agree, quarters
from node.statistics.taking import AT_ONCE
from tests.cubes import small, written
from tests.stating import (
    CUBE,
    PARTNERS,
    REGISTRY,
    UNIT,
    Changed,
    Clock,
    Given,
    Node,
    Stating,
    cells,
)
from tests.walks import NOW, World, make_world

ROWS = {
    name: [(0,) * 8 if place > 2 else (1 + place, 1, 1, 10 * place, 0, 1, 0, 0),
           (2 + place, 2, 1, 20, 1, 0, 0, 1)]
    for place, name in enumerate(PARTNERS)
}  # fmt: skip
"""Three partners have something in the first cell, all have in the second."""
MEASURES = ("m0", "m1", "m2", "m3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Keys and a directory of six partners."""
    return make_world(tmp_path_factory.mktemp("stating"), partners=PARTNERS)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """The files of nodes that have said nothing yet, to be copied: making them takes a while."""
    folder = tmp_path_factory.mktemp("fresh")
    asyncio.run(Stating(folder, world, ROWS, clock=Clock(NOW)).close())
    return folder


@pytest.fixture
async def nodes(tmp_path: Path, fresh: Path, world: World) -> AsyncIterator[Stating]:
    """A node of each partner."""
    shutil.copytree(fresh, tmp_path / "nodes")
    made = Stating(tmp_path / "nodes", world, ROWS, clock=Clock(NOW))
    yield made
    await made.close()


@pytest.fixture(scope="module")
def police(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[Stating]:
    """One node that refuses everything."""
    rows = {"police": ROWS["police"]}
    made = Stating(tmp_path_factory.mktemp("police"), world, rows, clock=Clock(NOW))
    yield made
    asyncio.run(made.close())


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """All noise is nought."""
    monkeypatch.setattr(Noise, "share", lambda *_: 0)


@contextmanager
def refused(reason: str) -> Iterator[list[FairleadError]]:
    """It is refused for this reason."""
    caught: list[FairleadError] = []
    with pytest.raises(FairleadError) as raised:
        yield caught
    assert raised.value.reasons[0] == reason
    caught.append(raised.value)


# ── Three rounds ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("quiet")
async def test_three_rounds_sum_up(nodes: Stating) -> None:
    """Every word's total in the cell that enough contribute to, and nothing of the other one."""
    found = await nodes.run(nodes.terms())
    first, second = cells()
    assert found.contributors == {
        first: {"m0": 3, "m1": 3, "m2": 2, "m3": 3}, second: dict.fromkeys(MEASURES, 6)
    }  # fmt: skip
    assert list(found.sums) == [second]
    expected = [sum(words) for words in zip(*(rows[1][1:] for rows in ROWS.values()), strict=True)]
    plain = {name: total for name, total in found.sums[second].items() if "^" not in name}
    assert list(plain.values()) == expected
    assert found.sums[second]["m2^2"] == 6 * 20**2


async def test_noise_is_in_it_and_the_same_again(nodes: Stating) -> None:
    """Asked again, every round has the same octets; figures are counted once, leaves are two."""
    terms = nodes.terms()
    said = await nodes.counted(terms), await nodes.summed(terms, await nodes.counted(terms))
    assert await nodes.ready(terms) == await nodes.ready(terms)
    assert said == (await nodes.counted(terms), await nodes.summed(terms, said[0]))
    exact = sum(rows[1][1] for rows in ROWS.values())
    assert abs(nodes.combined(terms, *said).sums[cells()[1]]["m0"] - exact) < 800
    for node in nodes.nodes.values():
        assert node.told == ["figures-counted", "figures-summed"]
        assert len(node.origin.counted) == 1


async def test_a_restart_between_any_two_rounds_changes_nothing(nodes: Stating) -> None:
    """Files alone know what was said: a node that stops goes on where it was."""
    terms = nodes.terms()
    indicators = await nodes.counted(terms)
    for node in nodes.nodes.values():
        node.origin.rows = [(9, 9, 9, 9, 0, 0, 0, 0)] * 2
        await node.again()
    assert await nodes.counted(terms) == indicators
    values = await nodes.summed(terms, indicators)
    for node in nodes.nodes.values():
        await node.again()
    assert await nodes.summed(terms, indicators) == values
    counted = nodes.combined(terms, indicators, values).contributors
    assert counted[cells()[1]] == dict.fromkeys(MEASURES, 6)
    assert nodes.nodes["police"].told == ["figures-counted", "figures-summed"]


async def test_durable_then_on_the_record_then_said(nodes: Stating) -> None:
    """A log that fails keeps a statement in; what was kept is said once there is its leaf."""
    terms, node = nodes.terms(), nodes.nodes["police"]
    request = pb.CountContributorsRequest(terms=nodes.wire(terms), ready=await nodes.ready(terms))
    order: list[str] = []
    keep, append = node.store.keep, node.log.append

    def keeping(key: bytes, octets: bytes) -> None:
        keep(key, octets)
        order.append("kept")

    async def failing(*_: Any, **__: Any) -> None:
        order.append("leaf")
        raise LogUnavailable("the log cannot be written")

    node.store.keep = keeping  # type: ignore[method-assign]
    node.log.append = failing  # type: ignore[method-assign,assignment]
    with refused("LOG_UNAVAILABLE"):
        await node.taking.count(request, nodes.peer)
    assert order[:3] == ["kept", "kept", "leaf"]
    node.log.append = append  # type: ignore[method-assign]
    assert node.told == []
    node.origin.rows = [(9, 9, 9, 9, 0, 0, 0, 0)] * 2
    said = (await node.taking.count(request, nodes.peer)).statement
    assert order.count("kept") == 2
    (leaf,) = node.leaves
    assert leaf.figures.statement_digest == hashlib.sha256(said.vector).digest()


async def test_a_leaf_has_which_figures_and_none_of_them(nodes: Stating) -> None:
    """Cube, level, unit, version, list and digest; no cell, no asker, no gateway."""
    terms = nodes.terms()
    await nodes.run(terms)
    for leaf in nodes.nodes["customs"].leaves:
        about = leaf.figures
        assert (about.cube, about.level, about.period) == ("reports", "quarter,country", "2026-Q3")
        assert (about.version, about.participants) == (1, 6)
        assert (about.list_digest, len(about.statement_digest)) == (terms.list_digest, 32)
        assert (leaf.partner_id, leaf.user, leaf.query_id) == ("", "", b"")
        assert not any(cell.encode() in leaf.SerializeToString() for cell in cells())


async def test_two_nodes_of_a_partner_over_one_file_say_the_same(
    nodes: Stating, world: World
) -> None:
    """Each has its own log; whichever is asked, the octets are those said first."""
    terms, node = nodes.terms(), nodes.nodes["police"]
    beside = Node("police", node.folder / "beside", world, nodes.clock, Given([]), world.directory)
    beside.taking.store = node.store
    beside.log.close()
    request = pb.CountContributorsRequest(terms=nodes.wire(terms), ready=await nodes.ready(terms))
    first = await node.taking.count(request, nodes.peer)
    beside.open()
    beside.taking.store = node.store
    assert await beside.taking.count(request, nodes.peer) == first
    assert (beside.told, beside.origin.counted) == (["figures-counted"], [])
    await beside.close()


async def test_the_clock_decides_the_version_and_the_cut_off_is_now(nodes: Stating) -> None:
    """Final figures are due half a year after the unit; a gateway's clock may run ahead of this
    one by two minutes, and then what is recorded by now is counted."""
    old = parse_unit("2026-Q1")
    terms = nodes.terms(unit=old, version=2, cut_off=int(NOW) + 100)
    await nodes.counted(terms)
    assert nodes.nodes["police"].origin.counted == [("quarter,country", "2026-Q1", NOW)]
    before = nodes.terms(unit=old, version=1, cut_off=old.ends + FINAL_AFTER_S - 1)
    await nodes.counted(before)
    assert nodes.nodes["police"].origin.counted[1][2] == old.ends + FINAL_AFTER_S - 1
    assert quarters(NOW) == ("2026-Q4", "2026-Q3")
    assert quarters(parse_unit("2027").begins) == ("2027-Q1", "2026-Q4")


# ── What is refused ──────────────────────────────────────────────────────────────────────────


def _wire(nodes: Stating, **changes: Any) -> pb.RoundTerms:
    wire = nodes.wire(nodes.terms(PARTNERS))
    for name, value in changes.items():
        if name == "participants":
            del wire.participants[:]
            wire.participants.extend(value)
        else:
            setattr(wire, name, value)
    return wire


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another registry": ({"registry_digest": bytes(32)}, "CUBE_VERSION"),
    "another cube version": ({"cube_version": 3}, "CUBE_VERSION"),
    "no such cube": ({"cube": "reportss"}, "CUBE_UNKNOWN"),
    "a level spelt otherwise": ({"level": "country,quarter"}, "LEVEL_UNKNOWN"),
    "a unit spelt otherwise": ({"unit": "2026-q3"}, "PERIOD_MALFORMED"),
    "the unit as its months": ({"unit": "2026-07"}, "PERIOD_STEP"),
    "two units": ({"unit": "2026-Q2..2026-Q3"}, "PERIOD_MALFORMED"),
    "a unit that is open": ({"unit": "2026-Q4"}, "PERIOD_OPEN"),
    "a cut-off before the end": ({"cut_off": UNIT.ends - 1}, "PERIOD_OPEN"),
    "a cut-off to come": ({"cut_off": int(NOW) + 121}, "CUT_OFF"),
    "a cut-off before all time": ({"cut_off": -(2**63)}, "PERIOD_OPEN"),
    "a cut-off after all time": ({"cut_off": 2**63 - 1}, "PERIOD_OPEN"),
    "final figures too soon": ({"version": 2}, "RELEASE_VERSION"),
    "a version that is none": ({"version": 0}, "RELEASE"),
    "first figures too late": ({"unit": "2026-Q1"}, "RELEASE_VERSION"),
    "seeds of long ago": ({"quarter": "2026-Q2"}, "QUARTER"),
    "seeds to come": ({"quarter": "2027-Q1"}, "QUARTER"),
    "a list out of order": ({"participants": PARTNERS[::-1]}, "PARTICIPANTS"),
    "a list without it": ({"participants": [p for p in PARTNERS if p != "police"]}, "PARTICIPANTS"),
    "a list with a stranger": ({"participants": [*PARTNERS, "zz"]}, "UNKNOWN_PARTNER"),
    "a list of three": ({"participants": ["customs", "police", "quayguard"]},
                        "TOO_FEW_PARTICIPANTS"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_terms_that_do_not_agree_are_refused(police: Stating, name: str) -> None:
    """On the record, in the first round and the second; nothing is counted, kept or promised."""
    changes, reason = REFUSED[name]
    wire, node = _wire(police, **changes), police.nodes["police"]
    before = len(node.told)
    with refused(reason):
        await node.taking.ready(pb.GetReadyRequest(terms=wire), police.peer)
    with refused(reason):
        await node.taking.count(pb.CountContributorsRequest(terms=wire), police.peer)
    assert node.told[before:] == [
        f"FiguresService.GetReady {reason}", f"FiguresService.CountContributors {reason}",
    ]  # fmt: skip
    assert node.leaves[before].user == police.peer.spiffe_id
    assert (node.origin.counted, list(node.store.served("reports"))) == ([], [])


WIRES = st.builds(
    pb.RoundTerms,
    cube=st.sampled_from(["reports", "", "\x00"]) | st.text(max_size=9),
    cube_version=st.sampled_from([0, 2, 2**32 - 1]),
    registry_digest=st.sampled_from([REGISTRY.digest, b""]),
    level=st.sampled_from([level.name for level in CUBE.levels]) | st.text(max_size=9),
    unit=st.sampled_from(["2026-Q3", "2026-07", "2025", "2099"]) | st.text(max_size=9),
    version=st.integers(0, 3) | st.just(2**32 - 1),
    participants=st.just(PARTNERS) | st.lists(st.text(max_size=5), max_size=6),
    quarter=st.sampled_from(["2026-Q4", "2026-Q3", "2026-Q5"]) | st.text(max_size=9),
    cut_off=st.sampled_from([int(NOW), UNIT.ends, 0]) | st.integers(-(2**63), 2**63 - 1),
)


@settings(max_examples=300, deadline=None)
@given(wire=WIRES, now=st.sampled_from([NOW, float(UNIT.ends)]))
def test_no_terms_whatever_break_a_node(wire: pb.RoundTerms, now: float) -> None:
    """Anything that a gateway can write is agreed to or refused in our own words."""
    with suppress(FairleadError):
        found = agree(wire, REGISTRY, now=now)
        assert found.unit.ends <= found.terms.cut_off <= now + 120
        assert found.terms.quarter in quarters(now)


async def test_a_node_that_pauses_or_has_nothing_declines(nodes: Stating) -> None:
    """A pause is said; without an origin it is not reported, which is not nought."""
    request = pb.GetReadyRequest(terms=nodes.wire(nodes.terms()))
    paused, bare = nodes.nodes["police"], nodes.nodes["customs"]
    paused.paused = True
    with refused("OWNER_PAUSED"):
        await paused.taking.ready(request, nodes.peer)
    bare.taking.figures.origin = None  # type: ignore[attr-defined]
    with refused("NOT_REPORTED"):
        await bare.taking.ready(request, nodes.peer)
    paused.paused = False
    assert (await paused.taking.ready(request, nodes.peer)).statement.partner_id == "police"


async def test_a_pause_that_begins_meanwhile_keeps_a_statement_in(nodes: Stating) -> None:
    """What is said by then stays on the record and is said when the pause is over."""
    terms, node = nodes.terms(), nodes.nodes["police"]
    request = pb.CountContributorsRequest(terms=nodes.wire(terms), ready=await nodes.ready(terms))
    node.taking._ahead.clear()
    count = node.taking.figures.count

    async def pausing(*arguments: Any, **named: Any) -> Any:
        node.paused = True
        return await count(*arguments, **named)

    node.taking.figures = Changed(node.taking.figures, pausing)
    with refused("OWNER_PAUSED"):
        await node.taking.count(request, nodes.peer)
    node.paused = False
    assert (await node.taking.count(request, nodes.peer)).statement.partner_id == "police"
    assert node.told == ["figures-counted", "FiguresService.CountContributors OWNER_PAUSED"]


async def test_a_second_node_an_old_directory_and_no_registry_decline(nodes: Stating) -> None:
    """Of several nodes the first listed takes part; nothing is done under what has expired."""
    request = pb.GetReadyRequest(terms=nodes.wire(nodes.terms()))
    second, node = nodes.nodes["customs"], nodes.nodes["police"]
    second.taking.node += "-2"
    with refused("NOT_REPORTED"):
        await second.taking.ready(request, nodes.peer)
    nodes.clock.now = float(nodes.world.directory.expires_at)
    with refused("DIRECTORY_EXPIRED"):
        await node.taking.ready(request, nodes.peer)
    nodes.clock.now = NOW

    async def missing() -> Registry:
        from fairlead.policy.cubes import cubes_in

        return cubes_in({})

    node.taking.cubes = missing
    with refused("CUBES_MISSING"):
        await node.taking.ready(request, nodes.peer)


async def test_another_registry_between_two_rounds_stops_the_rounds(nodes: Stating) -> None:
    """Who takes up a new policy in between states nothing that others understand otherwise."""
    terms = nodes.terms()
    indicators = await nodes.counted(terms)
    node = nodes.nodes["police"]
    node.registry = Registry.parse(written(small(version=4)))
    with refused("CUBE_VERSION"):
        await nodes.summed(terms, indicators)
    node.registry = REGISTRY
    assert len(await nodes.summed(terms, indicators)) == 6


async def test_figures_over_their_bound_are_not_reported(
    nodes: Stating, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's log has the code and the gateway learns only that there is nothing, until they
    are corrected and the same rounds go on."""
    monkeypatch.setattr(telemetry, "_settings", telemetry._Settings())
    terms, node = nodes.terms(), nodes.nodes["police"]
    good = node.origin.rows
    for rows, reason in (
        ([(1, 1, 1, 10**6, 0, 1, 0, 0)] * 2, "MEASURE_BOUND"),
        ([(1, 0, 1, 20, 0, 1, 0, 0)] * 2, "FIGURES"),  # kilograms of nothing
    ):
        node.origin.rows = rows
        with refused("NOT_REPORTED") as caught:
            await nodes.counted(terms)
        assert node.told[-1] == f"FiguresService.GetReady {reason}"
        told = capfd.readouterr().err
        assert (told.count("figures-not-stated"), told.count(reason)) == (1, 1)
        assert "100000" not in told + caught[0].diagnostics()
        assert not any(cell in told + caught[0].diagnostics() for cell in cells())
        assert "MEASURE" not in repr(caught[0].reasons)
    assert list(node.store.served("reports")) == []
    node.origin.rows = good
    assert (await nodes.run(terms)).contributors[cells()[1]] == dict.fromkeys(MEASURES, 6)


async def test_what_else_keeps_it_from_counting_is_its_owners_business(nodes: Stating) -> None:
    """A log that cannot be read is on the node's record alone."""
    terms, node = nodes.terms(), nodes.nodes["police"]

    async def unreadable(*_: Any, **__: Any) -> None:
        raise LogUnavailable("the log cannot be read")

    node.taking.figures = Changed(node.taking.figures, unreadable)
    with refused("NOT_REPORTED"):
        await nodes.counted(terms)
    assert node.told == ["FiguresService.GetReady LOG_UNAVAILABLE"]


async def test_who_counts_slowly_is_ready_when_asked_again(nodes: Stating) -> None:
    """A gateway that gave up finds them counted a minute later; what was counted quickly is
    counted anew, with what was recorded meanwhile."""
    node = nodes.nodes["police"]
    request = pb.GetReadyRequest(terms=nodes.wire(nodes.terms()))
    await node.taking.ready(request, nodes.peer)
    nodes.clock.now += 60
    again = pb.GetReadyRequest(terms=nodes.wire(nodes.terms()))
    count = node.taking.figures.count

    async def slow(*arguments: Any, **named: Any) -> Any:
        nodes.clock.now += 11
        return await count(*arguments, **named)

    quick, node.taking.figures = node.taking.figures, Changed(node.taking.figures, slow)
    await node.taking.ready(again, nodes.peer)
    node.taking.figures = quick
    for seconds, counted in ((49, 2), (600, 3)):
        nodes.clock.now += seconds
        later = pb.GetReadyRequest(terms=nodes.wire(nodes.terms()))
        await node.taking.ready(later, nodes.peer)
        assert len(node.origin.counted) == counted


async def test_calls_beyond_a_few_come_again(nodes: Stating) -> None:
    """A gateway that asks for everything at once waits; who is inside is not disturbed."""
    terms, node = nodes.terms(), nodes.nodes["police"]
    request = pb.CountContributorsRequest(terms=nodes.wire(terms), ready=await nodes.ready(terms))
    node.taking._ahead.clear()  # as after a restart
    going, count = asyncio.Event(), node.taking.figures.count

    async def slow(*arguments: Any, **named: Any) -> Any:
        await going.wait()
        return await count(*arguments, **named)

    node.taking.figures = Changed(node.taking.figures, slow)
    calls = [asyncio.create_task(node.taking.count(request, nodes.peer)) for _ in range(AT_ONCE)]
    while node.taking._busy < AT_ONCE:
        await asyncio.sleep(0.01)
    with refused("ROUNDS_IN_FLIGHT"):
        await node.taking.count(request, nodes.peer)
    going.set()
    found = await asyncio.gather(*calls)
    assert all(each == found[0] for each in found)
    assert node.told == ["FiguresService.CountContributors ROUNDS_IN_FLIGHT", "figures-counted"]


async def test_a_list_too_close_is_refused_at_every_level_and_version(nodes: Stating) -> None:
    """One fewer than was served, whether of this release, of its year, or of the next version."""
    old = parse_unit("2025-Q4")
    cut_off = old.ends + FINAL_AFTER_S - 1
    await nodes.counted(nodes.terms(unit=old, version=1, cut_off=cut_off))
    for changes in (
        {"unit": old, "version": 1, "cut_off": cut_off}, {"unit": old, "version": 2},
        {"level": "year", "unit": parse_unit("2025"), "version": 2},
    ):  # fmt: skip
        with refused("LIST_TOO_CLOSE"):
            await nodes.ready(nodes.terms(PARTNERS[:5], **changes))
    await nodes.ready(nodes.terms(PARTNERS[:5]))
    assert CUBE.id == "reports"
