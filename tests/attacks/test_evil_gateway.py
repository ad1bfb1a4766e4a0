"""Attack: the gateway tells its asker something other than what the owners answered.

What it cannot do unseen is asserted here; what it can is in ``docs/threats.md``, and the last
tests show where that leaves a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fairlead import merkle, signing
from fairlead.errors import FairleadError
from fairlead.evidence import verify_evidence
from fairlead.v1 import asking_pb2, audit_pb2, gateway_pb2, owner_pb2, query_pb2
from gateway.members import LegFailed
from tests.attacks.crafted import OTHER_OWNER, OWNER, changed
from tests.attacks.evil import EvilGateway, corrupt, leaves
from tests.federation import Federation, evidence, federation, states

Event = gateway_pb2.QueryResponse
Events = Sequence[Event]
Change = Callable[[list[Event]], Events]


def at(events: list[Event], owner: str) -> Event:
    """One owner's event."""
    return next(e for e in events if any(line.partner_id == owner for line in e.partners))


def closed(events: list[Event]) -> Event:
    """The closing event."""
    return next(e for e in events if e.HasField("closed"))


async def collect(made: Federation, lie: str = "") -> list[asking_pb2.AskResponse]:
    """Ask, and be told that something is wrong; what the user was shown before."""
    shown: list[asking_pb2.AskResponse] = []
    failed = False
    async with made.client() as client:
        try:
            async for event in client.ask(await made.draft(client)):
                shown.append(event)  # noqa: PERF401  what came before the error counts
        except grpc.aio.AioRpcError:
            failed = True
    assert failed, lie
    assert not any(event.HasField("evidence") for event in shown), lie
    return shown


# ── Lies that the asker's node notices ───────────────────────────────────────────────────────


class Liar:
    """A gateway that changes its events, and signs whatever it changed."""

    def __init__(self, gateway: EvilGateway) -> None:
        self._key = gateway.key

    def outcome(self, events: list[Event], **fields: object) -> Events:
        """Sign another outcome."""
        last = closed(events)
        content = changed(query_pb2.Outcome.FromString(last.closed.outcome), **fields)
        last.closed.outcome = signing.canonical(content)
        last.closed.signature = signing.sign(self._key, "outcome", last.closed.outcome)
        return events

    def line(self, events: list[Event], owner: str, **fields: object) -> Events:
        """Sign an outcome with another line about one owner."""
        content = query_pb2.Outcome.FromString(closed(events).closed.outcome)
        lines = [
            changed(item, **fields) if item.partner_id == owner else item
            for item in content.partners
        ]
        return self.outcome(events, partners=lines)

    def drop_line(self, events: list[Event], owner: str) -> Events:
        """Sign an outcome without one owner."""
        content = query_pb2.Outcome.FromString(closed(events).closed.outcome)
        lines = [item for item in content.partners if item.partner_id != owner]
        return self.outcome(events, partners=lines)


def swapped(events: list[Event]) -> Events:
    """Each owner's answer under the other's name."""
    one, other = at(events, OWNER).partners[0], at(events, OTHER_OWNER).partners[0]
    kept = changed(one.answer)
    one.answer.CopyFrom(other.answer)
    other.answer.CopyFrom(kept)
    return events


def copied(events: list[Event]) -> Events:
    """One owner's answer given out as the other's too."""
    at(events, OTHER_OWNER).partners[0].answer.CopyFrom(at(events, OWNER).partners[0].answer)
    return events


def dropped(events: list[Event]) -> Events:
    """One owner's answer is not passed on; the outcome still names it."""
    return [e for e in events if e is not at(events, OWNER)]


def body_changed(events: list[Event]) -> Events:
    """One octet of a sealed body."""
    answer = at(events, OWNER).partners[0].answer
    answer.body = answer.body[:-1] + bytes([answer.body[-1] ^ 1])
    return events


def header_changed(events: list[Event]) -> Events:
    """The owner's refusal or policy serial rewritten."""
    answer = at(events, OWNER).partners[0].answer
    header = query_pb2.AnswerHeader.FromString(answer.header)
    answer.header = signing.canonical(changed(header, policy_serial=99))
    return events


def twice(events: list[Event]) -> Events:
    """One owner's answer delivered twice."""
    return [*events[:-1], at(events, OWNER), events[-1]]


def unasked(events: list[Event]) -> Events:
    """A partner that nobody asked."""
    line = gateway_pb2.PartnerEvent(partner_id="customs", status=query_pb2.STATUS_TIMEOUT)
    return [events[0], Event(partners=[line]), *events[1:]]


def answered_without_answer(events: list[Event]) -> Events:
    """ "Answered", and no answer."""
    at(events, OWNER).partners[0].ClearField("answer")
    return events


def no_outcome(events: list[Event]) -> Events:
    """The stream ends before the outcome."""
    return [e for e in events if not e.HasField("closed")]


def no_intent(events: list[Event]) -> Events:
    """Answers arrive without the receipt of a logged intent."""
    return [e for e in events if not e.HasField("accepted")]


def signed_by_nobody(events: list[Event]) -> Events:
    """The outcome changed, its signature not."""
    last = closed(events).closed
    content = query_pb2.Outcome.FromString(last.outcome)
    last.outcome = signing.canonical(changed(content, closed_at=1))
    return events


def another_closing_leaf(events: list[Event]) -> Events:
    """The closing receipt proves the intent once more, not the outcome."""
    closed(events).closed.receipt.CopyFrom(events[0].accepted.intent)
    return events


