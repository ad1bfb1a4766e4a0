"""The measurement of persons' match keys counts what it says, and is skipped visibly."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import febrl

_HEAD = "rec_id, given_name, surname, street_number, date_of_birth, soc_sec_id"
_ROWS = (
    "rec-0-org, jan, peeters, 1, 19800201, 1",
    "rec-0-dup-0, peeters, jan, 1, 19800201, 1",
    "rec-0-dup-1, jan, peters, 1, 19800201, 1",
    "rec-0-dup-2, jan, peeters, 1, 19800210, 1",
    "rec-1-org, maria, peeters, 2, 19800201, 2",
    "rec-1-dup-0, maria, , 2, , 2",
)


def written(folder: Path, rows: tuple[str, ...] = _ROWS) -> Path:
    path = folder / febrl.FILE
    path.parent.mkdir()
    path.write_text("\n".join([_HEAD, *rows]) + "\n", encoding="utf-8")
    return path


def test_pairs_are_counted_both_ways_and_lost_ones_too(tmp_path: Path) -> None:
    """Of fourteen pairs six are found, because one date of birth is misspelt and one missing, and
    a stranger of that day shares one word."""
    figures = febrl.measure(febrl.read(written(tmp_path)))
    assert figures["pairs"] == 14
    assert figures["recall"] == round(6 / 14, 4)
    assert figures["precision"] == round(6 / 12, 4)
    grades = figures["grades"]
    assert grades["strong"] == {"recall": round(2 / 14, 4), "precision": 1.0}
    assert grades["medium"] == {"recall": round(6 / 14, 4), "precision": 1.0}
    assert grades["weak"] == {"recall": round(6 / 14, 4), "precision": 0.5}
    assert figures["strangers"] == {"strong": 0.0, "medium": 0.0, "weak": 1.0}


def test_what_is_too_low_is_not_good_enough(tmp_path: Path) -> None:
    """Both figures must be reached; without figures nothing is decided."""
    figures = febrl.measure(febrl.read(written(tmp_path)))
    assert not febrl.reached(figures)
    assert febrl.reached({**figures, "recall": 0.8, "precision": 0.998})
    assert not febrl.reached({**figures, "recall": 0.7999, "precision": 1.0})
    assert not febrl.reached({**figures, "recall": 1.0, "precision": 0.9979})
    assert febrl.reached(None)


def test_the_table_shows_every_grade(tmp_path: Path) -> None:
    """One line a grade, one for all, one for what is demanded; none without figures."""
    lines = febrl.table(febrl.measure(febrl.read(written(tmp_path))))
    assert [line.split()[0] for line in lines] == [
        "FEBRL", "strong", "medium", "weak", "together", "at",
    ]  # fmt: skip
    assert febrl.table(None) == []


def test_without_the_data_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder and a folder without the file are told apart; with the file it is found."""
    monkeypatch.delenv("FAIRLEAD_DATA", raising=False)
    assert febrl.data_file() is None
    assert "names no folder" in febrl.skipped()
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path))
    assert febrl.data_file() is None
    assert "there is no" in febrl.skipped()
    path = written(tmp_path)
    assert febrl.data_file() == path


@pytest.mark.skipif(febrl.data_file() is None, reason=febrl.skipped())
def test_the_families_reach_what_they_must() -> None:
    """On FEBRL 3 itself, where the data are: recall and precision of all families together."""
    path = febrl.data_file()
    assert path is not None
    assert febrl.reached(febrl.measure(febrl.read(path)))
