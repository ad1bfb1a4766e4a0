"""What an auditor did is on the record before it sees anything: a log of the auditor's own.

The logs of the oversights that released their shares say it too, and those no auditor can change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured
from fairlead.keyfile import private_folder
from fairlead.leaves import LeafWriter
from fairlead.opening.opened import Opened
from fairlead.opening.request import Request

LOG_FILE, KEY_FILE = "audit.sqlite", "log.key"
ASKED, OPENED, SEARCHED, RELEASED = (
    "opening-asked", "detail-opened", "details-searched", "shares-released",
)  # fmt: skip
MISMATCH, LIED, SPOILT = "DETAIL_MISMATCH", "SHARES_WRONG", "SHARE_SPOILT"


@dataclass(frozen=True, slots=True)
class Record:
    """An auditor's log while a command runs."""

    log: AuditLog
    leaves: LeafWriter

    def put(self, request: Request, subject: str) -> None:
        """The leaf of a request made, or of details about to be shown; durable on return.

        :raises LogUnavailable: it cannot be written: then nothing is shown.
        """
        self._append(opening_leaf(self.leaves, request, subject))

    def alarms(self, opened: Opened) -> None:
        """A leaf for whoever is to blame: the maker of a detail that says what is not so, or of a
        share that is none; and each member who released a wrong one."""
        maker, query_id = opened.item.bound.maker, opened.item.bound.query_id
        accused = [(partner, LIED) for partner in opened.liars]
        accused += [(maker, MISMATCH)] if opened.faults else []
        accused += [(maker, SPOILT)] if opened.spoilt else []
        for partner, reason in accused:
            self.alarm(partner, reason, query_id)

    def alarm(self, partner: str, reason: str, query_id: bytes) -> None:
        """One leaf of an incident."""
        self._append(
            self.leaves.alarm([reason], subject="opening", partner_id=partner, query_id=query_id)
        )

    def _append(self, leaf: bytes) -> None:
        asyncio.run(_append(self.log, leaf))


async def _append(log: AuditLog, leaf: bytes) -> None:
    await log.append(leaf)


def opening_leaf(leaves: LeafWriter, request: Request, subject: str, *, by: str = "") -> bytes:
    """The OPENING leaf of a request: who asks, why, for how much; not for whom or what.

    :param by: the officer who decided, as a command was told.
    """
    alone = request.sought[0].bound.query_id if not request.search else b""
    return leaves.opening(
        subject,
        user=request.auditor.spiffe_id,
        partner_id=request.auditor.partner_id or "",
        ground=request.ground,
        request_digest=request.digest,
        count=len(request.sought),
        query_id=alone,
        since=request.since,
        until=request.until,
        by=by,
    )


@contextmanager
def record(
    folder: Path, federation: str, partner: str, *, clock: Callable[[], float] = time.time
) -> Iterator[Record]:
    """Open an auditor's log, or make it, with its key, in a folder of its own.

    :raises Misconfigured: the folder cannot be used, or another command has it open.
    """
    try:
        private_folder(folder)
        if not (folder / KEY_FILE).exists():
            signing.save_key(folder / KEY_FILE, Ed25519PrivateKey.generate())
    except OSError:
        raise Misconfigured(
            "the folder of your log cannot be used",
            reasons=("FOLDER_IN_THE_WAY",),
            remedy="name another one: --record FOLDER",
        ) from None
    log = AuditLog.open(
        folder / LOG_FILE,
        origin=f"{federation}/partner/{partner}/auditor",
        key=signing.load_signing_key(folder / KEY_FILE),
        clock=clock,
    )
    try:
        yield Record(log, LeafWriter(log=f"partner/{partner}", clock=clock))
    finally:
        log.close()
