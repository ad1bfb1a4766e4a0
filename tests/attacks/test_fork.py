"""Attack: a gateway that keeps two logs, so that an access is missing from the one it shows."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from fairlead.receipts import open_checkpoint
from fairlead.v1 import gateway_pb2
from tests.attacks.crafted import OWNER, craft, user_certificate, user_key
from tests.attacks.evil import EvilGateway, alarms, corrupt, intents, refused
from tests.federation import Federation, federation

FORK = grpc.StatusCode.ABORTED


def assert_alarm(made: Federation, partner: str = OWNER) -> None:
    """One ALARM leaf holding two checkpoints, both truly signed by the gateway's log."""
    (alarm,) = alarms(made.nodes[partner].log)
    gateway = made.directory.gateway
    assert alarm.reasons == ["CHECKPOINT_FORK"]
    accepted, offered = (
        open_checkpoint(text, gateway.log_origin, gateway.log_key) for text in alarm.checkpoints
    )
    assert (accepted.size, accepted.root) != (offered.size, offered.root)


@pytest.mark.parametrize("longer", [1, 5])
async def test_a_fork_that_does_not_extend_the_owners_head_is_refused(
    tmp_path: Path, longer: int
) -> None:
    """The owner answers nothing under a second history, and its log keeps both signed heads."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await gateway.grow("main", 3, tag=1)
        assert (await gateway.ask(craft(made))).HasField("answer")
        await gateway.grow("fork", 3 + longer, tag=2)
        with refused("CHECKPOINT_FORK", code=FORK):
            await gateway.ask(craft(made), history="fork")
        assert_alarm(made)
        assert intents(made.nodes[OWNER].log) == 1


async def test_a_fork_of_the_same_size_is_refused(tmp_path: Path) -> None:
    """Two heads of one size and two roots need no proof to contradict each other."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await gateway.grow("main", 3, tag=1)
        await gateway.grow("fork", 3, tag=2)
        await gateway.ask(craft(made))
        with refused("CHECKPOINT_FORK", code=FORK):
            await gateway.ask(craft(made), history="fork")
        assert_alarm(made)


async def test_the_main_log_after_a_fork_is_refused_with_an_alarm(tmp_path: Path) -> None:
    """Once an owner was shown the fork, the log everybody else sees no longer fits."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await gateway.grow("fork", 1, tag=2)
        await gateway.ask(craft(made), history="fork")
        await gateway.grow("main", 6, tag=1)
        with refused("CHECKPOINT_FORK", code=FORK):
            await gateway.ask(craft(made))
        assert_alarm(made)


async def test_an_answer_on_a_fork_is_proved_by_the_next_reconciliation(tmp_path: Path) -> None:
    """A fork that nobody cosigned gets an answer under a real mandate, once: the running log does
    not extend it, and both ends say so, with both signed heads and what was asked there."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        assert made.gateway is not None
        entry = made.directory.gateway
        assert (await gateway.ask(craft(made), history="fork")).HasField("answer")
        assert made.gateway.log.head.size >= gateway.history("fork").head.size
        told = await made.nodes[OWNER].reconciler.reconcile()
        assert told["reasons"] == ["CHECKPOINT_FORK", "RECONCILE_MISSING"]
        for log in (made.nodes[OWNER].log, made.gateway.log):
            (alarm,) = [leaf for leaf in alarms(log) if leaf.subject == "reconciliation"]
            assert list(alarm.reasons) == told["reasons"]
            fork, main = (
                open_checkpoint(text, entry.log_origin, entry.log_key) for text in alarm.checkpoints
            )
            assert fork.root == gateway.history("fork").root(fork.size)
            assert main.root == made.gateway.log.root(main.size)
            assert fork.root != made.gateway.log.root(fork.size)


async def test_a_restarted_owner_still_knows_the_head_it_accepted(tmp_path: Path) -> None:
    """Waiting for the owner to restart does not make it forget the first history."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await gateway.grow("main", 3, tag=1)
        await gateway.ask(craft(made))
        await made.stop_node(OWNER)
        await made.start_node(OWNER)
        await gateway.grow("fork", 6, tag=2)
        with refused("CHECKPOINT_FORK", code=FORK):
            await gateway.ask(craft(made), history="fork")
        assert_alarm(made)


async def test_a_log_cut_back_gets_no_answer(tmp_path: Path) -> None:
    """A shorter log, or a longer one without its proof, is told where to start, and no more."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await gateway.grow("main", 5, tag=1)
        await gateway.ask(craft(made))
        await gateway.grow("cut", 2, tag=1)
        for history, known in (("cut", 0), ("cut", 2), ("main", 0), ("main", 3)):
            response = await gateway.send(
                await gateway.request(craft(made), history=history, known=known)
            )
            assert response.WhichOneof("result") == "stale"
            assert response.stale.size == 6
        assert intents(made.nodes[OWNER].log) == 1


async def test_one_partner_cannot_be_shown_one_history_as_asker_and_another_as_owner(
    tmp_path: Path,
) -> None:
    """What customs accepted while asking binds what it accepts while answering."""
    async with federation(tmp_path, partners=("customs", "police", OWNER)) as made:
        await made.open_case()
        await made.ask()
        async with EvilGateway(made) as gateway:
            await gateway.grow("fork", 12, tag=2)
            theirs = craft(
                made,
                partner="police",
                certificate=user_certificate(made, "police", "u-p01"),
                person=user_key(made, "police", "u-p01"),
                asked=["customs"],
                mandate_before={"legal_basis": "national-criminal-procedure"},
            )
            with refused("CHECKPOINT_FORK", code=FORK):
                await gateway.ask(theirs, "customs", history="fork")
        assert_alarm(made, "customs")


async def test_the_asker_raises_the_alarm_over_a_second_history(tmp_path: Path) -> None:
    """A receipt from another history, signed by the real log key, shows the asker nothing."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await made.open_case()
        await made.ask()
        await gateway.grow("fork", 20, tag=2)

        def forked(events: list[gateway_pb2.QueryResponse]) -> list[gateway_pb2.QueryResponse]:
            honest = events[0].accepted.intent
            other = gateway.history("fork").receipt(0, honest.consistency_from)
            honest.CopyFrom(other)
            return events

        corrupt(made, forked)
        with refused("CHECKPOINT_FORK", code=FORK):
            await made.ask()
        assert_alarm(made, "customs")
