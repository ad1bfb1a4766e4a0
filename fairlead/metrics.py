"""What an operator may count: Prometheus metrics of one process, without terms, names or hits.

Everything written to the audit log passes its :class:`~fairlead.leaves.LeafWriter`, which tells
a :class:`Tally`: what is on the record is what is counted. Labels are partner ids, statuses and
reason codes, all from closed lists; whether an answer was a hit is counted nowhere, because a
scrape every few seconds would time it. The exposition format is Prometheus' own, served by
``prometheus_client`` on plain HTTP: keep it on loopback or behind your own proxy.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fairlead.errors import Misconfigured

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_OPEN = 65_536
MAX_LABELS = 512
"""Different label values of one counter; further ones are counted as ``other``."""
OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One value read at the moment of a scrape."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Tally:
    """Counters of one audit log. Times come from ``clock`` in seconds (monotonic)."""

    clock: Callable[[], float] = time.monotonic
    leaves: Counter[str] = field(default_factory=Counter)
    legs: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    seconds: float = 0.0
    _began: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def leaf(self, kind: str) -> None:
        """A leaf of this type was written."""
        self.leaves[kind] += 1

    def refused(self, reasons: Iterable[str]) -> None:
        """Something was refused for these codes."""
        _count(self.refusals, reasons)

    def alarmed(self, reasons: Iterable[str]) -> None:
        """An alarm was raised for these codes."""
        _count(self.alarms, reasons)

    def began(self, query_id: bytes) -> None:
        """A query was admitted."""
        self._began[query_id] = self.clock()
        if len(self._began) > MAX_OPEN:
            self._began.popitem(last=False)

    def closed(self, query_id: bytes, legs: Iterable[tuple[str, str]]) -> None:
        """A query was closed with these (partner, status)."""
        self.legs.update(legs)
        began = self._began.pop(query_id, None)
        if began is None:
            return
        took = self.clock() - began
        self.seconds += took
        place = next((i for i, limit in enumerate(BUCKETS_S) if took <= limit), len(BUCKETS_S))
        self.buckets[place] += 1

    @property
    def open(self) -> int:
        """Queries admitted and not closed."""
        return len(self._began)


def _count(counter: Counter[str], reasons: Iterable[str]) -> None:
    for reason in reasons:
        known = reason in counter or len(counter) < MAX_LABELS
        counter[reason if known else OTHER] += 1


Gauges = Callable[[], Sequence[Gauge]]


@contextmanager
def serving(listen: str | None, tally: Tally, gauges: Gauges) -> Iterator[int]:
    """Serve ``/metrics`` while the context lasts; yields the port, 0 when ``listen`` is None.

    :raises Misconfigured: METRICS_LISTEN, the address cannot be used.
    """
    if listen is None:
        yield 0
        return
    from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
    from prometheus_client.exposition import start_http_server
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry()
    for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
        registry.register(collector)
    registry.register(_Collector(tally, gauges))  # type: ignore[arg-type]  # late import, no base
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError:
        raise Misconfigured(
            "the address for metrics cannot be used",
            reasons=("METRICS_LISTEN",),
            remedy="choose a free host:port of this machine for metrics, or leave the key out",
        ) from None
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """Turns a tally and the gauges of the moment into Prometheus families."""

    def __init__(self, tally: Tally, gauges: Gauges) -> None:
        self._tally = tally
        self._gauges = gauges

    def collect(self) -> Iterator[object]:
        """Called by the library, in its own thread, at each scrape."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        tally = self._tally
        leaves = CounterMetricFamily(
            "fairlead_leaves", "Leaves written to the audit log.", labels=["type"]
        )
        for kind, count in sorted(tally.leaves.copy().items()):
            leaves.add_metric([kind], count)
        yield leaves
        legs = CounterMetricFamily(
            "fairlead_partner_states",
            "Partners' final states in closed queries.",
            labels=["partner", "status"],
        )
        for (partner, status), count in sorted(tally.legs.copy().items()):
            legs.add_metric([partner, status], count)
        yield legs
        refusals = CounterMetricFamily(
            "fairlead_refusals", "Refusals on the record.", labels=["reason"]
        )
        for reason, count in sorted(tally.refusals.copy().items()):
            refusals.add_metric([reason], count)
        yield refusals
        alarms = CounterMetricFamily("fairlead_alarms", "Alarms on the record.", labels=["reason"])
        for reason, count in sorted(tally.alarms.copy().items()):
            alarms.add_metric([reason], count)
        yield alarms
        total, buckets = 0, []
        for limit, count in zip((*map(str, BUCKETS_S), "+Inf"), tally.buckets, strict=True):
            total += count
            buckets.append((limit, float(total)))
        duration = HistogramMetricFamily(
            "fairlead_query_duration_seconds", "From a query's INTENT to its OUTCOME."
        )
        duration.add_metric([], buckets=buckets, sum_value=tally.seconds)
        yield duration
        yield GaugeMetricFamily(
            "fairlead_open_queries", "Queries admitted and not closed.", value=tally.open
        )
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in self._gauges():
            names = [name for name, _ in gauge.labels]
            family = families.setdefault(
                gauge.name, GaugeMetricFamily(gauge.name, gauge.help, labels=names)
            )
            family.add_metric([value for _, value in gauge.labels], gauge.value)
        yield from families.values()
