"""kill -9 of the command line and of the node, anywhere in a batch: resuming changes nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead import storage
from fairlead.cli.output import Exit
from fairlead.config import Limits
from fairlead.v1 import audit_pb2
from node.indexing import LOG_FILE
from tests import processes
from tests.commands import as_user, profile
from tests.federation import CASE, PURPOSE, ROOT, STORY, Federation, federation
from tests.processes import Serving, gateway_process, node_process, serve
from tests.test_node_batches import container

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROWS = [STORY, "", "nonsense?", *(container(n) for n in range(535)), STORY]
TERMS = 536
"""Two chunks; the first holds 512 terms, and the owner takes 3 seconds for it."""
QUESTION = ("--case", CASE, "--purpose", PURPOSE, "--output", "json")


@dataclass(slots=True)
class Place:
    """A federation of processes, and what an undisturbed run brings home."""

    made: Federation
    file: Path
    node: Serving
    rows: list[dict[str, Any]]
    took: float

    async def start(
        self, *, stderr: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """``fairlead ask --file`` in a process of its own."""
        path = profile(self.made)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(path.parent),
            "PYTHONPATH": str(ROOT),
            "FAIRLEAD_PROFILE": str(path),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fairlead.cli.main",
            "ask",
            "--file",
            str(self.file),
            *QUESTION,
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )

    async def restart(self) -> None:
        """Kill the asker's node and start it again."""
        self.node.kill()
        await self.node.wait()
        config = self.made.folder / "config" / "customs.toml"
        self.node = await serve(processes.NODE, config, self.made.folder / "logs" / "customs.log")

    async def newest(self) -> str | None:
        """The query asked last, as the history has it."""
        listed = await as_user(self.made, "queries", "list", "--output", "json")
        assert listed.code == Exit.ANSWERED, listed.err
        return listed.json[0]["query"] if listed.json else None

    def asked(self) -> dict[bytes, list[audit_pb2.AuditLeaf]]:
        """The owner's INTENT leaves by mandate."""
        path = self.made.node_configs["terminal-north"].state_dir / LOG_FILE
        log = storage.open_readonly(path)
        found: dict[bytes, list[audit_pb2.AuditLeaf]] = {}
        for (body,) in log.execute("SELECT body FROM leaf ORDER BY idx"):
            leaf = audit_pb2.AuditLeaf.FromString(body)
            if leaf.type == audit_pb2.LEAF_TYPE_INTENT:
                found.setdefault(leaf.mandate_digest, []).append(leaf)
        log.close()
        return found


def plain(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows without the age of an index, which moves on."""
    for row in document["rows"]:
        for partner in row["partners"]:
            partner.pop("index_age_s")
    return list(document["rows"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("kill")
    file = folder / "terms.txt"
    file.write_text("".join(f"{row}\n" for row in ROWS))
    partners = ("customs", "terminal-north")
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(processes, "GATEWAY", "tests.patient_gateway")
        patch.setattr(processes, "NODE", "tests.patient_node")
        made = await stack.enter_async_context(
            federation(folder, partners=partners, limits=Limits(deadline_ms=30_000), start=False)
        )
        await stack.enter_async_context(gateway_process(made))
        await stack.enter_async_context(node_process(made, "terminal-north"))
        node = await stack.enter_async_context(node_process(made, "customs"))
        await made.open_case()
        began = time.monotonic()
        ended = await as_user(made, "ask", "--file", str(file), *QUESTION)
        assert ended.code == Exit.ANSWERED, ended.err
        took = time.monotonic() - began
        running = Place(made=made, file=file, node=node, rows=plain(ended.json), took=took)
        yield running
        running.node.kill()
        await running.node.wait()


async def test_an_undisturbed_run_has_every_row(place: Place) -> None:
    """N rows in, N rows out, each with its own result."""
    assert [row["input"] for row in place.rows] == ROWS
    results = [row["result"] for row in place.rows]
    assert (results[0], results[-1]) == ("hit", "hit")
    assert results[1:3] == ["not asked", "not asked"]
    assert set(results[3:-1]) == {"no hit"}


async def test_ctrl_c_prints_what_there_is_and_how_to_go_on(place: Place) -> None:
    """SIGINT ends with 130 and the next command; the owner finishes the chunk and is asked the
    rest when the user resumes."""
    command = await place.start(stderr=asyncio.subprocess.PIPE)
    assert command.stderr is not None
    said = b""
    while b"queries resume" not in said:
        said += await command.stderr.readline()
    command.send_signal(signal.SIGINT)
    said += await command.stderr.read()
    assert await command.wait() == Exit.INTERRUPTED
    assert b"INCOMPLETE" in said
    query = await place.newest()
    resumed = await as_user(place.made, "queries", "resume", str(query), "--output", "json")
    assert plain(resumed.json) == place.rows


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("victim", ["command", "node", "both"])
async def test_a_batch_killed_anywhere_resumes_to_the_same_rows(
    place: Place, victim: str, seed: int
) -> None:
    """After kill -9 at a random moment the result is the undisturbed one, and every term reached
    the owner exactly once."""
    before, known = place.asked(), await place.newest()
    command = await place.start()
    moment = random.Random(f"{victim} {seed}").uniform(0.2, 1.0) * place.took
    await asyncio.sleep(moment)
    if victim != "node" and command.returncode is None:
        command.kill()
    if victim != "command":
        await place.restart()
    await command.wait()
    query = await place.newest()
    if query == known:
        assert place.asked() == before  # killed before anything was durable: nothing left
        return
    resumed = await as_user(place.made, "queries", "resume", str(query), "--output", "json")
    assert resumed.code == Exit.ANSWERED, resumed.err
    assert resumed.json["complete"]
    assert plain(resumed.json) == place.rows
    (leaves,) = [found for mandate, found in place.asked().items() if mandate not in before]
    assert [leaf.term_count for leaf in leaves] == [512, TERMS - 512]
