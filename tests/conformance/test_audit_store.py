"""One suite over every store: an audit log appends, proves and is verified the same way in each."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fairlead import errors, merkle, receipts, signing
from fairlead.auditlog import (
    BATCH,
    AuditLog,
    Connection,
    LogReport,
    Place,
    copy_log,
    put_foreign_head,
    verify_log,
)
from fairlead.auditlog import log as log_module
from fairlead.v1 import audit_pb2
from tests.audited import (
    INTENT,
    KEY,
    ORIGIN,
    OTHER,
    OUTCOME,
    PUBLIC,
    RELEASE,
    STORY,
    Shelf,
    fill,
    foreign,
    held,
    leaf,
    open_log,
    piled,
    release,
    remember,
    verify,
)


@pytest.fixture
def place(logs: Shelf) -> Place:
    return logs.place()


@pytest.fixture
def log(logs: Shelf, place: Place) -> AuditLog:
    return logs.open(place)


# Appending and proving. --------------------------------------------------------------------------


async def test_an_appended_leaf_has_a_receipt_that_verifies(log: AuditLog) -> None:
    """A leaf's receipt verifies from every head that was ever durable."""
    heads: list[receipts.Head | None] = [None]
    for number in range(9):
        appended = await log.append(leaf(number))
        assert appended.index == number
        assert appended.leaf_hash == merkle.leaf_hash(leaf(number))
        heads.append(log.head)
    for index in range(9):
        for head in heads:
            receipt = log.receipt(index, head.size if head else 0)
            proven = receipts.verify_receipt(receipt, origin=ORIGIN, public_key=PUBLIC, head=head)
            assert proven == log.head
            assert receipt.leaf == leaf(index)


