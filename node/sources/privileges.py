"""What a database account may do beyond reading, and the statements that would take it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node.sources.database import DatabaseTable

ROLE = "fairlead_reader"

_SUPERUSER = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
_WRITABLE = (
    "SELECT count(*) FROM pg_catalog.pg_class c"  # noqa: S608  (constants)
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_OURS}"
    " AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
)
_CREATES = (
    "SELECT count(*) FROM pg_catalog.pg_namespace n"  # noqa: S608  (constants)
    f" WHERE {_OURS} AND has_schema_privilege(n.oid, 'CREATE')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """One right that a source's account has and does not need.

    ``code``: ``SUPERUSER``, ``WRITES`` (INSERT, UPDATE, DELETE or TRUNCATE on ``count`` tables
    or views) or ``CREATES`` (CREATE on ``count`` schemas). ``remedy``: statements for the
    database's own administrator.
    """

    code: str
    count: int
    remedy: str

    def sentence(self) -> str:
        """For a person."""
        return {
            "SUPERUSER": "the account is a superuser: nothing in the database is closed to it",
            "WRITES": f"the account can write to {self.count} tables or views",
            "CREATES": f"the account can create tables in {self.count} schemas",
        }[self.code]


def excess_of(
    connection: Connection, table: DatabaseTable, columns: Sequence[str]
) -> tuple[Excess, ...]:
    """Ask PostgreSQL about the account in use. SQLite has no accounts: the file is opened
    ``mode=ro``. Other dialects are not examined."""
    if connection.dialect.name != "postgresql":
        return ()
    reader = reader_statements(table, columns)
    found = []
    if connection.execute(sa.text(_SUPERUSER)).scalar():
        found.append(Excess(code="SUPERUSER", count=1, remedy=reader))
    if count := connection.execute(sa.text(_WRITABLE)).scalar():
        found.append(Excess(code="WRITES", count=count, remedy=reader))
    if count := connection.execute(sa.text(_CREATES)).scalar():
        revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        found.append(Excess(code="CREATES", count=count, remedy=f"{revoke}\n{reader}"))
    return tuple(found)


def reader_statements(table: DatabaseTable, columns: Sequence[str]) -> str:
    """The statements that make an account which can read what the mapping names, and no more."""
    schema, _, name = (table.table or "").rpartition(".")
    schema = schema or "public"
    listed = ", ".join(_quoted(column) for column in columns)
    grant = (
        f"GRANT SELECT ({listed}) ON {_quoted(schema)}.{_quoted(name)} TO {ROLE};"
        if table.table
        else f"GRANT SELECT ON … TO {ROLE};  -- every table of the mapping's query"
    )
    return (
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '…';\n"
        f"GRANT USAGE ON SCHEMA {_quoted(schema)} TO {ROLE};\n{grant}"
    )


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
