"""Random tamperings of a log's database, each of which verification has to find.

Whoever tampers has the file. In the kinds of :data:`INSIDER` they also have the log's own key;
those, and the kinds of :data:`HEADS` that take whole checkpoints away, leave a file that is
consistent in itself: it is betrayed by the heads that receipts and witnesses hold (here: the head
after each query). All others must be found by the file alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead import merkle, receipts, signing
from fairlead.v1 import audit_pb2
from tests.faults import subject

Rows = list[list[Any]]
BOUND = {
    "leaf": ("idx", "hash", "body", "detail"),
    "checkpoint": ("size", "note"),
    "decision_batch": ("number", "digest", "time_ms", "leaf", "key", "body"),
    "decision_key": ("id", "sealed"),
}
"""The columns that the leaves and signatures of a log bind."""
UNBOUND = {
    "checkpoint": ("time_ms",),
    "decision_key": ("time_ms",),
}
"""Notes for whoever looks; nothing is decided by them, and nobody verifies them."""


@dataclass(slots=True)
class Case:
    """One copy of the log to be tampered with, and chance."""

    path: Path
    database: sqlite3.Connection
    chance: random.Random
    older: Path
    """The same log some queries ago."""
    held: frozenset[int]
    """Sizes of the heads that somebody outside holds."""

    def rows(self, table: str) -> Rows:
        """All bound columns of a table, in the order of its key."""
        columns = ", ".join(BOUND[table])
        found = self.database.execute(f"SELECT {columns} FROM {table} ORDER BY 1")  # noqa: S608
        return [list(row) for row in found]

    def put(self, table: str, rows: Rows) -> None:
        """Replace a table's rows; columns that nothing binds become 0."""
        unbound = UNBOUND.get(table, ())
        names = ", ".join((*BOUND[table], *unbound))
        marks = ", ".join("?" * (len(BOUND[table]) + len(unbound)))
        self.database.execute("BEGIN")
        self.database.execute(f"DELETE FROM {table}")  # noqa: S608
        self.database.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
            [[*row, *(0 for _ in unbound)] for row in rows],
        )
        self.database.execute("COMMIT")


Kind = Callable[[Case], None]


