"""A whole federation in one event loop: real mTLS, real policy, real logs, real indexes.

The tests' own workbench. Nothing in it is a mock: gateway and nodes are assembled by the same
functions that their processes use, from keys the development recipe made, and talk over
loopback. What an attacker controls is replaced by code that holds exactly the attacker's keys.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from certs.dev.federation import GatewaySpec, UserSpec, demo_partners
from certs.dev.layout import Layout
from certs.dev.make import make
from certs.dev.policies import local_policy as own_policy
from certs.dev.policies import publish
from demo.accepting import accept_records
from fairlead import identifiers
from fairlead.client import NodeClient
from fairlead.config import GatewayConfig, Limits, LocalPolicy, NodeConfig
from fairlead.drafted import Draft
from fairlead.partners import Directory
from fairlead.policy.issuing import Wishes
from fairlead.profile import Profile
from fairlead.sealing import SealingKey
from fairlead.trust import Trust
from fairlead.v1 import asking_pb2, gateway_pb2, query_pb2
from fairlead.vocabulary import Event, Handling, RecordType
from gateway.app import GatewayApp
from gateway.app import assemble as assemble_gateway
from node.app import NodeApp
from node.app import assemble as assemble_node
from node.index import Index
from node.indexing import INDEX_FILE, index_keys
from node.sources.record import SourceRecord
from tests.walks import with_users

ROOT = Path(__file__).resolve().parent.parent
STORY = "MSCU6639870"
OTHER = "CSQU3054383"
CASE, PURPOSE = "CASE-1", "drug-trafficking"
_ROWS = count(1)
"""Each record is another row of its source."""
ANALYST, APPROVER, BOUGHT = ("customs", "u-c01"), ("customs", "u-c02"), ("customs", "u-c03")


def record(
    term: str = STORY,
    *,
    scheme: str = "container",
    event: Event = Event.GATE_IN,
    fields: Mapping[str, str] | None = None,
    now: float | None = None,
    **changes: object,
) -> SourceRecord:
    """One releasable record about ``term``; any attribute may be changed."""
    moment = int(time.time() if now is None else now)
    found = identifiers.normalise(scheme, term)
    settings: dict[str, object] = {
        "origin": f"{term}/{event}/{next(_ROWS)}",
        "identifiers": (found,),
        "record_type": RecordType.MOVEMENT,
        "event": event,
        "occurred_at": moment - 3600,
        "expires_at": moment + 86_400,
        "handling": Handling(
            tlp="AMBER", pap="AMBER", europol="H0", source_grade="A", information_grade="1"
        ),
        "purposes": (PURPOSE,),
        "active_target": False,
        "personal": False,
        "fields": dict(fields or {"place": "Gate 7", "driver_name": "Somebody Invented"}),
        "withheld": (),
    }
    return SourceRecord(**{**settings, **changes})  # type: ignore[arg-type]


@dataclass(slots=True)
class Federation:
    """What a test sees: keys, apps, and clients for users."""

    folder: Path
    layout: Layout
    trust: Trust
    directory: Directory
    ports: dict[str, int]
    gateway_config: GatewayConfig
    node_configs: dict[str, NodeConfig]
    gateway: GatewayApp | None = None
    nodes: dict[str, NodeApp] = field(default_factory=dict)
    cosigned: bool = False
    """Whether the gateway has its log cosigned. Where an attacker is to show the owners histories
    of its own, the honest gateway has not shown them its own before."""
    more_gateways: dict[str, GatewayConfig] = field(default_factory=dict)
    """Gateways beside the first that share its log."""

    # ── Processes ────────────────────────────────────────────────────────────────────────────

    async def start_gateway(self) -> GatewayApp:
        """Assemble and start the gateway (again, after :meth:`stop_gateway`)."""
        self.gateway = await assemble_gateway(self.gateway_config)
        for task in asyncio.all_tasks():
            if not self.cosigned and task.get_coro().__qualname__ == "Witnesses.run":  # type: ignore[union-attr]
                task.cancel()
        await self.gateway.server.start()
        return self.gateway

    async def stop_gateway(self) -> None:
        """Stop the gateway and release its log."""
        if self.gateway is not None:
            await self.gateway.server.stop(0)
            await self.gateway.close()
            self.gateway = None

    async def start_node(self, partner: str) -> NodeApp:
        """Assemble and start one node."""
        self.nodes[partner] = await assemble_node(self.node_configs[partner])
        await self.nodes[partner].server.start()
        return self.nodes[partner]

    async def stop_node(self, partner: str) -> None:
        """Stop one node and release its log."""
        app = self.nodes.pop(partner)
        await app.server.stop(0)
        await app.close()

    async def reconnected(self) -> None:
        """Wait until every node has found the gateway, after it started or came back."""
        for app in self.nodes.values():
            async with asyncio.timeout(30):
                await app.following.connected.wait()

    async def close(self) -> None:
        """Stop everything."""
        for partner in list(self.nodes):
            await self.stop_node(partner)
        await self.stop_gateway()

    @property
    def replay_key(self) -> SealingKey:
        """What the officer opens every process's records with."""
        return SealingKey.load(self.folder / "replay.key")

    # ── Users ────────────────────────────────────────────────────────────────────────────────

    def profile(self, partner: str, user: str) -> Profile:
        """A user's profile."""
        keys = self.layout.user(partner, user)
        return Profile(
            node=f"127.0.0.1:{self.ports[partner]}",
            node_id=self.directory.partner(partner).nodes[0].spiffe_id,
            certificate=keys / "user.pem",
            key=keys / "user.key",
            directory=self.layout.directory,
            trust=self.layout.pins,
        )

    def client(self, partner: str = "customs", user: str = "u-c01") -> NodeClient:
        """A user's connection to the own node."""
        return NodeClient(self.profile(partner, user), self.directory)

    async def open_case(
        self, case: str = CASE, members: Sequence[str] = ("u-c01",), purpose: str = PURPOSE
    ) -> None:
        """Open a case for customs' analyst."""
        async with self.client(*APPROVER) as client:
            await client.stub.OpenCase(
                asking_pb2.OpenCaseRequest(
                    case=asking_pb2.Case(
                        case_id=case,
                        purpose=purpose,
                        legal_basis="eu-ucc-art-46",
                        schemes=["container", "vehicle-plate", "vessel-imo"],
                        members=members,
                        expires_at=int(time.time()) + 86_400,
                    )
                )
            )

    async def ask(
        self, *terms: str, client: NodeClient | None = None, **changes: object
    ) -> list[asking_pb2.AskResponse]:
        """Ask containers as customs' analyst; every event until the end."""
        if client is not None:
            draft = await client.prepare(request(*terms, **changes))
            return [event async for event in client.ask(draft)]
        async with self.client(*ANALYST) as own:
            return await self.ask(*terms, client=own, **changes)

    async def draft(self, client: NodeClient, *terms: str, **changes: object) -> Draft:
        """A checked draft, not yet signed or sent."""
        return await client.prepare(request(*terms, **changes))


