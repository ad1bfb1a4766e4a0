"""The owner in control: nothing leaves unaccepted, a pause stops everything, a preview is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from demo.accepting import records_of_code
from fairlead.client import NodeClient
from fairlead.errors import PolicyUnavailable, Stale
from fairlead.identifiers.container import check_digit
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2
from fairlead.vocabulary import Event, Handling, RecordType, parse_handling
from node.app import NodeApp
from node.control.client import call
from node.indexing import LOG_FILE
from node.owning import at_rest
from node.sources.record import SourceRecord
from tests.federation import (
    ANALYST,
    CASE,
    OTHER,
    PURPOSE,
    STORY,
    Federation,
    federation,
    record,
    states,
)

OWNER = "terminal-north"
TWO = ("customs", OWNER)
NARROW = """
schema: 2
agreements:
  - id: desk-only
    from: ["sector:public"]
    to: ["kind:terminal"]
    purposes: [drug-trafficking]
    legal_bases: [eu-ucc-art-46, national-criminal-procedure]
    modes: [sealed]
    schemes: [container, vehicle-plate, vessel-imo]
    roles: [analyst]
    facets: [existence, contact_desk]
    redact: []
    max_records: 5
    notice_delay_s: 0
    retention_days: 30
    max_terms: 512
    max_window_days: 365
    valid_from: 2026-01-01
    valid_until: 2031-01-01
"""


def handling(tlp: str, europol: str) -> Handling:
    """AMBER in what may be done, and the best grades."""
    return parse_handling(
        tlp=tlp, pap="AMBER", europol=europol, source_grade="A", information_grade="1"
    )


def leaves(app: NodeApp) -> list[audit_pb2.AuditLeaf]:
    rows = app.log.read("SELECT body FROM leaf ORDER BY idx")
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


def released(found: Sequence[audit_pb2.AuditLeaf]) -> int:
    """Answers with content that these leaves let out."""
    return sum(a.status == query_pb2.STATUS_ANSWERED for leaf in found for a in leaf.released)


def place(found: Sequence[audit_pb2.AuditLeaf], subject: str) -> int:
    (index,) = (i for i, leaf in enumerate(found) if leaf.subject == subject)
    return index


# ── Acceptance ───────────────────────────────────────────────────────────────────────────────


async def test_an_unaccepted_node_answers_nobody(tmp_path: Path) -> None:
    """Before somebody accepted, a hit and a miss get the same refusal and no answer is let out;
    acceptance opens the running node."""
    async with federation(tmp_path, partners=TWO, unaccepted=[OWNER]) as made:
        await made.open_case()
        for term in (STORY, OTHER):
            line = states(await made.ask(term))[OWNER]
            assert line.status == query_pb2.STATUS_REFUSED
            assert line.reason == "OWNER_NOT_READY"
            assert not line.answers
        app = made.nodes[OWNER]
        assert released(leaves(app)) == 0
        owner = app.steering.owner
        owner.sources = lambda: records_of_code(owner.policy(), ("container",))
        assert (await owner.accept("u-dpo"))["changed"]
        assert states(await made.ask(STORY))[OWNER].answers[0].hit
        # Accepting it again changes nothing and writes nothing.
        size = len(leaves(app))
        assert not (await owner.accept("u-other"))["changed"]
        assert len(leaves(app)) == size
        with pytest.raises(Stale):
            await owner.accept("u-dpo", digest="0" * 64)


async def test_what_a_new_policy_adds_is_withheld(tmp_path: Path) -> None:
    """An owner accepts under its narrow policy; under a wider one only what was accepted leaves,
    the rest is reported as pending, and acceptance releases it."""
    own = tmp_path / "own.yaml"
    own.write_text(NARROW)
    async with federation(tmp_path, partners=TWO, local_policy={OWNER: own}, start=False) as made:
        made.node_configs[OWNER] = made.node_configs[OWNER].model_copy(
            update={"local_policy": None}
        )
        await made.start_gateway()
        for partner in TWO:
            await made.start_node(partner)
        await made.open_case()
        answer = states(await made.ask())[OWNER].answers[0]
        assert answer.hit
        assert answer.contact_desk
        assert not answer.records
        assert not answer.count_band
        owner = made.nodes[OWNER].steering.owner
        owner.sources = lambda: records_of_code(owner.policy(), ("container",))
        status = await made.nodes[OWNER].steering.status.report()
        assert status["exposure"]["pending"] > 0
        assert "EXPOSURE_WIDENED" in status["warnings"]
        await owner.accept("u-dpo")
        answer = states(await made.ask())[OWNER].answers[0]
        assert answer.records[0].fields[0].name == "place"
        assert answer.count_band == "1"


async def test_an_acceptance_survives_a_restart(tmp_path: Path) -> None:
    """What was accepted is in the node's state with its leaf, and a new process goes by it."""
    async with federation(tmp_path, partners=TWO) as made:
        await made.open_case()
        await made.stop_node(OWNER)
        app = await made.start_node(OWNER)
        leaf = leaves(app)[0]
        assert (leaf.subject, leaf.user) == ("exposure-accepted", "u-dpo")
        held = app.steering.owner.gate.acceptance
        assert held is not None
        assert leaf.detail_digest.hex() == held.digest
        assert states(await made.ask())[OWNER].answers[0].hit


