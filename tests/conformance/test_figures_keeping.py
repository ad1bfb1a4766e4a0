"""One suite over every store of what a node said: nothing replaced, nothing forgotten."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.errors import Conflict, Misconfigured
from fairlead.summing import ListKeeper, Served, Store
from fairlead.summing.participants import ListTooClose
from node.statistics.keeping import FILE, FiguresStore, NotKept
from tests.summed import RELEASE, MemoryStore, names, octets

IDS = names(8)
LIST = Served(release=RELEASE, participants=IDS, readers=IDS)
OTHER = replace(LIST, release=replace(RELEASE, level="year", period="2026", version=2))
STORES: dict[str, Callable[[Path], Store]] = {
    "in memory": lambda _: MemoryStore(),
    "in a file": lambda folder: FiguresStore.open(folder / FILE),
}


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty one."""
    made: Store = request.param(tmp_path)
    return made


# ── Whatever keeps ───────────────────────────────────────────────────────────────────────────


def test_what_is_put_in_comes_out(store: Store) -> None:
    """Lists of one cube in their order, in any version and level; octets as they were."""
    assert (list(store.served(RELEASE.cube)), store.kept(octets("a"))) == ([], None)
    with store.exclusive():
        store.serve(LIST)
        store.serve(OTHER)
        store.keep(octets("a"), b"said")
        store.keep(octets("b"), b"")
    assert list(store.served(RELEASE.cube)) == [LIST, OTHER]
    assert list(store.served("another")) == []
    assert (store.kept(octets("a")), store.kept(octets("b"))) == (b"said", b"")


def test_what_fails_leaves_nothing(store: Store) -> None:
    """An exception while it is held undoes all of it, and lets go."""
    with pytest.raises(KeyError), store.exclusive():
        store.serve(LIST)
        store.keep(octets("a"), b"said")
        raise KeyError
    with store.exclusive():
        assert (list(store.served(RELEASE.cube)), store.kept(octets("a"))) == ([], None)


def test_nothing_is_replaced(store: Store) -> None:
    """A key that is used is refused, and what stands under it stays."""
    with store.exclusive():
        store.keep(octets("a"), b"said")
    with pytest.raises((NotKept, AssertionError)), store.exclusive():
        store.keep(octets("a"), b"something else")
    assert store.kept(octets("a")) == b"said"


def test_a_keeper_says_the_same_again(store: Store) -> None:
    """Once said it is not made again; about something else it is not said at all."""
    keeper, made = ListKeeper(store), iter([b"first", b"second"])
    keeper.serve(LIST)
    keeper.serve(LIST)
    assert list(store.served(RELEASE.cube)) == [LIST]
    for _ in range(3):
        assert keeper.said(LIST, "values", octets("x"), lambda: next(made)) == b"first"
    with pytest.raises(Conflict):
        keeper.said(LIST, "values", octets("y"), lambda: next(made))
    with pytest.raises(ListTooClose):
        keeper.serve(replace(LIST, participants=IDS[1:]))


# ── The file ─────────────────────────────────────────────────────────────────────────────────

KILLED = """
import os, sys
from pathlib import Path
from fairlead.summing import ListKeeper
from node.statistics.keeping import FiguresStore
from tests.conformance.test_figures_keeping import LIST
from tests.summed import octets
store = FiguresStore.open(Path(sys.argv[1]))
keeper = ListKeeper(store)
keeper.serve(LIST)
for number in range(5):
    print(keeper.said(LIST, f"k{number}", octets(number), lambda: os.urandom(64)).hex(), flush=True)
with store.exclusive():
    store.keep(octets("half"), b"not yet committed")
    print("half", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_what_was_said_outlives_a_kill(tmp_path: Path) -> None:
    """Killed between two lines, the file has all that was said and nothing that was not."""
    path = tmp_path / FILE
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *said, half = ended.stdout.split()
    assert (ended.returncode, half, len(said)) == (-9, "half", 5), ended.stderr
    with closing(FiguresStore.open(path)) as store:
        keeper = ListKeeper(store)
        assert list(store.served(RELEASE.cube)) == [LIST]
        assert store.kept(octets("half")) is None
        for number, text in enumerate(said):
            again = keeper.said(LIST, f"k{number}", octets(number), lambda: b"anew")
            assert again.hex() == text


def _race(path: Path, own: int, told: multiprocessing.SimpleQueue[tuple[int, bytes, bool]]) -> None:
    with closing(FiguresStore.open(path)) as store:
        keeper = ListKeeper(store)
        for number in range(20):
            said = keeper.said(LIST, f"k{number}", octets(number), lambda: octets(own))
            told.put((number, said, True))
        served = False
        with suppress(ListTooClose):
            keeper.serve(replace(LIST, participants=IDS[own:]))
            served = True
        told.put((own, b"", served))


def test_two_processes_say_the_same(tmp_path: Path) -> None:
    """Two nodes of a partner over one file: one of them speaks first, and one list is served."""
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.SimpleQueue[tuple[int, bytes, bool]] = context.SimpleQueue()
    path = tmp_path / FILE
    FiguresStore.open(path).close()
    pair = [context.Process(target=_race, args=(path, own, told)) for own in (0, 1)]
    for process in pair:
        process.start()
    found = [told.get() for _ in range(2 * 21)]
    for process in pair:
        process.join(30)
    assert [process.exitcode for process in pair] == [0, 0]
    said = {(number, octets_) for number, octets_, _ in found if octets_}
    assert len(said) == 20
    assert sum(served for _, octets_, served in found if not octets_) == 1


def test_a_row_is_never_changed_and_a_file_keeps_its_name(tmp_path: Path) -> None:
    """Whoever opens the file beside the node cannot edit it by SQL; another file has another
    name, by which a node knows that it forgot."""
    path = tmp_path / FILE
    with closing(FiguresStore.open(path)) as store:
        ListKeeper(store).serve(LIST)
        with store.exclusive():
            store.keep(octets("a"), b"said")
        name = store.name
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as other:
        for statement in (
            "UPDATE kept SET octets = x'00'", "DELETE FROM kept", "DELETE FROM served",
            "UPDATE served SET participants = '[]'",
        ):  # fmt: skip
            with pytest.raises(sqlite3.DatabaseError, match="stays"):
                other.execute(statement)
    with closing(FiguresStore.open(path)) as again:
        assert again.name == name
    with closing(FiguresStore.open(tmp_path / "other.sqlite")) as fresh:
        assert fresh.name != name


def test_a_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """Damage is found when it is opened; what is closed keeps nothing."""
    path = tmp_path / FILE
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(Misconfigured):
        FiguresStore.open(path)
    store = FiguresStore.open(tmp_path / "good.sqlite")
    store.close()
    with pytest.raises(NotKept):
        store.kept(octets("a"))