async def test_a_receipt_is_the_same_from_memory_and_from_disk(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves too old or too large to be remembered are proved as well, and no caller can
    change what the next one gets."""
    monkeypatch.setattr(log_module, "RECENT_LEAVES", 2)
    monkeypatch.setattr(log_module, "PROVEN", 2)
    bodies = [leaf(number) for number in range(4)]
    large = signing.canonical(
        audit_pb2.AuditLeaf(
            type=audit_pb2.LEAF_TYPE_REFUSAL, reasons=["X" * 60] * 100, subject="large"
        )
    )
    assert len(large) > log_module.RECENT_OCTETS
    bodies.append(large)
    for body in bodies:
        await log.append(body)
    for _ in range(2):
        for index, body in enumerate(bodies):
            receipt = log.receipt(index, 0)
            receipts.verify_receipt(receipt, origin=ORIGIN, public_key=PUBLIC, head=None)
            assert receipt.leaf == body
            receipt.leaf = b"changed"


async def test_under_load_appends_wait_for_each_other_and_none_is_lost(log: AuditLog) -> None:
    """Many callers at once, again and again: everything is durable, in few transactions."""
    before = log.read("SELECT count(*) FROM checkpoint")[0][0]
    for start in range(0, 200, 40):
        await asyncio.gather(*(log.append(leaf(start + number)) for number in range(40)))
    assert log.head.size == 200
    assert log.read("SELECT count(*) FROM checkpoint")[0][0] - before < 100


async def test_unknown_leaves_and_heads_have_no_receipt(log: AuditLog) -> None:
    """A receipt for a leaf we do not have, or from a head ahead of us, is refused."""
    await log.append(leaf(0))
    for index in (-1, 1):
        with pytest.raises(errors.NotFound):
            log.receipt(index)
    for known in (-1, 2):
        with pytest.raises(errors.InvalidInput):
            log.receipt(0, known)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        leaf(0, audit_pb2.LEAF_TYPE_UNSPECIFIED),
        leaf(0, cast("audit_pb2.LeafType.ValueType", 99)),
        leaf(0) + b"\xfa\x3f\x01x",
        leaf(0)[::-1],
        leaf(0, purpose="x" * receipts.MAX_LEAF),
        leaf(0, detail_digest=bytes(32)),
    ],
)
async def test_only_canonical_leaves_are_logged(log: AuditLog, body: bytes) -> None:
    """Unparsable, untyped, unknown, oversized or detail-less leaves are refused; the log lives."""
    with pytest.raises(errors.InvalidInput):
        await log.append(body)
    await log.append(leaf(1))
    assert log.head.size == 1


async def test_detail_is_stored_beside_its_leaf(place: Place, log: AuditLog) -> None:
    """A detail is kept when the leaf holds its digest, and refused otherwise."""
    sealed = leaf(1, detail_digest=hashlib.sha256(b"sealed").digest())
    await log.append(sealed, detail=b"sealed")
    assert log.read("SELECT detail FROM leaf") == [(b"sealed",)]
    with pytest.raises(errors.InvalidInput):
        await log.append(sealed, detail=b"other")
    assert verify(place).size == 1


async def test_reopening_continues_the_same_log(place: Place) -> None:
    """A reopened log extends the head it had, and its receipts prove that."""
    head = await fill(place, [leaf(number) for number in range(5)])
    log = open_log(place)
    assert log.head == head
    assert log.checkpoint() == head.checkpoint
    await log.append(leaf(5))
    receipts.verify_receipt(log.receipt(5, 5), origin=ORIGIN, public_key=PUBLIC, head=head)
    log.close()
    assert verify(place, (head,)).size == 6


def test_an_empty_log_is_sound(place: Place) -> None:
    """A new log has a signed checkpoint of size 0, verifies and reopens."""
    open_log(place).close()
    open_log(place).close()
    report = verify(place)
    assert (report.size, report.root, report.checkpoints) == (0, merkle.EMPTY_ROOT, 1)


async def test_another_key_or_origin_does_not_continue_a_log(place: Place) -> None:
    """A log is continued only by the identity that signed it."""
    await fill(place, [leaf(1)])
    for changes in ({"key": OTHER}, {"origin": "other.example/log"}):
        with pytest.raises(errors.LogUnavailable) as caught:
            open_log(place, **changes)
        assert caught.value.code == "LOG_CORRUPTED"
    open_log(place).close()


async def test_waiting_appends_share_a_commit(log: AuditLog) -> None:
    """600 appends that wait together take three transactions, each with one checkpoint."""
    async with held(log) as first:
        tasks = await piled(600, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(first, *tasks)
    assert [result.index for result in results] == list(range(601))
    sizes = [size for (size,) in log.read("SELECT size FROM checkpoint ORDER BY size")]
    assert sizes == [0, 1, 1 + BATCH, 1 + 2 * BATCH, 601]


async def test_a_refusing_also_fails_alone(place: Place, log: AuditLog) -> None:
    """A replay caught inside a batch leaves neither leaf nor row; its neighbours commit."""
    async with held(log) as first:
        tasks = await piled(20, lambda number: log.append(leaf(number), also=remember(number // 2)))
    await first
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, errors.Conflict) for result in results] == [False, True] * 10
    assert log.head.size == 11
    assert log.read("SELECT count(*) FROM seen") == [(10,)]
    assert log.healthy
    assert verify(place).size == 11


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration()])
async def test_a_broken_also_fails_alone(log: AuditLog, error: Exception) -> None:
    """A programming error inside ``also`` fails that append, not the log."""

    def broken(connection: Connection) -> None:
        connection.execute("INSERT INTO seen VALUES (1)")
        raise error

    def misspelt(connection: Connection) -> None:
        connection.execute("no such statement")

    def twice(connection: Connection) -> None:
        connection.executemany("INSERT INTO seen VALUES (?)", [(1,), (1,)])

    with pytest.raises((type(error), RuntimeError)):
        await log.append(leaf(1), also=broken)
    for wrong in (misspelt, twice):
        with pytest.raises((sqlite3.Error, psycopg.Error)):
            await log.append(leaf(1), also=wrong)
    assert log.read("SELECT * FROM seen") == []
    assert (await log.append(leaf(2))).index == 0


async def test_an_also_that_commits_stops_the_log(log: AuditLog) -> None:
    """Code that breaks the transaction's promise cannot go on: the log fails closed."""
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1), also=lambda connection: connection.execute("COMMIT"))
    assert not log.healthy


async def test_cancelled_callers_do_not_break_the_writer(log: AuditLog) -> None:
    """A caller that gives up leaves its leaf in the log and everybody else served."""
    async with held(log) as first:
        tasks = await piled(50, lambda number: log.append(leaf(number)))
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 25
    assert log.head.size == 51
    assert (await log.append(leaf(99))).index == 51


async def test_close_drains_the_queue(place: Place) -> None:
    """What was queued before close is durable and answered; what comes after is refused."""
    log = open_log(place)
    tasks = await piled(300, lambda number: log.append(leaf(number)))
    log.close()
    log.close()
    assert len(await asyncio.gather(*tasks)) == 300
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    with pytest.raises(errors.LogUnavailable):
        log.read("SELECT 1")
    assert not log.healthy
    assert verify(place).size == 300


