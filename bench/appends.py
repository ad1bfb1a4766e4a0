"""The audit log alone under load: queries of four leaves' order, or one leaf after the other.

A flush to disk takes as long as the disk likes; here every commit takes at least a given time for
each of its flushes, so that figures of two machines can be compared. What the disk took is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.auditlog import AuditLog, LogReport, verify_log
from fairlead.auditlog import writer as writer_module
from fairlead.auditlog.sqlite_store import SqliteStore
from fairlead.v1 import audit_pb2, query_pb2

ORIGIN, LOG = "bench.example/log", "gateway/bench"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FLUSH_S = 0.002
"""What a flush takes, at least."""
CHECKPOINT_FLUSHES = 2
"""Further flushes of a commit that also folds the write-ahead log into the file."""
FANOUT_S = 0.001
"""What asking the owners takes: nothing is asked, the task sleeps."""
MOST_PER_S = 9000
"""Queries prepared for each second of a run; more were never closed."""
OWNERS = tuple(f"owner-{number:02d}" for number in range(1, 9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run gave."""

    leaves: int
    queries: int
    seconds: float
    cpu_s: float
    commits: int
    disk_ms: float
    """Of a commit, without what was added to it (median)."""

    @property
    def leaves_per_s(self) -> float:
        """Leaves acknowledged a second."""
        return self.leaves / self.seconds

    @property
    def queries_per_s(self) -> float:
        """Queries closed a second."""
        return self.queries / self.seconds


def queries(folder: Path, concurrent: int, seconds: float, *, flush_s: float = FLUSH_S) -> Load:
    """So many queries at a time: INTENT, the owners' time, RELEASE, OUTCOME."""
    supply = _made(int(seconds * MOST_PER_S) + concurrent)

    async def ask(log: AuditLog) -> int:
        query = next(supply, None)
        if query is None:
            return 0
        intent, release, outcome = query
        await log.append(intent)
        await asyncio.sleep(FANOUT_S)
        await log.append(release)
        await log.append(outcome)
        return 3

    return _run(folder, ask, concurrent, seconds, flush_s)


def leaves(
    folder: Path, writers: int, seconds: float, *, grouped: bool, flush_s: float = FLUSH_S
) -> Load:
    """So many callers, each with one leaf under way; apart from each other if not ``grouped``."""
    body = a_leaf()

    async def append(log: AuditLog) -> int:
        await log.append(body)
        return 1

    with _batches_of(writer_module.BATCH if grouped else 1):
        return _run(folder, append, writers, seconds, flush_s)


