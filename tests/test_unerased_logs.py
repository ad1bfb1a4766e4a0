"""Logs of which nothing is ever erased: an oversight's, a user authority's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from fairlead import errors, signing
from fairlead.auditlog import AuditLog
from fairlead.cli.authority import app as authority_app
from fairlead.cli.oversight import app as oversight_app
from fairlead.config import load
from fairlead.oversight import founding as oversight
from fairlead.oversight.app import origin as oversight_origin
from fairlead.oversight.config import OversightConfig
from fairlead.user_authority import founding as authority
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.journal import LOG_FILE
from fairlead.user_authority.journal import origin as authority_origin
from tests.erased import NOW, Desk, whole
from tests.founders import FEDERATION


def an_oversight(folder: Path) -> tuple[Typer, Path, Path, str, Path]:
    oversight.found(folder, partner="customs", federation=FEDERATION, node_folder=None, seed=None)
    file = folder / "oversight.toml"
    config = load(OversightConfig, file)
    return oversight_app, file, config.state_dir, oversight_origin(config), config.keys_dir


def an_authority(folder: Path) -> tuple[Typer, Path, Path, str, Path]:
    authority.found(
        folder, partner="customs", federation=FEDERATION, listen="127.0.0.1:0",
        node_folder=None, now=NOW,
    )  # fmt: skip
    file = folder / "authority.toml"
    config = load(AuthorityConfig, file)
    return authority_app, file, config.state_dir, authority_origin(config), config.keys_dir


@pytest.mark.parametrize("make", [an_oversight, an_authority])
def test_a_log_that_never_erases_accepts_no_erasure(make: object, tmp_path: Path) -> None:
    """Whoever has such a log's key, and any two people, empties none of its leaves unseen."""
    app, file, state, origin, keys = make(tmp_path / "made")  # type: ignore[operator]
    state.mkdir(exist_ok=True)
    for path in state.glob(f"{LOG_FILE}*"):
        path.unlink()

    async def erase() -> None:
        key = signing.load_signing_key(keys / "log.key")
        log = AuditLog.open(state / LOG_FILE, origin=origin, key=key, clock=lambda: NOW)
        desk = Desk(log)
        await desk.fill(whole(1, "terminal", 300))
        assert verified(app, file) is None
        assert await desk.erase("private", 150) == 3
        log.close()

    asyncio.run(erase())
    found = verified(app, file)
    assert isinstance(found, errors.Forged)
    assert "at leaf 4" in str(found)


def verified(app: Typer, file: Path) -> BaseException | None:
    done = CliRunner().invoke(app, ["verify", "--config", str(file)], standalone_mode=False)
    return done.exception
