"""Releases kept beside the user's profile, under the gateway's signature: what was released once is
not asked for again when a pack is made, and cannot become another figure unseen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

from google.protobuf.message import DecodeError

from fairlead.cubes.period import Unit
from fairlead.errors import Conflict, FairleadError, InvalidInput, Misconfigured
from fairlead.keyfile import write_private
from fairlead.partners import Directory
from fairlead.published import Published
from fairlead.strategic.received import Received, Request
from fairlead.strategic.terms import FINAL_AFTER_S
from fairlead.v1 import statistics_pb2

FOLDER = "figures"
VERSIONS = (2, 1)
"""Final figures, and first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A folder of releases. ``directory``: whose gateways' signatures count."""

    folder: Path
    directory: Directory

    def put(
        self, found: statistics_pb2.ReleasedFigures, release: Published, wanted: Request
    ) -> None:
        """Keep a release; one that says only that nothing was reported is none. What lies there is
        compared also where nobody's key of today signed it: keys are replaced, figures are not.

        :raises Conflict: PUBLISHED_TWICE: another one is kept that says it is the same.
        :raises Misconfigured: FIGURES_FOLDER: the folder cannot be written.
        """
        if not release.version:
            return
        path = self._path(wanted, release.unit, release.version)
        before = _octets(path)
        if before not in {None, found.release}:
            raise Conflict(
                "the gateway released other figures under this version before",
                reasons=("PUBLISHED_TWICE",),
                remedy=f"keep {path} and tell the operators: one of the two is wrong",
            )
        if self._read(path, wanted, release.version) is None:
            _write(path, found.SerializeToString(deterministic=True))

    def find(self, wanted: Request, now: float) -> Iterator[Published]:
        """The releases of a question that are kept and still the newest that there can be: first
        figures stand until final ones are due. What does not verify is passed over.

        :param now: Unix seconds.
        """
        for unit in wanted.units:
            due = now >= unit.ends + FINAL_AFTER_S
            for version in VERSIONS[:1] if due else VERSIONS:
                found = self._read(self._path(wanted, unit, version), wanted, version)
                if found is not None:
                    yield found
                    break

    def _path(self, wanted: Request, unit: Unit, version: int) -> Path:
        cube = f"{wanted.cube.id}-{wanted.cube.version}"
        level = wanted.level.name.replace(",", "+")
        return self.folder / cube / level / f"{unit.spelling}-{version}.release"

    def _read(self, path: Path, wanted: Request, version: int) -> Published | None:
        """A kept release of a question; None where there is none of this version that verifies."""
        try:
            kept = statistics_pb2.ReleasedFigures.FromString(path.read_bytes())
            found = Received(request=wanted, directory=self.directory, clock=lambda: inf).take(kept)
        except (OSError, DecodeError, FairleadError):
            return None
        return found if found.version == version else None


def _octets(path: Path) -> bytes | None:
    """What a kept file says was released, whoever signed it; None where there is none to read."""
    try:
        return statistics_pb2.ReleasedFigures.FromString(path.read_bytes()).release or None
    except (OSError, DecodeError):
        return None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, data)
    except OSError:
        raise Misconfigured(
            "what was released cannot be kept; nothing was lost, it is frozen at the gateway",
            reasons=("FIGURES_FOLDER",),
            remedy=f"make the folder {path.parent} writable, and ask again",
        ) from None


def check_folder(path: Path) -> Path:
    """A file that is to be written: its folder is there.

    :raises InvalidInput: FOLDER_MISSING.
    """
    if not path.absolute().parent.is_dir():
        raise InvalidInput(
            "the folder to write to does not exist; nothing was sent",
            reasons=("FOLDER_MISSING",),
            remedy=f"mkdir -p {path.absolute().parent}",
        )
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Put a file for others in its place in one step; nothing that lies in the way is written
    through, for the folder may be one where others write too.

    :raises OSError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with fresh.open("xb") as file:  # x: never through a link
        file.write(data)
    fresh.replace(path)


def draw(path: Path, chart: str) -> None:
    """Write a chart.

    :raises Misconfigured: EXPORT_FILE.
    """
    try:
        write_whole(path, chart.encode())
    except OSError:
        raise Misconfigured(
            "the chart cannot be written; what was released is kept",
            reasons=("EXPORT_FILE",),
            remedy=f"name a file that you may write instead of {path}: --chart FILE",
        ) from None
