"""A short, seeded form of ``make faults``; every judge in it is shown something to condemn."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

import pytest

from fairlead import cosigning, errors, merkle, receipts, signing
from fairlead.auditlog import verification
from fairlead.partners import Directory
from fairlead.v1 import audit_pb2, witness_pb2
from tests import postgres
from tests.faults import (
    accepting,
    injections,
    kills,
    power,
    run,
    strace,
    subject,
    tampering,
    verifying,
)
from tests.faults.appending import ROOT
from tests.faults.disk import Disk, File, Tearing, Write
from tests.faults.verdict import FULL, QUICK, SHARED, Result, judge, table
from tests.processes import unprivileged
from tests.walks import make_world
from tests.witnessing import Place, Town, opened

pytestmark = pytest.mark.timeout(240)
traced = pytest.mark.usefixtures("strace_is_here")


@pytest.fixture
def strace_is_here() -> None:
    if strace.available():
        return
    if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
        pytest.fail(strace.MISSING)
    pytest.skip(strace.MISSING)


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────


def test_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Five kill -9 under load: every acknowledged leaf is there, and every byte has its leaves."""
    found = kills.lane(tmp_path, 5, 1, lines=700)
    assert found.kills == 5
    assert found.kept.acked > 100
    assert found.kept.bytes_out > 0
    assert (found.kept.lost, found.kept.unbacked, found.kept.troubles) == (0, 0, set())


def test_a_writer_that_promises_before_it_commits_is_caught(tmp_path: Path) -> None:
    """The control: acknowledged before the commit, leaves are lost and bytes out without theirs."""
    found = kills.lane(tmp_path, 3, 2, "--early", lines=700)
    assert found.kept.lost > 0


# ── Calls that fail ──────────────────────────────────────────────────────────────────────────


@traced
def test_a_failing_call_refuses_or_changes_nothing(tmp_path: Path) -> None:
    """EIO, ENOSPC and SIGKILL at calls of every kind: refused or durable, and every log goes on."""
    points = injections.survey(tmp_path)
    calls = Counter(point.call for point in points if point.part == injections.APPEND)
    assert calls["pwrite64"] > 30
    assert calls["fdatasync"] > 9
    found = injections.inject(tmp_path / "points", one_of_each(points))
    assert found.injected == found.recovered > 20
    assert found.refused > 5
    assert (found.kept.lost, found.kept.unbacked, found.kept.troubles) == (0, 0, set())


def one_of_each(points: list[injections.Point]) -> Iterator[injections.Point]:
    """One fault at a random occurrence of each call, and every fault at the first flush."""
    chance = random.Random(3)
    kinds = sorted({(point.part, point.call) for point in points})
    for part, call in kinds:
        yield chance.choice([point for point in points if (point.part, point.call) == (part, call)])
    flushes = [p for p in points if (p.part, p.call) == (injections.APPEND, "fdatasync")]
    yield from flushes[: len(injections.FAULTS)]


@traced
def test_a_flush_that_fails_stops_the_log(tmp_path: Path) -> None:
    """EIO from the flush of the first append: that append and every later one is refused."""
    point = injections.Point(
        part=injections.APPEND, call="fdatasync", occurrence=1, fault="error=EIO"
    )
    found = injections.inject(tmp_path, [point])
    assert (found.injected, found.refused, found.recovered) == (1, 1, 1)
    assert found.kept.acked == 0


@traced
def test_an_early_promise_is_caught_at_the_flush(tmp_path: Path) -> None:
    """The control: killed at its first flush, a writer that promises early has lost leaves."""
    points = [
        injections.Point(
            part=injections.APPEND, call="pwrite64", occurrence=number, fault="signal=SIGKILL"
        )
        for number in (1, 2, 3)
    ]
    assert injections.inject(tmp_path, points, "--early").kept.lost > 0


# ── Power cuts ───────────────────────────────────────────────────────────────────────────────


