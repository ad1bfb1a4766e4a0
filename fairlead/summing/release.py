"""A release: one cube at one level, for one calendar unit, in one version."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from fairlead.errors import InvalidInput
from fairlead.names import check_code

MAX_VERSION = 2**32 - 1
_LEVEL = re.compile(r"[a-z0-9][a-z0-9,-]{0,254}\Z")
_PERIOD = re.compile(r"([1-8][0-9]{3})(?:-Q([1-4])|-(0[1-9]|1[0-2]))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is summed at once, and frozen once it was.

    ``period`` is a single unit (``2026``, ``2026-Q1``, ``2026-01``): a query over several is one
    release for each, so that two windows that overlap share their units' figures, lists and noise.

    :raises InvalidInput: CODE or RELEASE.
    """

    cube: str
    cube_version: int
    level: str
    period: str
    version: int

    def __post_init__(self) -> None:
        check_code(self.cube)
        if not _LEVEL.match(self.level):
            raise InvalidInput("a level is misspelt", reasons=("RELEASE",))
        if not _PERIOD.match(self.period):
            raise InvalidInput("a release is of one calendar unit", reasons=("RELEASE",))
        if not all(0 < number <= MAX_VERSION for number in (self.cube_version, self.version)):
            raise InvalidInput("versions count from 1", reasons=("RELEASE",))

    @property
    def months(self) -> range:
        """The months of the period, counted from the year 0."""
        found = _PERIOD.match(self.period)
        assert found is not None  # noqa: S101 - checked when it was made
        year, quarter, month = found.groups()
        if quarter:
            return range(12 * int(year) + 3 * int(quarter) - 3, 12 * int(year) + 3 * int(quarter))
        first = 12 * int(year) + (int(month) - 1 if month else 0)
        return range(first, first + (1 if month else 12))

    @property
    def ends(self) -> int:
        """The first second after the period (Unix, UTC)."""
        year, month = divmod(self.months.stop, 12)
        return int(dt.datetime(year, month + 1, 1, tzinfo=dt.UTC).timestamp())

    def to_bytes(self) -> bytes:
        """Canonical octets: no two releases share them."""
        return framed(*self.source(), self.period.encode())

    def source(self) -> tuple[bytes, ...]:
        """All but the period: cube, its version, level, version."""
        return (
            self.cube.encode(),
            self.cube_version.to_bytes(4, "big"),
            self.level.encode(),
            self.version.to_bytes(4, "big"),
        )


def framed(*parts: bytes) -> bytes:
    """Each part behind its length (4 octets, big-endian): other parts give other octets."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
