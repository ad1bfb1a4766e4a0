"""Attacks on what two logs say of each other: who leaves out, invents or forks is found."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from fairlead import signing
from fairlead.errors import FairleadError, Forged, InvalidInput, Overloaded
from fairlead.receipts import CheckpointFork, open_checkpoint
from fairlead.reconciling import (
    OF_LOG,
    Counterstatement,
    Entry,
    Exchange,
    Judgement,
    Statement,
    require_in_log,
    sign_counterstatement,
    sign_statement,
)
from fairlead.reconciling.exchange import claimed_pair
from fairlead.reconciling.judgement import ROWS, Incident
from fairlead.reconciling.statement import (
    COUNTERSTATEMENT,
    MAX_OCTETS,
    STATEMENT,
    open_counterstatement,
    open_statement,
)
from fairlead.v1 import audit_pb2
from fairlead.v1 import reconcile_pb2 as pb
from gateway.reconciled import Known
from gateway.reconciliation import AN_HOUR
from node.reconciling import reconciler
from node.reconciling.report import Report
from node.reconciling.stating import Said
from tests.reconciled import (
    ALARM,
    INTENT,
    OTHER,
    RECONCILED,
    REFUSAL,
    RELEASE,
    Both,
    digest,
)
from tests.walks import World, make_world

Work = Callable[[Both], object]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("reconciled"))


@pytest.fixture
def both(world: World, tmp_path: Path) -> Iterator[Both]:
    with Both(world, tmp_path) as made:
        yield made


async def found(both: Both, code: str, kind: str, absent_from: str) -> None:
    """Both logs hold one alarm, whose two signed statements name one entry; and only once."""
    report = await both.reconcile()
    assert report["incidents"] == [{"code": code, "not_in": absent_from, "kind": kind, "count": 1}]
    for end in (both.node, both.gateway):
        (leaf,), (kept,) = end.of(ALARM), both.kept(end)
        assert (leaf.reasons, leaf.subject, len(leaf.checkpoints)) == ([code], "reconciliation", 2)
        (incident,) = kept.judgement.incidents
        assert (incident.code, incident.absent_from, incident.entry.name) == (
            code, absent_from, kind,
        )  # fmt: skip
    await both.hour()
    assert (await both.reconcile())["reasons"] == []
    assert len(both.node.of(ALARM)) == len(both.gateway.of(ALARM)) == 1


# ── A gateway that leaves out, or invents ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("attack", "code", "kind"),
    [
        (lambda b: b.answered(skip="intent"), "RECONCILE_MISSING", "intent"),
        (lambda b: b.asked(skip="release"), "RECONCILE_MISSING", "released"),
        (lambda b: b.asked(other="answer"), "RECONCILE_DIFFERS", "released"),
        (lambda b: b.published(skip="accepted"), "RECONCILE_MISSING", "accepted"),
        (lambda b: b.published(skip="relayed"), "RECONCILE_MISSING", "relayed"),
        (lambda b: b.taken_over(skip="accepted"), "RECONCILE_MISSING", "accepted"),
    ],
    ids=[
        "asks-off-the-record", "answers-off-the-record", "logs-another-answer", "hides-a-manifest",
        "relays-off-the-record", "shows-what-was-never-taken",
    ],
)  # fmt: skip
async def test_a_gateway_that_leaves_a_leaf_out_is_found(
    both: Both, attack: Work, code: str, kind: str
) -> None:
    """What an owner was asked, or an asker or reader was given, its log holds or it is found."""
    await both.hour()
    await attack(both)  # type: ignore[misc]
    await found(both, code, kind, "gateway")


async def test_a_gateway_that_says_it_holds_what_it_does_not_convicts_itself(both: Both) -> None:
    """One that names a leaf for a question asked off the record is belied by its own log; one that
    names a leaf it has not written yet is refused."""
    await both.hour()
    await both.answered(skip="intent")
    ledger = both.gateway.ledger
    honest = ledger.find
    size = both.gateway.log.head.size
    for leaf, told in ((size + 100, "RECONCILE_FORM"), (2, "")):
        ledger.find = lambda entry, leaf=leaf: honest(entry) if honest(entry)[0] else (leaf, False)  # type: ignore[method-assign,misc]
        if told:
            with pytest.raises(InvalidInput) as refused:
                await both.reconcile()
            assert refused.value.code == told
        else:
            assert (await both.reconcile())["reasons"] == []
    (kept,) = both.kept(both.node, RECONCILED)
    with pytest.raises(Forged) as caught:
        require_in_log(kept, both.gateway.log.read)
    assert caught.value.code == "RECONCILE_UNTRUE"


async def test_a_gateway_that_shows_two_intents_of_one_query_is_found(both: Both) -> None:
    """An owner that was asked under another INTENT leaf than the log's names both."""
    query = await both.answered()
    await both.node.write(
        INTENT, query_id=query, partner_id=OTHER, header_digest=digest(query),
        intent_leaf_hash=digest("another leaf"),
    )  # fmt: skip
    await found(both, "RECONCILE_DIFFERS", "intent", "gateway")


