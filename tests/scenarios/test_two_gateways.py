"""Two gateways on one audit log in PostgreSQL: what one has done, the other knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from bench import pg_kill
from fairlead.auditlog import DatabaseUrl, LogReport, snapshot, verify_log
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from gateway.app import GatewayApp, assemble
from tests.federation import Federation, apart, states
from tests.processes import command, write_config

INTENT = audit_pb2.LEAF_TYPE_INTENT


@dataclass(slots=True)
class Pair:
    """Two gateways of one federation, in this process."""

    made: Federation
    address: DatabaseUrl
    apps: dict[str, GatewayApp] = field(default_factory=dict)
    calls: list[tuple[gateway_pb2.QueryRequest, Any]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None

    async def start(self) -> None:
        """Assemble and start both; every query that arrives at one is kept."""
        for config in (self.made.gateway_config, *self.made.more_gateways.values()):
            app = self.apps[config.name] = await assemble(config)
            self._listen(app)
            await app.server.start()
        await self.made.reconnected()

    def _listen(self, app: GatewayApp) -> None:
        query = app.tactical.query

        def heard(request: gateway_pb2.QueryRequest, peer: Any) -> Any:
            self.calls.append((request, peer))
            if self.meanwhile is not None:
                self.meanwhile()
            return query(request, peer)

        app.tactical.query = heard  # type: ignore[method-assign]

    async def stop(self) -> None:
        """Stop both and let go of the log."""
        for app in self.apps.values():
            await app.server.stop(0)
            await app.close()

    async def ask(self, gateway: str) -> dict[str, int]:
        """Ask through one of them; partner → status."""
        partner, analyst, *_ = pg_kill.ASKERS[gateway]
        async with self.made.client(partner, analyst) as client:
            events = await self.made.ask(client=client)
        return {name: answer.status for name, answer in states(events).items()}

    async def bring(self, gateway: str) -> list[gateway_pb2.QueryResponse]:
        """Bring the last query to one of them once more, octet for octet."""
        request, peer = self.calls[-1]
        query = type(self.apps[gateway].tactical).query
        found = query(self.apps[gateway].tactical, request, peer)
        return [event async for response in found for event in apart(response)]

    def verify(self) -> LogReport:
        """As an auditor."""
        gateway = self.made.directory.gateway
        return verify_log(self.address, origin=gateway.log_origin, public_key=gateway.log_key)

    def leaves(self, kind: int) -> list[audit_pb2.AuditLeaf]:
        """The log's leaves of one type."""
        with snapshot(self.address) as log:
            bodies = [body for (body,) in log.execute("SELECT body FROM leaf ORDER BY idx")]
        found = [audit_pb2.AuditLeaf.FromString(body) for body in bodies]
        return [leaf for leaf in found if leaf.type == kind]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    with pg_kill.database(tmp_path) as address:
        async with pg_kill.shared(tmp_path) as made:
            found = Pair(made, address)
            await pg_kill.open_cases(made)
            await found.start()
            yield found
            await found.stop()


async def test_two_gateways_are_one_log(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that knows the log from one gateway answers through the other; a query brought to
    both is admitted once; a stranger verifies it all, and copies it, with the address alone."""
    answered = dict.fromkeys(("terminal-north", "oceanic-line"), query_pb2.STATUS_ANSWERED)
    # 1. In turns through both, so that owners and askers meet heads of the other's.
    for name in ("gw-1", "gw-2", "gw-2", "gw-1"):
        found = await pair.ask(name)
        assert answered.items() <= found.items()
    # 2. The same octets again, at the other gateway: what is stored is shown, nobody is asked.
    before = len(pair.leaves(INTENT))
    (shown,) = await pair.bring("gw-2")
    outcome = query_pb2.Outcome.FromString(shown.closed.outcome)
    assert outcome.gateway.endswith("/gateway/gw-1")
    assert len(pair.leaves(INTENT)) == before == 4
    # 3. The log.
    report = pair.verify()
    assert report.leaves["INTENT"] == report.leaves["OUTCOME"] == 4
    assert {leaf.log for leaf in pair.leaves(INTENT)} == {"gateway/gw-1"}
    # 4. The commands, beside both.
    made = pair.made
    trust = ("--directory", made.layout.directory, "--trust", made.layout.pins)
    monkeypatch.setenv("AUDITED", pair.address.text)
    cli = "fairlead.cli.main"
    ended = await command(cli, "audit", "verify", "env:AUDITED", *trust)
    assert (ended.code, str(report.size) in ended.out) == (0, True), ended.err
    copy = made.folder / "copy.sqlite"
    assert (await command(cli, "audit", "copy", "env:AUDITED", copy)).code == 0
    assert (await command(cli, "audit", "verify", copy, *trust)).code == 0
    config = write_config(made.folder / "gw.toml", made.gateway_config)
    exported = made.folder / "decisions"
    ended = await command("gateway.cli.main", "decisions", "export", exported, "--config", config)
    assert (ended.code, exported.stat().st_size > 1_000) == (0, True), ended.err


async def test_a_query_brought_to_both_at_once_is_admitted_once(pair: Pair) -> None:
    """Whichever gateway is first asks the owners, and the other shows its outcome, which is no
    answer to an asker who saw no intent."""
    brought: list[asyncio.Task[list[gateway_pb2.QueryResponse]]] = []

    def meanwhile() -> None:
        pair.meanwhile = None
        brought.append(asyncio.create_task(pair.bring("gw-2")))

    pair.meanwhile = meanwhile
    try:
        found = set(await pair.ask("gw-1"))
    except grpc.aio.AioRpcError:
        found = {event.partners[0].partner_id for event in await brought[0] if event.partners}
    shown = (await brought[0])[-1]
    assert shown.HasField("closed")
    assert found >= {"terminal-north", "oceanic-line"}
    assert pair.verify().leaves["INTENT"] == pair.verify().leaves["OUTCOME"] == 1


async def test_kills_in_turns_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Under load through both, each killed once with -9: the log is gapless and holds all that an
    asker was told; the long form is ``python -m bench.pg_kill``."""
    found = await pg_kill.run(tmp_path, kills=2, every_s=0.5)
    assert found.ok
    assert found.told > 20
