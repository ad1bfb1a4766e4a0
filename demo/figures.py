"""Two years of reports, enquiries and outcomes at six partners, as their registers hold them.

Two things happen in these years, and the figures are to show them: what is reported moves from sea
ports to inland ports, and containers are switched where release codes were stolen before.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fairlead.config import NodeConfig, load
from node.owning import at_rest
from node.register.entry import Entry, Noun

QUARTERS = 8
CLERK = "u-desk"
"""Who enters it, at each partner."""
_SEA = {"NL": ("NLRTM", "NLMOE"), "BE": ("BEANR", "BEZEE"), "DE": ("DEHAM", "DEBRV")}
_INLAND = {"NL": ("NLNIJ", "NLVEN"), "BE": ("BELGG",), "DE": ("DEDUI", "DECGN")}
_WEIGHTS = {"NL": 16, "BE": 12, "DE": 12}
"""Reports of one partner from a country's ports in a quarter, about."""
_KINDS = ("anonymous", "confidential", "named", "partner", "system"), (46, 18, 10, 18, 8)
_EVENTS = {
    "rip-off": ("seal-broken", "intrusion"),
    "switch": ("seal-mismatch", "scan"),
    "pin-code-fraud": ("release-used", "release-looked-up", "release-failed"),
    "insider": ("bribe-approach", "concerning-behaviour", "threat"),
    "reefer-unit": ("reefer-intervention",),
}
_STAFF = ("below-50", "50-249", "250-999", "from-1000")
_OUTCOMES = ("unsubstantiated", "substantiated", "measure", "seizure"), (38, 22, 18, 22)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """One quarter; ``place`` counts from 0 over all of them."""

    place: int
    first: dt.date
    days: int

    @property
    def progress(self) -> float:
        """How far the change is, from 0 to 1."""
        return self.place / (QUARTERS - 1)


def last_quarters(today: dt.date) -> list[Quarter]:
    """The last eight quarters that are over."""
    month = 12 * today.year + 3 * ((today.month - 1) // 3)
    firsts = [_first(month - 3 * back) for back in range(QUARTERS, -1, -1)]
    return [
        Quarter(place=place, first=first, days=(after - first).days)
        for place, (first, after) in enumerate(itertools.pairwise(firsts))
    ]


def period(today: dt.date) -> str:
    """All of them, as a question names them: ``2024-Q4..2026-Q3``."""
    firsts = [quarter.first for quarter in last_quarters(today)]
    return "..".join(f"{day.year}-Q{(day.month + 2) // 3}" for day in (firsts[0], firsts[-1]))


def pack_year(today: dt.date) -> int:
    """The year of the last quarter that is over."""
    return last_quarters(today)[-1].first.year


def entries(partner: str, quarters: Sequence[Quarter], *, seed: int, last: dt.date) -> list[Entry]:
    """What one partner's register holds, in the order in which it came.

    :param last: nothing is dated after it.
    """
    random = Random(f"{seed}/{partner}")
    found: list[Entry] = []
    for quarter in quarters:
        for number, report in enumerate(_reports(random, quarter), start=1):
            name = f"{quarter.first:%Y}-{quarter.first.month:02d}-{number:03d}"
            found += _followed(random, replace(report, id=f"R-{name}"), name, last)
    return found


async def keep(config: Path, *, seed: int, today: dt.date) -> int:
    """Enter them into the register of a node that does not run, through the desk behind
    ``fairlead-node reports add``; returns how many."""
    settings = load(NodeConfig, config)
    last, quarters = today - dt.timedelta(days=1), last_quarters(today)
    async with at_rest(settings) as steering:
        made = entries(settings.partner, quarters, seed=seed, last=last)
        return await steering.register.take(made, by=CLERK)


def _reports(random: Random, quarter: Quarter) -> Iterator[Entry]:
    for country, weight in _WEIGHTS.items():
        sea = round(weight * (1 - 0.4 * quarter.progress) * random.uniform(0.85, 1.15))
        inland = round(weight * (0.2 + 0.7 * quarter.progress) * random.uniform(0.85, 1.15))
        for shore, ports, count in (
            ("sea", _SEA[country], sea),
            ("inland", _INLAND[country], inland),
        ):
            for _ in range(count):
                yield _report(random, quarter, random.choice(ports), shore)


def _report(random: Random, quarter: Quarter, port: str, shore: str) -> Entry:
    modus = random.choices(
        tuple(_EVENTS),
        (26, 6 + 26 * quarter.progress, 36 - 24 * quarter.progress, 20, 12 - 2 * quarter.progress),
    )[0]
    event = random.choice(_EVENTS[modus])
    codes = {
        "place": port,
        "report-kind": random.choices(*_KINDS)[0],
        "event": event,
        "shore": shore,
        "modus": modus,
    }
    if event == "bribe-approach":
        codes["staff"] = random.choice(_STAFF)
    on = quarter.first + dt.timedelta(days=random.randrange(quarter.days))
    return Entry(noun=Noun.REPORT, id="", on=on, due=random.random() < 0.8, codes=codes)


def _followed(random: Random, report: Entry, name: str, last: dt.date) -> Iterator[Entry]:
    """A report, the enquiry that ensues in half of the cases, and what came of it."""
    heard = report.on + dt.timedelta(days=1 + int(random.expovariate(1 / 18)))
    told = report.due and heard <= last and random.random() < 0.85
    yield replace(report, done=heard) if told else report
    opened = report.on + dt.timedelta(days=random.randint(0, 12))
    if random.random() > 0.5 or opened > last:
        return
    enquiry = Entry(noun=Noun.ENQUIRY, id=f"E-{name}", on=opened, of=report.id)
    decided = opened + dt.timedelta(days=2 + int(random.expovariate(1 / 35)))
    if random.random() > 0.85 or decided > last:
        yield enquiry
        return
    yield replace(enquiry, done=decided)
    yield _outcome(random, name, decided, enquiry.id)


def _outcome(random: Random, name: str, on: dt.date, enquiry: str) -> Entry:
    code = random.choices(*_OUTCOMES)[0]
    made = Entry(noun=Noun.OUTCOME, id=f"O-{name}", on=on, of=enquiry, codes={"outcome": code})
    if code != "seizure":
        return made
    exchange = random.choices(("linked", "unlinked"), (6, 4))[0]
    kilograms = min(9_000, 40 + int(random.expovariate(1 / 900)))
    return replace(made, kg=kilograms, codes={"outcome": code, "exchange": exchange})


def _first(month: int) -> dt.date:
    return dt.date(month // 12, month % 12 + 1, 1)
