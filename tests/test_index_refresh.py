"""node.index, refreshed while it serves: nothing hidden, nothing lost, nothing kept too long."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import Misconfigured, SourceUnusable
from node.index import Index, IndexWriter, Progress, applying, verify_index
from node.index.plan import WHOLE_S
from node.index.retention import SWEEP_S
from tests.refreshed import DAY_S, KEYS, NOW, Memory, Table, box, refresh, row, shorten, whole

ROOT = Path(__file__).resolve().parents[1]
ROWS = 200


def opened(path: Path, now: float = NOW) -> Index:
    """A reader."""
    return Index.open(path, clock=lambda: now, **KEYS)


def places(path: Path, *numbers: int, now: float = NOW) -> list[list[str]]:
    """Where each container was seen."""
    index = opened(path, now)
    try:
        return [sorted(str(r.fields["place"]) for r in index.lookup(box(n))) for n in numbers]
    finally:
        index.close()


def held(path: Path, most: int, now: float = NOW) -> set[int]:
    """The containers that are found."""
    index = opened(path, now)
    try:
        return {n for n in range(most) if index.lookup(box(n))}
    finally:
        index.close()


def root(path: Path) -> bytes:
    """The root, once the whole was verified."""
    return verify_index(path, progress=lambda _done, _total: None, **KEYS).root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the index of a test stands."""
    return tmp_path / "index.sqlite"


# ── What is read, and what becomes of it ─────────────────────────────────────────────────────


def test_a_part_whose_stamp_is_the_same_is_not_read_again(path: Path) -> None:
    """Two refreshes of an unchanged source read it once and leave the same root."""
    source = Memory({"a": Table([row(1)], stamp="1"), "b": Table([row(2)], stamp="1")})
    refresh(path, source)
    before = root(path)
    source.tables["b"] = Table([row(3)], stamp="2")
    refresh(path, source)
    assert source.asked == [("a", ""), ("b", ""), ("b", "")]
    assert held(path, 5) == {1, 3}
    source.tables["b"] = Table([row(2)], stamp="3")
    refresh(path, source)
    assert root(path) == before


def test_a_part_read_whole_replaces_what_it_held(path: Path) -> None:
    """Changed rows change, rows that did not come again go, the others keep their reference."""
    refresh(path, Memory({"a": Table([row(n) for n in range(10)])}))
    index = opened(path)
    before = {n: index.lookup(box(n))[0].ref for n in range(10)}
    changed = [row(n, place="Gate 9" if n == 4 else "Gate 7") for n in range(9)]
    state = refresh(path, Memory({"a": Table(changed)}))
    after = {n: index.lookup(box(n))[0].ref for n in range(9)}
    assert {n for n in after if after[n] != before[n]} == {4}
    assert index.lookup(box(9)) == []
    assert (state.records, index.records) == (9, 9)
    index.close()
    assert places(path, 4) == [["Gate 9"]]
    root(path)


def test_a_part_that_appends_is_read_behind_its_mark(path: Path) -> None:
    """What comes behind the mark is added, replaces its own origin, and takes nothing else."""
    source = Memory({"a": Table([row(1), row(2)], stamp="1", appends=True)})
    refresh(path, source)
    source.tables["a"].rows += [row(3), row(2, place="Gate 9")]
    source.tables["a"].stamp = "2"
    state = refresh(path, source)
    assert source.asked == [("a", ""), ("a", "2")]
    assert places(path, 1, 2, 3) == [["Gate 7"], ["Gate 9"], ["Gate 7"]]
    assert (state.records, state.rows) == (3, 4)
    root(path)


def test_a_part_that_appends_is_read_whole_once_a_day(path: Path) -> None:
    """A row deleted at the source goes within a day although nothing said so."""
    source = Memory({"a": Table([row(n) for n in range(6)], stamp="1", appends=True)})
    refresh(path, source)
    del source.tables["a"].rows[2]
    source.tables["a"].stamp = "2"
    refresh(path, source, now=NOW + WHOLE_S - 1)
    assert held(path, 9) == {0, 1, 2, 3, 4, 5}
    refresh(path, source, now=NOW + WHOLE_S)
    assert held(path, 9) == {0, 1, 3, 4, 5}


