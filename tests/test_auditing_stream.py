"""What a SIEM is told: documented fields alone, no term, and every leaf whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from fairlead import merkle, signing
from fairlead.auditing.events import EVENTS, FIELDS, TOLD, WITHHELD, event, line
from fairlead.auditing.file import open_live
from fairlead.auditing.stream import Cursor, Target, pending, run
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured, Stale
from fairlead.telemetry import SECRET
from fairlead.v1 import audit_pb2 as pb
from tests.federation import ROOT
from tests.small_log import ACTIVE, KEY, ORIGIN, Clock, any_leaf, intent, make_log, story
from tests.test_documentation import table_after, text_of

PARTS = {"partner_id", "status", "reason", "query_id"}
"""Members of the two lists, as the page names them."""


# ── The schema ───────────────────────────────────────────────────────────────────────────────


def test_the_documented_fields_are_those_of_the_code() -> None:
    """docs/audit.md has each field with its meaning, and each type of leaf with its event."""
    rows = table_after(text_of("docs/audit.md"), "siem: fields")
    assert {row[0].strip("`"): row[1] for row in rows} == dict(FIELDS)
    told = table_after(text_of("docs/audit.md"), "siem: types")
    assert {row[0].strip("`"): (row[1].strip("`"), row[2].strip("`")) for row in told} == {
        pb.LeafType.Name(kind).removeprefix("LEAF_TYPE_"): event for kind, event in EVENTS.items()
    }


def test_every_type_of_leaf_is_told_and_every_field_was_thought_about() -> None:
    """A new type, or a new field, of a leaf fails here until somebody classified it."""
    assert set(EVENTS) == set(pb.LeafType.values()) - {pb.LEAF_TYPE_UNSPECIFIED}
    fields = {field.name for field in pb.AuditLeaf.DESCRIPTOR.fields}
    assert fields == TOLD | WITHHELD
    assert not TOLD & WITHHELD


@settings(max_examples=200, deadline=None)
@given(leaf=any_leaf())
def test_no_other_field_and_no_free_text_ever_appears(leaf: pb.AuditLeaf) -> None:
    """Whatever a leaf holds, a line has documented fields alone, and a term fits into none."""
    body = signing.canonical(leaf)
    told = json.loads(line(7, body))
    assert set(told) <= set(FIELDS)
    assert told["event.id"] == merkle.leaf_hash(body).hex()
    for value in told.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                assert set(item) <= PARTS
    text = json.dumps(told)
    for secret in ("MSCU6639870", "74-BXK-3", "a b", "\\u001b"):
        assert secret not in text


def test_digests_signatures_and_commitments_stay_in_the_log() -> None:
    """What is withheld is in no line, in no spelling."""
    octets = {name: bytes([place]) * 32 for place, name in enumerate(sorted(WITHHELD), 160)}
    others = {"signatures", "checkpoints", "rules", "opened_since", "opened_until"}
    others.add("erased_until_ms")
    single = {n: o for n, o in octets.items() if n not in others}
    body = signing.canonical(
        pb.AuditLeaf(
            type=pb.LEAF_TYPE_INTENT,
            signatures=[octets["signatures"]],
            checkpoints=["a-note"],
            rules=["a-rule"],
            **single,  # type: ignore[arg-type]
        )
    )
    text = line(0, body).decode()
    assert not any(value.hex() in text for value in octets.values())
    assert "a-note" not in text
    assert "a-rule" not in text


def test_an_unknown_type_tells_nothing_but_that_it_is_there() -> None:
    """A leaf of a later release is one line, without any of its content."""
    told = event(3, signing.canonical(pb.AuditLeaf(type=99, user="x", subject="y")))  # type: ignore[arg-type]
    assert told["event.action"] == "unknown"
    assert set(told) == {
        "@timestamp", "ecs.version", "event.kind", "event.action", "event.outcome",
        "event.module", "event.dataset", "event.sequence", "event.id",
    }  # fmt: skip


def test_honest_leaves_are_told_in_full() -> None:
    """Names and codes of the federation fit their shapes; a claim of a refused caller does not."""
    told = [event(number, body) for number, body in enumerate(story())]
    assert told[1]["user.id"] == "spiffe://fairlead.demo/partner/customs/user/u-1"
    assert told[1]["observer.name"] == "partner/customs"
    assert told[1]["fairlead.schemes"] == ["container"]
    assert told[2]["fairlead.partners"][1] == {
        "partner_id": "police", "status": "refused", "reason": "PURPOSE_NOT_COVERED",
    }  # fmt: skip
    assert told[7]["fairlead.purpose"] == SECRET
    assert (told[7]["event.outcome"], told[9]["event.kind"]) == ("failure", "alert")
    assert told[9]["fairlead.subject"] == "desk,night-desk"
    assert SECRET not in json.dumps([told[n] for n in range(10) if n != 7], ensure_ascii=False)


def test_figures_are_told_by_cube_level_and_period_and_without_digests() -> None:
    """Which figures, and how many took part; neither the list nor what was said."""
    about = pb.FiguresLeaf(
        cube="displacement", cube_version=2, level="quarter,shore,event-family",
        period="2026-Q1..2026-Q3", participants=7, list_digest=b"\xa1" * 32,
        statement_digest=b"\xa2" * 32,
    )  # fmt: skip
    body = signing.canonical(
        pb.AuditLeaf(type=pb.LEAF_TYPE_FIGURES, subject="figures-asked", figures=about)
    )
    told = event(0, body)
    assert {n: v for n, v in told.items() if n.startswith("fairlead.figures")} == {
        "fairlead.figures.cube": "displacement",
        "fairlead.figures.level": "quarter,shore,event-family",
        "fairlead.figures.period": "2026-Q1..2026-Q3",
        "fairlead.figures.version": 0,
        "fairlead.figures.participants": 7,
    }
    assert not any(octet * 32 in line(0, body).decode() for octet in ("a1", "a2"))


@pytest.mark.parametrize(
    "subject",
    [
        "/fairlead.v1.AuditReadingService/ListLeaves", "DecisionService.ReadDecisions",
        "deny-list/customs", "source/gate-moves", "audit-listed", "checkpoint-stamped",
        "policy-local", "index", "unknown",
    ],
)  # fmt: skip
def test_the_products_own_subjects_fit(subject: str) -> None:
    """What happened is told in the log's own words."""
    body = signing.canonical(pb.AuditLeaf(type=pb.LEAF_TYPE_REFUSAL, subject=subject))
    assert event(0, body)["fairlead.subject"] == subject


