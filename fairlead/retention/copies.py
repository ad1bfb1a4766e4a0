"""Copies of a log that leave its machine: bodies and details sealed under their periods' keys.

A copy is sealed before it goes into an archive, and opened when the archive is restored. Leaves
that are never erased are as they were. What a key was destroyed for is empty then, as an erased
leaf is.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import errors, signing, storage
from fairlead.auditing.reading import Read, damaged, newest_first
from fairlead.auditing.selection import Selection
from fairlead.auditlog.erased import ERASED, indexes_of, parse_detail
from fairlead.retention.classes import LeafClass, Retention
from fairlead.retention.periods import MONTHS, PeriodKeys, alone, destroyed, month_of, unusable
from fairlead.retention.sealed import Period, SealedUnder, file_beside
from fairlead.retention.survey import Place, survey
from fairlead.v1 import audit_pb2

MARK = b"\x00fairlead-period\x01"
"""No leaf begins like that: its first octet is the number of its first field."""
NONCE = 12
_HEAD = len(MARK) + 1 + 2
_CLASSES = tuple(LeafClass)
PAGE = 2_000


def seal_copy(
    path: Path,
    keys_file: Path,
    retention: Retention,
    *,
    now: float,
    random: Callable[[int], bytes] = os.urandom,
) -> int:
    """Seal a log's file in place, which nobody else has open; returns how many leaves.

    :param keys_file: the period keys; beside them it is kept what each leaf was sealed under.
    :raises Forged: LOG_CORRUPTED.
    :raises Misconfigured: DATABASE_UNUSABLE, PERIOD_KEYS or PERIOD_DESTROYED.
    """
    with alone(keys_file):
        keys, sealed = PeriodKeys.load(keys_file), SealedUnder.load(file_beside(keys_file))
        count = _seal_all(path, keys, sealed, retention, now, random)
        sealed.save(file_beside(keys_file))
    return count


def _seal_all(
    path: Path,
    keys: PeriodKeys,
    sealed: SealedUnder,
    retention: Retention,
    now: float,
    random: Callable[[int], bytes],
) -> int:
    count = 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("PRAGMA secure_delete=ON")

            def read(sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                return file.execute(sql, values).fetchall()

            ((size,),) = read("SELECT count(*) FROM leaf")
            file.execute("BEGIN")
            for place in survey(read, size, retention, ()):
                head, key = _key(keys, sealed, place, now)
                ((body, detail),) = read(
                    "SELECT body, detail FROM leaf WHERE idx = ?", (place.index,)
                )
                parts = [
                    _seal(head, key, part, (place.leaf_hash, name), random) if part else b""
                    for part, name in ((body, b"body"), (detail, b"detail"))
                ]
                file.execute(
                    "UPDATE leaf SET body = ?, detail = ? WHERE idx = ?", (*parts, place.index)
                )
                count += 1
            file.execute("COMMIT")
            file.execute("VACUUM")  # pages were split: nothing of what they held stays
    except sqlite3.Error as error:
        raise storage.unusable() from error
    return count


def _seal(
    head: bytes,
    key: bytes,
    part: bytes,
    what: tuple[bytes, bytes],
    random: Callable[[int], bytes],
) -> bytes:
    nonce = random(NONCE)
    return head + nonce + _cipher(key, *what).encrypt(nonce, part, head + b"".join(what))


def open_copy(path: Path, keys: Callable[[], PeriodKeys]) -> int:
    """Open a log's file in place, which nobody else has open.

    :param keys: asked only where something is sealed.
    :returns: of how many leaves the key was destroyed: their hash alone is left.
    :raises Misconfigured: PERIOD_KEYS: these are not the keys it was sealed under.
    :raises Forged: BACKUP_CHANGED.
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


def destroy_over(path: Path, read: Read, size: int, retention: Retention) -> int:
    """Destroy the keys of all months of which everything was erased; returns how many.

    A key goes once leaves that were sealed under it were erased on the record and none is left that
    was; of a month that no archive holds, once its time is over by an ERASURE leaf and none of its
    leaves is there. So a month of which a leaf is held keeps its key until that one goes, too, and
    whoever empties leaves off the record destroys nothing.

    :raises Misconfigured: PERIOD_KEYS. :raises Forged: LOG_CORRUPTED.
    """
    if not path.exists():  # no copy was ever sealed
        return 0
    gone, over, newest_ms = _on_record(read, size, retention)
    with alone(path):
        keys, sealed = PeriodKeys.load(path), SealedUnder.load(file_beside(path))
        left: set[Period] = set()
        for index, period in sealed.items():
            (over if index < size and gone[index] else left).add(period)
        for place in survey(read, size, retention, ()):
            if sealed.get(place.index) is None:
                left.add((place.leaf_class, month_of(place.time_ms)))
        past = range(month_of(newest_ms))  # this month's is needed for what is sealed today
        going = [(c, m) for c, m in over - left if m in past and keys.key(c, m) is not None]
        for leaf_class, month in going:
            keys = keys.without(leaf_class, [month])
        if going:
            keys.save(path)
    return len(going)


