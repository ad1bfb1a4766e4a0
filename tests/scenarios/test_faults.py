"""Faults: partners, files, disks and sources that do what they should not."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc.aio
import pytest

from fairlead import identifiers, receipts
from fairlead.auditlog import AuditLog, LogReport, verify_log
from fairlead.config import GatewayConfig, Limits, NodeConfig
from fairlead.evidence import verify_evidence
from fairlead.v1 import asking_pb2, audit_pb2, owner_pb2, query_pb2
from gateway.app import assemble
from node.index import Index
from node.indexing import INDEX_FILE, index_keys
from tests import federation as federations
from tests.federation import (
    STORY,
    Federation,
    build,
    evidence,
    federation,
    publish_policy,
    states,
)
from tests.owners import Behaviour, answered, impostor
from tests.processes import (
    GATEWAY,
    NODE,
    Ended,
    command,
    gateway_process,
    node_process,
    serve,
    unprivileged,
    write_config,
)

BAD, GOOD = "oceanic-line", "terminal-north"
DEADLINE_MS = 1_500

# ── An owner that misbehaves ─────────────────────────────────────────────────────────────────


async def _garbage(_request: owner_pb2.AnswerRequest) -> bytes:
    return b"\xff" * 512


async def _nothing(_request: owner_pb2.AnswerRequest) -> bytes:
    return b""


async def _one_mebibyte(_request: owner_pb2.AnswerRequest) -> bytes:
    filler = query_pb2.SignedAnswer(header=b"h", signature=b"s", body=bytes(1 << 20))
    return owner_pb2.AnswerResponse(answer=filler).SerializeToString()


async def _five_mebibytes(_request: owner_pb2.AnswerRequest) -> bytes:
    return bytes(5 << 20)


async def _silence(_request: owner_pb2.AnswerRequest) -> bytes:
    await asyncio.Event().wait()
    return b""


async def _always_stale(_request: owner_pb2.AnswerRequest) -> bytes:
    stale = owner_pb2.CheckpointStale(size=2**64 - 1)
    return owner_pb2.AnswerResponse(stale=stale).SerializeToString()


def _signed(**changes: object) -> Callable[[Federation], Behaviour]:
    def of(made: Federation) -> Behaviour:
        async def behave(request: owner_pb2.AnswerRequest) -> bytes:
            return answered(made, BAD, request, **changes)  # type: ignore[arg-type]

        return behave

    return of


def _plain(behave: Behaviour) -> Callable[[Federation], Behaviour]:
    return lambda _made: behave


MISBEHAVIOUR: dict[str, tuple[Callable[[Federation], Behaviour], int, str]] = {
    "garbage": (_plain(_garbage), query_pb2.STATUS_INVALID, "GARBAGE"),
    "nothing": (_plain(_nothing), query_pb2.STATUS_INVALID, "GARBAGE"),
    "1 MiB": (_plain(_one_mebibyte), query_pb2.STATUS_INVALID, "TOO_LARGE"),
    "5 MiB": (_plain(_five_mebibytes), query_pb2.STATUS_INVALID, "TOO_LARGE"),
    "silence": (_plain(_silence), query_pb2.STATUS_TIMEOUT, "DEADLINE"),
    "stale for ever": (_plain(_always_stale), query_pb2.STATUS_INVALID, "LOG_BEHIND"),
    "to another query": (
        _signed(query_id=bytes(16)),
        query_pb2.STATUS_INVALID,
        "ANSWER_BINDING",
    ),
    "to another header": (
        _signed(header_digest=bytes(32)),
        query_pb2.STATUS_INVALID,
        "ANSWER_BINDING",
    ),
    "for another partner": (
        _signed(partner_id=GOOD),
        query_pb2.STATUS_INVALID,
        "ANSWER_BINDING",
    ),
    "signed by another": (_signed(key_of=GOOD), query_pb2.STATUS_INVALID, "SIGNATURE"),
    "a shorter body": (_signed(body=bytes(64)), query_pb2.STATUS_INVALID, "ANSWER_BODY"),
    "another body": (_signed(body_digest=bytes(32)), query_pb2.STATUS_INVALID, "ANSWER_BODY"),
    "a status of the gateway's": (
        _signed(status=query_pb2.STATUS_NOT_ASKED),
        query_pb2.STATUS_INVALID,
        "STATUS",
    ),
}


class Puppet:
    """A behaviour that can be exchanged while its server runs."""

    def __init__(self) -> None:
        self.behave: Behaviour = _nothing

    async def __call__(self, request: owner_pb2.AnswerRequest) -> bytes:
        return await self.behave(request)


@asynccontextmanager
async def with_puppet(folder: Path) -> AsyncIterator[tuple[Federation, Puppet]]:
    """A federation whose one owner is a puppet that the gateway can reach."""
    async with federation(folder, start=False, deadline_ms=DEADLINE_MS) as made:
        await made.start_gateway()
        for partner in ("customs", GOOD):
            await made.start_node(partner)
        await made.open_case()
        puppet = Puppet()
        async with impostor(made, BAD, puppet):
            yield made, puppet


async def test_one_bad_owner_spoils_only_its_own_line(tmp_path: Path) -> None:
    """Whatever an owner sends instead of an answer, the others' answers arrive and verify."""
    found = {}
    async with with_puppet(tmp_path) as (made, puppet):
        for name, (behaviour, _, _) in MISBEHAVIOUR.items():
            puppet.behave = behaviour(made)
            events = await made.ask()
            lines = states(events)
            assert lines[GOOD].answers[0].hit, name
            assert not lines[BAD].answers, name
            assert verify_evidence(evidence(events), made.directory).answers == 1, name
            found[name] = (lines[BAD].status, lines[BAD].reason)
    assert found == {name: (status, code) for name, (_, status, code) in MISBEHAVIOUR.items()}