@pytest.mark.parametrize(
    ("attack", "code", "kind"),
    [
        (lambda b: b.asked(skip="node-intent"), "RECONCILE_MISSING", "asked"),
        (lambda b: b.answered(other="answer"), "RECONCILE_DIFFERS", "released"),
        (lambda b: b.published(skip="node"), "RECONCILE_MISSING", "accepted"),
    ],
    ids=["asks-in-its-name", "invents-an-answer", "invents-a-manifest"],
)
async def test_what_was_done_in_a_partners_name_is_found(
    both: Both, attack: Work, code: str, kind: str
) -> None:
    """A stolen node key that asks elsewhere, and a gateway that invents, are not in its log."""
    await both.hour()
    await attack(both)  # type: ignore[misc]
    await found(both, code, kind, "node")


# ── A node that hides ────────────────────────────────────────────────────────────────────────


async def test_a_node_that_hides_an_answer_is_found(both: Both) -> None:
    """An owner's administrator who keeps an answer out of the log signs that it is not there."""
    await both.hour()
    await both.answered(skip="node-release")
    await found(both, "RECONCILE_MISSING", "released", "node")


async def test_a_node_that_denies_it_convicts_itself(both: Both) -> None:
    """One that signs that its log holds what it does not is belied by its own log."""
    await both.hour()
    await both.answered(skip="node-release")
    ledger = both.node.ledger
    honest = ledger.find
    ledger.find = lambda entry: honest(entry) if honest(entry)[0] else (2, False)  # type: ignore[method-assign]
    assert (await both.reconcile())["reasons"] == []
    (kept,) = both.kept(both.gateway, RECONCILED)
    with pytest.raises(Forged) as caught:
        require_in_log(kept, both.node.log.read)
    assert caught.value.code == "RECONCILE_UNTRUE"


async def test_a_node_that_names_a_leaf_it_has_not_written_yet_is_refused(both: Both) -> None:
    """A verdict is about leaves that its own signed checkpoint covers, so none is written after."""
    await both.hour()
    await both.answered(skip="node-release")
    ledger = both.node.ledger
    honest = ledger.find
    ahead = both.node.log.head.size + 9
    ledger.find = lambda entry: honest(entry) if honest(entry)[0] else (ahead, False)  # type: ignore[method-assign]
    with pytest.raises(InvalidInput) as caught:
        await both.reconcile()
    assert caught.value.code == "RECONCILE_FORM"
    assert both.gateway.of(RECONCILED) == []


async def test_what_a_partner_did_before_its_log_began_is_an_incident(both: Both) -> None:
    """Whoever never reconciled before it began its log anew has nothing excused: a node asks and
    answers out of a log, and a stolen key is found also where its owner has not begun yet."""
    await both.asked(skip="node-intent")
    await both.answered(skip="node")
    both.now += 60
    await both.hour()
    told = await both.reconcile()
    assert (told["reasons"], told["excused"]) == (["RECONCILE_MISSING"], 0)
    assert {(row["kind"], row["not_in"], row["count"]) for row in told["incidents"]} == {
        ("asked", "node", 1),
        ("released", "node", 1),
    }
    assert both.node.reasons() == both.gateway.reasons() == [["RECONCILE_MISSING"]]


