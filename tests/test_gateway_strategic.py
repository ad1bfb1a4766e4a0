"""The gateway's figures: whole releases or none, each counted once, on the record."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead import published, signing
from fairlead.errors import (
    Conflict,
    FairleadError,
    Forged,
    InvalidInput,
    Overloaded,
    Refused,
    Stale,
)
from fairlead.policy.decision import Audience, Reason, denial
from fairlead.published import Shown
from fairlead.strategic import terms as strategic_terms
from fairlead.strategic.books import Row
from fairlead.strategic.deciding import Made, decide_unit
from fairlead.summing import Figures, Round, Statement, Terms
from fairlead.summing.masking import pack, unpack
from fairlead.summing.participants import ListTooClose
from fairlead.v1 import audit_pb2, query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures import shelf
from gateway.figures.unreported import UNREPORTED_S
from gateway.members import LegFailed, RoundRequest
from node.heads import HeadKeeper
from tests.postgres import Postgres
from tests.summed import figures_of
from tests.tallying import REGISTRY, UNIT, Town, gone, gone_in, plenty, releases
from tests.walks import ASKER, World, make_world

MONTHS, MONTH = "month,port,kind", "2026-07"
QUARTERS = "2026-Q2..2026-Q3"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("strategic"))


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = Town(world, tmp_path)
    yield made
    made.close()


async def refused(
    town: Town, kind: type[FairleadError] = FairleadError, **about: Any
) -> FairleadError:
    """Why a question is answered with an error, which tells no figure."""
    with pytest.raises(kind) as caught:
        await town.ask(**about)
    assert not re.search(r"\d{3}", caught.value.message)
    return caught.value


def kept(town: Town) -> tuple[int, int]:
    """How many attempts and releases there are."""
    ((attempts,),) = town.log.read("SELECT count(*) FROM figures_attempt")
    ((released,),) = town.log.read("SELECT count(*) FROM figures_release")
    return attempts, released


def calls(town: Town) -> list[str]:
    """Who was asked for what, in order."""
    return [type(request).__name__ for _, request in town.wire.seen]


# ── Whole releases ───────────────────────────────────────────────────────────────────────────


async def test_a_question_is_answered_with_a_release_for_each_unit(town: Town) -> None:
    """First the receipt of the question's leaf, then how far the rounds are, then releases that
    verify, each with its own leaf."""
    events = await town.ask(period=QUARTERS)
    gateway, accepted = town.world.gateway, events[0].accepted
    assert accepted.units == 2
    rounds = [event.progress for event in events if event.HasField("progress")]
    assert {(each.unit, each.round) for each in rounds} == {
        (unit, number) for unit in ("2026-Q2", UNIT) for number in (0, 1, 2)
    }
    assert (rounds[-1].answered, rounds[-1].participants) == (8, 8)
    for event in events:
        if event.HasField("released"):
            assert event.released.gateway == gateway.spiffe_id
            signing.verify(
                gateway.signing_key, published.DOMAIN, event.released.release,
                event.released.signature,
            )  # fmt: skip
            leaf = audit_pb2.AuditLeaf.FromString(event.released.receipt.leaf)
            assert leaf.figures.period in {"2026-Q2", UNIT}
    heads = HeadKeeper(town.log, gateway)
    proved = heads.accept(accepted.asked, asked_from=0)
    for event in events:
        if event.HasField("released"):
            heads.accept(event.released.receipt, asked_from=proved.size)
    found = releases(events)
    assert [(each.unit.spelling, each.version) for each in found] == [("2026-Q2", 1), (UNIT, 1)]
    assert {(each.participants, each.expected) for each in found} == {(8, 9)}
    assert all(each.registry_digest == REGISTRY.digest for each in found)
    (asked,) = town.leaves("figures-asked")
    assert (asked.partner_id, asked.purpose) == (ASKER, "strategic-analysis")
    assert len(asked.signatures) == 2
    said = town.leaves("figures-released")
    assert [leaf.figures.statement_digest for leaf in said] == [each.digest for each in found]
    assert {leaf.figures.participants for leaf in said} == {8}


async def test_what_is_out_is_given_again_and_nobody_is_asked(town: Town) -> None:
    """Another question gets the same octets, and the ledger of a restarted gateway has them."""
    first = await town.ask()
    town.restart()
    town.wire.seen.clear()
    again = await town.ask()
    assert again[-1].released.release == first[-1].released.release
    assert not town.wire.seen
    assert len(town.leaves("figures-asked")) == 2
    assert len(town.leaves("figures-released")) == 1


async def test_a_release_whose_leaf_is_gone_is_recorded_once_more(town: Town) -> None:
    """Erased with its time, or never written for these octets: nobody takes figures without one."""
    await town.ask()
    await town.log.keep(lambda connection: connection.execute("DELETE FROM figures_leaf"))
    again = await town.ask()
    first, second = town.leaves("figures-released")
    assert first.figures.statement_digest == second.figures.statement_digest
    assert again[-1].released.receipt.leaf == second.SerializeToString(deterministic=True)
    assert (await town.ask())[-1].released.receipt.leaf == again[-1].released.receipt.leaf


async def test_the_clock_decides_which_version_there_is(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First figures until late records had their time; then final ones, by rounds of their own."""
    (first,) = await town.released()
    ends = first.unit.ends
    monkeypatch.setattr(strategic_terms, "FINAL_AFTER_S", int(town.now) - ends + 60)
    assert (await town.released()) == [first]
    town.now += 60
    (final,) = await town.released()
    assert (first.version, final.version) == (1, 2)
    assert kept(town) == (2, 2)
    assert (await town.released()) == [final]


