"""The node as a witness: one history is always accepted, two never go unnoticed when provable."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.budgets import BudgetExhausted
from fairlead.errors import Forged
from fairlead.receipts import CheckpointFork, CheckpointStale, Head, verify_receipt
from fairlead.reconciling import together
from fairlead.v1 import audit_pb2
from node import heads
from node.heads import HeadKeeper
from tests.walks import NOW, OWNER, PaperLog, World, make_world

CASE = signing.canonical(audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_CASE))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("heads"))


@contextmanager
def own_log(world: World, folder: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(
        folder / "audit.sqlite",
        origin=f"fairlead.demo/partner/{OWNER}",
        key=world.signing_key(OWNER),
        clock=lambda: NOW,
    )
    try:
        yield log
    finally:
        log.close()


def history(world: World, size: int, name: str = "x") -> PaperLog:
    return PaperLog(world, [f"{name}{n}".encode() for n in range(size)])


def as_owner(keeper: HeadKeeper, world: World, receipt: audit_pb2.Receipt) -> Head:
    """What answering does with a receipt, up to its own log."""
    gateway = world.gateway
    head = verify_receipt(
        receipt, origin=gateway.log_origin, public_key=gateway.log_key, head=keeper.head
    )
    keeper.advance(head)
    return head


async def persist(keeper: HeadKeeper, log: AuditLog) -> None:
    await log.append(CASE, also=keeper.persist())


async def test_first_contact_is_remembered_after_a_restart(world: World, tmp_path: Path) -> None:
    """The head of the first receipt is durable with the leaf, and binds the next process."""
    gateway = history(world, 3)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        assert keeper.size == 0
        head = as_owner(keeper, world, gateway.receipt(1))
        assert keeper.size == 3
        await persist(keeper, log)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        assert keeper.head == head
        other = history(world, 5, "y")
        with pytest.raises(CheckpointFork):
            as_owner(keeper, world, other.receipt(4, known=3))


async def test_durable_heads_advance_in_any_order_of_commits(world: World, tmp_path: Path) -> None:
    """Two answers verified one after the other may be written the other way round."""
    gateway = history(world, 3)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0))
        first = keeper.persist()
        gateway.append(b"more")
        second = as_owner(keeper, world, gateway.receipt(1, known=3))
        await persist(keeper, log)
        await log.append(CASE, also=first)
        stored = log.foreign_head(world.gateway.log_origin)
        assert stored == second


async def test_a_head_that_was_undone_with_its_leaf_comes_with_the_next(
    world: World, tmp_path: Path
) -> None:
    """A transaction that fails behind the head takes it back, and the one after makes a newer one
    durable all the same."""

    def refuse(_: sqlite3.Connection) -> None:
        raise BudgetExhausted("spent")

    gateway = history(world, 3)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0))
        await persist(keeper, log)
        for known in (3, 4):
            gateway.append(b"more")
            newest = as_owner(keeper, world, gateway.receipt(known, known=known))
            if known == 3:
                with pytest.raises(BudgetExhausted):
                    await log.append(CASE, also=together([keeper.persist(), refuse]))
        await persist(keeper, log)
        assert log.foreign_head(world.gateway.log_origin) == newest


async def test_a_receipt_that_overtook_another_waits_for_it(world: World, tmp_path: Path) -> None:
    """An owner waits for the head a receipt builds on while it may still come, and no longer."""
    gateway = history(world, 3)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        early = asyncio.ensure_future(keeper.reach(3, within_s=60))
        await asyncio.sleep(0)
        assert not early.done()
        as_owner(keeper, world, gateway.receipt(0))
        await early
        await keeper.reach(99, within_s=0.01)
        assert keeper.size == 3


def test_an_asker_holds_several_receipts_at_once(world: World, tmp_path: Path) -> None:
    """Receipts of queries sent from one head are accepted in any order of arrival."""
    gateway = history(world, 4)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0))
        for _ in range(4):
            gateway.append(b"more")
        for size in (7, 5, 8, 6, 5):
            keeper.accept(gateway.receipt(4, size, known=4), asked_from=4)
        assert keeper.size == 7


def test_a_receipt_that_starts_elsewhere_is_forged(world: World, tmp_path: Path) -> None:
    """A receipt must start from the head the query named; 0 only on first contact."""
    gateway = history(world, 6)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0, 4))
        for receipt, start in (
            (gateway.receipt(0, known=3), 4),
            (gateway.receipt(0), 4),
            (gateway.receipt(0, known=3), 3),
            (gateway.receipt(0, known=4), 0),
        ):
            with pytest.raises(Forged):
                keeper.accept(receipt, asked_from=start)
        keeper.accept(gateway.receipt(0), asked_from=0)


def test_a_busy_owner_does_not_forget_what_an_asker_started_from(
    world: World, tmp_path: Path
) -> None:
    """Hundreds of answers during one query do not make its honest receipt unacceptable."""
    gateway = history(world, 2)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0))
        for size in range(3, 400):
            gateway.append(b"%d" % size)
            as_owner(keeper, world, gateway.receipt(0, size, known=size - 1))
        keeper.accept(gateway.receipt(0, known=2), asked_from=2)


def test_what_is_remembered_is_bounded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many heads come, a bounded number is kept, and the newest among them."""
    monkeypatch.setattr(heads, "RECENT", 8)
    gateway = history(world, 1)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, gateway.receipt(0))
        for size in range(2, 30):
            gateway.append(b"%d" % size)
            as_owner(keeper, world, gateway.receipt(0, size, known=size - 1))
        assert len(keeper._recent) == 8
        keeper.accept(gateway.receipt(0, known=29), asked_from=29)