@pytest.mark.parametrize("listed", [False, True])
async def test_a_node_under_another_name_takes_over_what_its_partner_said(
    both: Both, *, listed: bool
) -> None:
    """In the place of a node with a log of its own it says once that the log before is gone, and
    lacks nothing else; beside that node it lacks nothing, because that one has it."""
    await both.hour()
    await both.reconcile()
    partner = both.directory.partner(both.partner)
    fresh = replace(partner.nodes[0], spiffe_id=partner.nodes[0].spiffe_id + "2")
    nodes = (*partner.nodes, fresh) if listed else (fresh,)
    partners = {**both.directory.partners, both.partner: replace(partner, nodes=nodes)}
    both.enact(replace(both.directory, partners=partners))
    both.desk._directory = both.directory
    both.node.close()
    both.open_node("another", name=fresh.spiffe_id)
    await both.hour()
    told = await both.reconcile()
    shortened = [] if listed else ["RECONCILE_SHORTENED"]
    assert told["reasons"] == shortened
    assert both.gateway.reasons() == ([shortened] if shortened else [])
    await both.hour()
    assert (await both.reconcile())["reasons"] == []
    await both.answered(skip="node")
    assert (await both.reconcile())["reasons"] == ([] if listed else ["RECONCILE_MISSING"])


async def test_an_owner_does_not_learn_who_else_has_answered(both: Both) -> None:
    """Of others' answers to others' questions, and of readers of others' manifests, the gateway
    says the same whether there are any or not; and that it was asked is on the record."""
    await both.hour()
    query, manifest = digest("a query")[:16], digest("a manifest")
    await both.gateway.write(INTENT, query_id=query, partner_id=OTHER, header_digest=digest(1))
    answer = audit_pb2.ReleasedAnswer(
        query_id=query, partner_id="oceanic-line", status=1, answer_digest=digest(2)  # type: ignore[arg-type]
    )  # fmt: skip
    await both.gateway.write(RELEASE, released=[answer])
    for subject, partner in (("manifest-accepted", "oceanic-line"), ("relayed", OTHER)):
        await both._publication(both.gateway, subject, partner, manifest)
    await both.reconcile()
    asked = [
        Entry(kind=kind, leaf=0, time_ms=1, query_id=query if about else b"", partner_id=who,
              digest=told)
        for kind, about, who, told in (
            (pb.ENTRY_KIND_RELEASED, True, "oceanic-line", digest(2)),
            (pb.ENTRY_KIND_RELEASED, True, "oceanic-line", digest(3)),
            (pb.ENTRY_KIND_RELEASED, True, "terminal-north", digest(3)),
            (pb.ENTRY_KIND_RELAYED, False, OTHER, manifest),
            (pb.ENTRY_KIND_RELAYED, False, "terminal-north", manifest),
        )
    ]  # fmt: skip
    (statement, signature), known = _statement(both, next=1, entries=tuple(asked))
    size = both.node.log.head.size
    request = pb.ReconcileRequest(
        statement=statement, signature=signature, consistency_from=known,
        consistency=both.node.log.consistency(known, size),
    )  # fmt: skip
    told = (await both.desk.reconcile(request, both.line.peer)).countered.counterstatement
    said = pb.ReconcileCounterstatement.FromString(told)
    assert (list(said.leaves), list(said.differing)) == ([0] * len(asked), [])
    (leaf,) = both.gateway.of(REFUSAL)
    assert (list(leaf.reasons), leaf.subject) == (
        ["RECONCILE_MISSING"], "ReconcileService.Reconcile",
    )  # fmt: skip
    assert (leaf.partner_id, leaf.user) == (both.partner, both.line.peer.spiffe_id)


async def test_a_node_that_rewrites_its_log_is_refused(both: Both, world: World) -> None:
    """A log that does not extend the one the gateway was shown is an alarm with both heads."""
    await both.hour()
    await both.reconcile()
    both.node.close()
    both.open_node("rewritten")
    await both.hour()
    for _ in range(2):
        statement, head = _statement(both)
        request = pb.ReconcileRequest(
            statement=statement[0], signature=statement[1], consistency_from=head
        )
        with pytest.raises(CheckpointFork):
            await both.desk.reconcile(request, both.line.peer)
    assert both.gateway.reasons() == [["CHECKPOINT_FORK"]]
    (leaf,) = both.gateway.of(ALARM)
    key = world.directory.partner(both.partner).signing_key
    heads = [open_checkpoint(text, both.node.log.origin, key) for text in leaf.checkpoints]
    assert heads[0].root != heads[1].root


