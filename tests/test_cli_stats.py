"""What `fairlead stats` prints of released figures, in every form."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from fairlead.cli.output import RowFormat
from fairlead.cli.stats.showing import Answer, as_chart, as_csv, document, notes, show, table
from fairlead.cubes.period import TimeStep, parse_period
from fairlead.errors import InvalidInput
from fairlead.published import PublishedCell, Shown
from tests.released import METHOD, RULES, defaults, every_kind, release, small

LEVEL = "quarter,country,kind"


def answer() -> Answer:
    """Two quarters, of which the second was never released."""
    cube = small().cube("reports")
    level = cube.level(LEVEL)
    return Answer(
        cube=cube,
        level=level,
        units=parse_period("2026-Q1..2026-Q2").units(level.time),
        releases=(release(small(), "reports", LEVEL, "2026-Q1", every_kind),),
    )


def test_the_table_tells_every_kind_apart() -> None:
    """A nought, a suppressed and an unreported cell are other words, and who took part is below."""
    columns, rows = table(answer().grid(answer().cube.measures[0]))
    assert columns == ["Country · Kind", "2026-Q1", "2026-Q2"]
    assert rows == [
        ["Belgium · Anonymous", "1,250 ± 15", "not reported"],
        ["Belgium · Named", "0 ± 15", "not reported"],
        ["Netherlands · Anonymous", "suppressed", "not reported"],
        ["Netherlands · Named", "not reported", "not reported"],
        ["participants", "12 of 14", "none"],
        ["figures", "first", "none"],
    ]


def test_many_rows_without_a_figure_are_one() -> None:
    """In a table alone: whoever reads 26 countries sees those that have figures; a few stay."""
    registry = defaults()
    cube, level = registry.cube("reports-received"), "quarter,country"

    def only(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, 120 if codes == ("NL",) else None, 15)

    made = Answer(
        cube=cube, level=cube.level(level), units=parse_period("2026-Q1").units(TimeStep.QUARTER),
        releases=(release(registry, cube.id, level, "2026-Q1", only, version=2),),
    )  # fmt: skip
    _, rows = table(made.grid(cube.measures[0]))
    assert rows == [
        ["Netherlands", "120 ± 15"], ["25 more", "suppressed"], ["participants", "12 of 14"],
        ["figures", "final"],
    ]  # fmt: skip
    assert len(as_csv(made).splitlines()) == 1 + 26


def test_too_few_partners_are_told_from_none_asked() -> None:
    """Where too few took part, it is not reported, with how many they were."""
    cube = small().cube("reports")

    def none(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell(codes=codes, shown=Shown.NOT_REPORTED)

    made = Answer(
        cube=cube, level=cube.level(LEVEL), units=parse_period("2026-Q1").units(TimeStep.QUARTER),
        releases=(release(small(), "reports", LEVEL, "2026-Q1", none, version=0, participants=2),),
    )  # fmt: skip
    _, rows = table(made.grid(cube.measures[0]))
    assert rows[-2:] == [["participants", "2 of 14"], ["figures", "none"]]
    (told,) = document(made)["releases"]  # type: ignore[misc]
    assert (told["reported"], told["participants"], told["expected"]) == (False, 2, 14)
    assert "not reported: 2026-Q1" in list(notes(made))


def test_json_has_null_and_never_nought_for_what_is_not_shown() -> None:
    """A program reads a number where one was released, and null with a word elsewhere."""
    made = json.loads(json.dumps(document(answer())))
    first, second = made["releases"]
    cells = {cell["cell"]: cell for cell in first["figures"][0]["cells"]}
    assert {name: (c["shown"], c["value"], c["error"]) for name, c in cells.items()} == {
        "2026-Q1/BE/anonymous": ("value", 1250, 15),
        "2026-Q1/BE/named": ("zero", 0, 15),
        "2026-Q1/NL/anonymous": ("suppressed", None, None),
        "2026-Q1/NL/named": ("not-reported", None, None),
    }
    shares = {figures["measure"]: figures["cells"][0] for figures in first["figures"]}
    assert shares["share"]["value"] == 125.0
    assert (first["participants"], first["expected"]) == (12, 14)
    assert (first["method"], first["rules_digest"]) == (METHOD, RULES.hex())
    assert second == {"period": "2026-Q2", "reported": False}


def test_csv_leaves_empty_what_is_not_shown() -> None:
    """Each cell of each measure is a row, also in a quarter without a release."""
    rows = list(csv.DictReader(io.StringIO(as_csv(answer()))))
    assert len(rows) == 2 * 4 * len(answer().cube.measures)
    told = {(row["period"], row["shown"]): row["value"] for row in rows if row["measure"] == "due"}
    assert told == {
        ("2026-Q1", "value"): "1250", ("2026-Q1", "zero"): "0", ("2026-Q1", "suppressed"): "",
        ("2026-Q1", "not-reported"): "", ("2026-Q2", "not-reported"): "",
    }  # fmt: skip


def test_a_chart_is_of_one_measure() -> None:
    """The first measure is drawn unless another is named, and an unknown one is refused."""
    for measure, title in ((None, "Reports: Due"), ("days", "Reports: Days")):
        svg = ElementTree.fromstring(as_chart(answer(), measure))
        assert svg[0].text == title
    with pytest.raises(InvalidInput) as caught:
        as_chart(answer(), "weather")
    assert caught.value.code == "MEASURE_UNKNOWN"


def test_the_method_and_the_rules_go_with_the_figures() -> None:
    """The method note, the rule set's digest and what is missing are said, each once."""
    assert list(notes(answer()))[:3] == [METHOD, f"rules: {RULES.hex()}", "not reported: 2026-Q2"]


def test_what_is_suppressed_is_pointed_to_the_level_it_rolls_up_to() -> None:
    """Once, where something is suppressed, and nothing is said where the level rolls up to none."""
    said = "suppressed figures are part of a coarser level: ask with --level "
    made = answer()
    assert list(notes(made))[3:] == [f"{said}{made.level.parent.name}"]  # type: ignore[union-attr]
    assert not [note for note in notes(replace(made, releases=())) if said in note]
    top = replace(made, level=replace(made.level, parent=None))
    assert not [note for note in notes(top) if said in note]


@pytest.mark.parametrize("output", list(RowFormat))
def test_data_go_to_stdout_and_notes_to_stderr(
    output: RowFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every format the figures are on stdout alone."""
    show(answer(), output)
    printed = capsys.readouterr()
    assert METHOD in printed.err
    assert "suppressed" in printed.out
    if output is RowFormat.JSON:
        assert json.loads(printed.out)["cube"] == "reports"
    if output is RowFormat.NDJSON:
        rows = [json.loads(row) for row in printed.out.splitlines()]
        assert [row["period"] for row in rows] == ["2026-Q1", "2026-Q2"]
        assert {(row["cube"], row["level"]) for row in rows} == {("reports", LEVEL)}