async def test_the_first_figures_ever_may_be_the_final_ones(town: Town) -> None:
    """Nobody asked about a quarter of last year until now."""
    (found,) = await town.released(period="2025-Q3")
    assert (found.version, found.participants) == (2, 8)
    assert Shown.VALUE in found.counted()


async def test_too_few_partners_are_not_reported_and_nothing_is_kept(
    world: World, tmp_path: Path
) -> None:
    """A sum of three is nobody's; once a fourth takes part there are figures."""
    town = Town(world, tmp_path, count=4)
    town.wire.faults["p03"] = gone
    (found,) = await town.released()
    assert (found.version, found.expected) == (0, 5)
    shown = {shown for shown, count in found.counted().items() if count}
    assert shown == {Shown.NOT_REPORTED}
    assert kept(town) == (0, 0)
    assert not town.leaves("figures-released")
    town.wire.faults.clear()
    (again,) = await town.released()  # said again for some minutes, and nobody is asked
    assert again == found
    town.now += UNREPORTED_S
    (found,) = await town.released()
    assert (found.version, found.participants, found.expected) == (1, 4, 5)
    town.close()


async def test_who_declines_or_is_not_there_is_left_out(town: Town) -> None:
    """Round 0 says who takes part; that others were expected is said."""
    town.wire.faults["p02"] = gone
    del town.nodes.rounds["p05"]  # has no figures of this kind
    (found,) = await town.released()
    assert (found.participants, found.expected) == (6, 9)


async def test_who_does_not_answer_at_once_is_asked_a_second_time(town: Town) -> None:
    """Left out now, it would be left out of all figures of these months."""
    missed = []

    def once(request: RoundRequest) -> None:
        if not missed:
            missed.append(request)
            gone(request)

    town.wire.faults["p02"] = once
    (found,) = await town.released()
    assert found.participants == 8


# ── Lists ────────────────────────────────────────────────────────────────────────────────────


async def test_a_list_that_was_served_is_asked_again(town: Town) -> None:
    """Who comes late takes part where no month is shared with what was summed before."""
    town.wire.faults["p07"] = gone
    await town.ask()
    town.wire.faults.clear()
    (month,) = await town.released(level=MONTHS, period=MONTH)
    (quarter,) = await town.released(period="2026-Q2")
    assert (month.participants, quarter.participants) == (7, 8)


async def test_nobody_is_left_out_of_figures_that_were_summed_with_it(town: Town) -> None:
    """The nodes refuse the shorter list; who is missing is named."""
    await town.ask()
    town.wire.faults["p07"] = gone
    error = await refused(town, level=MONTHS, period=MONTH)
    assert error.reasons[:2] == ("PARTICIPANT_MISSING", "UNREACHABLE")
    assert "p07 (unreachable, UNREACHABLE)" in error.remedy
    assert kept(town) == (1, 1)
    town.wire.faults.clear()
    (month,) = await town.released(level=MONTHS, period=MONTH)
    assert month.participants == 8