async def test_a_body_that_does_not_open_spoils_only_its_own_line(tmp_path: Path) -> None:
    """A rightly signed answer sealed to nobody is that owner's fault, and nobody else's."""
    async with with_puppet(tmp_path) as (made, puppet):
        puppet.behave = _signed()(made)
        events = await made.ask()
    lines = states(events)
    assert lines[GOOD].answers[0].hit
    assert lines[BAD].status == query_pb2.STATUS_INVALID
    assert not lines[BAD].answers
    # The owner did sign it: the receipt keeps the proof of what it sent.
    assert verify_evidence(evidence(events), made.directory).answers == 2


async def test_a_call_under_way_to_a_dying_node_ends_with_it(tmp_path: Path) -> None:
    """A kill -9 of an owner under way is its own honest line; nobody waits for the deadline."""
    async with federation(tmp_path, start=False, deadline_ms=60_000) as made:
        await made.start_gateway()
        for partner in ("customs", GOOD):
            await made.start_node(partner)
        await made.open_case()
        async with node_process(made, BAD) as dying, made.client() as client:
            await made.ask(client=client)
            os.kill(dying.pid, signal.SIGSTOP)
            events = []
            async for event in client.ask(await made.draft(client, STORY)):
                events.append(event)
                if event.HasField("partner") and event.partner.partner_id == GOOD:
                    dying.kill()
        lines = states(events)
        verify_evidence(evidence(events), made.directory)
    assert (lines[BAD].status, lines[BAD].reason) == (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
    assert lines[GOOD].answers[0].hit


async def test_an_asker_that_goes_away_leaves_no_query_open(tmp_path: Path) -> None:
    """When the asker hangs up, the calls to the owners are cancelled and OUTCOME is written."""
    hung, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_request: owner_pb2.AnswerRequest) -> bytes:
        hung.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    async with with_puppet(tmp_path) as (made, puppet):
        puppet.behave = hang
        async with made.client() as client:
            asking = asyncio.create_task(made.ask(client=client))
            await hung.wait()
            asking.cancel()
        async with asyncio.timeout(30):
            await cancelled.wait()
        await made.stop_gateway()
        assert _verify(made).open_queries == ()