# ── Pause ────────────────────────────────────────────────────────────────────────────────────


async def test_a_pause_stops_every_answer_under_load(tmp_path: Path) -> None:
    """While analysts ask without end the owner pauses through its socket: behind the leaf of the
    pause no answer is let out, nobody is shown one that came later, and everybody is told since
    when; after resuming, hits come again."""
    async with federation(tmp_path, partners=TWO) as made:
        await made.open_case()
        app = made.nodes[OWNER]
        await app.control.start()
        told: list[tuple[str, int]] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                line = states(await made.ask())[OWNER]
                told.append((line.reason, line.paused_since))

        loads = [asyncio.create_task(load()) for _ in range(4)]
        while len(told) < 8:
            await asyncio.sleep(0.01)
        state = made.node_configs[OWNER].state_dir
        pausing = {"reason": "MAINTENANCE", "for_s": 0}
        paused = await asyncio.to_thread(call, state, "pause", pausing)
        assert paused is not None
        at = released(leaves(app))
        seen = len(told)
        while len(told) < seen + 12:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*loads)
        found = leaves(app)
        assert released(found) == at
        assert released(found[place(found, "paused") :]) == 0
        # Four questions were on their way at most, composed but not let out or let out before.
        assert all(reason == "OWNER_PAUSED" and since > 0 for reason, since in told[seen + 4 :])
        assert any(reason == "" for reason, _ in told[:seen])
        await asyncio.to_thread(call, state, "resume", {})
        assert states(await made.ask())[OWNER].answers[0].hit


async def test_a_paused_owner_can_still_ask(tmp_path: Path) -> None:
    """A pause is about answering: the owner's own users ask as before."""
    async with federation(tmp_path, partners=TWO) as made:
        await made.open_case()
        await made.nodes["customs"].steering.pause.begin("INCIDENT")
        assert states(await made.ask())[OWNER].answers[0].hit


async def test_a_pause_survives_a_restart_and_ends_by_itself(tmp_path: Path) -> None:
    """A pause made while the node was down holds when it starts, and ends when its time is over,
    with a leaf of its own."""
    async with federation(tmp_path, partners=TWO, start=False) as made:
        config = made.node_configs[OWNER]
        async with at_rest(config) as steering:
            await steering.handlers["pause"](reason="MAINTENANCE", for_s=60)
        await made.start_gateway()
        for partner in TWO:
            await made.start_node(partner)
        await made.open_case()
        line = states(await made.ask())[OWNER]
        assert (line.status, line.reason) == (query_pb2.STATUS_REFUSED, "OWNER_PAUSED")
        app = made.nodes[OWNER]
        pause = app.steering.pause
        assert not await pause.expire()
        assert pause.state is not None
        until = pause.state.until
        pause._clock = lambda: float(until)
        assert await pause.expire()
        assert states(await made.ask())[OWNER].answers[0].hit
        ended = leaves(app)[place(leaves(app), "resumed")]
        assert list(ended.reasons) == ["TIME_OVER"]
        with pytest.raises(Stale):
            await pause.end()


# ── Preview ──────────────────────────────────────────────────────────────────────────────────


ABSENT = "TGHU775993" + check_digit("TGHU775993")
FATES: list[dict[str, object]] = [
    {},
    {"event": Event.GATE_OUT, "fields": {"plate": "NL-74-BXK-3", "driver_name": "Somebody"}},
    {"purposes": ("customs-risk",)},
    {"personal": True, "event": Event.RELEASE_LOOKED_UP, "withheld": ("driver_card",)},
    {"active_target": True},
    {"handling": handling("RED", "H0")},
    {"handling": handling("AMBER", "H2")},
    {"handling": handling("AMBER_STRICT", "H1"), "fields": {"seal": "S1", "unheard_of": "x"}},
    {"occurred_at": int(time.time()) - 60 * 86_400},
    {"record_type": RecordType.SEAL},
]
"""Records of every fate: released, redacted, for another purpose, about a person, an active
target, RED, a pointer, a field nobody knows, too old, of a kind nobody accepted."""