async def test_who_pauses_is_not_told_to_askers(town: Town) -> None:
    """The owner that is missing is named as one that states no figures of this kind."""

    def paused(_request: RoundRequest) -> None:
        raise LegFailed(query_pb2.STATUS_INVALID, "OWNER_PAUSED")

    await town.ask()
    town.wire.faults["p07"] = paused
    error = await refused(town, level=MONTHS, period=MONTH)
    assert error.reasons == ("PARTICIPANT_MISSING", "NOT_REPORTED")
    assert "p07 (invalid, NOT_REPORTED)" in error.remedy
    assert "PAUSED" not in str(town.leaves()[-1])


async def test_a_gateway_that_forgot_the_lists_is_told_by_the_nodes(
    world: World, tmp_path: Path
) -> None:
    """Nobody is missing that it knows of, and the nodes refuse all the same."""
    town = Town(world, tmp_path)
    await town.ask()
    town.folder = tmp_path / "other"
    town.folder.mkdir()
    town.restart()
    town.wire.faults["p07"] = gone
    error = await refused(town, ListTooClose, level=MONTHS, period=MONTH)
    assert "p00, p01" in error.remedy
    town.close()


async def test_a_year_whose_quarters_had_other_lists_is_their_total(town: Town) -> None:
    """Values of some months were stated for eight and of others for seven: the nodes serve the year
    no list any more, and it is not reported until there are totals of what is out."""
    town.wire.counts = uneven
    await town.released(period="2025-Q1")
    town.wire.faults["p07"] = gone
    await town.released(period="2025-Q2")
    town.wire.faults.clear()
    (year,) = await town.released(level="year", period="2025")
    assert year.version == 0
    shown = [(await town.released(period=f"2025-Q{n}"))[0].of("due")[1].value for n in range(1, 5)]
    asked = len(town.wire.seen)
    (year,) = await town.released(level="year", period="2025")
    (due,) = year.of("due")
    assert (year.version, due.shown, due.value) == (2, Shown.PARTIAL, sum(shown))
    assert len(town.wire.seen) > asked
    assert (await town.released(level="year", period="2025"))[0] == year


async def test_lists_are_asked_for_as_of_one_moment(town: Town) -> None:
    """Who is asked again counts nothing anew."""

    def late(_request: RoundRequest) -> None:
        town.now += 1
        gone(_request)

    town.wire.faults["p02"] = late
    await town.ask()
    assert len({request.terms.cut_off for _, request in town.wire.seen}) == 1
    assert len({tuple(request.terms.participants) for _, request in town.wire.seen}) == 3


async def test_a_release_that_began_is_waited_for_and_not_given_up(
    world: World, tmp_path: Path
) -> None:
    """Without the partner that dropped out there are too few, and that is not what is said."""
    town = Town(world, tmp_path, count=4)
    town.wire.faults["p03"] = gone_in(pb.SumValuesRequest)
    await refused(town)
    town.wire.faults["p03"] = gone
    error = await refused(town)
    assert error.code == "PARTICIPANT_MISSING"
    assert error.remedy.endswith(": p03 (unreachable, UNREACHABLE)")
    town.close()


async def test_an_attempt_whose_seeds_are_gone_is_begun_anew(town: Town) -> None:
    """Nodes that stated nothing yet do so under this quarter's; what counts is as of then."""
    for name in town.nodes.ids:
        town.wire.faults[name] = gone_in(pb.CountContributorsRequest)
    await refused(town)
    ((cut_off,),) = town.log.read("SELECT cut_off FROM figures_attempt")
    await town.log.keep(
        lambda connection: connection.execute("UPDATE figures_attempt SET quarter = '2026-Q2'")
    )
    town.wire.faults.clear()
    town.now += 5
    await town.ask()
    assert town.log.read("SELECT quarter, cut_off FROM figures_attempt") == [("2026-Q4", cut_off)]