NOTICED: dict[str, Callable[[Liar], Change]] = {
    "two answers swapped": lambda _: swapped,
    "one answer copied to another": lambda _: copied,
    "an answer dropped": lambda _: dropped,
    "a body changed": lambda _: body_changed,
    "a header changed": lambda _: header_changed,
    "an answer delivered twice": lambda _: twice,
    "a partner nobody asked": lambda _: unasked,
    "answered without an answer": lambda _: answered_without_answer,
    "an outcome nobody signed": lambda _: signed_by_nobody,
    "an outcome that says another status": lambda liar: (
        lambda events: liar.line(events, OWNER, status=query_pb2.STATUS_UNREACHABLE)
    ),
    "an outcome with another answer": lambda liar: (
        lambda events: liar.line(events, OWNER, answer_digest=bytes(32))
    ),
    "an outcome that leaves somebody out": lambda liar: (
        lambda events: liar.drop_line(events, OWNER)
    ),
    "an outcome of another query": lambda liar: (
        lambda events: liar.outcome(events, query_id=bytes(16))
    ),
    "an outcome that names another intent": lambda liar: (
        lambda events: liar.outcome(events, intent_leaf_hash=bytes(32))
    ),
    "a closing receipt of another leaf": lambda _: another_closing_leaf,
    "no outcome at all": lambda _: no_outcome,
    "no receipt of the intent": lambda _: no_intent,
}


async def test_a_changed_story_ends_without_a_receipt(tmp_path: Path) -> None:
    """Whatever the gateway changes, the query fails and no evidence is handed to the user."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await made.open_case()
        for lie, make in NOTICED.items():
            restore = corrupt(made, make(Liar(gateway)))
            shown = await collect(made, lie)
            restore()
            # And nobody's line is ever another's: what was shown of an owner, that owner signed.
            hits = {p for p, line in states(shown).items() if any(a.hit for a in line.answers)}
            assert hits <= {OWNER}, lie
        assert evidence(await made.ask())  # the honest gateway is still believed


async def test_no_answer_is_shown_before_the_intents_receipt(tmp_path: Path) -> None:
    """No receipt, no answer: a gateway that withholds the receipt shows its user nothing."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await made.open_case()
        empty = merkle.leaf_hash(b"")
        liar = Liar(gateway)
        corrupt(made, lambda events: no_intent(list(liar.outcome(events, intent_leaf_hash=empty))))
        shown = await collect(made)
        assert not states(shown)


async def test_a_refusal_needs_the_owners_signature(tmp_path: Path) -> None:
    """The gateway cannot say "refused" in an owner's name: only the owner signs a refusal."""

    def invented(liar: Liar) -> Change:
        def change(events: list[Event]) -> Events:
            line = at(events, OWNER).partners[0]
            line.ClearField("answer")
            line.status, line.reason = query_pb2.STATUS_REFUSED, "POLICY"
            return liar.line(
                events, OWNER, status=query_pb2.STATUS_REFUSED, reason="POLICY", answer_digest=b""
            )

        return change

    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        await made.open_case()
        corrupt(made, invented(Liar(gateway)))
        shown = await collect(made)
        assert OWNER not in states(shown)


async def test_offline_a_status_other_than_the_owners_does_not_verify(tmp_path: Path) -> None:
    """Asker and gateway collude in a receipt that calls an owner's refusal an answer."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        assert made.gateway is not None
        await made.open_case()
        proof = evidence(await made.ask())
        verify_evidence(proof, made.directory)
        outcome = query_pb2.Outcome.FromString(proof.outcome)
        leaf = audit_pb2.AuditLeaf.FromString(proof.closing.leaf)
        for lines in (outcome.partners, leaf.partners):
            next(i for i in lines if i.partner_id == OWNER).status = query_pb2.STATUS_REFUSED
        proof.outcome = signing.canonical(outcome)
        proof.outcome_signature = signing.sign(gateway.key, "outcome", proof.outcome)
        appended = await made.gateway.log.append(signing.canonical(leaf))
        proof.closing.CopyFrom(made.gateway.log.receipt(appended.index))
        with pytest.raises(FairleadError) as caught:
            verify_evidence(proof, made.directory)
        assert caught.value.code in {"ANSWERS", "STATUS"}


# ── Lies it can tell, and what gives it away afterwards ──────────────────────────────────────


async def test_an_answer_declared_unreachable_is_contradicted_by_the_owners_log(
    tmp_path: Path,
) -> None:
    """Not noticed while asking; the owner's own log holds the RELEASE that the gateway denies."""

    async with federation(tmp_path) as made:
        assert made.gateway is not None
        transport = made.gateway.transport
        honest = transport.answer

        async def answer(partner: str, request: owner_pb2.AnswerRequest, **named: Any) -> Any:
            response = await honest(partner, request, **named)
            if partner == OWNER:
                raise LegFailed(query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
            return response

        transport.answer = answer  # type: ignore[method-assign]
        await made.open_case()
        events = await made.ask()
        assert states(events)[OWNER].status == query_pb2.STATUS_UNREACHABLE
        proof = evidence(events)
        # What the asker holds verifies, and so does what the owner holds; they exclude each other.
        stated = verify_evidence(proof, made.directory)
        assert stated.partners[OWNER] == query_pb2.STATUS_UNREACHABLE
        (released,) = leaves(made.nodes[OWNER].log, audit_pb2.LEAF_TYPE_RELEASE)
        assert [item.query_id for item in released.released] == [stated.query.query_id]
        (intent,) = leaves(made.nodes[OWNER].log, audit_pb2.LEAF_TYPE_INTENT)
        assert intent.intent_leaf_hash == merkle.leaf_hash(proof.intent.leaf)
