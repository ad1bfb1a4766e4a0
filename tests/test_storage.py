"""Database files: one process, durable, migrated, readable by their owner alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead import errors, storage

FIRST = "CREATE TABLE one (value INTEGER); INSERT INTO one VALUES (1);"
SECOND = """
CREATE TABLE two (value TEXT DEFAULT 'a;b'); -- a comment; with a semicolon
CREATE TRIGGER both AFTER INSERT ON one BEGIN
    INSERT INTO two VALUES ('x');
    INSERT INTO two VALUES ('y');
END;
-- the end
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def refused(path: Path, code: str, migrations: tuple[str, ...] = ()) -> None:
    with pytest.raises(errors.Misconfigured) as caught:
        storage.open_database(path, migrations)
    assert caught.value.code == code


def test_every_commit_is_flushed(path: Path) -> None:
    """The database runs on a write-ahead log with synchronous=FULL (2)."""
    database = storage.open_database(path, ())
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_files_belong_to_their_owner_alone(path: Path) -> None:
    """The database, its log, its shared memory and its lock all have mode 0600."""
    previous = os.umask(0)
    try:
        database = storage.open_database(path, (FIRST,))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        database.close()
    finally:
        os.umask(previous)
    assert modes == dict.fromkeys(
        ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm", "state.sqlite.lock"], 0o600
    )


def test_migrations_run_once_and_in_order(path: Path) -> None:
    """Reopening applies only what is new; triggers, comments and quoted semicolons survive."""
    storage.open_database(path, (FIRST,)).close()
    database = storage.open_database(path, (FIRST, SECOND))
    database.execute("INSERT INTO one VALUES (2)")
    assert database.execute("SELECT value FROM one ORDER BY 1").fetchall() == [(1,), (2,)]
    assert database.execute("SELECT value FROM two ORDER BY 1").fetchall() == [("x",), ("y",)]
    database.close()
    storage.open_database(path, (FIRST, SECOND)).close()


def test_a_failing_migration_leaves_nothing(path: Path) -> None:
    """A migration that fails half way is undone whole, and the file still opens."""
    storage.open_database(path, (FIRST,)).close()
    refused(path, "DATABASE_UNUSABLE", (FIRST, "CREATE TABLE half (a); CREATE TABLE one (a);"))
    database = storage.open_database(path, (FIRST,))
    names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    assert "half" not in names
    database.close()


def test_scopes_number_their_own_migrations(path: Path) -> None:
    """Two modules share one file without disturbing each other's numbers."""
    database = storage.open_database(path, (FIRST,), scope="a")
    storage.migrate(database, (SECOND,), scope="b")
    storage.migrate(database, (FIRST,), scope="a")
    database.close()


def test_a_newer_database_is_refused(path: Path) -> None:
    """A file with migrations we do not know was written by a newer version."""
    storage.open_database(path, (FIRST, SECOND)).close()
    refused(path, "DATABASE_NEWER", (FIRST,))


def test_a_changed_migration_is_refused(path: Path) -> None:
    """A migration edited after it ran is noticed."""
    storage.open_database(path, (FIRST,)).close()
    refused(path, "DATABASE_CHANGED", (FIRST + " ",))


def test_a_second_opener_is_refused(path: Path) -> None:
    """The file is locked against another opener until the first one closes it."""
    first = storage.open_database(path, ())
    refused(path, "DATABASE_IN_USE")
    first.close()
    storage.open_database(path, ()).close()


def test_a_second_process_is_refused(path: Path) -> None:
    """Another process is told that the database is in use."""
    first = storage.open_database(path, ())
    program = (
        "import sys; from pathlib import Path; from fairlead import errors, storage\n"
        "try: storage.open_database(Path(sys.argv[1]), ())\n"
        "except errors.Misconfigured as error: print(error.code)"
    )
    output = subprocess.check_output([sys.executable, "-c", program, str(path)], text=True)
    assert output == "DATABASE_IN_USE\n"
    first.close()


