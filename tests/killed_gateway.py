"""kill -9 of a whole gateway under load: what anybody was told is in the log, and stays there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc.aio

from fairlead import merkle, receipts
from fairlead.auditlog import verify_log
from fairlead.errors import Unreachable
from fairlead.signing import digest, parse_canonical
from fairlead.v1 import asking_pb2, audit_pb2, gateway_pb2, owner_pb2, query_pb2
from node.app import NodeApp
from tests.federation import ANALYST, Federation, apart, federation, states
from tests.processes import Serving, command, gateway_process

LOADERS = 3
MOMENTS = ("accepted", "asked", "partner", "closed", "answered")
"""When a kill may come: the first time, after a restart and one whole query, that the asker
sees INTENT, an owner is asked, an answer arrives, a query closes, or an owner has answered."""


@dataclass(frozen=True, slots=True)
class Survived:
    """How many kills, and how many leaves somebody had been shown."""

    kills: int
    acked: int


@dataclass(slots=True)
class Witness:
    """Everything the gateway told anybody, written down the moment it arrived."""

    told: Counter[str] = field(default_factory=Counter)
    intents: dict[bytes, bytes] = field(default_factory=dict)
    """INTENT leaves by query, as receipts showed them to the asker and to owners."""
    arrived: dict[tuple[bytes, str], tuple[int, bytes]] = field(default_factory=dict)
    """(query, partner) → status and answer digest of everything the asker received."""
    asked: set[tuple[str, bytes]] = field(default_factory=set)
    """(owner, query) of every request that reached an owner."""
    closings: dict[bytes, bytes] = field(default_factory=dict)
    """OUTCOME leaves by query."""
    outcomes: dict[bytes, query_pb2.Outcome] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    """Every checkpoint that came with a receipt."""
    ambush: Callable[[str], None] = field(default=lambda _moment: None)

    def _tell(self, moment: str) -> None:
        self.told[moment] += 1
        self.ambush(moment)

    def _receipt(self, receipt: audit_pb2.Receipt, into: dict[bytes, bytes]) -> bytes:
        leaf = parse_canonical(audit_pb2.AuditLeaf, receipt.leaf)
        assert into.setdefault(leaf.query_id, receipt.leaf) == receipt.leaf
        self.notes.add(receipts.parse_proof(receipt.tlog_proof).checkpoint)
        return leaf.query_id

    def watch_asker(self, app: NodeApp) -> None:
        """Write down what the gateway sends to an asking node."""
        send = app.asking._sending._send

        async def watched(
            request: gateway_pb2.QueryRequest,
        ) -> AsyncIterator[gateway_pb2.QueryResponse]:
            query_id = query_pb2.QueryHeader.FromString(request.query.header).query_id
            async for response in send(request):
                for event in apart(response):
                    self._tell(self._note(query_id, event))
                    yield event

        app.asking._sending._send = watched

    def _note(self, query_id: bytes, event: gateway_pb2.QueryResponse) -> str:
        """Write down one event; returns what it is."""
        if event.HasField("accepted"):
            assert self._receipt(event.accepted.intent, self.intents) == query_id
            return "accepted"
        if event.HasField("closed"):
            assert self._receipt(event.closed.receipt, self.closings) == query_id
            self.outcomes[query_id] = query_pb2.Outcome.FromString(event.closed.outcome)
            return "closed"
        (line,) = event.partners
        found = digest(line.answer.header) if line.HasField("answer") else b""
        self.arrived[query_id, line.partner_id] = (line.status, found)
        return "partner"

    def watch_owner(self, partner: str, app: NodeApp) -> None:
        """Write down what the gateway sends to an owner."""
        answer = app.answering.answer

        async def watched(
            request: owner_pb2.AnswerRequest, *rest: object
        ) -> owner_pb2.AnswerResponse:
            self.asked.add((partner, self._receipt(request.receipt, self.intents)))
            self._tell("asked")
            response = await answer(request, *rest)  # type: ignore[arg-type]
            self._tell("answered")
            return response

        app.answering.answer = watched  # type: ignore[method-assign, assignment]


@dataclass(slots=True, kw_only=True)
class Log:
    """The leaves of one log file, read by somebody else than its process."""

    leaves: list[audit_pb2.AuditLeaf]
    hashes: dict[bytes, int]

    @classmethod
    def read(cls, path: Path) -> Log:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            bodies = [b for (b,) in connection.execute("SELECT body FROM leaf ORDER BY idx")]
        leaves = [audit_pb2.AuditLeaf.FromString(body) for body in bodies]
        return cls(
            leaves=leaves, hashes={merkle.leaf_hash(body): i for i, body in enumerate(bodies)}
        )

    def places(self, kind: int) -> dict[bytes, int]:
        """Query → index of its leaf of one type."""
        return {leaf.query_id: i for i, leaf in enumerate(self.leaves) if leaf.type == kind}

    def released(self) -> dict[tuple[bytes, str], tuple[int, int, bytes]]:
        """(query, partner) → index, status and answer digest of what a RELEASE leaf let out."""
        return {
            (item.query_id, item.partner_id): (index, item.status, item.answer_digest)
            for index, leaf in enumerate(self.leaves)
            for item in leaf.released
            if leaf.type == audit_pb2.LEAF_TYPE_RELEASE
        }


async def load(made: Federation, stop: asyncio.Event) -> None:
    """Ask, and ask again, whatever happens to the gateway."""
    async with made.client(*ANALYST) as client:
        while not stop.is_set():
            try:
                await made.ask(client=client)
            except (grpc.aio.AioRpcError, Unreachable):
                await asyncio.sleep(0.02)


async def strike(witness: Witness, running: Serving, moment: str) -> None:
    """Kill the gateway the very moment it has said something, under way with other queries."""
    first = witness.told["closed"]

    def ambush(now: str) -> None:
        if now == moment and witness.told["closed"] > first:
            running.kill()

    witness.ambush = ambush
    await running.wait()
    witness.ambush = lambda _moment: None


async def kill_repeatedly(folder: Path, moments: Sequence[str]) -> Survived:
    """Kill a gateway at these moments, one after the other, and compare all that was said.

    :raises AssertionError: a leaf that somebody was shown is not in the log, or a byte got out
        without its leaves.
    """
    witness, stop = Witness(), asyncio.Event()
    async with federation(folder, start=False) as made:
        for partner in made.node_configs:
            app = await made.start_node(partner)
            witness.watch_owner(partner, app)
        witness.watch_asker(made.nodes["customs"])
        await made.open_case()
        loaders = [asyncio.create_task(load(made, stop)) for _ in range(LOADERS)]
        heads = []
        try:
            for moment in moments:
                async with gateway_process(made) as running:
                    await strike(witness, running, moment)
                heads.append(made.nodes["terminal-north"].answering._heads.size)
        finally:
            stop.set()
            await asyncio.gather(*loaders)
        async with gateway_process(made) as running:
            final = states(await _ask_until_answered(made))
            assert await running.stop() == 0
        assert {a.status for a in final.values()} == {query_pb2.STATUS_ANSWERED}
        # An owner that saw the log before a kill accepted the log after it: nothing forked.
        heads.append(made.nodes["terminal-north"].answering._heads.size)
        assert heads == sorted(set(heads))
        path = made.gateway_config.state_dir / "audit.sqlite"
        await _check(witness, path, made, len(moments))
    assert b"Traceback" not in (folder / "logs" / "gateway.log").read_bytes()
    return Survived(len(moments), len(witness.intents) + len(witness.closings))


async def _check(witness: Witness, path: Path, made: Federation, kills: int) -> None:
    log = Log.read(path)
    _check_acknowledged(witness, log, kills)
    _check_released(witness, log, kills)
    await _check_owners(witness, log, made, kills)
    await _check_verifies(witness, path, made, kills)


async def _ask_until_answered(made: Federation) -> list[asking_pb2.AskResponse]:
    """The node's connection comes back by itself."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await made.ask()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)


