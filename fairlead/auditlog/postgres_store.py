"""A log in a PostgreSQL database: several gateways append to it, one transaction at a time.

The server is trusted to keep what it acknowledged, once it says that it flushes (fsync,
full_page_writes, synchronous_commit), and to undo whatever it did not. So a fault of the connection
or of its resources passes, and is followed by looking at the head; one of the data does not.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from fairlead import errors, receipts
from fairlead.auditlog.database_url import DatabaseUrl
from fairlead.auditlog.dialect import placeholders
from fairlead.auditlog.postgres_schema import migrate
from fairlead.auditlog.postgres_session import (
    SAFE,
    Session,
    Statements,
    connect,
    require_durable,
    unusable,
)
from fairlead.auditlog.store import Also, Row, unreadable

_PASSES = ("08", "40", "53", "57", "25006", "25P03", "55P03")
"""SQLSTATEs of faults that may pass: the connection, a conflict or deadlock, resources (a full disk
among them), an administrator's intervention, a server that is read-only, a transaction that stood
still for too long, and a lock waited for too long. All others say that something is wrong, as does
the server that warns while it commits."""
_OF_AN_ENTRY = ("0A", "21", "22", "23", "25P02", "42", "44", "P0")
"""SQLSTATEs that blame a statement."""
_GOES = "quickdie"
"""The server's function that ends a session because the server stops at once; what it says may
arrive together with the acknowledgement of a commit."""
_PAGE = 10_000
_TRY_AGAIN_S = 0.5
"""After a reader could not connect, seconds in which it is not tried again."""
_BEGIN = f"""
    BEGIN ISOLATION LEVEL READ COMMITTED;
    {SAFE}, size, root FROM log_head WHERE id = 1 FOR UPDATE
"""
_PUT = """
    WITH put AS (INSERT INTO checkpoint (size, note, time_ms) VALUES (%s, %s, %s))
    UPDATE log_head SET size = %s, root = %s WHERE id = 1
