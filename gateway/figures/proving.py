"""That a release is on the record: the leaf of exactly its octets, and a receipt of it.

Whoever holds a gateway's key could sign figures that no log has. So nobody takes a release without
the receipt of its leaf, in the history that the asker's node knows.
"""

from __future__ import annotations

from fairlead import published, signing
from fairlead.auditlog import Also, AuditLog, Connection
from fairlead.errors import NotFound
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures.shelf import FiguresShelf, put_leaf


class Proofs:
    """Records releases, and proves that they are on the record."""

    def __init__(self, log: AuditLog, leaves: LeafWriter) -> None:
        self._log = log
        self._leaves = leaves
        self._shelf = FiguresShelf(log)

    async def record(
        self, octets: bytes, *, list_digest: bytes = b"", also: Also | None = None
    ) -> int:
        """Append the leaf of a release.

        :param list_digest: of the partners whose rounds it is of; none where it is of totals.
        :param also: for the same transaction.
        :returns: its place in the log.
        """
        said = pb.PublishedRelease.FromString(octets)
        digest = _digest(octets)
        leaf = self._leaves.figures(
            "figures-released",
            audit_pb2.FiguresLeaf(
                cube=said.cube,
                cube_version=said.cube_version,
                level=said.level,
                period=said.unit,
                version=said.version,
                list_digest=list_digest,
                participants=said.participants if list_digest else 0,
                statement_digest=digest,
            ),
        )
        place = put_leaf(digest, leaf, leaf_from=self._log.head.size)

        def put(connection: Connection) -> None:
            if also is not None:
                also(connection)
            place(connection)

        return (await self._log.append(leaf, also=put)).index

    async def receipt(self, octets: bytes, known: int) -> audit_pb2.Receipt | None:
        """The receipt of a release's leaf. One whose leaf was erased, or that was put in other
        words since, is recorded once more.

        :param known: size of a head of this log that the reader accepted.
        :returns: None of a unit that is not reported, which has no leaf.
        """
        if not pb.PublishedRelease.FromString(octets).version:
            return None
        index = self._shelf.leaf_of_release(_digest(octets))
        if index is not None:
            await self._log.follow()
            try:
                return self._log.receipt(index, known)
            except NotFound as gone:
                if gone.code != "LEAF_ERASED":
                    raise
        return self._log.receipt(await self.record(octets), known)


def _digest(octets: bytes) -> bytes:
    return signing.digest(signing.preimage(published.DOMAIN, octets))