def held() -> dict[str, list[SourceRecord]]:
    """A term for each fate alone, one for each with the next, and one with all of them."""
    terms = [f"FATU{number:06d}" for number in range(2 * len(FATES) + 1)]
    whole = [term + check_digit(term) for term in terms]
    mixes = [[fate] for fate in FATES]
    mixes += [[a, b] for a, b in zip(FATES, FATES[1:] + FATES[:1], strict=True)]
    mixes.append(FATES)
    return {
        term: [record(term, **fate) for fate in mix]  # type: ignore[arg-type]
        for term, mix in zip(whole, mixes, strict=True)
    }


async def test_a_preview_is_what_a_query_brings(tmp_path: Path) -> None:
    """For every term, whatever its records' fates, what a preview shows is what the same question
    then returns: hit, band, desk, records, fields and withheld names."""
    by_term = held()
    records = [item for items in by_term.values() for item in items]
    hits = 0
    async with (
        federation(tmp_path, partners=TWO, records={OWNER: records}) as made,
        made.client(*ANALYST) as client,
    ):
        await made.open_case()
        app = made.nodes[OWNER]
        for term in (*by_term, ABSENT):
            shown = await preview(app, made, term)
            answer = (await answered(made, client, term)).answers[0]
            hits += answer.hit
            assert shown["hit"] is answer.hit
            assert shown["count_band"] == answer.count_band
            assert shown["contact_desk"] == answer.contact_desk
            assert shown["more"] is answer.more
            assert [r["ref"] for r in shown["records"]] == [r.ref.hex() for r in answer.records]
            for before, after in zip(shown["records"], answer.records, strict=True):
                assert before["fields"] == {f.name: f.value for f in after.fields}
                assert before["withheld"] == list(after.withheld)
            assert len(shown["considered"]) == len(by_term.get(term, ()))
    assert 5 < hits < len(by_term) - 3


async def test_a_preview_says_what_decided(tmp_path: Path) -> None:
    """Each record is listed as released or hidden, with the reason that hides it, and each field
    that is withheld with what holds it back; the agreement is named."""
    mixed = [record(**fate) for fate in FATES]  # type: ignore[arg-type]
    async with federation(tmp_path, partners=TWO, records={OWNER: mixed}) as made:
        shown = await preview(made.nodes[OWNER], made, STORY)
    why = {item["why"] for item in shown["considered"]}
    assert {"", "OUT_OF_SCOPE", "EXPOSURE_NOT_ACCEPTED"} < why
    assert len(why) >= 6
    withheld = [item["withheld"] for item in shown["considered"] if item["released"]]
    assert {w["driver_name"] for w in withheld if "driver_name" in w} <= {"REDACTED", "NOT_GRANTED"}
    assert any(w.get("driver_card") == "MAPPING" for w in withheld)
    assert "demo-sealed-trafficking" in shown["agreements"]


async def answered(made: Federation, client: NodeClient, term: str) -> asking_pb2.OpenedAnswer:
    """The owner's answer; asked again while this machine is too busy to decide in time."""
    for _ in range(10):
        line = states(await made.ask(term, client=client))[OWNER]
        if line.status == query_pb2.STATUS_ANSWERED:
            break
    return line


async def preview(app: NodeApp, made: Federation, term: str) -> dict[str, Any]:
    """As customs, over the window that a test asks; tried again like :func:`answered`."""
    since = int(app.steering.owner.clock()) - 30 * 86_400
    question = {"partner": "customs", "purpose": PURPOSE, "term": term, "since": since}
    for _ in range(10):
        try:
            shown = dict(await app.steering.handlers["preview"](**question))
        except PolicyUnavailable:
            continue
        if shown["reason"] != "POLICY_UNAVAILABLE":
            break
    return shown


async def test_a_look_is_a_leaf_without_the_term(tmp_path: Path) -> None:
    """Whoever previews is on the record: as whom, for what, by which scheme, not which term."""
    async with federation(tmp_path, partners=TWO) as made:
        app = made.nodes[OWNER]
        await preview(app, made, STORY)
        leaf = next(leaf for leaf in leaves(app) if leaf.subject == "previewed")
        assert (leaf.partner_id, leaf.purpose, list(leaf.schemes)) == (
            "customs", PURPOSE, ["container"],
        )  # fmt: skip
        octets = (made.node_configs[OWNER].state_dir / LOG_FILE).read_bytes()
        assert STORY.encode() not in octets
        assert CASE.encode() not in octets


async def test_a_preview_says_who_is_refused(tmp_path: Path) -> None:
    """A partner that gets nothing is shown as refused, with the code it would read and why."""
    async with federation(tmp_path, unaccepted=[OWNER]) as made:
        shown = await preview(made.nodes[OWNER], made, STORY)
        assert (shown["status"], shown["reason"]) == ("refused", "OWNER_NOT_READY")
        assert "EXPOSURE_NOT_ACCEPTED" in str(shown["reasons"])
        assert shown["considered"] == []
