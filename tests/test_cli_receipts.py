"""``fairlead receipts verify``: good ones are 0, and whatever was changed is 8."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead.cli.output import Exit
from tests.commands import Ended, as_user, fairlead
from tests.federation import CASE, PURPOSE, STORY, Federation, federation

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Federation, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("receipts")
    async with federation(folder, partners=("customs", "terminal-north")) as made:
        await made.open_case()
        words = ("ask", STORY, "--case", CASE, "--purpose", PURPOSE, "--output", "json")
        ended = await as_user(made, *words)
        yield made, json.loads(Path(ended.json["receipt"]).read_text())


async def verify(made: Federation, document: object, *words: str) -> Ended:
    path = made.folder / "receipt.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return await as_user(made, "receipts", "verify", str(path), *words)


async def test_a_receipt_verifies_without_any_service(
    kept: tuple[Federation, dict[str, Any]], tmp_path: Path
) -> None:
    """With directory and anchors alone, for a stranger without a profile."""
    made, document = kept
    ended = await verify(made, document, "--output", "json")
    assert ended.code == Exit.ANSWERED
    (found,) = ended.json
    assert found["purpose"] == PURPOSE
    assert found["by"] == "customs/user/u-c01"
    assert (found["partners"], found["answers"]) == (1, 1)
    assert "verified: 1 of 1" in ended.err
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    stranger = await fairlead(
        "receipts",
        "verify",
        str(path),
        "--directory",
        str(made.layout.directory),
        "--trust",
        str(made.layout.pins),
        home=tmp_path,
    )
    assert stranger.code == Exit.ANSWERED


def flip(text: str, place: int) -> str:
    data = bytearray(base64.b64decode(text))
    data[place % len(data)] ^= 1
    return base64.b64encode(data).decode()


def change(*path: str | int, place: int = -1) -> Callable[[dict[str, Any]], None]:
    """Flip one bit of one field."""

    def apply(document: dict[str, Any]) -> None:
        holder: Any = document
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = flip(holder[path[-1]], place)

    return apply


def drop_answer(document: dict[str, Any]) -> None:
    document["answers"] = []


def other_log(document: dict[str, Any]) -> None:
    proof = document["closing"]["tlogProof"]
    document["closing"]["tlogProof"] = proof.replace("index ", "index 1")


def swapped(document: dict[str, Any]) -> None:
    document["intent"], document["closing"] = document["closing"], document["intent"]


@pytest.mark.parametrize(
    "tamper",
    [
        change("query", "mandate"),
        change("query", "mandateSignature"),
        change("query", "userCertificate"),
        change("query", "header", place=0),
        change("query", "statement", place=5),
        change("intent", "leaf", place=3),
        change("outcome"),
        change("outcomeSignature"),
        change("closing", "leaf"),
        change("answers", 0, "header", place=0),
        change("answers", 0, "header", place=-1),
        change("answers", 0, "body", place=100),
        drop_answer,
        other_log,
        swapped,
    ],
)
async def test_a_tampered_receipt_is_a_failed_check(
    kept: tuple[Federation, dict[str, Any]], tamper: Callable[[dict[str, Any]], None]
) -> None:
    """Exit 8 for every change, whatever it broke first, and no line of data."""
    made, document = kept
    changed = json.loads(json.dumps(document))
    tamper(changed)
    ended = await verify(made, changed)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")
    assert "error:" in ended.err


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"fairlead_receipt": 2}'])
async def test_another_file_is_a_usage_error(
    kept: tuple[Federation, dict[str, Any]], content: str
) -> None:
    """What is no receipt at all is 2, and says where receipts come from."""
    ended = await verify(kept[0], content)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "RECEIPT_FILE" in ended.err
