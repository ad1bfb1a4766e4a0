"""Attack: gateway or asker tells what an owner holds from sizes, statuses or order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fairlead.errors import LogUnavailable
from fairlead.identifiers.container import check_digit
from fairlead.v1 import audit_pb2, owner_pb2, query_pb2
from fairlead.vocabulary import Event, Handling
from node.answering import ALLOWANCE_PER_TERM_S, ALLOWANCE_S
from tests.attacks.crafted import OWNER
from tests.attacks.dictionary import values
from tests.attacks.evil import leaves
from tests.federation import Federation, federation, record, states

NAMES = (
    "nothing", "one", "many", "long", "hidden", "expired", "outside", "target", "pointer",
    "graded", "personal",
)  # fmt: skip
TERM = {name: f"MSCU66{n:04d}" + check_digit(f"MSCU66{n:04d}") for n, name in enumerate(NAMES)}
INVISIBLE = ("hidden", "expired", "outside", "target")
"""What must look like nothing to the asker too."""


def handling(**changes: str) -> Handling:
    """A record's handling."""
    usual = {"tlp": "AMBER", "pap": "AMBER", "europol": "H0"}
    return Handling(**{**usual, "source_grade": "A", "information_grade": "1", **changes})


def holdings() -> list[Any]:
    """One owner's records, one kind of secret each."""
    now = int(time.time())
    return [
        record(TERM["one"]),
        *(record(TERM["many"], fields={"place": f"Gate {n}"}) for n in range(60)),
        record(TERM["long"], fields={"place": "x" * 3000}),
        record(TERM["hidden"], purposes=("customs-risk",)),
        record(TERM["expired"], expires_at=now - 60, occurred_at=now - 7200),
        record(TERM["outside"], occurred_at=now - 300 * 86_400),
        record(TERM["target"], active_target=True),
        record(TERM["pointer"], handling=handling(europol="H2")),
        record(TERM["graded"], handling=handling(tlp="RED", pap="RED")),
        record(TERM["personal"], personal=True, event=Event.RELEASE_LOOKED_UP),
    ]


def outside(response: owner_pb2.AnswerResponse) -> dict[str, object]:
    """Everything about an answer that whoever cannot open it sees, except what is random."""
    answer = response.answer
    header = query_pb2.AnswerHeader.FromString(answer.header)
    return {
        "size": response.ByteSize(),
        "header": len(answer.header),
        "body": len(answer.body),
        "fields": [field.name for field, _ in header.ListFields()],
        "sizes": [(name, len(value)) for name, value in values(header)],
        "status": header.status,
        "reason": header.reason,
        "serial": header.policy_serial,
        "root": header.index_root,
    }


def watch(made: Federation) -> list[owner_pb2.AnswerResponse]:
    """Every answer that leaves the terminal."""
    answering = made.nodes[OWNER].answering
    inner, seen = answering.answer, []

    async def answer(request: Any, peer: Any) -> owner_pb2.AnswerResponse:
        response = await inner(request, peer)
        if response.HasField("answer"):
            # The age in seconds may tick over between two queries; nothing else may differ.
            seen.append(response)
        return response

    answering.answer = answer  # type: ignore[method-assign]
    return seen


async def test_the_gateway_cannot_tell_a_hit_by_size_or_status(tmp_path: Path) -> None:
    """Eleven kinds of finding, one shape: every clear field and every size is the same."""
    async with federation(tmp_path, records={OWNER: holdings()}) as made:
        await made.open_case()
        made.nodes[OWNER].index.age_s = lambda now: 7.0  # type: ignore[method-assign]
        seen = watch(made)
        lines = {}
        for name, term in TERM.items():
            lines[name] = states(await made.ask(term, partners=[OWNER]))[OWNER]
        shapes = [outside(response) for response in seen]
        assert len(shapes) == len(TERM)
        assert all(shape == shapes[0] for shape in shapes)
        # The terms do differ in what they find, else this test would show nothing.
        hits = {name for name, line in lines.items() if line.answers[0].hit}
        assert {"one", "many"} <= hits
        assert not hits & {"nothing", *INVISIBLE}
        # To the asker, hidden things are exactly nothing.
        for name in INVISIBLE:
            assert lines[name].answers == lines["nothing"].answers, name
        pointer = lines["pointer"].answers[0]
        assert not pointer.records