def test_a_fork_shown_to_the_asker_is_found_by_the_owner(world: World, tmp_path: Path) -> None:
    """One history for the asker, another of the same size for the owner of the same partner."""
    good = history(world, 4)
    bad = PaperLog(world, [*good.leaves, b"evil"])
    good.append(b"good")
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, good.receipt(0, 4))
        keeper.accept(bad.receipt(4, known=4), asked_from=4)
        with pytest.raises(CheckpointFork) as caught:
            as_owner(keeper, world, good.receipt(4, known=4))
        assert len(set(caught.value.checkpoints)) == 2


def test_a_fork_beside_the_newest_head_is_found_later(world: World, tmp_path: Path) -> None:
    """A late receipt from an old start does not advance the head, but it is not forgotten."""
    good = history(world, 4)
    bad = PaperLog(world, [*good.leaves, b"evil", b"evil", b"evil"])
    for word in (b"a", b"b", b"c"):
        good.append(word)
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, good.receipt(0, 4))
        as_owner(keeper, world, good.receipt(0, 6, known=4))
        keeper.accept(bad.receipt(6, 7, known=4), asked_from=4)
        with pytest.raises(CheckpointFork):
            as_owner(keeper, world, good.receipt(0, 7, known=6))


async def test_a_fork_beside_the_newest_head_is_never_durable(world: World, tmp_path: Path) -> None:
    """What was verified against an older head does not replace, for the next process, the newer
    head that it may contradict."""
    good = history(world, 6)
    bad = PaperLog(world, [*good.leaves[:4], *(b"evil" for _ in range(4))])
    with own_log(world, tmp_path) as log:
        keeper = HeadKeeper(log, world.gateway)
        as_owner(keeper, world, good.receipt(0, 4))
        as_owner(keeper, world, good.receipt(0, 6, known=4))
        keeper.extend(bad.head(8).checkpoint, bad.consistency(4, 8), asked_from=4)
        await persist(keeper, log)
        again = HeadKeeper(log, world.gateway)
        assert again.head == good.head(6)
        with pytest.raises(CheckpointFork):
            as_owner(again, world, bad.receipt(0, 8, known=6))


