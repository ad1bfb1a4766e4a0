"""Figures asked for at the own node: what is refused at home, and what of the gateway's answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fairlead import signing
from fairlead.client import NodeClient
from fairlead.cubes.period import Period
from fairlead.cubes.registry import Registry
from fairlead.errors import Forged
from fairlead.kpi.signature import DOMAIN, Statement
from fairlead.strategic.question import draft_question, sign_question, verify_question
from fairlead.strategic.received import Received, Request, check_asked_leaf
from fairlead.v1 import asking_pb2, audit_pb2, statistics_pb2
from tests.federation import APPROVER, Federation, federation
from tests.live import leaves, reason_of

PURPOSE = "strategic-analysis"
Response = statistics_pb2.QueryFiguresResponse


async def wanted(client: NodeClient, period: str = "2026-Q1..2026-Q2") -> Request:
    """A question about reports, by the cubes in force at the node."""
    listed = await client.list_cubes()
    registry = Registry.parse(listed.registry)
    cube = registry.cube("reports-received")
    level = cube.level("quarter,kind")
    return Request(
        registry=registry, cube=cube, level=level, period=level.period(period), purpose=PURPOSE
    )


async def asked(client: NodeClient, request: Request) -> list[asking_pb2.AskFiguresResponse]:
    return [event async for event in client.ask_figures(request)]


async def refused(client: NodeClient, question: bytes, signature: bytes) -> str:
    """The code by which a question is refused."""
    call = client.stub.AskFigures(
        asking_pb2.AskFiguresRequest(question=question, signature=signature)
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return reason_of(caught.value)


def drafted(client: NodeClient, request: Request, now: float, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "federation": client.directory.federation,
        "partner_id": client.partner_id,
        "user_certificate": client.certificate,
        "purpose": request.purpose,
        "cube": request.cube,
        "registry_digest": request.registry.digest,
        "level": request.level,
        "period": request.period,
        "now": now,
    }
    return draft_question(**{**fields, **changes})


async def test_a_node_refuses_at_home_what_may_not_be_asked(tmp_path: Path) -> None:
    """Another's signature or certificate, another purpose, cubes of another registry, an open
    period, an old question: nothing leaves the node, and each refusal is on the record."""
    async with federation(tmp_path, partners=("customs",), records={}, start=False) as made:
        node = await made.start_node("customs")
        now = time.time()
        async with made.client() as client, made.client(*APPROVER) as other:
            request = await wanted(client)
            year = Period(request.units[-1], replace(request.units[-1], number=8180))
            cases = {
                "SIGNATURE": (drafted(client, request, now), other._key),
                "USER_CERTIFICATE": (
                    drafted(client, request, now, user_certificate=other.certificate), other._key,
                ),
                "FIGURES_PURPOSE": (
                    drafted(client, request, now, purpose="drug-trafficking"), client._key,
                ),
                "CUBE_VERSION": (
                    drafted(client, request, now, registry_digest=bytes(32)), client._key,
                ),
                "PERIOD_OPEN": (drafted(client, request, now, period=year), client._key),
                "QUERY_WINDOW": (drafted(client, request, now - 200), client._key),
                "FEDERATION": (drafted(client, request, now, federation="other"), client._key),
            }  # fmt: skip
            for code, (question, key) in cases.items():
                assert await refused(client, question, sign_question(question, key)) == code
            assert await refused(client, b"\xff", b"") == "MALFORMED"
            question = drafted(client, request, now)
            signature = sign_question(question, client._key)
            assert await refused(client, question, signature) == "GATEWAY_UNREACHABLE"
        told = leaves(node.log)
        refusals = [leaf for leaf in told if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL]
        assert [leaf.reasons[0] for leaf in refusals] == [*cases, "MALFORMED"]
        assert {leaf.subject for leaf in refusals} == {"AskingService.AskFigures"}
        figures = [leaf for leaf in told if leaf.type == audit_pb2.LEAF_TYPE_FIGURES]
        assert [leaf.subject for leaf in figures] == ["figures-asked"]
        assert figures[0].figures.period == "2026-Q1..2026-Q2"
        assert len(figures[0].signatures) == 2


# ── What the gateway sends ───────────────────────────────────────────────────────────────────

Change = Callable[[list[Response]], list[Response]]


def without_record(events: list[Response]) -> list[Response]:
    return [event for event in events if not event.HasField("accepted")]


def one_fewer(events: list[Response]) -> list[Response]:
    return events[:-1]


def twice(events: list[Response]) -> list[Response]:
    return [*events, events[-1]]


def changed(events: list[Response]) -> list[Response]:
    events[-1].released.signature = bytes(64)
    return events


def nobodys(events: list[Response]) -> list[Response]:
    events[-1].released.gateway = "spiffe://example/gateway/gw-9"
    return events


def from_elsewhere(events: list[Response]) -> list[Response]:
    """A receipt that starts from another head than the one that was just proved."""
    events[-1].released.receipt.CopyFrom(events[0].accepted.asked)
    return events


def of_another(events: list[Response]) -> list[Response]:
    """The receipt of a leaf that is not this question's."""
    receipt = events[0].accepted.asked
    leaf = audit_pb2.AuditLeaf.FromString(receipt.leaf)
    leaf.purpose = "other"
    receipt.leaf = signing.canonical(leaf)
    return events