@traced
def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Sixteen cuts, unflushed sectors there or not: everything promised before is there."""
    found = power.rounds(tmp_path, 2, 8, 1)
    assert found.rounds == 16
    assert found.torn > 3
    assert found.kept.acked > 0
    assert (found.kept.lost, found.kept.unbacked, found.kept.troubles) == (0, 0, set())


@traced
def test_without_a_flush_at_each_commit_power_cuts_lose(tmp_path: Path) -> None:
    """The control: with synchronous=NORMAL the same cuts lose acknowledged leaves."""
    assert power.rounds(tmp_path, 1, 8, 1, "--synchronous", "NORMAL").kept.lost > 0


def test_a_disk_keeps_what_was_flushed_and_perhaps_the_rest(tmp_path: Path) -> None:
    """What is flushed is there after every cut, and sectors of what is not may be there or not."""
    disk = Disk(files={"log": File(durable=bytearray(b"a" * 1024))})
    disk.flush_names()
    disk.files["log"].pending.append(Write(512, b"b" * 1024))
    seen = set()
    for seed, tearing in enumerate(list(Tearing) * 12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        disk.cut(folder, tearing, random.Random(seed))
        content = (folder / "log").read_bytes()
        assert content[:512] == b"a" * 512
        seen.add(content)
    assert {b"a" * 1024, b"a" * 512 + b"b" * 1024, b"a" * 1024 + b"b" * 512} <= seen
    disk.files["log"].flush()
    disk.cut(tmp_path, Tearing.NOTHING, random.Random(1))
    assert (tmp_path / "log").read_bytes() == b"a" * 512 + b"b" * 1024


def test_a_name_is_there_for_sure_once_its_folder_was_flushed(tmp_path: Path) -> None:
    """A new file may be gone after a cut, and a removed one back, until the folder is flushed."""
    disk = Disk(files={"old": File(durable=bytearray(b"old"))})
    disk.flush_names()
    disk.opened("new", create=True, truncate=False)
    disk.removed("old")
    seen = set()
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        disk.cut(folder, Tearing.NOTHING, random.Random(seed))
        seen.add(tuple(sorted(path.name for path in folder.iterdir())))
    assert seen == {(), ("new",), ("old",), ("new", "old")}
    disk.flush_names()
    disk.cut(tmp_path, Tearing.NOTHING, random.Random(1))
    assert (tmp_path / "new").exists()
    assert not (tmp_path / "old").exists()


# ── Tampering ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> verifying.Original:
    return verifying.original(tmp_path_factory.mktemp("original"))


def test_every_tampering_is_found(made: verifying.Original, tmp_path: Path) -> None:
    """Tamperings of every kind are found by the file alone or by heads that others hold."""
    found = verifying.play(tmp_path, made, 6 * len(tampering.KINDS), 1)
    assert (found.missed, found.crashed) == (Counter(), Counter())
    assert found.detected == found.tampered == 6 * len(tampering.KINDS)
    needed = {kind.__name__ for kind in (*tampering.HEADS, *tampering.INSIDER)}
    assert needed <= found.by_heads.keys() <= needed | {"octets_in_the_file"}
    assert {kind.__name__ for kind in tampering.FILE} <= found.alone.keys()


class Watched(Town):
    """Witnesses whose directory names the log under test."""

    @property
    def directory(self) -> Directory:
        """See :attr:`Town.directory`."""
        found = super().directory
        entry = replace(found.gateway, log_origin=subject.ORIGIN, log_key=subject.PUBLIC)
        return replace(found, gateways=MappingProxyType({entry.spiffe_id: entry}))


async def next_round(place: Place, town: Town, path: Path) -> str:
    """A log goes on until it is longer than what a witness cosigned last, and is shown to it."""
    log, known = subject.open_log(path), place.heads.size
    try:
        while log.head.size <= known:
            await log.append(subject.leaf(audit_pb2.LEAF_TYPE_CASE, os.urandom(16)))
        request = witness_pb2.AddCheckpointRequest(
            old_size=known,
            consistency=log.consistency(known, log.head.size),
            checkpoint=log.checkpoint(),
        )
    finally:
        log.close()
    return str((await place.witness.add(request, town.gateway)).WhichOneof("result"))


async def test_a_witness_finds_at_its_next_cosignature_what_the_file_hides(
    made: verifying.Original, tmp_path: Path
) -> None:
    """A log that was rolled back, restored or rewritten under its own key, and went on, is a fork
    to whoever cosigned before; the same log untouched is cosigned."""
    town = Watched.of(make_world(tmp_path / "keys"), 4)
    with opened(tmp_path / "witness", town, "w-00") as place:
        await place.witness.open()
        honest = Path(shutil.copy(made.path, tmp_path / "honest.sqlite"))
        for _ in range(2):
            assert await next_round(place, town, honest) == "cosignature"
        hidden = (tampering.rolled_back, tampering.older_file, tampering.rewritten)
        for seed, kind in enumerate(hidden):
            path = Path(shutil.copy(made.path, tmp_path / f"{seed}.sqlite"))
            verifying.tamper(kind, path, made, random.Random(seed))
            subject.verify(path)
            assert await next_round(place, town, path) == "fork"
        assert len(place.leaves(audit_pb2.LEAF_TYPE_ALARM)) == len(hidden)


def test_every_column_of_a_log_is_bound_or_said_not_to_be(made: verifying.Original) -> None:
    """A column that verification does not look at is one that nothing rests on, and is listed."""
    log = subject.open_log(made.path)
    try:
        for table, bound in tampering.BOUND.items():
            columns = {
                name for (name,) in log.read("SELECT name FROM pragma_table_info(?)", (table,))
            }
            assert columns == {*bound, *tampering.UNBOUND.get(table, ())}
    finally:
        log.close()


def test_verification_without_one_check_misses(
    made: verifying.Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the check of the batches, or of who signed, tamperings are missed."""
    monkeypatch.setattr(verification, "require_kept", lambda *_: 0)
    found = verifying.play(tmp_path / "1", made, 4, 1, (tampering.batch_edited,))
    assert found.missed == Counter(batch_edited=4)
    monkeypatch.undo()
    opened = receipts.open_checkpoint_of
    keys = [subject.PUBLIC, signing.public_bytes(subject.FOREIGN)]
    monkeypatch.setattr(
        receipts, "open_checkpoint_of", lambda text, origin, _keys: opened(text, origin, keys)
    )
    found = verifying.play(tmp_path / "2", made, 4, 1, (tampering.checkpoint_of_another,))
    assert found.missed == Counter(checkpoint_of_another=4)