def request(*terms: str, **changes: object) -> asking_pb2.PrepareRequest:
    """A sealed query about containers under the usual case and purpose."""
    settings: dict[str, object] = {
        "terms": [asking_pb2.Term(scheme="container", value=t) for t in terms or (STORY,)],
        "case_id": CASE,
        "purpose": PURPOSE,
        "mode": query_pb2.MODE_SEALED,
        "since": int(time.time()) - 30 * 86_400,
    }
    return asking_pb2.PrepareRequest(**{**settings, **changes})  # type: ignore[arg-type]


async def one(asked: asking_pb2.PrepareRequest) -> AsyncIterator[asking_pb2.PrepareRequest]:
    """A question that comes in one message."""
    yield asked


def apart(response: gateway_pb2.QueryResponse) -> list[gateway_pb2.QueryResponse]:
    """The events of one response of the gateway, each as a response of its own."""
    kind = gateway_pb2.QueryResponse
    first = [kind(accepted=response.accepted)] if response.HasField("accepted") else []
    last = [kind(closed=response.closed)] if response.HasField("closed") else []
    return [*first, *(kind(partners=[line]) for line in response.partners), *last]


def states(events: Sequence[asking_pb2.AskResponse]) -> dict[str, asking_pb2.OpenedAnswer]:
    """The partners' lines of a finished query, by partner."""
    return {e.partner.partner_id: e.partner for e in events if e.HasField("partner")}


