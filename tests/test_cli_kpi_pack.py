"""``fairlead stats kpi-pack``: what it asks, what it does not ask again, what it writes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from fairlead import signing
from fairlead.cli.stats import packing
from fairlead.cli.stats.choosing import Known
from fairlead.cli.stats.gathering import Telling
from fairlead.cli.stats.keeping import Kept
from fairlead.cubes.period import Unit
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.kpi.contents import Contents
from fairlead.kpi.pack import pack_files
from fairlead.kpi.signature import verify_pack
from fairlead.kpi.wanted import levels_of, wanted
from fairlead.priorities import Priorities
from fairlead.published import Published
from fairlead.strategic.received import Request
from tests.asked_figures import PURPOSE, Node, directory, made, not_reported, request
from tests.released import KEY, defaults, small, small_contents

NOW = dt.datetime(2026, 11, 26, tzinfo=dt.UTC).timestamp()


def everything(*purposes: str) -> Known:
    cubes = frozenset(cube.id for cube in defaults().cubes)
    return Known(registry=defaults(), purposes=dict.fromkeys(purposes or (PURPOSE,), cubes))


def kept(folder: Path) -> Kept:
    return Kept(folder=folder / "figures", directory=directory())


def test_a_pack_asks_for_few_levels_and_only_for_what_is_over() -> None:
    """The level of a cube's trend or its narrowest, quarters, years, finest first; of both years,
    as far as they are over."""
    found = [(cube.id, level.name, period.spelling) for cube, level, period in wanted(
        defaults(), 2026, NOW
    )]  # fmt: skip
    assert [row for row in found if row[0] == "displacement"] == [
        ("displacement", "quarter,shore", "2025-Q1..2026-Q3"),
        ("displacement", "quarter", "2025-Q1..2026-Q3"),
        ("displacement", "year", "2025"),
    ]
    assert ("modus-operandi", "quarter,modus-operandi", "2025-Q1..2026-Q3") in found
    assert len(found) < 60, "more questions than a user has in an hour"
    assert sum(len(period.units(period.step)) for *_, period in wanted(defaults(), 2026, NOW)) < 400
    assert all(len(levels_of(cube)) <= 3 for cube in defaults().cubes)
    first = dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp()
    assert {spelled for *_, spelled in wanted(defaults(), 2027, first)} == set()


def test_what_may_not_be_asked_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A cube outside the caller's purposes is not reported in the pack; of two purposes one is
    named."""
    some = Known(registry=defaults(), purposes={PURPOSE: frozenset({"seizures"})})
    asked = [item for each in packing.questions(some, 2026, None, NOW) for item in each]
    assert {item.cube.id for item in asked} == {"seizures"}
    assert "displacement: you may not ask for it" in capsys.readouterr().err
    both = everything(PURPOSE, "security-incident")
    with pytest.raises(InvalidInput, match="several purposes"):
        list(packing.questions(both, 2026, None, NOW))
    chosen = [item for each in packing.questions(both, 2026, PURPOSE, NOW) for item in each]
    assert {item.purpose for item in chosen} == {PURPOSE}


async def test_what_is_kept_is_not_asked_again(tmp_path: Path) -> None:
    """A second run asks for the quarter that is new and for nothing else."""
    node, shelf, told = Node(), kept(tmp_path), Telling()
    recent = [request(period="2026-Q2")]
    now = recent[0].units[0].ends + 1
    assert len(await packing.releases_of(node, recent, shelf, told, now)) == 1
    assert len(await packing.releases_of(node, recent, shelf, told, now)) == 1
    assert [each.period.spelling for each in node.asked] == ["2026-Q2"]
    more = [request(period="2026-Q2..2026-Q3")]
    assert len(await packing.releases_of(node, more, shelf, told, now)) == 2
    assert [each.period.spelling for each in node.asked] == ["2026-Q2", "2026-Q3"]


async def test_a_cube_that_too_few_report_is_asked_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its other levels would be the same: they spend no question, and the pack goes on."""
    node = Node(releases=not_reported)
    levels = [request(), request("quarter,country"), request("year", "2025")]
    assert await packing.releases_of(node, levels, kept(tmp_path), Telling(), NOW) == []
    assert len(node.asked) == 1
    assert "reports quarter,country,kind 2026-Q1..2026-Q2: 0 of 2 reported" in (
        capsys.readouterr().err
    )


async def test_a_pack_is_written_signed_and_the_same_the_second_time(tmp_path: Path) -> None:
    """Three files that verify; again, and nothing is signed; changed, and it is made anew."""
    node, files, out = Node(), pack_files(small_contents()), tmp_path / "new" / "pack"
    assert await packing.signed(node, 2026, out, files) == "made"
    lies = {path.name: path.read_bytes() for path in out.iterdir()}
    signature = lies.pop("kpi-2026.sig.json")
    assert lies == files
    assert verify_pack(signature, files, signing.public_bytes(KEY)).signer == "customs"
    assert await packing.signed(node, 2026, out, files) == "unchanged"
    assert node.signatures == 1
    (out / "kpi-2026.html").write_bytes(b"other")
    assert await packing.signed(node, 2026, out, files) == "made"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        **files, "kpi-2026.sig.json": signature,
    }  # fmt: skip


async def test_the_same_figures_make_the_same_pack(tmp_path: Path) -> None:
    """Asked for anew by somebody else, or found where they were kept: the same octets."""
    questions = [request("quarter,country,kind"), request("year", "2025")]

    async def pack(folder: Path) -> dict[str, bytes]:
        found = await packing.releases_of(Node(), questions, kept(folder), Telling(), NOW)
        return pack_files(
            Contents.of(
                2026,
                federation="example",
                registry=small(),
                releases=found,
                priorities=Priorities(),
            )
        )

    once = await pack(tmp_path / "a")
    assert await pack(tmp_path / "a") == await pack(tmp_path / "b") == once


def test_a_file_in_the_way_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """The folder of the pack is no file."""
    (tmp_path / "pack").write_text("")
    with pytest.raises(Misconfigured) as caught:
        packing.check_out(tmp_path / "pack")
    assert caught.value.code == "PACK_FOLDER"
    with pytest.raises(Misconfigured):
        packing.write_files(tmp_path / "pack", {"kpi-2026.html": b""})


def test_the_question_for_the_rest_spans_what_is_missing() -> None:
    """From the first missing unit to the last; nothing where nothing is missing."""
    whole = request(period="2025-Q1..2025-Q4")
    here: dict[Unit, Published] = {unit: made(whole, unit) for unit in whole.units[:2]}
    rest: Request | None = packing.missing(whole, here)
    assert rest is not None
    assert rest.period.spelling == "2025-Q3..2025-Q4"
    assert packing.missing(whole, {unit: made(whole, unit) for unit in whole.units}) is None
