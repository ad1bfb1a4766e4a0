"""Invented records, made so cheaply that making them is not what is measured."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fairlead.identifiers import Identifier, container, normalise
from fairlead.vocabulary import (
    Europol,
    Event,
    Handling,
    InformationGrade,
    Pap,
    RecordType,
    SourceGrade,
    Tlp,
)
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import Mark, Part

SCHEME = "container"
PURPOSE = "drug-trafficking"
MARK_ROWS = 10_000
SERIALS = 10**6
DAY_S = 86_400
_HANDLING = Handling(
    tlp=Tlp.AMBER,
    pap=Pap.AMBER,
    europol=Europol.H0,
    source_grade=SourceGrade.A,
    information_grade=InformationGrade.ONE,
)
_PLACES = tuple(f"Gate {number}" for number in range(1, 65))
_STEP = 7_368_787
"""Prime: rows come in an order that has nothing to do with their numbers."""


class Containers:
    """The ``number``-th container number, with its check digit, from two small tables."""

    def __init__(self) -> None:
        self._high = [sum(int(d) << (4 + i) for i, d in enumerate(f"{n:03d}")) for n in range(1000)]
        self._low = [sum(int(d) << (7 + i) for i, d in enumerate(f"{n:03d}")) for n in range(1000)]
        self._prefixes: list[tuple[str, int]] = []
        for letters in (f"B{a}{b}U" for a in string.ascii_uppercase for b in "ENOST"):
            start = sum(container._VALUES[letter] << n for n, letter in enumerate(letters))
            self._prefixes.append((letters, start))

    def value(self, number: int) -> str:
        """In canonical form; ``number`` is below 130 million."""
        letters, start = self._prefixes[number // SERIALS]
        serial = number % SERIALS
        total = start + self._high[serial // 1000] + self._low[serial % 1000]
        return f"{letters}{serial:06d}{total % 11 % 10}"


@dataclass(slots=True)
class InventedRows:
    """A source of ``rows`` records, one container each, about the containers from ``first`` on.

    Another ``version`` of the same rows has other content and another stamp.
    """

    name: str
    rows: int
    now: int
    first: int = 0
    version: int = 0
    purposes: tuple[str, ...] = (PURPOSE,)
    _made: int = 0

    def parts(self) -> tuple[Part, ...]:
        """One part, read whole."""
        return (Part(name=self.name, stamp=f"v{self.version}", appends=False),)

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:
        """The records in an order of their own, with a mark now and then."""
        numbers, event = Containers(), (Event.GATE_IN, Event.GATE_OUT)[self.version % 2]
        template = normalise(SCHEME, numbers.value(self.first))
        for place in range(int(after or 0), self.rows):
            row = (place * _STEP) % self.rows
            moment = self.now - 3600 - row % (20 * DAY_S)
            self._made += 1
            yield SourceRecord(
                origin=f"{self.name}|{part.name}|{row}",
                identifiers=(
                    Identifier(
                        scheme=SCHEME,
                        value=numbers.value(self.first + row),
                        issuer=None,
                        validity=template.validity,
                        raw="",
                    ),
                ),
                record_type=RecordType.MOVEMENT,
                event=event,
                occurred_at=moment,
                expires_at=moment + 90 * DAY_S,
                handling=_HANDLING,
                purposes=self.purposes,
                active_target=False,
                personal=False,
                fields={"place": _PLACES[row % 64], "plate": f"NL-{row % 100:02d}-BXK-3"},
                withheld=(),
            )
            if not (place + 1) % MARK_ROWS:
                yield Mark(str(place + 1))

    def report(self) -> ImportReport:
        """Every row is a record."""
        return ImportReport(
            source=self.name,
            rows=self._made,
            records=self._made,
            excluded=(),
            reasons={},
            identifiers=0,
            checksum_failed=0,
            unverifiable=0,
        )


def terms(random: Random, rows: int, count: int) -> list[Identifier]:
    """``count`` containers to look up: every second one is held, in no order."""
    numbers = Containers()
    wanted = [random.randrange(rows) + (rows if n % 2 else 0) for n in range(count)]
    random.shuffle(wanted)
    return [normalise(SCHEME, numbers.value(number)) for number in wanted]
