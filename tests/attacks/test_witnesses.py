"""Attacks on the witnesses, and by a gateway that shows two histories."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from fairlead import cosigning, signing
from fairlead.evidence import verify_evidence
from fairlead.receipts import open_checkpoint
from fairlead.v1 import audit_pb2, query_pb2
from fairlead.v1 import witness_pb2 as pb
from node.sources.record import SourceRecord
from node.witness import MARK_FILE
from tests.attacks.crafted import OWNER, craft
from tests.attacks.evil import EvilGateway, alarms, intents, refusals, refused
from tests.attacks.games.forks import play
from tests.federation import Federation, evidence, federation, record, states
from tests.walks import make_world

SENSITIVE, CASE = "infiltration", "CASE-9"
PARTNERS, ASKED = ("customs", "police", OWNER), "police"
WITNESSED = (SENSITIVE, "drug-trafficking")


def holding() -> dict[str, list[SourceRecord]]:
    return {p: [record(purposes=WITNESSED)] for p in ("police", OWNER)}


@pytest.mark.parametrize(("seed", "tolerated"), [(1, 1), (2, 6)])
async def test_two_forks_never_both_have_a_quorum(
    tmp_path: Path, seed: int, tolerated: int
) -> None:
    """Sixty-four witnesses at once, as many liars as are tolerated; honest ones raise alarms."""
    world = make_world(tmp_path / "keys")
    played = await play(tmp_path, world, count=64, tolerated=tolerated, liars=tolerated, seed=seed)
    assert played.quorums <= 1
    assert played.signatures >= 64
    assert played.alarms > 0


async def test_one_liar_too_many_gives_both_forks_a_quorum(tmp_path: Path) -> None:
    """The control: where more lie than are tolerated the game can be lost, so it can be lost."""
    world = make_world(tmp_path / "keys")
    played = await play(tmp_path, world, count=16, tolerated=0, liars=2, seed=4)
    assert played.quorums == 2


def lines_of(made: Federation, note: str, *partners: str) -> str:
    """A note with cosignatures that these partners' own keys made: a bought witness each."""
    keys = {p: signing.load_signing_key(made.layout.node(p) / "witness.key") for p in partners}
    return cosigning.with_lines(
        note,
        [
            cosigning.cosign(
                note, cosigning.witness_name(made.directory.federation, p), key, time.time()
            )
            for p, key in keys.items()
        ],
    )


async def test_the_operator_gets_no_answer_for_a_sensitive_purpose_on_a_fork(
    tmp_path: Path,
) -> None:
    """With every key of the gateway: without cosignatures, with one bought witness, with two of one
    sector, and with the lines of the main log under the fork's note."""
    async with (
        federation(tmp_path, partners=PARTNERS, records=holding()) as made,
        EvilGateway(made) as gateway,
    ):
        theirs = craft(made, purpose=SENSITIVE, asked=[ASKED])
        await gateway.grow("main", 3, tag=1)
        await gateway.grow("fork", 3, tag=2)
        request = await gateway.request(theirs, ASKED, history="fork")
        index = (await gateway.intent(theirs, "fork")).index
        fork, main = gateway.history("fork"), gateway.history("main").checkpoint()
        elsewhere = lines_of(made, main, "customs", OWNER).split("\n\n")[1].split("\n", 1)[1]
        attempts = [
            fork.checkpoint(),
            lines_of(made, fork.checkpoint(), OWNER),
            lines_of(made, fork.checkpoint(), "customs", ASKED),
            fork.checkpoint() + elsewhere,
        ]
        for note in attempts:
            request.receipt.CopyFrom(fork.receipt(index, under=replace(fork.head, checkpoint=note)))
            with refused("QUORUM_MISSING", code=grpc.StatusCode.FAILED_PRECONDITION):
                await gateway.send(request, ASKED)
        own = made.nodes[ASKED].log
        assert (intents(own), refusals(own)) == (0, ["QUORUM_MISSING"] * len(attempts))
        # The controls: an ordinary purpose is answered, and so is this one under a quorum.
        ordinary = craft(made, asked=[ASKED])
        assert (await gateway.ask(ordinary, ASKED, history="fork")).HasField("answer")
        note = lines_of(made, fork.checkpoint(), "customs", OWNER)
        under = replace(fork.head, checkpoint=note)
        request.receipt.CopyFrom(fork.receipt(index, fork.head.size, under=under))
        assert (await gateway.send(request, ASKED)).HasField("answer")