# ── Somebody with the file ───────────────────────────────────────────────────────────────────


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit changed."""
    if not data:
        return b"\x01"
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def bit_in_a_row(case: Case) -> None:
    """One bit of one bound column of one row."""
    table = case.chance.choice(sorted(BOUND))
    rows = case.rows(table)
    row = case.chance.choice(rows)
    column = case.chance.randrange(len(row))
    if isinstance(row[column], int):
        row[column] ^= 1 << case.chance.randrange(16)
    elif isinstance(row[column], str):
        octets = flip(row[column].encode(), case.chance)
        row[column] = octets.decode("latin-1")
    else:
        row[column] = flip(row[column], case.chance)
    with contextlib.suppress(sqlite3.IntegrityError):  # the key of another row
        case.put(table, rows)


def bit_in_the_file(case: Case) -> None:
    """One bit anywhere in the file."""
    case.database.close()
    case.path.write_bytes(flip(case.path.read_bytes(), case.chance))


def octets_in_the_file(case: Case) -> None:
    """A piece of one page over a piece of another."""
    case.database.close()
    octets = bytearray(case.path.read_bytes())
    size = case.chance.randrange(1, 512)
    source, target = (case.chance.randrange(len(octets) - size) for _ in range(2))
    octets[target : target + size] = octets[source : source + size]
    case.path.write_bytes(octets)


def file_cut(case: Case) -> None:
    """The end of the file is gone."""
    case.database.close()
    os.truncate(case.path, case.chance.randrange(case.path.stat().st_size))


def leaf_deleted(case: Case) -> None:
    """One leaf is gone, and the others may close the gap."""
    leaves = case.rows("leaf")
    del leaves[case.chance.randrange(len(leaves))]
    _number(case, leaves)


def leaves_reordered(case: Case) -> None:
    """Two leaves have changed places."""
    leaves = case.rows("leaf")
    one, other = case.chance.sample(range(len(leaves)), 2)
    leaves[one][1:], leaves[other][1:] = leaves[other][1:], leaves[one][1:]
    case.put("leaf", leaves)


def leaf_duplicated(case: Case) -> None:
    """One leaf stands there twice."""
    leaves = case.rows("leaf")
    copied = list(case.chance.choice(leaves))
    leaves.insert(case.chance.randrange(len(leaves) + 1), copied)
    case.put("leaf", [[index, *row[1:]] for index, row in enumerate(leaves)])


def leaf_inserted(case: Case) -> None:
    """A well-formed leaf that was never logged."""
    leaves = case.rows("leaf")
    body = subject.leaf(audit_pb2.LEAF_TYPE_CASE, case.chance.randbytes(16))
    row = [0, merkle.leaf_hash(body), body, b""]
    leaves.insert(case.chance.randrange(len(leaves) + 1), row)
    case.put("leaf", [[index, *row[1:]] for index, row in enumerate(leaves)])


def leaf_edited(case: Case) -> None:
    """What a leaf says is another thing, and its hash fits."""
    leaves = case.rows("leaf")
    row = case.chance.choice(leaves)
    row[2] = edited(row[2], case.chance)
    row[1] = merkle.leaf_hash(row[2])
    case.put("leaf", leaves)


def detail_edited(case: Case) -> None:
    """A detail is another one, or gone; its leaf may name the new one."""
    leaves = case.rows("leaf")
    row = case.chance.choice([row for row in leaves if row[3]])
    row[3] = case.chance.choice([b"", flip(row[3], case.chance), row[3][:-1], row[3] + b"\0"])
    if case.chance.random() < 0.5:
        body = audit_pb2.AuditLeaf.FromString(row[2])
        body.detail_digest = signing.digest(row[3])
        row[2] = signing.canonical(body)
        row[1] = merkle.leaf_hash(row[2])
    case.put("leaf", leaves)


def checkpoint_changed(case: Case) -> None:
    """A checkpoint says another size or root, or carries another signature."""
    points = case.rows("checkpoint")
    row = case.chance.choice(points)
    lines = row[1].split("\n")
    place = case.chance.choice([0, 1, 2, 4])
    lines[place] = flip(lines[place].encode(), case.chance).decode("latin-1")
    row[1] = "\n".join(lines)
    case.put("checkpoint", points)


def checkpoints_swapped(case: Case) -> None:
    """Two checkpoints have changed places, or one stands twice."""
    points = case.rows("checkpoint")
    one, other = case.chance.sample(range(len(points)), 2)
    points[one][1] = points[other][1]
    case.put("checkpoint", points)


def checkpoint_of_another(case: Case) -> None:
    """A checkpoint signed by somebody else, of a size and root that are right."""
    points = case.rows("checkpoint")
    row = case.chance.choice(points)
    held = receipts.open_checkpoint(row[1], subject.ORIGIN, subject.PUBLIC)
    row[1] = receipts.sign_checkpoint(held, subject.FOREIGN)
    case.put("checkpoint", points)


def last_checkpoint_deleted(case: Case) -> None:
    """The newest checkpoint is gone, its leaves are not."""
    points = case.rows("checkpoint")
    case.put("checkpoint", points[:-1])


def batch_edited(case: Case) -> None:
    """A batch of decision records is another one, and its digest fits."""
    batches = case.rows("decision_batch")
    row = case.chance.choice(batches)
    row[5] = flip(row[5], case.chance)
    row[1] = signing.digest(row[5])
    case.put("decision_batch", batches)


def batch_deleted(case: Case) -> None:
    """A batch is gone; the others may close the gap."""
    batches = case.rows("decision_batch")
    del batches[case.chance.randrange(len(batches))]
    if case.chance.random() < 0.5:
        batches = [[number, *row[1:]] for number, row in enumerate(batches, 3)]
    case.put("decision_batch", batches)


def batches_swapped(case: Case) -> None:
    """Two batches have changed places, or one stands twice, or there is one more."""
    batches = case.rows("decision_batch")
    one, other = case.chance.sample(range(len(batches)), 2)
    if case.chance.random() < 0.5:
        batches[one][1:], batches[other][1:] = batches[other][1:], batches[one][1:]
    else:
        batches.append([batches[-1][0] + 1, *batches[one][1:]])
    case.put("decision_batch", batches)


def batch_key_deleted(case: Case) -> None:
    """The key that batches are sealed under is gone, or another one."""
    keys = case.rows("decision_key")
    row = case.chance.choice(keys)
    if case.chance.random() < 0.5:
        keys.remove(row)
    else:
        row[1] = flip(row[1], case.chance)
    case.put("decision_key", keys)


# ── Somebody who leaves a file that is consistent in itself ──────────────────────────────────


def checkpoint_deleted(case: Case) -> None:
    """A checkpoint that a later one covers is gone: the log denies a head that it signed."""
    points = case.rows("checkpoint")
    places = [place for place, row in enumerate(points[:-1]) if row[0] in case.held]
    del points[case.chance.choice(places)]
    case.put("checkpoint", points)


def rolled_back(case: Case) -> None:
    """The newest leaves are gone together with their checkpoints and batches."""
    points = case.rows("checkpoint")
    size = case.chance.choice(points[:-1])[0]
    case.put("checkpoint", [row for row in points if row[0] <= size])
    leaves = [row for row in case.rows("leaf") if row[0] < size]
    case.put("leaf", leaves)
    case.put("decision_batch", [row for row in case.rows("decision_batch") if row[3] < size])


def older_file(case: Case) -> None:
    """The file of some time ago, as a backup has it."""
    case.database.close()
    shutil.copy(case.older, case.path)


def rewritten(case: Case) -> None:
    """A leaf edited, deleted or inserted, and every checkpoint from there on signed again."""
    leaves = case.rows("leaf")
    single = [row[0] for row in leaves if _type(row) == audit_pb2.LEAF_TYPE_CASE]
    place = case.chance.choice(single)
    kind = case.chance.randrange(3)
    if kind == 0:
        leaves[place][2] = edited(leaves[place][2], case.chance)
        leaves[place][1] = merkle.leaf_hash(leaves[place][2])
    elif kind == 1:
        del leaves[place]
    else:
        body = subject.leaf(audit_pb2.LEAF_TYPE_CASE, case.chance.randbytes(16))
        leaves.insert(place, [0, merkle.leaf_hash(body), body, b""])
    leaves = [[index, *row[1:]] for index, row in enumerate(leaves)]
    case.put("leaf", leaves)
    places = {_named(row): row[0] for row in leaves if _type(row) == audit_pb2.LEAF_TYPE_DECISION}
    batches = [[*row[:3], places[row[1]], *row[4:]] for row in case.rows("decision_batch")]
    case.put("decision_batch", batches)
    case.put("checkpoint", _signed(leaves, [row[0] for row in case.rows("checkpoint")]))


FILE: tuple[Kind, ...] = (
    *(bit_in_a_row, bit_in_the_file, octets_in_the_file, file_cut),
    *(leaf_deleted, leaves_reordered, leaf_duplicated, leaf_inserted, leaf_edited, detail_edited),
    *(checkpoint_changed, checkpoints_swapped, checkpoint_of_another, last_checkpoint_deleted),
    *(batch_edited, batch_deleted, batches_swapped, batch_key_deleted),
)
HEADS: tuple[Kind, ...] = (checkpoint_deleted, rolled_back, older_file)
INSIDER: tuple[Kind, ...] = (rewritten,)
KINDS = (*FILE, *HEADS, *INSIDER)


def _number(case: Case, leaves: Rows) -> None:
    if case.chance.random() < 0.5:
        leaves = [[index, *row[1:]] for index, row in enumerate(leaves)]
    case.put("leaf", leaves)


def edited(body: bytes, chance: random.Random) -> bytes:
    """A leaf that says something else, canonical as before."""
    leaf = audit_pb2.AuditLeaf.FromString(body)
    field_name = chance.choice(["time_ms", "partner_id", "purpose", "user", "query_id"])
    if field_name == "time_ms":
        leaf.time_ms += chance.choice([-1, 1]) * chance.randrange(1, 10**9)
    elif field_name == "query_id":
        leaf.query_id = chance.randbytes(16)
    else:
        setattr(leaf, field_name, getattr(leaf, field_name) + "x")
    return signing.canonical(leaf)


def _named(row: Sequence[Any]) -> bytes:
    """The digest that a leaf's row names."""
    return audit_pb2.AuditLeaf.FromString(row[2]).detail_digest


def _type(row: Sequence[Any]) -> int:
    return audit_pb2.AuditLeaf.FromString(row[2]).type


def _signed(leaves: Rows, sizes: list[int]) -> Rows:
    """Checkpoints of the sizes there were, and of the whole, signed with the log's own key."""
    tree, wanted, signed = merkle.Tree(), {*sizes, len(leaves)}, Rows()
    for size in range(len(leaves) + 1):
        if size:
            tree.append(leaves[size - 1][1])
        if size in wanted:
            point = receipts.Checkpoint(origin=subject.ORIGIN, size=size, root=tree.root())
            signed.append([size, receipts.sign_checkpoint(point, subject.KEY)])
    return signed
