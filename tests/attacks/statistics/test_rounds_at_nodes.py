"""Attacks on the rounds at real nodes: each fails, and succeeds with its defence switched off."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fairlead import summing
from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError, Forged
from fairlead.keyring import KeyRing, load_mask_key, mask_public
from fairlead.strategic.statements import statement_from_wire, statement_to_wire
from fairlead.summing import Binding, ListKeeper, Round, Statement, Terms, mask
from fairlead.summing.masking import ParticipantMissing, unpack
from fairlead.summing.noise import Noise
from fairlead.v1 import statistics_pb2 as pb
from node.rotating import Kind, listed_entry, rotate
from node.statistics import FILE
from node.statistics.taking import TakingPart
from tests.stating import PARTNERS, Clock, Row, Stating, cells
from tests.walks import NOW, World, make_world

NOTHING: Row = (0,) * 8
ROWS: dict[str, list[Row]] = {
    name: [
        NOTHING if place > 1 else (3 + place, 1, 1, 7, 1, 0, 0, 0),
        (5 + place, 2, 1, 20, 1, 0, 0, 1),
    ]
    for place, name in enumerate(PARTNERS)
}
"""Two partners have something in the first cell, all have in the second."""
MEASURES = ("m0", "m1", "m2", "m3")
BOUGHT, TARGET = PARTNERS[5], PARTNERS[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Keys and a directory of six partners."""
    return make_world(tmp_path_factory.mktemp("rounds"), partners=PARTNERS)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """The files of nodes that have said nothing yet."""
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


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No noise: what is tried here is stopped by something else."""
    monkeypatch.setattr(Noise, "share", lambda *_: 0)


def signed(nodes: Stating, name: str, binding: Binding, vector: bytes) -> pb.RoundStatement:
    """What a bought node says under its own key."""
    return statement_to_wire(Statement.sign(name, nodes.world.signing_key(name), binding, vector))


def masked(
    nodes: Stating, name: str, terms: Terms, binding: Binding, values: Sequence[int]
) -> pb.RoundStatement:
    """Other values than the node has, under its own masks."""
    others = [other for other in terms.participants if other != name]
    seeds = {other: nodes.nodes[name].taking._seeds(other, terms.quarter) for other in others}
    return signed(nodes, name, binding, mask(values, name, others, seeds, binding))


def instead(said: Sequence[pb.RoundStatement], other: pb.RoundStatement) -> list[pb.RoundStatement]:
    """One partner's statement in place of its own."""
    return [other if each.partner_id == other.partner_id else each for each in said]


def seen(said: Sequence[pb.RoundStatement]) -> dict[str, bytes]:
    """The vectors."""
    return {each.partner_id: each.vector for each in said}


# ── A node that lies ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 16, 31, 48])
async def test_a_vector_of_another_length_stops_the_rounds(nodes: Stating, size: int) -> None:
    """Under its node's own signature: every other node refuses, and so does the gateway."""
    terms = nodes.terms()
    binding = terms.binding(Round.INDICATORS)
    said = await nodes.counted(terms)
    short = signed(nodes, BOUGHT, binding, said[-1].vector.ljust(size, b"\0")[:size])
    honest = tuple(name for name in PARTNERS if name != BOUGHT)
    for name in honest:
        request = pb.SumValuesRequest(terms=nodes.wire(terms), indicators=instead(said, short))
        with pytest.raises(Forged, match="another length"):
            await nodes.nodes[name].taking.sum(request, nodes.peer)
        assert nodes.nodes[name].told[-1] == "FiguresService.SumValues VECTORS"
    values = await nodes.summed(terms, said)
    late = signed(nodes, BOUGHT, terms.values_binding(seen(said)), values[-1].vector[:-16])
    with pytest.raises(Forged, match="another length"):
        nodes.combined(terms, said, instead(values, late))


