"""The node as a witness of the gateway's log (c2sp.org/tlog-witness).

The head that it cosigns is the one that its receipts start from (:mod:`node.heads`): whoever shows
this partner one history as a witness and another with a query contradicts itself here.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from fairlead import cosigning, merkle, quorum, receipts
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused
from fairlead.keyfile import write_private
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories, Directory, Gateway
from fairlead.receipts import Checkpoint, CheckpointFork, Head
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import witness_pb2 as pb
from node.heads import HeadKeeper

SUBJECT = "witness"
MARK_FILE = "witness.mark"
QUORUM_NOTE = "SELECT note FROM witness_quorum WHERE origin = ?"
LAST_QUORUM = "SELECT origin, size, note FROM witness_quorum ORDER BY rowid DESC LIMIT 1"
"""Of the newest log of which a quorum's note is held: rows are made once and updated."""
SIZES = """
    SELECT (SELECT size FROM foreign_head WHERE origin = ?),
    (SELECT size FROM witness_cosigned WHERE origin = ?)
"""
MAX_FORMER = 16 * 1024
"""Octets of the note a new origin names, for a leaf that holds it beside another."""
MAX_ALARMS = 64
"""Contradicting heads remembered, so that each is one ALARM."""

MIGRATIONS = (
    """
    CREATE TABLE witness_state (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        mark BLOB NOT NULL,
        lost_key BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE witness_cosigned (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE witness_quorum (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        note TEXT NOT NULL
    )
    """,
)
"""The mark and the key of what was lost; of each log the largest size cosigned, and the newest note
that a quorum cosigned."""


