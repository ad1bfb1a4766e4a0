"""Clients of running servers: a foreign one, and one whose identity is taken back meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import grpc.aio
import pytest

from certs.dev.lists import deny
from fairlead.door import REASON_KEY
from fairlead.v1 import audit_pb2, owner_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, craft
from tests.attacks.evil import EvilNode, refusals
from tests.federation import ANALYST, ROOT, STORY, Federation, federation, states
from tests.owners import impostor

PATIENCE_S = 30


GATEWAYS = {
    f"fairlead.v1.{name}Service" for name in ("Federation", "Gateway", "Reconcile", "Statistics")
}
NODES = ("Asking", "AuditReading", "Decision", "Evidence", "Figures", "Owner", "Policy", "Witness")
"""What a gateway offers beside the standard services."""


@pytest.fixture(scope="module")
def grpcurl() -> str:
    """The pinned foreign client; missing, the test skips and says how to get it."""
    path = f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("grpcurl", path=path)
    if found is None:
        how = "grpcurl is missing: make tools (needs Go: apt-get install golang-go)"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(how)
        pytest.skip(how)
    return found


async def foreign(
    grpcurl: str,
    made: Federation,
    who: Path,
    stem: str,
    port: int,
    call: str,
    *,
    patience_s: int = PATIENCE_S,
) -> tuple[int, str, str]:
    """Run grpcurl against one of the federation's servers."""
    process = await asyncio.create_subprocess_exec(
        grpcurl,
        *("-connect-timeout", str(patience_s), "-cacert", str(made.layout.federation_ca)),
        *("-cert", str(who / f"{stem}.pem"), "-key", str(who / f"{stem}.key")),
        *(f"localhost:{port}", call),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_foreign_client_reaches_gateway_and_node(tmp_path: Path, grpcurl: str) -> None:
    """grpcurl asks the real gateway and a real node for their health and their services."""
    async with federation(tmp_path) as made:
        gateway_port = int(made.gateway_config.listen.rpartition(":")[2])
        node, user = made.layout.node("customs"), made.layout.user(*ANALYST)
        servers = (
            (node, "tls", gateway_port, GATEWAYS),
            (
                *(user, "user", made.ports["customs"]),
                {f"fairlead.v1.{name}Service" for name in NODES},
            ),
        )
        for who, stem, port, services in servers:
            code, out, err = await foreign(grpcurl, made, who, stem, port, "list")
            assert (code, err) == (0, "")
            standard = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
            assert set(out.split()) == services | standard
            health = "grpc.health.v1.Health/Check"
            code, out, err = await foreign(grpcurl, made, who, stem, port, health)
            assert (code, err, json.loads(out)) == (0, "", {"status": "SERVING"})
        # A user is nobody to the gateway, which trusts no user authority.
        code, out, _ = await foreign(
            grpcurl, made, user, "user", gateway_port, "list", patience_s=2
        )
        assert code != 0
        assert out == ""


async def _hang(_request: owner_pb2.AnswerRequest) -> bytes:
    await asyncio.Event().wait()
    return b""


def _reasons(error: grpc.aio.AioRpcError) -> list[str]:
    return [str(v) for k, v in error.trailing_metadata() or () if k == REASON_KEY]


async def test_a_denied_user_loses_the_open_connection_and_the_open_stream(
    tmp_path: Path,
) -> None:
    """A deny list ends a running Ask and every further call on the same connection."""
    async with federation(tmp_path, start=False, deadline_ms=60_000) as made:
        await made.start_gateway()
        for partner in ("customs", OWNER):
            await made.start_node(partner)
        await made.open_case()
        async with impostor(made, OTHER_OWNER, _hang), made.client() as client:
            async with asyncio.timeout(PATIENCE_S):
                call = client.ask(await made.draft(client, STORY))
                seen = [await anext(call)]
                while OWNER not in states(seen):
                    seen.append(await anext(call))
                assert states(seen)[OWNER].answers[0].hit
                user = f"spiffe://fairlead.demo/partner/customs/user/{ANALYST[1]}"
                deny(made.layout, [user], serial=2, now=time.time())
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await anext(call)
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert _reasons(ended.value) == ["DENIED"]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await made.draft(client, STORY)
            assert _reasons(refused.value) == ["DENIED"]
            own = made.nodes["customs"].log
            assert refusals(own)[-2:] == ["DENIED", "DENIED"]
            # A colleague goes on, and the interrupted query is closed in both logs.
            await made.open_case("CASE-2", members=("u-c03",))
            async with made.client("customs", "u-c03") as colleague:
                assert await made.draft(colleague, STORY, case_id="CASE-2")


async def test_a_denied_node_loses_the_open_connection_and_the_open_stream(
    tmp_path: Path,
) -> None:
    """The operators' deny list ends a node's running query at the gateway, and its connection."""
    async with federation(tmp_path, start=False, deadline_ms=60_000) as made:
        await made.start_gateway()
        await made.start_node(OWNER)
        assert made.gateway is not None
        async with impostor(made, OTHER_OWNER, _hang), EvilNode(made) as node:
            async with asyncio.timeout(PATIENCE_S):
                call = node.gateway.Query(craft(made).request(), timeout=PATIENCE_S)
                assert (await call.read()).HasField("accepted")
                assert (await call.read()).partners[0].partner_id == OWNER
                denied = made.directory.partner("customs").nodes[0].spiffe_id
                deny(made.layout, [denied], serial=2, now=time.time())
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await call.read()
            assert _reasons(ended.value) == ["DENIED"]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await node.ask(craft(made))
            assert _reasons(refused.value) == ["DENIED"]
            log = made.gateway.log
            assert refusals(log) == ["DENIED", "DENIED"]
            await made.gateway.tactical.drain()
            rows = log.read("SELECT body FROM leaf ORDER BY idx")
            types = [audit_pb2.AuditLeaf.FromString(body).type for (body,) in rows]
            assert types.count(audit_pb2.LEAF_TYPE_OUTCOME) == 1