async def test_a_gateway_that_shows_two_views_is_stopped_by_its_witnesses(
    tmp_path: Path,
) -> None:
    """Owners that were shown another history cosign none but that one, and the running gateway
    stops as soon as two have told it what its keys have signed."""
    async with federation(tmp_path, partners=PARTNERS, records=holding()) as made:
        await made.open_case()
        async with EvilGateway(made) as gateway:
            await gateway.grow("fork", 9, tag=2)
            for owner in (OWNER, ASKED):
                await gateway.ask(craft(made, asked=[owner]), owner, history="fork")
        running, entry = made.gateway, made.directory.gateway
        assert running is not None
        assert not running.failed.event.is_set()
        await running.witnesses.look()
        assert running.failed.event.is_set()
        alarm = alarms(running.log)[-1]
        assert list(alarm.reasons) == ["LOG_FORKED"]
        mine, theirs = (
            open_checkpoint(note, entry.log_origin, entry.log_key) for note in alarm.checkpoints
        )
        assert theirs.size > 9 > mine.size or mine.root != theirs.root
        with refused("LOG_FORKED", code=grpc.StatusCode.UNAVAILABLE):
            await made.ask()


async def test_a_sensitive_query_is_answered_once_a_quorum_has_cosigned_it(
    tmp_path: Path,
) -> None:
    """The evidence verifies and carries the lines; without witnesses nobody is asked, and the
    asker reads why, at once the second time."""
    async with federation(
        tmp_path, partners=PARTNERS, records=holding(), cosigned=True, deadline_ms=6_000
    ) as made:
        running = made.gateway
        assert running is not None
        await running.witnesses.covering(0, made.directory, within_s=30)
        await made.open_case(CASE, purpose=SENSITIVE)
        events = await made.ask(case_id=CASE, purpose=SENSITIVE)
        found = states(events)
        assert found["police"].status == query_pb2.STATUS_ANSWERED
        assert found["police"].answers[0].hit
        proof = evidence(events)
        assert verify_evidence(proof, made.directory).answers == 1
        note = proof.intent.tlog_proof.split("\n\n", 1)[1]
        assert len(cosigning.cosigners(note, made.directory)) >= 2
        before = intents(made.nodes["police"].log)
        running.witnesses._transport = Nobody()  # type: ignore[assignment]
        found = states(await made.ask(case_id=CASE, purpose=SENSITIVE))
        assert {s.status for s in found.values()} == {query_pb2.STATUS_NOT_ASKED}
        assert found["police"].reason == "QUORUM_MISSING"
        with refused("QUORUM_MISSING", code=grpc.StatusCode.PERMISSION_DENIED):
            await made.ask(case_id=CASE, purpose=SENSITIVE)
        assert intents(made.nodes["police"].log) == before
        await made.open_case()
        assert states(await made.ask())["police"].status == query_pb2.STATUS_ANSWERED
        # A gateway that stops meanwhile closes the query, with evidence, and asks nobody.
        running.witnesses._gave_up = False
        waiting = asyncio.create_task(made.ask(case_id=CASE, purpose=SENSITIVE))
        while not running.witnesses._waiting:
            await asyncio.sleep(0.01)
        await running.tactical.drain()
        found = states(await waiting)
        assert found["police"].reason == "GATEWAY_STOPPED"


class Nobody:
    """A transport that reaches no witness."""

    async def add_checkpoint(self, *_: object, **__: object) -> pb.AddCheckpointResponse:
        from gateway.members import LegFailed

        raise LegFailed(0, "UNREACHABLE")

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_restored_node_does_not_cosign_a_second_history(tmp_path: Path) -> None:
    """From a backup of before its last cosignature it cosigns neither history, and says so."""
    async with federation(tmp_path, partners=PARTNERS, records=holding()) as made:
        assert made.gateway is not None
        await made.gateway.witnesses.look()
        await made.stop_node(OWNER)
        state = made.node_configs[OWNER].state_dir
        shutil.copytree(state, tmp_path / "backup")
        await made.start_node(OWNER)
        await made.gateway.log.append(_leaf())
        await made.gateway.witnesses.look()
        await made.stop_node(OWNER)
        shutil.rmtree(state)
        shutil.copytree(tmp_path / "backup", state)
        (state / MARK_FILE).unlink()
        node = await made.start_node(OWNER)
        found = [leaf for leaf in _leaves(node.log) if leaf.type == audit_pb2.LEAF_TYPE_WITNESS]
        assert [leaf.subject for leaf in found] == ["witness-lost"]
        await made.gateway.log.append(_leaf())
        await made.gateway.witnesses.look()
        found_cosigned = made.gateway.witnesses.cosigned
        assert found_cosigned is not None
        assert found_cosigned.size < made.gateway.log.head.size, "the two public ones are no quorum"


def _leaf() -> bytes:
    return signing.canonical(
        audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_CASE, log="gateway/gw-1", time_ms=1)
    )


def _leaves(log: object) -> list[audit_pb2.AuditLeaf]:
    rows = log.read("SELECT body FROM leaf ORDER BY idx")  # type: ignore[attr-defined]
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