# ── Nothing by halves ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lost", [pb.CountContributorsRequest, pb.SumValuesRequest])
async def test_a_drop_out_ends_the_rounds_and_the_same_octets_go_on_later(
    town: Town, lost: type[RoundRequest]
) -> None:
    """No sum is made of the others; a gateway that restarted asks on the terms it began with."""
    town.wire.faults["p03"] = gone_in(lost)
    error = await refused(town)
    assert "p03 (unreachable, UNREACHABLE)" in error.remedy
    assert kept(town) == (1, 0)
    assert not town.leaves("figures-released")
    (leaf,) = (leaf for leaf in town.leaves("StatisticsService.QueryFigures"))
    assert leaf.reasons[0] == "PARTICIPANT_MISSING"
    before = {(name, each.vector) for name, each in town.wire.said if each.vector}
    town.restart()
    town.wire.faults.clear()
    town.now += 100
    (found,) = await town.released()
    assert found.participants == 8
    assert kept(town) == (1, 1)
    assert before <= {(name, each.vector) for name, each in town.wire.said}


async def test_a_stalled_partner_is_named_when_its_time_is_over(
    world: World, tmp_path: Path
) -> None:
    """The others have said their part, and it leads to nothing."""
    town = Town(world, tmp_path, round_s=0.3)

    def stall(request: RoundRequest) -> None:
        if isinstance(request, pb.CountContributorsRequest):
            town.wire.stalled.add("p01")

    town.wire.faults["p00"] = stall
    error = await refused(town)
    assert error.reasons == ("PARTICIPANT_MISSING", "DEADLINE")
    assert "p01 (timeout, DEADLINE)" in error.remedy
    assert kept(town) == (1, 0)
    town.close()


def lying(town: Town, name: str, round_: Round) -> None:
    """Let one partner add to its own vector, under its own signature."""

    def lie(request: RoundRequest, said: Statement) -> Statement:
        terms = strategic_terms.terms_from_wire(request.terms, REGISTRY).terms
        kinds = {Round.INDICATORS: pb.CountContributorsRequest, Round.VALUES: pb.SumValuesRequest}
        if not isinstance(request, kinds[round_]):
            return said
        words = list(unpack(said.vector))
        words[0] = (words[0] + 2**100 + 2**127) % 2**128 - 2**127
        binding = terms.binding(round_)
        if isinstance(request, pb.SumValuesRequest):
            binding = terms.values_binding({s.partner_id: s.vector for s in request.indicators})
        return Statement.sign(name, town.nodes.signers[name], binding, pack(words))

    town.wire.lies[name] = lie


@pytest.mark.parametrize("round_", [Round.INDICATORS, Round.VALUES])
async def test_vectors_that_do_not_add_up_are_nobodys_sum(town: Town, round_: Round) -> None:
    """Who lied cannot be told, and no figure is."""
    lying(town, "p04", round_)
    error = await refused(town, Forged)
    assert error.code == "MASKS"
    assert kept(town) == (1, 0)


@pytest.mark.parametrize("kind", [pb.CountContributorsRequest, pb.SumValuesRequest])
@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda said: replace(said, vector=said.vector[16:]), "VECTORS"),
        (lambda said: replace(said, vector=said.vector + bytes(16)), "VECTORS"),
        (lambda said: replace(said, partner_id="p05"), "VECTORS"),
        (lambda said: replace(said, signature=bytes(64)), "SIGNATURE"),
        (lambda said: replace(said, signature=b""), "SIGNATURE"),
    ],
)
async def test_a_statement_that_does_not_verify_is_named(
    town: Town, kind: type[RoundRequest], lie: Any, code: str
) -> None:
    """Wrong length, another's, unsigned: its partner alone is told, and nothing is summed."""
    town.wire.lies["p06"] = lambda request, said: lie(said) if isinstance(request, kind) else said
    error = await refused(town, Forged)
    assert error.code == code
    assert error.remedy.endswith(f": p06 (invalid, {code})")
    assert kept(town) == (1, 0)


async def test_what_was_shown_before_a_unit_failed_stays(town: Town) -> None:
    """The first quarter is whole; the same question goes on with the second."""

    def fail(request: RoundRequest) -> None:
        if request.terms.unit == UNIT:
            gone_in(pb.SumValuesRequest)(request)

    town.wire.faults["p00"] = fail
    signed = town.question(period=QUARTERS)
    await refused(town, signed=signed)
    (shown,) = releases(town.heard)
    assert shown.unit.spelling == "2026-Q2"
    town.wire.faults.clear()
    found = releases(await town.ask(signed))
    assert found[0] == shown
    assert len(found) == 2
    assert len(town.leaves("figures-asked")) == 1


