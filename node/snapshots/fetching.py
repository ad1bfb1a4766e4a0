"""Fetching a snapshot into a folder, piece by piece: resumed after a break, verified whole."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.delta import apply_delta
from fairlead.entries import ENTRY_SIZE
from fairlead.envelope.manifest import Manifest
from fairlead.envelope.piece import PIECE_SIZE, open_piece
from fairlead.errors import Forged, Misconfigured
from fairlead.notice import MAX_DELIVERED
from fairlead.sealing import SealingKey
from fairlead.snapshot import Snapshot
from fairlead.v1 import blind_pb2, gateway_pb2

MAX_SNAPSHOT = 1 << 32
"""Octets of one snapshot: about 44 million entries."""
MAX_HELD = 1 << 36
"""Octets of all of them."""
MAX_OF_OWNER = 1 << 34
"""Octets of all of one owner: it does not fill the place of the others'."""
MIN_FREE = 1 << 28
"""Octets that stay free on the disk."""
TURN_S = 60.0
"""Seconds that one owner is fetched from before others have their turn."""
SUFFIX, PART_SUFFIX = ".snapshot", ".part"

Fetch = Callable[
    [gateway_pb2.FetchPublicationRequest], Awaitable[gateway_pb2.FetchPublicationResponse]
]
"""Fetches a piece through the gateway; raises a FairleadError."""


class TurnOver(Exception):
    """An owner's turn is over and its snapshot is not whole; the next turn goes on from there."""