def _run(
    folder: Path,
    work: Callable[[AuditLog], Awaitable[int]],
    concurrent: int,
    seconds: float,
    flush_s: float,
) -> Load:
    """Open a new log, load it, close it and verify it."""
    path = folder / f"{time.monotonic_ns()}.sqlite"
    log = AuditLog.open(path, origin=ORIGIN, key=KEY, clock=time.time)
    taken = slow_commits(log, path, flush_s)
    try:
        began, cpu = time.perf_counter(), time.process_time()
        done = asyncio.run(_load(log, work, concurrent, seconds))
        spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    finally:
        log.close()
    report = verified(path)
    if report.size != sum(done) or report.open_queries:
        raise AssertionError("the log does not hold what was acknowledged")
    for file in folder.glob(f"{path.name}*"):
        file.unlink()
    return Load(
        leaves=report.size,
        queries=report.leaves.get("OUTCOME", 0),
        seconds=spent,
        cpu_s=cpu,
        commits=len(taken),
        disk_ms=sorted(taken)[len(taken) // 2] * 1000,
    )


async def _load(
    log: AuditLog, work: Callable[[AuditLog], Awaitable[int]], concurrent: int, seconds: float
) -> list[int]:
    until = time.perf_counter() + seconds

    async def one() -> int:
        done = 0
        while time.perf_counter() < until:
            step = await work(log)
            if not step:
                break
            done += step
        return done

    return await asyncio.gather(*(one() for _ in range(concurrent)))


def verified(path: Path) -> LogReport:
    """What lies there, from the beginning."""
    return verify_log(path, origin=ORIGIN, public_key=signing.public_bytes(KEY))


# ── What a commit takes ──────────────────────────────────────────────────────────────────────


def slow_commits(log: AuditLog, path: Path, flush_s: float) -> list[float]:
    """Let each commit take at least ``flush_s`` a flush; returns a list of what each took without.

    A commit flushes once; one that also folds the write-ahead log into the file, which shows by
    the file's time, flushes twice more.
    """
    taken: list[float] = []
    folded = path.stat().st_mtime_ns

    def slow(commit: Callable[[], object]) -> None:
        nonlocal folded
        began = time.perf_counter()
        commit()
        now = time.perf_counter()
        taken.append(now - began)
        changed = path.stat().st_mtime_ns
        flushes = 1 if changed == folded else 1 + CHECKPOINT_FLUSHES
        folded = changed
        time.sleep(max(0.0, began + flushes * flush_s - now))

    _around_commits(log, slow)
    return taken


def _around_commits(log: AuditLog, around: Callable[[Callable[[], object]], None]) -> None:
    """Put ``around`` in the place of each of the writer's commits."""
    database = cast("SqliteStore", log._store)._database
    execute = database.execute

    def executed(sql: str, *parameters: Any) -> Any:
        return around(partial(execute, sql)) if sql == "COMMIT" else execute(sql, *parameters)

    database.execute = executed  # type: ignore[method-assign]


@contextmanager
def _batches_of(size: int) -> Iterator[None]:
    """The writer as it is, but with so many leaves in a transaction at most."""
    usual, writer_module.BATCH = writer_module.BATCH, size
    try:
        yield
    finally:
        writer_module.BATCH = usual


# ── Leaves ───────────────────────────────────────────────────────────────────────────────────


def _made(count: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The leaves of so many queries, made beforehand."""
    return iter([_query() for _ in range(count)])


def _query() -> tuple[bytes, bytes, bytes]:
    """INTENT, RELEASE and OUTCOME of a query to eight owners, of the size that a gateway's have."""
    query_id = os.urandom(16)
    digest = hashlib.sha256(query_id).digest()
    intent = _leaf(
        audit_pb2.LEAF_TYPE_INTENT, query_id, partner_id="customs", purpose="drug-trafficking",
        user="spiffe://fairlead.bench/partner/customs/user/u-b01", mandate_digest=digest,
        header_digest=digest, legal_basis="eu-ucc-art-46", schemes=["container"], term_count=1,
        rules=["purpose-known", "user-may-ask"], commitment=digest, signatures=[digest * 2] * 2,
    )  # fmt: skip
    released = [
        audit_pb2.ReleasedAnswer(
            query_id=query_id, partner_id=owner, status=query_pb2.STATUS_ANSWERED,
            answer_digest=digest,
        )
        for owner in OWNERS
    ]  # fmt: skip
    release = _leaf(audit_pb2.LEAF_TYPE_RELEASE, b"", released=released)
    lines = [
        query_pb2.PartnerOutcome(
            partner_id=owner, status=query_pb2.STATUS_ANSWERED, answer_digest=digest
        )
        for owner in OWNERS
    ]
    return intent, release, _leaf(audit_pb2.LEAF_TYPE_OUTCOME, query_id, partners=lines)


def a_leaf() -> bytes:
    """A leaf that stands for itself."""
    return _leaf(audit_pb2.LEAF_TYPE_CASE, bytes(16), purpose="drug-trafficking", user="u" * 60)


def _leaf(kind: audit_pb2.LeafType.ValueType, query_id: bytes, **fields: Any) -> bytes:
    made = audit_pb2.AuditLeaf(
        type=kind, query_id=query_id, time_ms=int(time.time() * 1000), log=LOG, **fields
    )
    return signing.canonical(made)
