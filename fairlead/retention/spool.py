"""Orders and holds on their way to the process that writes the log: files in its state folder.

A command leaves a file; the process takes it up within seconds, or when it starts, and takes it
away when it is done. What it refuses it says in a file beside, which the command reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import signing
from fairlead.auditlog.erased import malformed
from fairlead.errors import FairleadError, LogUnavailable, Misconfigured, Refused
from fairlead.keyfile import private_folder, write_private
from fairlead.retention.erasing import Eraser
from fairlead.retention.order import MAX_FILE
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import erasure_pb2 as pb

FOLDER = "retention"
JOB, HOLD, REFUSED = ".job", ".hold", ".refused"
"""Holds have files of their own: they come before what they are to stop."""
MAX_HOLD = 64 * 1024
EVERY_S = 1.0
WAIT_S, LOOK_S = 20.0, 0.2
"""For how long a command waits for the process, and how often it looks."""
PATIENCE = 60
"""Attempts to scrub, a second apart, before somebody is told that a reader keeps it from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """The process's end. Nothing that lies in the folder stops the process, or what lies beside."""

    folder: Path
    eraser: Eraser
    _done: set[Path] = field(default_factory=set, init=False)
    """Jobs that are done and whose files would not go: they are not done again."""
    _told: set[Path] = field(default_factory=set, init=False)
    """Files that cannot be taken up, and of which the operator's log says so."""
    _scrub: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """Take up what is left here, until cancelled.

        :raises LogUnavailable: the log failed.
        """
        self._scrub.set()  # what an erasure put aside that a crash cut
        scrubbing = asyncio.create_task(self._scrubbing())
        try:
            while True:
                with suppress(OSError):  # the disk is full or read-only: tried again
                    await asyncio.to_thread(private_folder, self.folder)
                await self.holds()
                for path in await asyncio.to_thread(self.waiting):
                    await self.take(path)
                await asyncio.sleep(EVERY_S)
        finally:
            scrubbing.cancel()

    def waiting(self) -> list[Path]:
        """The jobs left here: holds, then the rest, the oldest first."""
        return _files(self.folder, HOLD) + _files(self.folder, JOB)

    async def holds(self, *, strict: bool = False) -> None:
        """Put and end the holds that wait.

        :raises LogUnavailable: the log failed, or, if ``strict``, cannot be read for a while.
        """
        for path in await asyncio.to_thread(_files, self.folder, HOLD):
            await self.take(path, strict=strict)

    async def take(self, path: Path, *, strict: bool = False) -> None:
        """Do one job, or say beside it why not. What cannot be read or written now stays, and is
        tried again.

        :raises LogUnavailable: the log failed, or, if ``strict``, cannot be read for a while.
        """
        try:
            if path not in self._done:
                await self._answer(path)
            self._done.add(path)
            await asyncio.to_thread(path.unlink, missing_ok=True)
            self._done.discard(path)
        except FileNotFoundError:  # whoever left it took it away
            self._done.discard(path)
        except LogUnavailable as error:
            if strict or not self.eraser.log.healthy:
                raise
            self._tell(path, error)
        except OSError as error:
            self._tell(path, error)
        else:
            self._told.discard(path)

    async def _answer(self, path: Path) -> None:
        try:
            await self._do(path)
        except LogUnavailable:
            raise
        except FairleadError as error:
            get_logger().warning(Event.RETENTION_REFUSED, error=error)
            told = {"message": error.message, "reasons": error.reasons, "remedy": error.remedy}
            data = json.dumps(told).encode()
            await asyncio.to_thread(write_private, path.with_suffix(REFUSED), data)

    async def _do(self, path: Path) -> None:
        job = await asyncio.to_thread(_read, path)
        kind = job.WhichOneof("job")
        if kind == "hold":
            await self.eraser.hold(job.hold)
        elif kind == "erasure" and path.suffix == JOB:
            data = await asyncio.to_thread(signing.canonical, job.erasure)
            try:
                count = await self.eraser.erase(data, lambda: self.holds(strict=True))
            finally:
                self._scrub.set()
            get_logger().info(Event.LEAVES_ERASED, count=count)
        else:
            raise malformed()

    def _tell(self, path: Path, error: Exception) -> None:
        if path not in self._told:
            self._told.add(path)
            get_logger().warning(Event.RETENTION_WAITS, error=error)

    async def _scrubbing(self) -> None:
        """Take away what the database put aside, as often as somebody's reading asks for."""
        while True:
            await self._scrub.wait()
            self._scrub.clear()
            attempts = 0
            while not await self._scrubbed():
                attempts += 1
                if attempts == PATIENCE:
                    get_logger().warning(Event.SCRUB_WAITS, count=attempts)
                await asyncio.sleep(EVERY_S)

    async def _scrubbed(self) -> bool:
        try:
            return await self.eraser.scrub()
        except LogUnavailable:  # a log that failed says so to whoever appends
            return False


def _files(folder: Path, suffix: str) -> list[Path]:
    try:
        return sorted(folder.glob(f"*{suffix}"))
    except OSError:  # looked at again in a second
        return []


def _read(path: Path) -> pb.RetentionJob:
    """A job; what is no plain file is none.

    :raises OSError: it cannot be read, now. :raises InvalidInput: ERASURE_FILE, or not canonical.
    """
    most = MAX_HOLD if path.suffix == HOLD else MAX_FILE
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("a job is a plain file")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(handle)
    return signing.parse_canonical(pb.RetentionJob, data, limit=most)


def leave(state: Path, job: pb.RetentionJob) -> Path:
    """Leave a job for the process whose state folder this is; returns its file.

    :raises Misconfigured: STATE_OWNER: the process could not read it.
    """
    folder = state / FOLDER
    kept = folder if folder.exists() else state
    if kept.exists() and kept.stat().st_uid != os.geteuid():
        raise Misconfigured(
            "the state folder is another account's, whose process could not read this",
            reasons=("STATE_OWNER",),
            remedy="type the command as the account that runs the process",
        )
    private_folder(folder)
    data = signing.canonical(job)
    suffix = HOLD if job.WhichOneof("job") == "hold" else JOB
    path = folder / f"{time.time_ns():020d}-{signing.digest(data).hex()[:8]}{suffix}"
    write_private(path, data)
    return path


def pending(state: Path) -> tuple[list[Path], list[tuple[Path, Refused]]]:
    """What waits in a state folder for its process, and what this refused while nobody waited."""
    folder = state / FOLDER
    waits = _files(folder, HOLD) + _files(folder, JOB)
    return waits, [(path, _answer_in(path)) for path in _files(folder, REFUSED)]


def wait(path: Path) -> bool:
    """Wait for a job to be done.

    :returns: False: it still waits, because the process does not run or has much to erase.
    :raises Refused: the process said no; its own words.
    """
    for _ in range(int(WAIT_S / LOOK_S)):
        if not path.exists():
            break
        time.sleep(LOOK_S)
    refused = path.with_suffix(REFUSED)
    if refused.exists():
        error = _answer_in(refused)
        refused.unlink(missing_ok=True)
        raise error
    return not path.exists()


def _answer_in(path: Path) -> Refused:
    try:
        told = json.loads(path.read_bytes())
        reasons = tuple(str(code) for code in told["reasons"])
        return Refused(
            "the process that keeps the log refused it", reasons=reasons, remedy=str(told["remedy"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Refused("the process refused it; its log says why", reasons=("ERASURE_FILE",))
