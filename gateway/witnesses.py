"""The gateway has its log cosigned: all witnesses, again and again, and nobody waits for one.

A round shows the newest checkpoint to every witness at once. As soon as enough have cosigned it
the note with their lines is kept; whoever is slower costs the round nothing, and is asked again
when its call has ended. Each line is verified, and whatever a witness claims about this log counts
only with this log's own signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from fairlead import cosigning, metrics, quorum, receipts
from fairlead.auditlog import AuditLog
from fairlead.errors import FairleadError, Forged, LogUnavailable
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories, Directory, Gateway
from fairlead.receipts import Head
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import witness_pb2 as pb
from gateway.disputes import Disputes, forked
from gateway.members import LegFailed, Transport
from gateway.standing import LATE_S, OVERDUE_S, Standing, fact, putting, standing

PACE_S = 1.0
"""Seconds from the beginning of one round to the next, however much is new ..."""
HURRY_S = 0.1
"""... unless a query waits for it."""
DEADLINE_S = 3.0
"""Seconds that one witness has."""
ATTEMPTS = 3
"""Requests to one witness in a round: it says where its head is, and is shown from there."""
HEALTH = "witnesses"
"""What a health check asks for to hear that a quorum is late; the gateway as such still serves."""
UNREADABLE = "LOG_UNREADABLE"


@dataclass(slots=True)
class _Round:
    """One checkpoint on its way to all witnesses."""

    head: Head
    directory: Directory
    lines: dict[str, str] = field(default_factory=dict)
    formed: asyncio.Event = field(default_factory=asyncio.Event)
    echoed: bool = False
    """Whether those that were late, or have not heard of the quorum, were asked once more."""

    def note(self) -> str:
        return cosigning.with_lines(
            self.head.checkpoint, (v for _, v in sorted(self.lines.items()))
        )


class Witnesses:
    """Keeps the newest checkpoint of the own log that a quorum cosigned.

    :param known_heads: partner → the size of the head it is believed to hold, which receipts use.
    :param clock: unix seconds. :param on_fork: stops the process: the own log was forked.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        gateway: str,
        transport: Transport,
        known_heads: dict[str, int],
        clock: Callable[[], float],
        on_fork: Callable[[], None],
    ) -> None:
        """:raises LogUnavailable: LOG_FORKED: witnesses have proved that this log was forked."""
        self._log = log
        self._directory = directory
        self._gateway = gateway
        self._transport = transport
        self._known_heads = known_heads
        self._clock = clock
        self._disputes = Disputes(
            log=log, leaves=leaves, directory=directory, clock=clock, on_fork=on_fork
        )
        self._standing = standing(log.read, directory.current)
        if self._standing.forked:
            raise forked()
        notes = log.read("SELECT partner_id, note FROM witness_head")
        self._last = {str(partner): self._head_of(note) for partner, note in notes}
        """What each witness cosigned last, with its own line."""
        self.cosigned = self._kept()
        self._told: dict[str, int] = {}
        self._made: _Round | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._waiting = 0
        self._gave_up = False
        self._said = 0.0
        self._unread = False
        self.on_late: Callable[[str, bool], Awaitable[None]] | None = None
        """Told, at each look, whether readiness is degraded: the health of :data:`HEALTH`."""

    # ── For queries ──────────────────────────────────────────────────────────────────────────

    def check(self, *, sensitive: bool) -> None:
        """Whether a query may be admitted now.

        Where no quorum is possible at all, ordinary purposes go on and highly sensitive ones are
        refused. After a wait in vain nobody waits until a quorum has been seen again.

        :raises LogUnavailable: LOG_FORKED.
        :raises NoQuorum: QUORUM_OVERDUE, QUORUM_IMPOSSIBLE or QUORUM_MISSING.
        """
        self._disputes.check()
        if self._standing.forked:  # at a gateway beside this one
            raise forked()
        if self.late_s() >= OVERDUE_S:
            raise quorum.NoQuorum(
                "no quorum of witnesses has cosigned the gateway's log for four hours",
                reasons=("QUORUM_OVERDUE",),
                remedy=quorum.MISSING_REMEDY,
            )
        if not sensitive:
            return
        if not quorum.possible(self._directory.current):
            raise quorum.NoQuorum(
                "the directory's witnesses cannot be a quorum: highly sensitive purposes wait",
                reasons=("QUORUM_IMPOSSIBLE",),
                remedy="fairlead-gateway directory appoint --help   (a public and a private one)",
            )
        if self._gave_up:
            raise quorum.missing()

    async def covering(self, index: int, directory: Directory, *, within_s: float) -> Head:
        """Wait until a checkpoint with leaf ``index`` in it has a quorum.

        :param directory: the one of the query: its witnesses and their keys count.
        :raises NoQuorum: QUORUM_MISSING: not within this time.
        """
        self._waiting += 1
        self._hurry.set()
        try:
            async with asyncio.timeout(within_s):
                while (found := self.cosigned) is None or not _covers(found, index, directory):
                    await self._changed.wait()
                return found
        except TimeoutError:
            # What a former directory's witnesses cosign says nothing of those in force.
            self._gave_up |= directory.serial == self._directory.current.serial
            raise quorum.missing() from None
        finally:
            self._waiting -= 1

    def late_s(self) -> float:
        """Seconds for which what was written has had no quorum."""
        return self._standing.late_s(self._clock())

    def status(self) -> Standing:
        """How the log stands, as last looked."""
        return self._standing

    def gauges(self) -> list[metrics.Gauge]:
        """For how long there has been no quorum, and how far each witness is."""
        now, late = self._standing, self.late_s()
        lines = [
            ("fairlead_quorum_possible", "1 when the witnesses can be a quorum.", now.possible),
            ("fairlead_quorum_late_seconds", "Seconds without a quorum for what is new.", late),
            ("fairlead_quorum_late", "1 after 15 minutes without a quorum.", late >= LATE_S),
            ("fairlead_cosigned_size", "Size of the newest cosigned checkpoint.", now.size),
            (
                "fairlead_log_disputed",
                "Witnesses that hold another history of this log.",
                len(self._disputes.holding),
            ),
        ]
        return [metrics.Gauge(name=name, help=told, value=value) for name, told, value in lines] + [
            metrics.Gauge(
                name="fairlead_witness_size",
                help="Size of the checkpoint that a witness cosigned last.",
                value=size,
                labels=(("partner", partner),),
            )
            for partner, size in sorted(now.heads.items())
        ]

    async def close(self) -> None:
        """Release the connections to the witnesses."""
        await self._transport.close()

    # ── Rounds ───────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Round after round, until cancelled; none when nothing is new."""
        try:
            while True:
                began = asyncio.get_running_loop().time()
                await self._look()
                if self._disputes.stopped:
                    await asyncio.Event().wait()
                await self._pause(began)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _pause(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, began + HURRY_S - loop.time()))
        if not self._waiting:
            try:
                async with asyncio.timeout_at(began + PACE_S):
                    await self._hurry.wait()
            except TimeoutError:
                pass
        self._hurry.clear()

    async def _look(self) -> None:
        """Look, and again later when the log cannot be read now: as long as that lasts nobody knows
        of a quorum, so there is none."""
        try:
            await self.look()
        except LogUnavailable as error:
            if error.code != UNREADABLE or not self._log.healthy:
                raise
            if not self._unread:
                get_logger().error(Event.LOG_UNREADABLE, error=error)
            self._unread, since = True, self._standing.behind_since or self._clock()
            self._standing = replace(self._standing, behind_since=since)
            await self._say()
        else:
            self._unread = False

    async def look(self) -> None:
        """One round if anything is new, one more with the same once it has a quorum, so that late
        witnesses cosign it and all of them hold its note; and how long there has been none."""
        await self._log.follow()  # other gateways write this log too
        directory, head = self._directory.current, self._log.head
        await self._note_possible(directory)
        if quorum.possible(directory) and head.size > (self.cosigned.size if self.cosigned else 0):
            self._made = _Round(head=head, directory=directory)
            await self._round(self._made)
        elif self._made is not None and not self._made.echoed:
            self._made.echoed = True
            await self._round(self._made)
        self._standing = standing(self._log.read, self._directory.current)
        await self._say()

    async def _round(self, made: _Round) -> None:
        """Show one checkpoint to all; returns when it has a quorum, or nobody is left to ask."""
        tasks: list[asyncio.Task[None]] = []
        for partner in made.directory.appointed.witnesses:
            done = partner in made.lines and not self._news(partner)
            if partner in made.directory.partners and partner not in self._busy and not done:
                task = asyncio.create_task(self._ask(partner, made))
                self._busy[partner] = task
                task.add_done_callback(partial(self._ended, partner))
                tasks.append(task)
        if not tasks:
            return
        left = {*tasks}
        while left and not made.formed.is_set():
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if made.lines and not made.formed.is_set():
            await self._keep(made)

    def _ended(self, partner: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(partner, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            get_logger().error(Event.WITNESS_INVALID, error=error, partner=partner)

    async def _ask(self, partner: str, made: _Round) -> None:
        """Have one witness cosign, within its deadline; whatever goes wrong is its own matter."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = await self._shown(partner, made)
        except (LegFailed, TimeoutError):
            return
        except LogUnavailable:
            raise
        except FairleadError as error:
            get_logger().warning(Event.WITNESS_INVALID, error=error, partner=partner)
            return
        if line is not None:
            await self._take(partner, line, made)

    async def _shown(self, partner: str, made: _Round) -> str | None:
        """The witness's line under the checkpoint, or nothing.

        1. It is shown the checkpoint, with the proof between it and what the witness accepted last.
        2. A line must be its own cosignature of this very note.
        3. A head that it holds counts only as this log's own signed note. One that this log
           contradicts, or lacks, stops queries; of enough witnesses it proves that the log was
           forked or has lost its tail (:mod:`gateway.disputes`).
        4. A head behind its own cosignature: it has forgotten, and is shown that one.
        5. Any other head: it is shown the checkpoint from there.
        """
        last = self._last.get(partner)
        known, note = last.size if last else 0, made.head
        for _ in range(ATTEMPTS):
            # 1
            cosigned = self.cosigned.size if self.cosigned else 0
            response = await self._transport.add_checkpoint(
                partner,
                pb.AddCheckpointRequest(
                    old_size=known,
                    consistency=self._log.consistency(*sorted((known, note.size))),
                    checkpoint=note.checkpoint,
                    cosigned=self._news(partner),
                ),
                timeout_s=DEADLINE_S,
            )
            kind = response.WhichOneof("result")
            if kind == "cosignature":
                self._told[partner] = cosigned
            # 2
            if kind == "cosignature" and note is made.head:
                self._verify(partner, response.cosignature, made)
                self._disputes.over(partner)
                return response.cosignature
            if kind not in {"stale", "fork", "lost"}:
                return None
            # 3
            held = getattr(response, kind)
            if held.size and await self._contradicts(partner, held):
                return None
            # 4
            if kind == "lost":
                get_logger().warning(Event.WITNESS_LOST, partner=partner, size=held.size)
                return None
            if last is not None and held.size < last.size:
                note = last
            # 5
            known = held.size
        return None

    def _news(self, partner: str) -> str:
        """The cosigned note, if this witness has not been told of it."""
        newest = self.cosigned
        known = newest is None or self._told.get(partner, 0) >= newest.size
        return "" if newest is None or known else newest.checkpoint

    def _verify(self, partner: str, line: str, made: _Round) -> None:
        """:raises Forged: :raises InvalidInput: not this witness's line under this note."""
        cosigning.verify_cosignature(
            line,
            made.head.checkpoint,
            name=cosigning.witness_name(made.directory.federation, partner),
            public_key=made.directory.partners[partner].witness_key,
        )

    async def _take(self, partner: str, line: str, made: _Round) -> None:
        """Count a line; with the one that makes a quorum, the note is kept and becomes known."""
        made.lines[partner] = line
        note = cosigning.with_lines(made.head.checkpoint, [line])
        self._last[partner] = replace(made.head, checkpoint=note)
        # It is an owner too, and its receipts start from the same head.
        known = max(made.head.size, self._known_heads.get(partner, 0))
        self._known_heads[partner] = known
        if quorum.reached(made.lines, made.directory):
            await self._keep(made)

    async def _keep(self, made: _Round) -> None:
        """Make what a round brought durable, then visible."""
        lines, note = dict(made.lines), made.note()
        whole = quorum.reached(lines, made.directory)
        rows = [(p, self._last[p].size, self._last[p].checkpoint) for p in lines]
        kept = (made.head.size, note, int(self._clock() * 1000)) if whole else None
        await self._log.keep(putting(rows, kept))
        size = self.cosigned.size if self.cosigned else 0
        if whole and made.head.size >= size:
            self.cosigned = replace(made.head, checkpoint=note)
            self._gave_up = False
            made.formed.set()
            self._changed.set()
            self._changed = asyncio.Event()

    # ── The own log ──────────────────────────────────────────────────────────────────────────

    def _own(self) -> Gateway:
        return self._directory.current.gateways[self._gateway]

    def _head_of(self, note: str) -> Head:
        entry = self._own()
        found = receipts.open_checkpoint(note, entry.log_origin, entry.log_key)
        return Head(origin=found.origin, size=found.size, root=found.root, checkpoint=note)

    def _kept(self) -> Head | None:
        rows = self._log.read("SELECT note FROM cosigned WHERE id = 0")
        return self._head_of(rows[0][0]) if rows else None

    async def _contradicts(self, partner: str, held: pb.AddCheckpointResponse.Held) -> bool:
        """Whether a witness holds a head of this log that this log contradicts or lacks.

        :raises Forged: :raises InvalidInput: it is not this log's own signed head of that size.
        """
        claimed = self._head_of(held.checkpoint)
        if claimed.size != held.size:
            raise Forged("a witness names another size than its head", reasons=("HEAD_UNKNOWN",))
        return await self._disputes.contradicts(partner, claimed, self._own())

    # ── How late ─────────────────────────────────────────────────────────────────────────────

    async def _note_possible(self, directory: Directory) -> None:
        """Remember since when a quorum is possible: before, nobody could be late."""
        known = self._log.read("SELECT value FROM witness_fact WHERE name = 'possible_since'")
        if quorum.possible(directory) and not known:
            await self._log.keep(fact("possible_since", int(self._clock() * 1000)))
        elif known and not quorum.possible(directory):
            await self._log.keep(fact("possible_since", None))

    async def _say(self) -> None:
        """Say in the operator's log when a quorum is late, overdue, and back: once each; and the
        health of it at each look."""
        late = self.late_s()
        for limit, event in ((LATE_S, Event.QUORUM_LATE), (OVERDUE_S, Event.QUORUM_OVERDUE)):
            if late >= limit > self._said:
                get_logger().error(event, age_s=int(late))
        if self._said >= LATE_S > late:
            get_logger().warning(Event.QUORUM_BACK)
        self._said = late
        if self.on_late is not None:
            await self.on_late(HEALTH, late >= LATE_S)


def _covers(found: Head, index: int, directory: Directory) -> bool:
    if found.size <= index:
        return False
    return quorum.reached(cosigning.cosigners(found.checkpoint, directory), directory)
