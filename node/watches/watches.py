"""The watches of one node's users: made, looked up again, renewed, ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity, Role
from fairlead.envelope.manifest import Manifest
from fairlead.errors import (
    FairleadError,
    NotFound,
    PeerError,
    Refused,
    Unauthenticated,
)
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import asking_pb2 as pb
from node.batch import Batch
from node.blinded import AskedBlind, Found, Library, OnHits, Usable, look_up, nobody
from node.cases import CaseRegister
from node.watches.order import check_order
from node.watches.shelf import WatchShelf
from node.watches.watch import (
    CASE_OVER,
    OUTPUTS_LOST,
    PARTNER_LEFT,
    SUSPENDED,
    TIME_OVER,
    Watch,
    Watched,
    differences,
    no_more,
)

MAX_OF_USER, MAX_OF_PARTNER = 32, 256
"""Watches that have not ended."""
TICK_S = 5.0
"""Seconds between two looks at whether something is over; a later snapshot is looked up at once."""
RETENTION = "RETENTION"
"""The owner lets no answer be kept, not for a day."""


class Watches:
    """Keeps what owners evaluated, and looks it up in each later snapshot of the same class and
    epoch. Nothing leaves the node.

    :param policy_serial: of the policy this node asks under now.
    :param on_hits: see :data:`node.blinded.OnHits`.
    """

    def __init__(
        self,
        *,
        shelf: WatchShelf,
        log: AuditLog,
        leaves: LeafWriter,
        cases: CaseRegister,
        directory: Directories,
        deny_lists: DenyLists,
        library: Library,
        policy_serial: Callable[[], int],
        clock: Callable[[], float],
        on_hits: OnHits = nobody,
    ) -> None:
        self._shelf = shelf
        self._log = log
        self._leaves = leaves
        self._cases = cases
        self._directory = directory
        self._deny_lists = deny_lists
        self._library = library
        self._policy_serial = policy_serial
        self._clock = clock
        self.on_hits = on_hits
        self._busy = asyncio.Lock()
        self._wake = asyncio.Event()

    # ── Ordered by a user ────────────────────────────────────────────────────────────────────

    def check(self, batch: Batch) -> None:
        """Whether a query that its user signed may stand; nothing is kept yet.

        A renewed watch is the user's own, not ended, and asks the same under the same case; a new
        one is not one too many.

        :raises FairleadError: it may not; see :func:`check_order`.
        """
        order = check_order(batch, self._clock())
        if order.renews:
            self._check_renewed(order.renews, batch)
        else:
            self._check_room(batch.user_name)

    def _check_renewed(self, watch_id: bytes, batch: Batch) -> None:
        watch = self._own(watch_id, batch.user_name)
        if watch.ended:
            raise _refused("this watch has ended: it is not renewed", "WATCH_ENDED")
        asked = (sorted(batch.terms), batch.case_id, batch.content.purpose)
        if asked != (sorted(watch.terms), watch.case_id, watch.purpose):
            raise _refused("a renewed watch asks what it asked before", "WATCH_DIFFERS")

    def _check_room(self, user: str) -> None:
        running = [watch for watch in self._shelf.watches() if not watch.ended]
        own = sum(watch.user_name == user for watch in running)
        if own >= MAX_OF_USER or len(running) >= MAX_OF_PARTNER:
            raise Refused(
                "there are too many watches",
                reasons=("WATCHES_FULL",),
                remedy="fairlead watch list, then: fairlead watch remove WATCH",
            )

    async def begin(self, batch: Batch) -> None:
        """Keep a query that stands before it is sent, in place of the watch that it renews. Until
        an owner has answered, its places say that they must be renewed."""
        watch = Watch.begun(batch)
        schemes = sorted({scheme for scheme, _ in batch.terms})
        places = [Watched(owner=o, scheme=s) for o in sorted(batch.salts) for s in schemes]
        async with self._busy:
            before = self._shelf.watch(watch.watch_id)
            if before is not None:
                watch = replace(watch, news=before.news)
            leaf = self._leaf("watch-renewed" if before is not None else "watch-begun", watch)
            await self._log.append(leaf)
            await self._shelf.replace(watch, places)

    async def keep(self, batch: Batch, found: Found, days: int | None) -> None:
        """Keep what one owner's answer was made of, if the query stands and was not removed.

        :param days: for how long its owner lets an answer be kept.
        """
        order = pb.WatchOrder.FromString(batch.watch)
        async with self._busy:
            watch = self._shelf.watch(order.renews or batch.batch_id)
            if watch is None or watch.ended or watch.query_id != batch.batch_id:
                return
            kept = watch.retention_days if days is None else days
            places = [(Watched.begun(looked, kept), outputs) for outputs, looked in found.looked]
            if not kept:
                await self._shelf.put(watch, [place.ended(RETENTION) for place, _ in places])
                return
            await self._shelf.put_outputs(watch, places)
        self._wake.set()  # a later snapshot may have come meanwhile

    # ── Looking again ────────────────────────────────────────────────────────────────────────

    def wake(self, _manifest: Manifest | None = None) -> None:
        """A later snapshot is here, or something may be over."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.look()
            except FairleadError as error:  # the log or the vault: tried again
                get_logger().error(Event.WATCHES_NOT_CHECKED, error=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    async def look(self) -> None:
        """Bring every watch up to date, once.

        1. What may be kept no longer goes.
        2. A watch whose order, case, membership or user is over ends. Where it cannot be known
        whether its user is suspended, nothing is looked up.
        3. Places whose epoch, class, policy or owner is over are looked up no more, and the user
        is told that the watch must be renewed.
        4. Each other place is looked up in the snapshot that is held, if it was not yet.

        :raises LogUnavailable: it cannot be recorded; nothing more was looked up.
        """
        async with self._busy:
            for watch in self._shelf.watches():
                await self._look(watch, self._clock())

    async def _look(self, watch: Watch, now: float) -> None:
        # 1
        if now >= watch.kept_until:
            await self._gone(watch, "watch-expired")
            return
        if watch.pruned(now) != watch:
            watch = watch.pruned(now)
            await self._shelf.put(watch)
        if watch.ended:
            return
        # 2
        try:
            why = self._why_over(watch, now)
        except Unauthenticated:
            return
        if why:
            await self._end(watch, why, now)
            return
        for place in self._shelf.places(watch.watch_id):
            if place.over:
                continue
            # 3
            why = self._place_over(watch, place, now)
            if why:
                watch = await self._over(watch, place, why, now)
                continue
            # 4
            held = self._held(place)
            if held is not None and held.manifest.digest != place.checked:
                watch = await self._again(watch, place, held, now)

    def _why_over(self, watch: Watch, now: float) -> str:
        """:raises Unauthenticated: it is not known."""
        if now >= watch.until:
            return TIME_OVER
        try:
            case = self._cases.get(watch.case_id)
        except NotFound:
            return CASE_OVER
        if not case.open_at(now) or watch.user_name not in case.members:
            return CASE_OVER
        try:
            self._deny_lists.check(watch.user, now)
        except Unauthenticated as error:
            if "DENIED" in error.reasons:
                return SUSPENDED
            raise
        return ""

    def _place_over(self, watch: Watch, place: Watched, now: float) -> str:
        if place.owner not in self._directory.current.partners:
            return PARTNER_LEFT
        newest: Usable | None = None
        with contextlib.suppress(FairleadError):
            newest = self._library.usable(place.owner, purpose=watch.purpose, scheme=place.scheme)
        return place.over_at(now, newest=newest, policy_serial=self._policy_serial())

    def _held(self, place: Watched) -> Usable | None:
        try:
            return self._library.of_class(
                place.owner, audience=place.audience, epoch=place.epoch, scheme=place.scheme
            )
        except FairleadError:  # it is not open yet, or is fetched again
            return None

    async def _again(self, watch: Watch, place: Watched, held: Usable, now: float) -> Watch:
        """Look one place up in a later snapshot: recorded, compared, and only then told."""
        await self._log.append(self._leaf("watch-checked", watch))
        try:
            outputs = self._shelf.outputs(watch, place)
            looked = await asyncio.to_thread(look_up, held, outputs, watch.terms, watch.scope)
        except NotFound:
            return await self._over(watch, place, OUTPUTS_LOST, now)
        except PeerError as error:  # the owner's doing: it spoils its own place only
            return await self._over(watch, place, error.code, now)
        asked = AskedBlind(
            query_id=watch.query_id,
            user=watch.user,
            purpose=watch.purpose,
            case_commitment=watch.case_commitment,
        )
        fresh = [(place.owner, d, ref) for d, ref in looked.refs if ref not in place.refs]
        await self.on_hits(asked, fresh)
        news = differences(place, looked, watch.terms)
        watch = watch.told(news, now, days=place.days)
        await self._shelf.put(watch, [place.seen(looked)])
        if news:
            get_logger().info(Event.WATCH_NEWS, count=len(news))
        return watch

    async def _over(self, watch: Watch, place: Watched, why: str, now: float) -> Watch:
        await self._log.append(self._leaf("watch-over", watch))
        watch = watch.told([no_more(place, why)], now)
        await self._shelf.put(watch, [place.ended(why)])
        get_logger().warning(Event.WATCH_OVER, code=why, owner=place.owner)
        return watch

    async def _end(self, watch: Watch, why: str, now: float) -> None:
        await self._log.append(self._leaf("watch-ended", watch))
        await self._shelf.replace(watch.over(why, now), ())
        get_logger().warning(Event.WATCH_OVER, code=why)

    async def _gone(self, watch: Watch, subject: str) -> None:
        await self._log.append(self._leaf(subject, watch))
        await self._shelf.remove(watch.watch_id)

    def _leaf(self, subject: str, watch: Watch, *, user: str = "") -> bytes:
        return self._leaves.history(
            subject=subject, user=user or watch.user, query_id=watch.watch_id
        )

    # ── Read by a user ───────────────────────────────────────────────────────────────────────

    def listed(self, user: Identity) -> list[pb.Watch]:
        """The user's own watches; those of the whole partner for an auditor."""
        whose = None if Role.AUDITOR in user.roles else user.name
        told = [self._told(watch) for watch in self._shelf.watches(whose)]
        for watch in told:
            if watch.user != user.name:
                watch.unread = 0  # that there is something is its user's to know
        return told

    async def show(self, watch_id: bytes, user: Identity) -> pb.ShowWatchResponse:
        """One own watch; what it noticed counts as read from now on. On the record.

        :raises NotFound: it is not kept, or somebody else's.
        """
        async with self._busy:
            watch = await self._named(watch_id, user, "ShowWatch")
            await self._log.append(self._leaf("watch-read", watch, user=user.spiffe_id))
            told = pb.ShowWatchResponse(
                watch=self._told(watch),
                terms=[pb.Term(scheme=scheme, value=value) for scheme, value in watch.terms],
                since=watch.scope.since,
                events=watch.scope.events,
                tlp=watch.scope.tlp,  # type: ignore[arg-type]
                pap=watch.scope.pap,  # type: ignore[arg-type]
                news=[item.to_wire() for item in watch.pruned(self._clock()).news],
            )
            await self._shelf.put(watch.read())
            return told

    async def remove(self, watch_id: bytes, user: Identity) -> None:
        """End an own watch and erase all of it. On the record.

        :raises NotFound: it is not kept, or somebody else's.
        """
        async with self._busy:
            watch = await self._named(watch_id, user, "RemoveWatch")
            await self._gone(watch, "watch-removed")

    async def _named(self, watch_id: bytes, user: Identity, rpc: str) -> Watch:
        try:
            return self._own(watch_id, user.name)
        except NotFound as error:
            leaf = self._leaves.refusal(error, subject=f"AskingService.{rpc}", user=user.spiffe_id)
            await self._log.append(leaf)
            raise

    def _own(self, watch_id: bytes, user: str) -> Watch:
        watch = self._shelf.watch(watch_id)
        if watch is None or watch.user_name != user:
            raise NotFound(
                "no such watch of yours is kept at this node",
                reasons=("UNKNOWN_WATCH",),
                remedy="fairlead watch list",
            )
        return watch

    def _told(self, watch: Watch) -> pb.Watch:
        places = self._shelf.places(watch.watch_id)
        return pb.Watch(
            watch_id=watch.watch_id,
            user=watch.user_name,
            case_id=watch.case_id,
            purpose=watch.purpose,
            begun_at=watch.begun_at,
            until=watch.until,
            terms=len(watch.terms),
            state=watch.state(places),
            reason=watch.ended,
            unread=watch.unread,
            places=[self._told_place(place) for place in places],
        )

    def _told_place(self, place: Watched) -> pb.WatchPlace:
        held = None if place.over else self._held(place)
        return pb.WatchPlace(
            partner_id=place.owner,
            scheme=place.scheme,
            reason=place.over,
            ends_at=place.ends_at,
            confirmed_at=int(held.confirmed_at) if held is not None else 0,
        )


def _refused(message: str, code: str) -> Refused:
    return Refused(message, reasons=(code,), remedy="fairlead watch add --help")