# ── Proofs ───────────────────────────────────────────────────────────────────────────────────


def test_no_changed_proof_is_accepted() -> None:
    """Six thousand changed proofs, notes and receipts: what is accepted says what was signed."""
    tried = accepting.play(6000, 1)
    assert (tried.accepted, tried.crashed) == (Counter(), Counter())
    assert all(tried.mutated[name] > 500 for name in ("inclusion", "consistency", "checkpoint"))
    assert all(tried.mutated[name] > 500 for name in ("tlog-proof", "receipt", "fork"))
    assert all(tried.mutated[name] > 500 for name in ("relabelled", "cosignature"))


@pytest.mark.parametrize(
    ("check", "games"),
    [
        ("verify_inclusion", {"inclusion", "tlog-proof", "receipt"}),
        ("verify_consistency", {"consistency", "fork"}),
    ],
)
def test_a_verifier_without_one_check_accepts(
    monkeypatch: pytest.MonkeyPatch, check: str, games: set[str]
) -> None:
    """The control: with one proof not verified, changed ones are accepted."""
    monkeypatch.setattr(merkle, check, lambda **_: None)
    assert games <= accepting.play(1500, 1).accepted.keys()


def test_a_cosignature_is_one_line() -> None:
    """A newline before or behind it would move what the other signatures of the note are about."""
    note = accepting.world().main.notes[5]
    line = cosigning.cosign(note, accepting.WITNESS, accepting.WITNESS_KEY, accepting.MOMENT)
    public = signing.public_bytes(accepting.WITNESS_KEY)
    for changed in (f"\n{line}", f"{line}\n"):
        with pytest.raises(errors.InvalidInput):
            cosigning.verify_cosignature(changed, note, name=accepting.WITNESS, public_key=public)


def test_a_cosignature_that_does_not_bind_its_checkpoint_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: witnesses who sign only the time are taken to vouch for anything."""
    monkeypatch.setattr(cosigning, "_message", lambda _text, moment: str(moment).encode())
    assert "cosignature" in accepting.play(1500, 1).accepted


def test_a_verifier_without_signatures_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with any key taken for the log's, checkpoints of a stranger are accepted."""

    opened = receipts.open_note

    def careless(note: str, *, name: str, public_key: bytes) -> str:
        try:
            return opened(note, name=name, public_key=public_key)
        except errors.Forged:
            return note.rpartition("\n\n")[0] + "\n"

    monkeypatch.setattr(receipts, "open_note", careless)
    assert {"checkpoint", "tlog-proof"} <= accepting.play(1500, 1).accepted.keys()


# ── What else can go wrong with a file ───────────────────────────────────────────────────────


DAMAGE = {
    "batch points to another leaf": "UPDATE decision_batch SET leaf = leaf + 1 WHERE number = 4",
    "sealed key is none": "UPDATE decision_key SET sealed = NULL",
    "batch is a number": "UPDATE decision_batch SET body = 7 WHERE number = 4",
    "detail is a number": "UPDATE leaf SET detail = 7 WHERE idx = 5",
    "detail is none": "UPDATE leaf SET detail = NULL WHERE length(detail) = 0",
    "hash is none": "UPDATE leaf SET hash = NULL WHERE idx = 5",
    "note is a number": "UPDATE checkpoint SET note = 7",
    "text is none": "UPDATE checkpoint SET note = CAST(x'a0a1a2' AS TEXT)",
}


