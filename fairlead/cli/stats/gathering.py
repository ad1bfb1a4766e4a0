"""One question on its way: asked, its progress told on stderr, its releases kept."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from fairlead.cli.output import printable, say
from fairlead.cli.stats.keeping import Kept
from fairlead.published import Published
from fairlead.strategic.received import Received, Request
from fairlead.v1 import asking_pb2, statistics_pb2

_CLEAR = "\r\033[K"


@dataclass(slots=True)
class Telling:
    """How far a question is; on a terminal one line that is written anew."""

    live: bool = False
    brief: bool = False
    """Say nothing of each unit of time."""
    _written: bool = False

    @classmethod
    def to_person(cls, *, brief: bool = False) -> Telling:
        """To stderr as it is."""
        return cls(live=sys.stderr.isatty(), brief=brief)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.end()
        if not self.brief:
            say(text)

    def passing(self, text: str) -> None:
        """What the next line replaces; nothing where lines cannot be replaced."""
        if self.live:
            sys.stderr.write(f"{_CLEAR}{printable(text)}")
            sys.stderr.flush()
            self._written = True

    def end(self) -> None:
        """Take the passing line away."""
        if self._written:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._written = False


async def gather(
    client: Any, wanted: Request, *, kept: Kept, telling: Telling
) -> tuple[Published, ...]:
    """Ask, check and keep what comes back; the releases in the order of their units.

    :raises grpc.RpcError: refused. :raises FairleadError: what came back does not hold.
    """
    received = Received(request=wanted, directory=kept.directory, clock=time.time)
    try:
        async for event in client.ask_figures(wanted):
            _told(event, received, kept, telling)
        received.check_whole()
    finally:
        telling.end()
    return tuple(received.ordered())


def _told(
    event: asking_pb2.AskFiguresResponse, received: Received, kept: Kept, telling: Telling
) -> None:
    match event.WhichOneof("event"):
        case "accepted":
            units = event.accepted.units
            telling.passing(f"on the gateway's record; {units} to come")
        case "progress":
            telling.passing(_progress(event.progress))
        case "released":
            release = received.take(event.released)
            kept.put(event.released, release, received.request)
            telling.line(coverage(release))


def _progress(now: statistics_pb2.QueryFiguresResponse.Progress) -> str:
    return f"{now.unit}: round {now.round}, {now.answered} of {now.participants} partners"


def coverage(release: Published) -> str:
    """Who took part in a release, in words."""
    said = f"{release.unit.spelling}: {release.participants} of {release.expected} partners"
    return said if release.version else f"{said}, too few: not reported"
