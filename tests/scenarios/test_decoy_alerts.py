"""Decoys from the owner's node to somebody's screen: every match is an alert, and no asker sees it.

The blind walk is made of a node's parts here: published snapshot, blinded elements, evaluations,
lookup, outbox. What follows up, sealed, goes through a running federation.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from fairlead import identifiers
from fairlead.auditlog import AuditLog
from fairlead.blinding import blind, derive_blinds, encode_terms, evaluate, finalise
from fairlead.entries import EntryCodec, Payload
from fairlead.envelope.manifest import Manifest
from fairlead.identifiers import NORM_VERSION
from fairlead.snapshot import Snapshot
from fairlead.v1 import asking_pb2, query_pb2
from node.oversight import FOLDER
from node.owning import at_rest
from node.publication.publisher import Publisher
from node.publication.shelf import line_of
from tests.blind import SEED, require_libsodium
from tests.federation import CASE, OTHER, STORY, Federation, federation, states
from tests.live import until
from tests.oversights import asked, outbox, oversight_of
from tests.processes import OVERSIGHT, command, oversight_process
from tests.publications import OWNER, held, holds, line, owner_of

require_libsodium()
READER, PURPOSE = "customs", "drug-trafficking"
ABSENT = "TCLU1234568"
TRIALS = 25
WITHIN_S = 60.0


async def alerts(config: Path) -> list[dict[str, Any]]:
    """What the officer sees."""
    words = (OVERSIGHT, "alerts", "list", "--output", "json", "--config", config)
    done = await command(*words)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


async def raised(config: Path, count: int) -> list[dict[str, Any]]:
    """The alerts, once there are so many."""
    async with asyncio.timeout(WITHIN_S):
        while len(found := await alerts(config)) < count:
            await asyncio.sleep(0.2)
    return found


def asked_blind(publisher: Publisher, manifest: Manifest, term: str) -> Payload | None:
    """One blind question from one end to the other: what its user is shown of a term."""
    value = identifiers.normalise(manifest.scheme, term).value
    inputs = encode_terms(NORM_VERSION, manifest.scheme, [value])
    sent = blind(inputs, derive_blinds(SEED, owner=OWNER, chunk=0, count=1))
    answered = evaluate(publisher.key_of(manifest), sent.elements)
    (output,) = finalise(sent, answered, manifest.public_key)
    codec = EntryCodec(audience=manifest.audience.name, epoch=manifest.epoch)
    path = publisher.folder.snapshot(manifest)
    snapshot = Snapshot.open(path, entries=manifest.entry_count, digest=manifest.snapshot_digest)
    entry = snapshot.find(codec.tag(output))
    snapshot.close()
    return codec.open(output, entry) if entry else None


async def test_every_blind_hit_on_a_decoy_alerts_the_oversight_and_looks_like_any_hit(
    tmp_path: Path,
) -> None:
    """In each of many trials the asker sees what it sees of a record, and within a minute its own
    oversight, a process of its own with its own key, lists an alert that names query and user."""
    made = owner_of(tmp_path, [held(f"MSCU{n:06d}") for n in range(40)] + [held(STORY)])
    state = made.node_configs[READER].state_dir
    config = oversight_of(made.layout, tmp_path / "oversight", READER, state)
    log = AuditLog.open(
        state / "outbox.sqlite", origin="fairlead.demo/partner/customs",
        key=made_key(made), clock=time.time,
    )  # fmt: skip
    told = outbox(state / FOLDER, made.layout, made.directory.partner(READER), log, time.time)
    async with at_rest(made.node_configs[OWNER]) as steering, oversight_process(config) as process:
        decoys = await steering.decoying.generate("container", TRIALS)
        publisher = steering.publishing.publisher
        found = line(await publisher.publish(), READER, PURPOSE)
        published = publisher.shelf.newest(line_of(found.audience.audience, found.scheme))
        assert published is not None
        record = asked_blind(publisher, published.manifest, STORY)
        assert record is not None
        shown = set()
        for number, decoy in enumerate(decoys):
            payload = asked_blind(publisher, published.manifest, decoy.value)
            assert payload is not None
            shown.add((payload.record_type, payload.event, payload.handling, payload.desk))
            refs = [(OWNER, published.manifest.digest, p.ref) for p in (payload, record)]
            await told.hits(asked(number), refs)
        assert shown == {(record.record_type, record.event, record.handling, record.desk)}
        await told.hits(asked(TRIALS), [(OWNER, published.manifest.digest, record.ref)])
        sealed = steering.decoying.decoys_for(published.manifest, made.directory.partner(READER))
        await told.decoys(OWNER, published.manifest.digest, sealed)
        listed = await raised(config, TRIALS)
        assert {row["query"] for row in listed} == {asked(n).query_id.hex() for n in range(TRIALS)}
        assert {(row["reason"], row["owner"], row["user"]) for row in listed} == {
            ("DECOY_HIT", OWNER, "u-c01")
        }
        lines = process.log.read_text()
        assert lines.count("oversight-alert") == TRIALS
        assert not any(decoy.value in lines for decoy in decoys)
        number = str(listed[0]["alert"])
        done = await command(
            OVERSIGHT, "alerts", "acknowledge", number, "--by", "u-o01", "--config", config
        )
        assert done.code == 0, done.err
        assert len(await alerts(config)) == TRIALS - 1
        assert await process.stop() == 0
    log.close()
    verified = await command(OVERSIGHT, "verify", "--config", config)
    assert verified.code == 0, verified.err


def made_key(made: Federation) -> Any:
    """The reader's signing key."""
    from fairlead import signing

    return signing.load_signing_key(made.layout.node(READER) / "signing.key")


