"""A fork that one node alone is shown: no quorum is behind it, and reconciliation proves it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fairlead import signing
from fairlead.cosigning import cosign, with_lines, witness_name
from fairlead.errors import Forked
from fairlead.receipts import CheckpointFork, Head
from fairlead.reconciling import Cosigned, Unwitnessed, require_witnessed
from node.app import _witnessed
from tests.cosigned import Witness, cosigned
from tests.reconciled import REFUSAL, Both
from tests.walks import PaperLog, World, make_world

WITNESSES = [Witness.of(partner) for partner in ("customs", "police", "terminal-north", "mer")]
QUORUM = 3


def reached(note: str) -> bool:
    """Three of four: more than (n + f) / 2 with one liar."""
    return sum(witness.signed(note) for witness in WITNESSES) >= QUORUM


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("witnessed"))


def histories(world: World) -> tuple[PaperLog, PaperLog]:
    """Two logs that are one up to their fourth leaf."""
    shared = [f"{n}".encode() for n in range(4)]
    main = PaperLog(world, [*shared, *(f"main {n}".encode() for n in range(8))])
    return main, PaperLog(world, [*shared, *(f"fork {n}".encode() for n in range(8))])


def check(
    world: World,
    log: PaperLog,
    *,
    settled: Head | None,
    present: Head,
    witnessed: Head,
    signers: int = QUORUM,
) -> Head:
    """What a node does with a head that so many witnesses cosigned, and the proofs of ``log``."""
    note = cosigned(witnessed.checkpoint, WITNESSES[:signers])
    start = settled.size if settled else 0
    shown = Cosigned(
        note=note,
        from_settled=log._tree.consistency(start, witnessed.size)
        if 0 < start <= witnessed.size
        else (),
        to_checkpoint=log._tree.consistency(witnessed.size, present.size)
        if witnessed.size <= present.size
        else (),
    )
    return require_witnessed(
        shown, settled=settled, present=present, log_key=world.gateway.log_key, reached=reached
    )


def test_what_a_quorum_saw_is_believed(world: World) -> None:
    """A cosigned head between the one settled on and the present one is enough, also the first."""
    main, _ = histories(world)
    for settled in (None, main.head(3), main.head(6)):
        found = check(world, main, settled=settled, present=main.head(9), witnessed=main.head(6))
        assert (found.size, found.root) == (6, main.head(6).root)


def test_too_few_witnesses_are_none(world: World) -> None:
    """One line less than the quorum, or none at all, leaves a history unwitnessed."""
    main, _ = histories(world)
    for signers in (0, QUORUM - 1):
        with pytest.raises(Unwitnessed):
            check(
                world, main, settled=main.head(3), present=main.head(9), witnessed=main.head(6),
                signers=signers,
            )  # fmt: skip


def test_an_older_head_than_the_one_settled_on_is_none(world: World) -> None:
    """A node on a fork is not content with what everybody cosigned before that fork began."""
    main, fork = histories(world)
    for log in (main, fork):
        with pytest.raises(Unwitnessed):
            check(
                world, log, settled=log.head(6), present=log.head(9), witnessed=main.head(4)
            )  # fmt: skip


@pytest.mark.parametrize("settled", [3, 6])
def test_a_fork_meets_what_the_others_cosigned(world: World, settled: int) -> None:
    """A cosigned head of the main log contradicts the fork, settled on before it began or after."""
    main, fork = histories(world)
    for log in (main, fork):
        with pytest.raises(CheckpointFork) as caught:
            check(
                world, log, settled=fork.head(settled), present=fork.head(9),
                witnessed=main.head(7),
            )  # fmt: skip
        assert main.head(7).checkpoint in "".join(caught.value.checkpoints)


def test_a_head_settled_on_binds_beside_the_present_one(world: World) -> None:
    """A node that settled on the fork is not led back to the main log by its witnesses."""
    main, fork = histories(world)
    with pytest.raises(CheckpointFork) as caught:
        check(world, main, settled=fork.head(6), present=main.head(9), witnessed=main.head(7))
    assert caught.value.checkpoints[0] == fork.head(6).checkpoint


def test_a_head_beyond_the_present_one_or_of_another_log_is_none(world: World) -> None:
    """What is shown must be of this log, and lie before what the gateway signs now."""
    main, _ = histories(world)
    with pytest.raises(Unwitnessed):
        check(world, main, settled=None, present=main.head(5), witnessed=main.head(6))
    other = replace(main.head(6), checkpoint=main.head(6).checkpoint.replace("gw-1", "gw-2"))
    for head in (other, replace(other, checkpoint="")):
        with pytest.raises(Unwitnessed):
            check(world, main, settled=None, present=main.head(9), witnessed=head)


def show(both: Both, wanted: Callable[[], Head | None]) -> None:
    """The gateway shows this cosigned head."""
    both.desk.saying.cosigned = wanted


def witnessed_now(both: Both) -> Head:
    """The gateway's head of this moment, with a quorum's lines."""
    head = both.gateway.log.head
    return replace(head, checkpoint=cosigned(head.checkpoint, WITNESSES[:QUORUM]))


async def main_history(both: Both, size: int) -> Head:
    """What everybody else sees meanwhile, cosigned, in another file under the same keys."""
    both.gateway.close()
    both.open_gateway()
    while both.gateway.log.head.size < size:
        await both.gateway.write(REFUSAL)
    head = witnessed_now(both)
    both.gateway.close()
    both.open_gateway("fork")
    return head


async def test_a_node_kept_alone_on_a_fork_proves_it(world: World, tmp_path: Path) -> None:
    """It is told a consistent story each hour, and is asked nothing there: it has two signed heads
    by the hour after the fork's first."""
    with Both(world, tmp_path, witnessing=reached) as both:
        await both.hour()
        show(both, lambda: witnessed_now(both))
        assert (await both.reconcile())["reasons"] == []
        shared = witnessed_now(both)
        both.gateway.close()
        shutil.copy(both.gateway.path, tmp_path / "fork.sqlite")
        both.open_gateway("fork")
        await both.hour()
        both.now += 3_600
        show(both, lambda: shared)
        assert (await both.reconcile())["reasons"] == []  # it saw nothing that began there
        main = await main_history(both, both.heads.size + 3)
        await both.hour()
        both.now += 3_600
        for head, code in (
            (None, "RECONCILE_UNWITNESSED"),
            (shared, "RECONCILE_UNWITNESSED"),
            (main, "CHECKPOINT_FORK"),
        ):
            show(both, lambda head=head: head)  # type: ignore[misc]
            assert (await both.reconcile())["reasons"] == [code]
        assert both.node.reasons() == [["RECONCILE_UNWITNESSED"], ["CHECKPOINT_FORK"]]
        assert both.kept(both.node)[-1].verdict.accepted == main.checkpoint


