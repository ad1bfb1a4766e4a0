"""node.sources.mapping: a mapping is closed, complete, and reports every error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.config import ConfigurationInvalid
from fairlead.errors import InvalidInput, SourceUnusable
from fairlead.vocabulary import Europol, Event, Tlp, parse_event, parse_handling
from node.sources.cell import parse_flag
from node.sources.mapping import load_mapping

MAPPING = """
source = "gate"
files = ["gate*.csv"]
record_type = "movement"
event = { column = "direction", map = { IN = "gate-in", OUT = "gate-out" } }
purposes = ["drug-trafficking", "customs-risk"]
retention_days = 365
active_target = { column = "watched", map = { x = "true" } }
redact_always = ["driver_card"]

[[identifiers]]
scheme = "container"
column = "box"

[[identifiers]]
scheme = "vehicle-plate"
column = "plate"
issuer = { column = "country" }

[time]
column = "at"

[handling]
tlp = { column = "tlp" }
pap = "AMBER"
europol = "H0"
source_grade = "A"
information_grade = "1"

[fields]
place = "gate"
driver_name = "driver"
driver_card = "card"

[personal]
ground = "GDPR art. 6(1)(f), assessment 7"
approved_by = "dpo"
"""


def write_mapping(folder: Path, text: str = MAPPING) -> Path:
    """Put a mapping into a folder."""
    path = folder / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> dict[str, str]:
    """Key → what is expected, for a mapping that must be refused."""
    with pytest.raises(ConfigurationInvalid) as caught:
        load_mapping(write_mapping(folder, text))
    return {problem.key: problem.expected for problem in caught.value.problems}


def test_a_complete_mapping_names_every_column_it_needs(tmp_path: Path) -> None:
    """Each place that names a column is listed under its key."""
    mapping = load_mapping(write_mapping(tmp_path))
    assert mapping.file.columns() == {
        "identifiers.0.column": "box",
        "identifiers.1.column": "plate",
        "identifiers.1.issuer.column": "country",
        "time.column": "at",
        "event.column": "direction",
        "active_target.column": "watched",
        "handling.tlp.column": "tlp",
        "fields.place": "gate",
        "fields.driver_name": "driver",
        "fields.driver_card": "card",
    }
    assert mapping.file.purposes == ("customs-risk", "drug-trafficking")


def test_every_error_of_a_mapping_is_reported_at_once(tmp_path: Path) -> None:
    """Wrong words, missing keys and unknown keys come in one list, without any value."""
    text = (
        MAPPING.replace('"gate-in"', '"teleported"')
        .replace('pap = "AMBER"', 'pap = "MAUVE"')
        .replace("retention_days", "retention_day")
        .replace('scheme = "container"', 'scheme = "crystal-ball"')
        .replace('column = "at"', 'column = "at"\ntimezone = "Mars/Olympus"')
    )
    found = problems(tmp_path, text)
    assert {
        "event", "handling.pap", "retention_days", "retention_day", "identifiers.0.scheme",
        "time.timezone",
    } <= set(found)  # fmt: skip
    assert "did you mean retention_days?" in found["retention_day"]
    assert "missing" in found["retention_days"]
    written = {"teleported", "MAUVE", "crystal-ball", "Mars/Olympus"}
    assert not [word for word in written if word in str(found)]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('tlp = { column = "tlp" }\n', "", "handling.tlp"),
        ('tlp = { column = "tlp" }', 'tlp = "EU RESTRICTED"', "handling.tlp"),
        ('tlp = { column = "tlp" }', 'tlp = "unspecified"', "handling.tlp"),
        ('pap = "AMBER"', 'pap = { column = "p", value = "RED" }', "handling.pap"),
        ('pap = "AMBER"', "pap = { }", "handling.pap"),
        ("[personal]", "[impersonal]", "personal"),
        ('approved_by = "dpo"', "", "personal.approved_by"),
        ("retention_days = 365", "retention_days = 0", "retention_days"),
        ("retention_days = 365", 'retention_days = 365\ncountry = "Belgium"', "country"),
        ("retention_days = 365", "retention_days = true", "retention_days"),
        ('["gate*.csv"]', '["/etc/passwd"]', "files"),
        ('["gate*.csv"]', "[]", "files"),
        ('["drug-trafficking", "customs-risk"]', "[]", "purposes"),
        ('["driver_card"]', '["driver_crad"]', "redact_always"),
        ('record_type = "movement"', 'record_type = "rumour"', "record_type"),
        ('map = { x = "true" }', 'map = { x = "perhaps" }', "active_target"),
        ('OUT = "gate-out"', 'OUT = "unspecified"', "event"),
    ],
)
def test_nothing_about_handling_is_ever_guessed(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    """A part that is missing, unspecified or outside its words refuses the mapping."""
    assert old in MAPPING
    assert key in problems(tmp_path, MAPPING.replace(old, new))


def test_a_pattern_that_finds_nothing_is_an_error(tmp_path: Path) -> None:
    """A mapping without files is no empty source."""
    mapping = load_mapping(write_mapping(tmp_path))
    with pytest.raises(SourceUnusable) as caught:
        mapping.data_files()
    assert caught.value.code == "FILE_MISSING"
    assert str(tmp_path) not in caught.value.diagnostics()


@pytest.mark.parametrize("raw", ["gate in", "GATE_IN", " gate-in "])
def test_events_are_read_in_their_usual_spellings(raw: str) -> None:
    """Case, blanks and underscores do not matter."""
    assert parse_event(raw) is Event.GATE_IN


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "EVENT_UNSPECIFIED"),
        ("Unspecified", "EVENT_UNSPECIFIED"),
        ("x", "EVENT_UNKNOWN"),
    ],
)
def test_events_outside_the_vocabulary_are_refused(raw: str, code: str) -> None:
    """Unspecified and unknown events have their own codes."""
    with pytest.raises(InvalidInput) as caught:
        parse_event(raw)
    assert caught.value.code == code


def test_handling_is_read_in_its_published_spellings() -> None:
    """TLP 2.0 writes AMBER+STRICT; the wire's name is AMBER_STRICT."""
    handling = parse_handling(
        tlp="tlp:amber+strict", pap="PAP:RED", europol="h2", source_grade="x", information_grade="4"
    )
    assert (handling.tlp, handling.europol) == (Tlp.AMBER_STRICT, Europol.H2)


def test_every_wrong_part_of_a_handling_is_reported() -> None:
    """Five wrong parts give five codes; none is defaulted."""
    with pytest.raises(InvalidInput) as caught:
        parse_handling(tlp="", pap="0", europol="", source_grade="D", information_grade="5")
    assert caught.value.reasons == (
        "HANDLING_TLP", "HANDLING_PAP", "HANDLING_EUROPOL", "HANDLING_SOURCE",
        "HANDLING_INFORMATION",
    )  # fmt: skip


@pytest.mark.parametrize("mark", ["EU RESTRICTED", "restreint ue", "R-UE/EU-R", "EU SECRET"])
def test_classified_information_is_refused(mark: str) -> None:
    """EU RESTRICTED and above never enters, wherever in the handling it is written."""
    with pytest.raises(InvalidInput) as caught:
        parse_handling(
            tlp="AMBER", pap="RED", europol=mark, source_grade="A", information_grade="1"
        )
    assert caught.value.code == "EU_CLASSIFIED"


def test_a_flag_is_yes_or_no() -> None:
    """A word that is neither is not taken for no."""
    assert parse_flag(" Yes ")
    assert not parse_flag("")
    with pytest.raises(InvalidInput):
        parse_flag("maybe")
