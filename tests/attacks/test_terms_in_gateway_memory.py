"""Attack: the gateway's operator dumps the memory of the running gateway and searches it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from demo.memory import holds
from tests.attacks.crafted import OWNER
from tests.attacks.test_terms_in_gateway_files import RECORDS, SECRETS, spellings
from tests.federation import OTHER, ROOT, STORY, Federation, federation
from tests.processes import Serving, gateway_process, node_process

PROGRAM = b"".join(path.read_bytes() for path in (ROOT / "fairlead").rglob("*.py")).lower()
FORMS = {
    secret: [form for form in spellings(secret) if len(form) >= 6 and form.lower() not in PROGRAM]
    for secret in SECRETS
    if secret.encode() not in PROGRAM
}  # shorter forms stand somewhere in any process by chance, and words of the program in its own
assert {STORY, OTHER} <= FORMS.keys()
PATIENCE_MS = 60_000
"""A query waits longer than two memories take to be read, on whatever machine."""


async def ask_around(made: Federation) -> None:
    """A hit, a miss, several terms, and a filter: content passes in both directions."""
    await made.open_case()
    await made.ask(STORY)
    await made.ask(STORY, OTHER, events=["release-looked-up"])
    await made.ask(OTHER)


async def during(made: Federation, owner: Serving, look: Callable[[], bool]) -> bool:
    """Whether ``look`` ever says yes while a query waits for an owner that stands still."""
    owner.process.send_signal(signal.SIGSTOP)
    try:
        waiting = asyncio.ensure_future(made.ask(STORY))
        while not (seen := await asyncio.to_thread(look)) and not waiting.done():
            await asyncio.sleep(0)
    finally:
        owner.process.send_signal(signal.SIGCONT)
    await waiting
    return seen


async def test_the_running_gateways_memory_holds_no_term_and_no_record(tmp_path: Path) -> None:
    """What passed through stands nowhere in it; the same search finds it at the asker."""
    async with (
        federation(tmp_path, records=RECORDS, start=False, deadline_ms=PATIENCE_MS) as made,
        gateway_process(made) as gateway,
        node_process(made, "customs") as asker,
        node_process(made, OWNER) as owner,
        node_process(made, "oceanic-line"),
    ):
        await ask_around(made)
        assert holds(gateway.pid, FORMS) == set()
        # The controls: the search reads the right memory, and finds what is there. The asker's is
        # read while its query waits: afterwards its own memory may have been written over.
        assert holds(gateway.pid, {"seen": [b"drug-trafficking"]}) == {"seen"}

        def asked() -> bool:
            assert holds(gateway.pid, FORMS) == set()
            return holds(asker.pid, {STORY: [STORY.encode()]}) == {STORY}

        assert await during(made, owner, asked)
