"""What nodes did not report a moment ago, so that nobody has all of them asked again and again."""

from __future__ import annotations

from collections.abc import Callable

from fairlead.summing import Release

UNREPORTED_S = 300
"""Seconds for which it is said again that a unit is not reported."""


class Unreported:
    """In memory alone: a release of which too few have figures is none."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[Release, tuple[float, bytes]] = {}

    def get(self, release: Release) -> bytes | None:
        """What was said of it a moment ago."""
        until, octets = self._said.get(release, (0.0, b""))
        return octets if self._clock() < until else None

    def put(self, release: Release, octets: bytes) -> None:
        """Remember what is said now, and forget what is over."""
        now = self._clock()
        self._said = {each: said for each, said in self._said.items() if now < said[0]}
        self._said[release] = now + UNREPORTED_S, octets

    def forget(self, cube: str) -> None:
        """Something of a cube is out since, of which totals may be made."""
        self._said = {each: said for each, said in self._said.items() if each.cube != cube}
