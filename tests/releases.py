"""Policy releases for tests: officers, trees to change, and bundles in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.officers import Officer
from fairlead.policy.bundle import Bundle, verify_files
from fairlead.policy.issuing import Wishes, make_release
from fairlead.policy.manifest import MANIFEST, Manifest
from fairlead.signing import public_bytes

POLICIES = Path(__file__).resolve().parent.parent / "policies"
DATA = ("data/agreements.yaml", "data/demo.yaml")
NOW, END = 1_000, 2_000
ONE, TWO, THREE, AGAIN, STRANGER = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3, 4, 5)
)


def officer(key: Ed25519PrivateKey, person: str, organisation: str) -> Officer:
    """Whose a key is."""
    return Officer(key=public_bytes(key), person=person, organisation=organisation)


OFFICERS = (
    officer(ONE, "u-so1", "customs"),
    officer(TWO, "u-so2", "terminal-north"),
    officer(THREE, "u-so3", "customs"),  # a colleague of the first
    officer(AGAIN, "u-so1", "police"),  # the first once more, with a second key elsewhere
)


def made(
    folder: Path,
    *,
    signers: Sequence[Ed25519PrivateKey] = (ONE, TWO),
    source: Path = POLICIES,
    data: Sequence[str] = DATA,
    local: bool = False,
    **changed: Any,
) -> Manifest:
    """A release in ``folder``: serial 7, from second 900 until 2000, or otherwise as told."""
    fields = {"serial": 7, "issued_at": 900, "not_after": END, "max_age_s": 10_000, **changed}
    wishes = Wishes(**fields)
    return make_release(source, folder, wishes, signers=signers, data=data, local=local)


def tree(folder: Path, **replaced: tuple[str, str]) -> Path:
    """A copy of the policies with one text in the baseline replaced by another."""
    copy = Path(shutil.copytree(POLICIES, folder, dirs_exist_ok=True))
    path = copy / DATA[0]
    text = path.read_text()
    for old, new in replaced.values():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return copy


def files_of(folder: Path) -> dict[str, bytes]:
    """A bundle that lies in a folder, as it travels."""
    named = json.loads((folder / MANIFEST).read_bytes())["manifest"]["files"]
    return {name: (folder / name).read_bytes() for name in (MANIFEST, *named)}


@lru_cache(maxsize=32)
def release(serial: int = 7, previous: str = "", **changed: Any) -> dict[str, bytes]:
    """A good release as it travels."""
    with TemporaryDirectory() as folder:
        made(Path(folder), serial=serial, previous=previous, **changed)
        return files_of(Path(folder))


def verified(files: dict[str, bytes], *, now: float = NOW, **more: Any) -> Bundle:
    """Whatever two of the officers signed."""
    return verify_files(files, officers=OFFICERS, now=now, **more)
