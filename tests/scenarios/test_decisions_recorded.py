"""Decisions of a real federation: recorded everywhere, without a term, read and replayed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import orjson
import pytest
import pytest_asyncio

from certs.dev.federation import UserSpec
from fairlead import storage
from fairlead.auditlog import receipt_at
from fairlead.certificates import Role
from fairlead.cli.output import Exit
from fairlead.decisions import read_batch
from fairlead.decisions.shelf import span
from fairlead.decisions.stream import Stream, responses
from fairlead.errors import Forged
from fairlead.policy.recorded import Recorded
from fairlead.v1 import asking_pb2, audit_pb2, decisions_pb2, query_pb2
from tests.commands import Ended, as_user, profile, run_module
from tests.decided import undecided
from tests.federation import (
    CASE,
    OTHER,
    ROOT,
    STORY,
    Federation,
    federation,
    record,
    states,
)
from tests.typist import Machine, Typist

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

OFFICER = ("customs", "u-so1")
PLATE = "NL:74BXK3"
WHO = ("gateway", "customs", "terminal-north", "oceanic-line")
SECRETS = (STORY, OTHER, "MSCU 663987 0", "74BXK3", "74-BXK-3", CASE, "Somebody Invented",
           "Gate 7", "Quay 12")  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """A federation in which all kinds of questions were asked."""
    folder = tmp_path_factory.mktemp("decided")
    held = {
        "terminal-north": [record(), record(OTHER, fields={"place": "Quay 12"})],
        "oceanic-line": [record(active_target=True)],
    }
    officer = UserSpec(pseudonym=OFFICER[1], roles=(Role.SECURITY_OFFICER,))
    async with federation(folder, records=held, more_users={"customs": [officer]}) as running:
        await running.open_case()
        plate = asking_pb2.Term(scheme="vehicle-plate", value=PLATE)
        await running.ask(STORY)
        await running.ask(STORY, OTHER)
        await running.ask(terms=[plate])
        await running.ask(STORY, events=["gate-in"], partners=["terminal-north"])
        with pytest.raises(grpc.aio.AioRpcError):
            await running.ask(STORY, purpose="customs-risk")
        with pytest.raises(grpc.aio.AioRpcError):
            await running.ask(STORY, mode=query_pb2.MODE_BLIND)
        yield running


def read(made: Federation, who: str) -> list[Recorded]:
    """Every record of a process, opened by the officer, its proof checked for the log's leaf."""
    database = storage.open_readonly(made.folder / "state" / who / "audit.sqlite")
    try:
        stream = Stream(private=made.replay_key, check=lambda *_: None)
        found = [
            item
            for response in responses(
                database, span(database, 0, 0), lambda leaf: receipt_at(database, leaf)
            )
            for item in stream.take(response)
        ]
        stream.finish()
        return found
    finally:
        database.close()


async def test_every_point_of_every_process_leaves_records(made: Federation) -> None:
    """Asking at the asker, admission and routing at the gateway, the rest at owners."""
    async with made.client(*OFFICER) as client:  # with its leaf, what waits is written
        _ = [item async for item in client.decisions(decisions_pb2.ReadDecisionsRequest())]
    points = {who: {item.point for item in read(made, who)} for who in WHO}
    assert points == {
        "gateway": {"admission", "routing"},
        "customs": {"asking"},
        "terminal-north": {"sovereignty", "release"},
        "oceanic-line": {"sovereignty", "release"},
    }


async def test_no_term_ever_enters_a_policy_input(made: Federation) -> None:
    """Neither a term, in any spelling, nor a case, a name or a field's value is in any record."""
    octets = []
    for who in WHO:
        for item in read(made, who):
            assert item.document is not None
            outcomes = [outcome.to_json() for outcome in item.outcomes.values()]
            octets.append(orjson.dumps([item.document, outcomes]))
    assert len(octets) > 20
    for text in octets:
        for secret in SECRETS:
            assert secret.lower().encode() not in text.lower()


