"""What a process promised before it ended, and whether its file keeps it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import receipts
from fairlead.v1 import audit_pb2
from tests.faults import subject


@dataclass(slots=True)
class Promises:
    """Read from a process's lines."""

    leaves: dict[int, str] = field(default_factory=dict)
    """Index → leaf hash of everything acknowledged."""
    bytes_out: set[bytes] = field(default_factory=set)
    """Queries whose answers left."""
    failed: int = 0
    broken: set[str] = field(default_factory=set)
    """What the process itself did wrong: two leaves in one place, life after its log's death."""

    def hear(self, lines: Iterable[str]) -> bool:
        """Take one process's lines in; whether it said that all ended well."""
        dead = False
        for line in lines:
            kind, *words = line.split()
            if kind == "A":
                index, digest = int(words[0]), words[1]
                if self.leaves.setdefault(index, digest) != digest:
                    self.broken.add("two leaves were acknowledged in one place")
                if dead:
                    self.broken.add("a leaf was acknowledged after the log had failed")
            elif kind == "B":
                self.bytes_out.add(bytes.fromhex(words[0]))
            elif kind == "F":
                self.failed += 1
                dead = True
            elif kind == "Z":
                return True
        return False

    def lost(self, path: Path) -> int:
        """How many acknowledged leaves are not in the file."""
        stored = {
            index: digest.hex() for index, digest in _rows(path, "SELECT idx, hash FROM leaf")
        }
        return sum(stored.get(index) != digest for index, digest in self.leaves.items())

    def unbacked(self, path: Path) -> int:
        """How many queries were answered without an INTENT and a RELEASE after it in the file."""
        intents: set[bytes] = set()
        covered: set[tuple[bytes, str]] = set()
        for _, body in _rows(path, "SELECT idx, body FROM leaf ORDER BY idx"):
            found = audit_pb2.AuditLeaf.FromString(body)
            if found.type == audit_pb2.LEAF_TYPE_INTENT:
                intents.add(found.query_id)
            elif found.type == audit_pb2.LEAF_TYPE_RELEASE:
                covered |= {
                    (item.query_id, item.partner_id)
                    for item in found.released
                    if item.query_id in intents and _covers(item)
                }
        return sum(
            any((query_id, owner) not in covered for owner in subject.OWNERS)
            for query_id in self.bytes_out
        )


def _covers(item: audit_pb2.ReleasedAnswer) -> bool:
    return item.answer_digest == subject.answer(item.query_id, item.partner_id)


def _rows(path: Path, sql: str) -> list[tuple[int, bytes]]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(sql).fetchall()


@dataclass(slots=True)
class Kept:
    """What was found in the files afterwards; every stage has one of these."""

    acked: int = 0
    lost: int = 0
    bytes_out: int = 0
    unbacked: int = 0
    troubles: set[str] = field(default_factory=set)

    def add(self, other: Kept) -> None:
        """Count another one's findings in."""
        self.acked += other.acked
        self.lost += other.lost
        self.bytes_out += other.bytes_out
        self.unbacked += other.unbacked
        self.troubles |= other.troubles


def judge(path: Path, promises: Promises, known: Sequence[receipts.Head] = ()) -> Kept:
    """Verify the file and compare it with everything promised.

    :raises FairleadError: the file does not verify.
    """
    subject.verify(path, known)
    return Kept(
        acked=len(promises.leaves),
        lost=promises.lost(path),
        bytes_out=len(promises.bytes_out),
        unbacked=promises.unbacked(path),
        troubles=set(promises.broken),
    )


def reopen(path: Path) -> receipts.Head:
    """The file has to open, continue and close as a log; returns its head then.

    :raises FairleadError: it does not.
    """
    log = subject.open_log(path)
    try:
        asyncio.run(log.append(subject.leaf(audit_pb2.LEAF_TYPE_CASE, bytes(16))))
        return log.head
    finally:
        log.close()