def _statement(both: Both, **changes: object) -> tuple[tuple[bytes, bytes], int]:
    """A statement as the node's administrator likes it, and the size the gateway knows."""
    kept = both.line.verdicts[0].statement
    known = both.desk.shelf.of(both.line.peer.spiffe_id)
    assert known is not None
    honest = open_statement(
        kept, both.line.verdicts[0].statement_signature,
        public_key=both.world.directory.partner(both.partner).signing_key,
        pair=claimed_pair(kept),
    )  # fmt: skip
    settings: dict[str, object] = {
        "checkpoint": both.node.log.checkpoint(), "first": 0, "next": 0, "entries": (), **changes,
    }  # fmt: skip
    bent = replace(honest, **settings)  # type: ignore[arg-type]
    return sign_statement(bent, both.world.signing_key(both.partner)), known.size


async def test_a_node_cannot_leave_leaves_out(both: Both) -> None:
    """A statement that begins behind where the last one ended is not taken: the gateway says what
    it knows."""
    await both.hour()
    await both.reconcile()
    await both.hour()
    size = both.node.log.head.size
    (statement, signature), known = _statement(both, first=size, next=size)
    request = pb.ReconcileRequest(
        statement=statement, signature=signature, consistency_from=known,
        consistency=both.node.log.consistency(known, size),
    )  # fmt: skip
    response = await both.desk.reconcile(request, both.line.peer)
    assert (response.known.next, bool(response.known.checkpoint)) == (8, True)


async def test_a_node_cannot_have_the_same_told_for_ever(world: World, tmp_path: Path) -> None:
    """One that says each time that it was told nothing hears the rest all the same."""
    with Both(world, tmp_path, limit=2) as both:
        for _ in range(3):
            await both.asked()
        await both.answered(skip="node-release")
        honest = both.reconciler._stating.begin
        both.reconciler._stating.begin = lambda: replace(  # type: ignore[method-assign]
            honest(), state=replace(honest().state, gateway_next=0)
        )
        told = [claimed.gateway_next for claimed in await _rounds(both, 8)]
        assert set(told) == {0}
        known = both.desk.shelf.of(both.line.peer.spiffe_id)
        assert known is not None
        assert known.gateway_next > 8
        assert ["RECONCILE_MISSING"] in both.gateway.reasons()


async def _rounds(both: Both, count: int) -> list[pb.ReconcileStatement]:
    """So many statements of a node that believes whatever it is told."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reconciler, "_require_within", lambda *_: None)
        for _ in range(count):
            await both.reconciler._round(Report())
    return [pb.ReconcileStatement.FromString(r.statement) for r in both.line.requests]


async def test_a_statement_that_leaves_its_own_leaves_out_convicts(both: Both) -> None:
    """A gateway that lists less than its log holds, or at other times, is belied by that log."""
    await both.hour()
    await both.asked(skip="node-intent")
    for changes in (
        {"entries": ()},
        {"entries": "later"},
    ):
        honest = _say(both)

        def bend(
            response: pb.ReconcileResponse,
            changes: dict[str, object] = changes,  # type: ignore[assignment]
            honest: Callable[[pb.ReconcileResponse], pb.ReconcileResponse] = honest,
        ) -> pb.ReconcileResponse:
            said = pb.ReconcileCounterstatement.FromString(
                honest(response).countered.counterstatement
            )
            if changes["entries"] == ():
                del said.entries[:]
            for entry in said.entries:
                entry.time_ms -= 1
            octets = signing.canonical(said)
            response.countered.counterstatement = octets
            response.countered.signature = signing.sign(
                both.world.gateway_key(), COUNTERSTATEMENT, octets
            )
            return response

        both.line.bend = bend
        await both.reconcile()
        kept = both.opened(both.line.verdicts[-1])
        with pytest.raises(Forged) as caught:
            require_in_log(kept, both.gateway.log.read)
        assert caught.value.code == "RECONCILE_UNTRUE"
        await both.asked()


async def test_a_gateway_that_always_has_more_is_overdue(both: Both) -> None:
    """Telling a little each time, and never all, is as good as not reconciling: an alarm."""
    both.line.bend = _say(both, more=True)
    for _ in range(3):
        await both.asked()
        both.now += 2 * 3_600
        await both.reconcile()
        await both.reconciler._check_overdue()
    assert both.node.reasons() == [["RECONCILE_OVERDUE"]]


async def test_a_node_that_shortens_its_log_to_hide_is_found_each_time(
    both: Both, tmp_path: Path
) -> None:
    """Restoring yesterday's log every day to forget is an incident every day."""
    await both.hour()
    await both.reconcile()
    shutil.copy(both.node.path, tmp_path / "old.sqlite")
    for name in ("first", "second"):
        await both.answered()
        await both.reconcile()
        both.node.close()
        shutil.copy(tmp_path / "old.sqlite", tmp_path / f"{name}.sqlite")
        both.open_node(name)
        await both.hour()
        assert (await both.reconcile())["reasons"] == ["RECONCILE_SHORTENED"]
    assert both.gateway.reasons() == [["RECONCILE_SHORTENED"]] * 2


