"""What an index says of itself, sealed under this node's key."""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass

from fairlead.errors import SourceUnusable
from fairlead.identifiers import NORM_VERSION
from node.index.codec import ROOT_SIZE, Codec, index_changed
from node.index.multiset import Multiset

EPOCH_S = 7 * 86_400
FORMAT = 4
NAME = "description"
_LAYOUT = struct.Struct(">QQQdQQQ32s32s32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Counts and multiset sums of the tables.

    ``generation`` grows with every change of the file, and past that of any file before it: it is
    at least the time in milliseconds. ``fresh_at`` is the time (unix seconds) at which the source
    that was read longest ago was read.
    """

    generation: int
    fresh_at: float
    records: Multiset
    entries: Multiset
    states: Multiset

    @classmethod
    def empty(cls) -> Description:
        """Of a file that holds nothing yet."""
        return cls(
            generation=0,
            fresh_at=0.0,
            records=Multiset(b"record"),
            entries=Multiset(b"entry"),
            states=Multiset(b"document"),
        )

    @property
    def epoch(self) -> int:
        """Whole weeks since 1970 at :attr:`fresh_at`."""
        return int(self.fresh_at // EPOCH_S)

    def root(self, codec: Codec) -> bytes:
        """32 octets over epoch and content: equal content in one week has equal roots."""
        sums = b"".join(s.total.to_bytes(ROOT_SIZE) for s in (self.records, self.entries))
        counts = struct.pack(">QQQ", self.epoch, self.records.count, self.entries.count)
        return codec.root(counts + sums)

    def write(self, connection: sqlite3.Connection, codec: Codec, nonce: bytes) -> None:
        """Put it into the file."""
        kinds = (self.records, self.entries, self.states)
        octets = _LAYOUT.pack(
            FORMAT,
            NORM_VERSION,
            self.generation,
            self.fresh_at,
            *(kind.count for kind in kinds),
            *(kind.total.to_bytes(ROOT_SIZE) for kind in kinds),
        )
        name = codec.state_name(NAME)
        connection.execute(
            "INSERT OR REPLACE INTO state VALUES (?, ?)", (name, codec.seal(name, octets, nonce))
        )

    @classmethod
    def read(cls, connection: sqlite3.Connection, codec: Codec) -> Description:
        """Read and verify it.

        1. It was sealed under this node's key.
        2. Its format and its canonical forms are those of this program.

        Whether the tables hold what it says is for :func:`node.index.verification.verify`.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``NORM_VERSION``.
        """
        name = codec.state_name(NAME)
        row = connection.execute("SELECT sealed FROM state WHERE name = ?", (name,)).fetchone()
        # 1
        octets = codec.open(name, row[0]) if row else b""
        if len(octets) < _LAYOUT.size:
            raise index_changed()
        layout, norm_version, generation, fresh_at, *rest = _LAYOUT.unpack_from(octets)
        # 2
        if (layout, norm_version) != (FORMAT, NORM_VERSION):
            raise other_version()
        kinds = (b"record", b"entry", b"document")
        sums = [
            Multiset(kind, int.from_bytes(total), count)
            for kind, count, total in zip(kinds, rest[:3], rest[3:], strict=True)
        ]
        return cls(
            generation=generation,
            fresh_at=fresh_at,
            records=sums[0],
            entries=sums[1],
            states=sums[2],
        )


def other_version() -> SourceUnusable:
    """The file was written by a program with another format or other canonical forms."""
    return SourceUnusable(
        "the index was built by another version of this program",
        reasons=("NORM_VERSION",),
        remedy="build it anew: fairlead-node index --anew --config FILE",
    )
