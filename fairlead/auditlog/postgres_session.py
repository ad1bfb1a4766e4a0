"""Connections to the PostgreSQL database of a log: what each has to hold to before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from fairlead import errors
from fairlead.auditlog.database_url import DatabaseUrl
from fairlead.auditlog.dialect import placeholders

Session = psycopg.Connection[tuple[Any, ...]]
CONNECT_S = 3
"""Seconds to wait for a connection."""
LOCK_S, IDLE_S, READ_S = 5, 10, 5
"""Seconds to wait for another gateway's transaction; that a transaction may stand still for, as one
of a gateway that was frozen does; and that a small query may take."""
_WIRE = {
    "connect_timeout": CONNECT_S,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "UTF8",
    "application_name": "fairlead-gateway",
}
SAFE = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_commit'), current_setting('server_encoding')"
)
_DURABLE = frozenset({"on", "remote_apply"})


def connect(url: DatabaseUrl, *, writing: bool, standby: bool = False) -> Session:
    """A session in autocommit mode, of the first host of the address that writes.

    :param standby: a host that only follows will do as well.
    :raises psycopg.Error: it cannot be had.
    """
    stated = conninfo_to_dict(url.text)
    settings = {
        "lock_timeout": f"{LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_S}s",
        "default_transaction_read_only": "off" if writing else "on",
        "default_transaction_isolation": "read\\ committed",
        "TimeZone": "UTC",
    }
    if not writing:
        settings["statement_timeout"] = f"{READ_S}s"
    options = [str(stated.get("options") or "")]
    options += [f"-c {name}={value}" for name, value in settings.items()]
    arguments: dict[str, Any] = {**_WIRE, "options": " ".join(options).strip()}
    if writing:
        arguments["target_session_attrs"] = "read-write"
    elif not standby:  # a session that only reads is no "read-write" one
        arguments["target_session_attrs"] = "primary"
    return psycopg.connect(url.text, autocommit=True, **arguments)


def require_durable(found: Sequence[str]) -> None:
    """:raises Misconfigured: ``DATABASE_UNSAFE`` or ``DATABASE_ENCODING``, of what :data:`SAFE`
    found."""
    fsync, pages, commit, encoding = found
    if fsync != "on" or pages != "on" or commit not in _DURABLE:
        raise errors.Misconfigured(
            "the database says that something is durable before it is",
            reasons=("DATABASE_UNSAFE",),
            remedy="set fsync, full_page_writes and synchronous_commit to on, for the server and "
            "for this account",
        )
    if encoding != "UTF8":
        raise errors.Misconfigured(
            "the database cannot hold every text",
            reasons=("DATABASE_ENCODING",),
            remedy="create it anew: createdb --encoding UTF8 --template template0 NAME",
        )


class Statements:
    """A session as work beside a leaf sees it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one statement."""
        if not parameters:
            return self._session.execute(sql.encode())
        return self._session.execute(placeholders(sql).encode(), parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each of many rows."""
        rows = list(parameters)
        if rows:
            self._session.cursor().executemany(placeholders(sql).encode(), rows)


class _Cursor(psycopg.ServerCursor[tuple[Any, ...]]):
    """One that was not read to its end is nothing to warn about: the snapshot ends with it."""

    def __del__(self, __warn: Any = None, /) -> None:
        pass


class PostgresSnapshot:
    """A log's database at one moment; large answers come a page at a time."""

    PAGE = 2_000

    def __init__(self, session: Session) -> None:
        self._session = session
        session.server_cursor_factory = _Cursor
        self._cursors = 0

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one query."""
        self._cursors += 1
        cursor = self._session.cursor(name=f"fairlead{self._cursors}")
        cursor.itersize = self.PAGE
        if parameters:
            return cursor.execute(placeholders(sql).encode(), parameters)
        return cursor.execute(sql.encode())

    def tables(self) -> set[str]:
        """Names of the tables that are there."""
        return tables(self._session)


def tables(session: Session) -> set[str]:
    """Names of the tables in a session's own schema."""
    found = session.execute(
        "SELECT table_name::text FROM information_schema.tables "
        "WHERE table_schema = current_schema()"
    )
    return {name for (name,) in found}


@contextmanager
def snapshot(url: DatabaseUrl) -> Iterator[PostgresSnapshot]:
    """Read a log, also beside the gateways that write it, without writing to it.

    :raises Misconfigured: ``DATABASE_UNUSABLE``.
    :raises Forged: ``LOG_CORRUPTED``: what is in it cannot be read as a log.
    """
    try:
        session = connect(url, writing=False, standby=True)
    except psycopg.Error as error:
        raise unusable() from error
    try:
        session.execute("SET statement_timeout = 0")
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield PostgresSnapshot(session)
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise errors.Forged("the log cannot be read", reasons=("LOG_CORRUPTED",)) from error
    except psycopg.Error as error:
        raise unusable() from error
    finally:
        session.close()


def unusable() -> errors.Misconfigured:
    """The error for a database that cannot be reached, read or written."""
    return errors.Misconfigured(
        "the database cannot be opened",
        reasons=("DATABASE_UNUSABLE",),
        remedy="check that it runs, that the account may connect and create tables, and the free "
        "space; the server's own log says more",
    )
