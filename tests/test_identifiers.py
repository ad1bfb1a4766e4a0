"""fairlead.identifiers: one canonical form per identifier, whatever the spelling."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import identifiers
from fairlead.errors import InvalidInput
from fairlead.identifiers import container, plate, vessel
from fairlead.identifiers.identifier import Validity

_TABLE = Path(__file__).parent / "vectors" / "identifiers" / "spellings.csv"
with _TABLE.open(encoding="utf-8", newline="") as _file:
    SPELLINGS = list(csv.DictReader(_file))

_AWKWARD = st.sampled_from(
    "МСОКАВЕНТРХУІЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧ０１２９ＡＺ：／［］٠٣۹①Ⓜⅷßŉǰΐﬁſıİ"
    "\x00\ud800\udfff\ufeff\u200b\u0308\u00a0\u2011\U0001d7d8"
    "MSCUJZ0123456789:/|-[]() NLBDIMO"
)
ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=80),
    st.text(_AWKWARD, max_size=24),
    st.text(st.characters(categories=["Cs", "Lu", "Lo", "Nd", "Mn", "So"]), max_size=20),
)
ANY_SCHEME = st.one_of(st.sampled_from(identifiers.SCHEMES), st.text(max_size=8))


def test_spelling_table_is_large_enough() -> None:
    """At least two hundred spellings over all three schemes stand in the table."""
    assert len(SPELLINGS) >= 200
    assert {row["scheme"] for row in SPELLINGS} == set(identifiers.SCHEMES)


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row['scheme']}-{row['raw']!a}")
def test_every_spelling_has_its_canonical_form(row: dict[str, str]) -> None:
    """A spelling of the table yields its canonical value and its validity."""
    found = identifiers.normalise(row["scheme"], row["raw"])
    assert (found.value, found.validity) == (row["canonical"], Validity(row["validity"]))
    assert found.raw == row["raw"]


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row['scheme']}-{row['raw']!a}")
def test_parse_accepts_exactly_what_is_verified(row: dict[str, str]) -> None:
    """Only a verified spelling, or a complete plate, may be asked about."""
    askable = row["validity"] == "checksum_ok" or (
        row["validity"] == "format_ok" and row["scheme"] == "vehicle-plate"
    )
    if askable:
        assert identifiers.parse(row["scheme"], row["raw"]).value == row["canonical"]
    else:
        with pytest.raises(InvalidInput):
            identifiers.parse(row["scheme"], row["raw"])


@given(ANY_SCHEME, ANY_TEXT, st.one_of(st.just(""), ANY_TEXT))
def test_normalise_is_total_idempotent_and_writable(scheme: str, raw: str, issuer: str) -> None:
    """No string makes normalise raise, and its value is stable and valid UTF-8."""
    found = identifiers.normalise(scheme, raw, issuer=issuer)
    found.value.encode("utf-8")
    assert identifiers.normalise(scheme, found.value).value == found.value


@given(ANY_SCHEME, ANY_TEXT)
def test_parse_raises_only_its_own_error_and_never_tells_the_term(scheme: str, raw: str) -> None:
    """Whatever is pasted, parse raises InvalidInput with fixed text or returns."""
    caught = None
    try:
        found = identifiers.parse(scheme, raw)
    except InvalidInput as error:
        caught = error
    if caught is None:
        assert found.validity in {Validity.CHECKSUM_OK, Validity.FORMAT_OK}
        assert found.value.isprintable()
    else:
        assert set(caught.reasons) <= {"SCHEME", "TOO_LONG", *identifiers._MESSAGES}
        unknown = {"no such kind of identifier", "the identifier is too long"}
        assert caught.message in {*identifiers._MESSAGES.values(), *unknown}
        assert caught.remedy in identifiers._REMEDIES.values()


@given(ANY_TEXT)
def test_recognise_and_suggest_are_total(raw: str) -> None:
    """Any pasted text is recognised as something or nothing, and suggestions verify."""
    order = [identifiers._RANK.index(found.validity) for found in identifiers.recognise(raw)]
    assert order == sorted(order)
    for near in identifiers.suggest(raw):
        assert identifiers.recognise(near)[0].validity is Validity.CHECKSUM_OK


@given(st.from_regex(r"[A-Z]{3}[UJZ][0-9]{6}", fullmatch=True))
def test_every_wrong_container_digit_is_noticed(first_ten: str) -> None:
    """A container number is right with one check digit and with no other."""
    right = container.check_digit(first_ten)
    for digit in "0123456789":
        validity = identifiers.normalise("container", first_ten + digit).validity
        assert (validity is Validity.CHECKSUM_OK) == (digit == right)


@given(st.from_regex(r"[A-Z]{3}U[0-9]{6}", fullmatch=True), st.integers(4, 9), st.data())
def test_a_misread_digit_is_suggested_back(first_ten: str, place: int, data: st.DataObject) -> None:
    """The right number is among the neighbours of one with a single misread digit."""
    right = first_ten + container.check_digit(first_ten)
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != right[place]]))
    typo = right[:place] + digit + right[place + 1 :]
    assert typo == right or right in set(container.neighbours(typo))


def test_container_check_digits_known_from_the_standard() -> None:
    """The published example and the demo's container have the digits they should."""
    assert container.check_digit("CSQU305438") == "3"
    assert container.check_digit("MSCU663987") == "0"


