"""Seeds: they move forward only, and what is over cannot be computed from anything that is kept."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairlead import backup
from fairlead.auditlog import AuditLog
from fairlead.blinding import next_seed
from fairlead.errors import FairleadError, Misconfigured, Stale
from node.publication.epochs import Epochs
from node.publication.seeds import (
    FILE,
    MAX_TURNS,
    SEEN_EVERY_S,
    SKEW_S,
    SeedFile,
    erase,
)

DAY_S = 86_400
EPOCHS = Epochs(length_s=7 * DAY_S, overlap_s=DAY_S)
START = 1_795_000_000.0


def made(folder: Path, epochs: Epochs = EPOCHS) -> SeedFile:
    return SeedFile(folder / "blind", epochs)


def log_at(state: Path) -> None:
    """An audit log, without which nothing is backed up."""
    log = AuditLog.open(
        state / "audit.sqlite",
        origin="test/seeds",
        key=Ed25519PrivateKey.generate(),
        clock=lambda: START,
    )
    log.close()


class Turning(RuleBasedStateMachine):
    """A node's life: time passes, it restarts, crashes, is backed up; its clock goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=os.environ.get("TMPDIR"))
        self.state = Path(self._folder.name) / "state"
        self.state.mkdir()
        log_at(self.state)
        self.now = self.seen = START
        self.seeds = made(self.state)
        self.known: dict[int, bytes] = {}
        self.backups: list[bytes] = []

    def teardown(self) -> None:
        self._folder.cleanup()

    def _turn(self) -> None:
        for seed in self.seeds.turn(self.now, draw=True):
            self.seen = self.now
            earlier = self.known.setdefault(seed.epoch, seed.secret)
            assert earlier == seed.secret

    @rule(seconds=st.integers(0, 40 * DAY_S))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self._turn()

    @rule(seconds=st.integers(SKEW_S + SEEN_EVERY_S, 30 * DAY_S))
    @precondition(lambda self: self.known)
    def clock_goes_back(self, seconds: int) -> None:
        with pytest.raises(Misconfigured) as caught:
            self.seeds.turn(int(self.seen) - seconds - 1)
        assert caught.value.code == "CLOCK_BACKWARDS"

    @rule()
    def restart(self) -> None:
        self.seeds = made(self.state)
        self._turn()

    @rule(kept=st.sampled_from([".new", ".old"]))
    @precondition(lambda self: self.known)
    def crash(self, kept: str) -> None:
        """A replacement was interrupted before (``.new``) or while (``.old``) its file changed."""
        path = self.state / "blind" / FILE
        if kept == ".new":
            path.with_name(FILE + kept).write_bytes(path.read_bytes())
        else:
            os.link(path, path.with_name(FILE + kept))
        self._turn()

    @rule()
    def back_up(self) -> None:
        target = self.state.parent / f"b{len(self.backups)}.tar.gz"
        backup.take(self.state, target, kind="node", name="n", now=self.now)
        with tarfile.open(target) as archive:
            files = [archive.extractfile(member) for member in archive]
            self.backups.append(b"".join(file.read() for file in files if file))

    @invariant()
    def what_is_over_is_nowhere(self) -> None:
        """Neither the state nor a backup holds a seed of an epoch that is over, nor an earlier one
        from which it follows; a backup holds no seed at all."""
        content = b"".join(p.read_bytes() for p in self.state.rglob("*") if p.is_file())
        over = {e: s for e, s in self.known.items() if self.seen >= EPOCHS.answers_until(e)}
        assert not [epoch for epoch, secret in over.items() if secret in content]
        assert not [e for e, s in self.known.items() if any(s in b for b in self.backups)]
        if self.known:
            kept = [e for e, s in self.known.items() if s in content]
            assert kept
            assert min(kept) >= EPOCHS.at(self.seen) - 1
        for epoch in over:
            with pytest.raises(Stale):
                self.seeds.of(epoch, self.seen)


TestTurning = Turning.TestCase
TestTurning.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_a_node_that_was_off_moves_as_many_epochs_forward(tmp_path: Path) -> None:
    """The seed after twelve epochs is the one that twelve turns give, whoever was away."""
    first = made(tmp_path).current(START)
    seed = first
    for _ in range(12):
        seed = next_seed(seed)
    later = made(tmp_path).current(START + 12 * EPOCHS.length_s)
    assert (later.epoch, later.secret) == (seed.epoch, seed.secret)


def test_the_file_is_the_nodes_alone(tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700; a file that others may read is refused."""
    seeds = made(tmp_path)
    seeds.current(START)
    path = tmp_path / "blind" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(Misconfigured) as caught:
        seeds.current(START)
    assert caught.value.code == "KEY_PERMISSIONS"


def test_a_step_back_of_the_clock_is_borne(tmp_path: Path) -> None:
    """A clock that is set right by seconds, even over the end of an epoch, begins none again."""
    seeds, ends = made(tmp_path), EPOCHS.ends_at(EPOCHS.at(START))
    assert seeds.current(ends + 1).epoch == EPOCHS.at(START) + 1
    assert seeds.current(ends - SKEW_S + 1).epoch == EPOCHS.at(START) + 1


@pytest.mark.parametrize(
    ("epochs", "now", "code"),
    [
        (EPOCHS, START - 3_600, "CLOCK_BACKWARDS"),
        (EPOCHS, START + (MAX_TURNS + 1) * 7 * DAY_S, "CLOCK_AHEAD"),
        (Epochs(length_s=8 * DAY_S, overlap_s=DAY_S), START, "EPOCH_LENGTH"),
    ],
)
def test_a_wrong_clock_changes_nothing(
    tmp_path: Path, epochs: Epochs, now: float, code: str
) -> None:
    """Backwards, impossibly far ahead, or another length of epochs: refused, and the file stays."""
    made(tmp_path).current(START)
    before = (tmp_path / "blind" / FILE).read_bytes()
    with pytest.raises(Misconfigured) as caught:
        made(tmp_path, epochs).current(now)
    assert caught.value.code == code
    assert (tmp_path / "blind" / FILE).read_bytes() == before


@pytest.mark.parametrize("place", [0, 16, 24, 32, 40, 68])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    """A cut file is never taken for a seed, and none is drawn in its place."""
    made(tmp_path).current(START)
    path = tmp_path / "blind" / FILE
    path.write_bytes(path.read_bytes()[:place])
    with pytest.raises(FairleadError) as caught:
        made(tmp_path).current(START)
    assert caught.value.code == "SEED_DAMAGED"


def test_a_node_that_never_published_has_no_seed(tmp_path: Path) -> None:
    """Turning draws nothing, and no epoch's key can be had."""
    seeds = made(tmp_path)
    assert seeds.turn(START) == ()
    with pytest.raises(Stale):
        seeds.of(EPOCHS.at(START), START)
    assert not (tmp_path / "blind").exists()


def test_erasing_overwrites(tmp_path: Path) -> None:
    """Through another name of the same file nothing of it can be read any more."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"secret" * 10)
    os.link(path, other)
    erase(path)
    assert not path.exists()
    assert other.read_bytes() == bytes(60)
    erase(path)


def test_an_overlap_fits_into_an_epoch() -> None:
    """With a longer one three keys would answer at once."""
    with pytest.raises(Misconfigured) as caught:
        Epochs(length_s=3_600, overlap_s=3_601)
    assert caught.value.code == "BLIND_TIMES"
