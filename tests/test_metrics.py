"""Metrics: what is on the record is what is counted, and nothing of a question shows."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from fairlead.errors import Misconfigured
from fairlead.metrics import BUCKETS_S, MAX_LABELS, OTHER, Gauge, Tally, serving
from tests.federation import CASE, STORY, federation
from tests.processes import gateway_process


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def test_a_scrape_shows_counters_durations_and_gauges() -> None:
    """Every family stands in the exposition with its labels."""
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    tally.leaf("intent")
    tally.began(b"q")
    now[0] = 0.02
    tally.closed(b"q", [("police", "answered")])
    tally.refused(["PURPOSE_NOT_COVERED"])
    tally.alarmed(["ENUMERATION_RUN"])
    gauge = Gauge(name="fairlead_test", help="A test.", value=3, labels=(("what", "it"),))
    with serving("127.0.0.1:0", tally, lambda: [gauge]) as port:
        text = scrape(port)
    assert 'fairlead_leaves_total{type="intent"} 1.0' in text
    assert 'fairlead_partner_states_total{partner="police",status="answered"} 1.0' in text
    assert 'fairlead_refusals_total{reason="PURPOSE_NOT_COVERED"} 1.0' in text
    assert 'fairlead_query_duration_seconds_bucket{le="0.025"} 1.0' in text
    assert 'fairlead_query_duration_seconds_bucket{le="0.01"} 0.0' in text
    assert 'fairlead_alarms_total{reason="ENUMERATION_RUN"} 1.0' in text
    assert 'fairlead_test{what="it"} 3.0' in text
    assert "process_resident_memory_bytes" in text


def test_labels_are_bounded() -> None:
    """A caller who is refused for ever new reasons cannot grow the process."""
    tally = Tally()
    for number in range(2 * MAX_LABELS):
        tally.refused([f"REASON_{number}"])
    assert len(tally.refusals) == MAX_LABELS + 1
    assert tally.refusals[OTHER] == MAX_LABELS


def test_a_query_longer_than_every_bucket_is_counted() -> None:
    """The last bucket has no upper end."""
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    tally.began(b"q")
    now[0] = BUCKETS_S[-1] + 1
    tally.closed(b"q", [])
    assert tally.buckets[-1] == 1
    assert tally.open == 0


def test_an_address_in_use_is_a_configuration_error() -> None:
    """The operator learns which key to change."""
    with (
        serving("127.0.0.1:0", Tally(), tuple) as port,
        pytest.raises(Misconfigured, match="address for metrics"),
        serving(f"127.0.0.1:{port}", Tally(), tuple),
    ):
        pass


async def test_both_sides_count_a_query_and_show_no_term(tmp_path: Path) -> None:
    """One query gives an intent everywhere it passes, closes, and leaves no term in a scrape."""
    async with federation(tmp_path) as made:
        await made.open_case()
        await made.ask(STORY)
        assert made.gateway is not None
        apps = (made.gateway, made.nodes["customs"], made.nodes["terminal-north"])
        for app in apps:
            with serving("127.0.0.1:0", app.tally, app.gauges) as port:
                text = scrape(port)
            assert 'fairlead_leaves_total{type="intent"} 1.0' in text
            assert "fairlead_open_queries 0.0" in text
            assert 'status="answered"' in text
            assert 'fairlead_expires_seconds{what="directory"}' in text
            assert "fairlead_log_healthy 1.0" in text
            assert STORY not in text
            assert CASE not in text


async def test_a_process_serves_metrics_where_it_is_told(tmp_path: Path) -> None:
    """The configuration key is all it takes."""
    from tests.federation import free_ports

    async with federation(tmp_path, start=False) as made:
        (port,) = free_ports(1)
        made.gateway_config = made.gateway_config.model_copy(
            update={"metrics": f"127.0.0.1:{port}"}
        )
        async with gateway_process(made):
            assert "fairlead_log_size" in scrape(port)
