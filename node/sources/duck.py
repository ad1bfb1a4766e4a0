"""DuckDB as a reader of one file: no network, no extensions, no other file, bounded memory."""

from __future__ import annotations

from pathlib import Path

import duckdb

from fairlead.errors import SourceUnusable

BATCH_ROWS = 4096
BROKEN = (duckdb.Error, RuntimeError, UnicodeError)
"""What DuckDB and its binding raise for a file that is not of its format: a name that is not UTF-8
is the binding's own error."""
MEMORY_MB = 256
"""What DuckDB may use for itself."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "temp_directory": "",
}


def confined(
    path: Path, *, memory_mb: int = MEMORY_MB, threads: int = 1
) -> duckdb.DuckDBPyConnection:
    """A connection that can read ``path`` and nothing else, and whose settings are locked."""
    limits = {"memory_limit": f"{memory_mb}MB", "threads": str(threads)}
    connection = duckdb.connect(":memory:", config=_CONFIG | limits)
    connection.execute("SET enable_progress_bar = false")  # it draws on stdout, among the data
    connection.execute("SET allowed_paths = ?", [[str(path)]])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def unreadable() -> SourceUnusable:
    """The error of a file that is not there for us, or not of its format."""
    return SourceUnusable(
        "a source's file cannot be read",
        reasons=("FILE_UNREADABLE",),
        remedy="check the file's permissions (ls -l) and that it is of the format that the mapping"
        " states, then: fairlead-node source test NAME",
    )