"""


class _Warned(Exception):
    """The server committed, and said that it is not as durable as it should be."""


class PostgresStore:
    """See :class:`~fairlead.auditlog.store.Store`."""

    shared = True

    def __init__(self, url: DatabaseUrl, session: Session) -> None:
        self._url = url
        self._take(session)
        self._reader: Session | None = None
        self._reading = threading.Lock()
        self._not_before = 0.0
        self._closed = False

    @classmethod
    def open(
        cls, url: DatabaseUrl, migrations: Sequence[str], application: Sequence[str]
    ) -> PostgresStore:
        """Connect, and make the tables that are missing.

        :param application: migrations of the caller's own tables.
        :raises Misconfigured: ``DATABASE_UNUSABLE``, ``DATABASE_UNSAFE``, ``DATABASE_ENCODING``,
            ``DATABASE_FOREIGN``, ``DATABASE_NEWER`` or ``DATABASE_CHANGED``.
        """
        session: Session | None = None
        try:
            session = _safe(url)
            migrate(session, [("auditlog", migrations), ("application", application)])
        except BaseException as error:
            if session is not None:
                session.close()
            if isinstance(error, psycopg.Error):
                raise unusable() from error
            raise
        return cls(url, session)

    def _take(self, session: Session) -> None:
        self._session = session
        self._statements = Statements(session)
        self._warned = False
        session.add_notice_handler(self._hear)

    def _hear(self, said: psycopg.errors.Diagnostic) -> None:
        goes = said.source_function == _GOES  # says nothing of what was acknowledged before
        self._warned |= said.severity_nonlocalized == "WARNING" and not goes

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    @property
    def connection(self) -> Statements:
        """The transaction that is open."""
        return self._statements

    def begin(self) -> tuple[int, bytes] | None:
        """Begin a transaction and lock the head, behind every other gateway's transaction."""
        found = self._session.execute(_BEGIN.encode(), prepare=False)
        found.nextset()
        row = found.fetchone()
        if row is None:
            raise errors.LogUnavailable("the audit log has no head", reasons=("LOG_CORRUPTED",))
        require_durable(row[:4])
        return row[4], row[5]

    def attempt(self, work: Also) -> Exception | None:
        """Do an entry's work in a savepoint of its own."""
        self._session.execute("SAVEPOINT entry")
        failed: Exception | None = None
        try:
            work(self._statements)
        except Exception as error:
            if isinstance(error, psycopg.Error) and not _blames_a_statement(error):
                raise
            failed = error
        if failed is None and self._session.info.transaction_status is TransactionStatus.INERROR:
            failed = RuntimeError()  # it hid that a statement had failed
        if failed is not None:
            self._session.execute("ROLLBACK TO SAVEPOINT entry")
        self._session.execute("RELEASE SAVEPOINT entry")
        return failed

    def insert(self, rows: Sequence[Row]) -> None:
        """Put leaves into the transaction."""
        into = "COPY leaf (idx, hash, body, detail) FROM STDIN (FORMAT BINARY)"
        with self._session.cursor() as cursor, cursor.copy(into) as copy:
            copy.set_types(("int8", "bytea", "bytea", "bytea"))
            for row in rows:
                copy.write_row(row)

    def checkpoint(self, head: receipts.Head, time_ms: int) -> None:
        """Put a checkpoint into the transaction, and move the head."""
        self._session.execute(_PUT, (head.size, head.checkpoint, time_ms, head.size, head.root))

    def commit(self) -> None:
        """End the transaction."""
        self._warned = False
        status = self._session.execute("COMMIT").statusmessage
        if status != "COMMIT" or self._warned:  # ROLLBACK: it had failed before
            raise _Warned

    def rollback(self) -> None:
        """Leave the transaction, if one is open."""
        with contextlib.suppress(psycopg.Error):
            self._session.execute("ROLLBACK")

    def leaves(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Index and hash of the leaves from ``start`` on."""
        while True:
            page = self._session.execute(
                "SELECT idx, hash FROM leaf WHERE idx >= %s ORDER BY idx LIMIT %s", (start, _PAGE)
            ).fetchall()
            yield from page
            if len(page) < _PAGE:
                return
            start = page[-1][0] + 1

    def note(self, size: int | None = None) -> str | None:
        """The checkpoint of a size, or the last one."""
        row = self._session.execute(
            "SELECT note FROM checkpoint WHERE size = coalesce(%s, (SELECT max(size) FROM "
            "checkpoint))",
            (size,),
        ).fetchone()
        return None if row is None else row[0]

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def passes(self, error: BaseException) -> bool:
        """Whether it is a fault of the connection, of resources or of another gateway's lock."""
        if not isinstance(error, psycopg.Error):
            return False
        if error.sqlstate is None:  # not the server's words: the connection is broken, or none
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_PASSES)

    def reopen(self) -> None:
        """Begin anew with another session; the last one's transaction ends by itself."""
        with contextlib.suppress(psycopg.Error):
            self._session.close()
        self._take(_safe(self._url))

    def explain(self, error: BaseException) -> errors.FairleadError | None:
        """Whatever the server says while a log is opened, the operator must look at."""
        return unusable() if isinstance(error, psycopg.Error) else None

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one small query on what is durable, from any thread; once more on a new connection
        when the last one has gone."""
        with self._reading:
            for again in (True, False):
                try:
                    return self._query(sql, parameters)
                except psycopg.Error as error:
                    gone = self._reader is None or self._reader.broken
                    self._forget()
                    if not (again and gone and self.passes(error)):
                        raise unreadable() from error
        raise unreadable()

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._closed or time.monotonic() < self._not_before:
            raise unreadable()
        if self._reader is None:
            try:
                self._reader = connect(self._url, writing=False)
            except psycopg.Error:
                self._not_before = time.monotonic() + _TRY_AGAIN_S
                raise
        text = placeholders(sql) if parameters else sql
        return self._reader.execute(text.encode(), parameters or None).fetchall()

    def _forget(self) -> None:
        if self._reader is not None and self._reader.broken:
            self._reader.close()
            self._reader = None

    def scrub(self) -> bool:
        """Let the server take the replaced rows away. Its own write-ahead log and its pages keep
        their octets until they are used again: see docs/operate.md."""
        try:
            with contextlib.closing(connect(self._url, writing=True)) as session:
                session.execute("VACUUM leaf")
        except psycopg.Error as error:
            if self.passes(error):
                return False
            raise unreadable() from error
        return True

    def close_reading(self) -> None:
        """Further reads fail."""
        with self._reading:
            self._closed = True
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def close(self) -> None:
        """Let go of both connections."""
        self.close_reading()
        self._session.close()


def _safe(url: DatabaseUrl) -> Session:
    """A writing session of a server that flushes what it acknowledges.

    What the account's defaults were is pinned, so that no reload of the server's settings lowers
    them under a session that runs.
    """
    session = connect(url, writing=True)
    try:
        found = session.execute(SAFE).fetchone()
        require_durable(found or ("", "", "", ""))
        session.execute("SELECT set_config('synchronous_commit', %s, false)", (found or ("",))[2:3])
    except BaseException:
        session.close()
        raise
    return session


def _blames_a_statement(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.ProgrammingError | psycopg.DataError)
    return error.sqlstate.startswith(_OF_AN_ENTRY)