# ── A gateway that forks, goes back, or cheats in what it says ───────────────────────────────


async def _another_history(both: Both, name: str, leaves: int) -> None:
    both.gateway.close()
    both.open_gateway(name)
    for _ in range(leaves):
        await both.hour()


@pytest.mark.parametrize(("hours", "code"), [(3, "CHECKPOINT_FORK"), (0, "LOG_BEHIND")])
async def test_a_gateway_on_another_history_is_found_once(
    both: Both, world: World, hours: int, code: str
) -> None:
    """A log that does not extend the accepted head, or is shorter, is one alarm with both heads,
    and nothing it says is believed."""
    await both.hour()
    await both.reconcile()
    await _another_history(both, "fork", hours)
    for _ in range(2):
        assert code in (await both.reconcile())["reasons"]
    (leaf,) = both.node.of(ALARM)
    assert code in leaf.reasons
    gateway = world.gateway
    heads = [open_checkpoint(t, gateway.log_origin, gateway.log_key) for t in leaf.checkpoints]
    assert (heads[0].size, heads[0].root) != (heads[1].size, heads[1].root)
    assert both.kept(both.node)[0].verdict.reasons == (code,)
    assert code in both.gateway.reasons()[0]
    assert len(both.gateway.reasons()) == 1
    both.gateway.close()
    both.open_gateway()
    asked_there = ["RECONCILE_MISSING"] if hours else []
    assert (await both.reconcile())["reasons"] == asked_there


async def test_what_one_node_accuses_the_log_of_silences_no_other(both: Both) -> None:
    """Two nodes of one partner that are shown a fork are an alarm each at the gateway."""
    name = both.line.peer.spiffe_id
    partner = both.directory.partner(both.partner)
    fresh = replace(partner.nodes[0], spiffe_id=name + "2")
    several = replace(partner, nodes=(*partner.nodes, fresh))
    both.enact(replace(both.directory, partners={**both.directory.partners, both.partner: several}))
    both.desk._directory = both.directory
    await both.hour()
    await both.reconcile()
    both.node.close()
    both.open_node("another", name=fresh.spiffe_id)
    await both.reconcile()
    await _another_history(both, "fork", 3)
    for file, node in (("another", fresh.spiffe_id), ("node", name)):
        both.node.close()
        both.open_node(file, name=node)
        assert "CHECKPOINT_FORK" in (await both.reconcile())["reasons"]
    forks = [leaf for leaf in both.gateway.of(ALARM) if "CHECKPOINT_FORK" in leaf.reasons]
    assert [leaf.user for leaf in forks] == [fresh.spiffe_id, name]


async def test_a_fork_that_is_shown_while_a_query_moves_the_head_is_found(both: Both) -> None:
    """A gateway that answers a statement from a history beside the one whose receipt arrives at
    that moment is not believed, and the next process holds it to the receipt's."""
    await both.hour()
    await both.reconcile()
    base = both.heads.size
    both.gateway.close()
    shutil.copy(both.gateway.path, both.folder / "fork.sqlite")
    both.open_gateway()
    await both.hour()
    main = both.gateway.log.head
    proof = both.gateway.log.consistency(base, main.size)
    await _another_history(both, "fork", 2)

    def move(response: pb.ReconcileResponse) -> pb.ReconcileResponse:
        if both.heads.size == base:
            both.heads.extend(main.checkpoint, proof, asked_from=base)
        return response

    both.line.bend = move
    assert "CHECKPOINT_FORK" in (await both.reconcile())["reasons"]
    await both.node.log.keep(both.heads.persist())
    assert both.node.log.foreign_head(main.origin) == main
    alarm = both.node.of(ALARM)[0]
    assert alarm.checkpoints[0] == main.checkpoint