class HonestGateway(RuleBasedStateMachine):
    """Any interleaving of asking and answering against one growing log."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = own_log(self.world, Path(self.folder.name))
        self.log = self.stack.__enter__()
        self.keeper = HeadKeeper(self.log, self.world.gateway)
        self.gateway = history(self.world, 1)
        self.asked: list[int] = []
        self.answering: list[tuple[int, int]] = []
        self.largest = 0

    def teardown(self) -> None:
        self.stack.__exit__(None, None, None)
        self.folder.cleanup()

    @rule()
    def grow(self) -> None:
        """Somebody else's query."""
        self.gateway.append(b"leaf")

    @rule()
    def ask(self) -> None:
        """A query leaves, naming the head this node has."""
        self.asked.append(self.keeper.size)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        """One of the receipts under way arrives, made at any size since."""
        start = data.draw(st.sampled_from(self.asked))
        size = data.draw(st.integers(max(start, 1), self.gateway.size))
        self.keeper.accept(self.gateway.receipt(0, size, known=start), asked_from=start)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The gateway asks this owner with a receipt from some head: accepted, or stale."""
        size = data.draw(st.integers(1, self.gateway.size))
        known = data.draw(st.integers(0, size))
        with suppress(CheckpointStale):
            as_owner(self.keeper, self.world, self.gateway.receipt(0, size, known=known))
            asyncio.run(persist(self.keeper, self.log))

    @precondition(lambda self: not self.asked)
    @rule()
    def restart(self) -> None:
        """A new process knows what was durable."""
        self.keeper = HeadKeeper(self.log, self.world.gateway)
        self.largest = self.keeper.size

    @invariant()
    def the_head_never_goes_back(self) -> None:
        """Within a process the accepted head only grows."""
        assert self.keeper.size >= self.largest
        self.largest = self.keeper.size


def test_one_honest_history_is_never_a_fork(world: World) -> None:
    """Whatever the interleaving, receipts of one log are accepted or stale, nothing else."""
    HonestGateway.world = world
    run_machine(
        HonestGateway, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )


class ForkingGateway(RuleBasedStateMachine):
    """A gateway with two histories tries any interleaving of both."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = own_log(self.world, Path(self.folder.name))
        self.keeper = HeadKeeper(self.stack.__enter__(), self.world.gateway)
        common = history(self.world, 2)
        self.logs = [
            PaperLog(self.world, [*common.leaves, *(b"%d/%d" % (side, n) for n in range(4))])
            for side in (0, 1)
        ]
        self.seen: dict[int, set[bytes]] = {}
        self.asked: list[tuple[int, int]] = []
        self.caught = False

    def teardown(self) -> None:
        self.stack.__exit__(None, None, None)
        self.folder.cleanup()

    @precondition(lambda self: self.caught)
    @rule()
    def rest(self) -> None:
        """The fork was caught; nothing more is tried."""

    def note(self, head: Head) -> None:
        self.seen.setdefault(head.size, set()).add(head.root)

    @precondition(lambda self: not self.caught)
    @rule()
    def ask(self) -> None:
        """A query leaves from the head this node has."""
        self.asked.append((self.keeper.size, 0))

    @precondition(lambda self: self.asked and not self.caught)
    @rule(data=st.data(), side=st.sampled_from([0, 1]))
    def receive(self, data: st.DataObject, side: int) -> None:
        """A receipt of either history arrives at the asker."""
        start, _ = data.draw(st.sampled_from(self.asked))
        size = data.draw(st.integers(max(start, 1), 6))
        receipt = self.logs[side].receipt(0, size, known=start)
        self.attempt(lambda: self.keeper.accept(receipt, asked_from=start), side, size)

    @precondition(lambda self: not self.caught)
    @rule(data=st.data(), side=st.sampled_from([0, 1]))
    def answer(self, data: st.DataObject, side: int) -> None:
        """A receipt of either history arrives at the owner, from the right start."""
        known = self.keeper.size
        size = data.draw(st.integers(max(known, 1), 6))
        receipt = self.logs[side].receipt(0, size, known=known)
        self.attempt(lambda: as_owner(self.keeper, self.world, receipt), side, size)

    def attempt(self, step: object, side: int, size: int) -> None:
        try:
            step()  # type: ignore[operator]
        except CheckpointFork:
            self.caught = True
        else:
            self.note(self.logs[side].head(size))

    @invariant()
    def no_two_heads_of_one_size_were_accepted(self) -> None:
        """Two signed heads of one size with different roots prove the fork by themselves."""
        assert all(len(roots) == 1 for roots in self.seen.values())


def test_a_provable_fork_is_never_silently_accepted(world: World) -> None:
    """Whatever the interleaving, two contradicting heads of one size are never both accepted."""
    ForkingGateway.world = world
    run_machine(
        ForkingGateway, settings=settings(max_examples=40, stateful_step_count=15, deadline=None)
    )
