"""The demo's data: six partners, half a year of a port's life, and one stolen release.

Deterministic: the same seed, size and ``now`` write the same octets. No PIN is ever written;
a release is known by its reference alone. Run ``python -m demo.generate --out FOLDER``.

The story. A reefer arrives, its release is issued to a forwarder who plans to fetch it by barge
in six days. Two ordinary accounts look the release up; then, at 02:14 in the night, so does the
terminal's service account ``svc-gate-07``. Before five a truck that nobody announced collects
the container. Four days later the forwarder's barge comes for nothing.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from demo.cast import STORY_CONTAINER, STORY_PLATE, Cast, make_cast

MAPPINGS = Path(__file__).parent / "mappings"
DAY = 86_400
HOUR = 3_600
SPAN_DAYS = 170
RECORDS_PER_CONTAINER = 9.6

COLUMNS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("terminal-north", "gate"): (
        "moved_at", "direction", "container_no", "plate", "plate_country", "seal_no", "gate",
        "booking", "haulier_eori", "driver", "driver_card",
    ),
    ("terminal-north", "quay"): (
        "moved_at", "move", "container_no", "vessel_imo", "seal_no", "berth", "operator",
    ),
    ("terminal-north", "release"): (
        "at", "action", "container_no", "release_ref", "account", "workstation",
    ),
    ("terminal-north", "reefer"): (
        "at", "container_no", "what", "block", "operator", "severity",
    ),
    ("oceanic-line", "release"): (
        "at", "action", "container_no", "release_ref", "booking", "account", "customer_eori",
        "office", "tlp", "europol",
    ),
    ("customs", "inspection"): (
        "at", "kind", "container_no", "seal_no", "place", "declarant_eori", "officer", "severity",
        "tlp",
    ),
    ("police", "intelligence"): (
        "at", "kind", "container_no", "plate", "plate_country", "place", "severity", "tlp", "pap",
        "europol", "source", "information", "watched",
    ),
    ("quayguard", "patrol"): (
        "at", "kind", "container_no", "plate", "plate_country", "vessel_imo", "place", "guard",
        "severity",
    ),
    ("inland-port", "barge"): (
        "at", "move", "container_no", "quay", "booking", "operator", "severity",
    ),
    ("inland-port", "gate"): (
        "moved_at", "direction", "container_no", "plate", "plate_country", "gate", "driver",
        "driver_card",
    ),
}  # fmt: skip
PARTNERS = tuple(dict.fromkeys(partner for partner, _ in COLUMNS))

Row = tuple[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the demo asks about; times are unix seconds, both ends of the interesting window."""

    container: str
    plate: str
    vessel: str
    release_ref: str
    issued_at: int
    collected_at: int
    accounts: tuple[str, ...]
    """Who looked the release up between the two times, in order."""
    unusual_account: str
    police_container: str
    """Known to the police as H2 (pointer only) and to nobody else by name."""
    active_target_container: str
    mappings: Mapping[str, tuple[Path, ...]]
    """Partner id → its mapping files."""
    records: int
    """Rows written, all partners together."""


def generate(out_dir: Path, *, seed: int = 7, records: int = 200_000, now: float) -> Story:
    """Write every partner's CSV files and mappings to ``out_dir/<partner>/``.

    :param records: at least so many rows in total.
    :param now: unix seconds; the story ends about two weeks, all data up to a day, before it.
    """
    writer = _Port(Random(seed), records=records, now=now)
    story = writer.story()
    writer.background(records)
    mappings = writer.write(out_dir)
    return Story(**story, mappings=mappings, records=writer.total)
