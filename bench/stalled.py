"""One owner of several stalls under load: do all queries complete, and do the others notice?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.federation import Federation
from bench.rounds import FULL, Bench, Plan, percentile


@dataclass(slots=True)
class Stall:
    """Times to the other owners' answers in ms, by round, in turns without and with the stall."""

    owners: int
    queries: int = 0
    complete: int = 0
    others_failed: int = 0
    apart: Counter[str] = field(default_factory=Counter)
    healthy_ms: list[float] = field(default_factory=list)
    stalled_ms: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median with the stalled owner over median without."""
        return percentile(self.stalled_ms, 50) / percentile(self.healthy_ms, 50)


def measure(
    bench: Bench, federation: Federation, plan: Plan, *, rate: float, say: Callable[[str], None]
) -> Stall:
    """Watch the others' answers, in turns: everybody answers, then the last owner stalls.

    :param rate: queries/s of the fastest run so far, so that enough are prepared.
    """
    names = federation.owners(plan.stall_owners)
    found = Stall(owners=len(names))
    for number in range(1, plan.rounds + 1):
        for stalled in ("", names[-1]):
            bench.prepare(len(names), rate * plan.stall_seconds * 1.5 + plan.in_flight)
            bench.stall(stalled)
            result = bench.load.order(
                do="watch",
                target=FULL,
                seconds=plan.stall_seconds,
                in_flight=plan.in_flight,
                apart=names[-1],
            )
            (found.stalled_ms if stalled else found.healthy_ms).extend(result["others_ms"])
            found.others_failed += result["others_failed"]
            if stalled:
                found.queries += result["queries"]
                found.complete += result["complete"]
                found.apart.update(result["apart"])
        say(
            f"round {number}/{plan.rounds}, one of {len(names)} stalls: {found.complete} of "
            f"{found.queries} queries complete, the others' p50 at {found.ratio:.2f}"
        )
    bench.stall("")
    return found
