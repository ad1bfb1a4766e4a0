"""Mapped sources for tests: a small cube, rows about it in every kind of source, and what a plain
loop counts of them."""

from __future__ import annotations

import csv
import json
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import floor
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit, parse_unit
from fairlead.cubes.registry import Registry
from node.figures.mapped import MappedFigures
from node.figures.mapped_form import FiguresMapping, load_figures
from node.figures.port import Counted
from tests.cubes import small, written

SQL = "x'); DROP TABLE rows; --"
NAMES = ("id", "at", "entered", "port", "how", "state", "kg", "hours")
MAPPING = """
cube = "reports"
HEAD
[date]
column = "at"
timezone = "Europe/Amsterdam"
[recorded]
column = "entered"
format = "unix"
[dimensions.place]
column = "port"
step = "port"
map = { "R'dam" = "NLRTM", "x'); DROP TABLE rows; --" = "BEANR" }
empty = "NLAMS"
[dimensions.report-kind]
column = "how"
other = "named"
[measures.due]
unit = "reports"
[measures.done]
unit = "reports"
column = "state"
values = ["done", "x'); DROP TABLE rows; --"]
[measures.kg]
unit = "g"
column = "kg"
empty_is_zero = true
[measures.days]
unit = "hours"
column = "hours"
"""
DATABASE = """[database]
url = "URL"
table = "rows"
key = ["id"]
"""
_ZONE = ZoneInfo("Europe/Amsterdam")
_PORTS = {"R'dam": "NLRTM", SQL: "BEANR", "NLRTM": "NLRTM", " BEANR ": "BEANR", "": "NLAMS"}
_COUNTRIES = {"NLRTM": "NL", "NLAMS": "NL", "BEANR": "BE"}
CUT_OFF = 1_790_000_000.5

Row = Mapping[str, Any]


def registry(bound: int = 10**9) -> Registry:
    """The small registry, its cube made of sources, with room for many rows."""
    document = small()
    (cube,) = document["cubes"]
    cube["made_of"] = ["source"]
    for measure in cube["measures"]:
        if "bound" in measure:
            measure["bound"] = bound
    return Registry.parse(written(document))


def mapping(folder: Path, head: str, *changes: tuple[str, str], name: str = "m") -> FiguresMapping:
    """The standard mapping, of some files or a database, changed."""
    text = MAPPING.replace("HEAD\n", "" if head.startswith("[") else f"{head}\n")
    text += head if head.startswith("[") else ""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return load_figures(path)


