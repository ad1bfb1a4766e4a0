"""Figures from the register of real nodes, over real mTLS, asked by whoever holds the gateway's
keys: what the processes wire together sums up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fairlead import tls
from fairlead.certificates import SpiffeId
from fairlead.cubes.period import TimeStep, Unit, parse_unit
from fairlead.errors import Misconfigured
from fairlead.strategic.statements import statement_from_wire
from fairlead.strategic.terms import quarter_at, terms_of, terms_to_wire
from fairlead.summing import Round, Terms, contributors, totals
from fairlead.v1 import statistics_pb2 as pb
from fairlead.v1 import statistics_pb2_grpc
from node.app import NodeApp
from node.opening import NOISE_FILE, cubes_of, noise_secret
from tests.delivery import told
from tests.federation import Federation, federation

PARTNERS = ("customs", "oceanic-line", "police", "terminal-north")
COUNTS = dict(zip(PARTNERS, (3, 4, 5, 6), strict=True))
FIGURES = 60
Stubs = dict[str, Any]


def last_quarter() -> Unit:
    """The one that ended last."""
    this = parse_unit(quarter_at(time.time()))
    return Unit(TimeStep.QUARTER, this.number - 1)


async def fill(app: NodeApp, partner: str, unit: Unit) -> None:
    """So many reports about Rotterdam, entered at the node's register; one of another quarter."""
    desk = app.steering.register
    for number in range(COUNTS[partner] + 1):
        at = unit.begins if number else unit.begins - 86_400
        await desk.add_report(
            entry=f"R-{number}", by="u-t01", on=f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}",
            place="NLRTM",
        )  # fmt: skip


@asynccontextmanager
async def stubs(made: Federation, keys: Path) -> AsyncIterator[Stubs]:
    """Every node's service, called with the keys in a folder."""
    material = tls.KeyMaterial.load(
        keys / "tls.pem", keys / "tls.key", [made.directory.federation_ca]
    )
    async with AsyncExitStack() as stack:
        found = {}
        for name in PARTNERS:
            (node,) = made.directory.partner(name).nodes
            channel = tls.open_channel(
                node.endpoint, server=SpiffeId.parse(node.spiffe_id), material=material
            )
            await stack.enter_async_context(channel)
            found[name] = statistics_pb2_grpc.FiguresServiceStub(channel)
        yield found


async def each(asked: Stubs, method: str, request: Any) -> list[pb.RoundStatement]:
    """What every node says in one round."""
    return [
        (await getattr(asked[name], method)(request, timeout=30)).statement for name in PARTNERS
    ]


def vectors(said: Sequence[pb.RoundStatement]) -> dict[str, bytes]:
    """Partner → vector."""
    return {one.partner_id: statement_from_wire(one).vector for one in said}


def terms_for(made: Federation, unit: Unit, level: str = "quarter") -> tuple[Terms, pb.RoundTerms]:
    """Of reports received, begun now; as the policy in force has the cube."""
    registry = cubes_of(made.nodes["customs"].releases.live.current)
    cube = registry.cube("reports-received")
    now = time.time()
    terms = terms_of(
        cube, cube.level(level), unit, version=1, participants=PARTNERS,
        quarter=quarter_at(now), cut_off=int(now) + 1,
    )  # fmt: skip
    return terms, terms_to_wire(terms, cube, registry.digest)


async def test_what_is_in_the_registers_sums_up(tmp_path: Path) -> None:
    """Three rounds over real connections, with a restart, differ by noise alone from what is there;
    each node has its leaves, and none but a gateway may ask."""
    unit = last_quarter()
    async with federation(tmp_path, partners=PARTNERS) as made:
        for partner in PARTNERS:
            await fill(made.nodes[partner], partner, unit)
        terms, wire = terms_for(made, unit)
        async with stubs(made, made.layout.gateway("gw-1")) as asked:
            ready = await each(asked, "GetReady", pb.GetReadyRequest(terms=wire))
            first = pb.CountContributorsRequest(terms=wire, ready=ready)
            said = await each(asked, "CountContributors", first)
            counted = contributors(vectors(said), terms)
            assert counted == (4,)
            second = pb.SumValuesRequest(terms=wire, indicators=said)
            values = await each(asked, "SumValues", second)
            await made.stop_node("police")
            await made.start_node("police")
            assert await each(asked, "SumValues", second) == values
            found = totals(vectors(values), counted, terms)
        (sums,) = found.sums.values()
        assert abs(sums["m0"] - sum(COUNTS.values())) < FIGURES
        for app in made.nodes.values():
            assert told(app.log, 60) == ["figures-counted", "figures-summed"]
        async with stubs(made, made.layout.node("customs")) as others:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await others["police"].GetReady(pb.GetReadyRequest(terms=wire), timeout=30)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert statement_from_wire(said[0]).verify(
            made.directory.partner("customs").signing_key, terms.binding(Round.INDICATORS)
        ) is None  # fmt: skip


async def test_a_node_without_its_secrets_does_not_start(tmp_path: Path) -> None:
    """Neither without the directory's mask key nor without the noise's secret; a file of another
    size is none."""
    async with federation(tmp_path, partners=PARTNERS[:2], start=False) as made:
        config = made.node_configs["customs"]
        secret = config.keys_dir / NOISE_FILE
        assert len(noise_secret(config)) == 32
        secret.write_bytes(bytes(31))
        with pytest.raises(Misconfigured, match="noise"):
            await made.start_node("customs")
        secret.unlink()
        with pytest.raises(Misconfigured, match="noise"):
            noise_secret(config)
        (config.keys_dir / "mask.key").unlink()
        with pytest.raises(Misconfigured) as caught:
            await made.start_node("customs")
        assert caught.value.code == "KEY_MISMATCH"
