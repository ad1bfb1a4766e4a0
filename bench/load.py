"""The load: an asker's node as a gateway sees it, with every query prepared beforehand.

``python -m bench.load FOLDER NAME=HOST:PORT…`` obeys one JSON object a line on its standard
input and answers each with one line:

* ``{"do": "prepare", "owners": 3, "count": 1000}`` signs queries, outside the measurement;
  With ``"askers": 8``, so many partners ask, each over a connection of its own;
* ``{"do": "check", "target": NAME}`` sends one query and verifies everything that comes back;
* ``{"do": "run", "target": NAME, "seconds": 2.5, "in_flight": 32}`` sends them in a closed loop;
* ``{"do": "watch", "target": NAME, "seconds": 6, "in_flight": 32, "apart": OWNER}`` does the same
  and tells, for the one owner and for all others, what came when.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from bench.federation import ASKER, Federation
from bench.questions import Question, Questions
from fairlead.certificates import SpiffeId
from fairlead.envelope.answer import verify_answer
from fairlead.envelope.outcome import verify_outcome
from fairlead.receipts import verify_receipt
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2

QUERY = "/fairlead.v1.GatewayService/Query"
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Tally:
    """One run: answered queries, those that were not, and how long each took."""

    ends_at: float
    started: float
    in_time: int = 0
    answered: int = 0
    failed: int = 0
    last: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Seen:
    """What came of the queries that were watched; ``apart`` counts the one owner's reasons."""

    queries: int = 0
    complete: int = 0
    others_failed: int = 0
    others_ms: list[float] = field(default_factory=list)
    apart: Counter[str] = field(default_factory=Counter)