class Witness:
    """Cosigns what extends the accepted head, and nothing else.

    :param state: the node's state folder, where the mark lies that no backup holds: a file whose
        database has a mark and which has not the same one was restored, and has forgotten.
    """

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        heads: HeadKeeper,
        directory: Directories,
        state: Path,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._heads = heads
        self._directory = directory
        self._state = state
        self._clock = clock
        self._alarmed: OrderedDict[tuple[str, int, bytes], None] = OrderedDict()
        self._lost_key = b""
        self._cosigned = dict(log.read("SELECT origin, size FROM witness_cosigned"))
        self._pending: set[asyncio.Future[object]] = set()

    async def open(self) -> None:
        """Find out whether anything was lost since the node ran last, here or of the gateway's log;
        call it once, at the start.

        The mark lies in the database and beside it, and no backup holds the one beside it.
        """
        gateway = self._directory.current.gateway
        dropped = self._dropped(gateway)
        if dropped is not None:
            self._heads.follow(replace(gateway, log_origin=dropped.origin))
            await self._refuse(gateway, dropped)
        rows = self._log.read("SELECT mark, lost_key FROM witness_state")
        path = self._state / MARK_FILE
        held = path.read_bytes() if path.exists() else b""
        if not rows and not held:
            await self._log.keep(_putting(self._new_mark(), b""))
            return
        mark, self._lost_key = rows[0] if rows else (b"", b"")
        if held != mark:
            await self._forgot(self._directory.current)

    def lost(self, directory: Directory) -> bool:
        """Whether it has forgotten what it accepted after the head it holds, and cosigned under the
        key that the directory names."""
        return directory.partner(self._partner_id).witness_key == self._lost_key

    def follow(self, gateway: Gateway) -> None:
        """Follow the gateway of a new directory.

        1. A new origin that drops what this node knows a quorum to have cosigned is an ALARM, and
           is not followed: no question and no answer under it is accepted here.
        2. Any other one is on the record, with the head accepted last of the old one, which stays
           in the file.
        """
        # 1
        dropped = self._dropped(gateway)
        if dropped is not None:
            self._later(self._refuse(gateway, dropped))
            return
        # 2
        before, old = self._heads.origin, self._heads.head
        self._heads.follow(gateway)
        if gateway.log_origin == before:
            return
        notes = [old.checkpoint] if old else []
        leaf = self._leaves.witness("new-origin", [*notes, *_former(gateway)])
        get_logger().warning(Event.LOG_ORIGIN_CHANGED, size=old.size if old else 0)
        self._later(self._log.append(leaf))

    def _later(self, work: Coroutine[object, object, object]) -> None:
        task: asyncio.Future[object] = asyncio.ensure_future(work)
        self._pending.add(task)
        task.add_done_callback(_settled(self._pending))

    async def add(
        self, request: pb.AddCheckpointRequest, peer: Identity
    ) -> pb.AddCheckpointResponse:
        """Answer one ``WitnessService.AddCheckpoint``.

        1. This partner is a witness, and the note is of the caller's own log, under its key.
        2. A witness that has lost what it accepted cosigns nothing under a key that it may have
           cosigned more with; its own line above its head shows that it has.
        3. The proof starts from the head accepted last, or is told where that is. Whoever shows
           less than was cosigned before is told the same.
        4. The checkpoint extends that head. Where receipts have moved the head beyond it meanwhile,
           it is proved to be a beginning of it; of the same size, it has the same root. Else it is
           a fork: an ALARM leaf with both notes, and the one held for an answer.
        5. The head is accepted for receipts as well, and durable, compare and set; so is the size.
        6. Only then it is cosigned.

        Nothing is awaited between reading the head and advancing it.

        :raises Refused: NOT_A_WITNESS. :raises Forged: of another log or key.
        :raises InvalidInput: malformed.
        """
        # 1
        directory = self._directory.current
        gateway = directory.gateways.get(peer.spiffe_id)
        if gateway is None or self._partner_id not in directory.appointed.witnesses:
            raise Refused("this node is no witness of this log", reasons=("NOT_A_WITNESS",))
        offered = self._read(request, gateway)
        # 2
        if not self.lost(directory) and self._overtaken(request.checkpoint, offered, directory):
            await self._forgot(directory)
        if self.lost(directory):
            return pb.AddCheckpointResponse(lost=self._held())
        # 3
        head = self._heads.head
        known = 0 if head is None else head.size
        elsewhere = request.old_size != known != offered.size
        unproved = offered.size < known and not request.consistency
        if offered.size < self._cosigned.get(offered.origin, 0) or elsewhere or unproved:
            return pb.AddCheckpointResponse(stale=self._held())
        # 4
        note = receipts.own_note(
            request.checkpoint, name=offered.origin, public_key=gateway.log_key
        )
        accepted = Head(
            origin=offered.origin, size=offered.size, root=offered.root, checkpoint=note
        )
        try:
            _connects(head, accepted, request)
            if offered.size < known:
                self._heads.recall(accepted)
            else:
                self._heads.advance(accepted)
        except CheckpointFork as fork:
            return await self._contradicted(fork, offered)
        # 5
        self._cosigned[offered.origin] = offered.size
        persist = self._heads.persist()
        whole = self._whole(request.cosigned, gateway, directory)
        await self._log.keep(_cosigning(accepted, whole, persist))
        # 6
        me = directory.partner(self._partner_id)
        line = cosigning.cosign(
            request.checkpoint,
            cosigning.witness_name(directory.federation, self._partner_id),
            self._keys.witness(me.witness_key),
            self._clock(),
        )
        return pb.AddCheckpointResponse(cosignature=line)

    def _read(self, request: pb.AddCheckpointRequest, gateway: Gateway) -> Checkpoint:
        """The checkpoint that is offered, its signature verified, and limits of the proof."""
        offered = receipts.open_checkpoint(request.checkpoint, gateway.log_origin, gateway.log_key)
        if gateway.log_origin != self._heads.origin:
            raise Forged("the checkpoint is of another log", reasons=("CHECKPOINT_ORIGIN",))
        proof = request.consistency
        long = len(proof) > receipts.MAX_HASHES or any(len(h) != merkle.HASH_SIZE for h in proof)
        from_nothing = not offered.size or (proof and not request.old_size)
        if long or from_nothing or request.old_size > receipts.MAX_SIZE:
            raise InvalidInput("a checkpoint's proof breaks a limit", reasons=("RECEIPT_LIMIT",))
        return offered

    def _whole(self, note: str, gateway: Gateway, directory: Directory) -> Head | None:
        """A note that a quorum cosigned, to be kept for the day on which the log needs it; whatever
        else came in its place is nobody's loss but the gateway's."""
        try:
            found = receipts.open_checkpoint(note, gateway.log_origin, gateway.log_key)
            quorum.require(cosigning.cosigners(note, directory), directory)
        except FairleadError:
            return None
        return Head(origin=found.origin, size=found.size, root=found.root, checkpoint=note)

    def _held(self) -> pb.AddCheckpointResponse.Held:
        head = self._heads.head
        if head is None:
            return pb.AddCheckpointResponse.Held()
        return pb.AddCheckpointResponse.Held(size=head.size, checkpoint=head.checkpoint)

    # ── Two histories ────────────────────────────────────────────────────────────────────────

    def _dropped(self, gateway: Gateway) -> Head | None:
        """What a quorum cosigned of the log before and the gateway's new origin does not continue:
        two operators name this very checkpoint, or a later one that a quorum cosigned too."""
        rows = self._log.read(LAST_QUORUM)
        if not rows or rows[0][0] == gateway.log_origin:
            return None
        held = _stated(rows[0][2])
        try:
            named = _stated(gateway.former_checkpoint)
            if (named.origin, named.size, named.root) == (held.origin, held.size, held.root):
                return None
            directory = self._directory.current
            quorum.require(cosigning.cosigners(named.checkpoint, directory), directory)
        except FairleadError:
            return held
        return None if named.origin == held.origin and named.size > held.size else held

    async def _refuse(self, gateway: Gateway, held: Head) -> None:
        """An ALARM leaf, once for each origin that is offered."""
        place = gateway.log_origin, held.size, held.root
        get_logger().error(Event.LOG_BEHIND, size=held.size)
        if self._new_alarm(place):
            notes = [held.checkpoint, *_former(gateway)]
            leaf = self._leaves.alarm(["LOG_BEHIND"], subject=SUBJECT, checkpoints=notes)
            await self._log.append(leaf)

    def _new_alarm(self, place: tuple[str, int, bytes]) -> bool:
        if place in self._alarmed:
            return False
        self._alarmed[place] = None
        while len(self._alarmed) > MAX_ALARMS:
            self._alarmed.popitem(last=False)
        return True

    async def _contradicted(
        self, fork: CheckpointFork, offered: Checkpoint
    ) -> pb.AddCheckpointResponse:
        if self._new_alarm((offered.origin, offered.size, offered.root)):
            get_logger().error(Event.CHECKPOINT_FORK, size=offered.size)
            leaf = self._leaves.alarm(fork.reasons, subject=SUBJECT, checkpoints=fork.checkpoints)
            await self._log.append(leaf)
        return pb.AddCheckpointResponse(fork=self._held())

    # ── Memory ───────────────────────────────────────────────────────────────────────────────

    def _overtaken(self, checkpoint: str, offered: Checkpoint, directory: Directory) -> bool:
        """Whether this witness itself has cosigned more than it remembers."""
        head = self._heads.head
        ahead = offered.size > (0 if head is None else head.size)
        return ahead and self._partner_id in cosigning.cosigners(checkpoint, directory)

    async def _forgot(self, directory: Directory) -> None:
        """Say so, durably; the mark of this copy of the state is another one from now on."""
        self._lost_key = directory.partner(self._partner_id).witness_key
        head = self._heads.head
        leaf = self._leaves.witness("witness-lost", [head.checkpoint] if head else [])
        get_logger().error(Event.WITNESS_LOST, size=self._heads.size)
        await self._log.append(leaf, also=_putting(self._new_mark(), self._lost_key))

    def _new_mark(self) -> bytes:
        mark = os.urandom(32)
        write_private(self._state / MARK_FILE, mark)
        return mark


