"""Asking for figures at the command line: what is told before anything is sent, what is checked of
what comes back, what is kept."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.cli.stats.choosing import Known, choose, known_at, last_over
from fairlead.cli.stats.gathering import Telling, gather
from fairlead.cli.stats.keeping import Kept, check_folder
from fairlead.cli.stats.listing import level_records, record
from fairlead.cubes.period import TimeStep
from fairlead.cubes.registry import Registry
from fairlead.errors import Conflict, FairleadError, InvalidInput, Misconfigured
from fairlead.strategic.received import Request
from fairlead.strategic.terms import FINAL_AFTER_S
from fairlead.v1 import statistics_pb2
from tests.asked_figures import (
    GATEWAY_KEY,
    PURPOSE,
    Node,
    directory,
    made,
    not_reported,
    receipt,
    request,
    signed,
)
from tests.cubes import SMALL, written
from tests.released import defaults, small

NOW = dt.datetime(2026, 11, 26, 17, tzinfo=dt.UTC).timestamp()
"""In the fourth quarter."""


def known(**purposes: Sequence[str]) -> Known:
    everything = frozenset(cube.id for cube in defaults().cubes)
    return Known(
        registry=defaults(),
        purposes={name: frozenset(cubes) for name, cubes in purposes.items()}
        or {PURPOSE: everything},
    )


def chosen(cubes: Known | None = None, **changes: Any) -> Request:
    typed = {"cube": "reports-received", "level": "quarter,kind", "period": "2026-Q1..2026-Q3"}
    return choose(cubes or known(), now=NOW, **{**typed, "purpose": None, **changes})


# ── What was typed ───────────────────────────────────────────────────────────────────────────


def test_a_question_is_read_in_its_one_spelling() -> None:
    """Steps in any order, a period in longer units: it is the same question, and its only purpose
    need not be typed."""
    found = chosen(level="kind, quarter", period="2025")
    assert (found.level.name, found.period.spelling) == ("quarter,kind", "2025-Q1..2025-Q4")
    assert (found.cube.id, found.purpose) == ("reports-received", PURPOSE)
    assert len(found.units) == 4


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"cube": "report-received"}, "CUBE_UNKNOWN", "did you mean reports-received"),
        ({"cube": "seizure"}, "CUBE_UNKNOWN", "did you mean seizures"),
        ({"cube": "?"}, "CUBE_UNKNOWN", "fairlead stats list"),
        ({"level": "quarter,regions"}, "LEVEL_UNKNOWN", "did you mean quarter,"),
        ({"level": "week"}, "LEVEL_UNKNOWN", "fairlead stats list reports-received"),
        ({"level": "terminal,quarter"}, "LEVEL_UNKNOWN", "quarter"),
        ({"period": "Q1"}, "PERIOD_MALFORMED", "2026-Q1"),
        ({"period": "2026-01"}, "PERIOD_STEP", "unit of time"),
        ({"period": "2026-Q3..2026-Q1"}, "PERIOD_MALFORMED", "2026-Q1"),
        ({"period": "2026"}, "PERIOD_OPEN", "--period 2026-Q1..2026-Q3"),
        ({"period": "2026-Q4"}, "PERIOD_OPEN", "--period 2026-Q3"),
        ({"period": "2031-Q1"}, "PERIOD_OPEN", "--period 2026-Q3"),
        ({"level": "year", "period": "2026"}, "PERIOD_OPEN", "--period 2025"),
        ({"level": "month", "period": "2026-11"}, "PERIOD_OPEN", "--period 2026-10"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    changes: dict[str, str], code: str, told: str
) -> None:
    """An unknown cube or level names the nearest, an open period what is over of it."""
    with pytest.raises(InvalidInput) as caught:
        chosen(**changes)
    assert caught.value.code == code
    assert told in caught.value.remedy


def test_a_purpose_is_chosen_by_nobody_else() -> None:
    """Of two purposes the user says which; with none there is nothing to ask."""
    two = known(**{PURPOSE: ["reports-received"], "security-incident": ["reports-received"]})
    with pytest.raises(InvalidInput, match="several purposes") as several:
        chosen(two)
    assert "--purpose security-incident or --purpose strategic-analysis" in several.value.remedy
    assert chosen(two, purpose="security-incident").purpose == "security-incident"
    with pytest.raises(FairleadError) as none:
        chosen(known(**{PURPOSE: ["seizures"]}))
    assert (none.value.code, none.value.exit_code) == ("FIGURES_NOT_AGREED", 5)


def test_the_last_unit_that_is_over_is_the_one_before_now() -> None:
    """At the first second of a unit, the one before it is over."""
    first = dt.datetime(2026, 10, 1, tzinfo=dt.UTC).timestamp()
    for step, before, then in (
        (TimeStep.MONTH, "2026-08", "2026-09"),
        (TimeStep.QUARTER, "2026-Q2", "2026-Q3"),
        (TimeStep.YEAR, "2025", "2025"),
    ):
        assert last_over(step, first - 1).spelling == before
        assert last_over(step, first).spelling == then


def test_a_list_says_what_may_be_asked() -> None:
    """A cube has its measures, levels with the width of each, and the caller's purposes."""
    said = record(known(**{PURPOSE: ["seizures"]}), defaults().cube("seizures"))
    assert said["purposes"] == [PURPOSE]
    assert record(known(other=["queries"]), defaults().cube("seizures"))["purposes"] == []
    assert level_records(small().cube("reports"))[1] == {
        "level": "quarter,country,kind", "cells": 4, "rolls_up_to": "quarter,country",
    }  # fmt: skip


