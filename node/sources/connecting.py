"""Connections to owners' databases: read-only, with a timeout, and never kept between reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy
from psycopg.types.string import TextLoader
from sqlalchemy.dialects.postgresql.psycopg import PGExecutionContext_psycopg
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from fairlead.config import SecretReference, reveal
from fairlead.errors import SourceUnusable
from node.sources.database import DatabaseTable

CONNECT_S = 10
"""Seconds to wait for a connection, and on SQLite for another program's lock."""
APPLICATION = "fairlead-node"

_DRIVERS = {
    "postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql",
    "oracle": "oracle+oracledb", "mssql": "mssql+pymssql",
}  # fmt: skip
_EXTRAS = {"mysql": "mysql", "mariadb": "mysql", "oracle": "oracle", "mssql": "mssql"}
_READ_ONLY = {
    "mysql": ("SET SESSION TRANSACTION READ ONLY",),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY",),
    "oracle": ("SET TRANSACTION READ ONLY",),
}
"""Statements at the start of a connection, for dialects that have no option for it."""


def engine_of(table: DatabaseTable, base: Path, environ: Mapping[str, str]) -> Engine:
    """The engine of a mapping's database; nothing is connected yet.

    :raises SourceUnusable: ``URL``, ``DIALECT``, or ``DRIVER_MISSING`` with the extra to install.
    :raises Misconfigured: ``SECRET_MISSING``.
    """
    url = _url(table.url, environ)
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return _sqlite(url, base)
    if "+" not in url.drivername:
        url = url.set(drivername=_DRIVERS.get(dialect, url.drivername))
    arguments = _postgresql(table.timeout_s) if dialect == "postgresql" else {}
    try:
        engine = sqlalchemy.create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=arguments
        )
    except NoSuchModuleError:
        raise _unknown_dialect() from None
    except ImportError:
        raise _driver_missing(dialect) from None
    except (SQLAlchemyError, ValueError, TypeError):
        raise _no_url() from None
    if dialect == "postgresql":
        engine.dialect.execution_ctx_cls = _OneCursorName
        sqlalchemy.event.listen(engine, "connect", _prepare)
    for statement in _READ_ONLY.get(dialect, ()):
        sqlalchemy.event.listen(engine, "connect", _says(statement))
    return engine


def failure(error: Exception) -> SourceUnusable:
    """What a driver's error means to a refresh; its words are not carried along."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(orig, "sqlstate", None) or "")
    code = getattr(orig, "sqlite_errorcode", None)
    if state == "57014" or code == sqlite3.SQLITE_INTERRUPT:
        return SourceUnusable(
            "a source's database took too long to answer",
            reasons=("TIMEOUT",),
            remedy="make an index for the key (and the cursor), or raise database.timeout_s",
        )
    if state.startswith("42") or code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}:
        return SourceUnusable(
            "a source's database refuses what its mapping asks for",
            reasons=("SCHEMA_CHANGED",),
            remedy="compare the table, its columns and the account's SELECT right with the mapping,"
            " then: fairlead-node source test NAME",
        )
    return SourceUnusable(
        "a source's database cannot be reached, or dropped the connection",
        reasons=("SOURCE_DOWN",),
        remedy="check that it runs and that the account may connect (SQLite: a relative path starts"
        " at the node's folder); the next refresh goes on from the last mark",
    )


# ── Dialects ─────────────────────────────────────────────────────────────────────────────────


def _postgresql(timeout_s: int) -> dict[str, Any]:
    """Options that hold from the first statement on; the server refuses every write."""
    options = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{timeout_s}s",
        "lock_timeout": f"{CONNECT_S}s",
        "idle_in_transaction_session_timeout": f"{timeout_s}s",
        "TimeZone": "UTC",
        "DateStyle": "ISO",
    }
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        "connect_timeout": CONNECT_S,
        "application_name": APPLICATION,
        "client_encoding": "UTF8",
        "prepare_threshold": None,  # the same statement is the same line of the server's log
    }


class _OneCursorName(PGExecutionContext_psycopg):
    """SQLAlchemy names a server-side cursor after an address in memory; ours has one name."""

    def create_server_side_cursor(self) -> Any:
        return self._dbapi_connection.cursor("fairlead")


class _BrokenTextLoader(TextLoader):
    """Octets that are not UTF-8 become lone surrogates, so that one row is excluded, not a page."""

    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


class _Cursor(psycopg.ServerCursor[Any]):
    """One that a dropped connection left behind is nothing to warn about."""

    def __del__(self, __warn: Any = None, /) -> None:
        pass


def _prepare(connection: Any, _record: object) -> None:
    """A database that declares no encoding (SQL_ASCII) may hold any octets: take them raw."""
    connection.server_cursor_factory = _Cursor
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("SET client_encoding TO SQL_ASCII")
        connection.commit()
        for name in ("text", "varchar", "bpchar", "name"):
            connection.adapters.register_loader(name, _BrokenTextLoader)


def _sqlite(url: URL, base: Path) -> Engine:
    """Open the file ``mode=ro``: SQLite itself refuses to write, whatever the file's mode."""
    if not url.database or url.database == ":memory:":
        raise _no_url()
    address = f"file:{quote(str(base / url.database))}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=CONNECT_S, check_same_thread=False)
        connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
        connection.execute("PRAGMA query_only = on")
        return connection

    return sqlalchemy.create_engine(
        "sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True
    )


def _says(statement: str) -> Callable[[Any, object], None]:
    def say(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()

    return say


def _url(text: str, environ: Mapping[str, str]) -> URL:
    if text.startswith(("env:", "file:")):
        text = reveal(SecretReference(text), environ).decode("utf-8", "replace").strip()
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise _no_url() from None


def _no_url() -> SourceUnusable:
    return SourceUnusable(
        "a source's database URL cannot be read",
        reasons=("URL",),
        remedy="write it as postgresql://account:password@host/database or sqlite:///file.db",
    )


def _unknown_dialect() -> SourceUnusable:
    return SourceUnusable(
        "a source's database URL names a kind of database that is not known here",
        reasons=("DIALECT",),
        remedy="use sqlite, postgresql, mysql, mariadb, oracle or mssql",
    )


def _driver_missing(dialect: str) -> SourceUnusable:
    extra = _EXTRAS.get(dialect)
    return SourceUnusable(
        "the driver of a source's database is not installed",
        reasons=("DRIVER_MISSING",),
        remedy=f"pip install 'fairlead[{extra}]'" if extra else "install that driver with pip",
    )
