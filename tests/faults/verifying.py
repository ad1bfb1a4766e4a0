"""The game of tamperings: a log is made, tampered with in copies, and verified."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlead import errors, receipts, signing
from fairlead.auditlog import AuditLog, Connection
from fairlead.auditlog.kept import RECORDED
from fairlead.v1 import audit_pb2, decisions_pb2
from tests.faults import subject
from tests.faults.tampering import BOUND, KINDS, Case, Kind

QUERIES, BATCHES = 24, 6
NOW_MS = 1_760_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A log at rest, a copy of it half way, and the heads that its readers hold."""

    path: Path
    older: Path
    heads: tuple[receipts.Head, ...]


@dataclass(slots=True)
class Found:
    """How many of the tamperings of each kind were found, and by what."""

    alone: Counter[str] = field(default_factory=Counter)
    by_heads: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    """Tampered logs that failed to open with anything but an error of ours."""
    nothing: int = 0
    """Tamperings that changed nothing that the log binds; they do not count."""

    @property
    def tampered(self) -> int:
        """All that changed something."""
        return self.detected + self.missed.total()

    @property
    def detected(self) -> int:
        """Those that verification found."""
        return self.alone.total() + self.by_heads.total()

    def add(self, other: Found) -> None:
        """Count another one's in."""
        self.alone += other.alone
        self.by_heads += other.by_heads
        self.missed += other.missed
        self.crashed += other.crashed
        self.nothing += other.nothing


def original(folder: Path) -> Original:
    """A log of queries, cases, and batches of decision records of which the first two are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    path, older = folder / "log.sqlite", folder / "older.sqlite"
    for file in folder.glob("log.sqlite*"):
        file.unlink()
    heads: list[receipts.Head] = []
    for half in range(2):
        log = subject.open_log(path)
        asyncio.run(_fill(log, half, heads))
        log.close()
        if half == 0:
            shutil.copy(path, older)
    return Original(path=path, older=older, heads=tuple(heads))


async def _fill(log: AuditLog, half: int, heads: list[receipts.Head]) -> None:
    chance = random.Random(half)
    batches = BATCHES // 2
    log.accompany(_Batches(range(half * batches + 1, (half + 1) * batches + 1)))
    for number in range(QUERIES // 2):
        query_id, detail = chance.randbytes(16), chance.randbytes(200)
        await log.append(subject.intent(query_id, detail), detail=detail)
        heads.append(log.head)
        if number % 3 == 0:
            await log.append(subject.leaf(audit_pb2.LEAF_TYPE_CASE, query_id, subject="opened"))
        await asyncio.gather(
            log.append(subject.release(query_id)), log.append(subject.outcome(query_id))
        )
        heads.append(log.head)
    if not half:
        gone = subject.leaf(
            audit_pb2.LEAF_TYPE_DECISION, b"", subject="decisions-expired", decision_batch=2
        )
        await log.append(gone, also=_let_go)
        heads.append(log.head)


class _Batches:
    """One batch of decision records beside each transaction, until all are written."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._left = iter(numbers)

    def contribute(self, _: Connection) -> list[Any]:
        """The next one."""
        number = next(self._left, 0)
        return [_batch(number)] if number else []

    def settle(self, durable: bool) -> None:
        """A file's transaction is durable, or the log has failed."""
        assert durable


def _batch(number: int) -> tuple[bytes, Callable[[sqlite3.Connection, int], None]]:
    """A batch's leaf, and what writes its row and key beside it."""
    sealed = b"a content key, sealed" * 3
    key = signing.digest(sealed)
    batch = decisions_pb2.DecisionBatch(number=number, time_ms=NOW_MS + number, key=key)
    body = signing.canonical(batch)
    leaf = subject.leaf(
        audit_pb2.LEAF_TYPE_DECISION,
        b"",
        subject=RECORDED,
        decision_batch=number,
        detail_digest=signing.digest(body),
    )

    def put(database: sqlite3.Connection, index: int) -> None:
        database.execute(
            "INSERT INTO decision_key (id, time_ms, sealed) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (key, NOW_MS, sealed),
        )
        database.execute(
            "INSERT INTO decision_batch (number, digest, time_ms, leaf, key, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (number, signing.digest(body), NOW_MS + number, index, key, body),
        )

    return leaf, put


def _let_go(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM decision_batch WHERE number <= 2")


def play(
    folder: Path, made: Original, count: int, seed: int, kinds: Sequence[Kind] = KINDS
) -> Found:
    """``count`` tamperings that change something, of the kinds in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, found = random.Random(seed), Found()
    before = content(made.path)
    subject.verify(made.path, made.heads)
    while found.tampered < count:
        kind = kinds[(found.tampered + found.nothing) % len(kinds)]
        path = folder / "tampered.sqlite"
        for file in folder.glob("tampered.sqlite*"):
            file.unlink()
        shutil.copy(made.path, path)
        tamper(kind, path, made, chance)
        if content(path) == before:
            found.nothing += 1
            continue
        _count(kind.__name__, path, made.heads, found)
        _open(kind.__name__, path, found)
    return found


def tamper(kind: Kind, path: Path, made: Original, chance: random.Random) -> None:
    """Tamper with a copy of the log."""
    with _opened(path) as database:
        held = frozenset(head.size for head in made.heads)
        kind(Case(path=path, database=database, chance=chance, older=made.older, held=held))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that whoever tampers may close early."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=DELETE")
    try:
        yield database
    finally:
        database.close()


def _count(name: str, path: Path, heads: Sequence[receipts.Head], found: Found) -> None:
    for known, finders in (((), found.alone), (heads, found.by_heads)):
        try:
            subject.verify(path, known)
        except errors.FairleadError:
            finders[name] += 1
            return
        except Exception as error:
            found.missed[f"{name}: verification raised {type(error).__name__}"] += 1
            return
    found.missed[name] += 1


def _open(name: str, path: Path, found: Found) -> None:
    """Opening a damaged log may succeed, and may be refused; it does nothing else."""
    try:
        subject.open_log(path).close()
    except errors.FairleadError:
        return
    except Exception as error:
        found.crashed[f"{name}: opening raised {type(error).__name__}"] += 1


def content(path: Path) -> object:
    """Everything that a log binds, for comparing; an error is different from all else."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            return {
                table: database.execute(
                    f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1"  # noqa: S608
                ).fetchall()
                for table, columns in BOUND.items()
            }
    except (sqlite3.Error, UnicodeDecodeError):
        return None