@pytest.mark.usefixtures("quiet")
async def test_more_than_a_bound_allows_is_not_summed(
    nodes: Stating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bought node's figure beyond all bounds shows in the sum; unlooked at, it is in it."""
    terms = nodes.terms()
    said = await nodes.counted(terms)
    values = await nodes.summed(terms, said)
    words = len(terms.words)
    inflated = [10**6] + [0] * (words - 1)
    lie = masked(nodes, BOUGHT, terms, terms.values_binding(seen(said)), inflated)
    with pytest.raises(Forged) as caught:
        nodes.combined(terms, said, instead(values, lie))
    assert caught.value.code == "MASKS"
    monkeypatch.setattr("fairlead.summing.combining._check_range", lambda *_: None)
    found = nodes.combined(terms, said, instead(values, lie))
    assert found.sums[cells()[1]]["m0"] > 10**6


async def test_an_old_vector_is_not_summed_anew(
    nodes: Stating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said of another unit is not signed for this one; without signatures and bindings
    it passes for this one's."""
    before = nodes.terms(unit=parse_unit("2026-Q2"))
    old = {each.partner_id: each for each in await nodes.counted(before)}
    terms = nodes.terms()
    said = await nodes.counted(terms)
    replayed = instead(said, old[BOUGHT])
    request = pb.SumValuesRequest(terms=nodes.wire(terms), indicators=replayed)
    with pytest.raises(Forged) as caught:
        await nodes.nodes["police"].taking.sum(request, nodes.peer)
    assert caught.value.code == "SIGNATURE"
    monkeypatch.setattr(Statement, "verify", lambda *_: None)
    with pytest.raises(Forged) as caught:
        await nodes.nodes["police"].taking.sum(request, nodes.peer)
    assert caught.value.code == "MASKS"
    monkeypatch.setattr(Binding, "to_bytes", lambda self: bytes([self.round]))
    anew = {name: _bare(nodes, name, terms, PARTNERS.index(name) < 4) for name in PARTNERS}
    other = _bare(nodes, BOUGHT, before, True)
    found = summing.contributors({**anew, BOUGHT: other}, terms)
    assert found[0] == summing.contributors(anew, terms)[0] + 1


def _bare(nodes: Stating, name: str, terms: Terms, contributes: bool) -> bytes:
    """An indicator vector under the bindings in force."""
    binding = terms.binding(Round.INDICATORS)
    return masked(nodes, name, terms, binding, [int(contributes), *[1] * (terms.flags - 1)]).vector


# ── Whoever is missing ───────────────────────────────────────────────────────────────────────


async def test_who_drops_out_of_the_second_round_stops_it_and_comes_back(nodes: Stating) -> None:
    """Nothing is summed of the rest; the same list goes on later, octet by octet."""
    terms = nodes.terms()
    partial = await nodes.counted(terms, without=[TARGET])
    for name in PARTNERS:
        request = pb.SumValuesRequest(terms=nodes.wire(terms), indicators=partial)
        with pytest.raises(FairleadError) as caught:
            await nodes.nodes[name].taking.sum(request, nodes.peer)
        assert caught.value.code in {"PARTICIPANT_MISSING", "ROUND_ORDER"}
    nodes.clock.now += 3600
    said = await nodes.counted(terms)
    assert [each for each in said if each.partner_id != TARGET] == partial
    found = nodes.combined(terms, said, await nodes.summed(terms, said))
    assert found.contributors == {
        cell: dict.fromkeys(MEASURES, count) for cell, count in zip(cells(), (2, 6), strict=True)
    }


async def test_who_drops_out_of_the_third_round_stops_it_and_comes_back(nodes: Stating) -> None:
    """All but one's values add up to nothing at all; with the last one they do."""
    terms = nodes.terms()
    said = await nodes.counted(terms)
    partial = await nodes.summed(terms, said, without=[TARGET])
    with pytest.raises(ParticipantMissing):
        nodes.combined(terms, said, partial)
    await nodes.nodes[TARGET].again()
    values = await nodes.summed(terms, said)
    assert [each for each in values if each.partner_id != TARGET] == partial
    assert nodes.combined(terms, said, values).sums.keys() == {cells()[1]}


@pytest.mark.usefixtures("quiet")
async def test_a_claimed_drop_out_isolates_nobody(
    nodes: Stating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others refuse a list without one that is said to be gone; if they did not, the difference
    of both sums would be what that partner has."""
    terms = nodes.terms()
    whole = await nodes.run(terms)
    rest = nodes.terms([name for name in PARTNERS if name != TARGET])
    for name in rest.participants:
        request = pb.GetReadyRequest(terms=nodes.wire(rest))
        with pytest.raises(FairleadError) as caught:
            await nodes.nodes[name].taking.ready(request, nodes.peer)
        assert caught.value.code == "LIST_TOO_CLOSE"
    monkeypatch.setattr(ListKeeper, "judge", lambda *_: None)
    monkeypatch.setattr(ListKeeper, "_check_settled", lambda *_: None)
    without = await nodes.run(rest)
    cell = cells()[1]
    left = [whole.sums[cell][name] - found for name, found in without.sums[cell].items()]
    _, asked, other, _, *bars = ROWS[TARGET][1]
    assert left == [asked, other, *bars]  # of kilograms five contributors are too few


async def test_the_gateway_sees_no_vector_in_the_clear(nodes: Stating) -> None:
    """Whatever it has of one node looks like nothing: no word of it is near a figure."""
    terms = nodes.terms()
    said = await nodes.counted(terms)
    for each in [*said, *await nodes.summed(terms, said)]:
        assert all(abs(word) > 2**64 for word in unpack(each.vector))


# ── A node that forgets ──────────────────────────────────────────────────────────────────────


async def _lose(nodes: Stating, name: str) -> None:
    """The file of what was said is gone, and the node's records have changed."""
    node = nodes.nodes[name]
    await node.close()
    for suffix in ("", "-wal", "-shm"):
        (node.folder / f"{FILE}{suffix}").unlink(missing_ok=True)
    node.origin.rows = [ROWS[name][0], (9, 3, 2, 40, 1, 1, 0, 1)]
    node.open()


async def test_a_node_that_forgot_says_nothing_under_the_same_masks(
    nodes: Stating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found out by the file's name in the log. Undetected, the gateway subtracts two vectors
    under one mask and has by how much the node's figures changed."""
    terms = nodes.terms()
    said = await nodes.counted(terms)
    values = seen(await nodes.summed(terms, said))
    await _lose(nodes, TARGET)
    with pytest.raises(FairleadError) as caught:
        await nodes.counted(terms)
    assert caught.value.code == "FIGURES_LOST"
    assert "rotate mask" in caught.value.remedy

    async def unseen(_self: TakingPart) -> None:
        """The defence, switched off."""

    monkeypatch.setattr(TakingPart, "claim", unseen)
    assert await nodes.counted(terms) == said
    again = seen(await nodes.summed(terms, said))
    changed = [a - b for a, b in zip(unpack(again[TARGET]), unpack(values[TARGET]), strict=True)]
    words = [word.name for word in terms.words]
    old, new = ROWS[TARGET][1], nodes.nodes[TARGET].origin.rows[1]
    assert [d for name, d in zip(words, changed, strict=True) if "^" not in name] == [
        a - b for a, b in zip(new[1:], old[1:], strict=True)
    ]


async def test_a_new_mask_key_lets_it_take_part_again(
    nodes: Stating, world: World, tmp_path: Path
) -> None:
    """Under a mask that was never used there is nothing to subtract; the rounds are made anew."""
    await nodes.run(nodes.terms())
    await _lose(nodes, TARGET)
    keys = tmp_path / "keys"
    shutil.copytree(world.opened.layout.node(TARGET), keys)
    listed = listed_entry(world.opened.layout.directory.read_bytes(), TARGET)
    made = rotate(keys, listed, Kind.MASK)
    fresh = mask_public(load_mask_key(made.key_file))
    partner = replace(world.directory.partner(TARGET), mask_key=fresh)
    after = replace(
        world.directory, partners=MappingProxyType({**world.directory.partners, TARGET: partner})
    )
    _swap(nodes, after)
    ring: Any = KeyRing(keys)
    nodes.nodes[TARGET].taking.keys = nodes.nodes[TARGET].taking._seeds.keys = ring
    terms = nodes.terms(unit=parse_unit("2026-Q2"))
    said = await nodes.counted(terms)
    found = nodes.combined(terms, said, await nodes.summed(terms, said))
    assert found.contributors[terms.cells[1]] == dict.fromkeys(MEASURES, 6)
    assert statement_from_wire(said[0]).partner_id == PARTNERS[0]


def _swap(nodes: Stating, directory: Any) -> None:
    """Every node takes up another directory."""
    for node in nodes.nodes.values():
        node.directory = node.taking.directory = node.taking._seeds.directory = directory
