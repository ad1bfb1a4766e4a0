"""The audit log: durable, grouped, fail closed, and verifiable by a stranger."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any, TypeVarTuple, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairlead import errors, merkle, receipts, signing
from fairlead.auditlog import BATCH, AuditLog, LogReport, put_foreign_head, verify_log
from fairlead.auditlog import log as log_module
from fairlead.v1 import audit_pb2

ORIGIN = "gateway.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = signing.public_bytes(KEY)
SEEN = ("CREATE TABLE seen (id INTEGER PRIMARY KEY) STRICT",)

INTENT = audit_pb2.LEAF_TYPE_INTENT
RELEASE = audit_pb2.LEAF_TYPE_RELEASE
OUTCOME = audit_pb2.LEAF_TYPE_OUTCOME
CASE = audit_pb2.LEAF_TYPE_CASE


Ts = TypeVarTuple("Ts")


def now() -> float:
    return 1_760_000_000.0


def leaf(number: int, kind: audit_pb2.LeafType.ValueType = CASE, **fields: Any) -> bytes:
    """A canonical leaf of the gateway's log about query ``number``."""
    content: dict[str, Any] = {"type": kind, "query_id": number.to_bytes(16), "log": "gateway/main"}
    return signing.canonical(audit_pb2.AuditLeaf(**(content | fields)))


def release(*numbers: int) -> bytes:
    released = [audit_pb2.ReleasedAnswer(query_id=number.to_bytes(16)) for number in numbers]
    return leaf(0, RELEASE, query_id=b"", released=released)


def open_log(path: Path, **changes: Any) -> AuditLog:
    usual: dict[str, Any] = {"origin": ORIGIN, "key": KEY, "clock": now, "migrations": SEEN}
    return AuditLog.open(path, **(usual | changes))


def verify(path: Path, known: tuple[receipts.Head, ...] = ()) -> LogReport:
    return verify_log(path, origin=ORIGIN, public_key=PUBLIC, known=known)


async def fill(path: Path, leaves: list[bytes]) -> receipts.Head:
    """Write leaves one commit each and close the log."""
    log = open_log(path)
    for body in leaves:
        await log.append(body)
    head = log.head
    log.close()
    return head


def remember(number: int) -> Callable[[sqlite3.Connection], None]:
    """An ``also`` that refuses a number it has seen before."""

    def also(connection: sqlite3.Connection) -> None:
        try:
            connection.execute("INSERT INTO seen VALUES (?)", (number,))
        except sqlite3.IntegrityError:
            raise errors.Conflict("seen before") from None

    return also


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    opened = open_log(path)
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def held(log: AuditLog) -> AsyncIterator[asyncio.Task[Any]]:
    """Keep the writer thread busy with one leaf, so that all other appends pile up."""
    entered, leave = threading.Event(), threading.Event()

    def also(_: sqlite3.Connection) -> None:
        entered.set()
        assert leave.wait(30)

    first = asyncio.get_running_loop().create_task(log.append(leaf(0), also=also))
    await asyncio.sleep(0)
    assert entered.wait(30)
    try:
        yield first
    finally:
        leave.set()


