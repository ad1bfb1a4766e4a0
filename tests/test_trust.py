"""Trust anchors and the deny-list file that is looked at while connections are open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.dev.lists import deny
from fairlead.errors import FairleadError, Forged, Misconfigured, Stale, Unauthenticated
from fairlead.trust import DenyListFile, Trust
from tests.walks import NOW, World, make_world

USER = "spiffe://fairlead.demo/partner/customs/user/u-c01"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, partners=("customs", "police"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_made_anchors_load_and_verify_the_directory(world: World) -> None:
    """Anchors name the federation, its operators, officers and roots, and verify its directory."""
    trust = Trust.load(world.opened.layout.pins)
    assert trust.federation == "fairlead.demo"
    assert (len(trust.operators), len(trust.policy_officers)) == (2, 2)
    assert set(trust.roots) == {"customs", "police"}
    assert trust.directory(world.opened.layout.directory, now=NOW).digest == world.directory.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text + '\nextra = "x"\n',
        lambda text: text.replace("federation", "federatio"),
        lambda text: text.replace("operators = [", 'operators = ["00", '),
        lambda text: text.replace("operators = [", "operators = [1, "),
        lambda text: text.replace("customs =", "Customs ="),
        lambda text: text.replace("[partners]", "[[partners]]"),
        lambda text: text + "\x00",
        lambda text: "a = " + "[" * 5000,
    ],
)
def test_anchors_that_cannot_be_read_are_misconfigured(world: World, change: object) -> None:
    """Missing, unknown or misshapen keys stop the start, without a word of the file's content."""
    path = world.opened.layout.pins
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(Misconfigured) as caught:
        Trust.load(path)
    assert caught.value.code == "TRUST_FILE"


@given(data=st.binary(max_size=100))
def test_any_octets_are_no_anchors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Garbage is Misconfigured, not a crash."""
    path = tmp_path_factory.getbasetemp() / "anchors.toml"
    path.write_bytes(data)
    with pytest.raises(Misconfigured):
        Trust.load(path)


def test_missing_and_oversized_files_are_misconfigured(tmp_path: Path) -> None:
    """A file that is not there, or larger than any real one, is the operator's problem."""
    with pytest.raises(Misconfigured):
        Trust.load(tmp_path / "none.toml")
    big = tmp_path / "big.toml"
    with big.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(Misconfigured):
        Trust.load(big)


def test_a_directory_of_another_federation_is_refused(world: World, tmp_path: Path) -> None:
    """Operators of two federations cannot pass one's directory off as the other's."""
    path = world.opened.layout.pins
    path.write_text(path.read_text().replace("fairlead.demo", "fairlead.other"))
    with pytest.raises(FairleadError):
        Trust.load(path).directory(world.opened.layout.directory, now=NOW)


class Watch:
    """A deny-list file under a clock of the test's own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = NOW
        self.problems: list[FairleadError] = []
        self.lists = DenyListFile(
            world.opened.layout.deny_lists,
            Trust.load(world.opened.layout.pins),
            world.directory,
            lambda: self.now,
            on_problem=self.problems.append,
        )

    def denied(self, after: float = 0.0) -> bool:
        self.now += after
        try:
            self.lists.check(USER, self.now)
        except Unauthenticated:
            return True
        return False


def test_a_changed_file_takes_effect_within_a_second(world: World) -> None:
    """A user denied in the file is refused at the first look a second later, and not before."""
    watch = Watch(world)
    assert not watch.denied()
    deny(world.opened.layout, [USER], serial=2, now=NOW)
    assert not watch.denied(after=0.5)
    assert watch.denied(after=0.5)


def test_a_file_that_does_not_verify_changes_nothing_and_is_reported(world: World) -> None:
    """Garbage, an older list or no file at all leave what is held in force, with an alarm."""
    watch = Watch(world)
    path = world.opened.layout.deny_lists
    first = path.read_bytes()
    deny(world.opened.layout, [USER], serial=2, now=NOW)
    second = path.read_bytes()
    assert watch.denied(after=1)
    for content, kind in ((b"garbage", FairleadError), (first, Stale), (None, Misconfigured)):
        path.unlink() if content is None else path.write_bytes(content)
        before = len(watch.problems)
        assert watch.denied(after=1)
        assert isinstance(watch.problems[-1], kind)
        assert len(watch.problems) == before + 1
    path.write_bytes(second)
    assert watch.denied(after=1)


def test_a_repaired_file_is_taken_over(world: World) -> None:
    """After a broken file, the next good one counts at the next look."""
    watch = Watch(world)
    world.opened.layout.deny_lists.write_bytes(b"garbage")
    assert not watch.denied(after=1)
    deny(world.opened.layout, [USER], serial=2, now=NOW)
    assert watch.denied(after=1)


def test_a_clock_that_goes_back_does_not_stop_the_watch(world: World) -> None:
    """When the clock is set back by an hour, the file is still looked at."""
    watch = Watch(world)
    deny(world.opened.layout, [USER], serial=2, now=NOW - 7200)
    assert watch.denied(after=-3600)


def test_nothing_starts_without_good_lists(world: World) -> None:
    """A missing or damaged file stops the start instead of meaning that nobody is denied."""
    path = world.opened.layout.deny_lists
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FairleadError):
        Watch(world)
    path.unlink()
    with pytest.raises(Misconfigured):
        Watch(world)


def test_a_forged_list_is_reported_as_forged(world: World) -> None:
    """Lists of another federation's keys are Forged, whatever their serial."""
    watch = Watch(world)
    stranger = make_world(world.opened.layout.root.parent / "other", partners=("customs", "police"))
    deny(stranger.opened.layout, [USER], serial=9, now=NOW)
    path = world.opened.layout.deny_lists
    path.write_bytes(stranger.opened.layout.deny_lists.read_bytes())
    assert not watch.denied(after=1)
    assert isinstance(watch.problems[-1], Forged)
