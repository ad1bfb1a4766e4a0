"""Policy releases: the one in force, and how another takes its place while a process runs.

Gateway and node do the same, whoever brings a release: it is verified here, its engines are
started beside those that decide, its activation is durable, and then it takes their place between
two queries. What does not verify, is older, or contradicts what is known changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from fairlead.auditlog import Also, AuditLog
from fairlead.errors import FairleadError, Misconfigured
from fairlead.leaves import LeafWriter
from fairlead.policy.bundle import Bundle, Files, load_bundle, verify_files
from fairlead.policy.live import LivePolicy
from fairlead.policy.manifest import (
    MANIFEST,
    SignedManifest,
    approved,
    parse_manifest,
    unavailable,
)
from fairlead.policy.place import Loaded, Place, load
from fairlead.policy.store import Shelf, commit, finish, prepare, stamp
from fairlead.telemetry import Event, get_logger

FOLDER = "policies"
"""Of the state folder: every release that was in force here."""
REVIEW_S = 72 * 3600
"""Seconds within which a second person signs an emergency, or another release supersedes it."""
HEARD_EVERY_S = 60.0
RENEW_EVERY_S = 60.0
LOOK_EVERY_S = 0.25
SUBJECT, OWN = "policy", "policy-local"
REVIEWED, CONFIRMED = "policy-reviewed", "policy-confirmed"
CONTRADICTS = frozenset({"POLICY_FORK", "POLICY_OLDER", "POLICY_CHAIN"})
"""Reasons that honest officers and gateways never produce: each becomes an ALARM leaf."""

Record = Callable[[dict[str, int]], Also]
"""Puts serials among those that the log has seen active, in an append's own transaction."""


