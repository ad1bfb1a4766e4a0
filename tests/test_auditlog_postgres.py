"""One audit log in PostgreSQL, several gateways, and a server that goes away in between."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import psycopg.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import errors, merkle, receipts
from fairlead.auditlog import AuditLog, Connection, DatabaseUrl, Place, verify_log
from fairlead.auditlog import postgres_session as sessions
from fairlead.auditlog.postgres_store import PostgresStore
from fairlead.decisions import expire
from tests.audited import (
    ORIGIN,
    OTHER,
    PUBLIC,
    Shelf,
    audit_server,
    leaf,
    open_log,
    piled,
    remember,
    shelf,
    verify,
)
from tests.decided import Decided, read_export
from tests.policy_cases import NOW
from tests.postgres import Postgres

SHORT = 0.3


@pytest.fixture
def logs(log_server: Postgres, tmp_path: Path) -> Iterator[Shelf]:
    with shelf(tmp_path, log_server) as made:
        yield made


@pytest.fixture
def place(logs: Shelf) -> DatabaseUrl:
    return cast("DatabaseUrl", logs.place())


@pytest.fixture
def one(logs: Shelf, place: Place) -> AuditLog:
    return logs.open(place)


@pytest.fixture
def two(logs: Shelf, place: Place, one: AuditLog) -> AuditLog:
    return logs.open(place)


def store(log: AuditLog) -> PostgresStore:
    return cast("PostgresStore", log._writer._store)


def end(logs: Shelf, session: Any) -> None:
    """End a session as an administrator does."""
    assert logs.server is not None
    logs.server.run(f"SELECT pg_terminate_backend({session.info.backend_pid})")


# Two gateways. -----------------------------------------------------------------------------------


async def test_two_gateways_append_to_one_log(place: Place, one: AuditLog, two: AuditLog) -> None:
    """Leaves of both stand in one gapless order, and each proves those of the other."""
    calls = [log.append(leaf(n)) for n in range(400) for log in (one, two)]
    places = [done.index for done in await asyncio.gather(*calls)]
    assert sorted(places) == list(range(800))
    for log in (one, two):
        await log.follow()
    assert one.head == two.head
    for log in (one, two):
        for index in (0, 399, 799):
            receipts.verify_receipt(log.receipt(index), origin=ORIGIN, public_key=PUBLIC, head=None)
    assert verify(place, (one.head,)).size == 800


async def test_what_both_would_take_one_takes(one: AuditLog, two: AuditLog) -> None:
    """Of the same entry brought to two gateways at once, one is appended and one is refused."""
    for number in range(20):
        found = await asyncio.gather(
            *(log.append(leaf(number), also=remember(number)) for log in (one, two)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, errors.Conflict) for result in found) == 1
    await asyncio.gather(one.follow(), two.follow())
    assert one.head.size == two.head.size == 20


async def test_a_gateway_that_only_listens_follows(one: AuditLog, two: AuditLog) -> None:
    """A receipt from the head that another gateway has shown can be made once this one looks."""
    await one.append(leaf(0))
    with pytest.raises(errors.InvalidInput):
        two.receipt(0, 1)
    await two.follow()
    assert two.receipt(0, 1).leaf == leaf(0)


def test_gateways_that_start_together_make_one_log(logs: Shelf, place: Place) -> None:
    """Four gateways on an empty database agree on its tables and on its empty head."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: logs.open(place), range(4)))
    assert len({log.head for log in opened}) == 1
    assert verify(place).checkpoints == 1


async def test_a_key_of_another_gateway_does_not_continue_a_log(
    logs: Shelf, place: Place, one: AuditLog
) -> None:
    """Who shares a log has its key: with another one a gateway does not start."""
    await one.append(leaf(0))
    with pytest.raises(errors.LogUnavailable):
        open_log(place, key=OTHER)
    await one.append(leaf(1))


async def test_decisions_of_two_gateways_are_one_chain(place: Place) -> None:
    """Batches are numbered through, none goes before its time, and a content key stays for as long
    as a batch is under it."""
    made = [Decided(path=place, now=now) for now in (NOW + 4_000.0, float(NOW))]
    for number in range(6):
        made[number % 2].admit()
        await made[number % 2].commit()
    assert made[0].verify().batches == 6
    rows = made[0].log.read("SELECT time_ms, key FROM decision_batch ORDER BY number")
    assert [row[0] for row in rows] == [int((NOW + 4_000) * 1000)] * 6
    assert len({row[1] for row in rows}) == 2
    assert len(read_export(made[1].export())) == 6
    made[1].now = NOW + 9_000.0
    made[1].admit()
    await made[1].commit()
    await asyncio.gather(*(expire(each.log, each.leaves, before=NOW + 5_000.0) for each in made))
    assert made[0].log.read("SELECT count(*) FROM decision_key") == [(1,)]
    assert (made[0].verify().batches, len(read_export(made[0].export()))) == (1, 1)
    for each in made:
        each.close()


