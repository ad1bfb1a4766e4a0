"""Decision records: in the transaction of what rests on them, sealed, bound, and let go in time."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import errors, signing
from fairlead.auditlog import Beside, Connection
from fairlead.decisions import Once, about, expire, holding, load_public, read_batch
from fairlead.decisions.batch import PRIVATE_PAD
from fairlead.decisions.shelf import span
from fairlead.policy import inputs
from fairlead.policy.decision import Obligations
from fairlead.policy.recorded import Outcome
from fairlead.v1 import audit_pb2, decisions_pb2
from tests.decided import OFFICER, Decided, read_export
from tests.policy_cases import ANALYST, CANDIDATES, CUSTOMS, NOW, QUERY

HOUR, DAY = 3600, 86_400


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Decided]:
    found = Decided(path=tmp_path / "audit.sqlite")
    yield found
    found.close()


def leaves(made: Decided) -> list[audit_pb2.AuditLeaf]:
    rows = made.log.read("SELECT body FROM leaf ORDER BY idx")
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


async def test_a_record_stands_before_the_leaf_that_rests_on_it(made: Decided) -> None:
    """Decisions are written in the transaction of the next leaf, under a leaf before it."""
    made.admit()
    made.route()
    await made.commit()
    recorded, rests = leaves(made)
    assert (recorded.type, recorded.subject) == (
        audit_pb2.LEAF_TYPE_DECISION, "decisions-recorded",
    )  # fmt: skip
    assert rests.type == audit_pb2.LEAF_TYPE_HISTORY
    checkpoints = made.log.read("SELECT size FROM checkpoint ORDER BY size")
    assert checkpoints == [(0,), (2,)]  # one transaction
    (row,) = made.rows()
    assert (row.number, row.leaf) == (1, 0)
    assert recorded.detail_digest == read_batch(row.octets).digest


async def test_no_leaf_is_durable_without_the_decisions_it_rests_on(made: Decided) -> None:
    """If records cannot be written, the append that came behind them fails, and the log with it."""
    made.admit()

    class Broken:
        def contribute(self, _: Connection) -> list[tuple[bytes, Beside]]:
            raise OSError

        def settle(self, _: bool) -> None:
            raise AssertionError

    made.log.accompany(Broken())
    with pytest.raises(errors.LogUnavailable):
        await made.commit()
    assert not made.log.healthy
    assert leaves(made) == []


async def test_what_nobody_rests_on_is_written_soon(
    made: Decided, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision that no leaf follows is durable within a moment."""
    monkeypatch.setattr("fairlead.decisions.recorder.WAIT_S", 0.01)
    made.admit()
    async with asyncio.timeout(20):
        while not made.rows():
            await asyncio.sleep(0.01)
    assert [leaf.type for leaf in leaves(made)] == [audit_pb2.LEAF_TYPE_DECISION]


async def test_many_decisions_are_written_without_waiting(made: Decided) -> None:
    """Memory holds so many records and no more: then they are written though nobody appends."""
    for _ in range(520):
        made.own()
    async with asyncio.timeout(20):
        while sum(len(read_batch(row.octets).records) for row in made.rows()) < 512:
            await asyncio.sleep(0.01)
    assert all(len(read_batch(row.octets).records) <= 256 for row in made.rows())


def test_what_is_in_memory_is_written_when_the_log_closes(made: Decided) -> None:
    """A process that stops in order loses no record."""
    made.admit()
    made.close()
    report = made.verify()
    assert (report.batches, report.leaves) == (1, {"DECISION": 1})


async def test_a_record_says_what_was_decided_on_what(made: Decided) -> None:
    """Id, point, engine, serial, time, query, digest, outcome, and the very input."""
    occasion = about(bytes(range(16)))
    made.admit()
    made.route()
    made.own()
    made.release()
    await made.commit()
    admission, routing, own, released = read_export(made.export())
    assert [r.point for r in (admission, routing, own, released)] == [
        "admission", "routing", "sovereignty", "release",
    ]  # fmt: skip
    assert {r.query_id for r in (admission, routing, own, released)} == {bytes(range(16))}
    assert occasion.ids["routing"] == routing.decision_id
    assert (admission.engine, admission.policy_serial) == ("wasm", 1)
    assert admission.time_ms == NOW * 1000
    assert admission.document == orjson.loads(orjson.dumps(inputs.admission_input(
        now=NOW, query=QUERY, asker=CUSTOMS, user=ANALYST, case_open=True, user_assigned=True,
        approvals=0,
    )))  # fmt: skip
    assert routing.outcomes.keys() == {"", *CANDIDATES}
    assert all(outcome.permit and outcome.rules for n, outcome in routing.outcomes.items() if n)
    assert released.outcomes["0"].facets


