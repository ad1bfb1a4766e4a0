"""Two gateways on one log in PostgreSQL, both asked without a pause, one killed again and again.

``python -m bench.pg_kill``: kill -9 every 5 s, 20 times, in turns. Real gateway processes, real
nodes, a real server. Whatever an asker was told under a signed head is in the log afterwards, no
answer arrived without its RELEASE, and the log re-derives and extends every head that anybody was
shown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from fairlead import merkle, receipts, telemetry
from fairlead.auditlog import DatabaseUrl, LogReport, snapshot, verify_log
from fairlead.errors import Unreachable
from fairlead.signing import digest
from fairlead.v1 import asking_pb2, audit_pb2, gateway_pb2, query_pb2
from node.app import NodeApp
from tests.audited import audit_server
from tests.federation import CASE, PURPOSE, Federation, apart, federation
from tests.processes import GATEWAY, Serving, serve, write_config

LOADERS = 3
"""Queries under way at a time at each gateway."""
ASKERS = {
    "gw-1": ("customs", "u-c01", "u-c02", "eu-ucc-art-46"),
    "gw-2": ("police", "u-p01", "u-p02", "national-criminal-procedure"),
}
"""Gateway → who asks through it: partner, analyst, approver, and the law they rely on."""
DATABASE = "fairlead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was left of it all."""

    kills: int
    told: int
    """Leaves that an asker was shown under a signed head."""
    lost: int
    unbacked: int
    """Answers that arrived without a RELEASE of their query, owner and octets in the log."""
    closed: dict[str, int]
    """Gateway → queries that were answered through it."""
    heads: int
    """Signed heads that an asker was shown."""
    report: LogReport

    @property
    def ok(self) -> bool:
        """Nothing that was acknowledged is missing, and both gateways served."""
        kept = self.lost == self.unbacked == 0
        return kept and self.told > 0 and all(self.closed.values())


@dataclass(slots=True)
class Told:
    """What the gateways told the askers, written down the moment it arrived."""

    leaves: set[bytes] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    answers: set[tuple[bytes, str, bytes]] = field(default_factory=set)
    """Query, owner, and digest of the header of every answer that arrived."""
    closed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ASKERS, 0))
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self, gateway: str, app: NodeApp) -> None:
        """Listen between a node and its gateway."""
        send = app.asking._sending._send

        async def watched(
            request: gateway_pb2.QueryRequest,
        ) -> AsyncIterator[gateway_pb2.QueryResponse]:
            query_id = query_pb2.QueryHeader.FromString(request.query.header).query_id
            async for response in send(request):
                for event in apart(response):
                    if event.HasField("accepted"):
                        self._note(event.accepted.intent)
                    for line in event.partners:
                        if line.HasField("answer"):
                            found = query_id, line.partner_id, digest(line.answer.header)
                            self.answers.add(found)
                    if event.HasField("closed") and event.closed.HasField("receipt"):
                        self._note(event.closed.receipt)
                        self.closed[gateway] += 1
                        self.heard.set()
                    yield event

        app.asking._sending._send = watched

    def _note(self, receipt: audit_pb2.Receipt) -> None:
        self.leaves.add(merkle.leaf_hash(receipt.leaf))
        self.notes.add(receipts.parse_proof(receipt.tlog_proof).checkpoint)


@contextlib.contextmanager
def database(folder: Path) -> Iterator[DatabaseUrl]:
    """A server for one run; the file ``database.url`` in ``folder`` holds its address."""
    with audit_server() as server:
        server.run(f"CREATE DATABASE {DATABASE}")
        address = folder / "database.url"
        address.touch(mode=0o600)
        address.write_text(server.url(database=DATABASE))
        yield DatabaseUrl.parse(address.read_text())


@contextlib.asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[Federation]:
    """A federation with two gateways on one log, its nodes running, no gateway yet."""
    async with federation(
        folder / "federation",
        partners=("customs", "police", "terminal-north", "oceanic-line"),
        more_gateways=["gw-2"],
        database=f"file:{folder / 'database.url'}",
        start=False,
    ) as made:
        listen = made.more_gateways["gw-2"].listen
        police = made.node_configs["police"].model_copy(update={"gateway": listen})
        made.node_configs["police"] = police
        for partner in made.node_configs:
            await made.start_node(partner)
        yield made


async def open_cases(made: Federation) -> None:
    """A case at each asker's node, for its analyst."""
    for partner, analyst, approver, law in ASKERS.values():
        case = asking_pb2.Case(
            case_id=CASE, purpose=PURPOSE, legal_basis=law, schemes=["container"],
            members=[analyst], expires_at=int(time.time()) + 86_400,
        )  # fmt: skip
        async with made.client(partner, approver) as client:
            await client.stub.OpenCase(asking_pb2.OpenCaseRequest(case=case))


