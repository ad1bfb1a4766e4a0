"""The port's ordinary life: every container arrives, is released, is collected, and returns."""

from __future__ import annotations

from random import Random

from demo.cast import Cast
from demo.ledger import Ledger

DAY = 86_400
HOUR = 3_600

_ACCOUNTS = tuple(f"ol-import-{n:02d}" for n in range(1, 19))
_FORWARDERS = tuple(
    f"fwd-{name}-{n}" for name in ("halden", "meridian", "vasco") for n in (1, 2, 3)
)
_DESKS = tuple(f"tn-desk-{n:02d}" for n in range(1, 13))
_GATES = tuple(f"Gate {n}" for n in range(1, 10))
_SEVERITY = ("low", "low", "low", "medium", "high")
_REEFER = ("set-point check", "plugged in", "unplugged", "alarm reset", "unit opened")


class Port:
    """Writes ordinary life into a ledger.

    :param start, end: unix seconds between which containers arrive.
    """

    def __init__(
        self, random: Random, ledger: Ledger, cast: Cast, *, start: float, end: float
    ) -> None:
        self._random = random
        self._ledger = ledger
        self._cast = cast
        self._start, self._end = start, end

    def live(self, records: int) -> None:
        """Let containers come and go, most once, until the ledger holds ``records`` rows."""
        self._watch(records // 40)
        turn = 0
        while self._ledger.total < records:
            self._container(self._cast.containers[turn % len(self._cast.containers)])
            turn += 1

    def _container(self, box: str) -> None:
        random, ledger = self._random, self._ledger
        arrival = random.uniform(self._start, self._end)
        seal = f"SL{random.randrange(10**7):07d}"
        booking = f"BK{random.randrange(10**8):08d}"
        spelt = _as_painted(random, box)
        vessel = random.choice(self._cast.vessels)
        operator = random.choice(self._cast.operators)
        berth = f"Berth {random.randint(1, 14)}"
        ledger.add("terminal-north", "quay", arrival, "DISCH", spelt, vessel, seal, berth, operator)
        if random.random() < 0.3:
            self._inspect(box, seal, arrival + random.uniform(1, 30) * HOUR)
        if random.random() < 0.18:
            self._reefer(box, arrival)
        collected = self._release(box, booking, arrival)
        self._collect(box, spelt, seal, booking, collected)
        if random.random() < 0.25:
            back = collected + random.uniform(4, 15) * DAY
            ledger.add(
                "terminal-north", "quay", back, "LOAD", box, random.choice(self._cast.vessels),
                f"SL{random.randrange(10**7):07d}", berth, operator,
            )  # fmt: skip

    def _release(self, box: str, booking: str, arrival: float) -> float:
        """From issue to use, at the line and at the terminal; returns when it is collected."""
        random, ledger = self._random, self._ledger
        reference = f"OLR-{random.randrange(10**9):09d}"
        company = random.choice(self._cast.companies)
        issued = arrival + random.uniform(4, 40) * HOUR
        collected = issued + random.uniform(1, 8) * DAY
        tlp = "RED" if random.random() < 0.01 else "AMBER"
        europol = "H2" if random.random() < 0.01 else "H0"

        def at_line(at: float, action: str, account: str) -> None:
            ledger.add(
                "oceanic-line", "release", at, action, box, reference, booking, account, company,
                "Import desk", tlp, europol,
            )  # fmt: skip

        forwarder = random.choice(_FORWARDERS)
        at_line(issued, "ISSUED", random.choice(_ACCOUNTS))
        if random.random() < 0.6:
            at_line(issued + random.uniform(0.2, 5) * HOUR, "TRANSFERRED", forwarder)
        for _ in range(random.choice((0, 1, 1, 2))):
            at_line(random.uniform(issued, collected), "LOOKUP", forwarder)
        for action, at in (
            ("LOOKUP", collected - random.uniform(1, 9) * HOUR),
            ("USED", collected),
        ):
            ledger.add(
                "terminal-north", "release", at, action, box, reference, random.choice(_DESKS),
                f"WS-{random.randint(1, 40):02d}",
            )  # fmt: skip
        return collected

    def _collect(self, box: str, spelt: str, seal: str, booking: str, at: float) -> None:
        """By truck, or by barge to the inland port and on from there."""
        random, ledger = self._random, self._ledger
        truck = random.randrange(len(self._cast.trucks))
        country, plate = self._cast.trucks[truck]
        driver, card = self._cast.drivers[truck]
        gate = random.choice(_GATES)
        if random.random() < 0.75:
            haulier = random.choice(self._cast.companies)
            for moment, direction in ((at - random.uniform(600, 3000), "IN"), (at, "OUT")):
                ledger.add(
                    "terminal-north", "gate", moment, direction, spelt, plate, country, seal, gate,
                    booking, haulier, driver, card,
                )  # fmt: skip
            return
        operator = random.choice(self._cast.operators)
        arrived = at + random.uniform(18, 60) * HOUR
        ledger.add("terminal-north", "quay", at, "LOAD", spelt, "", seal, "Barge berth", operator)
        ledger.add("inland-port", "barge", arrived, "DISCH", box, "Quay 2", booking, operator, "")
        left = arrived + random.uniform(2, 50) * HOUR
        ledger.add(
            "inland-port", "gate", left, "OUT", box, plate, country, "Inland gate", driver, card
        )

    def _inspect(self, box: str, seal: str, at: float) -> None:
        random = self._random
        kind = random.choices(("SCAN", "SEAL-MISMATCH", "SEAL-BROKEN"), (94, 4, 2))[0]
        severity = "" if kind == "SCAN" else random.choice(_SEVERITY)
        self._ledger.add(
            "customs", "inspection", at, kind, box, seal, "Scanner 2",
            random.choice(self._cast.companies), random.choice(self._cast.operators), severity,
            "RED" if random.random() < 0.02 else "AMBER+STRICT",
        )  # fmt: skip

    def _reefer(self, box: str, arrival: float) -> None:
        random = self._random
        for _ in range(random.randint(1, 3)):
            what = random.choices(_REEFER, (50, 20, 20, 9, 1))[0]
            self._ledger.add(
                "terminal-north", "reefer", arrival + random.uniform(1, 60) * HOUR, box, what,
                f"Block R{random.randint(1, 6)}", random.choice(self._cast.operators),
                "high" if what == "unit opened" else "low",
            )  # fmt: skip

    # ── Those who watch ──────────────────────────────────────────────────────────────────────

    def _watch(self, rows: int) -> None:
        """Patrols of the security company, and what the police hold."""
        for _ in range(rows):
            self._patrol(self._random.uniform(self._start, self._end))
        for _ in range(rows // 3):
            self._intelligence(self._random.uniform(self._start, self._end))

    def _patrol(self, at: float) -> None:
        random, cast = self._random, self._cast
        kind = random.choice(("DRONE", "INTRUSION", "BEHAVIOUR", "BADGE"))
        country, plate = random.choice(cast.trucks)
        with_truck = kind in {"BEHAVIOUR", "BADGE"}
        self._ledger.add(
            "quayguard", "patrol", at, kind,
            random.choice(cast.containers) if kind == "INTRUSION" else "",
            plate if with_truck else "", country if with_truck else "",
            random.choice(cast.vessels) if kind == "DRONE" else "",
            random.choice(_GATES), random.choice(cast.operators), random.choice(_SEVERITY),
        )  # fmt: skip

    def _intelligence(self, at: float) -> None:
        random, cast = self._random, self._cast
        kind = random.choice(("ALERT", "SEIZURE", "STOLEN"))
        country, plate = random.choice(cast.trucks)
        self._ledger.add(
            "police", "intelligence", at, kind,
            "" if kind == "STOLEN" else random.choice(cast.containers),
            plate if kind == "STOLEN" else "", country if kind == "STOLEN" else "",
            "Port area", random.choice(_SEVERITY),
            *random.choice((("RED", "RED"), ("AMBER+STRICT", "AMBER"), ("AMBER", "AMBER"))),
            random.choice(("H0", "H1", "H2")), random.choice("ABC"), random.choice("1234"), "no",
        )  # fmt: skip


def _as_painted(random: Random, box: str) -> str:
    """As a gate clerk or a camera writes it; one in five hundred gets the last digit wrong."""
    if random.random() < 0.002:
        return box[:10] + str((int(box[10]) + 1) % 10)
    return random.choice(
        (box, box, box, f"{box[:4]} {box[4:10]}-{box[10]}", f"{box[:4]} {box[4:]}")
    )