def test_another_mapping_reads_everything_again(path: Path) -> None:
    """Under a changed mapping no stamp and no mark counts."""
    source = Memory({"a": Table([row(1)], stamp="1", appends=True)})
    refresh(path, source, mapping="one")
    refresh(path, source, mapping="two")
    assert source.asked == [("a", ""), ("a", "")]


def test_a_part_that_vanished_takes_its_records_along(path: Path) -> None:
    """A file that is no longer there answers no longer."""
    source = Memory({str(n): Table([row(n)], stamp="1") for n in range(8)})
    refresh(path, source)
    del source.tables["3"]
    refresh(path, source)
    assert held(path, 9) == {0, 1, 2, 4, 5, 6, 7}
    root(path)


def test_a_source_that_is_no_more_is_dropped(path: Path) -> None:
    """What a refresh does not name any more goes with all its records."""
    refresh(path, Memory({"a": Table([row(1)])}, name="gate"), names=["quay"])
    refresh(path, Memory({"a": Table([row(2)])}, name="quay"), names=["gate"])
    assert held(path, 5) == {1, 2}
    refresh(path, Memory({"a": Table([row(2)])}, name="quay"))
    assert held(path, 5) == {2}
    root(path)


def test_one_origin_twice_in_a_reading_is_the_last_one(path: Path) -> None:
    """Of two versions of one row in one reading, the later one is held, found and verified."""
    rows = [row(1, "x"), row(2), row(3, "x", place="Gate 9")]
    state = refresh(path, Memory({"a": Table(rows)}))
    assert places(path, 1, 2, 3) == [[], ["Gate 7"], ["Gate 9"]]
    assert state.records == 2
    root(path)


_OP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 30), st.integers(0, 3)),
    st.tuples(st.just("take"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("refresh"), st.just(0), st.just(0)),
)


@settings(max_examples=25, deadline=None)
@given(operations=st.lists(_OP, max_size=25), appends=st.booleans(), batch=st.integers(1, 9))
def test_any_history_leaves_what_the_source_holds(
    operations: list[tuple[str, int, int]], appends: bool, batch: int
) -> None:
    """Whatever was put, changed and taken between refreshes, the index ends as the source is."""
    usual, applying.APPLY_ROWS = applying.APPLY_ROWS, batch
    log: list[tuple[int, int]] = []  # what an appending table says: (row, version)
    now: dict[int, int] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "index.sqlite"
        stamp = 0
        try:
            for what, number, version in [*operations, ("refresh", 0, 0)]:
                stamp += 1
                if what == "put":
                    now[number] = version
                    log.append((number, version))
                elif what == "take" and not appends:
                    now.pop(number, None)
                elif what == "refresh":
                    rows = log if appends else sorted(now.items())
                    table = Table(
                        [row(n + 100 * v, n) for n, v in rows],
                        stamp=str(stamp),
                        appends=appends,
                    )
                    state = refresh(path, Memory({"a": table}), accept=True)
                    assert held(path, 400) == {n + 100 * v for n, v in now.items()}
                    assert state.records == len(now)
            root(path)
        finally:
            applying.APPLY_ROWS = usual


# ── While it is refreshed ────────────────────────────────────────────────────────────────────