# ── Delivery ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.sqlite"
    make_log(path, story())
    return path


def sequences(path: Path) -> list[int]:
    """Sequence numbers of the whole lines of a file; a torn one is skipped, as a shipper does."""
    found = []
    for text in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(text)["event.sequence"])
        except ValueError:
            continue
    return found


def test_a_stream_goes_on_where_it_ended(log: Path, tmp_path: Path) -> None:
    """A second run tells nothing twice, and a rotated file begins anew without a gap."""
    target = Target(path=tmp_path / "siem.jsonl")
    with open_live(log) as read:
        assert run(read, target.put, target.cursor(), follow=False).index == 10
        assert run(read, target.put, target.cursor(), follow=False).index == 10
    assert sequences(target.path) == list(range(10))
    target.path.rename(tmp_path / "siem.jsonl.1")
    with open_live(log) as read:
        target.put(b"".join(one for _, one in pending(read, Cursor(9))), Cursor(10, bytes(32)))
    assert sequences(target.path) == [9]
    assert target.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", [0, 1, 30, 400])
def test_a_line_that_a_crash_cut_is_told_again(log: Path, tmp_path: Path, kept: int) -> None:
    """The cursor has not moved, so the torn line comes once more, on a line of its own."""
    target = Target(path=tmp_path / "siem.jsonl")
    with open_live(log) as read:
        whole = b"".join(one for _, one in pending(read, Cursor()))
        if kept:
            target.put(whole[:kept], Cursor())
            target.cursor_path.unlink()
        run(read, target.put, target.cursor(), follow=False)
    assert set(sequences(target.path)) == set(range(10))