# ── Several at once ──────────────────────────────────────────────────────────────────────────


async def raced(town: Town) -> None:
    """Two gateways of one log: the same release, and two of one cube, at once."""
    other = town.gateway(ahead=1)  # begins as of another moment
    both = await asyncio.gather(town.ask(), town.ask(of=other))
    assert len({events[-1].released.release for events in both}) == 1
    assert kept(town) == (1, 1)
    found = await asyncio.gather(
        town.ask(level="year", period="2025"),
        town.ask(of=other, level="quarter,country", period="2025-Q1"),
    )
    assert all(releases(events) for events in found)
    assert kept(town) == (3, 3)
    assert len(town.leaves("figures-released")) == 3


async def test_two_gateways_release_a_figure_once(town: Town) -> None:
    """Whoever is second gives what the first one froze, and decides anew over what is out."""
    await raced(town)


async def test_two_gateways_of_one_database_do_the_same(
    world: World, log_server: Postgres, tmp_path: Path
) -> None:
    """The same over PostgreSQL."""
    from tests.audited import shelf as logs

    with logs(tmp_path, log_server) as made:
        town = Town(world, tmp_path, place=made.place())
        await raced(town)
        town.close()


async def test_an_asker_that_goes_away_leaves_nothing_by_halves(town: Town) -> None:
    """What it left goes on with the next question."""
    asking = town.strategic.query(
        pb.QueryFiguresRequest(question=town.question()), town.world.peer(ASKER)
    )
    async for event in asking:
        if event.HasField("progress") and event.progress.round == 1:
            break
    await asking.aclose()
    assert kept(town)[1] == 0
    (found,) = await town.released()
    assert found.participants == 8
    assert kept(town) == (1, 1)


# ── The door ─────────────────────────────────────────────────────────────────────────────────


async def test_the_same_question_again_has_the_leaf_it_had(town: Town) -> None:
    """And the releases it had: nothing is counted or written anew."""
    signed = town.question()
    first = await town.ask(signed)
    size = town.log.head.size
    again = await town.ask(signed)
    assert again[-1].released.release == first[-1].released.release
    assert again[0].accepted.asked.leaf == first[0].accepted.asked.leaf
    assert town.log.head.size == size
    assert len(town.policy.asked) == 2


async def test_the_same_question_is_refused_once_policy_no_longer_permits_it(town: Town) -> None:
    """What was permitted a minute ago is decided again, on the record."""
    signed = town.question()
    await town.ask(signed)
    reason = Reason(code="FIGURES_NOT_AGREED", audience=Audience.REQUESTER)
    town.policy.decision = denial(reason, policy_serial=2)
    size = town.log.head.size
    assert (await refused(town, Refused, signed=signed)).code == "FIGURES_NOT_AGREED"
    assert town.log.head.size == size + 1


async def test_another_question_under_the_same_id_is_refused(town: Town) -> None:
    """An id is one question's."""
    signed = town.question()
    await town.ask(signed)
    other = pb.FiguresQuestion.FromString(signed.question)
    other.period = "2026-Q2"
    changed = town.question(question=signing.canonical(other))
    error = await refused(town, Conflict, signed=changed)
    assert error.code == "QUERY_ID_REUSED"


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"period": "2026-Q4"}, InvalidInput, "PERIOD_OPEN"),
        ({"period": "2026-Q3..2026-Q3"}, InvalidInput, "PERIOD_MALFORMED"),
        ({"cube": "no-such-cube"}, InvalidInput, "CUBE_UNKNOWN"),
        ({"level": "quarter"}, InvalidInput, "LEVEL_UNKNOWN"),
        ({"cube_version": 9}, Stale, "CUBE_VERSION"),
        ({"registry_digest": bytes(32)}, Stale, "CUBE_VERSION"),
        ({"issued_at": 1}, Stale, "QUERY_WINDOW"),
    ],
)
async def test_what_cannot_be_asked_is_refused_on_the_record(
    town: Town, change: dict[str, Any], kind: type[FairleadError], code: str
) -> None:
    """No node hears of it."""
    drafted = pb.FiguresQuestion.FromString(town.question().question)
    for name, value in change.items():
        setattr(drafted, name, value)
    signed = town.question(question=signing.canonical(drafted))
    error = await refused(town, kind, signed=signed)
    assert error.code == code
    (leaf,) = town.leaves()
    assert (leaf.reasons[0], leaf.query_id) == (code, drafted.question_id)
    assert not town.wire.seen