def _verify(made: Federation, *known: receipts.Head) -> LogReport:
    gateway = made.directory.gateway
    return verify_log(
        made.gateway_config.state_dir / "audit.sqlite",
        origin=gateway.log_origin,
        public_key=gateway.log_key,
        known=known,
    )


# ── Files that are missing, older, tampered with or misspelt ─────────────────────────────────


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Keys, policy and configurations; nothing runs."""
    return build(
        tmp_path_factory.mktemp("made"),
        partners=("customs", GOOD, BAD),
        records=None,
        local_policy=None,
        tick_ms=5,
        limits=Limits(),
    )


def _config(made: Federation, module: str) -> GatewayConfig | NodeConfig:
    return made.gateway_config if module == GATEWAY else made.node_configs[GOOD]


async def _refused(made: Federation, module: str, folder: Path, **changes: object) -> Ended:
    """Try to serve with a changed configuration: refused with 3 and what to do next."""
    changes.setdefault("state_dir", str(folder / "state"))
    config = write_config(folder / "config.toml", _config(made, module), **changes)
    ended = await command(module, "serve", "--config", config)
    assert ended.code == 3, ended.err
    assert "\nnext: " in ended.err, ended.err
    assert "Traceback" not in ended.err
    assert "server-started" not in ended.err
    return ended


BOTH = pytest.mark.parametrize("module", [GATEWAY, NODE])


@BOTH
async def test_every_wrong_key_is_named_at_once(
    made: Federation, module: str, tmp_path: Path
) -> None:
    """Unknown, mistyped, missing and wrong keys stand in one report, and no value does."""
    ended = await _refused(
        made,
        module,
        tmp_path,
        listen=None,
        lissten="hunter2-secret:1",
        log_level="hunter2-secret",
        directory=str(tmp_path / "hunter2-secret"),
        limits={"deadline_ms": "hunter2-secret", "deadline": 5},
    )
    for problem in (
        "lissten: unknown; did you mean listen?",
        "listen: missing",
        "log_level: expected one of",
        "directory: expected a path to the existing signed directory",
        "limits.deadline_ms: expected a whole number",
        "limits.deadline: unknown",
    ):
        assert problem in ended.err
    assert "hunter2" not in ended.err


@BOTH
async def test_a_directory_that_was_tampered_with_starts_nothing(
    made: Federation, module: str, tmp_path: Path
) -> None:
    """One changed octet in the directory, and the process does not start."""
    octets = bytearray(made.layout.directory.read_bytes())
    octets[len(octets) // 2] ^= 1
    (tmp_path / "directory.bin").write_bytes(octets)
    await _refused(made, module, tmp_path, directory=str(tmp_path / "directory.bin"))


@BOTH
async def test_somebody_elses_keys_start_nothing(
    made: Federation, module: str, tmp_path: Path
) -> None:
    """A key folder that is not the one the directory lists is refused."""
    ended = await _refused(made, module, tmp_path, keys_dir=str(made.layout.node(BAD)))
    assert "KEY_" in ended.err


@pytest.mark.parametrize(("module", "key"), [(GATEWAY, "name"), (NODE, "partner")])
async def test_a_stranger_to_the_directory_does_not_start(
    made: Federation, module: str, key: str, tmp_path: Path
) -> None:
    """A gateway or partner that the directory does not list is refused."""
    await _refused(made, module, tmp_path, **{key: "nobody-here"})


async def test_without_an_index_a_node_does_not_start(made: Federation, tmp_path: Path) -> None:
    """A node that cannot answer says which command builds its index."""
    ended = await _refused(made, NODE, tmp_path)
    assert "NO_INDEX" in ended.err
    assert "next: fairlead-node index" in ended.err


@BOTH
@pytest.mark.parametrize("how", ["missing", "tampered", "expired", "under-signed", "older"])
async def test_no_valid_policy_no_server(
    made: Federation, module: str, how: str, tmp_path: Path
) -> None:
    """A missing, tampered, expired, under-signed or older policy starts nothing."""
    policy = tmp_path / "policy"
    config = _config(made, module)
    state = config.state_dir if how == "older" else tmp_path / "state"
    if module == NODE and how != "older":
        _copy_index(config.state_dir, state)
    if how == "missing":
        policy.mkdir()
    elif how == "expired":
        publish_policy(made.layout, policy, not_after=-1)
    else:
        publish_policy(made.layout, policy, serial=1)
    if how == "tampered":
        _tamper(policy)
    if how == "under-signed":
        _forget_a_signature(policy)
    if how == "older":
        await _run_under_serial_2(made, module, tmp_path)
    ended = await _refused(made, module, tmp_path, policy_dir=str(policy), state_dir=str(state))
    assert "POLICY" in ended.err
    assert ("OLDER" in ended.err) == (how == "older")


def _copy_index(source: Path, target: Path) -> None:
    """An index and its key, for a node with a log of its own."""
    target.mkdir(parents=True)
    for file in source.glob("index.*"):
        (target / file.name).write_bytes(file.read_bytes())


def _tamper(policy: Path) -> None:
    """One more line in a file that two officers signed."""
    with (policy / "data" / "agreements.yaml").open("a") as file:
        file.write("\n# nobody signed this\n")


def _forget_a_signature(policy: Path) -> None:
    manifest = json.loads((policy / "manifest.json").read_text())
    del manifest["signatures"][1:]
    (policy / "manifest.json").write_text(json.dumps(manifest))


async def _run_under_serial_2(made: Federation, module: str, folder: Path) -> None:
    """Let the process see serial 2 once; its log then remembers."""
    newer = folder / "newer"
    publish_policy(made.layout, newer, serial=2)
    config = write_config(
        folder / "newer.toml", _config(made, module), policy_dir=str(newer), listen="127.0.0.1:0"
    )
    running = await serve(module, config, folder / "newer.log")
    assert await running.stop() == 0


@BOTH
async def test_one_log_has_one_process(made: Federation, module: str, tmp_path: Path) -> None:
    """A second process on the same state is refused; the first one goes on."""
    state = tmp_path / "state"
    _copy_index(made.node_configs[GOOD].state_dir, state)
    config = write_config(
        tmp_path / "first.toml", _config(made, module), state_dir=str(state), listen="127.0.0.1:0"
    )
    running = await serve(module, config, tmp_path / "first.log")
    try:
        ended = await _refused(made, module, tmp_path, state_dir=str(state))
        assert "DATABASE_IN_USE" in ended.err
    finally:
        assert await running.stop() == 0


@BOTH
async def test_a_log_that_cannot_be_written_starts_nothing(
    made: Federation, module: str, tmp_path: Path
) -> None:
    """With a read-only log there is no server, and the log is as it was."""
    launcher = unprivileged()
    if launcher == ("false",):
        pytest.skip("file modes do not bind the superuser: apt-get install util-linux (setpriv)")
    state = tmp_path / "state"
    _copy_index(made.node_configs[GOOD].state_dir, state)
    config = write_config(
        tmp_path / "config.toml", _config(made, module), state_dir=str(state), listen="127.0.0.1:0"
    )
    running = await serve(module, config, tmp_path / "first.log")
    assert await running.stop() == 0
    before = (state / "audit.sqlite").read_bytes()
    (state / "audit.sqlite").chmod(0o400)
    ended = await command(module, "serve", "--config", config, under=launcher)
    assert ended.code == 3, ended.err
    assert "LOG_UNAVAILABLE" in ended.err
    assert "\nnext: " in ended.err
    assert (state / "audit.sqlite").read_bytes() == before


# ── Disks that fill up ───────────────────────────────────────────────────────────────────────


def fill_the_disk(pid: int) -> None:
    """From now on no file of this process grows; what it wrote before stays readable."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, hard))