async def load(made: Federation, gateway: str, stop: asyncio.Event) -> None:
    """Ask, and ask again, whatever happens to the gateway."""
    partner, analyst, *_ = ASKERS[gateway]
    async with made.client(partner, analyst) as client:
        while not stop.is_set():
            try:
                await made.ask(client=client)
            except (grpc.aio.AioRpcError, Unreachable):
                await asyncio.sleep(0.02)


async def start(made: Federation, gateway: str) -> Serving:
    """Start one of the gateways, or start it again."""
    known = {made.gateway_config.name: made.gateway_config, **made.more_gateways}
    config = write_config(made.folder / "config" / f"{gateway}.toml", known[gateway])
    return await serve(GATEWAY, config, made.folder / "logs" / f"{gateway}.log")


async def run(folder: Path, *, kills: int, every_s: float) -> Found:
    """Kill a gateway so many times, in turns, and look at what is left."""
    told, stop = Told(), asyncio.Event()
    with database(folder) as address:
        async with shared(folder) as made:
            await open_cases(made)
            for gateway, (partner, *_) in ASKERS.items():
                told.watch(gateway, made.nodes[partner])
            running = {gateway: await start(made, gateway) for gateway in ASKERS}
            loaders = [
                asyncio.create_task(load(made, name, stop))
                for name in ASKERS
                for _ in range(LOADERS)
            ]
            try:
                await _served(told)
                for number in range(kills):
                    await asyncio.sleep(every_s)
                    name = list(ASKERS)[number % len(ASKERS)]
                    running[name].kill()
                    await running[name].wait()
                    running[name] = await start(made, name)
                await _served(told)
            finally:
                stop.set()
                await asyncio.gather(*loaders)
                for process in running.values():
                    process.kill()
                    await process.wait()
            return _look(made, address, told, kills)


async def _served(told: Told) -> None:
    """Wait until each gateway has answered once more."""
    before = dict(told.closed)
    async with asyncio.timeout(60):
        while any(told.closed[name] <= before[name] for name in before):
            told.heard.clear()
            await told.heard.wait()


def _look(made: Federation, address: DatabaseUrl, told: Told, kills: int) -> Found:
    gateway = made.directory.gateway
    known = []
    for note in told.notes:
        point = receipts.open_checkpoint(note, gateway.log_origin, gateway.log_key)
        known.append(
            receipts.Head(
                origin=gateway.log_origin, size=point.size, root=point.root, checkpoint=note
            )
        )
    report = verify_log(address, origin=gateway.log_origin, public_key=gateway.log_key, known=known)
    stored: set[bytes] = set()
    released: set[tuple[bytes, str, bytes]] = set()
    with snapshot(address) as log:
        for leaf_hash, body in log.execute("SELECT hash, body FROM leaf"):
            stored.add(leaf_hash)
            released |= {
                (item.query_id, item.partner_id, item.answer_digest)
                for item in audit_pb2.AuditLeaf.FromString(body).released
            }
    return Found(
        kills=kills,
        told=len(told.leaves),
        lost=len(told.leaves - stored),
        unbacked=len(told.answers - released),
        closed=dict(told.closed),
        heads=len(known),
        report=report,
    )


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills")
    options = parser.parse_args()
    telemetry.configure("error")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fairlead-pg-kill-") as folder:
        found = asyncio.run(run(Path(folder), kills=options.kills, every_s=options.every))
    rows = {
        "kill -9, in turns": found.kills,
        "leaves in the log, gapless": found.report.size,
        "leaves an asker was told of": found.told,
        "of these lost": found.lost,
        "answers without their RELEASE": found.unbacked,
        "signed heads the log extends": found.heads,
        "queries left open by a kill": len(found.report.open_queries),
        **{f"queries answered through {name}": count for name, count in found.closed.items()},
    }
    for name, value in rows.items():
        print(f"{name:<34}{value:>10}")
    print(
        json.dumps(
            {
                "schema": 1, "bench": "pg_kill", "ok": found.ok, "kills": found.kills,
                "acked": found.told, "lost": found.lost,
                "unbacked": found.unbacked, "leaves": found.report.size,
                "heads": found.heads, "closed": found.closed,
                "open_queries": len(found.report.open_queries),
                "seconds": round(time.monotonic() - begun, 1),
            }
        )
    )  # fmt: skip
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