def _connects(head: Head | None, offered: Head, request: pb.AddCheckpointRequest) -> None:
    """:raises CheckpointFork: neither of the two extends the other."""
    if head is None:
        return
    older, newer = (head, offered) if head.size < offered.size else (offered, head)
    try:
        merkle.verify_consistency(
            old_size=older.size,
            old_root=older.root,
            new_size=newer.size,
            new_root=newer.root,
            proof=request.consistency if older.size < newer.size else (),
        )
    except Forged:
        raise CheckpointFork(accepted=head.checkpoint, offered=offered.checkpoint) from None


def _stated(note: str) -> Head:
    """What a note says, whose signatures others have verified: a quorum, or two operators theirs.

    :raises InvalidInput: no checkpoint.
    """
    found = receipts.read_checkpoint(note)
    return Head(origin=found.origin, size=found.size, root=found.root, checkpoint=note)


def _former(gateway: Gateway) -> list[str]:
    """What two operators named as the end of the log before, if a leaf has room for it."""
    note = gateway.former_checkpoint
    return [note] if 0 < len(note.encode()) <= MAX_FORMER else []


def _cosigning(
    head: Head, whole: Head | None, persist: Callable[[sqlite3.Connection], None]
) -> Callable[[sqlite3.Connection], None]:
    def put(connection: sqlite3.Connection) -> None:
        persist(connection)
        if whole is not None:
            connection.execute(
                "INSERT INTO witness_quorum VALUES (?, ?, ?) ON CONFLICT (origin) DO UPDATE "
                "SET size = excluded.size, note = excluded.note "
                "WHERE excluded.size > witness_quorum.size",
                (whole.origin, whole.size, whole.checkpoint),
            )
        connection.execute(
            "INSERT INTO witness_cosigned VALUES (?, ?) ON CONFLICT (origin) DO UPDATE "
            "SET size = excluded.size WHERE excluded.size > witness_cosigned.size",
            (head.origin, head.size),
        )

    return put


def _putting(mark: bytes, lost_key: bytes) -> Callable[[sqlite3.Connection], None]:
    def put(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM witness_state")
        connection.execute("INSERT INTO witness_state VALUES (0, ?, ?)", (mark, lost_key))

    return put


def _settled(
    pending: set[asyncio.Future[object]],
) -> Callable[[asyncio.Future[object]], None]:
    def settled(task: asyncio.Future[object]) -> None:
        pending.discard(task)
        if not task.cancelled():
            task.exception()  # a log that fails stops the process by itself

    return settled
