"""Where a log lies that is no file: the address of a PostgreSQL database, a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fairlead.errors import Misconfigured

_SCHEMES = ("postgresql://", "postgres://")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", ""})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A ``postgresql://`` URL that may be used; it never shows itself."""

    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """Read a URL as libpq understands it.

        :raises Misconfigured: ``DATABASE_URL``: it is none; ``DATABASE_TLS``: another machine
            would be spoken to without knowing which.
        """
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        text = text.strip()
        try:
            parts = conninfo_to_dict(text) if text.startswith(_SCHEMES) else {}
        except (psycopg.Error, ValueError):
            parts = {}
        if not parts.get("dbname"):
            raise Misconfigured(
                "the reference to the database holds no address of one",
                reasons=("DATABASE_URL",),
                remedy="write postgresql://account:password@host/database into what it refers to",
            )
        hosts = [
            host for name in ("host", "hostaddr") for host in str(parts.get(name) or "").split(",")
        ]
        near = all(host in _LOOPBACK or host.startswith("/") for host in hosts)
        if not near and parts.get("sslmode") != "verify-full":
            raise Misconfigured(
                "the database is on another machine, which has to prove that it is the right one",
                reasons=("DATABASE_TLS",),
                remedy="append ?sslmode=verify-full&sslrootcert=FILE to its address",
            )
        return cls(text)


Place = Path | DatabaseUrl
"""Where a log lies."""
