"""The register: pseudonyms, roles, one-time codes, and leaves on their way to the audit log.

Several processes may have it open: the serving authority and its administrator's commands. What
they do is one transaction each, and the leaf that records it is part of that transaction; the
process that holds the audit log moves the leaves over (:mod:`fairlead.user_authority.journal`).
No name of a person is in it: who is behind a pseudonym, the partner knows elsewhere.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fairlead import storage
from fairlead.certificates import Role
from fairlead.errors import Conflict, NotFound

MIGRATIONS = (
    """
    CREATE TABLE user (
        pseudonym TEXT PRIMARY KEY,
        roles TEXT NOT NULL,
        responsible TEXT NOT NULL,
        schemes TEXT NOT NULL,
        state TEXT NOT NULL,
        added_at INTEGER NOT NULL,
        certified_until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE code (
        digest BLOB PRIMARY KEY,
        pseudonym TEXT NOT NULL REFERENCES user (pseudonym),
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE failure (at INTEGER NOT NULL) STRICT;
    CREATE TABLE leaf (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;
    CREATE TABLE deny_list (serial INTEGER PRIMARY KEY) STRICT;
    """,
)


class State(StrEnum):
    """Whether somebody may have a certificate."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One pseudonym. A service user has a ``responsible`` person and ``schemes``."""

    pseudonym: str
    roles: tuple[Role, ...]
    responsible: str = ""
    schemes: tuple[str, ...] = ()
    state: State = State.ACTIVE
    added_at: int = 0
    certified_until: int = 0


class Register:
    """One partner's people. Every method that changes something runs inside :meth:`change`."""

    def __init__(self, database: storage.Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Register:
        """Open or create the register.

        :raises Misconfigured: the file cannot be used.
        """
        return cls(storage.open_database(path, MIGRATIONS, exclusive=False, scope="register"))

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def change(self) -> AbstractContextManager[None]:
        """One transaction; whatever is raised inside undoes it."""
        return storage.transaction(self._database)

    # ── People ───────────────────────────────────────────────────────────────────────────────

    def people(self) -> list[Person]:
        """Everybody, by pseudonym."""
        rows = self._database.execute("SELECT * FROM user ORDER BY pseudonym")
        return [_person(row) for row in rows]

    def person(self, pseudonym: str) -> Person:
        """:raises NotFound: UNKNOWN_USER."""
        row = self._database.execute(
            "SELECT * FROM user WHERE pseudonym = ?", (pseudonym,)
        ).fetchone()
        if row is None:
            raise NotFound(
                "the register has no such pseudonym",
                reasons=("UNKNOWN_USER",),
                remedy="fairlead-authority user list",
            )
        return _person(row)

    def add(self, person: Person) -> None:
        """:raises Conflict: USER_EXISTS."""
        try:
            self._database.execute(
                "INSERT INTO user VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    person.pseudonym,
                    ",".join(sorted(person.roles)),
                    person.responsible,
                    ",".join(sorted(person.schemes)),
                    person.state.value,
                    person.added_at,
                    person.certified_until,
                ),
            )
        except sqlite3.IntegrityError:
            raise Conflict(
                "this pseudonym is taken",
                reasons=("USER_EXISTS",),
                remedy="fairlead-authority user renew PSEUDONYM   (a new code), or another one",
            ) from None

    def set_state(self, pseudonym: str, state: State) -> None:
        """Suspend somebody, or not; whoever is suspended loses every open code."""
        self._database.execute(
            "UPDATE user SET state = ? WHERE pseudonym = ?", (state.value, pseudonym)
        )
        if state is State.SUSPENDED:
            self._database.execute("DELETE FROM code WHERE pseudonym = ?", (pseudonym,))

    def certified(self, pseudonym: str, until: int) -> None:
        """Remember until when the newest certificate lives."""
        self._database.execute(
            "UPDATE user SET certified_until = max(certified_until, ?) WHERE pseudonym = ?",
            (until, pseudonym),
        )

    # ── Codes ────────────────────────────────────────────────────────────────────────────────

    def put_code(self, digest: bytes, pseudonym: str, expires_at: int) -> None:
        """Keep a code's digest in place of any earlier code of that person."""
        self._database.execute("DELETE FROM code WHERE pseudonym = ?", (pseudonym,))
        self._database.execute("INSERT INTO code VALUES (?, ?, ?)", (digest, pseudonym, expires_at))

    def take_code(self, digest: bytes, now: int) -> str | None:
        """Use a code up; returns whose it was, or None when it is none that is in force."""
        row = self._database.execute(
            "DELETE FROM code WHERE digest = ? RETURNING pseudonym, expires_at", (digest,)
        ).fetchone()
        return str(row[0]) if row is not None and now < row[1] else None

    def failures_since(self, moment: int) -> int:
        """How many codes were refused since then; older ones are forgotten."""
        self._database.execute("DELETE FROM failure WHERE at < ?", (moment,))
        (count,) = self._database.execute("SELECT count(*) FROM failure").fetchone()
        return int(count)

    def failed(self, now: int) -> None:
        """Count a refused code."""
        self._database.execute("INSERT INTO failure VALUES (?)", (now,))

    # ── Leaves and lists ─────────────────────────────────────────────────────────────────────

    def record(self, leaf: bytes) -> None:
        """Keep a leaf until the audit log has it."""
        self._database.execute("INSERT INTO leaf (body) VALUES (?)", (leaf,))

    def waiting(self) -> list[tuple[int, bytes]]:
        """Leaves that the audit log does not have yet, oldest first, with their numbers."""
        rows = self._database.execute("SELECT number, body FROM leaf ORDER BY number LIMIT 256")
        return [(int(number), bytes(body)) for number, body in rows]

    def moved(self, number: int) -> None:
        """Forget a leaf that the audit log has."""
        self._database.execute("DELETE FROM leaf WHERE number = ?", (number,))

    def next_serial(self) -> int:
        """The next deny list's serial."""
        (last,) = self._database.execute("SELECT max(serial) FROM deny_list").fetchone()
        serial = int(last or 0) + 1
        self._database.execute("DELETE FROM deny_list")
        self._database.execute("INSERT INTO deny_list VALUES (?)", (serial,))
        return serial


def _person(row: tuple[str, str, str, str, str, int, int]) -> Person:
    pseudonym, roles, responsible, schemes, state, added_at, certified_until = row
    return Person(
        pseudonym=pseudonym,
        roles=tuple(Role(name) for name in roles.split(",")),
        responsible=responsible,
        schemes=tuple(filter(None, schemes.split(","))),
        state=State(state),
        added_at=added_at,
        certified_until=certified_until,
    )
