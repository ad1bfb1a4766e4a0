"""Two years of weaknesses, precursor alerts and confirmed hits, in six partners' own files.

No register has them: each partner's node counts them where they are, by mappings. Customs keeps
Parquet, the police a database, the others CSV. Deterministic: the same seed and day, the same rows.
"""

from __future__ import annotations

import csv
import datetime as dt
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import duckdb

from certs.dev.federation import PartnerSpec
from demo.figures import Quarter
from demo.ledger import MAPPINGS

Row = tuple[str, ...]
_KINDS = {"customs": "parquet", "police": "sqlite"}
"""How a partner keeps them; everybody else as CSV."""
_WEAK = ("perimeter", "access", "release", "seals", "systems", "people", "procedures", "other")
_PORTS = ("NLRTM", "NLMOE", "BEANR", "BEZEE", "DEHAM", "DEDUI", "DECGN")
_SUBSTANCES = {
    "category-1": ("103-79-7", "4676-39-5", "4468-48-8", "90-82-4"),
    "category-2": ("108-24-7", "7722-64-7", "103-82-2"),
    "category-3": ("7647-01-0", "7664-93-9", "108-88-3", "67-64-1"),
    "uncategorised": ("other",),
}
_CARGOES = {
    "Ecuador": ("080390", "080310", "030617"),
    "Colombia": ("080390", "080440", "090111", "060311"),
    "Brazil": ("020230", "120190", "090111", "251511"),
    "Costa Rica": ("080390", "080430"),
    "Peru": ("080450", "080440", "081090"),
    "Dominican Republic": ("180100", "080450"),
    "Morocco": ("070960",),
    "Philippines": ("080430",),
}
_FROM = 28, 22, 16, 10, 8, 7, 5, 4


def write(
    folder: Path, partner: PartnerSpec, quarters: Sequence[Quarter], *, seed: int, last: dt.date
) -> list[Path]:
    """Write a partner's sources into its own folder, each with its mapping; returns the mappings.

    :param last: nothing is dated after it.
    """
    folder.mkdir(parents=True)
    kind = _KINDS.get(partner.partner_id, "csv")
    mappings = []
    for cube, (columns, made, without) in _CUBES.items():
        if partner.partner_id in without:
            continue
        random = Random(f"{seed}/{partner.partner_id}/{cube}")
        rows = [
            (partner.kind.value, *row)
            for quarter in quarters
            for row in made(random, quarter, last)
        ]
        _WRITERS[kind](folder, cube, ("organisation", *columns), rows)
        mapping = folder / f"{cube}.toml"
        shutil.copyfile(MAPPINGS / "figures" / f"{cube}.{kind}.toml", mapping)
        mappings.append(mapping)
    return mappings


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def _weaknesses(random: Random, quarter: Quarter, last: dt.date) -> Iterator[Row]:
    """More are found and reported every year, and more of them are mended, and sooner."""
    shares = (20 - 8 * quarter.progress, 14, 16, 12, 8 + 12 * quarter.progress, 12, 12, 6)
    for _ in range(round(random.uniform(36, 44) * (1 + 0.4 * quarter.progress))):
        found = _day(random, quarter)
        taken = int(random.expovariate(1 / (60 - 35 * quarter.progress)))
        closed = found + dt.timedelta(days=1 + taken)
        mended = closed <= last and random.random() < 0.6 + 0.25 * quarter.progress
        yield (
            found.isoformat(),
            random.choices(_WEAK, shares)[0],
            closed.isoformat() if mended else "",
            _entered(random, found, last),
        )


def _alerts(random: Random, quarter: Quarter, last: dt.date) -> Iterator[Row]:
    """What the law does not name yet takes the place of what it names."""
    shares = (30 - 14 * quarter.progress, 24 - 4 * quarter.progress, 34, 12 + 18 * quarter.progress)
    for _ in range(round(random.uniform(108, 132))):
        on = _day(random, quarter)
        category = random.choices(tuple(_SUBSTANCES), shares)[0]
        yield (
            on.isoformat(),
            random.choice(_PORTS),
            random.choice(_SUBSTANCES[category]),
            "diverted" if random.random() < (0.48 if category == "category-1" else 0.36) else "",
            _entered(random, on, last),
        )


def _hits(random: Random, quarter: Quarter, last: dt.date) -> Iterator[Row]:
    for _ in range(round(random.uniform(44, 56) * (1 + 0.5 * quarter.progress))):
        on = _day(random, quarter)
        country = random.choices(tuple(_CARGOES), _FROM)[0]
        cargo = random.choice(_CARGOES[country])
        yield on.isoformat(), country, cargo, _entered(random, on, last)


def _day(random: Random, quarter: Quarter) -> dt.date:
    return quarter.first + dt.timedelta(days=random.randrange(quarter.days))


def _entered(random: Random, on: dt.date, last: dt.date) -> str:
    return min(on + dt.timedelta(days=random.randrange(6)), last).isoformat()


_Made = Callable[[Random, Quarter, dt.date], Iterator[Row]]
_CUBES: dict[str, tuple[Row, _Made, tuple[str, ...]]] = {
    "vulnerabilities": (
        ("found_on", "weakness", "closed_on", "entered_on"),
        _weaknesses,
        (),
    ),
    "precursor-alerts": (
        ("alerted_on", "port", "cas", "finding", "entered_on"),
        _alerts,
        ("quayguard",),
    ),
    "hit-origins": (("hit_on", "loaded_in", "hs6", "entered_on"), _hits, ("quayguard",)),
}
"""Columns, rows, and who has none of them."""


# ── Kinds of sources ─────────────────────────────────────────────────────────────────────────


def _write_csv(folder: Path, cube: str, columns: Row, rows: Sequence[Row]) -> None:
    with (folder / f"{cube}.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(rows)


def _write_parquet(folder: Path, cube: str, columns: Row, rows: Sequence[Row]) -> None:
    """By way of CSV, which DuckDB takes much faster than rows one by one."""
    _write_csv(folder, cube, columns, rows)
    made = folder / f"{cube}.csv"
    with duckdb.connect() as connection:
        connection.read_csv(str(made), all_varchar=True, header=True).write_parquet(
            str(made.with_suffix(".parquet"))
        )
    made.unlink()


def _write_sqlite(folder: Path, cube: str, columns: Row, rows: Sequence[Row]) -> None:
    """A table of one database; what is empty is NULL."""
    with closing(sqlite3.connect(folder / "figures.db")) as connection, connection:
        names = ", ".join(("id INTEGER PRIMARY KEY", *columns))
        connection.execute(f'CREATE TABLE "{cube}" ({names})')
        marks = ", ".join("?" * len(columns))
        connection.executemany(
            f'INSERT INTO "{cube}" ({", ".join(columns)}) VALUES ({marks})',  # noqa: S608
            ([cell or None for cell in row] for row in rows),
        )


_WRITERS = {"csv": _write_csv, "parquet": _write_parquet, "sqlite": _write_sqlite}