def test_a_refused_opening_lets_go_of_the_lock(path: Path) -> None:
    """After an opening that failed, the next one is not told that the file is in use."""
    path.write_bytes(b"not a database, not by a long way" * 200)
    refused(path, "DATABASE_UNUSABLE")
    path.unlink()
    storage.open_database(path, ()).close()


def test_an_unlocked_opening_may_share(path: Path) -> None:
    """exclusive=False takes no lock and minds none."""
    first = storage.open_database(path, ())
    storage.open_database(path, (), exclusive=False).close()
    refused(path, "DATABASE_IN_USE")
    first.close()


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_damaged_file_is_refused(path: Path, content: bytes) -> None:
    """A file that is no database is refused by writer and reader, and left as it is."""
    path.write_bytes(content)
    refused(path, "DATABASE_UNUSABLE")
    with pytest.raises(errors.Misconfigured):
        storage.open_readonly(path)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused(path: Path) -> None:
    """A database made by another program is not migrated."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    refused(path, "DATABASE_FOREIGN")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Neither writer nor reader invents folders or files."""
    refused(tmp_path / "none" / "state.sqlite", "DATABASE_UNUSABLE")
    with pytest.raises(errors.Misconfigured):
        storage.open_readonly(tmp_path / "none.sqlite")
    assert not list(tmp_path.iterdir())


def test_a_reader_sees_commits_and_cannot_write(path: Path) -> None:
    """A read-only connection works beside the writer and refuses to write."""
    writer = storage.open_database(path, (FIRST,))
    reader = storage.open_readonly(path)
    writer.execute("INSERT INTO one VALUES (5)")
    assert reader.execute("SELECT max(value) FROM one").fetchone() == (5,)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("INSERT INTO one VALUES (6)")
    reader.close()
    writer.close()


def as_nobody(program: str, path: Path) -> str:
    """Run a program without root's power to ignore file modes."""
    drop = "import os\nif os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    head = "import sys; from pathlib import Path; from fairlead import errors, storage\n"
    return subprocess.check_output(
        [sys.executable, "-c", head + drop + program, str(path)], text=True
    )


def test_a_read_only_file_is_refused(public_folder: Path) -> None:
    """A file without write permission cannot be opened for writing."""
    path = public_folder / "state.sqlite"
    storage.open_database(path, (FIRST,)).close()
    Path(f"{path}.lock").chmod(0o666)
    path.chmod(0o444)
    output = as_nobody(
        "try: storage.open_database(Path(sys.argv[1]), ())\n"
        "except errors.Misconfigured as error: print(error.code)",
        path,
    )
    assert output == "DATABASE_UNUSABLE\n"


def test_a_copy_in_a_read_only_folder_is_readable(public_folder: Path) -> None:
    """A closed database can be read where nothing at all can be written."""
    path = public_folder / "state.sqlite"
    storage.open_database(path, (FIRST,)).close()
    path.chmod(0o444)
    public_folder.chmod(0o555)
    output = as_nobody(
        "database = storage.open_readonly(Path(sys.argv[1]))\n"
        "print(database.execute('SELECT value FROM one').fetchall()); database.close()",
        path,
    )
    public_folder.chmod(0o755)
    assert output == "[(1,)]\n"


def test_a_transaction_that_raises_or_cannot_commit_leaves_nothing(tmp_path: Path) -> None:
    """What is raised inside, or by the commit, undoes it, and the next one begins anew."""
    parent = "CREATE TABLE a (id INTEGER PRIMARY KEY) STRICT;"
    child = "CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED) STRICT;"
    database = storage.open_database(tmp_path / "a.sqlite", (parent + child,))
    with pytest.raises(ValueError, match="inside"), storage.transaction(database):
        database.execute("INSERT INTO a VALUES (1)")
        raise ValueError("inside")
    with pytest.raises(sqlite3.IntegrityError), storage.transaction(database):
        database.execute("INSERT INTO b VALUES (9)")
    with storage.transaction(database):
        database.execute("INSERT INTO a VALUES (2)")
    assert database.execute("SELECT id FROM a").fetchall() == [(2,)]
    assert database.execute("SELECT * FROM b").fetchall() == []
    database.close()
