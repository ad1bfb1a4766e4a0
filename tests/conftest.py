"""Loaded before every test module."""

import os
from collections.abc import Iterator
from pathlib import Path

import fairlead.tls  # noqa: F401 - first: it sets the TLS floor before anything imports gRPC

# isort: split
import pytest

from tests.audited import Shelf, audit_server, shelf
from tests.postgres import Postgres

# Workers of pytest-xdist start demos side by side: each has a thousand ports of its own.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ.setdefault("FAIRLEAD_DEMO_PORT", str(7400 + 1000 * int(_WORKER)))


@pytest.fixture(scope="session")
def log_server() -> Iterator[Postgres]:
    """A PostgreSQL server for audit logs, one for all tests of a process."""
    with audit_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    """Places for audit logs: in files, then in a database."""
    server = request.getfixturevalue("log_server") if request.param == "postgres" else None
    with shelf(tmp_path, server) as made:
        yield made
