"""A blind batch of several chunks, over processes that end in its middle."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead import storage
from fairlead.cli.output import Exit
from fairlead.v1 import audit_pb2
from node.indexing import LOG_FILE
from tests import processes
from tests.blind import require_libsodium
from tests.commands import as_user
from tests.federation import CASE, PURPOSE
from tests.large import Large, boxes, large, start
from tests.processes import Serving, serve
from tests.publications import OWNER

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")
TERMS = 2_500
KNOWN = list(boxes(TERMS))[7::500]
"""Which of them the owner knows: some of every chunk."""
ROWS = [*boxes(TERMS), "", "nonsense?", KNOWN[0]]
CHUNKS = [1024, 1024, TERMS - 2048]
QUESTION = ("--mode", "blind", "--case", CASE, "--purpose", PURPOSE, "--output", "ndjson")


def plain(lines: str) -> list[dict[str, Any]]:
    """The rows without the age of an index, which moves on."""
    rows = [json.loads(line) for line in lines.splitlines()]
    for row in rows:
        for partner in row["partners"]:
            partner.pop("index_age_s")
    return rows


@dataclass(slots=True)
class Place:
    """The federation, and what an undisturbed run brings home."""

    large: Large
    file: Path
    rows: list[dict[str, Any]]

    async def restart(self, serving: Serving, partner: str) -> Serving:
        """Kill a node as a power cut would, and start it again."""
        serving.kill()
        await serving.wait()
        folder = self.large.made.folder
        config = folder / "config" / f"{partner}.toml"
        return await serve(processes.NODE, config, folder / "logs" / f"{partner}.log")

    def asked(self) -> dict[bytes, list[int]]:
        """The number of terms of every INTENT at the owner, by mandate."""
        log = storage.open_readonly(self.large.made.node_configs[OWNER].state_dir / LOG_FILE)
        found: dict[bytes, list[int]] = {}
        for (body,) in log.execute("SELECT body FROM leaf ORDER BY idx"):
            leaf = audit_pb2.AuditLeaf.FromString(body)
            if leaf.type == audit_pb2.LEAF_TYPE_INTENT:
                found.setdefault(leaf.mandate_digest, []).append(leaf.term_count)
        log.close()
        return found

    async def newest(self) -> str:
        """The query asked last."""
        listed = await as_user(self.large.made, "queries", "list", "--output", "json")
        return str(listed.json[0]["query"])


async def until(stream: asyncio.StreamReader | None, words: bytes) -> None:
    """Wait until the command says this."""
    assert stream is not None
    while words not in (line := await stream.readline()):
        assert line, "the command ended"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("large")
    file = folder / "terms.txt"
    file.write_text("".join(f"{row}\n" for row in ROWS))
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(large(folder, KNOWN))
        ended = await as_user(running.made, "ask", "--file", str(file), *QUESTION)
        assert ended.code == Exit.ANSWERED, ended.err
        yield Place(running, file, plain(ended.out))
        for restarted in (running.owner, running.asker):
            restarted.kill()
            await restarted.wait()


async def test_every_row_of_a_large_file_has_its_result(place: Place) -> None:
    """N rows out in their order; the owner's terms hit, and it was asked each chunk once."""
    assert [row["input"] for row in place.rows] == ROWS
    hits = {row["input"] for row in place.rows if row["result"] == "hit"}
    assert hits == set(KNOWN)
    others = {row["result"] for row in place.rows if row["input"] not in hits}
    assert others == {"no hit", "not asked"}
    assert list(place.asked().values()) == [CHUNKS]


async def test_a_large_query_is_shown_from_what_is_kept(place: Place) -> None:
    """Row by row as it was asked; a table has the hits alone, and says how many others."""
    query = await place.newest()
    made, before = place.large.made, place.asked()
    shown = await as_user(made, "queries", "show", query, "--output", "ndjson")
    assert plain(shown.out) == place.rows
    exported = await as_user(made, "queries", "export", query)
    assert [row["result"] for row in exported.json["rows"]] == [r["result"] for r in place.rows]
    assert exported.json["complete"]
    listed = await as_user(made, "queries", "show", query, "--output", "csv")
    assert len(listed.out.splitlines()) == 1 + len(ROWS)
    table = await as_user(made, "queries", "show", query)
    assert len(table.out.splitlines()) == 1 + len(KNOWN) + 1
    missed = len(ROWS) - len(KNOWN) - 3
    assert f"rows: {len(KNOWN) + 1} hit, {missed:,} no hit, 2 not asked" in table.err
    assert place.asked() == before


@pytest.mark.parametrize("victim", ["owner", "asker", "both"])
async def test_a_node_killed_within_a_batch_costs_no_term(place: Place, victim: str) -> None:
    """kill -9 after the first chunk: resumed, the rows are the undisturbed ones, or say that the
    owner's answer about their chunk is missing, and no chunk reaches the owner twice."""
    before = place.asked()
    command = await start(place.large.made, "ask", "--file", str(place.file), *QUESTION)
    await until(command.stderr, b"1,024 of")
    if victim != "asker":
        place.large.owner = await place.restart(place.large.owner, OWNER)
    if victim != "owner":
        place.large.asker = await place.restart(place.large.asker, "customs")
    await command.communicate()
    query, made = await place.newest(), place.large.made
    for _ in range(30):
        resumed = await as_user(made, "queries", "resume", query, "--output", "ndjson")
        if "UNREACHABLE" not in resumed.err:
            break
        await asyncio.sleep(0.5)
    assert resumed.code in {Exit.ANSWERED, Exit.PARTIAL}, resumed.err
    (sizes,) = [found for mandate, found in place.asked().items() if mandate not in before]
    rows = plain(resumed.out)
    assert not Counter(sizes) - Counter(CHUNKS)
    assert [row["input"] for row in rows] == ROWS
    for row, wanted in zip(rows, place.rows, strict=True):
        if row["result"] != "incomplete":
            assert row["result"] == wanted["result"]
    lost = {(row["row"] - 1) // 1024 for row in rows[:TERMS] if row["result"] == "incomplete"}
    assert 0 not in lost
    for chunk in lost:
        part = rows[chunk * 1024 : min(TERMS, (chunk + 1) * 1024)]
        assert {row["result"] for row in part} == {"incomplete"}
    if not lost:
        assert sizes == CHUNKS
        assert rows == place.rows
