"""A delta: leads from one snapshot to exactly the next one, or nowhere."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.delta import apply_delta, write_delta
from fairlead.entries import ENTRY_SIZE, TAG_SIZE
from fairlead.errors import Forged, Misconfigured
from fairlead.snapshot import write_snapshot
from tests.blind import changed

TAGS = st.integers(1, 60)
HELD = st.dictionaries(TAGS, st.integers(0, 3), max_size=40)


def rows(held: dict[int, int]) -> list[bytes]:
    """Entries by tag, each of a version."""
    return [
        tag.to_bytes(TAG_SIZE) + bytes([version]) * (ENTRY_SIZE - TAG_SIZE)
        for tag, version in sorted(held.items())
    ]


def applied(folder: Path, after: list[bytes]) -> bytes:
    digest = hashlib.sha256(b"".join(after)).digest()
    apply_delta(
        folder / "before", folder / "delta", folder / "result", entries=len(after), digest=digest
    )
    return (folder / "result").read_bytes()


@settings(max_examples=60, deadline=None)
@given(HELD, HELD)
def test_a_delta_leads_to_the_next_snapshot(before: dict[int, int], after: dict[int, int]) -> None:
    """Whatever came, went and changed, the outcome is the next snapshot, octet by octet."""
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        write_snapshot(folder / "before", rows(before))
        write_snapshot(folder / "after", rows(after))
        write_delta(folder / "delta", folder / "before", folder / "after")
        assert applied(folder, rows(after)) == b"".join(rows(after))
        gone = len(before.keys() - after.keys())
        new = sum(before.get(tag) != version for tag, version in after.items())
        assert (folder / "delta").stat().st_size == 32 + TAG_SIZE * gone + ENTRY_SIZE * new


BEFORE, AFTER = {1: 0, 2: 0, 3: 0, 9: 1}, {2: 0, 3: 1, 4: 0, 9: 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two snapshots and the delta between them: one tombstone, one entry changed, one new."""
    write_snapshot(tmp_path / "before", rows(BEFORE))
    write_snapshot(tmp_path / "after", rows(AFTER))
    write_delta(tmp_path / "delta", tmp_path / "before", tmp_path / "after")
    return tmp_path


def refused(folder: Path) -> None:
    with pytest.raises(Forged) as caught:
        applied(folder, rows(AFTER))
    assert caught.value.code == "DELTA"
    assert sorted(path.name for path in folder.iterdir()) == ["after", "before", "delta"]


def test_any_changed_octet_is_refused(folder: Path) -> None:
    """An attack: one octet of the delta changed, and no snapshot comes of it."""
    delta = folder / "delta"
    honest = delta.read_bytes()
    for place in range(len(honest)):
        delta.write_bytes(changed(honest, place, 1 + place % 255))
        refused(folder)


def test_a_truncated_or_longer_delta_is_refused(folder: Path) -> None:
    """An attack: cut at every place, or with octets behind its end."""
    delta = folder / "delta"
    honest = delta.read_bytes()
    for octets in (*(honest[:at] for at in range(len(honest))), honest + b"\x00"):
        delta.write_bytes(octets)
        refused(folder)


def test_a_delta_fits_one_snapshot_only(folder: Path) -> None:
    """Applied to another snapshot, or twice, it leads nowhere."""
    write_snapshot(folder / "before", rows({**BEFORE, 7: 0}))
    refused(folder)
    write_snapshot(folder / "before", rows(AFTER))
    refused(folder)


def test_what_cannot_be_read_or_written_is_said(folder: Path) -> None:
    """A missing delta and a folder that takes none are the operator's errors."""
    with pytest.raises(Misconfigured):
        write_delta(folder / "none" / "delta", folder / "before", folder / "after")
    (folder / "delta").unlink()
    with pytest.raises(Misconfigured) as caught:
        applied(folder, rows(AFTER))
    assert caught.value.code == "DELTA_UNREADABLE"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_octets_are_a_delta_or_refused(octets: bytes, headed: bool) -> None:
    """Reading is total: nothing but the one delta leads to the next snapshot."""
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        write_snapshot(folder / "before", rows(BEFORE))
        (folder / "delta").write_bytes(b"fairlead delta 1" * headed + octets)
        with pytest.raises(Forged):
            applied(folder, rows(AFTER))
