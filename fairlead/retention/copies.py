"""Copies of a log that leave its machine: bodies and details sealed under their periods' keys.

A copy is sealed before it goes into an archive, and opened when the archive is restored. Leaves
that are never erased are as they were. What a key was destroyed for is empty then, as an erased
leaf is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import errors, storage
from fairlead.retention.classes import LeafClass, Retention
from fairlead.retention.periods import PeriodKeys, month_of, unusable
from fairlead.retention.survey import Place, survey

MARK = b"\x00fairlead-period\x01"
"""No leaf begins like that: its first octet is the number of its first field."""
NONCE = 12
_HEAD = len(MARK) + 1 + 2
_CLASSES = tuple(LeafClass)
PAGE = 2_000


def seal_copy(
    path: Path,
    keys: PeriodKeys,
    retention: Retention,
    *,
    now: float,
    random: Callable[[int], bytes] = os.urandom,
) -> int:
    """Seal a log's file in place, which nobody else has open; returns how many leaves.

    :raises Forged: LOG_CORRUPTED. :raises Misconfigured: DATABASE_UNUSABLE.
    """
    count = 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("PRAGMA secure_delete=ON")

            def read(sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                return file.execute(sql, values).fetchall()

            ((size,),) = read("SELECT count(*) FROM leaf")
            file.execute("BEGIN")
            for place in survey(read, size, retention, ()):
                head, key = _key(keys, place, now)
                ((body, detail),) = read(
                    "SELECT body, detail FROM leaf WHERE idx = ?", (place.index,)
                )
                sealed = [
                    _seal(head, key, part, place.leaf_hash + name, random) if part else b""
                    for part, name in ((body, b"body"), (detail, b"detail"))
                ]
                file.execute(
                    "UPDATE leaf SET body = ?, detail = ? WHERE idx = ?", (*sealed, place.index)
                )
                count += 1
            file.execute("COMMIT")
            file.execute("VACUUM")  # pages were split: nothing of what they held stays
    except sqlite3.Error as error:
        raise storage.unusable() from error
    return count


def open_copy(path: Path, keys: Callable[[], PeriodKeys]) -> int:
    """Open a log's file in place, which nobody else has open.

    :param keys: asked only where something is sealed.
    :returns: of how many leaves the key was destroyed: their hash alone is left.
    :raises Misconfigured: PERIOD_KEYS: these are not the keys it was sealed under.
    """
    lost = 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("PRAGMA secure_delete=ON")
            at = 0
            found: PeriodKeys | None = None
            file.execute("BEGIN")
            while rows := file.execute(
                "SELECT idx, hash, body, detail FROM leaf "
                "WHERE idx >= ? AND substr(body, 1, ?) = ? ORDER BY idx LIMIT ?",
                (at, len(MARK), MARK, PAGE),
            ).fetchall():
                found = found or keys()
                for index, leaf_hash, body, detail in rows:
                    parts = _opened(found, leaf_hash, body, detail)
                    lost += parts == (b"", b"")
                    file.execute(
                        "UPDATE leaf SET body = ?, detail = ? WHERE idx = ?", (*parts, index)
                    )
                at = rows[-1][0] + 1
            file.execute("COMMIT")
    except sqlite3.Error as error:
        raise storage.unusable() from error
    return lost


def destroy_over(path: Path, read: Callable[..., Any], size: int, retention: Retention) -> int:
    """Destroy the keys of all months of which everything was erased; returns how many.

    A month of which a leaf is held keeps its key until that one goes, too.

    :raises Misconfigured: PERIOD_KEYS.
    """
    if not path.exists():  # no copy was ever sealed
        return 0
    keys = PeriodKeys.load(path)
    left = {
        (place.leaf_class, month_of(place.time_ms)) for place in survey(read, size, retention, ())
    }
    destroyed = 0
    rows = read("SELECT leaf_class, max(until_ms) FROM erasure GROUP BY leaf_class", ())
    for name, until_ms in rows:
        leaf_class = LeafClass.parse(name)
        over = [
            month
            for month in range(month_of(until_ms))
            if (leaf_class, month) not in left and keys.key(leaf_class, month) is not None
        ]
        keys, destroyed = keys.without(leaf_class, over), destroyed + len(over)
    if destroyed:
        keys.save(path)
    return destroyed


def _key(keys: PeriodKeys, place: Place, now: float) -> tuple[bytes, bytes]:
    """What is put before what a leaf is sealed to, and its key: that of its month, or of this one
    where that was destroyed (a clock that stepped)."""
    for month in (month_of(place.time_ms), month_of(int(now * 1000))):
        key = keys.key(place.leaf_class, month)
        if key is not None:
            number = _CLASSES.index(place.leaf_class)
            return MARK + bytes([number]) + month.to_bytes(2, "big"), key
    raise unusable()


def _seal(
    head: bytes, key: bytes, part: bytes, aad: bytes, random: Callable[[int], bytes]
) -> bytes:
    nonce = random(NONCE)
    return head + nonce + AESGCM(key).encrypt(nonce, part, head + aad)


def _opened(keys: PeriodKeys, leaf_hash: bytes, body: bytes, detail: bytes) -> tuple[bytes, bytes]:
    opened = []
    for part, name in ((body, b"body"), (detail, b"detail")):
        if not part:
            opened.append(b"")
            continue
        head, rest = part[:_HEAD], part[_HEAD:]
        number, month = head[len(MARK)], int.from_bytes(head[-2:], "big")
        if not part.startswith(MARK) or number >= len(_CLASSES) or len(rest) < NONCE:
            raise errors.Forged(
                "a sealed leaf is damaged",
                reasons=("BACKUP_CHANGED",),
                remedy="use another copy of this backup",
            )
        key = keys.key(_CLASSES[number], month)
        if key is None:
            return b"", b""
        try:
            plain = AESGCM(key).decrypt(rest[:NONCE], rest[NONCE:], head + leaf_hash + name)
        except InvalidTag:
            raise unusable() from None
        opened.append(plain)
    return opened[0], opened[1]
