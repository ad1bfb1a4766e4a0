"""``fairlead-node source``: from a file or a table to a tested mapping."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.cli.output import Exit
from tests.commands import Ended
from tests.federation import ROOT

DECIDED = (
    "--purpose", "drug-trafficking", "--record-type", "movement", "--retention-days", "3650",
    "--active-target", "false", "--tlp", "AMBER", "--pap", "AMBER", "--europol", "H0",
    "--source-grade", "A", "--information-grade", "1",
)  # fmt: skip
SECRET = "Jansen"


def node(folder: Path, *words: str, **environment: str) -> Ended:
    """Run ``fairlead-node`` in a folder."""
    ended = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *words], cwd=folder, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}, check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A configuration with a comment, and a CSV file with a column about persons."""
    (tmp_path / "node.toml").write_text('# mine\npartner = "x"\n\n[limits]\ndeadline_ms = 900\n')
    with (tmp_path / "gate.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\n")
        rows.writerow(["at", "direction", "container", "driver", "gate"])
        for minute in range(50):
            box = "MSCU6639870" if minute else "MSCU6639871"
            rows.writerow(
                [f"2026-09-01T10:{minute:02d}:00Z", "IN", box, SECRET, f"Gate {minute % 9}"]
            )
    return tmp_path


def test_a_file_becomes_a_tested_source(home: Path) -> None:
    """Add, test and list agree; neither a value nor a person's column is shown or read."""
    added = node(home, "source", "add", "gate.csv", *DECIDED, "--output", "json")
    assert added.code == Exit.ANSWERED, added.err
    guesses = {row["column"]: row["guess"] for row in added.json}
    assert guesses == {
        "at": "time iso", "direction": "event event", "container": "identifier container",
        "driver": "person driver_name (left out)", "gate": "field place",
    }  # fmt: skip
    assert SECRET not in added.out + added.err
    assert "MSCU" not in added.out + added.err
    assert "next: fairlead-node source test gate" in added.err
    config = (home / "node.toml").read_text()
    assert config.startswith('# mine\npartner = "x"\n')
    assert "deadline_ms = 900" in config
    tested = node(home, "source", "test", "gate", "--output", "json")
    assert tested.code == Exit.ANSWERED, tested.err
    assert tested.json["rows"] == tested.json["records"] == 50
    assert tested.json["check_digit_wrong"] == 1
    listed = node(home, "source", "list", "--output", "json").json
    assert [(row["source"], row["kind"], row["state"]) for row in listed] == [
        ("gate", "csv", "ready")
    ]  # fmt: skip
    assert SECRET not in (home / "sources" / "gate.toml").read_text()


def test_adding_again_keeps_what_a_person_wrote(home: Path) -> None:
    """A second run changes neither the mapping nor the configuration, unless told to."""
    node(home, "source", "add", "gate.csv")
    mapping, config = home / "sources" / "gate.toml", home / "node.toml"
    mapping.write_text(mapping.read_text() + "# my own words\n")
    before = (mapping.read_text(), config.read_text())
    again = node(home, "source", "add", "gate.csv")
    assert again.code == Exit.ANSWERED
    assert "kept as it is" in again.err
    assert (mapping.read_text(), config.read_text()) == before
    node(home, "source", "add", "gate.csv", "--replace")
    assert "my own words" not in mapping.read_text()


def test_what_nobody_decided_is_named_and_refused(home: Path) -> None:
    """No purpose and no handling is ever defaulted: the test names every key to fill."""
    added = node(home, "source", "add", "gate.csv")
    for key in ("purposes", "retention_days", "active_target", "handling.tlp"):
        assert key in added.err
    tested = node(home, "source", "test", "gate")
    assert tested.code == Exit.CONFIGURATION
    for key in ("purposes", "retention_days", "active_target", "handling.tlp", "record_type"):
        assert f"  {key}: expected" in tested.err


