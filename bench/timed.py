"""The shipped gateway, whose policy decisions are timed on the wall clock.

``python -m bench.timed FILE CONFIG`` runs ``fairlead-gateway serve``. Between two signals each
admission and each routing is timed from the call to its decision, waiting included; at the end
their nanoseconds are in ``FILE``.
"""

from __future__ import annotations

import atexit
import json
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from fairlead.policy.points import PolicyPoints

START, STOP = signal.SIGUSR1, signal.SIGUSR2
TIMED = ("admission", "routing")

P = ParamSpec("P")
T = TypeVar("T")


class Times:
    """What each call took, while somebody wants to know."""

    def __init__(self) -> None:
        self._taken: dict[str, list[int]] = {name: [] for name in TIMED}
        self._wanted = False

    def start(self, _number: int, _frame: FrameType | None) -> None:
        """Begin."""
        self._wanted = True

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """End."""
        self._wanted = False

    def of(self, name: str, method: Callable[P, T]) -> Callable[P, T]:
        """The same method, timed."""

        @wraps(method)
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            began = time.perf_counter_ns()
            try:
                return method(*args, **kwargs)
            finally:
                if self._wanted:
                    self._taken[name].append(time.perf_counter_ns() - began)

        return timed

    def save(self, path: Path) -> None:
        """Write what was collected."""
        path.write_text(json.dumps(self._taken))


def main() -> None:
    """Serve, timed."""
    path, config = Path(sys.argv[1]), sys.argv[2]
    times = Times()
    signal.signal(START, times.start)
    signal.signal(STOP, times.stop)
    atexit.register(times.save, path)
    for name in TIMED:
        setattr(PolicyPoints, name, times.of(name, getattr(PolicyPoints, name)))
    from gateway.cli.main import main as serve

    sys.argv = ["fairlead-gateway", "serve", "--config", config]
    serve()


if __name__ == "__main__":
    main()