class Load:
    """A node's connections to the two arms."""

    def __init__(self, federation: Federation, targets: dict[str, str]) -> None:
        self._directory = federation.directory()
        self._questions = {ASKER: Questions(federation)}
        self._targets = targets
        self._prepared: list[Question] = []
        self._owners: tuple[str, ...] = ()
        self._federation = federation
        self._calls: dict[tuple[str, str], Any] = {}
        self._connect(ASKER)

    def _connect(self, asker: str) -> None:
        """Open one node's connections to the arms."""
        keys = self._federation.layout.node(asker)
        roots = [self._directory.federation_ca]
        material = tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", roots)
        gateway = SpiffeId.parse(self._directory.gateway.spiffe_id)
        for name, endpoint in self._targets.items():
            channel = tls.open_channel(endpoint, server=gateway, material=material)
            self._calls[name, asker] = channel.unary_stream(QUERY)

    async def obey(self, order: dict[str, Any]) -> dict[str, object]:
        """Carry out one order."""
        if order["do"] == "prepare":
            return self._prepare(order["owners"], order["count"], order.get("askers", 0))
        if order["do"] == "check":
            return await self._check(order["target"])
        if order["do"] == "watch":
            return await self._watch(
                order["target"], order["seconds"], order["in_flight"], order["apart"]
            )
        return await self._run(order["target"], order["seconds"], order["in_flight"])

    def _prepare(self, owners: int, count: int, askers: int) -> dict[str, object]:
        self._owners = self._federation.owners(owners)
        asking = [ASKER]
        if askers:
            crowd = self._federation.crowd(askers)
            asking = list(crowd)
            for name in crowd.keys() - self._questions.keys():
                self._questions[name] = Questions(self._federation, name, crowd[name])
                self._connect(name)
        share = -(-count // len(asking))
        self._prepared = [q for a in asking for q in self._questions[a].prepare(owners, share)]
        return {"prepared": len(self._prepared)}

    # ── Load ─────────────────────────────────────────────────────────────────────────────────

    async def _run(self, target: str, seconds: float, in_flight: int) -> dict[str, object]:
        started = time.perf_counter()
        tally = Tally(started=started, ends_at=started + seconds)
        queues: dict[str, deque[Question]] = {}
        for question in self._prepared:
            queues.setdefault(question.asker, deque()).append(question)
        each = in_flight // len(queues)
        await asyncio.gather(
            *(self._worker(target, queue, tally) for queue in queues.values() for _ in range(each))
        )
        ran_dry = not any(queues.values()) and tally.last < tally.ends_at
        return {
            "rate": tally.in_time / ((tally.last - started) if ran_dry else seconds),
            "answered": tally.answered,
            "failed": tally.failed,
            "reasons": dict(tally.reasons),
            "latencies_ms": [round(value, 3) for value in tally.latencies_ms],
        }

    async def _worker(self, target: str, waiting: deque[Question], tally: Tally) -> None:
        while waiting and time.perf_counter() < tally.ends_at:
            question = waiting.popleft()
            call = self._calls[target, question.asker]
            begun = time.perf_counter()
            reasons = await self._ask(call, question)
            complete = not reasons
            ended = time.perf_counter()
            tally.answered += complete
            tally.failed += not complete
            tally.reasons.update(reasons)
            tally.in_time += complete and ended <= tally.ends_at
            tally.last = max(tally.last, ended)
            tally.latencies_ms.append((ended - begun) * 1000)

    async def _ask(self, call: Any, question: Question) -> list[str]:
        """Ask; returns what went wrong, nothing when every owner's answer came."""
        try:
            responses = [octets async for octets in call(question.octets, timeout=TIMEOUT_S)]
        except grpc.aio.AioRpcError as error:
            return [error.code().name]
        return _troubles(responses, len(self._owners))

    async def _watch(
        self, target: str, seconds: float, in_flight: int, apart: str
    ) -> dict[str, object]:
        ends_at = time.perf_counter() + seconds
        waiting, seen = deque(self._prepared), Seen()

        async def work() -> None:
            while waiting and time.perf_counter() < ends_at:
                await self._look(target, waiting.popleft(), apart, seen)

        await asyncio.gather(*(work() for _ in range(in_flight)))
        return {
            "queries": seen.queries,
            "complete": seen.complete,
            "others_ms": [round(value, 3) for value in seen.others_ms],
            "others_failed": seen.others_failed,
            "apart": dict(seen.apart),
        }

    async def _look(self, target: str, question: Question, apart: str, seen: Seen) -> None:
        begun, states, closed = time.perf_counter(), set[str](), False
        seen.queries += 1
        try:
            async for octets in self._calls[target, ASKER](question.octets, timeout=TIMEOUT_S):
                response = gateway_pb2.QueryResponse.FromString(octets)
                closed = closed or response.HasField("closed")
                for event in response.partners:
                    states.add(event.partner_id)
                    if event.partner_id == apart:
                        seen.apart[event.reason or "ANSWERED"] += 1
                    else:
                        seen.others_ms.append((time.perf_counter() - begun) * 1000)
                        seen.others_failed += event.status != query_pb2.STATUS_ANSWERED
        except grpc.aio.AioRpcError:
            return
        seen.complete += closed and states == set(self._owners)

    # ── Check ────────────────────────────────────────────────────────────────────────────────

    async def _check(self, target: str) -> dict[str, object]:
        """Verify one query's answers; of a gateway, receipt and outcome as well.

        :raises FairleadError: something does not verify.
        """
        question = self._prepared.pop()
        answers, closed = 0, False
        async for octets in self._calls[target, ASKER](question.octets, timeout=TIMEOUT_S):
            response = gateway_pb2.QueryResponse.FromString(octets)
            for event in response.partners:
                if event.HasField("answer"):
                    answers += self._verify_answer(question, event)
                else:
                    print(f"no answer: {event.reason}", file=sys.stderr)
            if response.HasField("closed"):
                closed = self._verify_closed(question, response.closed)
        return {"answers": answers, "closed": closed}

    def _verify_answer(self, question: Question, event: gateway_pb2.PartnerEvent) -> bool:
        verify_answer(
            event.answer,
            query_id=question.query_id,
            header_digest=question.header_digest,
            terms=1,
            owner=self._directory.partners[event.partner_id],
        )
        return event.status == query_pb2.STATUS_ANSWERED

    def _verify_closed(self, question: Question, closed: gateway_pb2.Closed) -> bool:
        gateway = self._directory.gateway
        outcome = verify_outcome(
            closed.outcome,
            closed.signature,
            query_id=question.query_id,
            header_digest=question.header_digest,
            gateway=gateway,
        )
        # Inclusion alone: it starts from the head of the INTENT's receipt, not kept here.
        bare = audit_pb2.Receipt(leaf=closed.receipt.leaf, tlog_proof=closed.receipt.tlog_proof)
        verify_receipt(bare, origin=gateway.log_origin, public_key=gateway.log_key, head=None)
        return set(outcome.states) == set(self._owners)


def _troubles(responses: list[bytes], owners: int) -> list[str]:
    """The reasons of the partners that did not answer; none when every owner answered."""
    events = [e for r in responses for e in gateway_pb2.QueryResponse.FromString(r).partners]
    reasons = [e.reason or "UNEXPLAINED" for e in events if e.status != query_pb2.STATUS_ANSWERED]
    return reasons or ([] if len(events) == owners else ["ANSWERS_MISSING"])


def main() -> None:
    """Obey until standard input ends."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    targets = dict(item.split("=", 1) for item in sys.argv[2:])

    async def make() -> Load:
        return Load(Federation(Path(sys.argv[1])), targets)

    load = loop.run_until_complete(make())
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(loop.run_until_complete(load.obey(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
