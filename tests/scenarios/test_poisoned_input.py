"""Poison by the hundred: every kind of bad input, again and again, against real processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio

from demo.memory import rss_mib
from fairlead.certificates import SpiffeId
from fairlead.door import REASON_KEY
from fairlead.v1 import gateway_pb2, query_pb2
from tests.attacks.crafted import OWNER, craft
from tests.attacks.evil import EvilNode
from tests.federation import STORY, Federation, apart, federation, states
from tests.processes import gateway_process, node_process
from tests.scenarios.test_bad_messages import QUERIES, RAW

TIMES = 100
GROWTH_MIB = 64
QUERY = "/fairlead.v1.GatewayService/Query"
FRESH = 20
"""Messages of one kind sent before a fresh one is made, so that no window closes on them."""


async def told(call: grpc.aio.UnaryStreamCall[object, object]) -> tuple[grpc.StatusCode, str]:
    """Status and first reason of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    metadata = caught.value.trailing_metadata() or ()
    reasons = [str(value) for key, value in metadata if key == REASON_KEY]
    return caught.value.code(), reasons[0] if reasons else ""


def octets_channel(made: Federation) -> grpc.aio.Channel:
    """A connection on which customs' node sends any octets."""
    keys, gateway = made.layout.node("customs"), made.directory.gateway
    roots = [made.directory.federation_ca]
    material = tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", roots)
    server = SpiffeId.parse(gateway.spiffe_id)
    return tls.open_channel(gateway.endpoint, server=server, material=material)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_kind_of_poison_a_hundred_times(tmp_path: Path) -> None:
    """The right code each time, the server stays up, its memory grows by less than 64 MiB."""
    assert len(QUERIES) + len(RAW) >= 20
    wrong: Counter[str] = Counter()
    async with (
        federation(tmp_path, start=False) as made,
        gateway_process(made) as gateway,
        node_process(made, "customs"),
        node_process(made, OWNER),
        node_process(made, "oceanic-line"),
        EvilNode(made) as node,
        octets_channel(made) as channel,
    ):
        await made.open_case()
        await made.ask(STORY)
        for make, _, _ in QUERIES.values():  # warm: what is loaded once is no growth
            await told(node.gateway.Query(make(made), timeout=20))
        before = rss_mib(gateway.pid)
        for name, (make, status, reason) in QUERIES.items():
            message = gateway_pb2.QueryRequest()
            for number in range(TIMES):
                message = message if number % FRESH else make(made)
                if await told(node.gateway.Query(message, timeout=20)) != (status, reason):
                    wrong[name] += 1
        raw = channel.unary_stream(QUERY)
        for name, (data, reason) in RAW.items():
            for _ in range(TIMES):
                found = await told(raw(data, timeout=20))
                if found != (grpc.StatusCode.INVALID_ARGUMENT, reason):
                    wrong[name] += 1
        assert wrong == Counter()
        assert rss_mib(gateway.pid) - before < GROWTH_MIB
        assert len(await node.ask(craft(made))) == 4
        answer = states(await made.ask(STORY))[OWNER]
        assert answer.status == query_pb2.STATUS_ANSWERED


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_replays_ask_nobody(tmp_path: Path) -> None:
    """A captured query sent ten thousand times is executed once; the story never changes."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        assert made.gateway is not None
        crafted = craft(made)
        first = [event.SerializeToString() for event in await node.ask(crafted)]
        sizes = (made.gateway.log.head.size, made.nodes[OWNER].log.head.size)
        request = crafted.request()
        for number in range(10_000):
            call = node.gateway.Query(request, timeout=20)
            parts = [event async for response in call for event in apart(response)]
            assert [event.SerializeToString() for event in parts] == first, number
        assert (made.gateway.log.head.size, made.nodes[OWNER].log.head.size) == sizes