async def test_what_depends_on_records_is_readable_by_the_officer_alone(made: Decided) -> None:
    """A batch shows neither that a record was found nor what was decided of it."""
    made.own()
    made.release(3)
    await made.commit()
    (row,) = made.rows()
    assert [r.point for r in read_batch(row.octets).records] == ["sovereignty"]
    for secret in (b"release", b"full_record", b"AMBER", b"looked-up"):
        assert secret not in row.octets
    assert [r.point for r in read_export(made.export(), private=None)] == ["sovereignty"]


async def test_the_size_of_a_batch_does_not_count_records(tmp_path: Path) -> None:
    """An owner's batch is as large with a hit as without one."""
    sizes = set()
    for count in (1, 2, 5):
        made = Decided(path=tmp_path / f"{count}.sqlite")
        made.release(16)  # probes
        made.release(count)
        await made.commit()
        (row,) = made.rows()
        sizes.add(len(row.octets) // PRIVATE_PAD)
        made.close()
    assert len(sizes) == 1


async def test_without_a_replay_key_no_input_is_kept(tmp_path: Path) -> None:
    """The record is there, its input is not, and nothing over records is."""
    made = Decided(path=tmp_path / "audit.sqlite", replay_key=None)
    made.admit()
    made.release()
    await made.commit()
    (record,) = read_export(made.export(), private=None)
    assert (record.point, record.document, record.digest) == ("admission", None, b"")
    made.release()
    await made.commit()
    assert len(made.rows()) == 1
    made.close()


async def test_an_input_has_another_digest_in_every_batch(made: Decided) -> None:
    """Who guesses an input cannot compare its digest."""
    for _ in range(2):
        made.admit()
        await made.commit()
    digests = {record.digest for record in read_export(made.export())}
    assert len(digests) == 2


async def test_each_hour_has_a_content_key_of_its_own(made: Decided) -> None:
    """A key is sealed once an hour; batches of another hour are under another."""
    for _ in range(4):
        made.admit()
        await made.commit()
        made.now += HOUR / 2
    ids = [row.key_id for row in made.rows()]
    assert len(set(ids)) in (2, 3)
    assert len(made.log.read("SELECT id FROM decision_key")) == len(set(ids))
    assert len(read_export(made.export())) == 4


def test_a_restart_goes_on_counting(tmp_path: Path) -> None:
    """The chain of batches goes through restarts, each with a content key of its own."""
    for run in range(3):
        made = Decided(path=tmp_path / "audit.sqlite")
        made.story(2)
        assert len(read_export(made.export())) == 4 * (run + 1)
        made.close()
    assert made.verify().batches == 6


async def test_old_records_are_let_go_under_a_leaf(made: Decided) -> None:
    """Rows past their time are deleted, old leaves still verify, and the newest row stays."""
    for _ in range(5):
        made.admit()
        await made.commit()
        made.now += DAY
    await expire(made.log, made.leaves, before=made.now - 2.5 * DAY)
    assert [row.number for row in made.rows()] == [4, 5]
    assert len(made.log.read("SELECT id FROM decision_key")) == 2
    last = leaves(made)[-1]
    assert (last.subject, last.decision_batch) == ("decisions-expired", 3)
    assert len(read_export(made.export())) == 2
    await expire(made.log, made.leaves, before=made.now + 400 * DAY)
    assert [row.number for row in made.rows()] == [5]
    size = len(leaves(made))
    await expire(made.log, made.leaves, before=made.now + 400 * DAY)
    assert len(leaves(made)) == size
    made.admit()
    await made.commit()
    made.close()
    assert made.verify().batches == 2


def tamper(made: Decided, statement: str) -> None:
    """As an administrator of the database would."""
    connection = sqlite3.connect(made.path)
    with connection:
        connection.executescript(statement)
    connection.close()


async def test_times_are_those_of_the_batches_and_of_no_column(made: Decided) -> None:
    """Who edits the columns makes the process neither let records go nor leave them out."""
    for _ in range(4):
        made.admit()
        await made.commit()
        made.now += DAY
    tamper(made, "UPDATE decision_batch SET time_ms = number; UPDATE decision_key SET time_ms = 0")
    size = len(leaves(made))
    await expire(made.log, made.leaves, before=NOW)
    assert len(leaves(made)) == size
    assert len(made.rows()) == len(made.log.read("SELECT id FROM decision_key")) == 4
    day = [(NOW + number * DAY) * 1000 for number in range(6)]
    assert span(made.log, day[1], day[3]) == range(2, 4)
    assert span(made.log, day[1] + 1, 0) == range(3, 5)
    assert span(made.log, 0, day[0]) == span(made.log, 0, 1) == range(1, 1)
    assert not span(made.log, day[5], 0)
    assert not span(made.log, day[3], day[1])
    await expire(made.log, made.leaves, before=day[2] / 1000)
    assert [row.number for row in made.rows()] == [3, 4]
    assert len(made.log.read("SELECT id FROM decision_key")) == 2


async def test_a_batch_that_is_not_that_of_its_leaf_is_not_let_go(made: Decided) -> None:
    """Evidence of a forgery does not expire: a batch aged in its body, digest and all, stays."""
    for _ in range(3):
        made.admit()
        await made.commit()
    batch = decisions_pb2.DecisionBatch.FromString(made.rows()[0].octets)
    batch.time_ms = 1
    body = signing.canonical(batch)
    connection = sqlite3.connect(made.path)
    with connection:
        connection.execute(
            "UPDATE decision_batch SET time_ms = 1, body = ?, digest = ? WHERE number = 1",
            (body, signing.digest(body)),
        )
    connection.close()
    with pytest.raises(errors.Forged) as caught:
        await expire(made.log, made.leaves, before=NOW)
    assert caught.value.code == "DECISIONS_FORGED"
    with pytest.raises(errors.Forged):
        span(made.log, NOW * 1000, 0)
    assert len(made.rows()) == 3


async def test_what_is_held_back_is_written_at_once(made: Decided) -> None:
    """However many evaluations over records and transactions between, it is one batch, behind."""
    with holding(bytes(16)) as occasion:
        for _ in range(3):
            made.release(16)
            await made.commit()
        assert not made.rows()
        occasion.hand_over()
        await made.commit()
        made.release()  # behind it nothing is held back
    await made.commit()
    assert [len(read_export(made.export(range(n, n + 1)))) for n in (1, 2)] == [3, 1]


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_what_is_held_back_is_written_whatever_happens(
    made: Decided, error: type[BaseException]
) -> None:
    """A query that fails or is cancelled has left its records."""

    def fail() -> None:
        with holding(bytes(16)):
            made.release()
            raise error

    with pytest.raises(error):
        fail()
    await made.commit()
    assert [record.point for record in read_export(made.export())] == ["release"]


async def test_the_size_of_a_batch_does_not_add_up_over_queries(tmp_path: Path) -> None:
    """Many queries in one batch: as large with a hit in each as with none."""
    sizes, counts = set(), set()
    for hit in (False, True):
        made = Decided(path=tmp_path / f"{hit}.sqlite")
        for number in range(40):
            with holding(number.to_bytes(16, "big")):
                made.release(16)
                if hit:
                    made.release(5)
        await made.commit()
        counts.add(len(made.rows()))
        sizes.add(sum(len(row.octets) for row in made.rows()) // 256)
        assert len(read_export(made.export())) == (80 if hit else 40)
        made.close()
    assert counts == {1}
    assert len(sizes) == 1


async def test_the_same_question_of_a_publication_is_recorded_once_a_day(made: Decided) -> None:
    """What is asked again with the same outcome leaves no second record until a day is over."""
    made.policy = made.policy.recorded_by(Once(made.recorder, made.clock))
    for moment in (NOW, NOW + 1):
        made.admit(now=moment)
    made.admit(user_assigned=False)
    await made.commit()
    assert len(read_export(made.export())) == 2
    made.now += DAY + 1
    made.admit()
    await made.commit()
    assert len(read_export(made.export())) == 3


def test_an_imagined_question_leaves_no_record(made: Decided) -> None:
    """Previews and exposures ask what nobody asked."""
    made.policy.recorded_by(None).admission(
        now=NOW, query=QUERY, asker=CUSTOMS, user=ANALYST, case_open=True, user_assigned=True,
        approvals=0,
    )  # fmt: skip
    made.close()
    assert made.verify().batches == 0


# ── What cannot be in one ──────────────────────────────────────────────────────────────────────


def test_no_input_has_a_field_for_a_term() -> None:
    """The facts that policy is told have no place for a term or a value, and none of free text."""
    allowed = {
        "mode", "purpose", "legal_basis", "schemes", "term_count", "window_days", "events",
        "partner_id", "kind", "sector", "country", "pseudonym", "roles", "open", "assigned",
        "expires_at", "facets", "policy_serial", "record_type", "event", "tlp", "pap", "europol",
        "source_grade", "information_grade", "purposes", "active_target", "personal", "fields",
        "instrument", "authority", "valid_until",
    }  # fmt: skip
    facts = [
        item
        for _, item in inspect.getmembers(inputs, inspect.isclass)
        if dataclasses.is_dataclass(item) and item.__module__ == inputs.__name__
    ]
    assert len(facts) >= 6
    for item in facts:
        assert {field.name for field in dataclasses.fields(item)} <= allowed, item


# ── Verification ─────────────────────────────────────────────────────────────────────────────

FAULTS: dict[str, str] = {
    "dropped": "DELETE FROM decision_batch WHERE number = 2",
    "dropped at the end": "DELETE FROM decision_batch WHERE number = 3",
    "all dropped": "DELETE FROM decision_batch",
    "changed": "UPDATE decision_batch SET body = zeroblob(length(body)) WHERE number = 2",
    "changed with its digest": "UPDATE decision_batch SET digest = zeroblob(32) WHERE number = 2",
    "swapped": "UPDATE decision_batch SET number = number + 10 WHERE number > 1;"
    "UPDATE decision_batch SET number = 15 - number WHERE number > 10",
    "invented": "INSERT INTO decision_batch SELECT 4, digest, time_ms, leaf, key, body "
    "FROM decision_batch WHERE number = 3",
    "another time beside it": "UPDATE decision_batch SET time_ms = 0 WHERE number = 2",
    "another key beside it": "UPDATE decision_batch SET key = zeroblob(32) WHERE number = 2",
    "without its key": "DELETE FROM decision_key",
    "another key of its id": "UPDATE decision_key SET sealed = zeroblob(length(sealed))",
    "no table": "DROP TABLE decision_batch",
}


@pytest.mark.parametrize("statement", FAULTS.values(), ids=FAULTS.keys())
def test_a_changed_shelf_does_not_verify(tmp_path: Path, statement: str) -> None:
    """Tampered, dropped, reordered or invented records are found by who has the log's key."""
    made = Decided(path=tmp_path / "audit.sqlite")
    made.story(3)
    made.close()
    assert made.verify().batches == 3
    with sqlite3.connect(made.path) as connection:
        connection.executescript(statement)
    connection.close()
    with pytest.raises(errors.Forged) as caught:
        made.verify()
    assert caught.value.code in {"DECISIONS_FORGED", "LOG_CORRUPTED"}
    assert caught.value.remedy or caught.value.code == "LOG_CORRUPTED"


def test_a_log_without_records_verifies(tmp_path: Path) -> None:
    """A log from before there were records is sound, and one of a process that decides nothing."""
    made = Decided(path=tmp_path / "audit.sqlite")
    asyncio.run(made.commit())
    made.close()
    with sqlite3.connect(made.path) as connection:
        connection.execute("DROP TABLE decision_batch")
    connection.close()
    assert made.verify().batches == 0


# ── Parsing ──────────────────────────────────────────────────────────────────────────────────


@given(
    st.builds(
        Outcome,
        permit=st.booleans(),
        facets=st.frozensets(st.sampled_from(["existence", "field:plate", "full_record"])),
        obligations=st.builds(
            Obligations,
            redact=st.frozensets(st.sampled_from(["plate", "account"])),
            max_records=st.none() | st.integers(0, 10**6),
            approvals=st.integers(0, 5),
            notify=st.frozensets(st.sampled_from(["owner_desk"])),
        ),
        reasons=st.lists(st.sampled_from(["NO_AGREEMENT", "USER_ROLE"])).map(tuple),
        rules=st.lists(st.sampled_from(["a", "b"])).map(tuple),
    )
)
def test_an_outcome_survives_writing_and_reading(outcome: Outcome) -> None:
    """What is read is what was decided."""
    assert Outcome.from_json(orjson.loads(orjson.dumps(outcome.to_json()))) == outcome


def _change(name: str, value: object) -> Callable[[dict[str, object]], None]:
    return lambda document: document.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        _change("effect", "maybe"), _change("facets", ["everything"]), _change("facets", "x"),
        _change("obligations", {"unheard_of": 1}), _change("obligations", {"redact": 1}),
        _change("obligations", {"approvals": [1]}), _change("obligations", None),
        _change("reasons", [1]), _change("rules", None), dict.clear,
    ],
)  # fmt: skip
def test_an_outcome_that_is_not_understood_is_refused(
    change: Callable[[dict[str, object]], None],
) -> None:
    """An obligation that nobody knows is not replayed as none."""
    document = Outcome(
        permit=True, facets=frozenset({"existence"}), obligations=Obligations(), reasons=(),
        rules=(),
    ).to_json()  # fmt: skip
    change(document)
    with pytest.raises(errors.InvalidInput):
        Outcome.from_json(document)


@pytest.mark.parametrize("octets", [b"", bytes(1216), bytes(3000)])
def test_a_replay_key_that_is_none_is_refused(tmp_path: Path, octets: bytes) -> None:
    """A process does not start with a key that nobody could open anything with."""
    path = tmp_path / "replay.pub"
    path.write_bytes(octets)
    with pytest.raises(errors.Misconfigured) as caught:
        load_public(path)
    assert caught.value.code == "REPLAY_KEY"
    path.write_bytes(OFFICER.public_bytes())
    assert load_public(path) == OFFICER.public_bytes()
