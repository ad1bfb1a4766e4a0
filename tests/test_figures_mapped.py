"""Mappings from columns to cubes: what fits, and what is said of what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.config import ConfigurationInvalid
from fairlead.cubes.registry import Registry
from fairlead.cubes.shore import INLAND_PORTS, SEA_PORTS, shore_of
from fairlead.errors import InvalidInput
from node.figures.mapped_fit import check_fits
from node.figures.mapped_form import (
    DateColumn,
    DimensionColumn,
    MappedFile,
    MeasureColumn,
    load_figures,
)
from node.figures.mapped_plan import Axis, plan
from tests.cubes import DEFAULTS, ROOT
from tests.mapped import mapping, registry

EXAMPLES = ROOT / "examples"


def problems(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """Which keys are wrong once the standard mapping is changed."""
    try:
        check_fits(mapping(folder, 'files = ["rows.csv"]', *changes), registry())
    except ConfigurationInvalid as error:
        return [problem.key for problem in error.problems if error.remedy]
    return []


def test_the_example_mappings_fit_and_show_every_key() -> None:
    """The examples fit the cubes that come with the product, and together show every key."""
    cubes = Registry.parse(DEFAULTS)
    files = [load_figures(path) for path in sorted(EXAMPLES.glob("figures*.toml"))]
    assert [check_fits(file, cubes).id for file in files] == [
        "seizures", "vulnerabilities", "displacement",
    ]  # fmt: skip
    tables = [found.file for found in files]
    assert set().union(*(t.model_fields_set for t in tables)) == MappedFile.model_fields.keys()
    dimensions = [entry for table in tables for entry in table.dimensions.values()]
    shown = set().union(*(entry.model_fields_set for entry in dimensions))
    assert shown == DimensionColumn.model_fields.keys()
    measures = [entry for table in tables for entry in table.measures.values()]
    shown = set().union(*(entry.model_fields_set for entry in measures))
    assert shown == MeasureColumn.model_fields.keys()
    dates = [table.date for table in tables]
    assert set().union(*(date.model_fields_set for date in dates)) == DateColumn.model_fields.keys()


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ('cube = "reports"', 'cube = "report"', ["cube"]),
        ('step = "port"', 'step = "country"', ["dimensions.place.step", "dimensions.place.empty",
                                              "dimensions.place.map"]),
        ('step = "port"', 'step = "harbour"', ["dimensions.place.step"]),
        ('empty = "NLAMS"', 'empty = "NLXXX"', ["dimensions.place.empty"]),
        ('"NLRTM"', '"NLROT"', ["dimensions.place.map"]),
        ('column = "how"\nother = "named"', "by_port = true", ["dimensions.report-kind.by_port"]),
        ("[dimensions.report-kind]", "[dimensions.report]",
         ["dimensions.report-kind", "dimensions"]),
        ('[measures.due]\nunit = "reports"\n', "", ["measures.due"]),
        ("[measures.due]", '[measures.share]\nunit = "per cent"\n[measures.due]', ["measures"]),
        ('unit = "g"', 'unit = "lb"', ["measures.kg.unit"]),
        ('unit = "hours"', 'unit = "kg"', ["measures.days.unit"]),
        ('[measures.due]\nunit = "reports"', '[measures.due]\nunit = "events"',
         ["measures.due.unit"]),
        ('unit = "g"\ncolumn = "kg"\nempty_is_zero = true', 'unit = "t"', ["measures.kg.column"]),
        ('column = "hours"', 'column = "hours"\nvalues = ["1"]', ["measures.days.values"]),
        ('column = "hours"', 'column = "hours"\nempty_is_zero = true',
         ["measures.days.empty_is_zero"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_cube_is_named_by_its_key(
    tmp_path: Path, old: str, new: str, keys: list[str]
) -> None:
    """A wrong cube, step, code, measure or unit is said at the start, all of it at once."""
    assert problems(tmp_path, (old, new)) == keys


def test_a_mapping_that_fits_has_no_problems(tmp_path: Path) -> None:
    """The standard mapping fits, and a cube that is made of reports cannot be mapped."""
    assert problems(tmp_path) == []
    found = load_figures(EXAMPLES / "figures.toml")
    changed = found.file.model_copy(update={"cube": "reports-received"})
    found.file = changed
    with pytest.raises(ConfigurationInvalid, match="cannot be used") as caught:
        check_fits(found, Registry.parse(DEFAULTS))
    assert "cube" in [problem.key for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('files = ["rows.csv"]', "", "files"),
        ('files = ["rows.csv"]', 'files = ["/etc/passwd"]', "files"),
        ('files = ["rows.csv"]', 'files = ["rows.xlsx"]\nformat = "xlsx"', "format"),
        ('format = "unix"', 'format = "%d/%m/%Y"', "recorded.format"),
        ('timezone = "Europe/Amsterdam"', 'timezone = "Europe/Rotterdam"', "date.timezone"),
        ('column = "how"', 'column = "how"\nvalue = "named"', "dimensions.report-kind"),
        ('column = "how"\n', "", "dimensions.report-kind"),
        ('[recorded]\ncolumn = "entered"\nformat = "unix"\n', "", "recorded"),
        ('unit = "g"\n', "", "measures.kg.unit"),
        ('column = "state"\n', "", "measures.done"),
    ],
)  # fmt: skip
def test_what_is_no_mapping_is_named_by_its_key(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    """A mapping of the wrong form is refused when it is read, without a word of what is there."""
    with pytest.raises(ConfigurationInvalid) as caught:
        mapping(tmp_path, 'files = ["rows.csv"]', (old, new))
    assert [problem.key for problem in caught.value.problems] == [key]
    assert "passwd" not in caught.value.diagnostics()


def test_every_port_of_the_registry_has_one_shore() -> None:
    """A port is a sea port or an inland port, as the page says; elsewhere is neither."""
    cubes = Registry.parse(DEFAULTS)
    (place,) = (dimension for dimension in cubes.dimensions if dimension.id == "place")
    ports = {code.code: code.title for code in place.steps[place.place("port")].codes}
    assert SEA_PORTS | INLAND_PORTS | {"ZZOTH"} == ports.keys()
    assert not SEA_PORTS & INLAND_PORTS
    page = " ".join((ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").split())
    listed = page.partition("inland are ")[2].partition(".")[0].replace(" and ", ", ")
    assert set(listed.split(", ")) == {ports[port] for port in INLAND_PORTS}
    with pytest.raises(InvalidInput, match="shore"):
        shore_of("ZZOTH")


def test_the_shore_comes_from_the_port_and_the_place_rolls_up() -> None:
    """A word of a port counts in its country and on its shore; a port without one is no code."""
    cubes = Registry.parse(DEFAULTS)
    found = load_figures(EXAMPLES / "figures.toml")
    cube = cubes.cube("displacement")
    axes = plan(found.file, cube, cube.level("quarter,country,shore")).axes
    place, shore, event = axes
    countries = [code.code for code in cube.finest("place").codes]
    assert countries[place.places["Antwerp"]] == "BE"
    assert (shore.places["Rotterdam"], shore.places["DEDUI"], shore.other) == (0, 1, 0)
    assert (place.counted, shore.counted, event.counted) == (True, True, False)
    bare = found.file.dimensions["shore"].model_copy(update={"map": {}})
    file = found.file.model_copy(update={"dimensions": found.file.dimensions | {"shore": bare}})
    (without,) = (a for a in plan(file, cube, cube.level("quarter,shore")).axes if _is_shore(a))
    assert (without.other, without.places[""]) == (-1, -1)


def _is_shore(axis: Axis) -> bool:
    return axis.key == "dimensions.shore"
