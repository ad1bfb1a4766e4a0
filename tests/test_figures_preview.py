"""``fairlead-node statistics``: an owner's own figures, and what is wrong with its mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.config import NodeConfig
from fairlead.cubes.period import Period, parse_unit
from fairlead.errors import InvalidInput
from node.cli import statistics
from node.cli.main import app
from node.figures.mapped import MappedFigures
from node.figures.preview import Rule, Standing, preview
from tests.mapped import CUT_OFF, mapping, registry, rows, write_csv
from tests.test_figures_files import good, spoilt


def figures(folder: Path) -> MappedFigures:
    """Nine named reports at Rotterdam and twelve anonymous ones at Antwerp, in January 2026."""
    found = [good(n) for n in range(1, 10)]
    found += [good(n, port="BEANR", how="anonymous") for n in range(10, 22)]
    write_csv(folder / "rows.csv", found)
    return MappedFigures([mapping(folder, 'files = ["rows.csv"]')], environ={})


async def test_a_preview_says_of_each_rule_what_is_known_here(tmp_path: Path) -> None:
    """Ten own records are enough records; whether others contribute only the others know; a cell
    without own records is not the owner's to show."""
    cube = registry().cube("reports")
    level = cube.level("month,port,kind")
    unit = parse_unit("2026-01")
    found = await preview(figures(tmp_path), cube, level, Period(unit, unit), cut_off=CUT_OFF)
    assert len(found) == level.width
    own = {cell.cell.spelling: cell for cell in found if cell.records}
    assert own.keys() == {"2026-01/NLRTM/named", "2026-01/BEANR/anonymous"}
    few, many = own["2026-01/NLRTM/named"], own["2026-01/BEANR/anonymous"]
    assert (few.records, few.rules[Rule.RECORDS]) == (9, Standing.NEEDS_OTHERS)
    assert (many.records, many.rules[Rule.RECORDS]) == (12, Standing.MET)
    assert many.rules[Rule.CONTRIBUTORS] is many.rules[Rule.DOMINANCE] is Standing.NEEDS_OTHERS
    assert many.values == {"due": [12], "done": [12], "kg": [12], "days": [12, 0, 0, 0]}
    empty = next(cell for cell in found if not cell.records)
    assert empty.rules == {Rule.OWN_RECORDS: Standing.NOT_MET}
    assert empty.as_record()["contributes"] is False


async def test_an_open_period_has_no_preview(tmp_path: Path) -> None:
    """A period that has not ended is not previewed, as it is not released."""
    cube = registry().cube("reports")
    unit = parse_unit("2026")
    with pytest.raises(InvalidInput) as caught:
        await preview(
            figures(tmp_path), cube, cube.level("year"), Period(unit, unit), cut_off=unit.ends - 1
        )
    assert caught.value.code == "PERIOD_OPEN"


# ── The commands ─────────────────────────────────────────────────────────────────────────────


def run(monkeypatch: pytest.MonkeyPatch, paths: list[Path], *words: str) -> int:
    """A command of a node that has these mappings and the small registry."""
    settings = NodeConfig.model_construct(statistics=tuple(paths))
    monkeypatch.setattr(statistics, "_begin", lambda _: (settings, registry()))
    return int(app(["statistics", *words], standalone_mode=False) or 0)


def mapped(folder: Path, found: list[dict[str, Any]]) -> Path:
    """A mapping's file, of a CSV file with these rows."""
    write_csv(folder / "rows.csv", found)
    mapping(folder, 'files = ["rows.csv"]')
    return folder / "m.toml"


def test_the_check_lists_rows_and_says_nothing_of_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source with faulty rows fails the check with their numbers; a good one passes it."""
    path = mapped(tmp_path, spoilt())
    assert run(monkeypatch, [path], "check", "--output", "json") == 8
    out, err = capsys.readouterr()
    (entry,) = json.loads(out)
    assert (entry["mapping"], entry["state"]) == ("m.toml", "DATE_UNREADABLE")
    assert entry["faults"][1] == {
        "part": "rows.csv", "key": "dimensions.place", "code": "FIGURES_CODES", "rows": 4,
        "ranges": [[3, 5], [9, 9]],
    }  # fmt: skip
    assert "rows 3–5, 9" in err
    assert "Timbuktu" not in out + err
    assert run(monkeypatch, [mapped(tmp_path, rows(30))], "check") == 0


def test_the_check_of_a_mapping_that_does_not_fit_names_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong unit is found before a row is read."""
    path = mapped(tmp_path, rows(3))
    path.write_text(path.read_text(encoding="utf-8").replace('unit = "g"', 'unit = "lb"'))
    (tmp_path / "rows.csv").unlink()
    assert run(monkeypatch, [path], "check") == 8
    assert "measures.kg.unit: the unit kg or t or g" in capsys.readouterr().err


def test_the_preview_prints_the_own_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the cells with own records, the JSON document every cell and what was asked."""
    path = mapped(tmp_path, [good(n) for n in range(1, 13)])
    asked = ("preview", "reports", "--level", "quarter,country", "--period", "2026-Q1")
    assert run(monkeypatch, [path], *asked, "--output", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["level"], found["period"], len(found["cells"])) == (
        "quarter,country",
        "2026-Q1",
        2,
    )
    assert found["cells"][1]["rules"]["records"] == "met"
    assert run(monkeypatch, [path], *asked) == 0
    out, err = capsys.readouterr()
    assert "NL" in out
    assert "contributors" in out
    assert "1 of 2 cells" in err
