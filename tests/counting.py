"""A gateway that has figures counted, in a process of its own whose memory can be searched.

What it asks a partner goes out on its standard output, what the partner says comes in on its
standard input, a message a frame, an empty one where it takes no part; the last frame says that the
release is out. The nodes are in the process that started it, and so is everything they know.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from pathlib import Path
from typing import IO

from certs.dev.layout import Layout
from fairlead.cubes.period import parse_unit
from fairlead.strategic.statements import statement_from_wire
from fairlead.summing import Statement
from fairlead.v1 import query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures.making import Sought
from gateway.members import LegFailed, RoundRequest
from tests.tallying import CUBE, LEVEL, REGISTRY, UNIT, Town, Wire
from tests.walks import ASKER, NOW, world_of

KINDS: tuple[type[RoundRequest], ...] = (
    pb.GetReadyRequest,
    pb.CountContributorsRequest,
    pb.SumValuesRequest,
)
OUT = b"out"


def put(stream: IO[bytes], *parts: bytes) -> None:
    """Write a frame."""
    stream.writelines(struct.pack(">I", len(part)) + part for part in parts)
    stream.flush()


def take(stream: IO[bytes]) -> bytes:
    """Read a part of a frame; empty at the end."""
    size = stream.read(4)
    return stream.read(struct.unpack(">I", size)[0]) if size else b""


class Piped(Wire):
    """Partners at the other end of the pipes."""

    gate = threading.Lock()

    def statement(self, partner_id: str, request: RoundRequest) -> Statement:
        """What a partner said."""
        with self.gate:
            kind = bytes([KINDS.index(type(request))])
            put(sys.stdout.buffer, partner_id.encode(), kind, request.SerializeToString())
            said = take(sys.stdin.buffer)
        if not said:
            raise LegFailed(query_pb2.STATUS_INVALID, "UNKNOWN_PARTNER")
        return statement_from_wire(pb.RoundStatement.FromString(said))


async def counted(folder: Path) -> None:
    """Make one release, say so, and stay until the other end has seen enough."""
    town = Town(
        world_of(Layout(folder / "certs" / "keys"), now=NOW), folder / "state", round_s=60.0
    )
    town.wire.__class__ = Piped
    town.wire.seen = town.wire.said = _Forgetful()
    found = Sought(registry=REGISTRY, cube=CUBE, level=CUBE.level(LEVEL), unit=parse_unit(UNIT))
    await town.maker.released(found, partner=ASKER, progress=lambda *_: None)
    put(sys.stdout.buffer, OUT)
    take(sys.stdin.buffer)
    town.close()


class _Forgetful(list):  # type: ignore[type-arg]
    """Keeps nothing: what a test looks at afterwards is no part of a gateway."""

    def append(self, _item: object) -> None:
        """Forget it."""


if __name__ == "__main__":
    asyncio.run(counted(Path(sys.argv[1])))
