"""Attack: the gateway's operator dumps the memory of the running gateway and searches it."""

from __future__ import annotations

from pathlib import Path

from demo.memory import holds
from tests.attacks.crafted import OWNER
from tests.attacks.test_terms_in_gateway_files import RECORDS, SECRETS, spellings
from tests.federation import OTHER, ROOT, STORY, Federation, federation
from tests.processes import gateway_process, node_process

PROGRAM = b"".join(path.read_bytes() for path in (ROOT / "fairlead").rglob("*.py")).lower()
FORMS = {
    secret: [form for form in spellings(secret) if len(form) >= 6 and form.lower() not in PROGRAM]
    for secret in SECRETS
    if secret.encode() not in PROGRAM
}  # shorter forms stand somewhere in any process by chance, and words of the program in its own
assert {STORY, OTHER} <= FORMS.keys()


async def ask_around(made: Federation) -> None:
    """A hit, a miss, several terms, and a filter: content passes in both directions."""
    await made.open_case()
    await made.ask(STORY)
    await made.ask(STORY, OTHER, events=["release-looked-up"])
    await made.ask(OTHER)


async def test_the_running_gateways_memory_holds_no_term_and_no_record(tmp_path: Path) -> None:
    """What passed through stands nowhere in it; the same search finds it at the asker."""
    async with (
        federation(tmp_path, records=RECORDS, start=False) as made,
        gateway_process(made) as gateway,
        node_process(made, "customs") as asker,
        node_process(made, OWNER),
        node_process(made, "oceanic-line"),
    ):
        await ask_around(made)
        assert holds(gateway.pid, FORMS) == set()
        # The controls: the search reads the right memory, and finds what is there.
        assert holds(gateway.pid, {"seen": [b"drug-trafficking"]}) == {"seen"}
        assert holds(asker.pid, {STORY: [STORY.encode()]}) == {STORY}
