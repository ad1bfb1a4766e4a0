"""Private files are their owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fairlead.keyfile import (
    KeyFilesOpen,
    create_private,
    read_private,
    require_private,
    write_private,
)


def made(folder: Path, name: str, mode: int) -> Path:
    path = folder / name
    path.write_bytes(b"secret")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    """A private file that group or world may touch in any way is refused, with the remedy."""
    path = made(tmp_path, "tls.key", mode)
    with pytest.raises(KeyFilesOpen) as caught:
        require_private(path)
    assert caught.value.code == "KEY_PERMISSIONS"
    assert caught.value.remedy == f"chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_private(tmp_path: Path, mode: int) -> None:
    """A file that its owner alone may read passes, and so does one that is not there."""
    require_private(made(tmp_path, "tls.key", mode), tmp_path / "absent.key")


def test_folder(tmp_path: Path) -> None:
    """Of a folder every private file is looked at, and all wrong ones are named at once."""
    made(tmp_path, "tls.pem", 0o644)
    made(tmp_path, "fine.key", 0o600)
    wrong = [made(tmp_path, name, 0o640) for name in ("a.key", "b.seed", "c.secret")]
    with pytest.raises(KeyFilesOpen) as caught:
        require_private(tmp_path)
    assert list(caught.value.paths) == wrong


def test_a_private_file_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its octets are flushed before it takes its place, and the folder's entry afterwards."""
    synced = []

    def fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((folder, (tmp_path / "a.key").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_private(tmp_path / "a.key", b"secret")
    assert synced == [(False, False), (True, True)]


def test_a_private_file_is_made_once(tmp_path: Path) -> None:
    """Whoever comes second is told, and changes nothing."""
    create_private(tmp_path / "a.key", b"first")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a.key", b"second")
    assert read_private(tmp_path / "a.key") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]