class Releases:
    """The policy of one process: in force, kept, and replaced."""

    def __init__(
        self,
        place: Place,
        loaded: Loaded,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        clock: Callable[[], float],
        record: Record,
    ) -> None:
        self._place = place
        self._loaded = loaded
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._record = record
        self._shelf = Shelf(place.kept)
        self._taking = asyncio.Lock()
        self._works: set[asyncio.Future[bool]] = set()
        self._known = self._last = self._stamps()
        self._noted = 0.0
        self._renewed = float("-inf")
        self._reproached = ""
        self.live = LivePolicy(loaded.points)
        self.on_change: list[Callable[[], None]] = []
        """Called after another release, or another signature of the same, was taken up."""

    # ── What is in force ─────────────────────────────────────────────────────────────────────

    @property
    def bundle(self) -> Bundle:
        """The federation's release in force."""
        return self._loaded.bundle

    @property
    def own(self) -> Bundle | None:
        """The partner's own."""
        return self._loaded.own

    @property
    def since(self) -> float:
        """When it came into force in this process (Unix s)."""
        return self._loaded.since

    @property
    def until(self) -> float:
        """When it stops deciding, unless it is confirmed or replaced (Unix s)."""
        return self._loaded.validity.until

    def overdue(self, now: float) -> bool:
        """Whether an emergency stands that nobody has reviewed in time."""
        return not self.bundle.reviewed and now >= self.bundle.manifest.issued_at + REVIEW_S

    def files(self, serial: int = 0) -> Files | None:
        """A release as files: the one in force (0), or one that was; None: none of that serial."""
        if serial in (0, self.bundle.serial):
            return self.bundle.as_files()
        return self._shelf.files(serial)

    def next_after(self, serial: int) -> Files | None:
        """The release that came after a serial, for whoever catches up; None: there is none."""
        later = [s for s in self._shelf.serials() if serial < s < self.bundle.serial]
        return self.files(later[0] if later else 0) if serial < self.bundle.serial else None

    def confirm(self, serial: int, identity: str) -> None:
        """Somebody who knows says which release is the current one: perhaps this."""
        if (serial, identity) != (self.bundle.serial, self.bundle.identity):
            return
        now = self._clock()
        self._loaded.validity.confirm(now)
        if now - self._noted >= HEARD_EVERY_S:
            self._noted = now
            try:
                self._shelf.note_heard(identity, now)
            except OSError:
                get_logger().error(Event.POLICY_NOT_STORED)

    async def renew(self) -> None:
        """An officer says at the gateway, which hears from nobody, that the release in force is
        still the current one; on the record first."""
        if self._clock() - self._renewed < RENEW_EVERY_S:  # once more says nothing new
            return
        self._renewed = self._clock()
        await self._append(CONFIRMED, self.bundle)
        self._noted = 0.0
        self.confirm(self.bundle.serial, self.bundle.identity)

    # ── Another one ──────────────────────────────────────────────────────────────────────────

    async def take(
        self, *chain: Files, adjacent: bool = True, partner_id: str = "", user: str = ""
    ) -> bool:
        """Take up a release, whoever brings it, with those between it and the one in force.

        1. The same one with more signatures is kept; it changes no decision.
        2. Each of the chain verifies, and the last is in force now.
        3. One serial has one content, none is older than the one in force, and each names the
           one before it.
        4. The last one's engines start; the partner's own policy is compiled over it again.
        5. It lies on the disk, complete, beside the one in force.
        6. Its activation is durable in the audit log.
        7. It takes the other's place, on the disk and between two queries.

        :param adjacent: the first must follow the one in force at once; only whoever puts a
            bundle into ``policy_dir`` by hand may leave some out.
        :param partner_id: and :param user: who brings it, for the record of a refusal.
        :returns: whether anything is new.
        :raises PolicyUnavailable: not verifiable, POLICY_FORK, POLICY_OLDER, POLICY_CHAIN.
        :raises Misconfigured: the agreements are wrong, or NOT_STORED. Nothing has changed then,
            and the refusal is on the record.
        """
        # A caller who goes away half-way leaves no activation on the record that is not in force.
        work = asyncio.ensure_future(
            self._taken(chain, adjacent=adjacent, partner_id=partner_id, user=user)
        )
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        return await asyncio.shield(work)

    async def _taken(
        self, chain: Sequence[Files], *, adjacent: bool, partner_id: str, user: str
    ) -> bool:
        async with self._taking:
            try:
                return await self._take(chain, adjacent=adjacent)
            except FairleadError as error:
                await self.refuse(error, partner_id=partner_id, user=user)
                raise

    async def _take(self, chain: Sequence[Files], *, adjacent: bool) -> bool:
        # 1
        signed = parse_manifest(chain[-1].get(MANIFEST, b""))
        if signed.manifest.identity == self.bundle.identity:
            return await self._more_signatures(signed)
        # 2 and 3
        passed = await asyncio.to_thread(self._follow, chain, adjacent=adjacent)
        fresh = passed[-1]
        # 4
        now = self._clock()
        loaded = await asyncio.to_thread(load, self._place, fresh, self.own, now=now, lenient=True)
        # 5
        self._keep(*passed)
        # 6
        await self._append(SUBJECT, fresh)
        # 7
        self._commit()
        self._swap(loaded)
        return True

    def _follow(self, chain: Sequence[Files], *, adjacent: bool) -> list[Bundle]:
        before, now, passed = self.bundle, self._clock(), []
        for files in chain:
            moment = now
            if files is not chain[-1]:  # what has expired since was in force once
                issued = parse_manifest(files.get(MANIFEST, b"")).manifest.issued_at
                moment = min(now, issued)
            fresh = verify_files(files, officers=self._place.officers(), now=moment, before=before)
            _check_follows(fresh, before, adjacent=adjacent)
            passed.append(fresh)
            before = fresh
        return passed

    async def _more_signatures(self, signed: SignedManifest) -> bool:
        officers = self._place.officers()
        approval = approved(signed, officers, two_organisations=True)
        before, known = self.bundle, {officer.key_id for officer in officers}
        signatures = [item for item in signed.signatures if item[0] in known]
        merged = before.signed.with_signatures(signatures)
        if merged.to_bytes() == before.signed.to_bytes():
            return False
        bundle = replace(before, signed=merged, reviewed=before.reviewed or approval.complete)
        self._keep(bundle)
        if bundle.reviewed and not before.reviewed:
            await self._append(REVIEWED, bundle)
        self._commit()
        self._loaded = replace(self._loaded, bundle=bundle)
        self._tell()
        return True

    def _keep(self, *passed: Bundle) -> None:
        """:raises Misconfigured: NOT_STORED."""
        try:
            for bundle in passed:
                self._shelf.keep(bundle)
            prepare(self._place.folder, passed[-1])
        except OSError:
            raise _not_stored() from None

    async def _append(self, subject: str, bundle: Bundle) -> None:
        leaf = self._leaves.activation(
            subject, serial=bundle.serial, digest=bytes.fromhex(bundle.identity)
        )
        await self._log.append(leaf, also=self._record({subject: bundle.serial}))

    def _commit(self) -> None:
        """A crash before this is repaired at the next start, see :func:`finish`."""
        try:
            commit(self._place.folder)
        except OSError:
            get_logger().error(Event.POLICY_NOT_STORED)
        self._known = self._last = self._stamps()

    def _swap(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.live.swap(loaded.points)
        get_logger().info(Event.POLICY_LOADED, serial=loaded.bundle.serial)
        self._tell()

    def _tell(self) -> None:
        for hear in self.on_change:
            hear()

    async def take_own(self) -> bool:
        """Take up the partner's own bundle as it lies in its folder; steps as :meth:`take`.

        :raises PolicyUnavailable: as :meth:`take`. :raises Misconfigured: its agreements are wrong.
        """
        async with self._taking:
            try:
                return await self._take_own()
            except FairleadError as error:
                await self.refuse(error, OWN)
                raise

    async def _take_own(self) -> bool:
        before, now = self.own, self._clock()
        fresh = self._place.local(now=now, minimum=before.serial if before else 0)
        if fresh is None or before is None or fresh.identity == before.identity:
            return False
        if fresh.serial == before.serial:
            raise _fork()
        confirmed = self._loaded.validity.since
        loaded = await asyncio.to_thread(
            load, self._place, self.bundle, fresh, now=now, confirmed=confirmed
        )
        await self._append(OWN, fresh)
        self._swap(replace(loaded, since=self.since))
        return True

    # ── Watching ─────────────────────────────────────────────────────────────────────────────

    async def begin(self) -> None:
        """Write down what this process starts with."""
        try:
            self._shelf.keep(self.bundle)
        except OSError:
            raise _not_stored() from None
        await self._append(SUBJECT, self.bundle)
        if self.own is not None:
            await self._append(OWN, self.own)
        get_logger().info(Event.POLICY_LOADED, serial=self.bundle.serial)

    async def look(self) -> None:
        """Look at the folders once: what changed and verifies takes effect, the rest is on the
        record; and reproach an emergency that nobody has reviewed.

        A folder is read once it has lain still between two looks: copying takes a moment.
        """
        last, self._last = self._last, self._stamps()
        known, still = self._known, self._last == last
        if still and known != last:
            self._known = last
            if known[0] != last[0]:
                await self._look_in()
            if known[1] != last[1]:
                await _on_the_record(self.take_own())
        if self.overdue(self._clock()) and self._reproached != self.bundle.identity:
            self._reproached = self.bundle.identity
            get_logger().error(Event.POLICY_UNREVIEWED, serial=self.bundle.serial)
            await self._log.append(self._leaves.alarm(["POLICY_UNREVIEWED"], subject=SUBJECT))

    async def _look_in(self) -> None:
        try:
            signed = parse_manifest((self._place.folder / MANIFEST).read_bytes())
            if signed.signatures == self.bundle.signed.signatures:
                return
            found = load_bundle(
                self._place.folder, self._place.officers(), 0, self._clock(),
                before=self._before(signed),
            )  # fmt: skip
        except (FairleadError, OSError) as error:
            if not isinstance(error, FairleadError):
                error = unavailable("POLICY_MISSING", "a policy file is missing or unreadable")
            await self.refuse(error)
            return
        await _on_the_record(self.take(found.as_files(), adjacent=False))

    def _before(self, signed: SignedManifest) -> Bundle | None:
        """What an emergency in the folder is compared with."""
        if signed.manifest.identity != self.bundle.identity:
            return self.bundle
        return self._place.kept_release(signed.manifest.serial - 1, now=self._clock())

    async def watch(self, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def refuse(
        self, error: FairleadError, subject: str = SUBJECT, *, partner_id: str = "", user: str = ""
    ) -> None:
        """Write down what was not taken up: an alarm where honest people never bring it."""
        get_logger().error(Event.POLICY_REFUSED, error=error)
        if CONTRADICTS & set(error.reasons):
            leaf = self._leaves.alarm(
                error.reasons, subject=subject, partner_id=partner_id, user=user
            )
        else:
            leaf = self._leaves.refusal(error, subject=subject, partner_id=partner_id, user=user)
        await self._log.append(leaf)

    def _stamps(self) -> tuple[object, object]:
        return stamp(self._place.folder), stamp(self._place.own)


async def open_releases(
    place: Place,
    *,
    seen: dict[str, int],
    log: AuditLog,
    leaves: LeafWriter,
    clock: Callable[[], float],
    record: Record,
) -> Releases:
    """The policy a process starts with, on the record before it decides.

    :param seen: subject → the newest serial this log has ever seen active; nothing older starts.
    :raises PolicyUnavailable: see :func:`load_bundle`; POLICY_FORK: what was in force here under
        this serial was another one. :raises Misconfigured: the agreements are wrong.
    """
    finish(place.folder, seen.get(SUBJECT, 0))
    now = clock()
    bundle = place.federation(now=now, minimum=seen.get(SUBJECT, 0))
    own = place.local(now=now, minimum=seen.get(OWN, 0))
    shelf = Shelf(place.kept)
    shelf.drop_beyond(seen.get(SUBJECT, 0))
    if shelf.identity(bundle.serial) not in ("", bundle.identity):
        raise _fork()
    loaded = load(place, bundle, own, now=now, confirmed=shelf.heard(bundle.identity))
    found = Releases(place, loaded, log=log, leaves=leaves, clock=clock, record=record)
    await found.begin()
    return found


def _check_follows(fresh: Bundle, before: Bundle, *, adjacent: bool) -> None:
    if fresh.serial == before.serial:
        raise _fork()
    if fresh.serial < before.serial:
        raise unavailable("POLICY_OLDER", "a policy bundle is older than one already used")
    follows = fresh.manifest.previous == before.identity
    next_one = fresh.serial == before.serial + 1
    if follows != next_one or (adjacent and not follows):
        raise unavailable(
            "POLICY_CHAIN",
            "a policy does not follow the one in force",
            "fairlead policy status; sign again on the base of the one in force, or compare out "
            "of band and copy the release into policy_dir",
        )


def _fork() -> FairleadError:
    return unavailable(
        "POLICY_FORK",
        "two policies have one serial",
        "telephone the officers: somebody signed two releases, or a gateway shows two",
    )


def _not_stored() -> Misconfigured:
    return Misconfigured(
        "a policy release cannot be stored, so it is not taken up",
        reasons=("NOT_STORED",),
        remedy="let this process write its policy_dir and state_dir",
    )


async def _on_the_record(work: Awaitable[object]) -> None:
    """What is refused was written down where it was refused."""
    with suppress(FairleadError):
        await work