def _say(both: Both, **changes: object) -> Callable[[pb.ReconcileResponse], pb.ReconcileResponse]:
    """The gateway's operator bends its own statement, and signs that."""

    def bend(response: pb.ReconcileResponse) -> pb.ReconcileResponse:
        if not response.HasField("countered"):
            return response
        request, told = both.line.requests[-1], response.countered
        statement = open_statement(
            request.statement, request.signature,
            public_key=both.world.directory.partner(both.partner).signing_key,
            pair=claimed_pair(request.statement),
        )  # fmt: skip
        honest = open_counterstatement(
            told.counterstatement, told.signature,
            public_key=both.world.gateway.signing_key, statement=statement,
        )  # fmt: skip
        bent = replace(honest, **changes)  # type: ignore[arg-type]
        told.counterstatement, told.signature = sign_counterstatement(
            bent, both.world.gateway_key()
        )
        return response

    return bend


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"first": 9, "next": 20, "entries": ()}, "RECONCILE_BINDING"),
        ({"excused": 8}, "RECONCILE_BINDING"),
        ({"statement_digest": bytes(32)}, "RECONCILE_BINDING"),
        ({"gateway": "spiffe://fairlead.demo/gateway/gw-2"}, "RECONCILE_BINDING"),
        ({"next": 1, "entries": ()}, "RECONCILE_BINDING"),
        ({"next": 1_000}, "RECONCILE_FORM"),
        ({"checkpoint": "fairlead.demo/gateway/gw-1\n"}, "NOTE"),
    ],
    ids=[
        "skips",
        "excuses",
        "answers-another",
        "is-another",
        "stops-early",
        "is-ahead",
        "shows-nothing",
    ],
)
async def test_a_gateway_that_cheats_in_its_statement_is_refused(
    both: Both, changes: dict[str, object], code: str
) -> None:
    """What leaves leaves out, excuses them or answers something else is refused on the record."""
    await both.reconcile()
    await both.asked(skip="node-intent")
    both.heads.extend(
        both.gateway.log.checkpoint(), both.gateway.log.consistency(1, 3), asked_from=0
    )
    both.line.bend = _say(both, **changes)
    for _ in range(2):
        with pytest.raises(FairleadError) as caught:
            await both.reconcile()
        assert caught.value.code == code
    assert [leaf.reasons for leaf in both.node.of(REFUSAL)] == [[code]]
    assert (len(both.node.of(RECONCILED)), both.node.of(ALARM)) == (1, [])


async def test_a_gateway_that_says_it_was_shown_another_log_is_refused(both: Both) -> None:
    """A checkpoint that this node never signed is no reason to say that its log was shortened."""
    await both.hour()
    forged = both.gateway.log.checkpoint()
    both.line.bend = lambda _: pb.ReconcileResponse(known=pb.Known(next=0, checkpoint=forged))
    with pytest.raises(Forged):
        await both.reconcile()
    both.line.bend = lambda _: pb.ReconcileResponse(known=pb.Known(next=0))
    with pytest.raises(Forged, match="from where it wants one"):
        await both.reconcile()


# ── Strangers, and octets that are nobody's ──────────────────────────────────────────────────


async def test_a_statement_is_taken_from_its_own_node_only(both: Both, world: World) -> None:
    """Another partner's node that brings it, or signs it in its name, is refused on the record."""
    await both.hour()
    await both.reconcile()
    request = both.line.requests[0]
    with pytest.raises(Forged):
        await both.desk.reconcile(request, world.peer(OTHER))
    with pytest.raises(Forged):
        await both.desk.conclude(both.line.verdicts[0], world.peer(OTHER))
    statement = request.statement
    stolen = signing.sign(world.signing_key(OTHER), STATEMENT, statement)
    bent = pb.ReconcileRequest(statement=statement, signature=stolen)
    with pytest.raises(Forged):
        await both.desk.reconcile(bent, both.line.peer)
    sibling = replace(both.line.peer, spiffe_id=both.line.peer.spiffe_id + "2")
    for call in (
        both.desk.reconcile(request, sibling),
        both.desk.conclude(both.line.verdicts[0], sibling),
    ):
        with pytest.raises(Forged) as caught:
            await call
        assert caught.value.code == "RECONCILE_BINDING"
    assert len(both.gateway.of(REFUSAL)) == 5