# ── What comes back ──────────────────────────────────────────────────────────────────────────


def kept(folder: Path) -> Kept:
    return Kept(folder=folder / "figures", directory=directory())


async def test_releases_come_in_the_order_of_their_units_and_are_kept(tmp_path: Path) -> None:
    """Whatever order they arrive in; what was reported is found again, under its signature."""
    node, shelf = Node(change=lambda found: found[::-1]), kept(tmp_path)
    found = await gather(node, request(), kept=shelf, telling=Telling())
    assert [release.unit.spelling for release in found] == ["2026-Q1", "2026-Q2"]
    assert tuple(shelf.find(request(), request().units[0].ends)) == found
    assert not list(tmp_path.rglob("*.fresh"))


Change = Callable[[list[statistics_pb2.ReleasedFigures]], list[statistics_pb2.ReleasedFigures]]


def _other(level: str = "quarter,country,kind", unit: str = "2026-Q1") -> Change:
    found = request(level, unit)
    return lambda released: [signed(made(found, found.units[0])), *released[1:]]


def _by_another(released: list[statistics_pb2.ReleasedFigures]) -> list[Any]:
    key = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    found = request()
    return [signed(made(found, found.units[0]), key), *released[1:]]


def _unknown(released: list[statistics_pb2.ReleasedFigures]) -> list[Any]:
    released[0].gateway = "spiffe://example/gateway/gw-9"
    return released


def _recorded(**said: Any) -> Change:
    """The receipt of something else: of the changes in a release, or of another leaf of it."""
    changes = {name: said.pop(name) for name in ("participants", "version") if name in said}
    found = replace(made(request(), request().units[0]), **changes)

    def change(released: list[statistics_pb2.ReleasedFigures]) -> list[Any]:
        released[0].receipt.CopyFrom(receipt(found, **said))
        return released

    return change


def _unrecorded(released: list[statistics_pb2.ReleasedFigures]) -> list[Any]:
    released[0].ClearField("receipt")
    return released


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_unrecorded, "FIGURES_LEAF"),
        (_recorded(participants=11), "FIGURES_LEAF"),
        (_recorded(version=2), "FIGURES_LEAF"),
        (_recorded(subject="figures-received"), "FIGURES_LEAF"),
        (_recorded(key=GATEWAY_KEY), "NOTE_KEY"),
        (lambda found: found[:1], "FIGURES_MISSING"),
        (lambda found: [*found, found[0]], "FIGURES_OTHER"),
        (_other("quarter,country"), "FIGURES_OTHER"),
        (_other(unit="2025-Q4"), "FIGURES_OTHER"),
        (_by_another, "SIGNATURE"),
        (_unknown, "GATEWAY_UNKNOWN"),
    ],
)
async def test_what_was_not_asked_for_or_not_signed_is_refused(
    tmp_path: Path, change: Change, code: str
) -> None:
    """No leaf, another's, or one in no log of the directory; one missing, one twice, another
    level, another quarter, another key, no gateway."""
    with pytest.raises(FairleadError) as caught:
        await gather(Node(change=change), request(), kept=kept(tmp_path), telling=Telling())
    assert caught.value.code == code
    assert caught.value.exit_code == 8


