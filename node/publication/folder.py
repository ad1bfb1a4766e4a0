"""The folder of what is published: ``blind`` in the state folder, with one folder an epoch."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from fairlead.envelope.manifest import Manifest
from fairlead.keyfile import private_folder, write_private
from node.publication.epochs import Epochs

NAME = "blind"
SUFFIX = ".snapshot"
DELTA_SUFFIX = ".delta"
INPUTS_FILE = "inputs"


def epoch_folder(state: Path, epoch: int) -> Path:
    """An epoch's folder in the state folder, made when it is missing."""
    return private_folder(state / NAME / f"epoch-{epoch}")


class Folder:
    """The files of publications below a node's state folder. No backup holds any of them."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def snapshot(self, manifest: Manifest) -> Path:
        """Where a manifest's snapshot lies."""
        folder = self._state / NAME / f"epoch-{manifest.epoch}"
        return folder / f"{manifest.snapshot_digest.hex()}{SUFFIX}"

    def delta(self, manifest: Manifest) -> Path:
        """Where the delta lies that leads to a manifest's snapshot, where there is one."""
        return self.snapshot(manifest).with_suffix(DELTA_SUFFIX)

    def inputs(self, epoch: int) -> bytes:
        """The digest of what the last complete publication was made of; empty before one."""
        try:
            return (epoch_folder(self._state, epoch) / INPUTS_FILE).read_bytes()
        except OSError:
            return b""

    def complete(self, epoch: int, inputs: bytes) -> None:
        """A publication is complete, and made of this."""
        write_private(epoch_folder(self._state, epoch) / INPUTS_FILE, inputs)

    def forget(self, epoch: int) -> None:
        """What was made counts as nobody's publication: the next one looks at everything."""
        self.complete(epoch, b"")

    def tidy(self, answering: Collection[Manifest], epochs: Epochs, now: float) -> None:
        """Take away folders of epochs that are over, and snapshots that no manifest names."""
        wanted = {self.snapshot(manifest) for manifest in answering}
        for folder in (self._state / NAME).glob("epoch-*"):
            number = folder.name.removeprefix("epoch-")
            if number.isdecimal() and now >= epochs.answers_until(int(number)):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for path in folder.glob("*.*"):
                published = path.suffix in {SUFFIX, DELTA_SUFFIX}
                if published and path.with_suffix(SUFFIX) not in wanted:
                    path.unlink(missing_ok=True)