async def test_content_keys_stay_for_as_long_as_a_batch_is_under_them(place: Place) -> None:
    """Two gateways seal in turns: what is let go leaves every key that a batch is still under."""
    hour = NOW - NOW % 3600
    made = [Decided(path=place) for _ in range(2)]
    for number, moment in enumerate((0, 10, 1_000, 1_010)):
        made[number % 2].now = float(hour + moment)
        made[number % 2].admit()
        await made[number % 2].commit()
    await expire(made[0].log, made[0].leaves, before=hour + 5.0)
    await expire(made[0].log, made[0].leaves, before=hour + 500.0)
    assert made[1].log.read("SELECT count(*) FROM decision_key") == [(2,)]
    assert (made[0].verify().batches, len(read_export(made[1].export()))) == (2, 2)
    for each in made:
        each.close()


async def test_records_of_a_transaction_that_was_undone_are_written_in_the_next(
    logs: Shelf, place: Place
) -> None:
    """Nothing rests on a record that was lost with a connection."""
    made, calls = Decided(path=place), []
    made.admit()
    made.route()

    def also(connection: Connection) -> None:
        calls.append(1)
        if len(calls) == 1:
            end(logs, store(made.log)._session)
        connection.execute("SELECT 1")

    await made.log.append(made.leaves.history(subject="history-read"), also=also)
    assert len(calls) == 2
    assert made.verify().batches == 1
    assert len(read_export(made.export())) == 2
    made.close()


def test_readers_want_a_host_that_writes(place: DatabaseUrl) -> None:
    """A standby among the hosts of an address is behind: no gateway reads from it, an auditor's
    snapshot may."""
    seen = []

    def connect(*_: object, **settings: object) -> None:
        seen.append(settings.get("target_session_attrs"))
        raise psycopg.OperationalError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sessions.psycopg, "connect", connect)
        for settings in (
            {"writing": True},
            {"writing": False},
            {"writing": False, "standby": True},
        ):
            with suppress(psycopg.OperationalError):
                sessions.connect(place, **settings)
    assert seen == ["read-write", "primary", None]


# A server that goes away. ------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after", "overtaken"])
async def test_a_commit_nobody_heard_of_is_looked_up(
    logs: Shelf, one: AuditLog, two: AuditLog, place: Place, when: str
) -> None:
    """A connection lost during COMMIT: what is durable is acknowledged where it stands, what is
    not is appended again, also behind another gateway; never twice."""
    await one.append(leaf(0))
    commit, loop = store(one).commit, asyncio.get_running_loop()

    def lost() -> None:
        store(one).commit = commit  # type: ignore[method-assign]
        if when == "after":
            commit()
        end(logs, store(one)._session)
        if when == "overtaken":
            asyncio.run_coroutine_threadsafe(two.append(leaf(7)), loop).result(20)
        if when != "after":
            commit()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    store(one).commit = lost  # type: ignore[method-assign]
    done = await one.append(leaf(1), also=remember(1))
    assert done.index == (2 if when == "overtaken" else 1)
    assert one.healthy
    assert (await one.append(leaf(2))).index == done.index + 1
    assert verify(place, (one.head,)).size == done.index + 2
    assert logs.query(place, "SELECT id FROM seen") == [(1,)]


async def test_a_transaction_whose_session_was_ended_is_done_again(
    logs: Shelf, one: AuditLog
) -> None:
    """An administrator ends the session in the middle of a transaction: nobody notices."""
    calls = []

    def also(connection: Connection) -> None:
        calls.append(1)
        if len(calls) == 1:
            end(logs, store(one)._session)
        connection.execute("INSERT INTO seen VALUES (1)")

    results = await asyncio.gather(
        one.append(leaf(0)), one.append(leaf(1), also=also), one.append(leaf(2))
    )
    assert [done.index for done in results] == [0, 1, 2]
    assert len(calls) == 2


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected,
        psycopg.errors.DiskFull, psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.LockNotAvailable, psycopg.errors.AdminShutdown,
        psycopg.errors.TooManyConnections, psycopg.errors.QueryCanceled,
    ],
)  # fmt: skip
async def test_a_fault_that_passes_costs_time_alone(
    one: AuditLog, error: type[psycopg.Error]
) -> None:
    """What the server could not do now it does a moment later: the append is acknowledged once."""
    insert, failed = store(one).insert, []

    def fail(rows: Any) -> None:
        if not failed:
            failed.append(1)
            raise error("now is not the time")
        insert(rows)

    store(one).insert = fail  # type: ignore[method-assign]
    assert (await one.append(leaf(0))).index == 0
    assert one.healthy


