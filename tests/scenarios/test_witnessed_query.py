"""One highly sensitive question through real processes: witnesses cosign it before it is asked."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fairlead import storage, tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.cosigning import cosigners
from fairlead.evidence import verify_evidence
from fairlead.quorum import reached
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2
from gateway.app import LOG_FILE
from tests.federation import Federation, build, evidence, record, states
from tests.processes import GATEWAY, NODE, command, serve, write_config

PARTNERS = ("customs", "police", "terminal-north")
CASE, PURPOSE = "CASE-9", "infiltration"


async def patiently(made: Federation, asked: dict[str, str]) -> list[asking_pb2.AskResponse]:
    """Ask until the gateway has found its witnesses, who were started after it."""
    async with asyncio.timeout(60):
        while True:
            try:
                events = await made.ask(**asked)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.5)
                continue
            if states(events)["police"].reason != "QUORUM_MISSING":
                return events


async def test_a_highly_sensitive_question_is_asked_once_witnesses_have_cosigned_it(
    tmp_path: Path,
) -> None:
    """The receipt carries a quorum's lines, the answer is found, `status` and `witness` say how far
    each is; with the only private witness gone nobody is asked, and the asker reads why."""
    from fairlead.config import Limits

    made = build(
        tmp_path, partners=PARTNERS, local_policy=None, tick_ms=5,
        limits=Limits(deadline_ms=8_000),
        records={"police": [record(purposes=(PURPOSE, "drug-trafficking"))]},
    )  # fmt: skip
    gateway = write_config(tmp_path / "gateway.toml", made.gateway_config)
    nodes = {p: write_config(tmp_path / f"{p}.toml", made.node_configs[p]) for p in PARTNERS}
    async with AsyncExitStack() as stack:
        running = {}
        for name, module, config in (
            ("gateway", GATEWAY, gateway), *((p, NODE, nodes[p]) for p in PARTNERS),
        ):  # fmt: skip
            running[name] = await serve(module, config, tmp_path / f"{name}.log")
            stack.push_async_callback(running[name].stop)
        await made.open_case(CASE, purpose=PURPOSE)
        asked = {"case_id": CASE, "purpose": PURPOSE}
        events = await patiently(made, asked)
        found = states(events)["police"]
        assert (found.status, found.answers[0].hit) == (query_pb2.STATUS_ANSWERED, True)
        proof = evidence(events)
        assert verify_evidence(proof, made.directory).answers == 1
        note = proof.intent.tlog_proof.split("\n\n", 1)[1]
        assert reached(cosigners(note, made.directory), made.directory)
        told = await command(GATEWAY, "status", "--config", gateway)
        assert "quorum 2 of 3" in told.out
        assert told.out.count(" cosigned") == 3, told.out
        await running["terminal-north"].stop()
        found = states(await made.ask(**asked))["police"]
        assert (found.status, found.reason) == (query_pb2.STATUS_NOT_ASKED, "QUORUM_MISSING")
        held = await command(NODE, "witness", "--config", nodes["police"])
        assert reached(cosigners(held.out, made.directory), made.directory), held.err
    database = storage.open_readonly(made.gateway_config.state_dir / LOG_FILE)
    rows = database.execute("SELECT body FROM leaf").fetchall()
    database.close()
    kinds = [audit_pb2.AuditLeaf.FromString(body).type for (body,) in rows]
    assert kinds.count(audit_pb2.LEAF_TYPE_OUTCOME) == kinds.count(audit_pb2.LEAF_TYPE_INTENT) >= 2