async def test_what_was_frozen_under_an_earlier_registry_is_read(tmp_path: Path) -> None:
    """A later registry has the same cube under the same version; of another version of the cube it
    is not these figures."""

    def later(version: int) -> Request:
        cubes = [{**SMALL["cubes"][0], "version": version}]
        registry = Registry.parse(written({**SMALL, "version": 9, "cubes": cubes}))
        return replace(request(), registry=registry, cube=registry.cube("reports"))

    same, other = later(2), later(3)
    node = Node(releases=lambda _, unit: made(request(), unit))
    assert same.registry.digest != small().digest
    found = await gather(node, same, kept=kept(tmp_path), telling=Telling())
    assert [release.registry_digest for release in found] == [small().digest] * 2
    assert tuple(kept(tmp_path).find(same, same.units[0].ends)) == found
    with pytest.raises(FairleadError) as caught:
        await gather(node, other, kept=kept(tmp_path), telling=Telling())
    assert caught.value.code == "PUBLISHED_REGISTRY"


async def test_the_same_version_cannot_become_another_figure(tmp_path: Path) -> None:
    """A gateway that releases something else under a version it released before is found out."""
    shelf = kept(tmp_path)
    await gather(Node(), request(), kept=shelf, telling=Telling())
    node = Node(releases=lambda wanted, unit: replace(made(wanted, unit), participants=11))
    with pytest.raises(Conflict, match="other figures under this version") as caught:
        await gather(node, request(), kept=shelf, telling=Telling())
    assert caught.value.code == "PUBLISHED_TWICE"


async def test_first_figures_are_kept_until_final_ones_are_due(tmp_path: Path) -> None:
    """From 180 days after a quarter its first figures are asked for again, final ones never; what
    was not reported is no release; and what was tampered with is passed over."""
    shelf, only = kept(tmp_path), request(period="2026-Q1")
    unit = only.units[0]
    due = unit.ends + FINAL_AFTER_S
    none = Node(releases=not_reported)
    assert (await gather(none, only, kept=shelf, telling=Telling()))[0].version == 0
    assert not list(shelf.find(only, due - 1))
    await gather(Node(), only, kept=shelf, telling=Telling())
    assert [found.version for found in shelf.find(only, due - 1)] == [1]
    assert not list(shelf.find(only, due))
    final = Node(releases=lambda wanted, at: replace(made(wanted, at), version=2, released_at=due))
    await gather(final, only, kept=shelf, telling=Telling())
    assert [found.version for found in shelf.find(only, due)] == [2]
    (path,) = tmp_path.rglob("*-2.release")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert not list(shelf.find(only, due))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Before anything is sent, with the command that makes it."""
    assert check_folder(tmp_path / "a.svg") == tmp_path / "a.svg"
    with pytest.raises(InvalidInput) as caught:
        check_folder(tmp_path / "none" / "a.svg")
    assert caught.value.remedy.startswith("mkdir -p ")


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """What was released is frozen at the gateway: nothing is lost."""
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(Misconfigured) as caught:
        await gather(Node(), request(), kept=kept(tmp_path), telling=Telling())
    assert caught.value.code == "FIGURES_FOLDER"


async def test_a_person_sees_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A passing line on a terminal, one line for each unit that came, and nothing on stdout."""
    await gather(Node(), request(), kept=kept(tmp_path), telling=Telling(live=True))
    shown = capsys.readouterr()
    assert "2026-Q1: round 2, 3 of 12 partners" in shown.err
    assert shown.err.endswith("2026-Q2: 12 of 14 partners\n")
    assert not shown.out
    quiet = Telling()
    await gather(Node(releases=not_reported), request(), kept=kept(tmp_path), telling=quiet)
    assert capsys.readouterr().err.splitlines() == [
        "2026-Q1: 2 of 14 partners, too few: not reported",
        "2026-Q2: 2 of 14 partners, too few: not reported",
    ]


# ── In a shell ───────────────────────────────────────────────────────────────────────────────


def completed(line: str, folder: Path) -> list[str]:
    """What a shell offers after this much of a line."""
    program = "from fairlead.cli.main import app; app(prog_name='fairlead')"
    environment = {
        **os.environ,
        "FAIRLEAD_PROFILE": str(folder / "profile.toml"),
        "_FAIRLEAD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


async def test_cubes_and_levels_are_completed_from_what_the_node_said(tmp_path: Path) -> None:
    """After the first list; before it, and without a profile, nothing is offered and nothing
    fails."""
    (tmp_path / "profile.toml").write_text("")
    assert completed("fairlead stats query re", tmp_path) == []
    assert (await known_at(Node(), tmp_path / "figures")).registry == small()
    assert completed("fairlead stats query re", tmp_path) == ["reports"]
    assert completed("fairlead stats query reports --level quarter,country,", tmp_path) == [
        "quarter,country,kind"
    ]
    assert completed("fairlead stats list re", tmp_path / "none") == []