async def test_records_name_the_query_and_the_grant_names_the_record(made: Federation) -> None:
    """Gateway and owner know a query's decisions by its id."""
    gateway = {item.query_id for item in read(made, "gateway")}
    owner = {item.query_id for item in read(made, "terminal-north")}
    assert owner <= gateway
    assert all(len(query_id) == 16 for query_id in gateway)


async def test_every_log_verifies_with_its_records(made: Federation) -> None:
    """An auditor sees how many batches there are."""
    for who in WHO:
        log = made.folder / "state" / who / "audit.sqlite"
        ended = await as_user(made, "audit", "verify", str(log), "--output", "json")
        assert ended.code == Exit.ANSWERED, ended.err
        (report,) = ended.json
        assert report["decision_batches"] > 0


# ── Officers ─────────────────────────────────────────────────────────────────────────────────


def subjects(made: Federation, partner: str) -> list[tuple[str, str, bytes]]:
    """The readings in a node's log."""
    rows = made.nodes[partner].log.read("SELECT body FROM leaf ORDER BY idx")
    leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [
        (leaf.subject, leaf.user.rpartition("/")[2], leaf.query_id)
        for leaf in leaves
        if leaf.subject == "decisions-read"
    ]


async def test_each_reading_by_an_officer_is_a_leaf(made: Federation) -> None:
    """Who read, and about what, is on the record before anything is shown."""
    query_id = read(made, "gateway")[0].query_id
    before = len(subjects(made, "customs"))
    async with made.client(*OFFICER) as client:
        stream = Stream(private=made.replay_key, check=lambda *_: None)
        request_ = decisions_pb2.ReadDecisionsRequest(query_id=query_id)
        found = [r async for item in client.decisions(request_) for r in stream.take(item)]
        stream.finish()
    assert {item.point for item in found} == {"asking"}
    assert subjects(made, "customs")[before:] == [("decisions-read", OFFICER[1], query_id)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"query_id": b"short"}, {"query_id": bytes(16), "since_ms": 1}, {"since_ms": -1},
        {"until_ms": -1},
    ],
)  # fmt: skip
async def test_a_reading_of_nothing_sensible_is_refused(
    made: Federation, wrong: dict[str, object]
) -> None:
    """Either times or one query; nothing is shown of a guess."""
    async with made.client(*OFFICER) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            asked = decisions_pb2.ReadDecisionsRequest(**wrong)  # type: ignore[arg-type]
            _ = [item async for item in client.decisions(asked)]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    last = undecided(made.nodes["customs"].log)[-1]
    assert last.type == audit_pb2.LEAF_TYPE_REFUSAL
    assert last.user.endswith(f"/user/{OFFICER[1]}")