def _check_acknowledged(witness: Witness, log: Log, kills: int) -> None:
    """Leaves shown in receipts are leaves of the log, and outcomes say what their leaves say."""
    assert len(witness.intents) >= kills
    for shown in (witness.intents, witness.closings):
        assert {merkle.leaf_hash(leaf) for leaf in shown.values()} <= log.hashes.keys()
    for query_id, outcome in witness.outcomes.items():
        leaf = parse_canonical(audit_pb2.AuditLeaf, witness.closings[query_id])
        assert leaf.type == audit_pb2.LEAF_TYPE_OUTCOME
        assert list(leaf.partners) == list(outcome.partners)
        assert merkle.leaf_hash(witness.intents[query_id]) == outcome.intent_leaf_hash


def _check_released(witness: Witness, log: Log, kills: int) -> None:
    """Whatever reached the asker was released after its INTENT, exactly as it arrived."""
    intents, released = log.places(audit_pb2.LEAF_TYPE_INTENT), log.released()
    assert len(witness.arrived) >= kills
    for (query_id, partner), (status, found) in witness.arrived.items():
        index, logged, answer_digest = released[query_id, partner]
        assert (logged, answer_digest) == (status, found)
        assert intents[query_id] < index
    assert {query_id for _, query_id in witness.asked} <= intents.keys()


async def _check_owners(witness: Witness, log: Log, made: Federation, kills: int) -> None:
    """Both ends agree: an owner's INTENT names the gateway's, and its answers were released."""
    for partner in ("terminal-north", "oceanic-line"):
        await made.stop_node(partner)
        own = Log.read(made.node_configs[partner].state_dir / "audit.sqlite")
        named = [i.intent_leaf_hash for i in own.leaves if i.type == audit_pb2.LEAF_TYPE_INTENT]
        assert len(named) >= kills
        assert set(named) <= log.hashes.keys()
        let_out = own.released()
        for (query_id, owner), (status, found) in witness.arrived.items():
            if owner == partner and found:
                assert let_out[query_id, owner][1:] == (status, found)


async def _check_verifies(witness: Witness, path: Path, made: Federation, kills: int) -> None:
    """The log re-derives, and extends every head that any receipt ever showed."""
    gateway = made.directory.gateway
    known = []
    for note in witness.notes:
        point = receipts.open_checkpoint(note, gateway.log_origin, gateway.log_key)
        known.append(
            receipts.Head(
                origin=gateway.log_origin, size=point.size, root=point.root, checkpoint=note
            )
        )
    assert len(known) >= kills
    report = verify_log(path, origin=gateway.log_origin, public_key=gateway.log_key, known=known)
    assert report.leaves["INTENT"] >= len(witness.intents)
    assert set(report.open_queries) & witness.outcomes.keys() == set()
    ended = await command(
        *("fairlead.cli.main", "audit", "verify", path),
        *("--directory", made.layout.directory, "--trust", made.layout.pins),
    )
    assert ended.code == 0, ended.err


def main() -> int:
    """``python -m tests.killed_gateway FOLDER KILLS``: for ``make faults``."""
    moments = itertools.islice(itertools.cycle(MOMENTS), int(sys.argv[2]))
    survived = asyncio.run(kill_repeatedly(Path(sys.argv[1]), list(moments)))
    print(json.dumps(asdict(survived)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
