"""Evidence per case: what is kept for it, for how long, and what comes of it at the command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import pytest
import pytest_asyncio

from fairlead.certificates import Identity
from fairlead.cli.output import Exit
from fairlead.errors import InvalidInput, Overloaded, Stale
from fairlead.leaves import LeafWriter
from fairlead.verifier import pages, single, summary
from fairlead.verifier.check import ALL_OF_THEM, verify_page
from node import casefile
from node.casefile import CaseFiles, Room
from tests.attacks.test_evidence_file import answer, chunk
from tests.blind import require_libsodium
from tests.casefiles import (
    OTHER_CASE,
    OTHER_OWNER,
    OTHER_TERM,
    SILENT,
    Made,
    anchors_of,
    evidence_of,
    worked,
)
from tests.commands import Ended, as_user, fairlead
from tests.federation import CASE, OTHER, STORY, states
from tests.live import directory, leaves
from tests.publications import OWNER

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Made]:
    async with worked(tmp_path_factory.mktemp("casefile"), blind=False) as federation:
        yield Made(federation, await evidence_of(federation), anchors_of(federation))


async def test_it_shows_what_was_asked_and_what_became_of_it(made: Made) -> None:
    """Terms, answers, records, who refused or could not be reached, handling and second persons."""
    readable = pages.parts_of(made.page).summary.decode()
    for told in (
        "Case CASE-1", "drug-trafficking", "eu-ucc-art-46", STORY, "HIT", "no hit: nothing this",
        f"<td>{SILENT}</td><td>unreachable</td>", "TLP:AMBER PAP:AMBER", "spiffe://",
        "0 approved, 0 needed", made.anchors.fingerprint(), "sealed: each owner saw the terms",
    ):  # fmt: skip
        assert told in readable, told
    assert "None" not in readable


async def test_a_receipt_is_the_same_whole_as_before(made: Made) -> None:
    """Though bodies are kept apart, what a user sees again has every octet of its receipt."""
    query_id = bytes.fromhex(made.items["query 1"]["query_id"])
    async with made.federation.client("customs", "u-c01") as client:
        events = [event async for event in client.show(query_id)]
    (evidence,) = [event.evidence for event in events if event.HasField("evidence")]
    bodies = {answer.header: answer.body for answer in evidence.answers}
    assert all(bodies.values())
    assert states(events)[OWNER].answers[0].hit


async def test_what_is_kept_no_longer_is_said_to_be(made: Made) -> None:
    """An owner's answer whose time is over is signed and not opened; the others' stand."""
    history = made.federation.nodes["customs"].asking._history
    batch_id = bytes.fromhex(made.items["query 1"]["query_id"])
    now = history.summary(batch_id).asked_at
    kept = history.proofs.answers(batch_id, 0, now)
    assert {*kept} == {OWNER, OTHER_OWNER}

    def delete(connection: object) -> None:
        connection.execute(  # type: ignore[attr-defined]
            "UPDATE answer_kept SET kept_until = 1 WHERE batch_id = ? AND partner_id = ?",
            (batch_id, OWNER),
        )
        history.proofs.expire(connection, now)  # type: ignore[arg-type]

    await history._vault.write(delete)
    page = await evidence_of(made.federation)
    items = pages.parts_of(page).read_items()
    assert answer(items, OWNER)["body"] is None
    assert "kept no longer" in pages.parts_of(page).summary.decode()
    found = verify_page(page, made.anchors, single.source())
    told = [line for line in found.unproved if line != ALL_OF_THEM]
    why = "what it says; it is signed by its owner, and not opened here"
    assert told == [f"query 1, chunk 1, answer of {OWNER}: {why}"]
    assert history.evidence(batch_id, 0, now) is None
    assert history.proofs.opening(batch_id, 0).reply  # type: ignore[union-attr]


async def test_a_query_that_waits_is_the_nodes_word(made: Made) -> None:
    """What was held and never sent has no signature of others, and the file says so."""
    await made.federation.open_case("CASE-4")
    await made.federation.ask(STORY, OTHER, OTHER_TERM, case_id="CASE-4")
    page = await evidence_of(made.federation, "CASE-4")
    found = verify_page(page, made.anchors, single.source())
    word = "query 1: what is said of it is the word of the asker's node"
    assert found.unproved == [ALL_OF_THEM, word]
    parts = pages.parts_of(page)
    items = parts.read_items()
    assert (items["query 1"]["state"], items["query 1"]["chunks"]) == ("pending", [])
    assert "what follows is the word of the asker's node" in parts.summary.decode()


async def test_directories_of_their_time_are_in_the_file(made: Made) -> None:
    """What was asked under a former directory is verified under it, and the file holds both."""
    node = made.federation.nodes["customs"]
    assert await node.member.take(directory(made.federation))
    page = await evidence_of(made.federation, OTHER_CASE)
    parts = pages.parts_of(page)
    assert {"directory 1", "directory 2"} <= {*parts.names}
    assert verify_page(page, made.anchors, single.source()).unproved == [ALL_OF_THEM]


async def test_an_empty_case_has_a_file_too(made: Made) -> None:
    """That nothing was asked is what the asker's node says, and it signs it."""
    await made.federation.open_case("CASE-3")
    page = await evidence_of(made.federation, "CASE-3")
    found = verify_page(page, made.anchors, single.source())
    assert found.facts["queries"] == 0
    assert b"Queries: 0" in page
    logged = [
        leaf for leaf in leaves(made.federation.nodes["customs"].log)
        if leaf.subject == "evidence-made" and not leaf.query_id
    ]  # fmt: skip
    assert [leaf.user.rpartition("/")[2] for leaf in logged] == ["u-c01"]


