"""Leaves whose body and detail are gone: an ERASURE leaf excuses them, and nothing else does.

An erased leaf keeps its row and its hash, so the tree stays what it was and every receipt made
before verifies; body and detail are empty, which those of no leaf are. An ERASURE leaf with the
subject ``leaves-erased`` names class, age and number of the leaves erased with it in one
transaction, and the digest over index, hash and type of each; which ones they are stands in the
detail beside it, with the order that two people signed.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from fairlead import errors, signing
from fairlead.auditlog.store import Connection
from fairlead.merkle import HASH_SIZE
from fairlead.v1 import audit_pb2
from fairlead.v1 import erasure_pb2 as pb

ERASED, HOLD_BEGUN, HOLD_ENDED = "leaves-erased", "hold-begun", "hold-ended"
"""Subjects of ERASURE leaves."""
PART = 20_000
"""Leaves that one transaction erases at most: nobody appends meanwhile."""
MAX_DETAIL = 4 * 1024 * 1024
GAP = 64
"""Rows that are read over, rather than asked again, between two listed leaves."""
FLOOR_MS = 35 * 86_400_000
"""No order was ever right about leaves younger than this when it was made."""
SKEW_S, LIFETIME_S = 120, 7 * 86_400
"""An order is in force for so long, from a clock's error before it was made."""
LATE_S = 3_600
"""An order that is begun in time is ended within this."""
ERASABLE = frozenset(
    {
        audit_pb2.LEAF_TYPE_INTENT,
        audit_pb2.LEAF_TYPE_RELEASE,
        audit_pb2.LEAF_TYPE_OUTCOME,
        audit_pb2.LEAF_TYPE_REFUSAL,
        audit_pb2.LEAF_TYPE_CASE,
        audit_pb2.LEAF_TYPE_HISTORY,
        audit_pb2.LEAF_TYPE_FEEDBACK,
        audit_pb2.LEAF_TYPE_APPROVAL,
        audit_pb2.LEAF_TYPE_RECONCILED,
        audit_pb2.LEAF_TYPE_ALARM,
        audit_pb2.LEAF_TYPE_FIGURES,
    }
)
"""Types that an order may list; whoever erases one of another hides something."""
MIGRATION = """
    CREATE TABLE erasure (
        digest BLOB PRIMARY KEY,
        leaf_class TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        leaves INTEGER NOT NULL,
        time_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE legal_hold (
        id BLOB PRIMARY KEY,
        reference TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """
"""What was erased, by the digest in its ERASURE leaf: for looking, nothing is believed for it. And
of each hold in force, by the hash of the leaf that began it, the reference, which is here alone:
the leaf commits to it."""

Listed = tuple[int, bytes, int]
"""Index, hash and type of a leaf."""


def list_digest(leaves: Iterable[Listed]) -> bytes:
    """What an ERASURE leaf, and whoever approves it, says of the leaves erased."""
    found = ListDigest()
    for leaf in leaves:
        found.add(leaf)
    return found.digest()


class ListDigest:
    """A list's digest, of leaves given one by one in the order of their indexes."""

    def __init__(self) -> None:
        self.count = 0
        self._found = hashlib.sha256(b"fairlead/v1/erased-leaves\x00")

    def add(self, leaf: Listed) -> None:
        """Take the next leaf in."""
        index, leaf_hash, kind = leaf
        self._found.update(index.to_bytes(8, "big") + leaf_hash + bytes([kind]))
        self.count += 1

    def digest(self) -> bytes:
        """Over all that were given."""
        return self._found.digest()


def part_of(leaves: Sequence[Listed]) -> pb.ErasurePart:
    """Some leaves, in the order of their indexes, as they are listed in a file."""
    runs: list[int] = []
    end = 0
    for index, _, _ in leaves:
        if index == end and runs:
            runs[-1] += 1
        else:
            runs += [index - end, 1]
        end = index + 1
    return pb.ErasurePart(runs=runs, types=bytes(kind for _, _, kind in leaves))


