"""The owner in control: nothing leaves unaccepted, a pause stops everything, a preview is true."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.accepting import records_of_code
from fairlead.errors import Stale
from fairlead.v1 import audit_pb2, query_pb2
from fairlead.vocabulary import Event
from node.app import LOG_FILE, NodeApp, at_rest
from node.control.client import call
from tests.federation import CASE, OTHER, PURPOSE, STORY, Federation, federation, record, states

OWNER = "terminal-north"
TWO = ("customs", OWNER)
NARROW = """
schema: 1
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


def held() -> list[object]:
    """Records of every fate: released, redacted, for another purpose, about a person, RED."""
    return [
        record(),
        record(event=Event.GATE_OUT, fields={"plate": "NL-74-BXK-3", "driver_name": "Somebody"}),
        record(event=Event.SCAN, purposes=("customs-risk",)),
        record(OTHER, personal=True, event=Event.RELEASE_LOOKED_UP, withheld=("driver_card",)),
    ]


async def test_a_preview_is_what_a_query_brings(tmp_path: Path) -> None:
    """For every term, what a preview shows is what the same question then returns: hit, band,
    desk, records, fields and withheld names; and it says what decided over the rest."""
    records = held()
    async with federation(tmp_path, partners=TWO, records={OWNER: records}) as made:  # type: ignore[dict-item]
        await made.open_case()
        app = made.nodes[OWNER]
        for term in (STORY, OTHER, "TGHU7759933"):
            shown = await preview(app, made, term)
            answer = states(await made.ask(term))[OWNER].answers[0]
            assert shown["hit"] is answer.hit
            assert shown["count_band"] == answer.count_band
            assert shown["contact_desk"] == answer.contact_desk
            assert shown["more"] is answer.more
            assert [r["ref"] for r in shown["records"]] == [r.ref.hex() for r in answer.records]
            for before, after in zip(shown["records"], answer.records, strict=True):
                assert before["fields"] == {f.name: f.value for f in after.fields}
                assert before["withheld"] == list(after.withheld)
        shown = await preview(app, made, STORY)
        why = {item["why"] for item in shown["considered"]}
        assert why == {"", "PURPOSE_NOT_SHARED"}
        withheld = [item["withheld"] for item in shown["considered"] if item["released"]]
        assert all(item["driver_name"] == "REDACTED" for item in withheld)
        assert "demo-sealed-trafficking" in shown["agreements"]


async def preview(app: NodeApp, made: Federation, term: str) -> dict[str, object]:
    """As customs, over the window that a test asks."""
    since = int(app.steering.owner.clock()) - 30 * 86_400
    return dict(
        await app.steering.handlers["preview"](
            partner="customs", purpose=PURPOSE, term=term, since=since
        )
    )


async def test_a_look_is_a_leaf_without_the_term(tmp_path: Path) -> None:
    """Whoever previews is on the record: as whom, for what, by which scheme, not which term."""
    async with federation(tmp_path, partners=TWO) as made:
        app = made.nodes[OWNER]
        await preview(app, made, STORY)
        leaf = leaves(app)[place(leaves(app), "previewed")]
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