async def test_a_statement_that_is_malformed_or_huge_is_refused(both: Both, world: World) -> None:
    """Signed or not, it is refused with one of our errors, and nothing is looked up."""
    key = world.signing_key(both.partner)
    for octets in (b"", b"\xff" * 40, bytes(MAX_OCTETS + 1)):
        request = pb.ReconcileRequest(
            statement=octets, signature=signing.sign(key, STATEMENT, octets)
        )
        with pytest.raises((InvalidInput, Forged)):
            await both.desk.reconcile(request, both.line.peer)
    assert len(both.gateway.of(REFUSAL)) == 3


def _accuse(both: Both, code: str, accepted: str) -> None:
    """The node's administrator has it accuse the gateway of what it does not believe itself."""
    believe = both.reconciler._believe

    async def accuse(said: Said, *rest: object) -> None:
        await believe(said, *rest)  # type: ignore[arg-type]
        said.reasons, said.accepted, said.believed = (code,), accepted, None

    both.reconciler._believe = accuse  # type: ignore[assignment,method-assign]


async def test_an_accusation_needs_what_shows_it(both: Both) -> None:
    """A node that accuses the gateway of a fork without a checkpoint of its log is refused."""
    await both.hour()
    _accuse(both, "CHECKPOINT_FORK", "")
    with pytest.raises(InvalidInput):
        await both.reconcile()
    assert both.gateway.of(ALARM) == []


@pytest.mark.parametrize("code", OF_LOG)
async def test_a_log_is_not_accused_of_what_it_goes_on_from(both: Both, code: str) -> None:
    """A node that calls a genuine checkpoint of this very history a fork, or one that it is behind,
    raises no alarm here: it is refused, and that is on the record."""
    await both.hour()
    await both.reconcile()
    shown = both.gateway.log.checkpoint()
    await both.hour()
    _accuse(both, code, shown)
    with pytest.raises(Forged) as caught:
        await both.reconcile()
    assert caught.value.code == "RECONCILE_UNTRUE"
    assert both.gateway.of(ALARM) == []
    assert [list(leaf.reasons) for leaf in both.gateway.of(REFUSAL)] == [["RECONCILE_UNTRUE"]]


async def test_an_older_counterstatement_is_no_log_that_fell_behind(both: Both) -> None:
    """A node that concludes on what this log showed before a checkpoint that it has accepted since,
    of the same history, raises no alarm here, however often it does so."""
    await both.hour()
    await both.reconcile()

    async def accuse(said: Said, *_: object) -> None:
        await both.hour()
        said.reasons, said.believed = ("CHECKPOINT_FORK", "LOG_BEHIND"), None
        said.accepted = both.gateway.log.checkpoint()

    both.reconciler._believe = accuse  # type: ignore[assignment,method-assign]
    for _ in range(2):
        with pytest.raises(Forged) as caught:
            await both.reconcile()
        assert caught.value.code == "RECONCILE_UNTRUE"
    assert both.gateway.of(ALARM) == []


async def test_one_partner_keeps_nobody_out(both: Both) -> None:
    """A second statement of a partner, of whichever of its nodes, is turned away while the first is
    looked up, and leaves no leaf, and others are served; nor do more than a few at once."""
    sibling = replace(both.line.peer, spiffe_id=both.line.peer.spiffe_id + "2")
    size = both.gateway.log.head.size
    for names in ([both.partner], ["a", "b", "c", "d"]):
        with ExitStack() as turns:
            for name in names:
                turns.enter_context(both.desk._stating.of(name))
            for peer in (both.line.peer, sibling):
                with pytest.raises(FairleadError) as caught:
                    await both.desk.reconcile(pb.ReconcileRequest(), peer)
                assert caught.value.code == "OVERLOADED"
    with both.desk._judging.of(both.partner), pytest.raises(FairleadError) as caught:
        await both.desk.conclude(pb.Reconciliation(), sibling)
    assert caught.value.code == "OVERLOADED"
    assert both.gateway.log.head.size == size
    with both.desk._stating.of(OTHER):
        assert (await both.reconcile())["reasons"] == []