async def test_report(place: Place) -> None:
    """The report counts leaves by type and lists the queries nothing closed, in order."""
    head = await fill(place, STORY)
    assert verify(place, (head,)) == LogReport(
        size=6,
        root=head.root,
        checkpoints=7,
        leaves={"INTENT": 3, "RELEASE": 1, "OUTCOME": 1, "CASE": 1},
        open_queries=((2).to_bytes(16), (3).to_bytes(16)),
    )


async def test_a_running_log_can_be_verified(place: Place, log: AuditLog) -> None:
    """Verification reads beside the writer."""
    await log.append(leaf(1))
    assert verify(place).size == 1
    await log.append(leaf(2))
    assert verify(place).size == 2


TAMPERINGS: dict[str, list[str | tuple[str, Sequence[object]]]] = {
    "body": [("UPDATE leaf SET body = ? WHERE idx = 2", (b"\x08\x07",))],
    "hash": [("UPDATE leaf SET hash = ? WHERE idx = 2", (bytes(32),))],
    "short hash": [("UPDATE leaf SET hash = ? WHERE idx = 2", (b"\x00",))],
    "detail": [("UPDATE leaf SET detail = ? WHERE idx = 2", (b"\x00",))],
    "middle leaf dropped": ["DELETE FROM leaf WHERE idx = 2"],
    "last leaf dropped": ["DELETE FROM leaf WHERE idx = 5"],
    "leaf renumbered": ["UPDATE leaf SET idx = 6 WHERE idx = 5"],
    "leaves swapped": [
        "UPDATE leaf SET idx = 99 WHERE idx = 0",
        "UPDATE leaf SET idx = 0 WHERE idx = 1",
        "UPDATE leaf SET idx = 1 WHERE idx = 99",
    ],
    "leaf without checkpoint": ["DELETE FROM checkpoint WHERE size = 6"],
    "no checkpoint": ["DELETE FROM checkpoint"],
    "checkpoint text": [
        ("UPDATE checkpoint SET note = replace(note, ?, ?) WHERE size = 3", ("\n3", "\n4"))
    ],
    "checkpoint size": ["UPDATE checkpoint SET size = 8 WHERE size = 6"],
    "checkpoint copied": [
        "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 2) WHERE size = 3"
    ],
    "checkpoint emptied": ["UPDATE checkpoint SET note = ''"],
    "table dropped": ["DROP TABLE leaf"],
}


