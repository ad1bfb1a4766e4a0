"""Attack: the gateway's operator searches everything the gateway ever wrote for the terms."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fairlead import telemetry
from fairlead.vocabulary import Event
from tests.attacks.crafted import OTHER_OWNER, OWNER, craft
from tests.attacks.evil import EvilNode, corrupt, tap
from tests.federation import CASE, OTHER, STORY, federation, record

PLATE = "NL:XX99ZZ"
RECORDS = {
    OWNER: [
        record(fields={"place": "Quay Zebra 17", "driver_name": "Wilhelmina Unlikely"}),
        record(OTHER, event=Event.RELEASE_LOOKED_UP, fields={"account": "svc-gate-07"}),
    ]
}
SECRETS = (
    STORY, OTHER, PLATE, CASE, "Quay Zebra 17", "Wilhelmina Unlikely", "svc-gate-07",
    "release-looked-up",
)  # fmt: skip


def spellings(secret: str) -> Iterator[bytes]:
    """Every way a text could stand in a file: case, spacing, encodings, base64 at any offset."""
    plain = {secret, secret.lower(), secret.upper(), secret.replace(":", ""), secret[:10]}
    if secret in {STORY, OTHER}:
        plain |= {f"{secret[:4]} {secret[4:10]} {secret[10:]}", f"{secret[:4]}-{secret[4:]}"}
        plain |= {f"{secret[:4]} {secret[4:10]}-{secret[10:]}"}
    for text in plain:
        data = text.encode()
        yield data
        yield text.encode("utf-16-le")
        yield data.hex().encode()
        yield data.hex().upper().encode()
        yield data[::-1]
        for offset in range(3):
            # What stays of a base64 text whatever stands before and behind it.
            whole = base64.b64encode(bytes(offset) + data)
            yield whole[-(-offset * 4 // 3) + (offset > 0) : len(whole) - 4]


def search(folder: Path, log: bytes, public: Path | None = None) -> set[str]:
    """The secrets that stand in some file under ``folder``, in a file's name, or in the log.

    :param public: a folder of published policy, whose octets may lie in ``folder`` as they are: its
        tests name events.
    """
    policies = public.rglob("*") if public is not None else ()
    published = {path.read_bytes() for path in policies if path.is_file()}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    contents = [content for p in files if (content := p.read_bytes()) not in published]
    haystack = [log, *(str(path).encode() for path in files), *contents]
    return {
        secret
        for secret in SECRETS
        if any(form in blob for form in spellings(secret) if len(form) >= 4 for blob in haystack)
    }


@pytest.fixture
def log_lines() -> Iterator[io.BytesIO]:
    """Everything any process logs, at the most talkative level."""
    stream = io.BytesIO()
    telemetry.configure("debug", stream=stream)
    yield stream
    telemetry.configure()


async def test_no_file_and_no_log_line_of_the_gateway_holds_a_term_or_a_record(
    tmp_path: Path, log_lines: io.BytesIO
) -> None:
    """Hits, misses, plates, refusals, a replay and a stopped owner: nothing is left behind."""
    async with federation(tmp_path, records=RECORDS) as made:
        state, policy = made.gateway_config.state_dir, made.gateway_config.policy_dir
        await made.open_case()
        await made.ask(STORY)
        await made.ask(STORY, OTHER, events=["release-looked-up"])
        async with EvilNode(made) as node:
            crafted = craft(made, terms=[("vehicle-plate", PLATE)])
            await node.ask(crafted)
            await node.ask(crafted)
            with pytest.raises(grpc.aio.AioRpcError):
                await node.ask(craft(made, purpose="not-a-purpose"))
            await node.ask(
                craft(made, terms=[("container", OTHER)], sent_terms=[("container", STORY)])
            )
        await made.stop_node(OTHER_OWNER)
        await made.ask(STORY)
        found_running = search(state, log_lines.getvalue(), policy)
        await made.stop_gateway()
        assert found_running == search(state, log_lines.getvalue(), policy) == set()


async def test_what_the_gateway_holds_in_memory_of_a_query_is_sealed(tmp_path: Path) -> None:
    """Requests and events, as the running gateway sees them, hold no term and no record either."""
    async with federation(tmp_path, records=RECORDS) as made:
        assert made.gateway is not None
        await made.open_case()
        requests = tap(made.gateway.tactical, "query")
        events: list[bytes] = []

        def watch(stream: list[object]) -> list[object]:
            events.extend(event.SerializeToString() for event in stream)  # type: ignore[attr-defined]
            return stream

        corrupt(made, watch)  # type: ignore[arg-type]
        await made.ask(STORY)
        blob = requests[0].SerializeToString() + b"".join(events)
        (tmp_path / "seen").mkdir()
        (tmp_path / "seen" / "memory").write_bytes(blob)
        assert search(tmp_path / "seen", b"") == set()


def test_the_search_finds_every_spelling(tmp_path: Path) -> None:
    """The control: each form, planted in the middle of a file, is found."""
    for number, secret in enumerate(SECRETS):
        for form in spellings(secret):
            if len(form) < 4:
                continue
            folder = tmp_path / f"{number}"
            folder.mkdir(exist_ok=True)
            (folder / "audit.sqlite").write_bytes(b"\x00before" + form + b"after\xff")
            assert secret in search(folder, b"")
    for prefix in ("", "a", "ab", "abc"):
        folder = tmp_path / f"b64{prefix}"
        folder.mkdir()
        text = base64.b64encode(f"{prefix}{STORY} and more".encode())
        (folder / "wal").write_bytes(text)
        assert STORY in search(folder, b"")