async def piled(count: int, start: Callable[[int], Any]) -> list[asyncio.Task[Any]]:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(start(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


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


async def test_detail_is_stored_beside_its_leaf(path: Path, log: AuditLog) -> None:
    """A detail is kept when the leaf holds its digest, and refused otherwise."""
    sealed = leaf(1, detail_digest=hashlib.sha256(b"sealed").digest())
    await log.append(sealed, detail=b"sealed")
    assert log.read("SELECT detail FROM leaf") == [(b"sealed",)]
    with pytest.raises(errors.InvalidInput):
        await log.append(sealed, detail=b"other")
    assert verify(path).size == 1


async def test_reopening_continues_the_same_log(path: Path) -> None:
    """A reopened log extends the head it had, and its receipts prove that."""
    head = await fill(path, [leaf(number) for number in range(5)])
    log = open_log(path)
    assert log.head == head
    assert log.checkpoint() == head.checkpoint
    await log.append(leaf(5))
    receipts.verify_receipt(log.receipt(5, 5), origin=ORIGIN, public_key=PUBLIC, head=head)
    log.close()
    assert verify(path, (head,)).size == 6


def test_an_empty_log_is_sound(path: Path) -> None:
    """A new log has a signed checkpoint of size 0, verifies and reopens."""
    open_log(path).close()
    open_log(path).close()
    report = verify(path)
    assert (report.size, report.root, report.checkpoints) == (0, merkle.EMPTY_ROOT, 1)


async def test_another_process_is_refused(path: Path, log: AuditLog) -> None:
    """A second writer of the same log does not start, and the first goes on."""
    with pytest.raises(errors.Misconfigured) as caught:
        open_log(path)
    assert caught.value.code == "DATABASE_IN_USE"
    await log.append(leaf(1))


async def test_another_key_or_origin_does_not_continue_a_log(path: Path) -> None:
    """A log is continued only by the identity that signed it."""
    await fill(path, [leaf(1)])
    for changes in ({"key": OTHER}, {"origin": "other.example/log"}):
        with pytest.raises(errors.LogUnavailable) as caught:
            open_log(path, **changes)
        assert caught.value.code == "LOG_CORRUPTED"
    open_log(path).close()


# Group commit. -----------------------------------------------------------------------------------


async def test_waiting_appends_share_a_commit(log: AuditLog) -> None:
    """600 appends that wait together take three transactions, each with one checkpoint."""
    async with held(log) as first:
        tasks = await piled(600, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(first, *tasks)
    assert [result.index for result in results] == list(range(601))
    sizes = [size for (size,) in log.read("SELECT size FROM checkpoint ORDER BY size")]
    assert sizes == [0, 1, 1 + BATCH, 1 + 2 * BATCH, 601]


def test_one_wake_up_per_batch(path: Path) -> None:
    """The writer thread wakes the event loop once a batch, however many callers wait."""

    class CountingLoop(asyncio.SelectorEventLoop):
        calls = 0

        def call_soon_threadsafe(
            self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
        ) -> asyncio.Handle:
            self.calls += 1
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def run(log: AuditLog) -> None:
        async with held(log) as first:
            tasks = await piled(200, lambda number: log.append(leaf(number)))
        await asyncio.gather(first, *tasks)

    log, loop = open_log(path), CountingLoop()
    loop.run_until_complete(run(log))
    loop.close()
    log.close()
    assert loop.calls == 2


async def test_a_refusing_also_fails_alone(path: Path, log: AuditLog) -> None:
    """A replay caught inside a batch leaves neither leaf nor row; its neighbours commit."""
    async with held(log) as first:
        tasks = await piled(20, lambda number: log.append(leaf(number), also=remember(number // 2)))
    await first
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, errors.Conflict) for result in results] == [False, True] * 10
    assert log.head.size == 11
    assert log.read("SELECT count(*) FROM seen") == [(10,)]
    assert log.healthy
    assert verify(path).size == 11


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), sqlite3.ProgrammingError("x")])
async def test_a_broken_also_fails_alone(log: AuditLog, error: Exception) -> None:
    """A programming error inside ``also`` fails that append, not the log."""

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO seen VALUES (1)")
        raise error

    def misspelt(connection: sqlite3.Connection) -> None:
        connection.execute("no such statement")

    with pytest.raises((type(error), RuntimeError)):
        await log.append(leaf(1), also=broken)
    with pytest.raises(sqlite3.OperationalError):
        await log.append(leaf(1), also=misspelt)
    assert log.read("SELECT * FROM seen") == []
    assert (await log.append(leaf(2))).index == 0


async def test_an_also_that_commits_stops_the_log(path: Path, log: AuditLog) -> None:
    """Code that breaks the transaction's promise cannot go on: the log fails closed."""
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1), also=lambda connection: connection.commit())
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


