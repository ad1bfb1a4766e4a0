"""Where releases lie: the one in force in ``policy_dir``, and every one that was in a shelf.

The manifest's replacement is the moment a release takes the other's place on disk: its files wait
beside, named by digest, and are moved to their names afterwards, which a reader does not notice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from fairlead.errors import PolicyUnavailable
from fairlead.keyfile import private_folder, write_private
from fairlead.policy.bundle import INCOMING, Bundle, Files, write_bundle
from fairlead.policy.manifest import MANIFEST, is_name, parse_manifest

HEARD = "heard"


def prepare(folder: Path, bundle: Bundle) -> None:
    """Put a release's files beside those in place. Nothing is in force by that.

    :raises OSError: the folder cannot be written.
    """
    if _holds(folder / MANIFEST, bundle.signed.to_bytes()):
        return
    waiting = private_folder(folder / INCOMING)
    for name, content in bundle.files.items():
        if not _holds(folder / name, content):
            write_private(waiting / hashlib.sha256(content).hexdigest(), content)
    write_private(waiting / MANIFEST, bundle.signed.to_bytes())


def commit(folder: Path) -> None:
    """Put the release that waits in place of the one there; doing it again changes nothing.

    :raises OSError: the folder cannot be written.
    """
    waiting = folder / INCOMING
    if not (waiting / MANIFEST).is_file():
        return
    manifest = (waiting / MANIFEST).read_bytes()
    files = parse_manifest(manifest).manifest.files
    write_private(folder / MANIFEST, manifest)
    for name, digest in files.items():
        if (waiting / digest).is_file():
            (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(folder / name, (waiting / digest).read_bytes())
    shutil.rmtree(waiting, ignore_errors=True)


def finish(folder: Path, active: int) -> None:
    """After a crash: a release whose activation is on the record is put in place, one that has
    none is forgotten.

    :param active: the serial that the log has last seen active.
    """
    try:
        waiting = parse_manifest((folder / INCOMING / MANIFEST).read_bytes()).manifest.serial
        if waiting == active:
            commit(folder)
    except (OSError, PolicyUnavailable):
        return
    shutil.rmtree(folder / INCOMING, ignore_errors=True)


class Shelf:
    """Releases as they were, by serial, so that an officer can go back to one and others can
    catch up; whoever takes one from here verifies it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, bundle: Bundle) -> None:
        """Keep a release; one that is there gets the signatures this one has.

        :raises OSError: it cannot be written.
        """
        place = private_folder(self._folder) / str(bundle.serial)
        if self.identity(bundle.serial) == bundle.identity:
            write_private(place / MANIFEST, bundle.signed.to_bytes())
            return
        fresh = self._folder / f".{bundle.serial}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        write_bundle(bundle.as_files(), private_folder(fresh))
        shutil.rmtree(place, ignore_errors=True)  # what was never active, see drop_beyond
        fresh.rename(place)

    def identity(self, serial: int) -> str:
        """Of the release kept under a serial; empty where none is."""
        try:
            octets = (self._folder / str(serial) / MANIFEST).read_bytes()
            return parse_manifest(octets).manifest.identity
        except (OSError, PolicyUnavailable):
            return ""

    def drop_beyond(self, active: int) -> None:
        """After a crash: forget what was kept and never became active.

        :param active: the serial that the log has last seen active.
        """
        for serial in self.serials():
            if serial > active:
                shutil.rmtree(self._folder / str(serial), ignore_errors=True)

    def files(self, serial: int) -> Files | None:
        """A release as files; None where none of that serial is kept."""
        place = self._folder / str(serial)
        try:
            manifest = (place / MANIFEST).read_bytes()
            names = [n for n in parse_manifest(manifest).manifest.files if is_name(n)]
            return {MANIFEST: manifest, **{name: (place / name).read_bytes() for name in names}}
        except (OSError, PolicyUnavailable):
            return None

    def serials(self) -> list[int]:
        """What is kept, oldest first."""
        try:
            found = [int(p.name) for p in self._folder.iterdir() if p.name.isdecimal()]
        except OSError:
            return []
        return sorted(found)

    def heard(self, identity: str) -> float:
        """When the gateway last called a release the current one (Unix s); 0 where it never did."""
        try:
            name, at = (self._folder / HEARD).read_text("ascii").split()
            return float(at) if name == identity else 0.0
        except (OSError, ValueError):
            return 0.0

    def note_heard(self, identity: str, at: float) -> None:
        """Remember it across a restart."""
        write_private(private_folder(self._folder) / HEARD, f"{identity} {at:.0f}".encode())


def stamp(folder: Path | None) -> object:
    """What tells that somebody wrote into a folder."""
    if folder is None:
        return None
    try:
        files = [p for p in (*folder.glob("*.*"), *folder.glob("[a-z]*/*")) if p.is_file()]
        return {(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in files}
    except OSError:
        return None


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