def counted(
    found: FiguresMapping, level: str, unit: str, *, bound: int = 10**9, cut_off: float = CUT_OFF
) -> Counted:
    """What a mapping counts."""
    cube = registry(bound).cube("reports")
    figures = MappedFigures([found], environ={})
    return figures.counted(cube, cube.level(level), parse_unit(unit), cut_off)


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def rows(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Rows dated around the turn of 2025 to 2026, in several zones and in none."""
    random = Random(seed)
    turn = datetime(2026, 1, 1, tzinfo=UTC)
    found = []
    for number in range(1, count + 1):
        at = turn + timedelta(seconds=random.randrange(-120 * 86_400, 120 * 86_400))
        if random.random() < 0.05:
            at = turn + timedelta(seconds=random.choice([-3601, -3600, -1, 0, 1, 3599, 3600]))
        found.append(
            {
                "id": number,
                "at": _spelt(at, random),
                "entered": random.choice([1_780_000_000, 1_790_000_000, 1_790_000_001]),
                "port": random.choice(list(_PORTS)),
                "how": random.choice(["anonymous", "named", "by post", "it's"]),
                "state": random.choice(["done", "open", "", SQL]),
                "kg": random.choice(["", "0", "499.999", "500", "12345.678", "1000000"]),
                "hours": random.choice(["", "0", "23.999", "24", "168", "719.5", "9000"]),
            }
        )
    return found


def _spelt(at: datetime, random: Random) -> str:
    match random.randrange(4):
        case 0:
            return at.astimezone(_ZONE).replace(tzinfo=None).isoformat()
        case 1:
            return at.isoformat().replace("+00:00", "Z")
        case 2:
            return at.astimezone(ZoneInfo("America/New_York")).isoformat(" ")
        case _:
            return at.astimezone(ZoneInfo("Asia/Kolkata")).isoformat()


def plainly(found: Iterable[Row], cube: Cube, level: Level, unit: Unit, cut_off: float) -> Counted:
    """A loop over the rows, with none of the code that is tested."""
    cells = {cell.codes: place for place, cell in enumerate(level.cells(Period(unit, unit)))}
    steps = [axis.step.step for axis in level.axes]
    records = [0] * len(cells)
    counts = [[0, 0] for _ in cells]
    kilos = [0] * len(cells)
    bars = [[0] * 4 for _ in cells]
    for row in found:
        at = datetime.fromisoformat(row["at"])
        moment = (at if at.tzinfo else at.replace(tzinfo=_ZONE)).timestamp()
        if not unit.begins <= moment < unit.ends or row["entered"] > cut_off:
            continue
        port = _PORTS[row["port"]]
        kind = "anonymous" if row["how"] == "anonymous" else "named"
        codes = {"port": port, "country": _COUNTRIES[port], "kind": kind}
        cell = cells[tuple(codes[step] for step in steps)]
        records[cell] += 1
        counts[cell][0] += 1
        counts[cell][1] += row["state"] in {"done", SQL}
        kilos[cell] += floor(Fraction(row["kg"] or "0") / 1000 + Fraction(1, 2))
        if row["hours"]:
            bars[cell][bisect_right([1, 7, 30], Fraction(row["hours"]) / 24)] += 1
    values = [(*pair, kilo, *bar) for pair, kilo, bar in zip(counts, kilos, bars, strict=True)]
    return Counted(records=tuple(records), values=tuple(values))


# ── Kinds of sources ─────────────────────────────────────────────────────────────────────────


def write_csv(path: Path, found: Sequence[Row], names: Sequence[str] = NAMES) -> None:
    """One header, commas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([row.get(name, "") for name in NAMES] for row in found)


def write_json(path: Path, found: Sequence[Row], *, array: bool = False) -> None:
    """An object a line, an empty text as null; or one array."""
    texts = [json.dumps({k: None if v == "" else v for k, v in row.items()}) for row in found]
    text = "[" + ",\n".join(texts) + "]" if array else "\n".join(texts) + "\n"
    path.write_text(text, encoding="utf-8")


def write_parquet(path: Path, found: Sequence[Row]) -> None:
    """Numbers as numbers, the rest as text, by way of a CSV file."""
    write_csv(path.with_suffix(".tmp"), found)
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT * REPLACE (CAST(entered AS BIGINT) AS entered, CAST(kg AS DOUBLE) AS kg,"  # noqa: S608
            " CAST(hours AS DECIMAL(9, 3)) AS hours) FROM read_csv($path, all_varchar = true,"
            " header = true, delim = ',', quote = '\"', escape = '\"'))"
            f" TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20000)",
            {"path": str(path.with_suffix(".tmp"))},
        )
    path.with_suffix(".tmp").unlink()


def write_sqlite(path: Path, found: Sequence[Row]) -> None:
    """A table ``rows`` without types; numbers are numbers, an empty text is NULL."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE rows ({', '.join(NAMES)}, PRIMARY KEY (id))")
        marks = ", ".join("?" * len(NAMES))
        connection.executemany(
            f"INSERT INTO rows VALUES ({marks})",  # noqa: S608
            ([_native(row, n) for n in NAMES] for row in found),
        )
    connection.close()


def _native(row: Row, name: str) -> object:
    value = row[name]
    if value == "":
        return None
    return float(value) if name in {"kg", "hours"} else value