async def test_a_case_that_is_too_large_is_refused_before_it_is_in_memory(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Octets are added up chunk by chunk, and no page is begun."""
    size = len(pages.plain_line(chunk(made.items)))
    room = Room(left=size)
    room.take(chunk(made.items))
    with pytest.raises(InvalidInput) as refused:
        room.take({})
    assert refused.value.code == "EVIDENCE_TOO_LARGE"
    monkeypatch.setattr(casefile, "Room", lambda: Room(left=100))
    monkeypatch.setattr(summary, "summary_of", None)
    with pytest.raises(grpc.aio.AioRpcError, match="more than one file of evidence may"):
        await evidence_of(made.federation)


async def test_one_file_at_a_time_is_made(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ask at once: the second one's is begun when the first has been taken."""
    running: list[int] = [0]
    most: list[int] = []

    def page(*_: object) -> bytes:
        running[0] += 1
        most.append(running[0])
        time.sleep(0.05)
        running[0] -= 1
        return b"page"

    monkeypatch.setattr(CaseFiles, "_page", page)
    both = await asyncio.gather(evidence_of(made.federation), evidence_of(made.federation))
    assert (both, most) == ([b"page", b"page"], [1, 1])


@pytest.fixture
def files(made: Made, monkeypatch: pytest.MonkeyPatch) -> CaseFiles:
    """A node's, whose file of any case is a word."""
    found = made.federation.nodes["customs"]
    monkeypatch.setattr(CaseFiles, "_readable", lambda *_: (None, True))

    async def page(*_: object) -> bytes:
        return b"page"

    monkeypatch.setattr(CaseFiles, "_made", page)
    return CaseFiles(
        partner_id="customs", keys=None, log=found.log, shelves=None, clock=time.time,  # type: ignore[arg-type]
        leaves=LeafWriter(log="partner/customs", clock=time.time),
    )  # fmt: skip


def user(name: str) -> Identity:
    """A person of the node's partner."""
    spiffe_id = f"spiffe://fairlead.demo/partner/customs/user/{name}"
    return cast("Identity", SimpleNamespace(spiffe_id=spiffe_id))


async def test_a_file_that_is_not_taken_keeps_nobody_waiting(
    files: CaseFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline the slow caller is refused, and the next one gets theirs."""
    monkeypatch.setattr(casefile, "TAKE_S", 0.02)
    stalled, taken = asyncio.Event(), []

    async def never(_: bytes) -> None:
        await stalled.wait()

    async def at_once(piece: bytes) -> None:
        taken.append(piece)

    slow = asyncio.create_task(files.collect(CASE, user("u-c01"), never))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await files.collect(CASE, user("u-c02"), at_once)
        with pytest.raises(Stale) as refused:
            await slow
    assert (taken, refused.value.code) == ([b"page"], "EVIDENCE_LATE")


async def test_one_call_of_a_user_waits(files: CaseFiles) -> None:
    """One file is taken and one call waits; a third of the same user is refused, and another user's
    waits as well."""
    go, taken = asyncio.Event(), []

    async def write(piece: bytes) -> None:
        await go.wait()
        taken.append(piece)

    async with asyncio.TaskGroup() as calls:
        for name in ("u-c01", "u-c01", "u-c02"):
            calls.create_task(files.collect(CASE, user(name), write))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(files.collect(CASE, user("u-c01"), write), 1)
        go.set()
    assert taken == [b"page"] * 3


async def test_a_member_reads_colleagues_queries_of_the_case_only(made: Made) -> None:
    """A member of the other case cannot open this one, and gets theirs opened."""
    page = await evidence_of(made.federation, OTHER_CASE)
    items = pages.parts_of(page).read_items()
    assert chunk(items)["terms"]
    assert items["case"]["case_id"] == OTHER_CASE


# ── The command ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


async def command(made: Made, *words: str) -> Ended:
    return await as_user(made.federation, *words)


async def test_the_command_writes_and_verifies(made: Made, folder: Path) -> None:
    """One file of its maker's own, proved under the profile's anchors; again offline by itself."""
    path = folder / "evidence.html"
    ended = await command(made, "cases", "evidence", OTHER_CASE, "--out", str(path),
                          "--output", "json")  # fmt: skip
    assert ended.code == Exit.ANSWERED, ended.err
    (record,) = ended.json
    assert (record["case"], record["queries"]) == (OTHER_CASE, 1)
    assert record["not_proved"] == [ALL_OF_THEM]
    assert path.stat().st_mode & 0o077 == 0
    assert "next: fairlead evidence verify" in ended.err
    again = await fairlead("evidence", "verify", str(path), "--trust",
                           str(made.federation.layout.pins), home=folder)  # fmt: skip
    assert again.code == Exit.ANSWERED
    assert "proved: the readable summary says what the items say" in again.err


async def test_the_command_names_what_fails(made: Made, folder: Path) -> None:
    """Exit 8 and the item's name; a file that is none, and one that is not there, say so."""
    path = folder / "altered.html"
    path.write_bytes(made.page.replace(b'"state":"sent"', b'"state":"SENT"', 1))
    ended = await command(made, "evidence", "verify", str(path))
    assert ended.code == Exit.CHECK_FAILED
    assert "query 1: it was altered" in ended.err
    assert ended.out == ""
    path.write_bytes(b"<html>")
    assert "page: it is not as a file" in (await command(made, "evidence", "verify", str(path))).err
    ended = await command(made, "evidence", "verify", str(folder / "none.html"))
    assert ended.code == Exit.USAGE or "EVIDENCE_FILE" in ended.err


async def test_the_verifier_goes_to_a_computer_without_us(made: Made, folder: Path) -> None:
    """As the page tells: cut out of it, compared, and run by an isolated interpreter."""
    page, alone = folder / "page.html", folder / "verifier.py"
    page.write_bytes(made.page)
    script = "sed -n '/^<script id=\"verifier\"/,/^<.script>$/p' page.html | sed '1d;$d'"
    cut = subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, check=True)
    alone.write_bytes(cut.stdout)
    printed = await command(made, "evidence", "verifier")
    assert cut.stdout.decode() == printed.out
    named = await command(made, "evidence", "verifier", "--fingerprint")
    assert named.out.strip() == single.fingerprint()
    trust = made.federation.layout.pins
    for words, code in (
        (("--trust", str(trust)), 0),
        (("--anchors", made.anchors.fingerprint()), 0),
        (("--anchors", "0" * 64), 1),
        ((), 3),
    ):
        done = subprocess.run([sys.executable, "-I", str(alone), str(page), *words], cwd=folder,
                              capture_output=True, check=False, text=True)  # fmt: skip
        assert done.returncode == code, done.stdout
    page.write_bytes(made.page.replace(b"Evidence of one case", b"Evidence of two case"))
    done = subprocess.run([sys.executable, "-I", str(alone), str(page), "--trust", str(trust)],
                          cwd=folder, capture_output=True, check=False, text=True)  # fmt: skip
    assert done.returncode == 1
    assert "FAILED      page" in done.stdout


async def test_nobody_else_gets_it_by_the_command(made: Made) -> None:
    """Refused with the next command to run, and on the record."""
    ended = await as_user(made.federation, "cases", "evidence", CASE, user="u-c03")
    assert ended.code != Exit.ANSWERED
    assert "UNKNOWN_CASE" in ended.err
    assert json.dumps(CASE) not in ended.out