async def test_a_disk_that_was_full_for_a_moment(logs: Shelf, place: Place) -> None:
    """Appends wait until there is space again, and are all acknowledged."""
    log = logs.open(place)
    logs.refuse(place)
    tasks = await piled(300, lambda number: log.append(leaf(number)))
    await asyncio.sleep(SHORT)
    assert not any(task.done() for task in tasks)
    logs.heal(place)
    assert {done.index for done in await asyncio.gather(*tasks)} == set(range(300))


async def test_no_connection_is_left_for_the_gateway(logs: Shelf, place: DatabaseUrl) -> None:
    """Where the server has no connection to give, appends wait, and then fail for good."""
    assert logs.server is not None
    schema = place.text.rpartition("%3D")[2]
    logs.server.run("CREATE ROLE narrow LOGIN", f"GRANT ALL ON SCHEMA {schema} TO narrow")
    url = f"{logs.server.url(user='narrow')}?options=-csearch_path%3D{schema}"
    alarms: list[int] = []
    patient = logs.open(DatabaseUrl.parse(url), patience_s=5.0)
    hasty = logs.open(DatabaseUrl.parse(url), patience_s=SHORT, on_failure=lambda: alarms.append(1))
    logs.server.run("ALTER ROLE narrow CONNECTION LIMIT 0")
    for log in (patient, hasty):
        end(logs, store(log)._session)
    waiting = asyncio.create_task(patient.append(leaf(0)))
    with pytest.raises(errors.LogUnavailable):
        await hasty.append(leaf(1))
    assert (hasty.healthy, alarms, waiting.done()) == (False, [1], False)
    logs.server.run("ALTER ROLE narrow CONNECTION LIMIT -1")
    assert (await waiting).index == 0


