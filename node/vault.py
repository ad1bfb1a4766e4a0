"""A file of this node's own that nobody reads without its secret: the store behind the history.

AES-256-GCM (NIST SP 800-38D) under one random key of the node; the place of every value is
authenticated with it, so that no record can be moved into another's place.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import storage
from fairlead.errors import LogUnavailable, Misconfigured

_NONCE = 12

T = TypeVar("T")


class Cipher:
    """Encrypts values for their places under one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, *place: bytes | int) -> bytes:
        """Encrypt ``data`` for its place."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, _place(place))

    def unseal(self, sealed: bytes, *place: bytes | int) -> bytes:
        """Undo :meth:`seal`.

        :raises Misconfigured: HISTORY_KEY: another secret, or not the value of this place.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _place(place))
        except InvalidTag:
            raise Misconfigured(
                "the history does not open with this node's secret",
                reasons=("HISTORY_KEY",),
                remedy="restore history.secret and history.sqlite from the same backup",
            ) from None


class Vault(Cipher):
    """A durable database whose values are encrypted before they are written."""

    def __init__(self, database: storage.Database, key: bytes) -> None:
        super().__init__(key)
        self._database = database
        self._gate = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, key: bytes, migrations: Sequence[str]) -> Self:
        """Open or create the file for writing; one process at a time.

        :param key: 32 octets. :raises Misconfigured: the file is in use, damaged or foreign.
        """
        return cls(storage.open_database(path, migrations, scope="vault"), key)

    @classmethod
    def open_readonly(cls, path: Path, *, key: bytes) -> Self:
        """Open an existing file beside the process that serves it.

        :raises Misconfigured: it cannot be read.
        """
        return cls(storage.open_readonly(path), key)

    def close(self) -> None:
        """Release the file."""
        with self._gate:
            self._database.close()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction off the event loop; durable when this returns, and
        finished also when the caller is cancelled meanwhile."""
        return await asyncio.shield(asyncio.to_thread(self._transact, work))

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """:raises LogUnavailable: HISTORY_UNAVAILABLE: a full disk, or a broken medium."""
        try:
            with self._gate, storage.transaction(self._database):
                return work(self._database)
        except sqlite3.OperationalError:
            raise LogUnavailable(
                "the history cannot be written, so nothing was sent",
                reasons=("HISTORY_UNAVAILABLE",),
                remedy="make room under state_dir (df -h), then ask again",
            ) from None

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one small query."""
        with self._gate:
            return self._database.execute(sql, parameters).fetchall()

    async def erase(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """:meth:`write`, after which what ``work`` deleted stands neither in the file nor in its
        write-ahead log, as far as the file system lets it."""

        def overwrite(connection: sqlite3.Connection) -> T:
            connection.execute("PRAGMA secure_delete = ON")
            return work(connection)

        done = await self.write(overwrite)
        await asyncio.shield(asyncio.to_thread(self._settle))
        return done

    def _settle(self) -> None:
        with self._gate:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _place(place: Iterable[bytes | int]) -> bytes:
    parts = [item if isinstance(item, bytes) else item.to_bytes(4, "big") for item in place]
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return b"fairlead/v1/vault\x00" + framed
