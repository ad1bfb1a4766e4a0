"""The port between the log and the database it lies in: SQLite, or PostgreSQL for several gateways.

A store keeps leaves and checkpoints, and beside them, in the same transaction, whatever its process
wants to keep with a leaf. That work is plain SQL in the dialect both understand: ``?`` for a value,
``ON CONFLICT`` and no ``INSERT OR``, a unique key that refuses is asked with ``DO NOTHING`` and
``rowcount`` rather than caught, because a statement that failed ends a PostgreSQL transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from fairlead import errors, receipts

REMEDY = "check the disk and the file's mode, then restart; fairlead audit verify FILE"


class Rows(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int:
        """Rows that an INSERT, UPDATE or DELETE changed."""

    def fetchone(self) -> Any:
        """The next row, a tuple; None behind the last."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""


class Reading(Protocol):
    """What a query runs on."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """Run one statement."""


class Connection(Reading, Protocol):
    """What work beside a leaf runs on: an open transaction, which it must not end."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each of many rows."""


class Snapshot(Reading, Protocol):
    """A log at one moment, also beside those who write it."""

    def tables(self) -> set[str]:
        """Names of the tables that are there."""


Also = Callable[[Any], None]
"""Work done in the transaction of a leaf, given its :class:`Connection` (at a node, whose log is a
file always, a ``sqlite3.Connection``). It runs on the writer thread, must not commit, and may run
again: a transaction that a restarted server undid is done once more."""

Beside = Callable[[Any, int], None]
"""The same for a companion's leaf, whose index it is told."""


class Companion(Protocol):
    """Puts leaves into each transaction before all others, each with its own work. Unlike an
    entry's, a failure of that work fails the log: nothing that rests on what could not be written
    may stand. Called on the writer thread."""

    def contribute(self, connection: Connection, /) -> Sequence[tuple[bytes, Beside]]:
        """What waits, for the transaction that has just begun."""

    def settle(self, durable: bool, /) -> None:
        """What was contributed last is durable, or must be contributed again."""


Row = tuple[int, bytes, bytes, bytes]
"""A leaf as stored: index, hash, body, detail."""


class Store(Protocol):
    """Where one log lies. Its writing half belongs to the writer thread; :meth:`read` does not."""

    shared: bool
    """Whether other processes may append to the same log."""

    @property
    def connection(self) -> Connection:
        """The transaction that is open."""

    def begin(self) -> tuple[int, bytes] | None:
        """Begin a transaction; nobody else begins one before it has ended.

        :returns: size and root of the log; None where only this process can have changed them.
        """

    def attempt(self, work: Also) -> Exception | None:
        """Do an entry's work; what it raises is returned, and then nothing of it remains.

        A fault of the store itself is raised.
        """

    def insert(self, rows: Sequence[Row]) -> None:
        """Put leaves into the transaction."""

    def checkpoint(self, head: receipts.Head, time_ms: int) -> None:
        """Put the checkpoint that covers all leaves into the transaction, as its last act."""

    def commit(self) -> None:
        """End the transaction; whatever is in it is durable when this returns.

        When it raises, it may be durable all the same: see :meth:`reopen`.
        """

    def rollback(self) -> None:
        """Leave the transaction, if one is open. Never raises."""

    def leaves(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Index and hash of the leaves from ``start`` on, in order."""

    def note(self, size: int | None = None) -> str | None:
        """The checkpoint of a size, or the last one; None: there is none."""

    def passes(self, error: BaseException) -> bool:
        """Whether this is a fault that may pass and has left nothing but a transaction in doubt."""

    def reopen(self) -> None:
        """After such a fault: begin anew. What was in doubt is decided once :meth:`begin` returns.

        :raises Exception: not yet, if it :meth:`passes`.
        """

    def explain(self, error: BaseException) -> errors.FairleadError | None:
        """What an error of the database means to whoever opens the log; None: it is none."""

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one small query on what is durable, from any thread.

        :raises LogUnavailable: ``LOG_UNREADABLE``.
        """

    def scrub(self) -> bool:
        """Leave nothing of what was erased where the database puts what it replaced, as far as it
        can be told to; call it outside of transactions, from any thread.

        :returns: False: somebody reads still; try again.
        :raises LogUnavailable: ``LOG_UNREADABLE``.
        """

    def close_reading(self) -> None:
        """Further reads fail."""

    def close(self) -> None:
        """Let go of everything."""


def corrupted(*more: str) -> errors.LogUnavailable:
    """The error for leaves and checkpoints that are not of one another."""
    return errors.LogUnavailable(
        "the audit log does not match its last checkpoint",
        reasons=("LOG_CORRUPTED", *more),
        remedy="fairlead audit verify FILE",
    )


def unreadable() -> errors.LogUnavailable:
    """The error for a query that found no answer."""
    return errors.LogUnavailable(
        "the audit log cannot be read", reasons=("LOG_UNREADABLE",), remedy=REMEDY
    )