async def test_an_answer_on_a_fork_is_proved_by_the_next_reconciliation(
    world: World, tmp_path: Path
) -> None:
    """A fork that began after the last hour, and on which this node was asked: the very next
    reconciliation lacks a quorum, or has two signed heads, whichever the gateway shows."""
    with Both(world, tmp_path, witnessing=reached) as both:
        await both.hour()
        show(both, lambda: witnessed_now(both))
        assert (await both.reconcile())["reasons"] == []
        shared, base = witnessed_now(both), both.heads.size
        both.gateway.close()
        shutil.copy(both.gateway.path, tmp_path / "fork.sqlite")
        both.open_gateway("fork")
        await both.hour()
        log = both.gateway.log
        both.heads.extend(
            log.checkpoint(), log.consistency(base, log.head.size), asked_from=base
        )  # its receipt
        both.now += 300
        both.reconciler._awaited.look()
        main = await main_history(both, both.heads.size + 3)
        await both.hour()
        both.now += 3_000
        for head, code in ((shared, "RECONCILE_UNWITNESSED"), (main, "CHECKPOINT_FORK")):
            show(both, lambda head=head: head)  # type: ignore[misc]
            assert (await both.reconcile())["reasons"] == [code]


async def test_a_gateway_without_witnesses_is_not_believed_where_there_are_some(
    world: World, tmp_path: Path
) -> None:
    """Where a quorum is demanded and none is shown, that is one incident, until one is."""
    with Both(world, tmp_path, witnessing=reached) as both:
        assert (await both.reconcile())["reasons"] == []  # it has just begun
        both.now += 3_600
        await both.hour()
        for _ in range(2):
            assert (await both.reconcile())["reasons"] == ["RECONCILE_UNWITNESSED"]
        assert both.node.reasons() == both.gateway.reasons() == [["RECONCILE_UNWITNESSED"]]
        show(both, lambda: witnessed_now(both))
        found = await both.reconcile()
        assert (found["reasons"], found["listed"]) == ([], 5)


async def test_who_reconciles_again_at_once_demands_no_more(world: World, tmp_path: Path) -> None:
    """Witnesses take their time: a head of a minute ago need not be cosigned, one of an hour ago
    must be, however often somebody reconciled in between."""
    with Both(world, tmp_path, witnessing=reached) as both:
        await both.hour()
        before = witnessed_now(both)
        show(both, lambda: before)
        for _ in range(3):
            await both.hour()
            assert (await both.reconcile())["reasons"] == []
            both.now += 240
        both.now += 3_600
        assert (await both.reconcile())["reasons"] == ["RECONCILE_UNWITNESSED"]


async def test_the_programs_own_witnesses_are_demanded(world: World, tmp_path: Path) -> None:
    """What nodes cosign is what a node demands: three of four witnesses, and two are too few."""
    demanded = _witnessed(cast("Any", SimpleNamespace(directory=world.directory)))
    assert demanded is not None
    with Both(world, tmp_path, witnessing=demanded) as both:
        await both.hour()
        assert (await both.reconcile())["reasons"] == []
        for signers, reasons in ((2, ["RECONCILE_UNWITNESSED"]), (3, [])):
            both.now += 3_600
            head, names = both.gateway.log.head, sorted(world.directory.partners)[:signers]
            lines = [
                cosign(
                    head.checkpoint,
                    witness_name(world.directory.federation, name),
                    signing.load_signing_key(world.opened.layout.node(name) / "witness.key"),
                    both.now,
                )
                for name in names
            ]
            noted = replace(head, checkpoint=with_lines(head.checkpoint, lines))
            show(both, lambda noted=noted: noted)  # type: ignore[misc]
            assert (await both.reconcile())["reasons"] == reasons


def test_the_errors_of_this_file_are_of_forks() -> None:
    """Whoever handles a fork handles a history without witnesses."""
    assert issubclass(Unwitnessed, Forked)
    assert issubclass(CheckpointFork, Forked)
