"""Orders and holds on their way to the process that writes the log: files in its state folder.

A command leaves a file; the process takes it up within seconds, or when it starts, and takes it
away when it is done. What it refuses it says in a file beside, which the command reads.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

from fairlead import signing
from fairlead.auditlog.erased import malformed
from fairlead.errors import FairleadError, LogUnavailable, Refused
from fairlead.keyfile import private_folder, write_private
from fairlead.retention.erasing import Eraser
from fairlead.retention.order import MAX_FILE
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import erasure_pb2 as pb

FOLDER = "retention"
JOB, REFUSED = ".job", ".refused"
EVERY_S = 1.0
WAIT_S, LOOK_S = 20.0, 0.2
"""For how long a command waits for the process, and how often it looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """The process's end."""

    folder: Path
    eraser: Eraser

    async def run(self) -> None:
        """Take up what is left here, until cancelled.

        :raises LogUnavailable: the log failed.
        """
        while True:
            for path in await asyncio.to_thread(self.waiting):
                await self.take(path)
            await asyncio.sleep(EVERY_S)

    def waiting(self) -> list[Path]:
        """The jobs left here, the oldest first."""
        return sorted(self.folder.glob(f"*{JOB}"))

    async def take(self, path: Path) -> None:
        """Do one job, or say beside it why not."""
        try:
            await self._do(await asyncio.to_thread(path.read_bytes))
        except LogUnavailable:
            raise  # it stays, for when the log can be written again
        except FairleadError as error:
            get_logger().warning(Event.RETENTION_REFUSED, error=error)
            told = {"message": error.message, "reasons": error.reasons, "remedy": error.remedy}
            data = json.dumps(told).encode()
            await asyncio.to_thread(write_private, path.with_suffix(REFUSED), data)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _do(self, data: bytes) -> None:
        job = signing.parse_canonical(pb.RetentionJob, data, limit=MAX_FILE)
        if job.WhichOneof("job") == "hold":
            await self.eraser.hold(job.hold)
        elif job.WhichOneof("job") == "erasure":
            count = await self.eraser.erase(signing.canonical(job.erasure))
            get_logger().info(Event.LEAVES_ERASED, count=count)
        else:
            raise malformed()


def leave(state: Path, job: pb.RetentionJob) -> Path:
    """Leave a job for the process whose state folder this is; returns its file."""
    folder = private_folder(state / FOLDER)
    data = signing.canonical(job)
    path = folder / f"{time.time_ns():020d}-{signing.digest(data).hex()[:8]}{JOB}"
    write_private(path, data)
    return path


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
        error = _told(refused.read_bytes())
        refused.unlink(missing_ok=True)
        raise error
    return not path.exists()


def _told(data: bytes) -> Refused:
    try:
        told = json.loads(data)
        reasons = tuple(str(code) for code in told["reasons"])
        return Refused(str(told["message"]), reasons=reasons, remedy=str(told["remedy"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Refused("the process refused it; its log says why", reasons=("ERASURE_FILE",))