def test_no_transaction_of_a_refresh_hides_a_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although every row moves to another origin, each is found after every transaction."""
    monkeypatch.setattr(applying, "APPLY_ROWS", 5)
    refresh(path, Memory({"a": Table([row(n) for n in range(60)])}))
    index = opened(path)
    seen: list[int] = []

    def look(progress: Progress) -> None:
        if progress.phase == "apply":
            seen.append(sum(bool(index.lookup(box(n))) for n in range(60)))

    refresh(path, Memory({"a": Table([row(n, n + 1) for n in range(60)])}), watch=look)
    assert len(seen) > 10
    assert set(seen) == {60}
    assert index.records == 60
    index.close()
    root(path)


def test_a_small_refresh_is_one_transaction(path: Path) -> None:
    """A reader never sees two versions of a row side by side when little has changed."""
    refresh(path, Memory({"a": Table([row(n) for n in range(60)])}))
    applied: list[Progress] = []
    refresh(
        path,
        Memory({"a": Table([row(n, n + 1) for n in range(60)])}),
        watch=lambda p: applied.append(p) if p.phase == "apply" else None,
    )
    assert [p.done for p in applied] == [applied[0].total]


def test_a_page_that_a_refresh_took_away_does_not_come(path: Path) -> None:
    """A term's later pages leave out what is gone meanwhile; nothing is called damage."""
    records = [row(1, n, keep_s=DAY_S + n) for n in range(150)]
    refresh(path, Memory({"a": Table(records)}))
    index = opened(path)
    pages = index.pages(box(1))
    first = next(page for page in pages if page)
    refresh(path, Memory({"a": Table(records[:20])}), accept=True)
    later = [record for page in pages for record in page]
    assert len(first) == 64
    assert len(later) <= 20
    index.close()


# ── Faults ───────────────────────────────────────────────────────────────────────────────────


def _killed(path: Path, steps: int) -> str:
    """Refresh in a process of its own and kill it at a step; the phase it was in, if any."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.refreshed", str(path), str(ROWS)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    phase = ""
    with child:
        for _ in range(steps):
            line = child.stdout.readline()
            if not line:
                return ""
            phase = line.split()[0]
            child.stdin.write("\n")
            child.stdin.flush()
        child.kill()
    assert child.returncode == -signal.SIGKILL
    return phase


@pytest.mark.slow
def test_killed_anywhere_a_refresh_goes_on_to_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at one step after another, the index verifies, and ends as if undisturbed."""
    shorten_here(monkeypatch)
    refresh(tmp_path / "undisturbed", whole(ROWS))
    wanted = root(tmp_path / "undisturbed")
    phases = []
    for steps in (3, 12, 21, 24, 30, 35):
        path = tmp_path / f"killed-{steps}"
        phases.append(_killed(path, steps))
        root(path)  # every moment leaves an index that is whole in itself
        refresh(path, whole(ROWS))
        assert root(path) == wanted
        assert not path.with_name(path.name + ".stage").exists()
    assert phases.count("read") >= 2
    assert phases.count("apply") >= 3


def shorten_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As :func:`shorten`, for one test."""
    from node.index import reading, stage

    monkeypatch.setattr(stage, "FLUSH_ROWS", stage.FLUSH_ROWS)
    monkeypatch.setattr(applying, "APPLY_ROWS", applying.APPLY_ROWS)
    monkeypatch.setattr(reading, "PROGRESS_ROWS", reading.PROGRESS_ROWS)
    shorten()


def test_a_source_that_drops_goes_on_at_its_last_mark(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the last mark is not read again; the old records answer meanwhile."""
    shorten_here(monkeypatch)
    refresh(path, Memory({"a": Table([row(0)], stamp="0")}))
    rows = [row(n) for n in range(100)]
    source = Memory({"a": Table(rows, stamp="1", mark_every=20, fails_at=90)})
    with pytest.raises(SourceUnusable):
        refresh(path, source, now=NOW + 100)
    index = opened(path)
    assert held(path, 100) == {0}
    assert index.sources()["gate"].incident == "SOURCE_DOWN"
    assert index.sources()["gate"].incident_at == NOW + 100
    assert index.age_s(NOW + 100) == 100
    source.tables["a"].fails_at = None
    state = refresh(path, source, now=NOW + 200)
    assert source.asked == [("a", ""), ("a", "80")]
    assert held(path, 100) == set(range(100))
    assert (state.incident, state.records, state.rows) == ("", 100, 100)
    root(path)


