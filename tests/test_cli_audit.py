"""``fairlead audit verify``: a whole log re-derived from its file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairlead.cli.output import Exit
from tests.commands import Ended, as_user
from tests.federation import CASE, PURPOSE, STORY, Federation, federation

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """A federation after one query; the logs are closed, as an auditor gets them."""
    folder = tmp_path_factory.mktemp("audit")
    async with federation(folder, partners=("customs", "terminal-north")) as running:
        await running.open_case()
        words = ("ask", STORY, "--case", CASE, "--purpose", PURPOSE, "--output", "json")
        ended = await as_user(running, *words)
        (folder / "receipt.json").write_text(Path(ended.json["receipt"]).read_text())
        await running.close()
        yield running


async def verify(made: Federation, log: Path, *words: str) -> Ended:
    return await as_user(made, "audit", "verify", str(log), *words, "--output", "json")


@pytest.mark.parametrize(
    ("who", "origin"),
    [
        ("gateway", "fairlead.demo/gateway/gw-1"),
        ("customs", "fairlead.demo/partner/customs"),
        ("terminal-north", "fairlead.demo/partner/terminal-north"),
    ],
)
async def test_every_log_of_the_federation_verifies(
    made: Federation, who: str, origin: str
) -> None:
    """The log says whose it is, the directory has the key, and no query is left open."""
    ended = await verify(made, made.folder / "state" / who / "audit.sqlite")
    assert ended.code == Exit.ANSWERED
    (report,) = ended.json
    assert report["log"] == origin
    assert report["leaves"] > 0
    assert report["open_queries"] == 0
    assert "INTENT 1" in report["by_type"]


async def test_a_log_must_extend_the_receipts_kept_elsewhere(made: Federation) -> None:
    """The own receipt is part of the gateway's log, and of no other log."""
    receipt = ("--receipt", str(made.folder / "receipt.json"))
    state = made.folder / "state"
    assert (await verify(made, state / "gateway" / "audit.sqlite", *receipt)).code == 0
    other = await verify(made, state / "customs" / "audit.sqlite", *receipt)
    assert other.code != Exit.ANSWERED
    assert other.out == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaf SET body = zeroblob(length(body)) WHERE idx = 1",
        "DELETE FROM leaf WHERE idx = (SELECT max(idx) FROM leaf)",
        "UPDATE leaf SET hash = zeroblob(32) WHERE idx = 1",
        "UPDATE checkpoint SET note = replace(note, 'fairlead', 'fairlaed')",
        "DELETE FROM leaf WHERE idx = 2",
    ],
)
async def test_a_changed_log_is_a_failed_check(
    made: Federation, tmp_path: Path, statement: str
) -> None:
    """Whatever was changed, removed or replaced in the file ends with 8."""
    copy = tmp_path / "audit.sqlite"
    shutil.copy(made.folder / "state" / "gateway" / "audit.sqlite", copy)
    with sqlite3.connect(copy) as connection:
        connection.execute(statement)
    connection.close()
    ended = await verify(made, copy)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")
    assert json.dumps(ended.err).isascii()


async def test_other_files_are_no_logs(made: Federation, tmp_path: Path) -> None:
    """A missing or foreign file is an error with a next command and no traceback."""
    (tmp_path / "text").write_text("no database")
    for path in (tmp_path / "none", tmp_path / "text"):
        ended = await verify(made, path)
        assert ended.code in (Exit.USAGE, Exit.CONFIGURATION, Exit.CHECK_FAILED)
        assert ended.out == ""
        assert "internal error" not in ended.err
