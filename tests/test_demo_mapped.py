"""demo.mapped: files and databases of two years that every partner's own mappings can count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from certs.dev.federation import demo_partners
from demo import mapped
from demo.figures import QUARTERS, last_quarters, period
from fairlead.cubes.period import TimeStep, parse_period
from fairlead.cubes.registry import Registry
from node.figures.mapped import MappedFigures, check_mapping
from node.figures.mapped_form import load_figures
from tests.cubes import DEFAULTS

TODAY = dt.date(2026, 11, 26)
CUT_OFF = dt.datetime(2026, 11, 26, tzinfo=dt.UTC).timestamp()
CUBES = {"vulnerabilities": 6, "precursor-alerts": 5, "hit-origins": 5}
"""How many partners have each."""
CONTRIBUTORS, RECORDS = 4, 10

Sources = Mapping[str, Sequence[Path]]


def made(folder: Path, *, seed: int = 7) -> Sources:
    """The sources of all six."""
    quarters, last = last_quarters(TODAY), TODAY - dt.timedelta(days=1)
    return {
        spec.partner_id: mapped.write(
            folder / spec.partner_id, spec, quarters, seed=seed, last=last
        )
        for spec in demo_partners()
    }


def octets(folder: Path) -> list[bytes]:
    """Every file of a folder."""
    return [path.read_bytes() for path in sorted(folder.rglob("*.*"))]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Mappings by partner."""
    return made(tmp_path_factory.mktemp("mapped"))


def test_no_row_is_refused_by_its_mapping(sources: Sources) -> None:
    """Each mapping fits its cube and counts every row of its source; the three kinds are there."""
    registry = Registry.parse(DEFAULTS)
    checked = [
        check_mapping(path, registry, environ={})[0] for paths in sources.values() for path in paths
    ]
    assert {cube: checked.count(cube) for cube in CUBES} == CUBES
    kinds = {f.suffix for paths in sources.values() for f in paths[0].parent.iterdir()}
    assert kinds == {".toml", ".csv", ".parquet", ".db"}


@pytest.mark.parametrize("cube", CUBES)
def test_enough_partners_count_enough(sources: Sources, cube: str) -> None:
    """In the first quarter and in the last, so that the total of each can be shown."""
    found = Registry.parse(DEFAULTS).cube(cube)
    of_cube = [
        MappedFigures([load_figures(path)], environ={})
        for paths in sources.values()
        for path in paths
        if path.stem == cube
    ]
    units = parse_period(period(TODAY)).units(TimeStep.QUARTER)
    assert len(units) == QUARTERS
    for unit in (units[0], units[-1]):
        counted = [
            figures.counted(found, found.level("quarter"), unit, CUT_OFF).records[0]
            for figures in of_cube
        ]
        assert len([records for records in counted if records >= RECORDS]) >= CONTRIBUTORS


def test_seed_and_day_decide_every_octet(sources: Sources, tmp_path: Path) -> None:
    """A second run writes the same files, another seed others."""
    made(tmp_path / "again")
    made(tmp_path / "other", seed=8)
    first = sources["police"][0].parent.parent
    assert octets(tmp_path / "again") == octets(first)
    assert octets(tmp_path / "other") != octets(first)
