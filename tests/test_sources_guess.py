"""Guessing a mapping: check digits are evidence, names break ties, persons stay out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import Misconfigured
from fairlead.identifiers import SCHEMES
from node.sources.draft import TO_FILL, Decisions, Origin, draft
from node.sources.guess import Role, field_name, guess, shape_of
from node.sources.personal import about_person
from node.sources.register import register, registered, with_source
from node.sources.sample import Sample

BOXES = ("MSCU6639870", "CSQU3054383", "MSCU 663987-0")


def column(*values: str, name: str = "c") -> tuple[str, str]:
    """Role and what of a sample's only column."""
    (found,) = guess(sample({name: values})).columns
    return str(found.role), found.what


def sample(columns: dict[str, tuple[str, ...]]) -> Sample:
    """Columns side by side."""
    return Sample(header=tuple(columns), rows=tuple(zip(*columns.values(), strict=True)))


def test_a_right_check_digit_says_the_scheme_whatever_the_column_is_called() -> None:
    """Most values with a right check digit are evidence enough; the share is shown."""
    (found,) = guess(sample({"ref": (*BOXES, "MSCU6639871")})).columns
    assert (found.role, found.what, found.share) == (Role.IDENTIFIER, "container", 0.75)
    assert column("9074729", "9319466", name="IMO no")[1] == "vessel-imo"


def test_a_form_alone_is_no_evidence() -> None:
    """What merely looks like a plate is a field, until the column's name says plate."""
    plates = ("NL:AB-123-C", "NL:XY-987-Z", "DE:B-MW 123")
    assert column(*plates, name="note")[0] == "field"
    assert column(*plates, name="plate_no") == ("identifier", "vehicle-plate")


def test_a_country_beside_the_plate_is_its_issuer() -> None:
    """Plates that do not state their country are recognised with the column that does."""
    found = guess(sample({"plate": ("AB-123-C", "B-MW 123"), "country": ("NL", "DE")}))
    assert [g.role for g in found.columns] == [Role.IDENTIFIER, Role.ISSUER]


@pytest.mark.parametrize(
    ("values", "form", "naive", "ambiguous"),
    [
        (("2026-09-01T10:00:00Z", "2026-09-02T10:00:00+02:00"), "iso", False, False),
        (("2026-09-01 10:00", "2026-09-02 11:00"), "iso", True, False),
        (("31.12.2026 10:00", "01.02.2026 11:00"), "%d.%m.%Y %H:%M", True, False),
        (("12/31/2026", "02/01/2026"), "%m/%d/%Y", True, False),
        (("01/02/2026", "03/04/2026"), "%d/%m/%Y", True, True),
        (("1788256800", "1788256900"), "unix", False, False),
    ],
)
def test_the_format_of_times_is_found(
    values: tuple[str, ...], form: str, naive: bool, ambiguous: bool
) -> None:
    """Offsets that are missing and days that may be months are decisions for a person."""
    found = guess(sample({"moved_at": values}))
    assert [(g.role, g.what) for g in found.columns] == [(Role.TIME, form)]
    assert (found.naive, found.ambiguous) == (naive, ambiguous)


def test_the_time_of_the_event_is_preferred_to_other_times() -> None:
    """A date of birth, an expiry and a change are times, and not when it happened."""
    dates = ("2026-09-01", "2026-09-02")
    found = guess(sample({"expiry_date": dates, "updated_at": dates, "gate_time": dates}))
    assert [g.column for g in found.of(Role.TIME)] == ["gate_time"]


def test_events_are_translated_as_far_as_they_are_known() -> None:
    """Words of the vocabulary and usual abbreviations are mapped, others are left to a person."""
    found = guess(sample({"direction": ("IN", "OUT", "gate-in", "SHUFFLE")}))
    assert found.events == {"IN": "gate-in", "OUT": "gate-out", "SHUFFLE": "", "gate-in": "gate-in"}


@pytest.mark.parametrize(
    "name",
    ["Driver", "driver name", "DriverName", "first_name", "Date of birth", "e-mail", "PHONE",
     "operator_name", "employee_id", "surname", "passport_no", "chauffeur", "Full Name"],
)  # fmt: skip
def test_columns_about_persons_are_known_by_name(name: str) -> None:
    """They are left out without a ground."""
    assert about_person(name)
    found = guess(sample({name: ("Jan", "Piet"), "box": BOXES[:2]}))
    text = draft("s", Origin(files=("x.csv",)), found, Decisions())
    fields = tomllib.loads(text)["fields"]
    assert name not in fields.values()
    asked = draft("s", Origin(files=("x.csv",)), found, Decisions(ground="g", approved_by="a"))
    assert name in tomllib.loads(asked)["fields"].values()
    assert tomllib.loads(asked)["personal"] == {"ground": "g", "approved_by": "a"}