def evidence(events: Sequence[asking_pb2.AskResponse]) -> asking_pb2.Evidence:
    """The evidence that closes a finished query."""
    (found,) = (e.evidence for e in events if e.HasField("evidence"))
    return found


@asynccontextmanager
async def federation(
    folder: Path,
    *,
    partners: Sequence[str] = ("customs", "terminal-north", "oceanic-line"),
    records: Mapping[str, Sequence[SourceRecord]] | None = None,
    local_policy: Mapping[str, Path] | None = None,
    tick_ms: int = 5,
    limits: Limits | None = None,
    deadline_ms: int = 5_000,
    start: bool = True,
    unaccepted: Sequence[str] = (),
    more_users: Mapping[str, Sequence[UserSpec]] | None = None,
    second_person_above: int | None = None,
    base_terms: str = "",
    cosigned: bool = False,
    more_gateways: Sequence[str] = (),
    database: str | None = None,
) -> AsyncIterator[Federation]:
    """Make and run a federation of some of the demo's partners.

    :param records: what each owner holds; by default the terminal knows :data:`STORY`.
    :param unaccepted: owners where nobody has accepted what they could release.
    :param more_users: people beside the demo's. :param second_person_above: terms, where policy
        is to want a second person sooner than the baseline. :param base_terms: lines of YAML that
        the agreement has more which those of public partners extend. :param cosigned: whether the
        gateway has its log cosigned.
    :param more_gateways: names of gateways that share the log of the first, in ``database``, a
        reference to an address. Nobody starts them here.
    """
    made = build(
        folder,
        partners=partners,
        records=records,
        local_policy=local_policy,
        tick_ms=tick_ms,
        limits=limits or Limits(deadline_ms=deadline_ms),
        unaccepted=unaccepted,
        more_users=more_users,
        second_person_above=second_person_above,
        base_terms=base_terms,
        more_gateways=more_gateways,
        database=database,
    )
    made.cosigned = cosigned
    try:
        if start:
            await made.start_gateway()
            for partner in partners:
                await made.start_node(partner)
        yield made
    finally:
        await made.close()


