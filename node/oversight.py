"""What a node tells its partner's oversight: numbered files, sealed as they are written.

The node can neither read them again nor take one away unnoticed: the next one's number tells.
``fairlead-oversight`` takes them from there: another process, with a key that the node has not.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.auditlog import AuditLog
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError
from fairlead.keyfile import private_folder
from fairlead.leaves import LeafWriter
from fairlead.notice import (
    MAX_DECOYS_NAMED,
    MAX_FOLLOW_UPS,
    MAX_HITS,
    SERIES_SIZE,
    Asked,
    Content,
    Delivered,
    FollowUp,
    FollowUps,
    Hit,
    Hits,
    Notice,
    seal_notice,
)
from fairlead.partners import Partner
from fairlead.telemetry import Event, get_logger

FOLDER = "oversight"
OUTBOX = "outbox"
COUNTER = "counter"
SUFFIX = ".notice"
MAX_WAITING = 20_000
"""Files that wait for the oversight; what would be one more is lost, and its number shows it."""
MAX_FOUND = 4_096
"""Follow-ups kept in memory between two ticks."""
TICK_S = 5.0
EVERY_S = 3_600.0
"""A notice is written at least this often, so that silence is noticed."""
NOTICE_LOST = "NOTICE_LOST"


def asked_of(query: Query, now: float) -> Asked:
    """Who asked a query, as oversight is told."""
    return Asked(
        query_id=query.query_id,
        partner=query.asker.partner_id,
        user=query.user.name,
        purpose=query.purpose,
        case_commitment=query.case_commitment,
        at=int(now),
    )


class Outbox:
    """The notices of one node.

    :param folder: ``oversight`` in the state folder, made when it is missing.
    :param partner: the own partner as the directory has it now.
    :param key: the private half of a signing key, by its public one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        partner: Callable[[], Partner],
        key: Callable[[bytes], Ed25519PrivateKey],
        log: AuditLog,
        leaves: LeafWriter,
        clock: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._partner = partner
        self._key = key
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._spool = Spool(folder, random)
        self._writing = asyncio.Lock()
        self._found: list[FollowUp] = []
        self._looked = False
        self._written_at = 0.0
        self._losing = False

    # ── The asker's side ─────────────────────────────────────────────────────────────────────

    async def hits(self, asked: Asked, refs: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Tell of every hit of an answered blind query, durable before its user sees one.

        Call it for each query, also without a hit: then an empty notice is written, so that the
        folder shows nobody which queries found something. What cannot be written is an alarm, and
        a gap in the numbers; it raises nothing.

        :param refs: owner, the SHA-256 of the manifest, the entry's reference.
        """
        found = [Hit(owner=owner, manifest=manifest, ref=ref) for owner, manifest, ref in refs]
        for at in range(0, max(1, len(found)), MAX_HITS):
            await self._write(Hits(asked=asked, hits=tuple(found[at : at + MAX_HITS])))

    async def decoys(self, owner: str, manifest: bytes, sealed: bytes) -> None:
        """Hand on what an owner sent for the oversight with a manifest (its SHA-256), unopened."""
        await self._write(Delivered(owner=owner, manifest=manifest, sealed=sealed))

    # ── The owner's side ─────────────────────────────────────────────────────────────────────

    def looked(self, query: Query, decoys: Sequence[bytes]) -> None:
        """Another's sealed query was answered and named these decoys, most often none.

        Nothing is written now. Whether there is something to tell or not, one notice is written
        at the next tick, so that neither this answer nor the load shows which.
        """
        self._looked = True
        if decoys and len(self._found) < MAX_FOUND:
            asked = asked_of(query, self._clock())
            named = tuple(decoys[:MAX_DECOYS_NAMED])
            self._found.append(FollowUp(asked=asked, decoys=named))

    async def run(self) -> None:
        """Until cancelled: write what was found, at each tick in which anybody asked."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                await self.tick()
        finally:
            if self._looked:
                await self.tick()

    async def tick(self) -> None:
        """Write the follow-ups found since the last one, if anybody asked or an hour is over."""
        if not (self._looked or self._clock() - self._written_at >= EVERY_S):
            return
        found, self._found, self._looked = self._found, [], False
        for at in range(0, max(1, len(found)), MAX_FOLLOW_UPS):
            await self._write(FollowUps(found=tuple(found[at : at + MAX_FOLLOW_UPS])))

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    async def _write(self, content: Content) -> None:
        now = self._clock()
        self._written_at = now
        try:
            partner = self._partner()
            key = self._key(partner.signing_key)
            async with self._writing:
                await asyncio.shield(
                    asyncio.to_thread(
                        self._spool.put,
                        lambda series, number: seal_notice(
                            Notice(series=series, number=number, at=int(now), content=content),
                            partner,
                            key,
                        ),
                    )
                )
        except (OSError, FairleadError) as error:
            await self._lost(error)
        else:
            self._losing = False

    async def _lost(self, error: Exception) -> None:
        """An ALARM leaf when notices begin to get lost; one that goes on is not another one."""
        get_logger().error(Event.OVERSIGHT_NOT_TOLD, error=error)
        if not self._losing:
            self._losing = True
            with suppress(FairleadError):
                await self._log.append(self._leaves.alarm([NOTICE_LOST], subject=FOLDER))


class Spool:
    """The files: ``outbox/NUMBER.notice``, and beside it the counter they follow."""

    def __init__(self, folder: Path, random: Callable[[int], bytes]) -> None:
        self._outbox = folder / OUTBOX
        self._counter = folder / COUNTER
        self._random = random
        self._known: tuple[bytes, int] | None = None
        self._one = threading.Lock()

    def put(self, make: Callable[[bytes, int], bytes]) -> None:
        """Write one notice; durable when this returns.

        1. A crash is made good: what was counted is put into its place, anything else unfinished
        goes. 2. The notice is durable under an unfinished name. 3. The counter is durable. 4. The
        notice gets its name. So no number is ever given twice, and a crash skips none; where there
        is no room, the number is counted and the notice lost.

        :raises OSError: the notice is lost: no room, or the folder cannot be written.
        """
        with self._one:
            # 1
            if self._known is None:
                self._prepare()
                self._known = self._read_counter()
                self._repair(self._known[1])
            series, number = self._known[0], self._known[1] + 1
            self._known = series, number  # whatever fails from here on, it is used up
            # 2
            full = sum(1 for _ in self._waiting()) >= MAX_WAITING
            unfinished = self._outbox / f".{number}"
            try:
                if not full:
                    _durable(unfinished, make(series, number), mode=0o640)
            finally:  # a number that is used up stays so, or a restart would close its gap
                # 3
                _durable(self._counter, f"{series.hex()} {number}\n".encode(), mode=0o600)
            if full:
                raise OSError("the folder of notices is full")
            # 4
            unfinished.rename(self._outbox / f"{number:012d}{SUFFIX}")
            _sync(self._outbox)

    def _prepare(self) -> None:
        """The folders; the oversight's own account, in the node's group, may take files away."""
        if not self._outbox.is_dir():
            private_folder(self._outbox)
            self._outbox.parent.chmod(0o750)
            self._outbox.chmod(0o770)

    def _waiting(self) -> Iterator[Path]:
        return self._outbox.glob(f"*{SUFFIX}")

    def _read_counter(self) -> tuple[bytes, int]:
        """Series and the last number. A counter that is missing or damaged begins a series, behind
        whatever still waits of another."""
        try:
            series, number = self._counter.read_text("ascii").split()
            found = bytes.fromhex(series), int(number)
            if len(found[0]) == SERIES_SIZE and found[1] > 0:
                return found
        except (OSError, ValueError):
            pass
        waiting = (path.stem for path in self._waiting())
        last = max((int(name) for name in waiting if name.isdecimal()), default=0)
        return self._random(SERIES_SIZE), last

    def _repair(self, last: int) -> None:
        for path in self._outbox.glob(".*"):
            if path.name == f".{last}":
                path.rename(self._outbox / f"{last:012d}{SUFFIX}")
            else:
                path.unlink()


def _durable(path: Path, data: bytes, *, mode: int) -> None:
    """Put ``data`` in place of ``path`` in one step, on the disk when this returns."""
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask of a locked down service
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