def test_a_vanished_event_loop_does_not_break_the_writer(path: Path) -> None:
    """Results for a loop that was closed meanwhile are dropped; the next loop is served."""
    log, leave, entered = open_log(path), threading.Event(), threading.Event()

    def also(_: sqlite3.Connection) -> None:
        entered.set()
        assert leave.wait(30)

    async def abandon() -> None:
        task = asyncio.get_running_loop().create_task(log.append(leaf(1), also=also))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(abandon())
    assert entered.wait(30)
    leave.set()
    assert asyncio.run(log.append(leaf(2))).index == 1
    log.close()


async def test_close_drains_the_queue(path: Path) -> None:
    """What was queued before close is durable and answered; what comes after is refused."""
    log = open_log(path)
    tasks = await piled(300, lambda number: log.append(leaf(number)))
    log.close()
    log.close()
    assert len(await asyncio.gather(*tasks)) == 300
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    with pytest.raises(errors.LogUnavailable):
        log.read("SELECT 1")
    assert not log.healthy
    assert verify(path).size == 300


# Faults. -----------------------------------------------------------------------------------------


async def test_a_write_error_is_final(path: Path) -> None:
    """After a file turned read-only every pending and later append fails, and one alarm sounds."""
    alarms: list[int] = []
    log = open_log(path, on_failure=lambda: alarms.append(1))
    await log.append(leaf(0))
    head = log.head
    log._writer._database.execute("PRAGMA query_only=ON")
    tasks = await piled(600, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, errors.LogUnavailable) for result in results)
    log._writer._database.execute("PRAGMA query_only=OFF")
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    assert not log.healthy
    assert alarms == [1]
    assert log.head == head
    receipts.verify_receipt(log.receipt(0), origin=ORIGIN, public_key=PUBLIC, head=None)
    log.close()
    assert verify(path).size == 1


async def test_a_write_error_inside_also_is_final(log: AuditLog) -> None:
    """A file that fails under ``also`` stops the log: it is no refusal of that entry alone."""

    def also(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("INSERT INTO seen VALUES (1)")

    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1), also=also)
    assert not log.healthy


async def test_a_failing_alarm_does_not_hang_the_callers(path: Path) -> None:
    """When the failure callback itself raises, callers still get their error."""

    def alarm() -> None:
        raise OSError

    log = open_log(path, on_failure=alarm)
    log._writer._database.execute("PRAGMA query_only=ON")
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(0))
    log.close()


PROGRAM = """
import asyncio, resource, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fairlead import errors, signing
from fairlead.auditlog import AuditLog
from fairlead.v1 import audit_pb2

path, mode = Path(sys.argv[1]), sys.argv[2]
alarms = []
log = AuditLog.open(path, origin="gateway.example/log", clock=lambda: 0.0,
                    key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
                    migrations=("CREATE TABLE seen (id INTEGER PRIMARY KEY) STRICT",),
                    on_failure=lambda: alarms.append(1))

async def work(worker):
    while True:
        body = signing.canonical(audit_pb2.AuditLeaf(type=7, log="gateway/main", user="u" * 200,
                                                     term_count=worker))
        appended = await log.append(body)
        print(appended.index, appended.leaf_hash.hex(), flush=mode == "kill")

async def main():
    if mode == "full":
        full = Path(f"{path}-wal").stat().st_size + 300_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))
    return await asyncio.gather(*(work(n) for n in range(64)), return_exceptions=True)

results = asyncio.run(main())
assert all(isinstance(result, errors.LogUnavailable) for result in results), results
print("failed", log.healthy, len(alarms))
"""