async def test_the_gateways_log_does_not_tell_a_hit(tmp_path: Path) -> None:
    """Its leaves about a hit and about nothing have the same types, fields and sizes."""
    shapes = {}
    async with federation(tmp_path, records={OWNER: holdings()}) as made:
        assert made.gateway is not None
        await made.open_case()
        for name in ("nothing", "many", "hidden", "target"):
            before = made.gateway.log.head.size
            await made.ask(TERM[name], partners=[OWNER])
            rows = made.gateway.log.read("SELECT body FROM leaf WHERE idx >= ?", (before,))
            found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
            shapes[name] = [
                (leaf.type, [(n, len(v)) for n, v in values(leaf) if n != "signatures"])
                for leaf in found
            ]
            assert len(found) == 4  # decisions, INTENT, RELEASE, OUTCOME
    assert all(shape == shapes["nothing"] for shape in shapes.values())


@pytest.mark.parametrize("count", [2, 5])
async def test_several_terms_answer_in_one_size_however_many_hit(
    tmp_path: Path, count: int
) -> None:
    """The size depends on the number of terms alone."""
    async with federation(tmp_path, records={OWNER: holdings()}) as made:
        await made.open_case()
        made.nodes[OWNER].index.age_s = lambda now: 7.0  # type: ignore[method-assign]
        seen = watch(made)
        names = [("many", "one", "long", "pointer", "graded"), ("nothing", *INVISIBLE)]
        for chosen in names:
            await made.ask(*(TERM[name] for name in chosen[:count]), partners=[OWNER])
        assert outside(seen[0]) == outside(seen[1])


async def test_every_answer_waits_for_its_leaf_and_for_the_same_allowance(tmp_path: Path) -> None:
    """Hit or nothing: one RELEASE first, then not before the allowance for that many terms."""
    async with federation(tmp_path, records={OWNER: holdings()}, tick_ms=50) as made:
        await made.open_case()
        loop = asyncio.get_running_loop()
        app = made.nodes[OWNER]
        desk, honest = app.answering._desk, app.answering._desk.release
        waits: list[tuple[float, float]] = []

        async def release(
            released: audit_pb2.ReleasedAnswer, *, arrived: float, allowance_s: float
        ) -> None:
            await honest(released, arrived=arrived, allowance_s=allowance_s)
            logged = leaves(app.log, audit_pb2.LEAF_TYPE_RELEASE)
            digests = {item.answer_digest for leaf in logged for item in leaf.released}
            assert released.answer_digest in digests
            assert loop.time() >= arrived + allowance_s
            waits.append((arrived, allowance_s))

        desk.release = release  # type: ignore[method-assign]
        assert desk._tick_s == made.directory.release_tick_s == 0.05
        for names in (("one",), ("nothing",), ("target",), ("many", "long"), ("nothing", "hidden")):
            before = loop.time()
            await made.ask(*(TERM[name] for name in names), partners=[OWNER])
            arrived, allowance_s = waits[-1]
            assert arrived >= before
            assert allowance_s == ALLOWANCE_S + ALLOWANCE_PER_TERM_S * (len(names) - 1)
        assert len(waits) == 5


async def test_no_answer_leaves_without_its_release_leaf(tmp_path: Path) -> None:
    """A log that refuses the RELEASE lets nothing out, neither at the owner nor at the gateway."""
    async with federation(tmp_path, records={OWNER: holdings()}) as made:
        assert made.gateway is not None
        await made.open_case()
        for log in (made.nodes[OWNER].log, made.gateway.log):
            honest = log.append

            async def append(leaf: bytes, *, honest: Any = honest, **named: Any) -> Any:
                if audit_pb2.AuditLeaf.FromString(leaf).type == audit_pb2.LEAF_TYPE_RELEASE:
                    raise LogUnavailable("no space", reasons=("LOG_UNWRITABLE",))
                return await honest(leaf, **named)

            log.append = append  # type: ignore[method-assign]
            shown: list[Any] = []
            async with made.client() as client:
                try:
                    draft = await made.draft(client, TERM["one"], partners=[OWNER])
                    async for event in client.ask(draft):
                        shown.append(event)  # noqa: PERF401  what came before the error counts
                except grpc.aio.AioRpcError:
                    pass
            assert not any(line.answers for line in states(shown).values())
            log.append = honest  # type: ignore[method-assign]
        assert states(await made.ask(TERM["one"], partners=[OWNER]))[OWNER].answers[0].hit
