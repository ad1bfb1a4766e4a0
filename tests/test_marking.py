"""fairlead.marking: classified information never enters, in whatever spelling it is marked."""

from __future__ import annotations

import pytest
from hypothesis import given

from fairlead.errors import InvalidInput
from fairlead.marking import check_marking
from fairlead.vocabulary import ModusOperandi, parse_handling, parse_modus_operandi
from tests.spellings import ANY_TEXT

CLASSIFIED = [
    "RESTREINT UE/EU RESTRICTED",
    "restreint ue",
    "EU RESTRICTED",
    "EU-RESTRICTED",
    "eu_restricted",
    "E.U. Restricted",
    "ＥＵ ＲＥＳＴＲＩＣＴＥＤ",
    "R-UE/EU-R",
    "R-UE",
    "EU-R",
    "RUE EU R",
    "CONFIDENTIEL UE/EU CONFIDENTIAL",
    "EU Confidential",
    "C-UE/EU-C",
    "SECRET UE/EU SECRET",
    "S-UE/EU-S",
    "TRÈS SECRET UE/EU TOP SECRET",
    "Tres Secret UE",
    "TS-UE/EU-TS",
    "EU\u200b SECRET",
    "Restricted",
    "NATO CONFIDENTIAL",
    "VS-NUR FÜR DEN DIENSTGEBRAUCH",
    "VS-NfD",
    "Geheim",
    "Dep. VERTROUWELIJK",
    "Zeer geheim",
    "DIFFUSION RESTREINTE",
    "Difusión limitada",
    "RISERVATISSIMO",
    "ZASTRZEŻONE",
    "ŚCIŚLE TAJNE",
    "BEGRÄNSAT HEMLIG",
    "TIL TJENESTEBRUG",
    "KÄYTTÖ RAJOITETTU",
    "VYHRAZENÉ",
    "KORLÁTOZOTT TERJESZTÉSŰ",
    "ΠΕΡΙΟΡΙΣΜΕΝΗΣ ΧΡΗΣΗΣ",
    "За служебно ползване",
    "OGRANIČENO",
    "PIIRATUD",
    "Page 1 of 3, RESTREINT UE / EU RESTRICTED, do not copy",
]
PLAIN = ["", "TLP:AMBER+STRICT", "PAP:RED", "H2", "A", "company confidential", "trade secret",
         "internal", "Europe", "UE", "EU", "public", "R", "S"]  # fmt: skip
RIGHT = {"tlp": "RED", "pap": "RED", "europol": "H0", "source_grade": "A", "information_grade": "1"}


@pytest.mark.parametrize("mark", CLASSIFIED)
def test_every_spelling_of_a_classified_marking_is_refused(mark: str) -> None:
    """Abbreviated, bilingual, national, or hidden in a sentence: one code."""
    with pytest.raises(InvalidInput) as caught:
        check_marking(mark)
    assert caught.value.code == "EU_CLASSIFIED"
    assert not mark or mark not in str(caught.value)


@pytest.mark.parametrize("part", sorted(RIGHT))
@pytest.mark.parametrize("mark", ["RESTREINT UE/EU RESTRICTED", "S-UE", "Confidential"])
def test_no_cell_of_handling_takes_a_classified_marking(part: str, mark: str) -> None:
    """Wherever in the handling it is written, classified comes before misspelt."""
    with pytest.raises(InvalidInput) as caught:
        parse_handling(**(RIGHT | {part: mark}))
    assert caught.value.code == "EU_CLASSIFIED"


@pytest.mark.parametrize("mark", PLAIN)
def test_other_markings_pass(mark: str) -> None:
    """TLP, PAP, Europol codes and what companies write are no classification."""
    check_marking(mark)


@given(ANY_TEXT)
def test_reading_a_marking_is_total(text: str) -> None:
    """Any text is let through or refused with the one code."""
    caught = None
    try:
        check_marking(text, bare=True)
    except InvalidInput as error:
        caught = error
    assert caught is None or caught.reasons == ("EU_CLASSIFIED",)


@pytest.mark.parametrize("raw", ["rip on", "RIP_ON", " Rip-On "])
def test_a_modus_operandi_is_read_in_its_usual_spellings(raw: str) -> None:
    """Case, blanks and underscores do not matter."""
    assert parse_modus_operandi(raw) is ModusOperandi.RIP_ON


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "MODUS_OPERANDI_UNSPECIFIED"),
        ("unspecified", "MODUS_OPERANDI_UNSPECIFIED"),
        ("magic", "MODUS_OPERANDI_UNKNOWN"),
    ],
)
def test_a_modus_operandi_outside_the_vocabulary_is_refused(raw: str, code: str) -> None:
    """Unspecified is never taken for harmless."""
    with pytest.raises(InvalidInput) as caught:
        parse_modus_operandi(raw)
    assert caught.value.code == code