def test_person_columns_need_a_ground_and_an_approver(home: Path) -> None:
    """One without the other is a usage error; both stand in the mapping."""
    half = node(home, "source", "add", "gate.csv", "--allow-personal", "GDPR art. 6")
    assert half.code == Exit.USAGE
    assert not (home / "sources").exists()
    both = node(
        home, "source", "add", "gate.csv", *DECIDED,
        "--allow-personal", "GDPR art. 6(1)(f)", "--approved-by", "dpo",
    )  # fmt: skip
    assert both.code == Exit.ANSWERED
    assert 'driver_name = "driver"' in (home / "sources" / "gate.toml").read_text()
    (row,) = node(home, "source", "list", "--output", "json").json
    assert row["persons"] == "dpo"


def test_excluded_rows_are_listed_by_number(home: Path) -> None:
    """The first ones are shown, all are counted by reason."""
    node(home, "source", "add", "gate.csv", *DECIDED)
    with (home / "gate.csv").open("a") as file:
        file.write("soon;IN;MSCU6639870;x;y\n2026-09-01T10:00:00Z;IN\n")
    tested = node(home, "source", "test", "gate", "--rows", "1")
    assert "MALFORMED 1" in tested.out
    assert "TIME 1" in tested.out
    assert "gate.csv, row 51: TIME" in tested.err
    assert "row 52" not in tested.err


def test_a_table_is_added_by_reference(home: Path) -> None:
    """The primary key is found, the URL stays a reference, and the mapping reads the table."""
    with sqlite3.connect(home / "port.db") as connection:
        connection.execute("CREATE TABLE moves (id integer PRIMARY KEY, at text, box text)")
        rows = [(n, "2026-09-01T10:00:00Z", "MSCU6639870") for n in range(30)]
        connection.executemany("INSERT INTO moves VALUES (?, ?, ?)", rows)
    connection.close()
    (home / "port.url").write_text(f"sqlite:///{home / 'port.db'}\n")
    (home / "port.url").chmod(0o600)
    added = node(
        home, "source", "add", "file:port.url", "--table", "moves", *DECIDED, "--event", "gate-in"
    )
    assert added.code == Exit.ANSWERED, added.err
    text = (home / "sources" / "moves.toml").read_text()
    assert 'key = ["id"]' in text
    assert 'url = "file:../port.url"' in text
    tested = node(home, "source", "test", "moves", "--output", "json")
    assert tested.json["records"] == 30
    env = node(
        home, "source", "add", "env:PORT", "--query", "SELECT id, at, box FROM moves", "--key",
        "id", "--name", "again", *DECIDED, "--event", "gate-in", PORT=f"sqlite:///{home}/port.db",
    )  # fmt: skip
    assert env.code == Exit.ANSWERED, env.err
    assert node(home, "source", "test", "again", PORT=f"sqlite:///{home}/port.db").code == 0


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("add", "nothing.csv"), Exit.USAGE, "FILE_MISSING"),
        (("add", "gate.csv", "--name", "No Good"), Exit.USAGE, "NAME"),
        (("add", "postgresql://a:hunter2@h/d", "--table", "t"), Exit.USAGE, "DATABASE"),
        (("add", "sqlite:///x.db"), Exit.USAGE, "NAME"),
        (("add", "mssql://h/d", "--table", "t"), Exit.CONFIGURATION, "DRIVER_MISSING"),
        (("test", "nobody"), Exit.USAGE, "SOURCE"),
        (("list", "--config", "gone.toml"), Exit.CONFIGURATION, "CONFIG_UNREADABLE"),
    ],
)
def test_every_mistake_has_a_code_and_a_next_command(
    home: Path, words: tuple[str, ...], code: Exit, reason: str
) -> None:
    """Nothing is written, nothing secret is repeated, and the next step is named."""
    before = (home / "node.toml").read_text()
    ended = node(home, "source", *words)
    assert (ended.code, ended.out) == (code, "")
    assert reason in ended.err
    assert "next: " in ended.err
    assert "hunter2" not in ended.err
    assert (home / "node.toml").read_text() == before