def build(
    folder: Path,
    *,
    partners: Sequence[str],
    records: Mapping[str, Sequence[SourceRecord]] | None,
    local_policy: Mapping[str, Path] | None,
    tick_ms: int,
    limits: Limits,
    unaccepted: Sequence[str] = (),
    more_users: Mapping[str, Sequence[UserSpec]] | None = None,
    second_person_above: int | None = None,
    base_terms: str = "",
    more_gateways: Sequence[str] = (),
    database: str | None = None,
) -> Federation:
    """Keys, signed policy, indexes and configurations; nothing runs yet."""
    ports = free_ports(1 + len(partners) + len(more_gateways))
    more_ports = dict(zip(more_gateways, ports[1 + len(partners) :], strict=True))
    wanted = with_users(
        [spec for spec in demo_partners() if spec.partner_id in partners], more_users or {}
    )
    specs = [replace(spec, port=port) for spec, port in zip(wanted, ports[1:], strict=False)]
    layout = make(
        folder / "keys",
        gateway=GatewaySpec(port=ports[0]),
        more_gateways=[GatewaySpec(name=name, port=port) for name, port in more_ports.items()],
        partners=specs,
        release_tick_ms=tick_ms,
    )
    publish_policy(
        layout,
        folder / "policy",
        second_person_above=second_person_above,
        base_terms=base_terms,
    )
    trust = Trust.load(layout.pins)
    replay_key = SealingKey.generate()
    replay_key.save(folder / "replay.key")
    (folder / "replay.pub").write_bytes(replay_key.public_bytes())
    common = {
        "replay_key": folder / "replay.pub",
        "directory": layout.directory,
        "pins": layout.pins,
        "deny_lists": layout.deny_lists,
        "policy_dir": folder / "policy",
        "limits": limits,
    }
    gateway, *others = (
        GatewayConfig(
            name=name,
            listen=f"127.0.0.1:{port}",
            database=database,
            state_dir=folder / "state" / state,
            keys_dir=layout.gateway(name),
            **common,
        )
        for name, port, state in [
            ("gw-1", ports[0], "gateway"),
            *((name, port, name) for name, port in more_ports.items()),
        ]
    )
    nodes = {
        spec.partner_id: NodeConfig(
            partner=spec.partner_id,
            listen=f"127.0.0.1:{spec.port}",
            gateway=f"127.0.0.1:{ports[0]}",
            state_dir=folder / "state" / spec.partner_id,
            keys_dir=layout.node(spec.partner_id),
            local_policy=_own(folder, spec.partner_id, local_policy or {}),
            **common,
        )
        for spec in specs
    }
    held = {"terminal-north": [record()]} if records is None else records
    for partner, config in nodes.items():
        if partner not in unaccepted:
            accept_records(config)
        build_index(config, held.get(partner, ()))
    return Federation(
        folder=folder,
        layout=layout,
        trust=trust,
        directory=trust.directory(layout.directory, now=time.time()),
        ports={spec.partner_id: spec.port for spec in specs},
        gateway_config=gateway,
        node_configs=nodes,
        more_gateways={config.name: config for config in others},
    )


def _own(folder: Path, partner: str, files: Mapping[str, Path]) -> LocalPolicy | None:
    """A partner's own agreements, signed by two people of its own."""
    if partner not in files:
        return None
    now = int(time.time())
    wishes = Wishes(issued_at=now, not_after=now + 86_400)
    agreements = files[partner].read_bytes()
    return own_policy(folder / "own-policy" / partner, agreements, wishes, partner=partner)


def build_index(config: NodeConfig, records: Sequence[SourceRecord]) -> None:
    """Index ``records`` for a node."""
    token_key, field_key = index_keys(config)
    config.state_dir.mkdir(parents=True, exist_ok=True)
    Index.build(
        config.state_dir / INDEX_FILE,
        records,
        token_key=token_key,
        field_key=field_key,
        clock=time.time,
    )


def publish_policy(
    layout: Layout,
    folder: Path,
    *,
    serial: int = 1,
    demo: bool = True,
    not_after: float = 86_400,
    second_person_above: int | None = None,
    base_terms: str = "",
    now: float | None = None,
    **changes: Any,
) -> None:
    """Two development officers sign the committed policy, with the demo's agreement or without,
    and with the number of terms above which it wants a second person, or another one."""
    source = ROOT / "policies"
    if second_person_above is not None or base_terms:
        source = Path(shutil.copytree(source, folder.parent / "policies"))
    if base_terms:
        path, first = source / "data" / "agreements.yaml", "  - id: public-asks-public\n"
        more = "".join(f"    {line}\n" for line in base_terms.splitlines())
        path.write_text(path.read_text().replace(first, first + more))
    if second_person_above is not None:
        path = source / "data" / "agreements.yaml"
        key, text = "second_person_above_terms", path.read_text()
        path.write_text(re.sub(rf"{key}: \d+", f"{key}: {second_person_above}", text))
    moment = time.time() if now is None else now
    wishes = Wishes(
        serial=serial,
        issued_at=int(moment + min(0, not_after - 1)),
        not_after=int(moment + not_after),
        **changes,
    )
    publish(
        layout,
        folder,
        wishes,
        source=source,
        data=["data/agreements.yaml", *(["data/demo.yaml"] if demo else [])],
    )


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