def seen(answer: asking_pb2.OpenedAnswer) -> tuple[object, ...]:
    """All that an asker is shown of one term's answer."""
    (term,) = answer.answers
    return answer.status, answer.reason, term.SerializeToString()


async def test_a_sealed_question_about_a_decoy_alerts_its_owner_and_answers_as_ever(
    tmp_path: Path,
) -> None:
    """The asker gets the answer that it gets about any container that nobody holds; the owner's
    oversight learns who asked, under which case, about which decoy; the other questions alarm
    nobody."""
    async with federation(tmp_path, partners=(READER, OWNER)) as made:
        state = made.node_configs[OWNER].state_dir
        config = oversight_of(made.layout, tmp_path / "oversight", OWNER, state)
        (decoy,) = await made.nodes[OWNER].steering.decoying.add("container", OTHER)
        await made.open_case(CASE)
        answers = {}
        async with oversight_process(config):
            for term in (STORY, ABSENT, OTHER, ABSENT):
                answers[term] = states(await made.ask(term))[OWNER]
            assert answers[STORY].answers[0].hit
            assert not answers[OTHER].answers[0].hit
            assert answers[OTHER].status == query_pb2.STATUS_ANSWERED
            assert seen(answers[OTHER]) == seen(answers[ABSENT])
            (row,) = await raised(config, 1)
            assert (row["reason"], row["partner"], row["user"]) == (
                "DECOY_FOLLOWED", READER, "u-c01",
            )  # fmt: skip
            assert (row["decoy"], row["purpose"]) == (decoy.id.hex(), PURPOSE)
            await until(lambda: not list((state / FOLDER / "outbox").glob("*.notice")))
            assert len(await alerts(config)) == 1


async def test_decoys_reach_the_readers_oversight_with_the_snapshot(tmp_path: Path) -> None:
    """Published, announced, fetched and carried over a running federation: who asks blind for it is
    shown what a record shows and no more, and its oversight is alerted; in its node's files no
    reference of a decoy stands in clear."""
    async with federation(
        tmp_path, partners=(READER, OWNER), records={OWNER: [held(STORY)]}
    ) as made:
        owner, reader = made.nodes[OWNER], made.nodes[READER]
        await owner.steering.decoying.add("container", OTHER)
        await owner.steering.publishing.publish()
        await owner.steering.publishing.ended()
        owner.offering.announcer.wake()
        await until(lambda: holds(reader, owner, OTHER))
        state = made.node_configs[READER].state_dir
        config = oversight_of(made.layout, tmp_path / "oversight", READER, state)
        await made.open_case(CASE)
        async with oversight_process(config):
            hits = {}
            for term in (STORY, ABSENT, OTHER):
                events = await made.ask(term, mode=query_pb2.MODE_BLIND)
                hits[term] = (events[0].batch.summary.query_id, states(events)[OWNER])
            (row,) = await raised(config, 1)
            await until(lambda: not list((state / FOLDER / "outbox").glob("*.notice")))
            assert len(await alerts(config)) == 1
        decoy, record = (hits[term][1].answers[0] for term in (OTHER, STORY))
        assert (row["reason"], row["owner"], row["query"]) == (
            "DECOY_HIT", OWNER, hits[OTHER][0].hex(),
        )  # fmt: skip
        assert decoy.hit
        assert record.hit
        assert not hits[ABSENT][1].answers[0].hit
        ref = decoy.records[0].ref
        for answer in (decoy, record):
            answer.records[0].ClearField("ref")
            answer.records[0].ClearField("occurred_at")
        assert decoy == record
        assert not any(ref in p.read_bytes() for p in state.rglob("*") if p.is_file())
