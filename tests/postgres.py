"""A private PostgreSQL server for tests: its own cluster, its own folder, its own statement log.

The real programs of the distribution, started as the ``postgres`` user when the tests run as
root (PostgreSQL refuses to run as root). Where they are missing the tests skip and say so,
unless ``FAIRLEAD_REQUIRE_ALL`` is set.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.federation import free_ports

NEXT = "apt-get install postgresql"
FAST = {"fsync": "off", "full_page_writes": "off"}
"""For databases that nobody relies on; a log's refuses to be opened."""
_SETTINGS = {
    "shared_buffers": "32MB",
    "log_statement": "all",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %a: ",
    "listen_addresses": "127.0.0.1",
}
_ENTRY = re.compile(r"^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] ")


@dataclass(slots=True)
class Postgres:
    """A running server; ``log`` is the file that every statement is written to."""

    port: int
    log: Path
    superuser: str
    _launch: Callable[[], subprocess.Popen[bytes]]
    _server: subprocess.Popen[bytes]

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: connections are ended (SIGINT), or it crashes (SIGQUIT)."""
        self._server.send_signal(how)
        self._server.wait(30)

    def start(self) -> None:
        """Start it again over the same data, after :meth:`stop`."""
        self._server = self._launch()
        _wait(self, self._server)

    def url(self, *, user: str | None = None, database: str = "postgres") -> str:
        """For SQLAlchemy; accounts need no password on this server."""
        return f"postgresql://{user or self.superuser}@127.0.0.1:{self.port}/{database}"

    def admin(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the superuser that commits every statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=self.superuser, dbname=database,
            autocommit=True, application_name="test",
        )  # fmt: skip

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Statements of the superuser, one by one."""
        with self.admin(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def size_of_log(self) -> int:
        """Octets written until now."""
        return self.log.stat().st_size

    def statements(self, since: int, *, of: str, until: int | None = None) -> list[str]:
        """What one application's connections said behind ``since``, without times and processes."""
        text = self.log.read_bytes()[since:until].decode("utf-8", "replace")
        entries = re.split(r"(?m)(?=^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] )", text)
        plain = [_ENTRY.sub("", entry) for entry in entries]
        return [entry for entry in plain if entry.startswith(f"{of}: ")]


def installed() -> Path | None:
    """The folder of PostgreSQL's own programs, if they are here."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2])
    beside = shutil.which("initdb")
    if found:
        return found[-1]
    return Path(beside).resolve().parent if beside else None


def programs() -> Path:
    """The folder of PostgreSQL's own programs; skips, or fails when everything is required."""
    found = installed()
    if found is not None:
        return found
    if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
        pytest.fail(f"PostgreSQL is required here (next: {NEXT})")
    pytest.skip(f"no PostgreSQL on this machine (next: {NEXT})")


@contextmanager
def postgres(*, encoding: str = "UTF8", settings: Mapping[str, str] = FAST) -> Iterator[Postgres]:
    """Make a cluster, run it, stop it and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="fairlead-pg-"))
    try:
        yield from _run(folder, encoding, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, encoding: str, changes: Mapping[str, str]) -> Iterator[Postgres]:
    home = programs()
    owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    if os.geteuid() == 0:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def start(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
                env={"PATH": str(home), "LC_ALL": "C", "TZ": "UTC"},
                **(identity if os.geteuid() == 0 else {}),
            )  # fmt: skip

    data, log = folder / "data", folder / "server.log"
    made = start(
        [
            home / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", encoding,
            "--locale=C", "--no-sync",
        ],
        folder / "initdb.log",
    )  # fmt: skip
    assert made.wait(60) == 0, (folder / "initdb.log").read_text()
    (port,) = free_ports(1)
    own = {"port": str(port), "unix_socket_directories": str(folder)}
    settings = {**_SETTINGS, **changes, **own}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def launch() -> subprocess.Popen[bytes]:
        return start([home / "postgres", "-D", data, *options], log)

    running = Postgres(port, log, "postgres", launch, launch())
    try:
        _wait(running, running._server)
        yield running
    finally:
        running.stop()


def _wait(running: Postgres, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, running.log.read_text()
        try:
            running.admin().close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("PostgreSQL did not come up")
