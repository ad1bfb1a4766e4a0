"""A snapshot: sorted, padded, written at once, and refused when it is not the manifest's."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import merkle
from fairlead.entries import ENTRY_SIZE, TAG_SIZE
from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.snapshot import (
    LEAST,
    PAGE,
    Snapshot,
    check_count,
    padded_count,
    pages_root_of,
    write_snapshot,
)
from tests.blind import changed


def entries(count: int) -> list[bytes]:
    """As many entries as uniform tags give, in order."""
    return sorted(os.urandom(ENTRY_SIZE) for _ in range(count))


def opened(path: Path, count: int, digest: bytes) -> Snapshot:
    return Snapshot.open(path, entries=count, digest=digest)


@given(st.integers(0, 10**7))
def test_the_ladder_hides_the_number(terms: int) -> None:
    """The rung holds every term, wastes at most an eighth, and is a rung itself."""
    rung = padded_count(terms)
    check_count(rung)
    assert rung == LEAST or terms <= rung < terms * 9 / 8
    assert padded_count(rung) == rung
    assert padded_count(rung + 1) > rung


@pytest.mark.parametrize("count", [0, 1, LEAST - 1, LEAST + 1, 1_281, 10**6 + 1, 2**33])
def test_a_number_that_is_no_rung_is_refused(count: int) -> None:
    """An owner that forgot to pad is noticed, not used."""
    with pytest.raises(InvalidInput) as caught:
        check_count(count)
    assert caught.value.code == "SNAPSHOT_COUNT"


def test_every_entry_is_found_and_no_other(tmp_path: Path) -> None:
    """The first, the last and each between them; neighbours of tags are not there."""
    path, rows = tmp_path / "snapshot", entries(1_024)
    snapshot = opened(path, 1_024, write_snapshot(path, rows))
    assert len(snapshot) == 1_024
    assert all(snapshot.find(row[:TAG_SIZE]) == row for row in rows)
    for row in [*rows[:50], rows[-1]]:
        tag = int.from_bytes(row[:TAG_SIZE])
        assert snapshot.find(((tag + 1) % 2**128).to_bytes(TAG_SIZE)) is None
    assert snapshot.find(bytes(TAG_SIZE)) is None
    assert snapshot.find(b"\xff" * TAG_SIZE) is None
    with pytest.raises(InvalidInput):
        snapshot.find(b"short")
    snapshot.close()


def test_pages_prove_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    """Entries, gaps between them, between pages and at both ends stand under the one root."""
    path, rows = tmp_path / "snapshot", entries(1_024)
    digest = write_snapshot(path, rows)
    root = pages_root_of(path)
    snapshot = Snapshot.open(path, entries=1_024, digest=digest, pages_root=root)
    assert snapshot.pages_root == root
    tags = [row[:TAG_SIZE] for row in rows]
    beside = [(int.from_bytes(tag) + 1).to_bytes(TAG_SIZE) for tag in tags[14:18]]
    for tag in [*tags[::97], tags[15], tags[16], *beside, bytes(TAG_SIZE), b"\xff" * TAG_SIZE]:
        found = snapshot.prove(tag)
        octets = b"".join(page.octets for page in found)
        near = [octets[at : at + TAG_SIZE] for at in range(0, len(octets), ENTRY_SIZE)]
        assert (tag in near) == (tag in tags)
        assert near[0] <= tag or found[0].index == 0
        assert near[-1] >= tag or found[-1].index == 1_024 // PAGE - 1
        for page in found:
            merkle.verify_inclusion(
                leaf=merkle.leaf_hash(page.octets), index=page.index, size=1_024 // PAGE,
                proof=page.path, root=root,
            )  # fmt: skip
    snapshot.close()


def test_another_root_of_pages_is_refused(tmp_path: Path) -> None:
    """An owner whose root is not its snapshot's is noticed before anything is looked up."""
    path = tmp_path / "snapshot"
    digest = write_snapshot(path, entries(1_024))
    with pytest.raises(Forged):
        Snapshot.open(path, entries=1_024, digest=digest, pages_root=bytes(32))


@pytest.mark.parametrize("count", [LEAST, 1_152, 1_281, 99_999, 10**6 + 1])
def test_every_rung_is_whole_pages(count: int) -> None:
    """No page is cut short, whatever the owner holds."""
    assert padded_count(count) % PAGE == 0


@pytest.mark.parametrize("place", range(0, 9 * ENTRY_SIZE, 7))
def test_a_changed_octet_is_refused(tmp_path: Path, place: int) -> None:
    """An attack: one octet changed anywhere in the file, and nothing is looked up in it."""
    path = tmp_path / "snapshot"
    digest = write_snapshot(path, entries(9))
    path.write_bytes(changed(path.read_bytes(), place, 1 + place % 255))
    with pytest.raises(Forged) as caught:
        opened(path, 9, digest)
    assert caught.value.code == "SNAPSHOT"


def test_a_truncated_or_longer_snapshot_is_refused(tmp_path: Path) -> None:
    """An attack: entries cut off, added, or an octet missing, whatever number is claimed."""
    path, rows = tmp_path / "snapshot", entries(20)
    digest = write_snapshot(path, rows)
    whole = path.read_bytes()
    for octets in (b"", whole[:-1], whole[:-ENTRY_SIZE], whole + bytes(ENTRY_SIZE)):
        path.write_bytes(octets)
        for claimed in (20, len(octets) // ENTRY_SIZE):
            with pytest.raises(Forged):
                opened(path, claimed, digest)


def test_out_of_order_is_refused_by_writer_and_reader(tmp_path: Path) -> None:
    """Two tags exchanged or equal would hide an entry from who halves its way to it."""
    path, rows = tmp_path / "snapshot", entries(3)
    for wrong in ([rows[1], rows[0], rows[2]], [rows[0], rows[0], rows[1]], [rows[0][:-1]]):
        with pytest.raises(InvalidInput) as caught:
            write_snapshot(path, wrong)
        assert caught.value.code == "SNAPSHOT_ORDER"
    octets = b"".join([rows[1], rows[0], rows[2]])
    path.write_bytes(octets)
    with pytest.raises(Forged):
        opened(path, 3, hashlib.sha256(octets).digest())


def test_an_interrupted_writing_leaves_the_old_one(tmp_path: Path) -> None:
    """Who fails halfway leaves what was there, readable by its owner alone."""
    path, rows = tmp_path / "snapshot", entries(5)
    digest = write_snapshot(path, rows)

    def failing() -> object:
        yield rows[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_snapshot(path, failing())  # type: ignore[arg-type]
    opened(path, 5, digest).close()
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing file and a folder that takes none are the operator's errors."""
    with pytest.raises(Misconfigured) as caught:
        opened(tmp_path / "none", 1, bytes(32))
    assert caught.value.code == "SNAPSHOT_UNREADABLE"
    with pytest.raises(Misconfigured) as caught:
        write_snapshot(tmp_path / "none" / "snapshot", entries(1))
    assert caught.value.code == "SNAPSHOT_UNWRITABLE"