def test_the_cursor_moves_only_when_the_lines_are_on_the_disk(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the lines cannot be flushed the cursor stays, and the next run tells them."""
    target = Target(path=tmp_path / "siem.jsonl")
    real = os.fsync
    broken = [True]

    def fsync(handle: int) -> None:
        if broken[0]:
            raise OSError
        real(handle)

    monkeypatch.setattr("fairlead.auditing.stream.os.fsync", fsync)
    with open_live(log) as read:
        with pytest.raises(Misconfigured):
            run(read, target.put, target.cursor(), follow=False)
        assert target.cursor() == Cursor()
        broken[0] = False
        run(read, target.put, target.cursor(), follow=False)
    assert set(sequences(target.path)) == set(range(10))


@pytest.mark.parametrize(
    "text", ["", "x\n", "1\n", f"-1 {64 * '0'}\n", f"1 {64 * '0'}", f"１ {64 * '0'}\n", "1 00\n"]
)
def test_a_damaged_cursor_is_not_guessed(tmp_path: Path, text: str) -> None:
    """Nothing is skipped because a cursor was misread."""
    target = Target(path=tmp_path / "siem.jsonl")
    target.cursor_path.write_text(text)
    with pytest.raises(Misconfigured):
        target.cursor()


def test_a_log_that_lost_its_end_is_said_to(log: Path) -> None:
    """A cursor ahead of the log is evidence, not an empty stream."""
    with open_live(log) as read, pytest.raises(Stale):
        list(pending(read, Cursor(11)))


def test_a_log_put_in_the_place_of_another_is_said_to(log: Path, tmp_path: Path) -> None:
    """A restored copy that has grown past the cursor is another log, and not gone on with."""
    target = Target(path=tmp_path / "siem.jsonl")
    with open_live(log) as read:
        run(read, target.put, target.cursor(), follow=False)
    other = tmp_path / "other.sqlite"
    make_log(other, [*story()[:5], *(intent(n, mandate=n) for n in range(50, 60))])
    with open_live(other) as read, pytest.raises(Stale):
        run(read, target.put, target.cursor(), follow=False)


def test_following_tells_what_becomes_durable(log: Path) -> None:
    """Beside the process that writes, each look tells what came since the last one."""
    told: list[bytes] = []
    looks = iter(range(3))

    async def append(number: int) -> None:
        made = AuditLog.open(log, origin=ORIGIN, key=KEY, clock=Clock(), migrations=ACTIVE)
        await made.append(intent(number, mandate=number))
        made.close()

    def sleep(_: float) -> None:
        look = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        asyncio.run(append(20 + look))

    with open_live(log) as read, pytest.raises(KeyboardInterrupt):
        run(read, lambda lines, _: told.append(lines), Cursor(8), follow=True, sleep=sleep)
    assert [chunk.count(b"\n") for chunk in told] == [2, 1, 1, 1]
    numbers = [json.loads(one)["event.sequence"] for one in b"".join(told).splitlines()]
    assert numbers == list(range(8, 13))


def test_no_leaf_is_lost_when_the_stream_is_killed(tmp_path: Path) -> None:
    """Killed at any moment, five times, the file and its cursor still lead to every leaf."""
    log = tmp_path / "audit.sqlite"
    make_log(log, [intent(n, mandate=n % 9) for n in range(2000)], commits=400)
    target, dice = Target(path=tmp_path / "siem.jsonl"), random.Random(7)
    program = (
        "import sys; from pathlib import Path\n"
        "from fairlead.auditing.file import open_live\n"
        "from fairlead.auditing import stream\n"
        "stream.STEP = 16\n"
        "target = stream.Target(path=Path(sys.argv[2]))\n"
        "print('ready', flush=True)\n"
        "with open_live(Path(sys.argv[1])) as read:\n"
        "    stream.run(read, target.put, target.cursor(), follow=True)\n"
    )
    killed = 0
    while killed < 5:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(log), str(target.path)],
            stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        killed += 1
    assert target.cursor().index <= len(set(sequences(target.path))) < 2001
    with open_live(log) as read:
        run(read, target.put, target.cursor(), follow=False)
    assert set(sequences(target.path)) == set(range(2000))