def _on_record(read: Read, size: int, retention: Retention) -> tuple[bytearray, set[Period], int]:
    """What the ERASURE leaves say: of each leaf whether it was erased, which months are over, and
    when the last of them was written. No table beside the log is believed.

    :raises Forged: LOG_CORRUPTED.
    """
    gone, newest_ms = bytearray(size), 0
    over: set[Period] = set()
    selection = Selection(types=frozenset({audit_pb2.LEAF_TYPE_ERASURE}))
    for step in newest_first(read, selection, range(size)):
        for row in step:
            leaf = row.leaf
            if leaf.subject != ERASED:
                continue
            ((detail,),) = read("SELECT detail FROM leaf WHERE idx = ?", (row.index,))
            if not isinstance(detail, bytes) or signing.digest(detail) != leaf.detail_digest:
                raise damaged()
            try:
                _, part = parse_detail(detail)
                indexes = indexes_of(part, row.index)
                leaf_class = LeafClass.parse(leaf.erased_class)
            except errors.InvalidInput:
                raise damaged() from None
            for index in indexes:
                gone[index] = 1
            limit = retention.due_before_ms(leaf_class, leaf.time_ms / 1000)
            over |= {(leaf_class, m) for m in range(month_of(min(leaf.erased_until_ms, limit)))}
            newest_ms = max(newest_ms, leaf.time_ms)
    return gone, over, newest_ms


def _key(keys: PeriodKeys, sealed: SealedUnder, place: Place, now: float) -> tuple[bytes, bytes]:
    """What is put before what a leaf is sealed to, and its key: the one that it was sealed under
    before, else that of its class and month, or of this month where that was destroyed (a clock
    that stepped).

    :raises Misconfigured: PERIOD_DESTROYED.
    """
    months = (month_of(place.time_ms), month_of(int(now * 1000)))
    before = sealed.get(place.index)
    for period in (*([before] if before else ()), *((place.leaf_class, m) for m in months)):
        key = keys.key(*period)
        if key is not None:
            sealed.put(place.index, period)
            leaf_class, month = period
            return MARK + bytes([_CLASSES.index(leaf_class)]) + month.to_bytes(2, "big"), key
    raise destroyed()


def _cipher(key: bytes, leaf_hash: bytes, name: bytes) -> AESGCM:
    """Each part of each leaf has a key of its own, so that no nonce is ever used twice under one,
    however many archives are made."""
    return AESGCM(hmac.digest(key, leaf_hash + name, "sha256"))


def _opened(
    keys: PeriodKeys, leaf_hash: object, body: object, detail: object
) -> tuple[bytes, bytes]:
    """A leaf's body and detail; nothing of both: the key was destroyed.

    :raises Forged: BACKUP_CHANGED. :raises Misconfigured: PERIOD_KEYS.
    """
    opened = []
    for part, name in ((body, b"body"), (detail, b"detail")):
        if not isinstance(part, bytes) or not isinstance(leaf_hash, bytes):
            raise _changed()
        if not part:
            opened.append(b"")
            continue
        if not part.startswith(MARK) or len(part) < _HEAD + NONCE:
            raise _changed()
        head, rest = part[:_HEAD], part[_HEAD:]
        number, month = head[len(MARK)], int.from_bytes(head[-2:], "big")
        if number >= len(_CLASSES) or month >= MONTHS:
            raise _changed()
        key = keys.key(_CLASSES[number], month)
        if key is None:
            return b"", b""
        cipher = _cipher(key, leaf_hash, name)
        try:
            opened.append(cipher.decrypt(rest[:NONCE], rest[NONCE:], head + leaf_hash + name))
        except InvalidTag:
            raise unusable() from None
    return opened[0], opened[1]


def _changed() -> errors.Forged:
    return errors.Forged(
        "a sealed leaf is damaged",
        reasons=("BACKUP_CHANGED",),
        remedy="use another copy of this backup",
    )
