"""The stolen release, row by row.

A container arrives. Its release is issued to a forwarder who will fetch it by barge in six
days. Two ordinary accounts look the release up; then, at 02:14 in the night, so does the
terminal's service account ``svc-gate-07``. Before five a truck that nobody announced collects
the container. Four days later the forwarder's barge comes for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.cast import QUIET_CONTAINER, STORY_CONTAINER, STORY_PLATE, STORY_VESSEL, Cast
from demo.ledger import Ledger

DAY = 86_400
DAYS_AGO = 20
RELEASE_REF = "OLR-204417893"
BOOKING = "BK55120934"
UNUSUAL_ACCOUNT = "svc-gate-07"
_COMPANY = "NL810334527"
_SEAL = "SL4471902"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the demo asks about. Times are unix seconds."""

    container: str
    plate: str
    """Canonical, ``NL:…``: the truck that collected."""
    vessel: str
    release_ref: str
    issued_at: int
    collected_at: int
    accounts: tuple[str, ...]
    """Who looked the release up between the two times, in order."""
    unusual_account: str
    police_container: str
    """The police hold an H2 record on it: a pointer, never content."""
    quiet_container: str
    """Only the terminal has a record on it."""
    active_target: str
    """The police watch this container: a question about it must be told to their desk."""
    mappings: Mapping[str, tuple[Path, ...]]
    """Partner id → its mapping files."""
    records: int
    """Rows written, all partners together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The story's days, counted from the midnight (UTC) before the release was issued."""

    midnight: int

    @classmethod
    def before(cls, now: float) -> Clock:
        """The story as it stands ``DAYS_AGO`` days later."""
        return cls(midnight=int(now) // DAY * DAY - DAYS_AGO * DAY)

    def at(self, day: int, clock: str) -> int:
        """Unix seconds of ``"HH:MM"`` on a day."""
        hours, minutes = clock.split(":")
        return self.midnight + day * DAY + int(hours) * 3600 + int(minutes) * 60


def tell(ledger: Ledger, cast: Cast, now: float) -> tuple[int, int, tuple[str, ...]]:
    """Enter the story; returns (issued at, collected at, accounts that looked it up)."""
    clock = Clock.before(now)
    box, (country, plate) = STORY_CONTAINER, STORY_PLATE
    driver, card = "Ruben Falk", "DC55102938"

    def at_line(at: int, action: str, account: str) -> None:
        ledger.add(
            "oceanic-line", "release", at, action, box, RELEASE_REF, BOOKING, account, _COMPANY,
            "Import desk", "AMBER", "H0",
        )  # fmt: skip

    def at_terminal(at: int, action: str, account: str, workstation: str) -> None:
        ledger.add("terminal-north", "release", at, action, box, RELEASE_REF, account, workstation)

    def at_gate(at: int, direction: str) -> None:
        ledger.add(
            "terminal-north", "gate", at, direction, box, plate, country, _SEAL, "Gate 7", BOOKING,
            "PL590221874", driver, card,
        )  # fmt: skip

    def seen(at: int, kind: str, what: tuple[str, str, str, str], place: str, grade: str) -> None:
        ledger.add("quayguard", "patrol", at, kind, *what, place, cast.operators[0], grade)

    ledger.add(
        "terminal-north", "quay", clock.at(-2, "22:40"), "DISCH", "MSCU 663987-0", STORY_VESSEL,
        _SEAL, "Berth 5", cast.operators[1],
    )  # fmt: skip
    seen(clock.at(-2, "23:31"), "DRONE", ("", "", "", STORY_VESSEL), "Berth 5", "medium")
    issued = clock.at(0, "09:12")
    at_line(issued, "ISSUED", "ol-import-07")
    at_line(clock.at(0, "11:40"), "TRANSFERRED", "ol-import-07")
    at_line(clock.at(0, "15:20"), "LOOKUP", "ol-desk-03")
    at_line(clock.at(1, "08:05"), "LOOKUP", "fwd-meridian-2")
    seen(clock.at(2, "02:09"), "BADGE", ("", plate, country, ""), "Gate office", "high")
    at_terminal(clock.at(2, "02:14"), "LOOKUP", UNUSUAL_ACCOUNT, "WS-31")
    at_gate(clock.at(2, "04:38"), "IN")
    seen(clock.at(2, "04:44"), "BEHAVIOUR", (box, plate, country, ""), "Gate 7", "medium")
    at_terminal(clock.at(2, "04:51"), "USED", "gate-kiosk-2", "KIOSK-2")
    collected = clock.at(2, "05:07")
    at_gate(collected, "OUT")
    ledger.add(
        "inland-port", "barge", clock.at(6, "12:00"), "MISSING", box, "Quay 2", BOOKING,
        cast.operators[2], "high",
    )  # fmt: skip
    at_terminal(clock.at(6, "10:31"), "FAILED", "fwd-meridian-2", "WEB")
    ledger.add(
        "terminal-north", "quay", clock.at(17, "03:10"), "DISCH", QUIET_CONTAINER, STORY_VESSEL,
        "SL7702158", "Berth 9", cast.operators[3],
    )  # fmt: skip
    return issued, collected, ("ol-desk-03", "fwd-meridian-2", UNUSUAL_ACCOUNT)


def tell_police(ledger: Ledger, cast: Cast, now: float) -> tuple[str, str]:
    """What the police know, none of it about the story; returns (pointer, active target)."""
    clock = Clock.before(now)
    pointer, target = cast.containers[0], cast.containers[1]
    rows = (
        (pointer, "AMBER+STRICT", "AMBER", "H2", "no"),
        (target, "RED", "RED", "H2", "yes"),
    )
    for box, tlp, pap, europol, watched in rows:
        ledger.add(
            "police", "intelligence", clock.at(3, "16:00"), "ALERT", box, "", "", "Port area",
            "high", tlp, pap, europol, "B", "2", watched,
        )  # fmt: skip
    return pointer, target