async def test_a_node_passes_on_only_what_it_asked_for_and_can_prove(tmp_path: Path) -> None:
    """What a gateway leaves out, repeats, makes up or does not record is not passed on; what it
    does right is, and then its head is durable at the node."""
    partners = ("customs", "terminal-north", "oceanic-line")
    async with federation(tmp_path, partners=partners, records={}) as made:
        figuring = made.nodes["customs"].figuring
        honest = figuring._send
        async with made.client() as client:
            request = await wanted(client)
            events = await asked(client, request)
            assert events[0].accepted.units == 2
            received = Received(request=request, directory=made.directory, clock=time.time)
            for event in events:
                if event.HasField("released"):
                    assert received.take(event.released).version == 0, "three are too few"
            received.check_whole()
            node = made.nodes["customs"]
            await _of_this_question(made, figuring, client, events[0].accepted.asked.leaf)
            head = node.log.foreign_head(made.directory.gateway.log_origin)
            assert head is not None
            subjects = [
                leaf.subject
                for leaf in leaves(node.log)
                if leaf.type == audit_pb2.LEAF_TYPE_FIGURES
            ]
            assert subjects == ["figures-asked", "figures-received"] * 2

            for change, code in (
                (without_record, "FIGURES_LEAF"),
                (one_fewer, "FIGURES_MISSING"),
                (twice, "FIGURES_OTHER"),
                (changed, "SIGNATURE"),
                (nobodys, "GATEWAY_UNKNOWN"),
                (of_another, "INCLUSION_PROOF"),
                (from_elsewhere, "LOG_BEHIND"),
            ):
                figuring._send = _tampered(honest, change)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asked(client, request)
                assert reason_of(caught.value) == code, change
            figuring._send = _of_question_before(honest)
            for code in ("FIGURES_MISSING", "FIGURES_LEAF"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asked(client, request)
                assert reason_of(caught.value) == code
            figuring._send = honest
            assert len(await asked(client, request)) >= 3
            told = [leaf for leaf in leaves(node.log) if leaf.reasons]
            assert [leaf.reasons[0] for leaf in told if leaf.user] == [
                "FIGURES_LEAF", "FIGURES_MISSING", "FIGURES_OTHER", "SIGNATURE", "GATEWAY_UNKNOWN",
                "INCLUSION_PROOF", "LOG_BEHIND", "FIGURES_MISSING", "FIGURES_LEAF",
            ], "what a gateway did is on the record"  # fmt: skip


async def _of_this_question(
    made: Federation, figuring: Any, client: NodeClient, leaf: bytes
) -> None:
    """A leaf of the gateway is of one question; of any other it proves nothing."""
    seen: list[statistics_pb2.QueryFiguresRequest] = []
    honest = figuring._send

    async def send(request: statistics_pb2.QueryFiguresRequest) -> AsyncIterator[Response]:
        seen.append(request)
        async for event in honest(request):
            yield event

    figuring._send = send
    events = await asked(client, await wanted(client, "2026-Q1"))
    figuring._send = honest
    question = verify_question(
        seen[0].question, directory=made.directory, deny_lists=None, now=time.time()
    )
    own = events[0].accepted.asked.leaf
    check_asked_leaf(own, question)
    for other in (
        replace(question, purpose="other"), replace(question, period="2026-Q2"),
        replace(question, level="quarter"), replace(question, question_id=bytes(16)),
        replace(question, cube_version=9),
    ):  # fmt: skip
        with pytest.raises(Forged):
            check_asked_leaf(own, other)
    with pytest.raises(Forged):
        check_asked_leaf(leaf, question)


def _of_question_before(honest: Any) -> Any:
    """A gateway that keeps a question to itself, and answers it when the next one comes: its
    receipt is whole, and of another leaf."""
    kept: list[statistics_pb2.SignedFiguresQuestion] = []

    async def send(request: statistics_pb2.QueryFiguresRequest) -> AsyncIterator[Response]:
        if not kept:
            kept.append(request.question)
            return
        async for event in honest(
            statistics_pb2.QueryFiguresRequest(question=kept[0], head_size=request.head_size)
        ):
            yield event

    return send


def _tampered(honest: Any, change: Change) -> Any:
    async def send(request: statistics_pb2.QueryFiguresRequest) -> AsyncIterator[Response]:
        found = [e async for e in honest(request) if not e.HasField("progress")]
        for event in change(found):
            yield event

    return send


async def test_a_node_signs_packs_of_its_own_partner(tmp_path: Path) -> None:
    """Under the key of the directory; of another partner's pack it signs nothing."""
    async with federation(tmp_path, partners=("customs",), records={}, start=False) as made:
        await made.start_node("customs")
        files = {"kpi-2026.html": b"page", "kpi-2026.zip": b"zip"}
        async with made.client() as client:
            own = Statement.of(files, year=2026, signer="customs")
            signature = await client.sign_pack(own)
            key = made.directory.partner("customs").signing_key
            signing.verify(key, DOMAIN, own.to_bytes(), signature)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.sign_pack(Statement.of(files, year=2026, signer="police"))
            assert reason_of(caught.value) == "PACK_SIGNER"
