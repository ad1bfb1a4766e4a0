"""What ``make faults`` was to do, what it found, and whether that is good enough."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.faults import kills
from tests.faults.promises import Kept

SHARED = "kill -9 of two gateways on one PostgreSQL log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of each."""

    kills: int
    lines: int
    gateway_kills: int
    shared_kills: int
    """Of two gateways on one PostgreSQL log, where there is a server."""
    points: int
    other_calls: int
    records: int
    control_records: int
    cuts: int
    tampered: int
    mutated: int
    games: int
    witnesses: int


FULL = Scale(
    kills=220, lines=kills.LINES, gateway_kills=20, shared_kills=20, points=10**6,
    other_calls=60, records=10, control_records=3, cuts=10, tampered=1000, mutated=520_000,
    games=12, witnesses=64,
)  # fmt: skip
QUICK = Scale(
    kills=4, lines=400, gateway_kills=0, shared_kills=0, points=12, other_calls=4, records=1,
    control_records=1, cuts=6, tampered=80, mutated=4000, games=1, witnesses=16,
)  # fmt: skip


@dataclass(slots=True)
class Result:
    """The last line, and what the table says besides."""

    line: dict[str, Any] = field(
        default_factory=lambda: {
            "schema": 1, "faults": "failed", "kills": 0, "acked": 0, "lost": 0, "injected": 0,
            "recovered": 0, "power_rounds": 0, "control_lost": 0, "tampered": 0, "detected": 0,
            "proofs_mutated": 0, "accepted": 0,
        }
    )  # fmt: skip
    rows: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def tell(self, what: str, found: str) -> None:
        """One row of the table."""
        self.rows.append((what, found))
        say(f"{what}: {found}")

    def leave_out(self, what: str, why: str) -> None:
        """What cannot be tried here stands in the table, and fails where everything is required."""
        self.left_out.append(what)
        self.tell(what, f"LEFT OUT: {why}")
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            self.troubles.append(f"{what}: left out, and everything is required here")

    def keep(self, kept: Kept) -> None:
        """What a stage found in the files."""
        self.line["lost"] += kept.lost
        self.troubles += sorted(kept.troubles)
        if kept.unbacked:
            self.troubles.append(f"{kept.unbacked} bytes out without INTENT and RELEASE")


def say(text: str) -> None:
    """Progress."""
    print(f"faults: {text}", file=sys.stderr, flush=True)


def judge(result: Result, scale: Scale) -> None:
    """Nothing lost, all recovered and detected, nothing accepted, and enough of each."""
    line = result.line
    due = scale.kills + scale.gateway_kills
    due += 0 if SHARED in result.left_out else scale.shared_kills
    right = (
        line["lost"] == 0
        and line["injected"] == line["recovered"] > 0
        and line["tampered"] == line["detected"] == scale.tampered
        and line["accepted"] == 0
        and line["control_lost"] > 0
        and line["kills"] == due
    )
    enough = scale is QUICK or (
        line["kills"] >= 200
        and line["acked"] >= 100_000
        and line["injected"] >= 200
        and line["power_rounds"] >= 20
        and line["proofs_mutated"] >= 500_000
    )
    line["faults"] = "ok" if right and enough and not result.troubles else "failed"


def table(result: Result) -> str:
    """For people."""
    width = max(len(what) for what, _ in result.rows)
    lines = [f"{what:<{width}}  {found}" for what, found in result.rows]
    lines += [f"TROUBLE  {trouble}" for trouble in result.troubles]
    return "\n".join(lines) + "\n"