def octets_of(manifest: Manifest) -> int:
    """Octets of a manifest's snapshot."""
    return manifest.entry_count * ENTRY_SIZE


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Fetches into ``folder``.

    :param key: this partner's sealing key, by the directory in force.
    """

    folder: Path
    partner_id: str
    fetch: Fetch
    key: Callable[[], SealingKey]
    _busy: set[str] = field(default_factory=set)
    """Names of what is fetched at this moment."""

    def path(self, manifest: Manifest) -> Path:
        """Where a manifest's snapshot lies once it is verified."""
        return self.folder / f"{manifest.digest.hex()}{SUFFIX}"

    async def snapshot(
        self, manifest: Manifest, *, before: Path | None, beside: int = 0, until: float = math.inf
    ) -> Snapshot:
        """Fetch what a verified manifest describes.

        1. It fits into what is allowed and free.
        2. The delta, where the snapshot it leads from is held; one that does not lead there is
           forgotten, and the whole is fetched.
        3. The whole has the manifest's count, digest and order; only then it is in its place.

        :param before: the snapshot that the manifest's predecessor describes, under the same key.
        :param beside: octets that are held of its owner already.
        :param until: when the owner's turn is over, in seconds of the running loop's clock.
        :raises Forged: not that snapshot; nothing is left of it.
        :raises TurnOver: it is not whole yet, and goes on when it is fetched again.
        :raises Misconfigured: ``SNAPSHOT_SPACE``, or the folder cannot be written.
        :raises FairleadError: the gateway or the owner delivers nothing; it can be resumed.
        """
        # 1
        await asyncio.to_thread(self._check_room, manifest, beside)
        with self._fetching(manifest):
            # 2
            if before is None or not await self._by_delta(manifest, before, until):
                part = await self._whole(manifest, blind_pb2.PIECE_KIND_SNAPSHOT, until)
                await asyncio.to_thread(_into_place, part, self.path(manifest))
            # 3
            return await asyncio.to_thread(self.open, manifest)

    def open(self, manifest: Manifest) -> Snapshot:
        """Open a snapshot in its place; reads all of it.

        :raises Forged: it is another; it is taken away.
        :raises Misconfigured: it is not there.
        """
        path = self.path(manifest)
        try:
            return Snapshot.open(
                path,
                entries=manifest.entry_count,
                digest=manifest.snapshot_digest,
                pages_root=manifest.pages_root,
            )
        except Forged:
            _remove(path)
            raise

    async def decoys(self, manifest: Manifest) -> bytes:
        """What of a manifest's decoys is sealed to this partner's oversight: some octets."""
        with self._fetching(manifest):
            path = await self._whole(manifest, blind_pb2.PIECE_KIND_DECOYS)
            try:
                return await asyncio.to_thread(path.read_bytes)
            finally:
                _remove(path)

    @contextlib.contextmanager
    def _fetching(self, manifest: Manifest) -> Iterator[None]:
        """Nothing of a manifest is taken away meanwhile, whatever came after it."""
        name = manifest.digest.hex()
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def tidy(self, wanted: Collection[Manifest]) -> None:
        """Take away the files of all other manifests, but for what is fetched at this moment."""
        names = {manifest.digest.hex() for manifest in wanted}
        for path in self.folder.glob("*.*"):
            name = path.name.partition(".")[0]
            if name not in names and name not in self._busy:
                _remove(path)

    def drop(self, manifest: Manifest) -> None:
        """Take a manifest's snapshot away; whoever looks something up in it may end."""
        _remove(self.path(manifest))

    def _check_room(self, manifest: Manifest, beside: int) -> None:
        try:
            wanted = octets_of(manifest)
            held = sum(map(_size, self.folder.glob("*.*")))
            free = shutil.disk_usage(self.folder).free
        except OSError:
            raise _unwritable() from None
        too_much = wanted > MAX_SNAPSHOT or beside + wanted > MAX_OF_OWNER
        if too_much or held + wanted > MAX_HELD or free < 2 * wanted + MIN_FREE:
            raise Misconfigured(
                "there is no room for a snapshot",
                reasons=("SNAPSHOT_SPACE",),
                remedy="make room under state_dir (df -h)",
            )

    async def _by_delta(self, manifest: Manifest, before: Path, until: float) -> bool:
        part: Path | None = None
        try:
            part = await self._whole(manifest, blind_pb2.PIECE_KIND_DELTA, until)
            if not part.stat().st_size:
                return False
            await asyncio.to_thread(
                apply_delta,
                before,
                part,
                self.path(manifest),
                entries=manifest.entry_count,
                digest=manifest.snapshot_digest,
            )
        except Forged:
            return False
        finally:
            if part is not None:
                _remove(part)
        return True

    async def _whole(
        self, manifest: Manifest, kind: blind_pb2.PieceKind.ValueType, until: float = math.inf
    ) -> Path:
        """Fetch every piece that is missing.

        :raises TurnOver: there is no more time now.
        :raises Forged: a piece does not open, or the whole is too long, or changed its size.
        """
        part = self.folder / f"{manifest.digest.hex()}.{int(kind)}{PART_SUFFIX}"
        offset = await asyncio.to_thread(_resumed, part)
        size: int | None = None
        while size is None or offset < size:
            piece = blind_pb2.Piece(manifest=manifest.digest, kind=kind, offset=offset)
            request = gateway_pb2.FetchPublicationRequest(owner=manifest.owner, piece=piece)
            found = (await self.fetch(request)).piece
            try:
                if not _fits(found.size, manifest, kind) or found.size != (size or found.size):
                    raise Forged("a publication has another size", reasons=("PIECE_SIZE",))
                size = found.size
                content = await asyncio.to_thread(
                    open_piece, found, piece, reader=self.partner_id, key=self.key()
                )
            except Forged:
                _remove(part)
                raise
            await asyncio.to_thread(_append, part, offset, content)
            offset += len(content)
            if offset < size and asyncio.get_running_loop().time() >= until:
                raise TurnOver
        return part


def _fits(size: int, manifest: Manifest, kind: blind_pb2.PieceKind.ValueType) -> bool:
    """Whether a whole may have this size; a delta longer than its snapshot is of no use."""
    if kind == blind_pb2.PIECE_KIND_SNAPSHOT:
        return size == octets_of(manifest)
    if kind == blind_pb2.PIECE_KIND_DELTA:
        return size <= octets_of(manifest)
    return size <= MAX_DELIVERED


def _resumed(part: Path) -> int:
    """Whole pieces that are there, in octets."""
    return _size(part) // PIECE_SIZE * PIECE_SIZE


def _size(path: Path) -> int:
    """Octets of a file; of one that went away meanwhile none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _append(part: Path, offset: int, content: bytes) -> None:
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(content)
    except OSError:
        raise _unwritable() from None


def _into_place(part: Path, path: Path) -> None:
    try:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        raise _unwritable() from None


def _remove(path: Path) -> None:
    """Take a file away; one that cannot be is in nobody's way but the disk's."""
    with contextlib.suppress(OSError):
        path.unlink()


def _unwritable() -> Misconfigured:
    return Misconfigured(
        "a snapshot cannot be written",
        reasons=("SNAPSHOT_UNWRITABLE",),
        remedy="make room under state_dir (df -h) and check its permissions (ls -ld)",
    )