async def test_any_octets_are_a_question_or_refused(town: Town) -> None:
    """Each field cut, changed in one place, empty or random: an error of ours, on the record."""
    luck = random.Random(7)
    whole = town.question()
    names = [name.name for name in whole.DESCRIPTOR.fields]
    for number in range(60):
        changed = pb.SignedFiguresQuestion()
        changed.CopyFrom(whole)
        name = names[number % len(names)]
        octets = bytearray(getattr(whole, name))
        match number // len(names) % 4:
            case 0:
                octets = octets[: luck.randrange(len(octets))]
            case 1:
                octets[luck.randrange(len(octets))] ^= 1 << luck.randrange(8)
            case 2:
                octets += luck.randbytes(3)
            case _:
                octets = bytearray(luck.randbytes(40))
        setattr(changed, name, bytes(octets))
        with pytest.raises(FairleadError):
            await town.ask(changed)
        assert len(town.leaves()) == number + 1
    assert not town.wire.seen


async def test_a_question_is_brought_by_its_own_partners_node(town: Town) -> None:
    """Nobody asks in another's name."""
    error = await refused(town, Forged, peer="police")
    assert error.code == "WRONG_PEER"


async def test_policy_refuses_before_anybody_is_asked(town: Town) -> None:
    """With the reasons that are for the requester."""
    reason = Reason(code="FIGURES_ROLE", audience=Audience.REQUESTER)
    town.policy.decision = denial(reason, policy_serial=1)
    error = await refused(town, Refused)
    assert error.code == "FIGURES_ROLE"
    assert not town.wire.seen
    (said,) = town.policy.asked
    assert (said["cube"], said["level"]) == ("reports", "quarter,country")
    assert said["user"].pseudonym == "u-c01"


async def test_a_log_without_a_quorum_answers_no_question(town: Town) -> None:
    """As with any query; for a highly sensitive purpose the question's own leaf is cosigned before
    anybody hears of it."""
    town.witnesses.quorum = False
    error = await refused(town)
    assert error.code == "QUORUM_MISSING"
    assert not town.leaves("figures-asked")
    town.policy.sensitive = True
    error = await refused(town)
    assert error.code == "QUORUM_MISSING"
    assert not town.wire.seen
    town.witnesses.quorum = True
    await town.ask()
    (_, asked) = town.witnesses.waited_for
    assert town.leaves()[asked].subject == "figures-asked"