@pytest.mark.parametrize("script", DAMAGE.values(), ids=DAMAGE.keys())
def test_values_of_another_kind_are_found(
    made: verifying.Original, tmp_path: Path, script: str
) -> None:
    """A file without its own rules may hold anything in any column: it is an error of ours."""
    path = Path(shutil.copy(made.path, tmp_path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute(
            "UPDATE sqlite_master SET sql = replace(replace(sql, ' STRICT', ''), 'NOT NULL', '')"
            " WHERE type = 'table' AND name IN ('leaf', 'checkpoint', 'decision_batch')"
        )
        database.execute(
            "UPDATE sqlite_master SET sql = replace(replace(sql, 'STRICT, ', ''), 'NOT NULL', '')"
            " WHERE name = 'decision_key'"
        )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(script)
    with pytest.raises(errors.Forged):
        subject.verify(path)
    with contextlib.suppress(errors.FairleadError):
        subject.open_log(path).close()


def test_a_file_whose_own_names_are_damaged_is_unusable(
    made: verifying.Original, tmp_path: Path
) -> None:
    """Where SQLite quotes in its message what was text once, that is an error of ours too."""
    path = tmp_path / "log.sqlite"
    octets = made.path.read_bytes()
    assert octets.count(b"tableleafleaf") == octets.count(b"CREATE TABLE leaf") == 1
    octets = octets.replace(b"tableleafleaf", b"table\xa0\xa1\xa2\xa3leaf")
    path.write_bytes(octets.replace(b"CREATE TABLE leaf", b"CREATE TABLX leaf"))
    for use in (subject.verify, subject.open_log):
        with pytest.raises(errors.Misconfigured) as caught:
            use(path)
        assert caught.value.code == "DATABASE_UNUSABLE"


def test_a_file_on_a_read_only_medium_is_verified_and_not_written(tmp_path: Path) -> None:
    """A log that lies read-only is proved from and verified, and does not start."""
    made = verifying.original(tmp_path / "made")
    folder = tmp_path / "medium"
    folder.mkdir()
    copy = Path(shutil.copy(made.path, folder))
    script = (
        "import sys; from pathlib import Path; from tests.faults import subject;"
        "from fairlead import errors\n"
        "path = Path(sys.argv[1]); print(subject.verify(path).size)\n"
        "try: subject.open_log(path)\n"
        "except errors.Misconfigured as error: print(error.code)"
    )
    copy.chmod(0o400)
    folder.chmod(0o500)
    launcher = unprivileged()
    if launcher == ("false",):
        pytest.skip("file modes do not bind the superuser: apt-get install util-linux (setpriv)")
    done = subprocess.run(
        [*launcher, sys.executable, "-c", script, str(copy)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder.chmod(0o700)
    assert done.stdout.split() == [str(made.heads[-1].size), "DATABASE_UNUSABLE"]


# ── The whole ────────────────────────────────────────────────────────────────────────────────


def test_the_last_line_says_no_when_anything_is_wrong() -> None:
    """Whatever was lost, missed, accepted or not recovered, and a control that finds nothing."""
    good = {
        "kills": QUICK.kills, "acked": 9, "injected": 5, "recovered": 5, "power_rounds": 6,
        "control_lost": 3, "tampered": QUICK.tampered, "detected": QUICK.tampered,
        "proofs_mutated": 4000,
    }  # fmt: skip
    assert verdict(good) == "ok"
    for wrong in (
        {"lost": 1}, {"recovered": 4}, {"control_lost": 0}, {"detected": 79}, {"accepted": 1},
        {"kills": 3}, {"tampered": 79, "detected": 79}, {"injected": 0, "recovered": 0},
    ):  # fmt: skip
        assert verdict(good | wrong) == "failed"
    result = Result()
    result.line |= good
    result.troubles.append("anything else")
    judge(result, QUICK)
    assert result.line["faults"] == "failed"


def test_without_a_server_the_run_says_so_and_fails_where_all_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was left out stands in the table, and is a trouble for whoever demands everything."""
    monkeypatch.setattr(postgres, "installed", lambda: None)
    shop = SimpleNamespace(folder=tmp_path, seed=1)
    for demanded, troubles in (("", 0), ("1", 1)):
        monkeypatch.setenv("FAIRLEAD_REQUIRE_ALL", demanded)
        result = Result()
        run._kill_shared(cast("run.Shop", shop), FULL, result)
        assert "LEFT OUT: no PostgreSQL" in table(result)
        assert (result.left_out, len(result.troubles)) == ([SHARED], troubles)
        result.line |= {
            "kills": FULL.kills + FULL.gateway_kills, "acked": 100_000, "injected": 200,
            "recovered": 200, "power_rounds": 20, "control_lost": 1, "tampered": FULL.tampered,
            "detected": FULL.tampered, "proofs_mutated": 500_000,
        }  # fmt: skip
        judge(result, FULL)
        assert result.line["faults"] == ("failed" if demanded else "ok")
        result.left_out.clear()
        judge(result, FULL)
        assert result.line["faults"] == "failed", "twenty kills are missing"


def verdict(line: dict[str, int]) -> str:
    result = Result()
    result.line |= line
    judge(result, QUICK)
    return str(result.line["faults"])