async def test_a_gateway_whose_disk_is_full_answers_nothing_and_loses_nothing(
    tmp_path: Path,
) -> None:
    """Nothing is answered without its leaf; the process ends; all it ever said is in the log."""
    async with federation(tmp_path, start=False) as made:
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case()
        async with gateway_process(made) as running:
            await made.reconnected()
            before = [evidence(await made.ask()) for _ in range(3)]
            fill_the_disk(running.pid)
            asked_before = _owner_intents(made)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await made.ask()
            assert _owner_intents(made) == asked_before
            assert refused.value.code() is not grpc.StatusCode.INTERNAL
            assert await running.wait() == 1
        known = [_head(made, e.closing) for e in before] + [_head(made, e.intent) for e in before]
        _verify(made, *known)
        async with gateway_process(made) as running:
            assert states(await _ask_again(made))[GOOD].answers[0].hit
            assert await running.stop() == 0
        _verify(made, *known)


async def test_an_owner_whose_disk_is_full_answers_nothing(tmp_path: Path) -> None:
    """Only its own line is missing; it ends by itself, and answers again with space."""
    async with federation(tmp_path, start=False, deadline_ms=20_000) as made:
        await made.start_gateway()
        for partner in ("customs", BAD):
            await made.start_node(partner)
        await made.open_case()
        async with node_process(made, GOOD) as running:
            assert states(await made.ask())[GOOD].answers[0].hit
            fill_the_disk(running.pid)
            lines = states(await made.ask())
            # Whether it still says so or has hung up, it is no answer.
            assert lines[GOOD].status in {query_pb2.STATUS_UNREACHABLE, query_pb2.STATUS_INVALID}
            assert not lines[GOOD].answers
            assert lines[BAD].status == query_pb2.STATUS_ANSWERED
            assert await running.wait() == 1
        async with node_process(made, GOOD):
            async with asyncio.timeout(30):
                while not states(await made.ask())[GOOD].answers:
                    await asyncio.sleep(0.1)