def indexes_of(part: pb.ErasurePart, size: int) -> list[int]:
    """The indexes of a part, all below ``size``.

    :raises InvalidInput: ERASURE_FILE: they are none, too many, or not in their one spelling.
    """
    found: list[int] = []
    end = 0
    runs = list(part.runs)
    for place in range(0, len(runs) - 1, 2):
        skip, take = runs[place : place + 2]
        if not take or (place and not skip) or end + skip + take > size:
            raise malformed()
        if len(found) + take > PART:
            raise malformed()
        found += range(end + skip, end + skip + take)
        end += skip + take
    if not found or len(runs) % 2 or len(found) != len(part.types):
        raise malformed()
    return found


def spans(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What to read for these leaves, first and last of each span: little that is not asked for,
    however far apart they are."""
    if not indexes:
        return
    low = last = indexes[0]
    for index in indexes:
        if index - last > GAP:
            yield low, last
            low = index
        last = index
    yield low, last


def erase_rows(
    connection: Connection, leaves: Sequence[Listed], record: tuple[bytes, str, int, int]
) -> None:
    """Take body and detail of these leaves away; call it inside ``also`` of their ERASURE leaf.

    :param record: digest, class, age and time, for the table of what was erased.
    :raises Conflict: ERASED_ALREADY. :raises Forged: ERASURE_OTHER: a leaf is not the one listed.
    """
    digest, leaf_class, until_ms, time_ms = record
    wanted = {index: leaf_hash for index, leaf_hash, _ in leaves}
    same = whole = 0
    for span in spans([index for index, _, _ in leaves]):
        there = connection.execute(
            "SELECT idx, hash, length(body) FROM leaf WHERE idx >= ? AND idx <= ?", span
        )
        for index, leaf_hash, octets in there:
            if index in wanted and wanted[index] == leaf_hash:
                same += 1
                whole += octets > 0
    if same != len(wanted):
        raise other()
    if not whole:
        raise errors.Conflict("these leaves were erased before", reasons=("ERASED_ALREADY",))
    if whole != len(wanted):
        raise other()
    connection.executemany(
        "UPDATE leaf SET body = ?, detail = ? WHERE idx = ?",
        [(b"", b"", index) for index in wanted],
    )
    connection.execute(
        "INSERT INTO erasure (digest, leaf_class, until_ms, leaves, time_ms) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET time_ms = excluded.time_ms",
        (digest, leaf_class, until_ms, len(leaves), time_ms),
    )


class Erased:
    """The leaves of one log without a body, gathered in their order, and what excuses them.

    ``orders``: each order that two people are said to have signed, with the index of its first
    leaf, and who they are.
    """

    def __init__(self, origin: str) -> None:
        self.count = 0
        self.orders: dict[bytes, tuple[int, tuple[str, ...]]] = {}
        self._origin = origin
        self._gone: dict[int, bytes] = {}
        self._intents: list[int] = []
        self._orphans: dict[bytes, int] = {}
        self._last = 0

    def gone(self, index: int, leaf_hash: object) -> str:
        """Take the leaf at ``index`` in, which has neither body nor detail; returns what is wrong
        with that, or nothing."""
        if not isinstance(leaf_hash, bytes) or len(leaf_hash) != HASH_SIZE:
            return "its hash is none"
        if not index:
            return "the first leaf of a log is never erased"
        self._gone[index] = leaf_hash
        return ""

    def orphan(self, query_ids: Iterable[bytes], index: int) -> str:
        """Take a RELEASE or OUTCOME in whose INTENT is not there: it may have been erased."""
        if not self._gone and not self.count:
            return "it is a RELEASE or an OUTCOME without INTENT"
        for query_id in query_ids:
            self._orphans.setdefault(query_id, index)
        return ""

    def leaf(self, leaf: audit_pb2.AuditLeaf, index: int, detail: bytes) -> str:
        """Take the ERASURE leaf at ``index`` in; returns what is wrong with it, or nothing."""
        if leaf.subject != ERASED:
            return ""
        try:
            found, part = parse_detail(detail)
            order = signing.parse_canonical(pb.ErasureOrder, found.order)
            indexes = indexes_of(part, index)
        except errors.InvalidInput:
            return "it does not say which leaves were erased"
        if any(place not in self._gone for place in indexes):
            return "it says that a leaf was erased which was not"
        listed = [
            (place, self._gone.pop(place), kind)
            for place, kind in zip(indexes, part.types, strict=True)
        ]
        fault = self._fault(leaf, found, order, listed)
        if fault:
            return fault
        who = tuple(leaf.approvers)
        if self.orders.setdefault(signing.canonical(found), (index, who))[1] != who:
            return "it names others than approved the order it is part of"
        self.count += len(listed)
        self._last = index
        self._intents += [i for i, _, kind in listed if kind == audit_pb2.LEAF_TYPE_INTENT]
        return ""

    def _fault(
        self,
        leaf: audit_pb2.AuditLeaf,
        found: pb.SignedErasureOrder,
        order: pb.ErasureOrder,
        listed: Sequence[Listed],
    ) -> str:
        """What an ERASURE leaf says that its order, or what is gone, does not."""
        said = (order.origin, order.leaf_class, order.until_ms)
        signatures = [item.signature for item in found.operators]
        signatures += [item.signature for item in found.users]
        whole = (
            list_digest(listed) == leaf.erased_digest
            and leaf.erased_digest in order.part_digests
            and len(listed) == leaf.erased_count
            and said == (self._origin, leaf.erased_class, leaf.erased_until_ms)
            and signatures == list(leaf.signatures)
            and len(set(leaf.approvers)) > 1
        )
        if not whole:
            return "it erased other leaves than it says"
        if not ERASABLE.issuperset(kind for _, _, kind in listed):
            return "it erased leaves that are never erased"
        if not _timely(order, leaf.time_ms):
            return "it erased leaves before their time, or without an order in force"
        return ""

    def compare(self) -> tuple[int, str]:
        """The first leaf that nothing excuses, and what is wrong with it; or nothing is.

        A query whose INTENT is gone needs one that was erased: of each orphan before it and of
        itself, at an earlier index.
        """
        if self._gone:
            return min(self._gone), "its body is gone, and no ERASURE leaf says so"
        self._intents.sort()
        for number, index in enumerate(sorted(self._orphans.values())):
            if index > self._last or bisect_left(self._intents, index) <= number:
                return index, "it is a RELEASE or an OUTCOME without INTENT"
        return 0, ""


def _timely(order: pb.ErasureOrder, time_ms: int) -> bool:
    """Whether an order was about leaves old enough, and in force when it was carried out."""
    begin, end = order.issued_at - SKEW_S, order.issued_at + LIFETIME_S + LATE_S
    old = order.until_ms <= (order.issued_at + 1) * 1000 - FLOOR_MS
    return old and begin <= time_ms // 1000 < end


def parse_detail(detail: bytes) -> tuple[pb.SignedErasureOrder, pb.ErasurePart]:
    """The order beside an ERASURE leaf, and the part that it erased. Nothing is verified.

    :raises InvalidInput: it is none.
    """
    found = signing.parse_canonical(pb.ErasedLeaves, detail, limit=MAX_DETAIL)
    order = signing.parse_canonical(pb.SignedErasureOrder, found.order, limit=MAX_DETAIL)
    return order, found.part


def was_erased() -> errors.NotFound:
    """The error for a leaf of which the hash alone is left."""
    return errors.NotFound(
        "the leaf was erased when its time was over; a receipt made before still verifies",
        reasons=("LEAF_ERASED",),
        remedy="fairlead audit list --type ERASURE   (says when, and who approved it)",
    )


def malformed() -> errors.InvalidInput:
    """The error for a file that lists no leaves."""
    return errors.InvalidInput(
        "this is no order to erase leaves",
        reasons=("ERASURE_FILE",),
        remedy="fairlead-node audit propose --help, or fairlead-gateway audit propose --help",
    )


def other() -> errors.Forged:
    """The error for leaves that are not those of an order."""
    return errors.Forged(
        "the order is about other leaves than this log holds",
        reasons=("ERASURE_OTHER",),
        remedy="fairlead-node audit propose --help, or fairlead-gateway audit propose --help",
    )
