"""The decoys of this owner: identifiers of no record, published like those of records.

They stand in the node's log file, each encrypted under a key that follows from the index's secret,
and every change goes with a leaf that commits to it. Whoever administers the node can read them
with that secret; an analyst, an auditor and whoever copies the file cannot. One that was removed is
remembered for as long as an entry of it may still be found.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import identifiers, signing
from fairlead.auditlog import AuditLog
from fairlead.decoys import MAX_DECOYS
from fairlead.errors import Conflict, InvalidInput, NotFound, Overloaded
from fairlead.leaves import LeafWriter
from fairlead.notice import DECOY_ID_SIZE
from fairlead.telemetry import Event, get_logger
from node.index.codec import Codec

MIGRATIONS = (
    """
    CREATE TABLE decoy (
        id BLOB PRIMARY KEY, sealed BLOB NOT NULL, removed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)
_NONCE = 12
_SECRET = 32


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Decoy:
    """An invented identifier. ``id`` (8 octets) is what alerts call it; what it looks like
    follows from ``secret`` (32). Times are unix seconds; one in force has a
    ``removed_at`` of 0."""

    id: bytes
    scheme: str
    value: str
    secret: bytes
    generated: bool
    added_at: int
    removed_at: int = 0

    @property
    def record_ref(self) -> bytes:
        """The reference of the record that there is not: 16 octets."""
        return signing.commit(self.secret, b"decoy record")[:16]

    def to_document(self) -> dict[str, Any]:
        """For another process of this node, through a pipe: it holds the secret."""
        return {**asdict(self), "id": self.id.hex(), "secret": self.secret.hex()}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Decoy:
        """Undo :meth:`to_document`."""
        octets = {name: bytes.fromhex(document[name]) for name in ("id", "secret")}
        return cls(**{**document, **octets})


