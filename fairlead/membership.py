"""Membership that changes while a process runs: directory, pins and deny lists.

Every call reads the directory once and keeps what it read. A query is verified under the
directory its header names: the current one, or one superseded a short while ago, so that no
query in flight fails when a new one is published. See ADR 11.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fairlead.certificates import IdentityCheck
from fairlead.errors import FairleadError, Forged, Misconfigured
from fairlead.keyfile import write_private
from fairlead.partners import Directory, directory_mismatch
from fairlead.telemetry import Event, get_logger
from fairlead.trust import DenyListFile, Trust, former_path, read_trusted

GRACE_S = 600.0
"""Seconds a superseded directory still verifies queries made under it."""
VERSIONS = 8
"""Directories kept at a time, the current one included."""
SETTLE_S = 2.0
"""Seconds between the gateway's confirming a directory and the first query made under it: as
long as the other nodes may take to hear of it."""
WAIT_S = 2.0
"""Seconds a query made under a directory not known here yet may wait for it."""


_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    data: bytes
    directory: Directory
    confirmed_at: float | None = None
    superseded_at: float | None = None


class LiveDirectory:
    """The directory in force and those lately superseded; see :class:`Directories`.

    :param clock: Unix seconds.
    """

    def __init__(self, first: Directory, data: bytes, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        # What a process starts with is what it stopped with: nobody needs to confirm it.
        self._versions = [_Version(data=data, directory=first, confirmed_at=_LONG_AGO)]
        self._changed = asyncio.Event()
        self.on_unknown: Callable[[], None] = lambda: None
        """Called when a query names a newer directory than any held here."""

    @property
    def current(self) -> Directory:
        """The newest verified one."""
        return self._versions[-1].directory

    @property
    def transmitted(self) -> bytes:
        """The current one as transmitted (``pb.SignedDirectory``)."""
        return self._versions[-1].data

    @property
    def asking(self) -> Directory:
        """The newest one the gateway has confirmed for :data:`SETTLE_S` seconds, within its grace.

        A gateway that never confirms does not keep a node with keys that were replaced.
        """
        now = self._clock()
        for version in reversed(self._versions):
            left, confirmed = version.superseded_at, version.confirmed_at
            if left is not None and left <= now - GRACE_S:
                break
            if confirmed is not None and now >= confirmed + SETTLE_S:
                return version.directory
        return self.current

    @property
    def recent(self) -> tuple[Directory, ...]:
        """:attr:`asking`, and those before it that still verify, newest first."""
        newest, oldest = self.asking, self._clock() - GRACE_S
        return tuple(
            version.directory
            for version in reversed(self._versions)
            if version.directory.serial <= newest.serial
            and (version.superseded_at is None or version.superseded_at > oldest)
        )

    def at(self, serial: int) -> Directory:
        """The one of ``serial``, if it is current or within its grace.

        :raises Stale: DIRECTORY_MISMATCH.
        """
        oldest = self._clock() - GRACE_S
        for version in reversed(self._versions):
            left = version.superseded_at
            if version.directory.serial == serial and (left is None or left > oldest):
                return version.directory
        raise directory_mismatch()

    async def wait_for(self, serial: int, *, timeout_s: float = WAIT_S) -> None:
        """Wait, at most ``timeout_s``, until a directory of ``serial`` or a newer one is held."""
        if serial <= self.current.serial:
            return
        self.on_unknown()
        try:
            async with asyncio.timeout(timeout_s):
                while serial > self.current.serial:
                    await self._changed.wait()
        except TimeoutError:
            return  # the envelope then says DIRECTORY_MISMATCH

    def remember(self, former: list[_Version]) -> None:
        """Versions superseded before this process started, oldest first."""
        self._versions = [*former, *self._versions][-VERSIONS:]

    def swap(self, fresh: Directory, data: bytes) -> None:
        """Make a verified, newer directory the current one."""
        now = self._clock()
        *before, last = self._versions
        last = replace(last, superseded_at=now)
        self._versions = [*before, last, _Version(data=data, directory=fresh)][-VERSIONS:]
        self._wake()

    def confirm(self, serial: int) -> None:
        """The gateway serves the directory of ``serial``: queries may soon be made under it."""
        now = self._clock()
        self._versions = [
            replace(version, confirmed_at=now)
            if version.directory.serial <= serial and version.confirmed_at is None
            else version
            for version in self._versions
        ]

    def reread(self, verify: Callable[[bytes], Directory]) -> None:
        """Verify every version again, under other pins; a superseded one that fails is dropped.

        :raises FairleadError: the current one does not verify; nothing has changed.
        """
        *before, last = self._versions
        last = replace(last, directory=verify(last.data))
        kept = []
        for version in before:
            try:
                kept.append(replace(version, directory=verify(version.data)))
            except FairleadError:
                continue
        self._versions = [*kept, last]
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _kept(path: Path, trust: Trust, current: Directory, now: float) -> list[_Version]:
    """Directories superseded a short while ago, as they lie beside the current one."""
    found = []
    for serial in range(max(1, current.serial - VERSIONS + 1), current.serial):
        file = former_path(path, serial)
        with contextlib.suppress(FairleadError, OSError):
            left, data = file.stat().st_mtime, read_trusted(file)
            if now - left < GRACE_S:
                directory = trust.verify(data, now=now)
                found.append(
                    _Version(
                        data=data, directory=directory, confirmed_at=_LONG_AGO, superseded_at=left
                    )
                )
    return found


Record = Callable[[Directory], Awaitable[None]]


class Membership:
    """What a process knows of the federation, verified, and kept up to date.

    :param path: the directory's file; what is taken over is stored there.
    :param pins: the pins file; new and removed roots take effect, other changes need a restart.
    """

    def __init__(
        self,
        *,
        trust: Trust,
        path: Path,
        pins: Path,
        deny_lists: Path,
        clock: Callable[[], float],
    ) -> None:
        """:raises FairleadError: directory or deny lists do not verify."""
        self._path = path
        self._pins = pins
        self._clock = clock
        self._stamps = {path: _stamp(path), pins: _stamp(pins)}
        data = read_trusted(path)
        self.trust = trust
        current = trust.verify(data, now=clock())
        self.directory = LiveDirectory(current, data, clock=clock)
        self.directory.remember(_kept(path, trust, current, clock()))
        self.on_problem: Callable[[FairleadError], None] = lambda _error: None
        """Called with whatever could not be taken over, beside the log line."""
        self.deny_lists = DenyListFile(
            deny_lists, trust, self.directory, clock, on_problem=self.problem
        )
        self.identity_check = IdentityCheck(
            directory=lambda: self.directory.current, deny_lists=self.deny_lists, clock=clock
        )
        self.record: Record | None = None
        """Writes a directory's activation down; set once the audit log is open."""
        self.on_change: list[Callable[[Directory, Directory], None]] = []
        """Called with the directory before and the one now in force."""
        self._taking = asyncio.Lock()

    def problem(self, error: FairleadError) -> None:
        """Write down what could not be taken over; what is in force stays in force."""
        get_logger().error(Event.MEMBERSHIP_PROBLEM, error=error)
        self.on_problem(error)

    async def take(self, data: bytes) -> bool:
        """Take over a signed directory, from the file or from the gateway.

        1. It verifies: operators, pinned roots, chain, and it is not older.
        2. One serial has one content.
        3. Its activation is durable in the audit log, which refuses what it has seen newer.
        4. It is stored, so that a restart without a gateway finds it, and the one before beside
           it, because receipts are verified under the directory of their time.
        5. It is in force.

        :returns: whether it was new.
        :raises Forged: not verifiable, or DIRECTORY_FORK. :raises Stale: older or expired.
        """
        async with self._taking:
            before = self.directory.current
            # 1
            fresh = self.trust.verify(data, now=self._clock(), previous=before)
            # 2
            if fresh.serial == before.serial:
                if fresh.digest != before.digest:
                    raise Forged("two directories have one serial", reasons=("DIRECTORY_FORK",))
                return False
            # 3
            if self.record is not None:
                await self.record(fresh)
            # 4
            self._store(former_path(self._path, before.serial), self.directory.transmitted)
            self._store(self._path, data)
            # 5
            self.directory.swap(fresh, data)
        get_logger().info(Event.DIRECTORY_LOADED, serial=fresh.serial)
        self._follow(before)
        return True

    def take_deny_lists(self, data: bytes) -> bool:
        """Take over and store newer deny lists (``pb.DenyListBundle``).

        :returns: whether any was newer.
        :raises FairleadError: see :meth:`DenyLists.update`.
        """
        changed = self.deny_lists.take(data)
        if changed:
            self._store_deny_lists()
        return changed

    def _store_deny_lists(self) -> None:
        try:
            self.deny_lists.store()
        except OSError:
            self.problem(_unwritable())

    async def look(self) -> None:
        """Look at the files once; what changed and verifies takes effect, the rest is a problem."""
        try:
            if self._moved(self._pins):
                async with self._taking:  # what is being taken over was verified under these pins
                    self._repin()
            if self._moved(self._path):
                await self.take(read_trusted(self._path))
        except FairleadError as error:
            self.problem(error)
        self.deny_lists.look()
        if self.deny_lists.outdone:  # written over by somebody who had not heard of the newer list
            self.deny_lists.outdone = False
            self._store_deny_lists()

    async def watch(self, *, every_s: float = 1.0) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    def _repin(self) -> None:
        fresh = Trust.load(self._pins)
        if replace(fresh, roots=self.trust.roots) != self.trust:
            raise Misconfigured(
                "operators, policy officers or the federation changed in the pins file",
                reasons=("PINS_CHANGED",),
                remedy="compare them out of band, then restart this process",
            )
        before, now = self.directory.current, self._clock()
        self.directory.reread(lambda data: fresh.verify(data, now=now))
        self.trust = fresh
        self._follow(before)

    def _follow(self, before: Directory) -> None:
        """Deny lists of partners now pinned count; then everybody else hears."""
        self.deny_lists.forget()
        self.deny_lists.look()
        for hear in self.on_change:
            try:
                hear(before, self.directory.current)
            except FairleadError as error:  # nobody keeps the next one, an alarm, from hearing
                self.problem(error)

    def _moved(self, path: Path) -> bool:
        stamp = _stamp(path)
        moved = stamp != self._stamps[path]
        self._stamps[path] = stamp
        return moved

    def _store(self, path: Path, data: bytes) -> None:
        try:
            if not path.exists() or path.read_bytes() != data:
                write_private(path, data)
        except OSError:
            self.problem(_unwritable())
        self._stamps[path] = _stamp(path)


def _unwritable() -> Misconfigured:
    return Misconfigured(
        "what the federation published cannot be stored; a restart would not know it",
        reasons=("NOT_STORED",),
        remedy="let this process write its directory and deny_lists files",
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