@pytest.mark.parametrize("name", ["gate", "container_no", "filename", "hostname2", "plate", "at"])
def test_other_columns_are_not_about_persons(name: str) -> None:
    """The list of names is no net that catches everything."""
    assert not about_person(name)


def test_the_shape_of_a_column_shows_no_value() -> None:
    """Letters and digits become A, a and 9; anything unusual becomes a question mark."""
    assert shape_of(["MSCU6639870"]) == "AAAA9999999"
    assert shape_of(["Jan de Vries"]) == "Aaa aa Aaaaa"
    assert shape_of(["=CMD|x\x1b[31m"]) == "?AAA?a??99a"
    assert shape_of([]) == ""


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name.encode("utf-8", "ignore") != b""),
        st.lists(st.text(max_size=20), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_any_sample_gives_a_draft_that_is_toml_and_not_yet_a_mapping(
    columns: dict[str, list[str]],
) -> None:
    """Whatever columns are called and hold, the draft parses and says what to fill in."""
    clean = {
        name.encode("utf-8", "ignore").decode(): tuple(
            value.encode("utf-8", "ignore").decode() for value in values
        )
        for name, values in columns.items()
    }
    text = draft("s", Origin(files=("x.csv",)), guess(sample(clean)), Decisions())
    found = tomllib.loads(text)
    assert found["purposes"] == [TO_FILL]
    assert found["handling"]["tlp"] == TO_FILL
    assert all(entry["scheme"] in SCHEMES for entry in found.get("identifiers", []))


@given(st.text(max_size=60))
def test_a_field_name_is_one_whatever_the_column_is_called(column: str) -> None:
    """Names of fields are of lower-case letters, digits and underscores."""
    import re

    assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", field_name(column))


# ── The configuration's list ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('partner = "x"\n', 'partner = "x"\nsources = ["s/a.toml"]\n'),
        ("", 'sources = ["s/a.toml"]\n'),
        ("# c\n[limits]\n", '# c\nsources = ["s/a.toml"]\n\n[limits]\n'),
        ("sources = []  # none\n", 'sources = ["s/a.toml"]  # none\n'),
        ('sources = ["b"]\n', 'sources = ["b", "s/a.toml"]\n'),
        ('sources = ["b",]\n', 'sources = ["b", "s/a.toml"]\n'),
        (
            'sources = [\n  "b",  # first ]\n]\n[limits]\n',
            'sources = [\n  "b",\n  "s/a.toml",  # first ]\n]\n[limits]\n',
        ),
        ("sources = ['b']\n", "sources = ['b', \"s/a.toml\"]\n"),
    ],
)
def test_one_entry_is_added_and_nothing_else_changes(before: str, after: str) -> None:
    """Comments, order and layout of the file stay as the owner wrote them."""
    changed = with_source(before, "s/a.toml")
    assert tomllib.loads(changed) == tomllib.loads(after)
    for comment in ("# c", "# none", "# first ]"):
        assert (comment in changed) == (comment in before)
    if "first" not in before:
        assert changed == after


def test_a_list_that_is_not_understood_is_left_to_a_person(tmp_path: Path) -> None:
    """An unusual spelling of the key is refused rather than guessed at."""
    config = tmp_path / "node.toml"
    config.write_text('"sources" = ["b"]\n')
    with pytest.raises(Misconfigured) as caught:
        register(config, tmp_path / "a.toml")
    assert caught.value.code == "SOURCES_BY_HAND"
    assert config.read_text() == '"sources" = ["b"]\n'


def test_registering_twice_changes_nothing(tmp_path: Path) -> None:
    """The second time says so, and the file keeps its mode."""
    config = tmp_path / "node.toml"
    config.write_text('partner = "x"\n')
    config.chmod(0o600)
    assert register(config, tmp_path / "sources" / "a.toml")
    text = config.read_text()
    assert not register(config, tmp_path / "sources" / "a.toml")
    assert config.read_text() == text
    assert config.stat().st_mode & 0o777 == 0o600
    assert registered(config) == (tmp_path / "sources" / "a.toml",)
    assert json.dumps("sources/a.toml") in text
