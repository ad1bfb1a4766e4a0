"""Delivering what was published, piece by piece, sealed to its reader, whoever asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.certificates import Identity
from fairlead.envelope.manifest import Manifest
from fairlead.envelope.piece import PIECE_SIZE, check_piece, seal_piece
from fairlead.errors import FairleadError, Overloaded, Refused, Stale
from fairlead.v1 import blind_pb2, owner_pb2
from node.owner import Owner
from node.publication.folder import Folder
from node.publication.shelf import Shelf, put_delivered

SUBJECT = "OwnerService.Deliver"
AT_ONCE = 16
"""Pieces that are read and sealed at a time, of 1 MiB each."""
Decoys = Callable[[Manifest, str], bytes]
"""What a reader's oversight is told of a manifest's decoys: sealed to its key; b"" for nothing."""


def no_decoys(_manifest: Manifest, _reader: str) -> bytes:
    """There are none."""
    return b""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """Delivers the publications of one node.

    :param paused: whether the owner delivers nothing at the moment.
    :param decoys: what is served as ``PIECE_KIND_DECOYS``.
    """

    owner: Owner
    shelf: Shelf
    folder: Folder
    paused: Callable[[], bool]
    decoys: Decoys = no_decoys
    _known: dict[bytes, Manifest] = field(default_factory=dict)
    _busy: int = 0
    _noting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def deliver(
        self, request: owner_pb2.DeliverRequest, peer: Identity
    ) -> owner_pb2.DeliverResponse:
        """One piece for a reader.

        1. It is a piece, and this owner does not pause.
        2. Its manifest answers now, or is the one before that.
        3. The reader is in its class, and the directory has its key.
        4. Not too many pieces are read at this moment.
        5. The first piece of a manifest for a reader is a leaf, before it leaves.
        6. It is read and sealed to the reader beside the event loop.

        :raises FairleadError: refused, with the refusal on the record.
        """
        try:
            # 1
            check_piece(request.piece)
            if self.paused():
                raise Refused(
                    "the owner delivers nothing at the moment", reasons=("OWNER_PAUSED",),
                    remedy="it is tried again later, or call the owner's contact desk",
                )  # fmt: skip
            # 2
            manifest = self._manifest(request.piece.manifest)
            # 3
            if request.reader not in manifest.audience.partners:
                raise Refused("a publication is for others", reasons=("NOT_IN_AUDIENCE",))
            public = self.owner.directory().partner(request.reader).sealing_key
            # 4
            if self._busy >= AT_ONCE:
                raise Overloaded(
                    "this owner is busy", reasons=("PIECES_IN_FLIGHT",), remedy="try again later"
                )
        except FairleadError as error:
            leaf = self.owner.leaves.refusal(
                error, subject=SUBJECT, partner_id=peer.partner_id or "", user=peer.spiffe_id
            )
            await self.owner.log.append(leaf)
            raise
        self._busy += 1
        try:
            # 5
            await self._note(manifest, request.reader)
            # 6
            sealed = await asyncio.to_thread(self._sealed, manifest, request, public)
        finally:
            self._busy -= 1
        return owner_pb2.DeliverResponse(piece=sealed)

    def _manifest(self, digest: bytes) -> Manifest:
        found = self._known.get(digest)
        now = self.owner.clock()
        if found is None or not self.shelf.delivers(found, now):
            self._known = {
                item.manifest.digest: item.manifest for item in self.shelf.delivering(now)
            }
            found = self._known.get(digest)
        if found is None or found.audience.policy_serial != self.owner.policy().serial:
            raise _over()
        return found

    async def _note(self, manifest: Manifest, reader: str) -> None:
        async with self._noting:
            if self.shelf.was_delivered(manifest.digest, reader):
                return
            leaf = self.owner.leaves.publication(
                "delivered",
                partner_id=reader,
                scheme=manifest.scheme,
                manifest_digest=manifest.digest,
            )
            put = put_delivered(manifest, reader, self.owner.clock())
            await self.owner.log.append(leaf, also=put)

    def _sealed(
        self, manifest: Manifest, request: owner_pb2.DeliverRequest, public: bytes
    ) -> blind_pb2.SealedPiece:
        piece = request.piece
        if piece.kind == blind_pb2.PIECE_KIND_SNAPSHOT:
            content, size = _part(self.folder.snapshot(manifest), piece.offset)
        elif piece.kind == blind_pb2.PIECE_KIND_DELTA:
            try:
                content, size = _part(self.folder.delta(manifest), piece.offset)
            except Stale:
                content, size = b"", 0  # the first of its key: there is nothing that leads to it
        else:
            whole = self.decoys(manifest, request.reader)
            content, size = whole[piece.offset : piece.offset + PIECE_SIZE], len(whole)
        return seal_piece(content, piece, reader=request.reader, size=size, public=public)


def _part(path: Path, offset: int) -> tuple[bytes, int]:
    """Octets of a file from ``offset`` on, and how many it has.

    :raises Stale: it is there no longer.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_SIZE), os.fstat(file.fileno()).st_size
    except OSError:
        raise _over() from None


def _over() -> Stale:
    return Stale(
        "this is not published now",
        reasons=("EPOCH_OVER",),
        remedy="fetch what the owner published last",
    )