def test_a_part_that_changed_in_the_middle_is_read_from_its_beginning(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one version of a file is never continued with the other half of another."""
    shorten_here(monkeypatch)
    old = Table([row(n) for n in range(100)], stamp="1", mark_every=20, fails_at=70)
    with pytest.raises(SourceUnusable):
        refresh(path, Memory({"a": old}))
    source = Memory({"a": Table([row(n + 200) for n in range(100)], stamp="2", mark_every=20)})
    refresh(path, source)
    assert source.asked == [("a", "")]
    assert held(path, 400) == set(range(200, 300))


def test_a_source_that_is_down_keeps_its_records_and_ages(path: Path) -> None:
    """Down, it still answers with what it last had, and says how old that is."""
    source = Memory({"a": Table([row(1)], stamp="1")})
    refresh(path, source)
    source.down = True
    with pytest.raises(SourceUnusable):
        refresh(path, source, now=NOW + 300)
    index = opened(path)
    assert index.lookup(box(1))
    assert index.age_s(NOW + 300) == 300
    source.down = False
    refresh(path, source, now=NOW + 400)
    assert index.age_s(NOW + 400) == 0
    assert index.sources()["gate"].incident == ""
    index.close()


def test_a_source_that_shrank_is_held_back_until_somebody_accepts(path: Path) -> None:
    """With more than a fifth gone nothing changes, nor is it read again, until it is accepted."""
    source = Memory({"a": Table([row(n) for n in range(10)], stamp="1")})
    refresh(path, source)
    source.tables["a"] = Table([row(n) for n in range(7)], stamp="2")
    for _ in range(2):
        state = refresh(path, source)
        assert state.incident == "ROWS_SHRANK"
    assert held(path, 20) == set(range(10))
    assert source.asked == [("a", ""), ("a", "")]
    state = refresh(path, source, accept=True)
    assert (state.incident, state.records) == ("", 7)
    assert held(path, 20) == set(range(7))
    source.tables["a"] = Table([row(n) for n in range(6)], stamp="3")
    assert refresh(path, source).incident == ""


def test_a_source_that_grows_back_is_taken_over_by_itself(path: Path) -> None:
    """An incident ends when its cause does."""
    source = Memory({"a": Table([row(n) for n in range(10)], stamp="1")})
    refresh(path, source)
    full = source.tables["a"].rows
    source.tables["a"] = Table([], stamp="2")
    assert refresh(path, source).incident == "ROWS_SHRANK"
    source.tables["a"] = Table([*full, row(10)], stamp="3")
    assert refresh(path, source).incident == ""
    assert held(path, 20) == set(range(11))


def test_a_changed_schema_is_held_back(path: Path) -> None:
    """Other columns under the same mapping are an incident; another mapping makes them right."""
    source = Memory({"a": Table([row(1)], stamp="1", schema="x")})
    refresh(path, source)
    source.tables["a"] = Table([row(2)], stamp="2", schema="y")
    with pytest.raises(SourceUnusable) as caught:
        refresh(path, source)
    assert caught.value.code == "SCHEMA_CHANGED"
    assert held(path, 5) == {1}
    refresh(path, source, mapping="another")
    assert held(path, 5) == {2}


def test_a_second_writer_is_refused(path: Path) -> None:
    """Two processes never refresh one index."""
    first = IndexWriter.open(path, clock=lambda: NOW, **KEYS)
    with pytest.raises(Misconfigured) as caught:
        IndexWriter.open(path, clock=lambda: NOW, **KEYS)
    assert caught.value.code == "INDEX_IN_USE"
    first.close()
    IndexWriter.open(path, clock=lambda: NOW, **KEYS).close()


FULL = """
import resource, sys
from pathlib import Path
from fairlead.errors import Misconfigured
from tests.refreshed import Memory, Table, refresh, row, shorten

def full(progress):
    if progress.phase == sys.argv[2] and progress.done >= int(sys.argv[3]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))

