"""The policy in force, exchanged whole: no decision ever mixes two serials.

Whoever decides takes :attr:`LivePolicy.current` once for a query and keeps it until the query's
last decision; a swap changes nothing for it. The engines of a serial that was replaced are closed
when the last query that took them lets go.
"""

from __future__ import annotations

from weakref import finalize

from fairlead.policy.bundle import Bundle
from fairlead.policy.cubes import CUBES
from fairlead.policy.engine import EngineMaker, wasm_engine
from fairlead.policy.points import Alarm, PolicyPoints
from fairlead.policy.recorded import Recorder
from fairlead.policy.validity import Validity, close_engines


class LivePolicy:
    """Holds the decision points of the serial in force."""

    def __init__(self, first: PolicyPoints) -> None:
        self._current = self._imagined = first
        self.recorder: Recorder | None = None
        """Takes every decision down; see :meth:`record_by`."""

    @property
    def current(self) -> PolicyPoints:
        """The points of the serial in force now; take them once for a query."""
        return self._current

    @property
    def serial(self) -> int:
        """The serial in force now, for what decides nothing."""
        return self._current.serial

    @property
    def imagined(self) -> PolicyPoints:
        """The same points for a question that nobody asked, such as a preview: no record."""
        return self._imagined

    def record_by(self, recorder: Recorder | None) -> None:
        """Have every decision from now on taken down, whatever serial makes it."""
        self.recorder = recorder
        self.swap(self._imagined)

    def swap(self, points: PolicyPoints) -> None:
        """Decide under other points from now on."""
        self._imagined = points
        self._current = points.recorded_by(self.recorder)


def points_of(
    bundle: Bundle,
    local: Bundle | None,
    *,
    validity: Validity,
    alarm: Alarm,
    make: EngineMaker = wasm_engine,
    lenient: bool = False,
) -> PolicyPoints:
    """The decision points of a verified bundle, and of a partner's own above it; their engines are
    closed when nobody holds them any more. See :meth:`Bundle.layers`.

    :raises Misconfigured: the agreements are wrong. :raises PolicyUnavailable: no engine starts.
    """
    registry = bundle.registry()
    layers = bundle.layers(local, make, validity=validity, lenient=lenient)
    points = PolicyPoints(
        layers,
        bundle.serial,
        alarm=alarm,
        registry=registry,
        not_after=bundle.manifest.not_after,
        cubes=bundle.files.get(CUBES, b""),
    )
    finalize(points, close_engines, [layer.engine for layer in layers]).atexit = False
    return points