async def test_an_asker_whose_disk_is_full_sends_nothing(tmp_path: Path) -> None:
    """The node that cannot write its own INTENT asks nobody: the gateway hears of nothing."""
    async with federation(tmp_path, start=False) as made:
        await made.start_gateway()
        for partner in (GOOD, BAD):
            await made.start_node(partner)
        async with node_process(made, "customs") as running:
            await made.open_case()
            async with made.client() as client:
                await made.ask(client=client)
                draft = await made.draft(client, STORY)
                fill_the_disk(running.pid)
                asked_before = _owner_intents(made)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    _ = [event async for event in client.ask(draft)]
            told = dict(refused.value.trailing_metadata() or ())
            assert told["fairlead-reason"] in {"HISTORY_UNAVAILABLE", "LOG_UNAVAILABLE"}
        assert _owner_intents(made) == asked_before
        assert made.gateway is not None
        assert _intents(made.gateway.log) == 1


def _owner_intents(made: Federation) -> int:
    return sum(_intents(app.log) for partner, app in made.nodes.items() if partner != "customs")


def _intents(log: AuditLog) -> int:
    leaves = [audit_pb2.AuditLeaf.FromString(b) for (b,) in log.read("SELECT body FROM leaf")]
    return sum(leaf.type == audit_pb2.LEAF_TYPE_INTENT for leaf in leaves)


def _head(made: Federation, receipt: audit_pb2.Receipt) -> receipts.Head:
    gateway, note = made.directory.gateway, receipts.parse_proof(receipt.tlog_proof).checkpoint
    point = receipts.open_checkpoint(note, gateway.log_origin, gateway.log_key)
    return receipts.Head(
        origin=gateway.log_origin, size=point.size, root=point.root, checkpoint=note
    )


async def _ask_again(made: Federation) -> list[asking_pb2.AskResponse]:
    """Ask until the node's connection to the new gateway is there."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await made.ask()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)


# ── Clocks that step ─────────────────────────────────────────────────────────────────────────


async def test_a_gateway_whose_clock_steps_refuses_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes ahead or behind it asks nobody; set right it answers, and its log verifies."""
    off = [0.0]
    monkeypatch.setattr(
        federations, "assemble_gateway", partial(assemble, clock=lambda: time.time() + off[0])
    )
    async with federation(tmp_path, start=False) as made:
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case()
        known = [_head(made, evidence(await made.ask()).closing)]
        asked_before = _owner_intents(made)
        for step in (300.0, -300.0):
            off[0] = step
            with pytest.raises(grpc.aio.AioRpcError):
                await made.ask()
        assert _owner_intents(made) == asked_before
        off[0] = 0.0
        known.append(_head(made, evidence(await made.ask()).closing))
        assert _owner_intents(made) == 2 * asked_before
        report = _verify(made, *known)
        assert report.leaves["REFUSAL"] >= 1
        assert report.open_queries == ()


