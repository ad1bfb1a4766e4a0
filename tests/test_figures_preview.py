"""``fairlead-node statistics``: an owner's own figures, and what is wrong with its mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.config import ConfigurationInvalid, Limits, NodeConfig
from fairlead.cubes.period import Period, parse_unit
from fairlead.disclosure.rules import Rules
from fairlead.errors import InvalidInput
from node.app import assemble
from node.cli import statistics
from node.cli.main import app
from node.figures.mapped import MappedFigures
from node.figures.preview import Need, Previewed, Rule, Standing, preview
from node.owning import at_rest
from tests.federation import build
from tests.mapped import CUT_OFF, mapping, registry, rows, write_csv
from tests.test_cli_owner import typed, write_config
from tests.test_figures_files import good, spoilt

OWNER = "terminal-north"
EVENTS = "at,port,what\n2026-01-02,NLRTM,seal-broken\n2026-03-31,BEANR,seal-broken\n"
MAPPING = """
cube = "displacement"
files = ["events.csv"]
recorded = false
[date]
column = "at"
[dimensions.place]
column = "port"
step = "port"
[dimensions.shore]
by_port = true
[dimensions.event]
column = "what"
[measures.events]
unit = "events"
"""


def figures(folder: Path) -> MappedFigures:
    """Nine named reports at Rotterdam and twelve anonymous ones at Antwerp, in January 2026."""
    found = [good(n) for n in range(1, 10)]
    found += [good(n, port="BEANR", how="anonymous") for n in range(10, 22)]
    write_csv(folder / "rows.csv", found)
    return MappedFigures([mapping(folder, 'files = ["rows.csv"]')], environ={})


async def previewed(folder: Path, level: str, unit: str, *, partners: int = 9) -> list[Previewed]:
    """A unit of the small cube's figures, where there are so many partners."""
    cube, over = registry().cube("reports"), parse_unit(unit)
    return await preview(
        figures(folder), cube, cube.level(level), Period(over, over), cut_off=CUT_OFF,
        rules=Rules(), partners=partners,
    )  # fmt: skip


async def test_a_preview_says_of_each_rule_what_is_known_here(tmp_path: Path) -> None:
    """Ten own records are enough records; whether others contribute only the others know; a cell
    without own records is not the owner's to show."""
    cube = registry().cube("reports")
    level = cube.level("month,port,kind")
    found = await previewed(tmp_path, level.name, "2026-01")
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


async def test_a_need_is_what_the_rules_ask_of_others(tmp_path: Path) -> None:
    """Three others, five where one could make up most of a sum, and a third of the own part of it;
    where the federation has fewer partners, no cell will ever show."""

    async def belgium(partners: int) -> Previewed:
        cells = await previewed(tmp_path, "quarter,country", "2026-Q1", partners=partners)
        return next(cell for cell in cells if cell.cell.codes == ("BE",))

    cell = await belgium(9)
    assert cell.needs["due"] == Need(others=3, records=0, amount=0, possible=True)
    assert cell.needs["kg"] == Need(others=5, records=0, amount=5, possible=True)
    cell = await belgium(5)
    assert cell.needs["due"].possible
    assert not cell.needs["kg"].possible
    assert cell.rules[Rule.DOMINANCE] is Standing.NOT_MET
    assert cell.rules[Rule.CONTRIBUTORS] is Standing.NEEDS_OTHERS
    assert (await belgium(3)).rules[Rule.CONTRIBUTORS] is Standing.NOT_MET


async def test_an_open_period_has_no_preview(tmp_path: Path) -> None:
    """A period that has not ended is not previewed, as it is not released."""
    cube = registry().cube("reports")
    unit = parse_unit("2026")
    with pytest.raises(InvalidInput) as caught:
        await preview(
            figures(tmp_path), cube, cube.level("year"), Period(unit, unit),
            cut_off=unit.ends - 1, rules=Rules(), partners=9,
        )  # fmt: skip
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


async def test_a_mapping_that_does_not_fit_keeps_a_node_from_starting(tmp_path: Path) -> None:
    """A node that serves has its mappings checked first; who acts on its files is not held up."""
    made = build(
        tmp_path, partners=("customs", OWNER), records={}, local_policy=None, tick_ms=5,
        limits=Limits(),
    )  # fmt: skip
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "events.toml").write_text(MAPPING.replace('unit = "events"', 'unit = "t"'))
    config = made.node_configs[OWNER].model_copy(update={"statistics": (tmp_path / "events.toml",)})
    async with at_rest(config) as steering:
        assert (await steering.register.listed(noun="report")) == {"entries": []}
    with pytest.raises(ConfigurationInvalid) as caught:
        await assemble(config)
    assert caught.value.code == "FIGURES_UNFIT"
    assert "measures.events.unit" in caught.value.diagnostics()
    assert "fairlead-node statistics check" in caught.value.remedy


def test_the_preview_prints_the_own_cells(tmp_path: Path) -> None:
    """Of a node at rest: the cells with own records, from a mapped source and from the register
    together, how many others there are, and what each needs; nothing else is asked."""
    made = build(
        tmp_path, partners=("customs", OWNER), records=None, local_policy=None, tick_ms=5,
        limits=Limits(),
    )  # fmt: skip
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "events.toml").write_text(MAPPING)
    node = write_config(
        made.node_configs[OWNER], tmp_path / "node.toml", statistics=["events.toml"]
    )
    entered = typed(
        node, "reports", "add", "R-1", "--received", "2026-02-16", "--place", "NLRTM", "--event",
        "seal-broken", "--shore", "sea", "--by", "u-t01",
    )  # fmt: skip
    assert entered.exit_code == 0, entered.stderr
    asked = ("statistics", "preview", "displacement", "--level", "quarter,shore", "--period")
    shown = typed(node, *asked, "2026-Q1", "--output", "json")
    found = json.loads(shown.stdout)
    assert (found["level"], found["period"], found["empty"]) == ("quarter,shore", "2026-Q1", 1)
    (cell,) = found["cells"]
    assert (cell["codes"], cell["records"], cell["values"]) == (["sea"], 3, {"events": [3]})
    assert cell["needs"]["events"] == {
        "others": 3, "records": 7, "amount": 0, "possible": False
    }  # fmt: skip
    table = typed(node, *asked, "2026-Q1")
    assert "3 partners, 7 records" in table.stdout
    assert "1 of 2 cells" in table.stderr
    assert "never shown: events: the directory has only 2 partners" in table.stderr
    for words, code in (
        (("statistics", "preview", "displacements", *asked[3:], "2026-Q1"), "CUBE_UNKNOWN"),
        ((*asked[:4], "quarter,harbour", "--period", "2026-Q1"), "LEVEL_UNKNOWN"),
        ((*asked, "2026-13"), "PERIOD_MALFORMED"),
        ((*asked, "2099"), "PERIOD_OPEN"),
    ):
        with pytest.raises(InvalidInput) as caught:
            app([*words, "--config", str(node)], standalone_mode=False)
        assert caught.value.code == code
        assert caught.value.remedy