async def test_what_was_changed_in_the_file_is_an_alarm(
    made: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An officer who reads what is not what its leaf says hears so, and the log does."""

    def forged(*_: object) -> range:
        raise Forged("a batch is not that of its leaf", reasons=("DECISIONS_FORGED",))

    monkeypatch.setattr("node.decisions.span", forged)
    async with made.client(*OFFICER) as client:
        with pytest.raises(grpc.aio.AioRpcError):
            _ = [i async for i in client.decisions(decisions_pb2.ReadDecisionsRequest())]
    last = undecided(made.nodes["customs"].log)[-1]
    assert (last.type, list(last.reasons)) == (audit_pb2.LEAF_TYPE_ALARM, ["DECISIONS_FORGED"])


async def test_nobody_but_an_officer_reads_records(made: Federation) -> None:
    """An analyst is refused at the door."""
    async with made.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [i async for i in client.decisions(decisions_pb2.ReadDecisionsRequest())]
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


# ── Replay ───────────────────────────────────────────────────────────────────────────────────


def draft(folder: Path, *, demo: bool) -> Path:
    """A draft: the committed policy with or without the demo's agreement."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(ROOT / "policies" / "policy.wasm", folder)
    names = ("agreements", "demo") if demo else ("agreements",)
    for name in names:
        shutil.copy(ROOT / "policies" / "data" / f"{name}.yaml", folder / "data")
    return folder


def written(made: Federation, folder: Path) -> Path:
    """The gateway's configuration as a file."""
    names = ("name", "listen", "state_dir", "keys_dir", "directory", "pins", "deny_lists",
             "policy_dir")  # fmt: skip
    settings = {name: str(getattr(made.gateway_config, name)) for name in names}
    path = folder / "gateway.toml"
    path.write_text("".join(f"{key} = {json.dumps(v)}\n" for key, v in settings.items()))
    return path


async def replayed(made: Federation, folder: Path, *words: str) -> Ended:
    key = str(made.folder / "replay.key")
    return await as_user(
        made, "policy", "replay", str(folder), "--key", key, *words, user=OFFICER[1]
    )


async def test_an_officer_replays_the_own_node(made: Federation, tmp_path: Path) -> None:
    """Without the demo's agreement, what customs asked would have been refused; nothing widens."""
    folder = draft(tmp_path / "draft", demo=False)
    ended = await replayed(
        made, folder, "--current", str(made.folder / "policy"), "--output", "json"
    )
    assert ended.code == Exit.ANSWERED, ended.err
    found = ended.json
    assert found["widenings"] == []
    assert found["newly_refused"] > 0
    assert found["unlike"] == 0
    assert json.loads((folder / "reports" / "replay-customs.json").read_text()) == found
    assert "fairlead policy sign" in ended.err


async def test_a_query_is_explained_from_its_records(made: Federation, tmp_path: Path) -> None:
    """What was decided, and what would have to change: from an export, or from the own node."""
    folder = draft(tmp_path / "draft", demo=True)
    out = tmp_path / "gateway.decisions"
    words = ("decisions", "export", str(out), "--config", str(written(made, tmp_path)))
    assert (await run_module("gateway.cli.main", *words, home=tmp_path)).code == Exit.ANSWERED
    routed = next(item for item in read(made, "gateway") if item.point == "routing")
    ended = await explained(made, folder, routed.query_id, "--from", str(out))
    assert ended.code == Exit.ANSWERED, ended.err
    assert "demo-sealed-trafficking" in ended.out
    assert f"routing {routed.decision_id.hex()[:8]} terminal-north: permitted then" in ended.err
    asked = next(item for item in read(made, "customs") if not item.outcomes[""].permit)
    ended = await explained(made, folder, asked.decision_id)
    assert ended.code == Exit.ANSWERED, ended.err
    assert "refused then" in ended.err
    assert "would permit more" in ended.out
    ended = await explained(made, folder, bytes(16))
    assert (ended.code, "UNKNOWN_DECISION" in ended.err) == (Exit.USAGE, True)


async def explained(made: Federation, folder: Path, about: bytes, *words: str) -> Ended:
    """As the officer types it."""
    key = str(made.folder / "replay.key")
    typed = ("policy", "explain", str(folder), "--about", about.hex(), "--key", key, *words)
    return await as_user(made, *typed, user=OFFICER[1])


async def test_an_operators_export_is_replayed_and_justified(
    made: Federation, tmp_path: Path
) -> None:
    """The gateway's records show what a draft would open; each class wants a name and a reason."""
    config = written(made, tmp_path)
    out = tmp_path / "gateway.decisions"
    words = ("decisions", "export", str(out), "--config", str(config))
    ended = await run_module("gateway.cli.main", *words, home=tmp_path)
    assert ended.code == Exit.ANSWERED, ended.err
    again = await run_module("gateway.cli.main", *words, home=tmp_path)
    assert again.code == Exit.USAGE
    before = draft(tmp_path / "before", demo=False)
    folder = draft(tmp_path / "draft", demo=True)
    words = ("--from", str(out), "--current", str(before))
    ended = await replayed(made, folder, *words)
    assert ended.code == Exit.ANSWERED, ended.err
    assert "demo-sealed-trafficking" in ended.out
    assert "newly allowed" in ended.out
    found = json.loads((folder / "reports" / "replay-gw-1.json").read_text())
    assert found["widenings"]
    officer = str(made.layout.federation / "policy-1.key")
    for widening in found["widenings"]:
        ended = await as_user(
            made, "policy", "justify", str(folder), widening["id"], "--officer", officer,
            "--text", "the trial of November", user=OFFICER[1],
        )  # fmt: skip
        assert ended.code == Exit.ANSWERED, ended.err
    assert "fairlead policy sign" in ended.err
    ended = await replayed(made, folder, *words, "--output", "json")
    assert all(w["justification"] for w in ended.json["widenings"])


async def test_the_page_on_replay_is_typed(made: Federation, tmp_path: Path) -> None:
    """From the officer's key to a justified widening, as docs/policy-replay.md says."""
    draft(tmp_path / "draft", demo=True)
    draft(tmp_path / "in-force", demo=False)
    shutil.copy(made.layout.federation / "policy-1.key", tmp_path / "officer.key")
    written(made, tmp_path)
    environment = {"FAIRLEAD_PROFILE": str(profile(made, *OFFICER))}

    def type_page() -> None:
        with Machine(tmp_path) as machine:
            typist = Typist(
                "docs/policy-replay.md", machine, tmp_path,
                values={
                    "5d1c0f7e9a42": lambda: machine.heard("^([0-9a-f]{12}) .*sealed"),
                },
                variables=lambda _: environment,
            )  # fmt: skip
            typist.block("The replay key")
            shutil.copy(made.folder / "replay.key", tmp_path)  # what the processes were given
            assert "demo-sealed-trafficking" in typist.block("Replay a draft")
            assert "demo-sealed-trafficking" in typist.block("The gateway's decisions")
            assert "is justified by" in typist.block("Justify what is wider")
            typist.done()

    await asyncio.to_thread(type_page)


async def test_records_of_a_stranger_are_not_replayed(made: Federation, tmp_path: Path) -> None:
    """A file that was cut, and another officer's key, end with what to do."""
    folder = draft(tmp_path / "draft", demo=True)
    cut = tmp_path / "cut"
    cut.write_bytes(b"fairlead-decisions-1\n\x00\x00")
    ended = await replayed(made, folder, "--from", str(cut))
    assert ended.code == Exit.USAGE
    assert "[DECISION_FILE]" in ended.err
    other = tmp_path / "other.key"
    ended = await as_user(made, "policy", "replay-keygen", str(other), user=OFFICER[1])
    assert (ended.code, len(ended.out.strip())) == (Exit.ANSWERED, 64)
    assert other.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "other.pub").stat().st_size == 1216
    ended = await as_user(
        made, "policy", "replay", str(folder), "--key", str(other), user=OFFICER[1]
    )
    assert ended.code == Exit.CHECK_FAILED
    assert "[UNSEALABLE]" in ended.err
    again = await as_user(made, "policy", "replay-keygen", str(other), user=OFFICER[1])
    assert again.code == Exit.USAGE


async def test_an_active_target_is_seen_by_the_officer_alone(made: Federation) -> None:
    """Its denial is in the sealed records of its owner, and nowhere else in the file."""
    found = [item for item in read(made, "oceanic-line") if item.point == "release"]
    reasons = {code for item in found for o in item.outcomes.values() for code in o.reasons}
    assert "ACTIVE_TARGET" in reasons
    events = await made.ask(STORY, partners=["oceanic-line"])
    assert not states(events)["oceanic-line"].answers[0].hit
    path = made.folder / "state" / "oceanic-line" / "audit.sqlite"
    database = storage.open_readonly(path)
    bodies = [body for (body,) in database.execute("SELECT body FROM decision_batch")]
    database.close()
    assert bodies
    shown = [record for body in bodies for record in read_batch(body).records]
    assert {record.point for record in shown} == {"sovereignty"}
    assert all(record.outcomes[""].permit for record in shown)