def test_vessel_check_digit_known_example() -> None:
    """The IMO's own example number verifies."""
    assert vessel.check_digit("907472") == "9"


@pytest.mark.parametrize(
    ("scheme", "raw", "code"),
    [
        ("container", "MSCU6639871", "CHECK_DIGIT"),
        ("container", "MSCU663987", "CHECK_DIGIT_MISSING"),
        ("container", "MSCX6639870", "FORMAT"),
        ("container", "", "FORMAT"),
        ("vessel-imo", "9074728", "CHECK_DIGIT"),
        ("vessel-imo", "0000000", "FORMAT"),
        ("vehicle-plate", "AB-123-C", "COUNTRY_REQUIRED"),
        ("vehicle-plate", "B AB 123", "COUNTRY_REQUIRED"),
        ("vehicle-plate", "NL/B", "FORMAT"),
        ("vehicle-plate", "NL:", "FORMAT"),
        ("crystal-ball", "1", "SCHEME"),
        ("container", "M" * 65, "TOO_LONG"),
    ],
)
def test_refusals_have_stable_codes(scheme: str, raw: str, code: str) -> None:
    """Each way of being wrong has its own stable reason code and a remedy."""
    with pytest.raises(InvalidInput) as caught:
        identifiers.parse(scheme, raw)
    assert caught.value.code == code
    assert caught.value.remedy


def test_country_beside_the_plate_is_used_and_one_in_the_text_wins() -> None:
    """A stated issuer completes a bare plate and never overrules an explicit country."""
    assert identifiers.parse("vehicle-plate", "AB-123-C", issuer="NL").value == "NL:AB123C"
    assert identifiers.parse("vehicle-plate", "B:1-ABC-234", issuer="NL").value == "BE:1ABC234"
    assert identifiers.normalise("vehicle-plate", "AB-123-C", issuer="??").issuer is None


def test_a_typo_gets_suggestions_and_a_right_number_none() -> None:
    """Near numbers are offered for a wrong check digit only."""
    assert identifiers.suggest("MSCU6639870") == ()
    assert "MSCU6639870" in identifiers.suggest("MSCU6639871")
    assert "MSCU6639870" in identifiers.suggest("MSCU663987O")
    assert "MSCU6639870" in identifiers.suggest("MSCU6693870")
    assert identifiers.suggest("MSCU663987")[0] == "MSCU6639870"
    assert "9074729" in identifiers.suggest("IMO 9074792")
    assert len(identifiers.suggest("MSCU6639871")) <= identifiers.MAX_SUGGESTIONS


def test_recognise_prefers_verified_schemes_and_names_a_bare_plate_last() -> None:
    """The verified reading comes first; a plate without country is offered as unverifiable."""
    assert identifiers.recognise("MSCU 663987-0")[0].scheme == "container"
    assert identifiers.recognise("9074729")[0].scheme == "vessel-imo"
    bare = identifiers.recognise("AB-123-C")
    assert [found.scheme for found in bare] == ["vehicle-plate"]
    assert bare[0].validity is Validity.UNVERIFIABLE
    assert identifiers.recognise("hello world") == ()


def test_different_plates_stay_different() -> None:
    """Country and umlaut are part of a plate: neither is folded away."""
    values = {
        identifiers.normalise("vehicle-plate", raw).value
        for raw in ("D:GÖ-AB 12", "D:GO-AB 12", "A:GO-AB 12", "GO-AB 12")
    }
    assert len(values) == 4


@pytest.mark.parametrize(
    ("sign", "country"), [("uk", "GB"), ("D", "DE"), ("el", "GR"), ("Q", None)]
)
def test_vehicle_signs_become_countries(sign: str, country: str | None) -> None:
    """Vehicle signs and ISO codes lead to one country; others to none."""
    assert plate.country_of(sign) == country
