"""Decision records on their way to an officer: an export's file, or a node's answer.

Both are a row of ``ReadDecisionsResponse``: how many batches there are, each content key before the
first batch under it, the batches, and the receipt of the last one's leaf. Each batch names the one
before by its digest, so the receipt proves all of them, that none is missing between the first and
the last, and their order. A file begins with :data:`MAGIC`; each message stands behind its length
(4 octets, big-endian).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError

from fairlead import signing
from fairlead.auditlog import AuditLog, Reading
from fairlead.auditlog.kept import RECORDED
from fairlead.decisions.batch import Batch, check_key, open_batch, open_key, read_batch
from fairlead.decisions.shelf import batches, sealed_key
from fairlead.errors import Forged, InvalidInput
from fairlead.policy.recorded import Recorded
from fairlead.sealing import SealingKey
from fairlead.v1 import audit_pb2
from fairlead.v1 import decisions_pb2 as pb

MAGIC = b"fairlead-decisions-1\n"
MAX_MESSAGE = 4 * 1024 * 1024
Prove = Callable[[int], audit_pb2.Receipt]
"""Index of a leaf → its receipt."""
Check = Callable[[str, audit_pb2.Receipt], None]
"""Verifies a receipt of the log of this name; raises."""


def responses(
    connection: Reading | AuditLog, numbers: range, prove: Prove
) -> Iterator[pb.ReadDecisionsResponse]:
    """The batches of these numbers as they travel."""
    yield pb.ReadDecisionsResponse(batches=len(numbers))
    key_id, leaf = b"", -1
    for row in batches(connection, numbers):
        if row.key_id and row.key_id != key_id:
            key_id = row.key_id
            yield pb.ReadDecisionsResponse(key=sealed_key(connection, key_id))
        yield pb.ReadDecisionsResponse(batch=row.octets)
        leaf = row.leaf
    if leaf >= 0:
        yield pb.ReadDecisionsResponse(receipt=prove(leaf))


def write_file(items: Iterator[pb.ReadDecisionsResponse], file: BinaryIO) -> int:
    """Write an export; returns how many batches are in it."""
    file.write(MAGIC)
    count = 0
    for item in items:
        octets = item.SerializeToString()
        file.write(len(octets).to_bytes(4, "big") + octets)
        count += item.WhichOneof("item") == "batch"
    return count


def read_file(file: BinaryIO) -> Iterator[pb.ReadDecisionsResponse]:
    """Read an export, a message at a time.

    :raises InvalidInput: DECISION_FILE: none, or cut.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise _unreadable()
    while head := file.read(4):
        size = int.from_bytes(head, "big")
        octets = file.read(size) if len(head) == 4 and size <= MAX_MESSAGE else b""
        if len(octets) != size or not octets:
            raise _unreadable()
        try:
            yield pb.ReadDecisionsResponse.FromString(octets)
        except DecodeError:
            raise _unreadable() from None


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """:raises InvalidInput: DECISION_FILE: it cannot be read."""
    try:
        file = path.open("rb")
    except OSError:
        raise _unreadable() from None
    with file:
        yield file


@dataclass(slots=True, kw_only=True)
class Stream:
    """Takes the messages in their order and gives the records; :meth:`finish` it.

    :param private: the officer's replay key; None reads what is not sealed.
    :param check: verifies the receipt. What comes before it is believed only when it has.
    """

    private: SealingKey | None
    check: Check
    batches: int = 0
    """How many there are, as soon as it is known."""
    seen: int = 0
    log: str = ""
    _last: Batch | None = None
    _keys: dict[bytes, bytes] = field(default_factory=dict)
    _opened: dict[bytes, AESGCM] = field(default_factory=dict)
    _proven: bool = False

    def take(self, item: pb.ReadDecisionsResponse) -> tuple[Recorded, ...]:
        """The records of one message; none where it is not a batch.

        :raises Forged: DECISIONS_BROKEN: not the batch behind the last one, or behind the end;
            UNSEALABLE: another replay key; or as :func:`open_batch`.
        :raises InvalidInput: malformed.
        """
        kind = item.WhichOneof("item")
        if self._proven:
            raise _broken()
        if kind == "batches":
            self.batches = item.batches
        elif kind == "key":
            self._keys = {signing.digest(item.key): item.key}
        elif kind == "batch":
            return self._batch(read_batch(item.batch))
        elif kind == "receipt":
            self._prove(item.receipt)
        return ()

    def finish(self) -> None:
        """:raises Forged: DECISIONS_BROKEN: there is no receipt, or there are too few batches."""
        if self.seen != self.batches or (self.seen and not self._proven):
            raise _broken()

    def _batch(self, batch: Batch) -> tuple[Recorded, ...]:
        before = self._last
        if before is not None and (batch.number, batch.previous, batch.log) != (
            before.number + 1, before.digest, before.log,
        ):  # fmt: skip
            raise _broken()
        self._last, self.log = batch, batch.log
        self.seen += 1
        if self.private is None or not batch.key_id:
            return batch.records
        return open_batch(batch, self._key(batch, self.private))

    def _key(self, batch: Batch, private: SealingKey) -> AESGCM:
        found = self._opened.get(batch.key_id)
        if found is None:
            sealed = self._keys.get(batch.key_id, b"")
            check_key(sealed, batch.key_id)
            found = open_key(sealed, batch.log, private)
            self._opened = {batch.key_id: found}
        return found

    def _prove(self, receipt: audit_pb2.Receipt) -> None:
        last = self._last
        if last is None:
            raise _broken()
        self.check(last.log, receipt)
        leaf = signing.parse_canonical(audit_pb2.AuditLeaf, receipt.leaf)
        named = (leaf.type, leaf.subject, leaf.log, leaf.decision_batch, leaf.detail_digest)
        if named != (audit_pb2.LEAF_TYPE_DECISION, RECORDED, last.log, last.number, last.digest):
            raise _broken()
        self._proven = True


def _broken() -> Forged:
    return Forged(
        "decision records are missing, or not in their order",
        reasons=("DECISIONS_BROKEN",),
        remedy="keep what you were given; over the log itself: fairlead audit verify FILE",
    )


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "the file holds no decision records, or it was cut",
        reasons=("DECISION_FILE",),
        remedy="export them again: fairlead-gateway decisions export FILE --config gateway.toml",
    )