def acknowledged(lines: list[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in lines:
        index, digest = line.split()
        found[int(index)] = digest
    return found


def assert_kept(path: Path, promised: dict[int, str]) -> None:
    """Everything acknowledged is in the log, the log verifies, and it can go on."""
    report = verify(path)
    connection = sqlite3.connect(path)
    stored = {
        index: value.hex() for index, value in connection.execute("SELECT idx, hash FROM leaf")
    }
    connection.close()
    assert promised.items() <= stored.items()
    assert report.size == len(stored)
    log = open_log(path)
    assert asyncio.run(log.append(leaf(1))).index == report.size
    log.close()


def test_a_full_disk_loses_nothing_acknowledged(path: Path) -> None:
    """When the file may not grow, the log stops, tells everybody, and keeps what it promised."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), "full"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *lines, last = output.stdout.splitlines()
    assert last == "failed False 1"
    assert len(lines) > 64
    assert_kept(path, acknowledged(lines))


@pytest.mark.slow
def test_ten_kills_under_load_lose_nothing_acknowledged(path: Path) -> None:
    """kill -9 of a process appending from 64 tasks, ten times on one log: every promise kept."""
    promised: dict[int, str] = {}
    for round_number in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), "kill"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(200 + 37 * round_number)]
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
        lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        promised |= acknowledged(lines)
        assert_kept(path, promised)


# Verification by a stranger. ---------------------------------------------------------------------

STORY = [
    leaf(1, INTENT, time_ms=9),
    leaf(2, INTENT, time_ms=5),
    release(1, 2),
    leaf(1, OUTCOME),
    leaf(3, INTENT),
    leaf(4),
]


async def test_report(path: Path) -> None:
    """The report counts leaves by type and lists the queries nothing closed, in order."""
    head = await fill(path, STORY)
    assert verify(path, (head,)) == LogReport(
        size=6,
        root=head.root,
        checkpoints=7,
        leaves={"INTENT": 3, "RELEASE": 1, "OUTCOME": 1, "CASE": 1},
        open_queries=((2).to_bytes(16), (3).to_bytes(16)),
    )


async def test_a_running_log_can_be_verified(path: Path, log: AuditLog) -> None:
    """Verification reads beside the writer."""
    await log.append(leaf(1))
    assert verify(path).size == 1
    await log.append(leaf(2))
    assert verify(path).size == 2


TAMPERINGS = {
    "body": "UPDATE leaf SET body = x'0807' WHERE idx = 2",
    "hash": "UPDATE leaf SET hash = zeroblob(32) WHERE idx = 2",
    "short hash": "UPDATE leaf SET hash = x'00' WHERE idx = 2",
    "detail": "UPDATE leaf SET detail = x'00' WHERE idx = 2",
    "middle leaf dropped": "DELETE FROM leaf WHERE idx = 2",
    "last leaf dropped": "DELETE FROM leaf WHERE idx = 5",
    "leaf renumbered": "UPDATE leaf SET idx = 6 WHERE idx = 5",
    "leaves swapped": (
        "UPDATE leaf SET idx = 99 WHERE idx = 0; UPDATE leaf SET idx = 0 WHERE idx = 1;"
        "UPDATE leaf SET idx = 1 WHERE idx = 99"
    ),
    "leaf without checkpoint": "DELETE FROM checkpoint WHERE size = 6",
    "no checkpoint": "DELETE FROM checkpoint",
    "checkpoint text": (
        "UPDATE checkpoint SET note = replace(note, char(10, 51), char(10, 52)) WHERE size = 3"
    ),
    "checkpoint size": "UPDATE checkpoint SET size = 8 WHERE size = 6",
    "checkpoint copied": (
        "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 2) WHERE size = 3"
    ),
    "checkpoint emptied": "UPDATE checkpoint SET note = ''",
    "table dropped": "DROP TABLE leaf",
}


@pytest.mark.parametrize("script", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_tampering_is_found(path: Path, script: str) -> None:
    """Any change to a stored leaf, hash, detail or checkpoint is found."""
    await fill(path, STORY)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    with pytest.raises(errors.Forged):
        verify(path)


async def test_the_fault_names_its_leaf(path: Path) -> None:
    """A verification error says at which leaf the log stops being true."""
    await fill(path, STORY)
    connection = sqlite3.connect(path)
    connection.executescript(TAMPERINGS["body"])
    connection.close()
    with pytest.raises(errors.Forged, match=r"leaf 2\b"):
        verify(path)


async def test_a_tampered_log_does_not_open(path: Path) -> None:
    """A log whose hashes and last checkpoint disagree is not continued."""
    await fill(path, STORY)
    for script in ("hash", "last leaf dropped", "leaf without checkpoint", "no checkpoint"):
        copy = path.with_name("copy.sqlite")
        shutil.copy(path, copy)
        connection = sqlite3.connect(copy)
        connection.executescript(TAMPERINGS[script])
        connection.close()
        with pytest.raises(errors.LogUnavailable) as caught:
            open_log(copy)
        assert caught.value.code == "LOG_CORRUPTED"


async def test_a_changed_leaf_with_its_hash_is_found(path: Path) -> None:
    """Changing a leaf together with its hash still contradicts the signed roots."""
    await fill(path, STORY)
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE leaf SET body = ?, hash = ? WHERE idx = 5", (leaf(9), merkle.leaf_hash(leaf(9)))
    )
    connection.commit()
    connection.close()
    with pytest.raises(errors.Forged, match=r"leaf 6\b"):
        verify(path)


async def test_a_checkpoint_signed_for_a_false_size_is_found(path: Path) -> None:
    """Even the log's own key cannot give a true root another size."""
    head = await fill(path, STORY)
    false = receipts.Checkpoint(origin=ORIGIN, size=7, root=head.root)
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE checkpoint SET note = ? WHERE size = 6", (receipts.sign_checkpoint(false, KEY),)
    )
    connection.commit()
    connection.close()
    with pytest.raises(errors.Forged):
        verify(path)


async def test_a_head_of_another_log_says_nothing(tmp_path: Path, path: Path) -> None:
    """A known head of another origin is the caller's mistake, not a fork."""
    heads = await foreign(tmp_path / "foreign", STORY)
    await fill(path, STORY)
    with pytest.raises(errors.InvalidInput):
        verify(path, (heads[-1],))


async def test_rewritten_history_is_found_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    """An operator who rewrites and re-signs the log is betrayed by any head a partner holds."""
    honest = await fill(tmp_path / "honest", STORY)
    rewritten = await fill(tmp_path / "rewritten", [*STORY[:5], leaf(99), leaf(100)])
    assert verify(tmp_path / "rewritten").root == rewritten.root
    with pytest.raises(receipts.CheckpointFork) as caught:
        verify(tmp_path / "rewritten", (honest,))
    assert caught.value.checkpoints == (honest.checkpoint, rewritten.checkpoint)


async def test_a_cut_tail_is_found_by_a_head_kept_elsewhere(path: Path) -> None:
    """A log that lost its tail together with the checkpoints contradicts a head held outside."""
    head = await fill(path, STORY)
    connection = sqlite3.connect(path)
    connection.executescript(
        "DELETE FROM leaf WHERE idx = 5; DELETE FROM checkpoint WHERE size = 6"
    )
    connection.close()
    assert verify(path).size == 5
    with pytest.raises(receipts.CheckpointFork):
        verify(path, (head,))


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
async def test_order_is_checked(path: Path, leaves: list[bytes], index: int) -> None:
    """At a gateway no RELEASE or OUTCOME comes without INTENT, and no INTENT twice."""
    await fill(path, leaves)
    with pytest.raises(errors.Forged, match=rf"leaf {index}\b"):
        verify(path)


async def test_an_owner_closes_a_query_by_its_release(path: Path) -> None:
    """In a partner's log a RELEASE ends the owner's part, an OUTCOME the asker's."""
    log = {"log": "partner/customs"}
    released = [audit_pb2.ReleasedAnswer(query_id=(1).to_bytes(16))]
    await fill(
        path,
        [leaf(number, INTENT, **log) for number in (1, 2, 3)]
        + [leaf(0, RELEASE, query_id=b"", released=released, **log), leaf(2, OUTCOME, **log)],
    )
    assert verify(path).open_queries == ((3).to_bytes(16),)


async def test_a_log_of_another_key_does_not_verify(path: Path) -> None:
    """Verification trusts the given key and origin, not what the file says."""
    await fill(path, STORY)
    with pytest.raises(errors.Forged):
        verify_log(path, origin=ORIGIN, public_key=signing.public_bytes(OTHER))
    with pytest.raises(errors.Forged):
        verify_log(path, origin="other.example/log", public_key=PUBLIC)


def test_every_event_and_field_is_classified() -> None:
    """docs/audit-events.md has a row for every leaf type, and a class for every field."""
    text = (Path(__file__).parents[1] / "docs" / "audit-events.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 5]
    events = {row[1].split("`")[1]: row[2:5] for row in rows if "`" in row[1]}
    types = {name.removeprefix("LEAF_TYPE_") for name, _ in audit_pb2.LeafType.items()}
    assert set(events) == types - {"UNSPECIFIED"}
    fields = {field.name for field in audit_pb2.AuditLeaf.DESCRIPTOR.fields}
    for event, classes in events.items():
        named = [name for cell in classes for name in cell.split("`")[1::2]]
        assert len(named) == len(set(named)), event
        assert {"type", "time_ms", "log"} <= set(named) <= fields, event
    assert fields == {
        name for row in events.values() for cell in row for name in cell.split("`")[1::2]
    }


# Heads of other logs. ----------------------------------------------------------------------------


async def foreign(path: Path, leaves: list[bytes]) -> list[receipts.Head]:
    """The heads of another log after each leaf."""
    log = open_log(path, origin="foreign.example/log")
    heads = []
    for body in leaves:
        await log.append(body)
        heads.append(log.head)
    log.close()
    return heads


async def test_a_foreign_head_is_kept_with_its_leaf(tmp_path: Path, path: Path) -> None:
    """A head accepted inside ``also`` is durable together with the leaf, or not at all."""
    heads = await foreign(tmp_path / "foreign", STORY)
    log = open_log(path)
    assert log.foreign_head("foreign.example/log") is None
    await log.append(leaf(1), also=lambda c: put_foreign_head(c, heads[0], after=None))

    def refuse(connection: sqlite3.Connection) -> None:
        put_foreign_head(connection, heads[1], after=heads[0])
        raise errors.Refused("no")

    with pytest.raises(errors.Refused):
        await log.append(leaf(2), also=refuse)
    assert log.foreign_head("foreign.example/log") == heads[0]
    log.close()
    log = open_log(path)
    assert log.foreign_head("foreign.example/log") == heads[0]
    log.close()


async def test_two_receipts_at_once_cannot_split_a_reader(tmp_path: Path, log: AuditLog) -> None:
    """Of two heads verified against one older head, the second must prove itself to the first."""
    main = await foreign(tmp_path / "main", STORY)
    fork = await foreign(tmp_path / "fork", [*STORY[:2], *[leaf(77)] * 4])
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


async def test_a_head_never_goes_back(tmp_path: Path, log: AuditLog) -> None:
    """An older head, or one verified against a head we do not hold, is stale."""
    heads = await foreign(tmp_path / "foreign", STORY)
    with pytest.raises(receipts.CheckpointStale) as caught:
        await log.append(leaf(0), also=lambda c: put_foreign_head(c, heads[2], after=heads[1]))
    assert caught.value.size == 0
    await log.append(leaf(1), also=lambda c: put_foreign_head(c, heads[2], after=None))
    for after in (None, heads[1], heads[2]):
        with pytest.raises(receipts.CheckpointStale):
            await log.append(leaf(2), also=partial(put_foreign_head, head=heads[1], after=after))
    assert log.foreign_head("foreign.example/log") == heads[2]


# Against a model. --------------------------------------------------------------------------------


class LogMachine(RuleBasedStateMachine):
    """An AuditLog behaves like a list of leaves, whatever the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "log.sqlite"
        self.loop = asyncio.new_event_loop()
        self.log = open_log(self.path)
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
        self.log = open_log(self.path)
        assert self.log.head == head

    @invariant()
    def same_head(self) -> None:
        """The head is the root over the model's leaves."""
        tree = merkle.Tree()
        for body in self.model:
            tree.append(merkle.leaf_hash(body))
        assert (self.log.head.size, self.log.head.root) == (tree.size, tree.root())

    def teardown(self) -> None:
        """A stranger verifies the file against every head there ever was."""
        self.log.close()
        self.loop.close()
        assert verify(self.path, tuple(self.heads)).size == len(self.model)
        self.folder.cleanup()


LogMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
TestLogMachine = LogMachine.TestCase