# ── Sources that are not what they should be ─────────────────────────────────────────────────

HEADER = "at,container_no,plate,place"
ROWS = (
    "2026-01-05T10:00:00Z,MSCU6639870,,Gate 7",
    "2026-01-05T11:00:00Z,MSCU6639871,,Gate 8",  # the check digit is wrong
    "2026-01-05T12:00:00Z,CSQU3054383,,Gate \xe9",  # Latin-1 in a file of UTF-8
    "2026-01-05T13:00:00Z,CSQU3054383,,Gate \u00e9",
)
MAPPING = """
source = "gate"
files = ["gate.csv"]
record_type = "movement"
event = "gate-in"
purposes = ["drug-trafficking"]
retention_days = 3650
active_target = false
personal = false
time = { column = "at", format = "iso" }
[[identifiers]]
scheme = "container"
column = "container_no"
[handling]
tlp = "AMBER"
pap = "AMBER"
europol = "H0"
source_grade = "A"
information_grade = "1"
[fields]
place = "place"
"""


def _write_source(folder: Path, header: str = HEADER) -> Path:
    lines = [header.encode(), *(row.encode("utf-8") for row in ROWS)]
    lines[3] = ROWS[2].encode("latin-1")
    (folder / "gate.csv").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "gate.toml").write_text(MAPPING)
    return folder / "gate.toml"


def _lookup(config: NodeConfig, term: str) -> list[str]:
    token_key, field_key = index_keys(config)
    path = config.state_dir / INDEX_FILE
    index = Index.open(path, token_key=token_key, field_key=field_key, clock=time.time)
    try:
        found = index.lookup(identifiers.normalise("container", term))
        return sorted(str(item.fields["place"]) for item in found)
    finally:
        index.close()


def _root(config: NodeConfig) -> bytes:
    token_key, field_key = index_keys(config)
    path = config.state_dir / INDEX_FILE
    index = Index.open(path, token_key=token_key, field_key=field_key, clock=time.time)
    try:
        return index.root
    finally:
        index.close()


async def test_bad_sources_are_counted_or_refused_and_never_lose_the_index(
    made: Federation, tmp_path: Path
) -> None:
    """Wrong digits are kept, marked and matched; wrong octets counted; no column, no new index."""
    config = made.node_configs[GOOD].model_copy(update={"state_dir": tmp_path / "state"})
    mapping = _write_source(tmp_path)
    file = write_config(tmp_path / "node.toml", config, sources=[str(mapping)])
    ended = await command(NODE, "exposure", "accept", "--by", "u-dpo", "--config", file)
    assert ended.code == 0, ended.err
    ended = await command(NODE, "index", "--config", file, "--output", "json")
    assert ended.code == 0, ended.err
    (line,) = json.loads(ended.out)
    assert (line["rows"], line["records"], line["reasons"]) == (4, 3, "ENCODING 1")
    assert line["check_digit_wrong"] == 1
    assert _lookup(config, "MSCU6639870") == ["Gate 7"]
    assert _lookup(config, "MSCU6639871") == ["Gate 8"]
    assert _lookup(config, "CSQU3054383") == ["Gate \u00e9"]
    before = _root(config)
    _write_source(tmp_path, header=HEADER.replace("place", "plaats"))
    ended = await command(NODE, "index", "--config", file)
    assert ended.code == 3, ended.err
    assert "COLUMN_MISSING" in ended.err
    assert "fields.place: not exactly one column 'place'" in ended.err
    assert "\nnext: " in ended.err
    for secret in ("MSCU", "CSQU", "Gate 7"):
        assert secret not in ended.err
    assert _root(config) == before
    assert _lookup(config, "MSCU6639870") == ["Gate 7"]