shorten()
source = Memory({"a": Table([row(n) for n in range(1, 1000)], stamp="2")})
try:
    refresh(Path(sys.argv[1]), source, watch=full)
except Misconfigured as error:
    sys.exit(41 if error.code == "INDEX_UNWRITABLE" else 42)
"""


@pytest.mark.parametrize(
    ("phase", "done"), [("read", 10), ("read", 500), ("apply", 20), ("apply", 300)]
)
def test_a_full_disk_keeps_the_index_in_use(path: Path, phase: str, done: int) -> None:
    """Wherever the room ends, the index answers and verifies, and the next refresh ends it."""
    refresh(path, Memory({"a": Table([row(0)], stamp="1")}))
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(path), phase, str(done)], cwd=ROOT, check=False
    )
    assert ended.returncode == 41
    root(path)
    assert held(path, 1) == {0}
    refresh(path, Memory({"a": Table([row(n) for n in range(1, 1000)], stamp="2")}))
    assert held(path, 1000) == set(range(1, 1000))
    root(path)


def test_who_edits_the_stage_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A staged reading from which somebody took rows is thrown away and read again."""
    shorten_here(monkeypatch)
    rows = [row(n) for n in range(100)]
    source = Memory({"a": Table(rows, stamp="1", mark_every=20, fails_at=70)})
    with pytest.raises(SourceUnusable):
        refresh(path, source)
    stage = sqlite3.connect(path.with_name(path.name + ".stage"))
    stage.execute("DELETE FROM chunk WHERE number = 1")
    stage.commit()
    stage.close()
    source.tables["a"].fails_at = None
    refresh(path, source)
    assert source.asked == [("a", ""), ("a", "")]
    assert held(path, 100) == set(range(100))


def test_an_older_copy_of_the_index_has_an_older_generation(path: Path, tmp_path: Path) -> None:
    """Whoever puts a copy back brings back its generation, which the node's log has passed."""
    refresh(path, Memory({"a": Table([row(1)], stamp="1")}))
    copy = tmp_path / "copy.sqlite"
    shutil.copy(path, copy)
    refresh(path, Memory({"a": Table([row(2)], stamp="2")}))
    older, newer = opened(copy), opened(path)
    assert older.generation < newer.generation
    older.close()
    newer.close()


# ── Retention ────────────────────────────────────────────────────────────────────────────────


def test_expired_records_are_deleted_and_their_space_is_used_again(path: Path) -> None:
    """After retention nothing of a record is left, and the next ones do not make the file grow."""
    keep = [row(n, keep_s=DAY_S) for n in range(500)]
    refresh(path, Memory({"a": Table(keep, stamp="1")}))
    size = path.stat().st_size
    later = NOW + 2 * DAY_S
    source = Memory({"a": Table(keep, stamp="1")})
    refresh(path, source, now=later)
    assert source.asked == []
    index = opened(path, later)
    assert (index.records, index.sources()["gate"].records) == (0, 0)
    index.close()
    count = sqlite3.connect(path)
    assert count.execute("SELECT count(*) FROM entry").fetchone() == (0,)
    count.close()
    fresh = Memory({"a": Table([row(n + 1000) for n in range(500)], stamp="2")})
    refresh(path, fresh, now=later)
    assert path.stat().st_size <= size * 1.1
    root(path)


def test_only_what_is_due_is_swept(path: Path) -> None:
    """Records still within their retention stay, and a part is not searched again at once."""
    rows = [row(n, keep_s=(1 + n % 3) * DAY_S) for n in range(30)]
    source = Memory({"a": Table(rows, stamp="1")})
    refresh(path, source)
    later = NOW + 1.5 * DAY_S
    refresh(path, source, now=later)
    assert held(path, 40, later) == {n for n in range(30) if n % 3}
    assert opened(path, later).records == 20
    refresh(path, source, now=NOW + 2.5 * DAY_S + SWEEP_S)
    assert opened(path, later).records == 10
    root(path)