@pytest.mark.parametrize("changes", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_tampering_is_found(
    logs: Shelf, place: Place, changes: list[str | tuple[str, Sequence[object]]]
) -> None:
    """Any change to a stored leaf, hash, detail or checkpoint is found."""
    await fill(place, STORY)
    logs.change(place, *changes)
    with pytest.raises(errors.Forged):
        verify(place)


async def test_the_fault_names_its_leaf(logs: Shelf, place: Place) -> None:
    """A verification error says at which leaf the log stops being true."""
    await fill(place, STORY)
    logs.change(place, *TAMPERINGS["body"])
    with pytest.raises(errors.Forged, match=r"leaf 2\b"):
        verify(place)


@pytest.mark.parametrize(
    "change", ["hash", "last leaf dropped", "leaf without checkpoint", "no checkpoint"]
)
async def test_a_tampered_log_does_not_open(logs: Shelf, place: Place, change: str) -> None:
    """A log whose hashes and last checkpoint disagree is not continued."""
    await fill(place, STORY)
    logs.change(place, *TAMPERINGS[change])
    with pytest.raises(errors.LogUnavailable) as caught:
        open_log(place)
    assert caught.value.code == "LOG_CORRUPTED"


async def test_a_changed_leaf_with_its_hash_is_found(logs: Shelf, place: Place) -> None:
    """Changing a leaf together with its hash still contradicts the signed roots."""
    await fill(place, STORY)
    change = "UPDATE leaf SET body = ?, hash = ? WHERE idx = 5"
    logs.change(place, (change, (leaf(9), merkle.leaf_hash(leaf(9)))))
    with pytest.raises(errors.Forged, match=r"leaf 6\b"):
        verify(place)


async def test_a_checkpoint_signed_for_a_false_size_is_found(logs: Shelf, place: Place) -> None:
    """Even the log's own key cannot give a true root another size."""
    head = await fill(place, STORY)
    false = receipts.Checkpoint(origin=ORIGIN, size=7, root=head.root)
    note = receipts.sign_checkpoint(false, KEY)
    logs.change(place, ("UPDATE checkpoint SET note = ? WHERE size = 6", (note,)))
    with pytest.raises(errors.Forged):
        verify(place)


async def test_a_head_of_another_log_says_nothing(logs: Shelf, place: Place) -> None:
    """A known head of another origin is the caller's mistake, not a fork."""
    heads = await foreign(logs.place(), STORY)
    await fill(place, STORY)
    with pytest.raises(errors.InvalidInput):
        verify(place, (heads[-1],))


async def test_rewritten_history_is_found_by_a_head_kept_elsewhere(logs: Shelf) -> None:
    """An operator who rewrites and re-signs the log is betrayed by any head a partner holds."""
    other = logs.place()
    honest = await fill(logs.place(), STORY)
    rewritten = await fill(other, [*STORY[:5], leaf(99), leaf(100)])
    assert verify(other).root == rewritten.root
    with pytest.raises(receipts.CheckpointFork) as caught:
        verify(other, (honest,))
    assert caught.value.checkpoints == (honest.checkpoint, rewritten.checkpoint)


async def test_a_cut_tail_is_found_by_a_head_kept_elsewhere(logs: Shelf, place: Place) -> None:
    """A log that lost its tail together with the checkpoints contradicts a head held outside."""
    head = await fill(place, STORY)
    logs.change(place, "DELETE FROM leaf WHERE idx = 5", "DELETE FROM checkpoint WHERE size = 6")
    assert verify(place).size == 5
    with pytest.raises(receipts.CheckpointFork):
        verify(place, (head,))


@pytest.mark.parametrize(
    ("leaves", "index"),
    [
        ([release(1)], 0),
        ([release()], 0),
        ([leaf(1, INTENT), release(1, 2)], 1),
        ([leaf(1, RELEASE), leaf(1, INTENT)], 0),
        ([leaf(1, INTENT), leaf(2, OUTCOME)], 1),
        ([leaf(1, INTENT), leaf(2, INTENT), leaf(1, INTENT)], 2),
        ([leaf(1, INTENT), leaf(1, RELEASE, log="partner/x")], 1),
    ],
)
async def test_order_is_checked(place: Place, leaves: list[bytes], index: int) -> None:
    """At a gateway no RELEASE or OUTCOME comes without INTENT, and no INTENT twice."""
    await fill(place, leaves)
    with pytest.raises(errors.Forged, match=rf"leaf {index}\b"):
        verify(place)


async def test_an_owner_closes_a_query_by_its_release(place: Place) -> None:
    """In a partner's log a RELEASE ends the owner's part, an OUTCOME the asker's."""
    log = {"log": "partner/customs"}
    released = [audit_pb2.ReleasedAnswer(query_id=(1).to_bytes(16))]
    await fill(
        place,
        [leaf(number, INTENT, **log) for number in (1, 2, 3)]
        + [leaf(0, RELEASE, query_id=b"", released=released, **log), leaf(2, OUTCOME, **log)],
    )
    assert verify(place).open_queries == ((3).to_bytes(16),)


async def test_a_log_of_another_key_does_not_verify(place: Place) -> None:
    """Verification trusts the given key and origin, not what the file says."""
    await fill(place, STORY)
    with pytest.raises(errors.Forged):
        verify_log(place, origin=ORIGIN, public_key=signing.public_bytes(OTHER))
    with pytest.raises(errors.Forged):
        verify_log(place, origin="other.example/log", public_key=PUBLIC)


async def test_a_foreign_head_is_kept_with_its_leaf(logs: Shelf, place: Place) -> None:
    """A head accepted inside ``also`` is durable together with the leaf, or not at all."""
    heads = await foreign(logs.place(), STORY)
    log = open_log(place)
    assert log.foreign_head("foreign.example/log") is None
    await log.append(leaf(1), also=lambda c: put_foreign_head(c, heads[0], after=None))

    def refuse(connection: Connection) -> None:
        put_foreign_head(connection, heads[1], after=heads[0])
        raise errors.Refused("no")

    with pytest.raises(errors.Refused):
        await log.append(leaf(2), also=refuse)
    assert log.foreign_head("foreign.example/log") == heads[0]
    log.close()
    log = open_log(place)
    assert log.foreign_head("foreign.example/log") == heads[0]
    log.close()


async def test_two_receipts_at_once_cannot_split_a_reader(logs: Shelf, log: AuditLog) -> None:
    """Of two heads verified against one older head, the second must prove itself to the first."""
    main = await foreign(logs.place(), STORY)
    fork = await foreign(logs.place(), [*STORY[:2], *[leaf(77)] * 4])
    base = main[1]
    await log.append(leaf(0), also=lambda c: put_foreign_head(c, base, after=None))
    await log.append(leaf(1), also=lambda c: put_foreign_head(c, main[3], after=base))
    with pytest.raises(receipts.CheckpointStale) as stale:
        await log.append(leaf(2), also=lambda c: put_foreign_head(c, fork[4], after=base))
    assert stale.value.size == 4
    with pytest.raises(receipts.CheckpointFork) as forked:
        await log.append(leaf(3), also=lambda c: put_foreign_head(c, fork[3], after=base))
    assert forked.value.checkpoints == (main[3].checkpoint, fork[3].checkpoint)
    await log.append(leaf(4), also=lambda c: put_foreign_head(c, main[3], after=base))
    assert log.foreign_head("foreign.example/log") == main[3]


async def test_a_head_never_goes_back(logs: Shelf, log: AuditLog) -> None:
    """An older head, or one verified against a head we do not hold, is stale."""
    heads = await foreign(logs.place(), STORY)
    with pytest.raises(receipts.CheckpointStale) as caught:
        await log.append(leaf(0), also=lambda c: put_foreign_head(c, heads[2], after=heads[1]))
    assert caught.value.size == 0
    await log.append(leaf(1), also=lambda c: put_foreign_head(c, heads[2], after=None))
    for after in (None, heads[1], heads[2]):
        with pytest.raises(receipts.CheckpointStale):
            await log.append(leaf(2), also=partial(put_foreign_head, head=heads[1], after=after))
    assert log.foreign_head("foreign.example/log") == heads[2]


class LogMachine(RuleBasedStateMachine):
    """An AuditLog behaves like a list of leaves, whatever the order of events."""

    places: ClassVar[Callable[[], Place]]

    def __init__(self) -> None:
        super().__init__()
        self.place = type(self).places()
        self.loop = asyncio.new_event_loop()
        self.log = open_log(self.place)
        self.model: list[bytes] = []
        self.heads: list[receipts.Head] = []
        self.seen: set[int] = set()

    @rule(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=12))
    def append(self, numbers: list[int]) -> None:
        """Appends in parallel; a number seen before conflicts and leaves nothing."""

        async def run() -> list[Any]:
            calls = [self.log.append(leaf(n), also=remember(n)) for n in numbers]
            return await asyncio.gather(*calls, return_exceptions=True)

        results = self.loop.run_until_complete(run())
        for number, result in zip(numbers, results, strict=True):
            if number in self.seen:
                assert isinstance(result, errors.Conflict)
            else:
                assert result.index == len(self.model)
                self.seen.add(number)
                self.model.append(leaf(number))
        self.heads.append(self.log.head)

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data())
    def prove(self, data: st.DataObject) -> None:
        """Any leaf's receipt verifies from any earlier head."""
        index = data.draw(st.integers(0, len(self.model) - 1))
        head = data.draw(st.sampled_from([None, *(head for head in self.heads if head.size)]))
        receipt = self.log.receipt(index, head.size if head else 0)
        assert receipt.leaf == self.model[index]
        proven = receipts.verify_receipt(receipt, origin=ORIGIN, public_key=PUBLIC, head=head)
        assert proven == self.log.head

    @rule()
    def reopen(self) -> None:
        """Closing and opening changes nothing."""
        head = self.log.head
        self.log.close()
        self.log = open_log(self.place)
        assert self.log.head == head

    @invariant()
    def same_head(self) -> None:
        """The head is the root over the model's leaves."""
        tree = merkle.Tree()
        for body in self.model:
            tree.append(merkle.leaf_hash(body))
        assert (self.log.head.size, self.log.head.root) == (tree.size, tree.root())

    def teardown(self) -> None:
        """A stranger verifies the log against every head there ever was."""
        self.log.close()
        self.loop.close()
        assert verify(self.place, tuple(self.heads)).size == len(self.model)


def test_it_behaves_like_a_list_of_leaves(logs: Shelf) -> None:
    """Appends, refusals, proofs and restarts in any order agree with a model."""
    machine = type("Machine", (LogMachine,), {"places": staticmethod(logs.place)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=12, stateful_step_count=10, deadline=None)
    )


async def test_a_copy_is_the_same_log(logs: Shelf, place: Place) -> None:
    """A log copied into one file, beside its writer, verifies as it does itself."""
    log = logs.open(place)
    for body in STORY:
        await log.append(body)
    target = logs.folder / "copy.sqlite"
    assert copy_log(place, target) == len(STORY)
    await log.append(leaf(9))
    assert verify(target, (log.head,)[:0]).size == len(STORY)
    assert not target.with_name("copy.sqlite-wal").exists()
    with pytest.raises(errors.Conflict):
        copy_log(place, target)
    open_log(target).close()
