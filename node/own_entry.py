"""The node's own directory entry: changed by its own rotation, or behind its back."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory, Partner
from fairlead.telemetry import Event, get_logger


class OwnEntry:
    """Watches the node's own entry: follows a rotation made here, raises an alarm over any other.

    ``fairlead-node rotate`` keeps what it made as ``entry-<sequence>.bin`` in the key folder.
    """

    def __init__(
        self, partner_id: str, folder: Path, keys: KeyRing, log: AuditLog, leaves: LeafWriter
    ) -> None:
        """:param folder: the key folder, where ``rotate`` keeps the entries it made."""
        self._partner_id = partner_id
        self._folder = folder
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._writing: set[asyncio.Future[object]] = set()

    def __call__(self, before: Directory, after: Directory) -> None:
        """Called with the directory before and the one in force."""
        old, new = (d.partners.get(self._partner_id) for d in (before, after))
        if new is not None and old is not None and new.entry_digest == old.entry_digest:
            return
        if new is not None:
            with contextlib.suppress(Misconfigured):
                self._log.rekey(self._keys.signing(new.signing_key))
        self._judge(new)

    def since_last_run(self, seen: int | None, now: Partner) -> None:
        """Called at the start, with the sequence this log has seen active last."""
        if seen is not None and seen != now.sequence:
            self._judge(now)

    def _judge(self, new: Partner | None) -> None:
        if new is not None and made_here(self._folder, new):
            return
        get_logger().error(Event.OWN_ENTRY_CHANGED)
        leaf = self._leaves.alarm(["OWN_ENTRY_CHANGED"], subject="directory")
        task: asyncio.Future[object] = asyncio.ensure_future(self._log.append(leaf))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def made_here(keys: Path, entry: Partner) -> bool:
    """Whether this entry is one that was made with this key folder."""
    try:
        data = (keys / f"entry-{entry.sequence}.bin").read_bytes()
    except OSError:
        return False
    return signing.digest(data) == entry.entry_digest