async def test_whoever_hangs_up_has_its_turn_until_the_work_is_done(both: Both) -> None:
    """A node that ends its call and calls again, over and over, has one thread at work."""
    await both.hour()
    both.line.deaf = True
    with pytest.raises(ConnectionResetError):
        await both.reconcile()
    (request,), saying = both.line.requests, both.desk.saying
    honest, begun, go_on = saying.said, threading.Event(), threading.Event()

    def slow(statement: Statement, known: Known | None) -> Counterstatement:
        begun.set()
        go_on.wait(5)
        return honest(statement, known)

    saying.said = slow  # type: ignore[method-assign]
    call = asyncio.ensure_future(both.desk.reconcile(request, both.line.peer))
    await asyncio.to_thread(begun.wait, 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(Overloaded):
        await both.desk.reconcile(request, both.line.peer)
    go_on.set()
    async with asyncio.timeout(5):
        while both.desk._stating._taken:
            await asyncio.sleep(0.001)
    assert (await both.desk.reconcile(request, both.line.peer)).HasField("countered")


async def test_a_node_that_calls_without_end_is_turned_away(both: Both) -> None:
    """So many statements and verdicts an hour are looked at; the next leave no leaf, and an hour
    later it is heard again."""
    calls = (
        lambda: both.desk.reconcile(pb.ReconcileRequest(), both.line.peer),
        lambda: both.desk.conclude(pb.Reconciliation(), both.line.peer),
    )
    for call in calls:
        for _ in range(AN_HOUR):
            with pytest.raises((InvalidInput, Forged)):
                await call()
        size = both.gateway.log.head.size
        with pytest.raises(Overloaded):
            await call()
        assert both.gateway.log.head.size == size
    both.now += 3_600
    for call in calls:
        with pytest.raises((InvalidInput, Forged)):
            await call()


def test_a_verdict_of_thousands_of_incidents_leaves_few_rows() -> None:
    """What is beyond so many is known by one digest for each code, and raised no second time; with
    one entry more it is another."""
    found = [
        Incident(
            code="RECONCILE_MISSING" if leaf % 2 else "RECONCILE_DIFFERS",
            absent_from="gateway",
            entry=Entry(kind=1, leaf=leaf, time_ms=1, query_id=b"q", partner_id=OTHER, digest=b"d"),
        )
        for leaf in range(1, 3_001)
    ]
    one, same, more = (
        Judgement(incidents=tuple(some), codes=(), excused=0).once(cast("Statement", None))
        for some in (found[:-1], found[:ROWS] + found[-2 : ROWS - 1 : -1], found)
    )
    assert (len(one), set(one.values())) == (258, {"RECONCILE_MISSING", "RECONCILE_DIFFERS"})
    assert one == same
    assert len(more.keys() - one.keys()) == 1


# ── The evidence ─────────────────────────────────────────────────────────────────────────────


async def test_an_altered_octet_of_the_evidence_is_found(both: Both) -> None:
    """Nobody can change what is kept of an incident: each of its six parts is bound."""
    await both.answered(skip="intent")
    await both.reconcile()
    ((detail,),) = both.node.log.read("SELECT detail FROM leaf WHERE detail <> x'' LIMIT 1")
    kept = pb.Reconciliation.FromString(detail)
    assert isinstance(both.opened(kept), Exchange)
    for part in pb.Reconciliation.DESCRIPTOR.fields_by_name:
        octets = bytearray(getattr(kept, part))
        for place in range(0, len(octets), max(1, len(octets) // 16)):
            bent = pb.Reconciliation.FromString(detail)
            changed = (
                bytes(octets[:place]) + bytes([octets[place] ^ 1]) + bytes(octets[place + 1 :])
            )
            setattr(bent, part, changed)
            with pytest.raises((Forged, InvalidInput)):
                both.opened(bent)


async def test_evidence_of_one_pair_is_none_of_another(both: Both, world: World) -> None:
    """A verdict that is about another counterstatement is not put beside this one."""
    await both.hour()
    await both.reconcile()
    await both.reconcile()
    first, second = both.line.verdicts
    mixed = pb.Reconciliation.FromString(first.SerializeToString())
    mixed.verdict, mixed.verdict_signature = second.verdict, second.verdict_signature
    with pytest.raises(Forged):
        both.opened(mixed)
    assert both.opened(second).statement.entries == ()


async def test_a_partner_in_no_directory_reconciles_with_nobody(both: Both) -> None:
    """A node whose partner is no member any more is refused on the record."""
    stranger = replace(both.line.peer, partner_id="stranger")
    with pytest.raises(FairleadError):
        await both.desk.reconcile(pb.ReconcileRequest(), stranger)
    assert len(both.gateway.of(REFUSAL)) == 1