async def test_a_gateway_that_was_frozen_does_not_freeze_the_others(
    logs: Shelf, one: AuditLog, place: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that stands still is ended by the server, and its log goes on behind it."""
    monkeypatch.setattr(sessions, "LOCK_S", 1)
    monkeypatch.setattr(sessions, "IDLE_S", 1)
    frozen, other = logs.open(place), logs.open(place)
    entered, go_on = threading.Event(), threading.Event()
    calls = []

    def also(_: Connection) -> None:
        calls.append(1)
        entered.set()
        if len(calls) == 1:
            assert go_on.wait(20)

    waiting = asyncio.create_task(frozen.append(leaf(1), also=also))
    await asyncio.to_thread(entered.wait, 20)
    assert (await other.append(leaf(2))).index == 0
    go_on.set()
    assert (await waiting).index == 1
    assert verify(place).size == 2


# A server that is wrong. -------------------------------------------------------------------------


async def test_an_old_copy_is_not_continued(logs: Shelf, place: Place) -> None:
    """A database that was put back under a running gateway stops it: to go on would be a fork."""
    log, head = logs.open(place), "UPDATE log_head SET size = 1, root = ?"
    await log.append(leaf(0))
    root = log.head.root
    await log.append(leaf(1))
    logs.change(
        place,
        "DELETE FROM leaf WHERE idx = 1", "DELETE FROM checkpoint WHERE size = 2", (head, (root,)),
    )  # fmt: skip
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(2))
    assert not log.healthy
    assert verify(place).size == 1


async def test_another_history_of_the_same_size_is_not_continued(logs: Shelf, place: Place) -> None:
    """Not the size alone is compared: what another gateway wrote over an old copy is a fork."""
    log = logs.open(place)
    await log.append(leaf(0))
    logs.change(
        place, "DELETE FROM leaf", "DELETE FROM checkpoint WHERE size = 1",
        ("UPDATE log_head SET size = 0, root = ?", (merkle.EMPTY_ROOT,)),
    )  # fmt: skip
    await logs.open(place).append(leaf(9))
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    assert verify(place).size == 1


async def test_a_commit_the_server_warns_about_is_not_acknowledged(one: AuditLog) -> None:
    """A server that says it commits less durably than it should is not believed."""
    run = store(one)._session.execute

    def execute(query: Any, *rest: Any, **more: Any) -> Any:
        if query == "COMMIT":
            run("DO $$ BEGIN RAISE WARNING 'not on the standby'; END $$")
        return run(query, *rest, **more)

    store(one)._session.execute = execute  # type: ignore[method-assign]
    with pytest.raises(errors.LogUnavailable):
        await one.append(leaf(0))
    assert not one.healthy


async def test_a_server_that_stops_at_once_has_committed_what_it_acknowledged(
    one: AuditLog,
) -> None:
    """Its goodbye may arrive with the acknowledgement, and says nothing against it."""
    run = store(one)._session.execute
    goodbye = SimpleNamespace(severity_nonlocalized="WARNING", source_function="quickdie")

    def execute(query: Any, *rest: Any, **more: Any) -> Any:
        if query == "COMMIT":
            store(one)._hear(cast("Any", goodbye))
        return run(query, *rest, **more)

    store(one)._session.execute = execute  # type: ignore[method-assign]
    assert (await one.append(leaf(0))).index == 0
    assert one.healthy


def test_an_account_that_need_not_wait_for_the_disk_is_refused(place: DatabaseUrl) -> None:
    """A log is not opened where a commit returns before it is durable."""
    for value, fits in (("off", False), ("local", False), ("on", True), ("remote_apply", True)):
        url = DatabaseUrl.parse(f"{place.text}%20-csynchronous_commit%3D{value}")
        if fits:
            open_log(url).close()
            continue
        with pytest.raises(errors.Misconfigured) as caught:
            open_log(url)
        assert caught.value.code == "DATABASE_UNSAFE"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (("off", "on", "on", "UTF8"), "DATABASE_UNSAFE"),
        (("on", "off", "on", "UTF8"), "DATABASE_UNSAFE"),
        (("on", "on", "on", "SQL_ASCII"), "DATABASE_ENCODING"),
    ],
)
def test_a_server_that_does_not_keep_its_word_is_refused(found: tuple[str, ...], code: str) -> None:
    """Files that are not flushed, torn pages, and texts that cannot be held."""
    with pytest.raises(errors.Misconfigured) as caught:
        sessions.require_durable(found)
    assert caught.value.code == code


def test_a_database_of_somebody_else_is_refused(logs: Shelf, place: Place) -> None:
    """A schema with tables that this program did not make is left alone."""
    logs.change(place, "CREATE TABLE theirs (id INTEGER)")
    with pytest.raises(errors.Misconfigured) as caught:
        open_log(place)
    assert caught.value.code == "DATABASE_FOREIGN"


def test_a_database_of_another_version_is_refused(logs: Shelf, place: Place) -> None:
    """A newer schema, or another history of it, is not opened."""
    script = "CREATE TABLE seen (id INTEGER PRIMARY KEY) STRICT"
    open_log(place, migrations=(script, "CREATE TABLE more (id INTEGER)")).close()
    for migrations, code in (((script,), "DATABASE_NEWER"), (("-- x",) * 2, "DATABASE_CHANGED")):
        with pytest.raises(errors.Misconfigured) as caught:
            open_log(place, migrations=migrations)
        assert caught.value.code == code


def test_a_database_that_is_not_there_is_said_to_be_so(logs: Shelf) -> None:
    """Where nothing listens, nothing is opened, verified or copied."""
    nowhere = DatabaseUrl.parse("postgresql://nobody@127.0.0.1:1/nothing")
    for act in (open_log, verify):
        with pytest.raises(errors.Misconfigured) as caught:
            cast("Callable[[Place], object]", act)(nowhere)
        assert caught.value.code == "DATABASE_UNUSABLE"


def test_a_stranger_needs_no_right_to_write(logs: Shelf, place: DatabaseUrl, one: AuditLog) -> None:
    """Verification reads beside the gateways, with an account that may read alone."""
    assert logs.server is not None
    schema = place.text.rpartition("%3D")[2]
    logs.server.run(
        "CREATE ROLE auditor LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO auditor",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO auditor",
    )  # fmt: skip
    asyncio.run(one.append(leaf(0)))
    url = f"{logs.server.url(user='auditor')}?options=-csearch_path%3D{schema}"
    report = verify_log(DatabaseUrl.parse(url), origin=ORIGIN, public_key=PUBLIC)
    assert report.size == 1
    with pytest.raises(errors.Misconfigured):
        open_log(DatabaseUrl.parse(url))


# Reading. ----------------------------------------------------------------------------------------


async def test_a_reader_whose_session_was_ended_reads_again(logs: Shelf, one: AuditLog) -> None:
    """A small query is asked once more on a new connection; a wrong one is not."""
    await one.append(leaf(0))
    assert one.read("SELECT count(*) FROM leaf WHERE idx = ?", (0,)) == [(1,)]
    end(logs, store(one)._reader)
    assert one.read("SELECT count(*) FROM leaf WHERE idx < 5 AND '?' = '?'") == [(1,)]
    with pytest.raises(errors.LogUnavailable):
        one.read("SELECT nothing FROM nowhere")
    with pytest.raises(errors.LogUnavailable):
        one.read("DELETE FROM leaf")
    assert one.read("SELECT count(*) FROM leaf") == [(1,)]


# A server that ends. -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    """A server that tests may end; nobody else's."""
    with audit_server() as running:
        yield running


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_comes_back_in_time_is_waited_for(
    mortal: Postgres, tmp_path: Path, how: signal.Signals
) -> None:
    """Restarted or crashed under load: two gateways' appends are all acknowledged, each once."""
    with shelf(tmp_path, mortal) as logs:
        place = logs.place()
        both = [logs.open(place, patience_s=20.0) for _ in range(2)]

        async def load(log: AuditLog, worker: int) -> list[int]:
            found = []
            for number in range(40):
                done = await log.append(leaf(number * 100 + worker))
                found.append(done.index)
            return found

        # No leaf twice: each is of another query, as everywhere.
        tasks = [
            asyncio.create_task(load(log, 2 * n + k))
            for n in range(8)
            for k, log in enumerate(both)
        ]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(mortal.stop, how)
        await asyncio.to_thread(mortal.start)
        places = [index for found in await asyncio.gather(*tasks) for index in found]
        assert sorted(places) == list(range(len(places)))
        assert verify(place, (both[0].head, both[1].head)).size == len(places)


async def test_a_server_that_stays_away_stops_the_log(mortal: Postgres, tmp_path: Path) -> None:
    """After its patience the log fails for good, reads say so at once, and nothing was lost."""
    with shelf(tmp_path, mortal) as logs:
        place = logs.place()
        log = logs.open(place, patience_s=SHORT)
        await log.append(leaf(0))
        log.read("SELECT 1")
        mortal.stop()
        try:
            begun = time.monotonic()
            with pytest.raises(errors.LogUnavailable):
                await log.append(leaf(1))
            for _ in range(50):
                with pytest.raises(errors.LogUnavailable):
                    log.read("SELECT 1")
            assert time.monotonic() - begun < 5
            assert log.receipt(0).leaf == leaf(0)
        finally:
            mortal.start()
        assert not log.healthy
        assert verify(place).size == 1


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_stops_to_flush_stops_the_log(
    mortal: Postgres, tmp_path: Path, setting: str
) -> None:
    """What makes a commit durable is looked at in every transaction."""
    with shelf(tmp_path, mortal) as logs:
        place = logs.place()
        log = logs.open(place)
        await log.append(leaf(0))
        mortal.run(f"ALTER SYSTEM SET {setting} = off", "SELECT pg_reload_conf()")
        try:
            with pytest.raises(errors.LogUnavailable):
                async with asyncio.timeout(20):
                    while True:  # the server takes it up in a moment
                        await log.append(leaf(1))
            with pytest.raises(errors.Misconfigured) as caught:
                open_log(place)
            assert caught.value.code == "DATABASE_UNSAFE"
        finally:
            mortal.run(f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        assert not log.healthy


# Addresses. --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "DATABASE_URL"),
        ("mysql://a@127.0.0.1/b", "DATABASE_URL"),
        ("postgresql://127.0.0.1", "DATABASE_URL"),
        ("postgresql://a@127.0.0.1/b?nonsense=1", "DATABASE_URL"),
        ("postgresql://a@db.example/b", "DATABASE_TLS"),
        ("postgresql://a@db.example/b?sslmode=require", "DATABASE_TLS"),
        ("postgresql://a@127.0.0.1,db.example/b", "DATABASE_TLS"),
        ("postgresql:///b?hostaddr=192.0.2.1", "DATABASE_TLS"),
    ],
)
def test_an_address_that_will_not_do(text: str, code: str) -> None:
    """No address, none of PostgreSQL, or another machine that need not prove itself."""
    with pytest.raises(errors.Misconfigured) as caught:
        DatabaseUrl.parse(text)
    assert caught.value.code == code


@given(st.one_of(st.text(), st.text().map(lambda tail: f"postgresql://{tail}")))
def test_no_text_is_more_than_an_address_that_will_not_do(text: str) -> None:
    """Whatever a reference holds, it is an address or a fixed error."""
    with suppress(errors.Misconfigured):
        assert DatabaseUrl.parse(text).text == text.strip()


def test_an_address_never_shows_itself() -> None:
    """It holds a password."""
    made = DatabaseUrl.parse("postgresql://a:s3cret@db.example/b?sslmode=verify-full\n")
    assert "s3cret" not in repr(made) + str(made)
