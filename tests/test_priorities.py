"""The register of priorities: what is entered stays, closed once, and read back or refused."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fairlead.cli.stats import app
from fairlead.errors import FairleadError, InvalidInput, Misconfigured, NotFound, Stale
from fairlead.priorities import MAX_PRIORITIES, Priorities, Priority, State, parse_day
from tests.hostile import edits
from tests.released import resolved

DAY = dt.date(2026, 12, 31)


def test_a_register_reads_back_as_it_was() -> None:
    """What is written is read, and written again as the same octets."""
    octets = resolved().to_bytes()
    assert Priorities.parse(octets) == resolved()
    assert Priorities.parse(octets).to_bytes() == octets


@given(edits())
def test_no_octets_raise_anything_else(edit: Any) -> None:
    """A changed file is another register or an error that says what to do."""
    octets = edit(resolved().to_bytes())
    with contextlib.suppress(Misconfigured):
        assert isinstance(Priorities.parse(octets), Priorities)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=5), inner, max_size=3)))  # fmt: skip
def test_no_document_raises_anything_else(content: Any) -> None:
    """Any JSON in the place of a priority is refused, and nothing else is raised."""
    with pytest.raises(Misconfigured):
        Priorities.parse(json.dumps({"fairlead_priorities": 1, "priorities": [content]}).encode())


@pytest.mark.parametrize(
    ("title", "owner"),
    [("", "customs"), ("a\nb", "customs"), ("x" * 201, "customs"), ("seals", "Jane Doe")],
)
def test_a_priority_has_a_title_and_a_partner(title: str, owner: str) -> None:
    """A title is one line, and an owner is a partner and no person."""
    with pytest.raises(InvalidInput):
        Priorities().added(title, owner, DAY)


def test_a_priority_is_closed_once() -> None:
    """What was closed stays as it is, with its day, and nothing is taken out."""
    made = resolved()
    assert [entry.status(DAY) for entry in made.entries] == ["overdue", "open", "done"]
    with pytest.raises(Stale):
        made.closed(3, State.DROPPED, DAY)
    for number in (0, -1, 4):
        with pytest.raises(NotFound):
            made.closed(number, State.DONE, DAY)
    assert made.closed(1, State.DROPPED, DAY).entries[0].closed == DAY


def test_an_open_priority_has_no_day_of_closing() -> None:
    """State and day of closing cannot contradict each other."""
    with pytest.raises(InvalidInput):
        Priority(number=1, title="seals", owner="customs", due=DAY, closed=DAY)


def test_a_register_has_an_end() -> None:
    """More priorities than anybody reads are refused."""
    entry = Priority(number=1, title="seals", owner="customs", due=DAY)
    with pytest.raises(InvalidInput) as caught:
        Priorities((entry,) * MAX_PRIORITIES).added("more", "customs", DAY)
    assert caught.value.code == "PRIORITIES_FULL"


@pytest.mark.parametrize(
    "text", ["20260131", "2026-1-31", "2026-02-30", "31.1.2026", "", "2026-W01"]
)
def test_a_day_has_one_spelling(text: str) -> None:
    """A day is written as 2026-01-31 and in no other way."""
    with pytest.raises(InvalidInput):
        parse_day(text)


def test_the_commands_keep_the_register(tmp_path: Path) -> None:
    """A priority is entered, listed, closed, and its file is for its owner alone."""
    path = tmp_path / "priorities.json"

    def typed(*words: str) -> str:
        done = CliRunner().invoke(app, ["priorities", *words, "--register", str(path)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "empty" in typed("list")
    typed("add", "Seals read at every gate", "--owner", "customs", "--due", "2099-12-31")
    typed("close", "1", "--dropped")
    (row,) = json.loads(
        CliRunner()
        .invoke(app, ["priorities", "list", "--register", str(path), "--output", "json"])
        .stdout
    )
    assert (row["number"], row["owner"], row["status"]) == (1, "customs", "dropped")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_register_is_not_written_over(tmp_path: Path) -> None:
    """A file that cannot be read stops the command and stays as it is."""
    path = tmp_path / "priorities.json"
    path.write_bytes(b"{")
    words = ["priorities", "add", "seals", "--owner", "customs", "--due", "2099-12-31"]
    done = CliRunner().invoke(app, [*words, "--register", str(path)])
    assert isinstance(done.exception, FairleadError)
    assert path.read_bytes() == b"{"
