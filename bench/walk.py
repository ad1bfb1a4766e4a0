"""End to end: a user's client, their own node, the gateway, real owners with real indexes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import grpc.aio

from bench.federation import (
    ANALYST,
    APPROVER,
    ASKER,
    LEGAL_BASIS,
    PURPOSE,
    SCHEME,
    Federation,
)
from bench.processes import Child, Children, wait_until_serving
from demo.accepting import accept_records
from fairlead import identifiers
from fairlead.client import NodeClient
from fairlead.config import NodeConfig, load
from fairlead.profile import Profile
from fairlead.v1 import asking_pb2, query_pb2
from fairlead.vocabulary import (
    Europol,
    Event,
    Handling,
    InformationGrade,
    Pap,
    RecordType,
    SourceGrade,
    Tlp,
)
from node.index import Index
from node.indexing import INDEX_FILE, index_keys
from node.sources.record import SourceRecord

OWNERS = (3, 5)
RECORDS = 3000
"""What each owner holds."""
IN_FLIGHT = (1, 8)
CASE = "CASE-BENCH"
DAY_S = 86_400


def containers(random: Random) -> Iterator[str]:
    """Container numbers with valid check digits."""
    while True:
        number = f"BENU{random.randrange(10**6):06d}"
        yield number + identifiers.container.check_digit(number)


def build(federation: Federation, partner: str, records: int) -> list[str]:
    """Index ``records`` invented records at one partner's node; returns what they are about."""
    config = load(NodeConfig, federation.write_node_config(partner))
    config.state_dir.mkdir(parents=True, mode=0o700)
    accept_records(config)
    token_key, field_key = index_keys(config)
    random, now = Random(partner), int(time.time())
    terms = [term for term, _ in zip(containers(random), range(records), strict=False)]
    Index.build(
        config.state_dir / INDEX_FILE,
        [_record(term, now - random.randrange(20 * DAY_S)) for term in terms],
        token_key=token_key,
        field_key=field_key,
        clock=time.time,
    )
    return terms


def _record(term: str, occurred_at: int) -> SourceRecord:
    return SourceRecord(
        origin=f"{term}/{occurred_at}",
        identifiers=(identifiers.normalise(SCHEME, term),),
        record_type=RecordType.MOVEMENT,
        event=Event.GATE_IN,
        occurred_at=occurred_at,
        expires_at=occurred_at + 90 * DAY_S,
        handling=Handling(
            tlp=Tlp.AMBER,
            pap=Pap.AMBER,
            europol=Europol.H0,
            source_grade=SourceGrade.A,
            information_grade=InformationGrade.ONE,
        ),
        purposes=(PURPOSE,),
        active_target=False,
        personal=False,
        fields={"place": "Gate 7", "plate": "NL-74-BXK-3"},
        withheld=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What one analyst saw: queries per second, and how long each query took."""

    owners: int
    in_flight: int
    queries_per_s: float
    latencies_ms: list[float]
    failed: int


class Walk:
    """One analyst, asking."""

    def __init__(self, federation: Federation, terms: Sequence[str]) -> None:
        self._federation = federation
        self._directory = federation.directory()
        self._terms = terms
        self._asked = 0

    def client(self, user: str = ANALYST) -> NodeClient:
        """A connection of a user to the asker's node."""
        node = self._directory.partners[ASKER].nodes[0]
        keys = self._federation.layout.user(ASKER, user)
        profile = Profile(
            node=node.endpoint,
            node_id=node.spiffe_id,
            certificate=keys / "user.pem",
            key=keys / "user.key",
            directory=self._federation.layout.directory,
            trust=self._federation.layout.pins,
        )
        return NodeClient(profile, self._directory)

    async def open_case(self) -> None:
        """An approver opens the analyst's case."""
        case = asking_pb2.Case(
            case_id=CASE,
            purpose=PURPOSE,
            legal_basis=LEGAL_BASIS,
            schemes=[SCHEME],
            members=[ANALYST],
            expires_at=int(time.time()) + DAY_S,
        )
        async with self.client(APPROVER) as client:
            await client.stub.OpenCase(asking_pb2.OpenCaseRequest(case=case))

    async def measure(self, owners: int, seconds: float, in_flight: int) -> Walked:
        """Ask for ``seconds``."""
        latencies: list[float] = []
        failed = 0
        async with self.client() as client:
            await self._ask(client, owners)
            started = time.perf_counter()

            async def work() -> None:
                nonlocal failed
                while (begun := time.perf_counter()) < started + seconds:
                    failed += not await self._ask(client, owners)
                    latencies.append((time.perf_counter() - begun) * 1000)

            await asyncio.gather(*(work() for _ in range(in_flight)))
            took = time.perf_counter() - started
        return Walked(
            owners=owners,
            in_flight=in_flight,
            queries_per_s=len(latencies) / took,
            latencies_ms=latencies,
            failed=failed,
        )

    async def _ask(self, client: NodeClient, owners: int) -> bool:
        """One query, from draft to evidence; whether every owner answered."""
        term = self._terms[self._asked % len(self._terms)]
        self._asked += 1
        request = asking_pb2.PrepareRequest(
            terms=[asking_pb2.Term(scheme=SCHEME, value=term)],
            case_id=CASE,
            purpose=PURPOSE,
            mode=query_pb2.MODE_SEALED,
            since=int(time.time()) - 30 * DAY_S,
            partners=self._federation.owners(owners),
        )
        answered, closed = 0, False
        try:
            draft = await client.prepare(request)
            async for event in client.ask(draft):
                if event.HasField("partner"):
                    answered += event.partner.status == query_pb2.STATUS_ANSWERED
                closed = closed or event.HasField("evidence")
        except grpc.aio.AioRpcError:
            return False
        return closed and answered == owners


def measure(
    federation: Federation,
    children: Children,
    *,
    owners: Sequence[int],
    seconds: float,
    records: int,
) -> list[Walked]:
    """Start a gateway and real nodes, ask, stop them."""
    most = federation.owners(max(owners))
    terms = [term for partner in most for term in build(federation, partner, records)[:40]]
    Random(0).shuffle(terms)
    build(federation, ASKER, 1)
    running = start(federation, children, most)
    walk = Walk(federation, terms)

    async def run() -> list[Walked]:
        await walk.open_case()
        return [await walk.measure(n, seconds, k) for n in owners for k in IN_FLIGHT]

    found = asyncio.run(run())
    children.stop(*running)
    return found


def start(federation: Federation, children: Children, owners: Sequence[str]) -> list[Child]:
    """A gateway, the asker's node and the owners'; their configurations are written already."""
    config = federation.write_gateway_config("gateway-walk")
    started = [
        children.product("gateway-walk", "gateway.cli.main", "serve", "--config", str(config))
    ]
    for partner in (ASKER, *owners):
        path = federation.folder / f"{partner}.toml"
        started.append(children.product(partner, "node.cli.main", "serve", "--config", str(path)))
    wait_until_serving(*started)
    return started
