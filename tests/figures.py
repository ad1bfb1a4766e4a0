"""Origins of figures for tests, each over records of half a year, under a clock of its own."""

from __future__ import annotations

import csv
import datetime as dt
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.cubes.cube import Cube
from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2
from node import feedback
from node.exchanges import ANSWER, ExchangeFigures
from node.figures import Figures, FiguresOf
from node.figures.adding import own_part
from node.figures.mapped import MappedFigures
from node.figures.mapped_form import load_figures
from node.register import MIGRATIONS, Register, RegisterDesk, RegisterFigures
from node.register.entry import Entry, Noun
from node.vault import Vault
from tests.cubes import DEFAULTS
from tests.small_log import KEY, Clock

REGISTRY = Registry.parse(DEFAULTS)
ORIGIN = "fairlead.demo/partner/customs"
YEAR = parse_unit("2026")
NOW = float(parse_unit("2026-11").begins)
PORTS = ("NLRTM", "NLRTM-ECT", "BEANR", "DEDUI", "ATVIE", "NL-ZH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One implementation of the port. ``more`` records further things of the same year, later."""

    cube: Cube
    figures: FiguresOf
    clock: Clock
    more: Callable[[], Awaitable[None]]


Maker = Callable[[Path], Awaitable[tuple[Origin, Callable[[], None]]]]


def open_log(folder: Path, clock: Clock) -> AuditLog:
    """A partner's log with the register's tables."""
    return AuditLog.open(
        folder / "audit.sqlite", origin=ORIGIN, key=KEY, clock=clock, migrations=MIGRATIONS
    )


def desk_of(log: AuditLog, clock: Clock, registry: Registry = REGISTRY) -> RegisterDesk:
    """The acts at a register in an open log."""
    leaves = LeafWriter(log="partner/customs", clock=clock)
    register = Register(log, leaves, key=bytes(32), clock=clock)
    return RegisterDesk(register=register, registry=lambda: registry, clock=clock)


def tight(cube: Cube) -> Cube:
    """The cube with bounds of one."""
    measures = tuple(replace(m, bound=1) if m.words else m for m in cube.measures)
    return replace(cube, measures=measures)


# ── The register ─────────────────────────────────────────────────────────────────────────────


def day(chance: random.Random) -> dt.date:
    """A day of the first half of 2026."""
    return dt.date(2026, 1, 1) + dt.timedelta(days=chance.randrange(181))


def entries(chance: random.Random, first: int, count: int) -> list[Entry]:
    """So many reports, each with an enquiry and one or two outcomes."""
    found: list[Entry] = []
    for number in range(first, first + count):
        on, place = day(chance), chance.choice(PORTS)
        codes = {
            "place": place, "report-kind": chance.choice(["anonymous", "named"]),
            "event": chance.choice(["bribe-approach", "seizure", "gate-in"]),
            "shore": chance.choice(["sea", "inland"]),
            "staff": chance.choice(["50-249", "below-50"]),
            "modus": chance.choice(["switch", "unknown"]),
        }  # fmt: skip
        later = on + dt.timedelta(days=chance.randrange(40))
        ended = chance.choice([None, later])
        report = Entry(
            noun=Noun.REPORT, id=f"R-{number}", on=on, due=chance.random() < 0.7,
            happened=chance.choice([None, on - dt.timedelta(days=chance.randrange(20))]),
            done=ended, codes=codes,
        )  # fmt: skip
        enquiry = Entry(
            noun=Noun.ENQUIRY, id=f"E-{number}", on=on, done=ended, of=report.id,
            codes={"place": place},
        )  # fmt: skip
        found += [report, enquiry]
        for nth in range(chance.randrange(3)):
            outcome = chance.choice(["unsubstantiated", "measure", "seizure"])
            found.append(
                Entry(
                    noun=Noun.OUTCOME, id=f"O-{number}-{nth}", on=later, of=enquiry.id,
                    kg=chance.randrange(2000),
                    codes={
                        "place": place, "outcome": outcome,
                        "exchange": chance.choice(["linked", "unlinked"]),
                    },
                )
            )  # fmt: skip
    return found


def of_register(cube: str) -> Maker:
    """The register, as one of its cubes counts it."""

    async def make(folder: Path) -> tuple[Origin, Callable[[], None]]:
        clock, chance = Clock(NOW), random.Random(7)
        log = open_log(folder, clock)
        register = desk_of(log, clock).register

        async def record(first: int) -> None:
            made = entries(chance, first, 40)
            await register.record(lambda _: made, subject="register-recorded", by="u-t01")

        async def more() -> None:
            await record(40)
            (report, *_) = (row.entry for row in register.rows())
            gone = replace(report, withdrawn=True)
            await register.record(lambda _: [gone], subject="register-withdrawn", by="u-t01")

        await record(0)
        origin = Origin(
            cube=REGISTRY.cube(cube), figures=RegisterFigures(register), clock=clock, more=more
        )
        return origin, log.close

    return make


# ── The log and the feedback ─────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Exchanges:
    """Leaves of queries, asked and received, as a node would have written them.

    ``count`` is of queries so far; a query's id has its time in it.
    """

    log: AuditLog
    clock: Clock
    book: feedback.FeedbackBook
    count: int = 0

    async def leaf(self, kind: int, at: float, **fields: Any) -> None:
        """Append one leaf at its own time."""
        self.clock.now = max(self.clock.now, at)
        made = pb.AuditLeaf(type=kind, time_ms=int(at * 1000), log="partner/customs", **fields)
        await self.log.append(made.SerializeToString(deterministic=True))

    def query_id(self, at: float) -> bytes:
        self.count += 1
        return int(at * 1000).to_bytes(6, "big") + self.count.to_bytes(10, "big")

    async def asked(self, at: float, states: dict[str, int], outcome: int = 0) -> bytes:
        """A query of this partner's own people; ``outcome`` of its feedback, 0 for none."""
        query_id = self.query_id(at)
        mandate = self.count.to_bytes(32, "big")
        await self.leaf(
            pb.LEAF_TYPE_INTENT, at, query_id=query_id, partner_id="customs", mandate_digest=mandate
        )
        lines = [
            query_pb2.PartnerOutcome(partner_id=name, status=status)
            for name, status in states.items()
        ]
        await self.leaf(
            pb.LEAF_TYPE_OUTCOME, at + 2, query_id=query_id, partner_id="customs", partners=lines
        )
        if outcome:
            body = query_pb2.FeedbackBody(
                feedback_id=query_id[::-1], query_id=query_id, outcome=outcome
            )
            await self.book.put(body, partner_id="police", received=False, now=at + 60)
        return query_id

    async def received(
        self, at: float, *, answered_after: float | None = None, refused: bool = False,
        mandate: int = 0,
    ) -> bytes:  # fmt: skip
        """A query of another partner."""
        query_id = self.query_id(at)
        digest = (mandate or self.count).to_bytes(32, "big")
        await self.leaf(
            pb.LEAF_TYPE_INTENT, at, query_id=query_id, partner_id="police", mandate_digest=digest
        )
        if answered_after is not None or refused:
            status = query_pb2.STATUS_REFUSED if refused else query_pb2.STATUS_ANSWERED
            answer = pb.ReleasedAnswer(query_id=query_id, partner_id="customs", status=status)
            after = 1.0 if answered_after is None else answered_after
            await self.leaf(pb.LEAF_TYPE_RELEASE, at + after, released=[answer])
        return query_id

    async def turned_away(self, at: float, query_id: bytes) -> None:
        """A query that was refused before it was taken in."""
        await self.leaf(
            pb.LEAF_TYPE_REFUSAL, at, query_id=query_id, subject=ANSWER, reasons=["EXPIRED"]
        )


def exchanges(folder: Path, *, kept_since: float = 0) -> tuple[Exchanges, ExchangeFigures]:
    """An empty log and book, and what counts them."""
    clock = Clock(float(YEAR.begins))
    log = open_log(folder, clock)
    vault = Vault.open(folder / "v.sqlite", key=bytes(32), migrations=feedback.MIGRATIONS)
    book = feedback.FeedbackBook(vault)
    figures = ExchangeFigures(
        partner="customs", kind=lambda: "customs", read=log.read, size=lambda: log.head.size,
        book=book, kept_since=lambda: kept_since,
    )  # fmt: skip
    return Exchanges(log, clock, book), figures


def of_exchanges(cube: str) -> Maker:
    """A partner's own log and feedback, as one of their cubes counts them."""

    async def make(folder: Path) -> tuple[Origin, Callable[[], None]]:
        made, figures = exchanges(folder)
        chance = random.Random(11)
        answered, refused = query_pb2.STATUS_ANSWERED, query_pb2.STATUS_REFUSED
        begins = YEAR.begins

        async def some(since: float, until: float) -> None:
            for at in sorted(chance.uniform(since, until) for _ in range(12)):
                status = chance.choice([answered, refused])
                await made.asked(at, {"police": status, "fiod": answered}, chance.randrange(5))
                await made.received(at + 5, answered_after=chance.uniform(1, 200))
                await made.received(at + 6, refused=True)

        async def more() -> None:
            now = made.clock.now
            await made.leaf(
                pb.LEAF_TYPE_RELEASE, now + 60,
                released=[
                    pb.ReleasedAnswer(query_id=last, partner_id="customs", status=answered)
                ],
            )  # fmt: skip
            await made.asked(now + 120, {"police": answered}, query_pb2.FEEDBACK_OUTCOME_USEFUL)
            made.clock.now = now + 300

        await some(begins, begins + 170 * 86_400)
        last = await made.received(begins + 171 * 86_400)
        made.clock.now = begins + 172 * 86_400.0

        def close() -> None:
            made.log.close()
            made.book._vault.close()

        origin = Origin(cube=REGISTRY.cube(cube), figures=figures, clock=made.clock, more=more)
        return origin, close

    return make


def added(maker: Maker) -> Maker:
    """An origin twice over, as a cube that is made of two is counted."""

    async def make(folder: Path) -> tuple[Origin, Callable[[], None]]:
        origin, close = await maker(folder)
        both = Figures(
            {own_part(origin.cube): origin.figures}, source=origin.figures, clock=origin.clock
        )
        return replace(origin, figures=both), close

    return make


# ── Mapped sources ───────────────────────────────────────────────────────────────────────────

_SEIZURES = """
cube = "seizures"
[date]
column = "on"
[recorded]
column = "entered"
format = "unix"
[dimensions.place]
column = "country"
[dimensions.exchange]
column = "exchange"
[dimensions.weight]
column = "band"
[measures.seizures]
unit = "seizures"
[measures.weight]
unit = "kg"
column = "kg"
"""
_FINDINGS = """
cube = "vulnerabilities"
[date]
column = "on"
[recorded]
column = "entered"
format = "unix"
[dimensions.partner-kind]
column = "sector"
[dimensions.weakness]
column = "kind"
[measures.reported]
unit = "vulnerabilities"
[measures.closed]
unit = "vulnerabilities"
column = "closed"
[measures.days]
unit = "days"
column = "closed"
since = "on"
"""
_COLUMNS = ("id", "on", "entered", "country", "exchange", "band", "kg", "sector", "kind", "closed")
_MAPPINGS = {"seizures": _SEIZURES, "vulnerabilities": _FINDINGS}


def _found(chance: random.Random, first: int, entered: float) -> list[tuple[object, ...]]:
    """Forty seizures, or weaknesses, of the first half of 2026."""
    rows: list[tuple[object, ...]] = []
    for number in range(first, first + 40):
        on = day(chance)
        closed = chance.choice([None, (on + dt.timedelta(days=chance.randrange(90))).isoformat()])
        rows.append(
            (
                number, on.isoformat(), int(entered), chance.choice(["NL", "BE", "DE"]),
                chance.choice(["linked", "unlinked"]), chance.choice(["below-10", "10-100"]),
                chance.choice([0.5, 12.25, 99]), chance.choice(["public", "private"]),
                chance.choice(["seals", "people"]), closed,
            )
        )  # fmt: skip
    return rows


def of_mapped(cube: str, kind: str) -> Maker:
    """A file or a table of the owner, counted in its own engine."""

    async def make(folder: Path) -> tuple[Origin, Callable[[], None]]:
        clock, chance = Clock(NOW), random.Random(3)
        (name, *columns) = _COLUMNS
        head = 'files = ["rows.csv"]\n'
        table = "" if kind == "csv" else (
            '[database]\nurl = "sqlite:///rows.db"\ntable = "rows"\nkey = ["id"]\n'
        )  # fmt: skip
        path = folder / "m.toml"
        path.write_text((head if kind == "csv" else "") + _MAPPINGS[cube] + table, "utf-8")
        if kind == "csv":
            (folder / "rows.csv").write_text(",".join(_COLUMNS) + "\n", "utf-8")
        else:
            with closing(sqlite3.connect(folder / "rows.db")) as made, made:
                listed = ", ".join(f'"{column}"' for column in columns)
                made.execute(f"CREATE TABLE rows ({name} INTEGER PRIMARY KEY, {listed})")

        async def record(first: int) -> None:
            found = _found(chance, first, clock.now)
            if kind == "csv":
                with (folder / "rows.csv").open("a", newline="", encoding="utf-8") as file:
                    csv.writer(file, lineterminator="\n").writerows(found)
            else:
                with closing(sqlite3.connect(folder / "rows.db")) as made, made:
                    marks = ", ".join("?" * len(_COLUMNS))
                    made.executemany(f"INSERT INTO rows VALUES ({marks})", found)  # noqa: S608

        await record(1)
        figures = MappedFigures([load_figures(path)], environ={})
        origin = Origin(
            cube=REGISTRY.cube(cube), figures=figures, clock=clock, more=lambda: record(41)
        )
        return origin, lambda: None

    return make