class DecoyBook:
    """The decoys in an open log; changes go with a leaf's transaction.

    :param keys: the index's token and field key.
    :param kept_s: seconds for which an entry of a removed one may be found.
    """

    def __init__(
        self,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        keys: tuple[bytes, bytes],
        kept_s: int,
        clock: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._codec = Codec(*keys)
        self._cipher = AESGCM(signing.commit(keys[1], b"decoys"))
        self._kept_s = kept_s
        self._clock = clock
        self._random = random
        self._found: dict[bytes, Decoy] | None = None
        self._by_term: dict[tuple[str, str], Decoy] = {}

    def in_force(self) -> list[Decoy]:
        """Those that are published from now on."""
        return [decoy for decoy in self._all().values() if not decoy.removed_at]

    def findable(self) -> list[Decoy]:
        """Those of which an entry may be found, removed ones among them."""
        since = self._clock() - self._kept_s
        return [d for d in self._all().values() if not d.removed_at or d.removed_at > since]

    def to_documents(self) -> list[dict[str, Any]]:
        """Those in force, for another process."""
        return [decoy.to_document() for decoy in self.in_force()]

    def token(self, decoy: Decoy) -> bytes:
        """The index's token of its identifier: 16 octets."""
        return self._codec.token(decoy.scheme, decoy.value)

    def print(self) -> bytes:
        """32 octets that change when what is published of decoys does."""
        secrets = b"".join(sorted(decoy.secret for decoy in self.in_force()))
        return hashlib.sha256(secrets).digest()

    def named(self, terms: Iterable[tuple[str, str]]) -> tuple[bytes, ...]:
        """The ids of the decoys among some terms; the work depends on their number alone."""
        since = self._clock() - self._kept_s
        self._all()
        found = (self._by_term.get(term) for term in dict.fromkeys(terms))
        return tuple(d.id for d in found if d and (not d.removed_at or d.removed_at > since))

    async def add(self, scheme: str, values: Sequence[str], *, generated: bool) -> list[Decoy]:
        """Take identifiers, in canonical form and held by no record, as decoys.

        :raises Conflict: ``DECOY_KNOWN``. :raises Overloaded: ``DECOYS_FULL``.
        """
        known = {(decoy.scheme, decoy.value) for decoy in self.findable()}
        if len(set(values)) != len(values) or any((scheme, value) in known for value in values):
            raise Conflict(
                "this identifier is a decoy already, or was one until lately",
                reasons=("DECOY_KNOWN",),
                remedy="fairlead-node decoys list --config FILE",
            )
        if len(known) + len(values) > MAX_DECOYS:
            raise Overloaded(
                "a node has at most 1,000 decoys, those that were removed lately among them",
                reasons=("DECOYS_FULL",),
                remedy="fairlead-node decoys list --config FILE, and remove some",
            )
        now = int(self._clock())
        made = [
            Decoy(
                id=self._random(DECOY_ID_SIZE),
                scheme=scheme,
                value=value,
                secret=self._random(_SECRET),
                generated=generated,
                added_at=now,
            )
            for value in values
        ]
        await self._change("decoys-added", made, lambda c: self._insert(c, made))
        return made

    async def remove(self, decoy_id: bytes) -> Decoy:
        """End one. :raises NotFound: ``DECOY_UNKNOWN``."""
        found = self._all().get(decoy_id)
        if found is None or found.removed_at:
            raise NotFound(
                "there is no decoy of this id",
                reasons=("DECOY_UNKNOWN",),
                remedy="fairlead-node decoys list --config FILE",
            )
        now = int(self._clock())
        statement = "UPDATE decoy SET removed_at = ? WHERE id = ?"
        await self._change(
            "decoys-removed", [found], lambda c: c.execute(statement, (now, found.id))
        )
        return found

    async def _change(
        self, subject: str, decoys: Sequence[Decoy], work: Callable[[sqlite3.Connection], object]
    ) -> None:
        over = int(self._clock()) - self._kept_s

        def also(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM decoy WHERE removed_at BETWEEN 1 AND ?", (over,))
            work(connection)

        await self._log.append(self._leaves.owner(subject, digest=commitment(decoys)), also=also)
        self._found = None

    def _insert(self, connection: sqlite3.Connection, decoys: Sequence[Decoy]) -> None:
        for decoy in decoys:
            nonce = self._random(_NONCE)
            said = orjson.dumps(decoy.to_document())
            sealed = nonce + self._cipher.encrypt(nonce, said, decoy.id)
            connection.execute("INSERT INTO decoy VALUES (?, ?, 0)", (decoy.id, sealed))

    def _all(self) -> dict[bytes, Decoy]:
        """Id → decoy. Those that another secret encrypted are no decoys any more: neither token
        nor reference would be the same."""
        if self._found is None:
            found, unreadable = {}, 0
            for number, sealed, removed_at in self._log.read("SELECT * FROM decoy"):
                try:
                    said = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], number)
                except InvalidTag:
                    unreadable += 1
                    continue
                document = {**orjson.loads(said), "removed_at": removed_at}
                found[number] = Decoy.from_document(document)
            if unreadable:
                get_logger().error(Event.DECOYS_UNREADABLE, count=unreadable)
            self._found = found
            self._by_term = {(d.scheme, d.value): d for d in found.values()}
        return self._found


def decoy_id(text: str) -> bytes:
    """An id as it is printed: 16 hexadecimal digits. :raises InvalidInput: ``DECOY_ID``."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != DECOY_ID_SIZE:
        raise InvalidInput(
            "an id of a decoy has 16 hexadecimal digits",
            reasons=("DECOY_ID",),
            remedy="fairlead-node decoys list --config FILE",
        )
    return found


def commitment(decoys: Sequence[Decoy]) -> bytes:
    """32 octets that bind some decoys and show nothing of them, not even how many."""
    each = (signing.commit(d.secret, f"{d.scheme}|{d.value}".encode()) for d in decoys)
    return signing.digest(b"".join(sorted(each)))


def admissible(scheme: str, value: str) -> str:
    """The canonical form of an identifier that may be a decoy.

    :raises InvalidInput: what :func:`fairlead.identifiers.parse` raises, or :func:`check_scheme`.
    """
    found = identifiers.parse(scheme, value)
    check_scheme(scheme)
    return found.value


def check_scheme(scheme: str) -> None:
    """An invented person may be a real one, whose name would then alarm others.

    :raises InvalidInput: ``DECOY_SCHEME``.
    """
    if (
        scheme not in identifiers.SCHEMES
        or scheme in identifiers.PERSONAL
        or identifiers.ceiling(scheme) is not None
    ):
        raise InvalidInput(
            "identifiers of this kind cannot be decoys: they are of persons, or never published",
            reasons=("DECOY_SCHEME",),
            remedy="fairlead-node decoys add container VALUE --config FILE",
        )