async def test_a_user_asks_so_many_questions_in_an_hour(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked again for is not counted twice; an hour later there is more."""
    monkeypatch.setattr(shelf, "QUESTIONS_AN_HOUR", 2)
    signed = town.question()
    await town.ask(signed)
    await town.ask(signed)
    await town.ask()
    error = await refused(town, Refused)
    assert error.code == "FIGURES_BUDGET"
    await town.ask(signed)
    town.now += shelf.HOUR_S
    await town.ask()


async def test_who_asked_is_forgotten_where_it_is_only_counted(town: Town) -> None:
    """The leaf says it, as long as it is kept; the id is one question's for good."""
    signed = town.question()
    await town.ask(signed)
    town.now += shelf.HOUR_S
    await town.ask()
    rows = town.log.read("SELECT asked_by FROM figures_question ORDER BY time_s")
    assert [name for (name,) in rows] == ["", town.world.user().spiffe_id]


async def test_a_partner_has_so_much_counted_anew_in_a_day(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is out already costs nothing, and a question that is too large begins nothing."""
    monkeypatch.setattr(shelf, "NEW_A_DAY", 2)
    await town.ask()
    error = await refused(town, Refused, period="2026-Q1..2026-Q3")
    assert error.code == "FIGURES_BUDGET"
    assert kept(town) == (1, 1)
    assert len(await town.released(period=QUARTERS)) == 2
    await refused(town, Refused, period="2026-Q1")
    assert len(await town.released(period=QUARTERS)) == 2


async def test_a_gateway_that_stops_lets_no_question_in(town: Town) -> None:
    """The asker is told to come again."""
    town.strategic.shut()
    error = await refused(town, Overloaded)
    assert error.code == "DRAINING"


async def test_one_partner_does_not_keep_the_others_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a quarter of the places at most, and gives them back."""
    monkeypatch.setattr("gateway.strategic.LIMIT", 4)
    asking = town.strategic.query(
        pb.QueryFiguresRequest(question=town.question()), town.world.peer(ASKER)
    )
    await anext(asking)
    error = await refused(town, Overloaded)
    assert error.code == "OVERLOADED"
    await asking.aclose()
    await town.ask()


# ── What is kept ─────────────────────────────────────────────────────────────────────────────


def uneven(partner: str, terms: Terms) -> Figures:
    """Two partners contribute to the first cell; in the second, one has most of the weight."""
    found = plenty(partner, terms)
    first, second = found.values
    names = [measure.measure_id for measure in terms.measures]
    heavy = tuple(
        99 if name == "m2" and partner == "p00" else value
        for name, value in zip(names, second, strict=True)
    )
    if partner in {"p00", "p01"}:
        return figures_of(terms.measures, (first, heavy))
    return figures_of(terms.measures, ((0,) * len(first), heavy))


async def test_what_is_withheld_is_in_no_row(town: Town) -> None:
    """What the gateway keeps is what is out, figure by figure."""
    town.wire.counts = uneven
    (found,) = await town.released()
    assert next(cell.shown for cell in found.of("due")) is Shown.SUPPRESSED
    assert [cell.shown for cell in found.of("kg")] == [Shown.SUPPRESSED, Shown.SUPPRESSED]
    ((row,),) = town.log.read("SELECT books FROM figures_release")
    kept_ = Row.from_bytes(bytes(row))
    for name, measure in kept_.measures.items():
        for cell, figure, error in zip(
            found.of(name), measure.figures, measure.errors, strict=True
        ):
            if not cell.shown.is_number:
                assert (figure, error) == (None, 0)
            assert (figure or 0) * found.cube.measure(name).step == cell.value


async def test_nodes_that_state_no_more_leave_the_totals_that_are_out(town: Town) -> None:
    """The parts are out, so the total is made of them; nobody counts for it, and it is frozen."""
    (parts,) = await town.released(level="quarter,country,kind")
    attempts, _ = kept(town)
    town.wire.looks_used_up = True
    (total,) = await town.released()
    assert kept(town) == (attempts, 2)
    summed = [sum(cell.value for cell in parts.of("due")[at : at + 2]) for at in (0, 2)]
    assert [cell.value for cell in total.of("due")] == summed
    assert {cell.shown for cell in total.of("days")} == {Shown.SUPPRESSED}
    town.wire.looks_used_up = False
    assert await town.released() == [total]


async def test_one_node_that_says_so_alone_freezes_nothing(town: Town) -> None:
    """The others are asked without it; where they may not sum without it, it is named."""

    def used_up(_request: RoundRequest) -> None:
        raise LegFailed(query_pb2.STATUS_INVALID, "FIGURES_USED_UP")

    await town.ask()
    town.wire.faults["p02"] = used_up
    error = await refused(town, level=MONTHS, period=MONTH)
    assert "p02 (invalid, FIGURES_USED_UP)" in error.remedy
    assert kept(town) == (1, 1)


async def test_a_release_that_leaves_too_little_unknown_is_an_alarm(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be taken back, and whoever watches the log hears of it."""

    def beyond(*arguments: Any, **named: Any) -> Made:
        return replace(decide_unit(*arguments, **named), beyond={"due": (None, None)})  # type: ignore[arg-type]

    monkeypatch.setattr("gateway.figures.making.decide_unit", beyond)
    released = (await town.ask())[-1].released.release
    (alarm,) = (leaf for leaf in town.leaves() if leaf.type == audit_pb2.LEAF_TYPE_ALARM)
    assert alarm.reasons == ["FIGURES_BEYOND"]
    assert alarm.detail_digest == signing.digest(released)
