"""fairlead.identifiers: one canonical form per identifier, whatever the spelling."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import identifiers
from fairlead.errors import InvalidInput
from fairlead.identifiers import checks, company, container, keccak, latin, plate, vehicle, vessel
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import POINTER
from tests.spellings import ANY_ISSUER, ANY_SCHEME, ANY_TEXT

_TABLE = Path(__file__).parent / "vectors" / "identifiers" / "spellings.csv"
with _TABLE.open(encoding="utf-8", newline="") as _file:
    SPELLINGS = list(csv.DictReader(_file))
_FIRST = {"container", "vehicle-plate", "vessel-imo"}


def test_spelling_table_is_large_enough() -> None:
    """At least two hundred pairs of spellings of one identifier, and two of every scheme."""
    forms = {(row["scheme"], row["canonical"]) for row in SPELLINGS}
    pairs = Counter(row["scheme"] for row in SPELLINGS)
    pairs.subtract(scheme for scheme, _ in forms)
    assert pairs.total() >= 200
    assert sum(pairs[scheme] for scheme in set(pairs) - _FIRST) >= 200
    assert {scheme for scheme, count in pairs.items() if count >= 2} == set(identifiers.SCHEMES)


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row['scheme']}-{row['raw']!a}")
def test_every_spelling_has_its_canonical_form(row: dict[str, str]) -> None:
    """A spelling of the table yields its canonical value and its validity."""
    found = identifiers.normalise(row["scheme"], row["raw"])
    assert (found.value, found.validity) == (row["canonical"], Validity(row["validity"]))
    assert found.raw == row["raw"]


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row['scheme']}-{row['raw']!a}")
def test_parse_accepts_exactly_what_is_verified(row: dict[str, str]) -> None:
    """Only a verified spelling, or a complete one where nothing is to verify, may be asked."""
    askable = row["validity"] == "checksum_ok" or (
        row["validity"] == "format_ok" and row["scheme"] != "container"
    )
    if askable:
        assert identifiers.parse(row["scheme"], row["raw"]).value == row["canonical"]
    else:
        with pytest.raises(InvalidInput):
            identifiers.parse(row["scheme"], row["raw"])


@settings(max_examples=600, deadline=None)
@given(ANY_SCHEME, ANY_TEXT, ANY_ISSUER)
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
        ("container", "M" * 129, "TOO_LONG"),
        ("address", "BE:1 " + "한" * 100, "TOO_LONG"),
        ("booking", "5500123456", "ISSUER_REQUIRED"),
        ("identity-document", "592-1234567-89", "ISSUER_REQUIRED"),
        ("identity-document", "QQ:592-1234567-89", "ISSUER_REQUIRED"),
        ("eori", "0123456789", "ISSUER_REQUIRED"),
        ("badge", "00471-22", "ISSUER_REQUIRED"),
        ("terminal", "K1742", "ISSUER_REQUIRED"),
        ("phone", "03 555 01 23", "REGION_REQUIRED"),
        ("phone", "+32", "FORMAT"),
        ("imei", "35-209900-176148", "CHECK_DIGIT_MISSING"),
        ("imei", "35-209900-176148-2", "CHECK_DIGIT"),
        ("person", "Jan Jansen", "BIRTH_DATE"),
        ("person", "Jan Jansen, 03/04/1980", "BIRTH_DATE"),
        ("person", "1980-02-01", "BIRTH_DATE"),
        ("person-name", "Jansen", "FORMAT"),
        ("person-name", "Agent 47", "FORMAT"),
        ("release-reference", "4711", "LOOKS_LIKE_PIN"),
        ("release-reference", "PIN 471100998877", "LOOKS_LIKE_PIN"),
        ("release-reference", "AB12CD", "LOOKS_LIKE_PIN"),
        ("crypto-address", "4AdUndXHHZ6cfufTMvppY6JwXNouMBzSkbLYfpAV5Usx", "ISSUER_REQUIRED"),
        ("company-imo", "9074729", "CHECK_DIGIT"),
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


# ── Every scheme ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", identifiers.SCHEMES)
def test_every_text_is_read_by_every_scheme(scheme: str) -> None:
    """No text and no issuer makes a scheme raise, its values are stable, and reasons are known."""

    @settings(max_examples=60, deadline=None)
    @given(ANY_TEXT, ANY_ISSUER)
    def read(raw: str, issuer: str) -> None:
        found = identifiers.normalise(scheme, raw, issuer=issuer)
        found.value.encode("utf-8")
        assert identifiers.normalise(scheme, found.value).value == found.value
        code = identifiers.CATALOGUE[scheme].reason(found)
        assert code is None or code in identifiers._MESSAGES

    read()


CHECKED = [row for row in SPELLINGS if row["validity"] == "checksum_ok"]
NUMBERED = {"customs-mrn", "cas", "vessel-eni", "lei", "company-imo", "rail-wagon", "imei", "iban"}


@pytest.mark.parametrize("scheme", sorted(NUMBERED | {"vat"}))
def test_every_other_last_digit_is_noticed(scheme: str) -> None:
    """Of the ten last digits exactly one is right; the others are kept, marked, and matched."""
    for value in sorted({r["canonical"] for r in CHECKED if r["scheme"] == scheme}):
        if not value[-1].isdigit() or value.startswith("NL"):
            continue
        found = {d: identifiers.normalise(scheme, value[:-1] + d) for d in "0123456789"}
        right = [d for d, one in found.items() if one.validity is Validity.CHECKSUM_OK]
        assert right == [value[-1]]
        assert all(one.value == value[:-1] + d for d, one in found.items())


def test_known_bad_check_digits_are_kept_and_marked() -> None:
    """The table holds a known bad one of every scheme that has a check digit."""
    failed = {row["scheme"] for row in SPELLINGS if row["validity"] == "checksum_failed"}
    assert failed == {row["scheme"] for row in CHECKED}


def test_check_digits_known_from_their_standards() -> None:
    """Published examples have the digits they should."""
    assert company.company_digit("204199") == "9"
    assert vehicle.vin_check("1M8GDM9AXKP042788") == "X"
    assert vehicle.vin_check("11111111111111111") == "1"
    assert checks.luhn("79927398713")
    assert keccak.keccak_256(b"").hex().startswith("c5d2460186f7233c927e7db2dcc703c0")
    with pytest.raises(ValueError, match="one block"):
        keccak.keccak_256(bytes(136))


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("BC1SW50QGDZ25J", True),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", True),
        ("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3", True),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", False),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", False),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", None),
        ("bc1gmk9yu", None),
    ],
)
def test_segwit_addresses_of_the_standards(address: str, right: bool | None) -> None:
    """BIP 350: version 0 is bech32, later ones are bech32m, and neither passes as the other."""
    expected = {True: Validity.CHECKSUM_OK, False: Validity.CHECKSUM_FAILED}
    found = identifiers.normalise("crypto-address", address)
    assert found.validity is (Validity.UNVERIFIABLE if right is None else expected[right])


@pytest.mark.parametrize(
    "address",
    [
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_mixed_case_is_a_check_sum(address: str) -> None:
    """EIP-55: published cases verify, a swapped one does not, one case says nothing."""
    read = identifiers.normalise
    assert read("crypto-address", address).validity is Validity.CHECKSUM_OK
    place = next(n for n in range(41, 2, -1) if address[n].isalpha())
    wrong = address[:place] + address[place].swapcase() + address[place + 1 :]
    assert read("crypto-address", wrong).validity is Validity.CHECKSUM_FAILED
    assert read("crypto-address", address.lower()).validity is Validity.FORMAT_OK


@pytest.mark.parametrize(
    ("scheme", "raw", "beside", "value"),
    [
        ("phone", "03 555 01 23", "BE", "+3235550123"),
        ("phone", "06 30 123 4567", "HU", "+36301234567"),
        ("phone", "02 555 0123", "it", "+39025550123"),
        ("phone", "0032 3 555 01 23", "NL", "+3235550123"),
        ("phone", "3 555 01 23", "BE", "35550123"),
        ("phone", "03 555 01 23", "US", "035550123"),
        ("person", "Jansen, Jan", "1 Feb 1980", "JAN JANSEN|1980-02-01"),
        ("person", "Jansen, Jan", "03/04/1980", "?JANSENJAN"),
        ("person", "Jansen, Jan", "born 1980-02-01 in Ghent", "?JANSENJAN"),
        ("eori", "0123456789", "be", "BE0123456789"),
        ("vat", "123456783", "EL", "GR123456783"),
        ("bill-of-lading", "ANR0012345", "xyzl", "XYZL:ANR0012345"),
        ("bill-of-lading", "XYZLANR0012345", "XYZL", "XYZL:ANR0012345"),
        ("bill-of-lading", "ABCD0012345", "XYZL", "XYZL:ABCD0012345"),
        ("badge", "00471-22", "Alfa Port", "ALFAPORT:0047122"),
        ("terminal", "K 1742", "BE ANR", "BEANR:K1742"),
        ("voyage", "0421W", "IMO 9074729", "9074729:0421W"),
        ("account", "J.Doe", "PortSys", "PORTSYS:j.doe"),
        ("crypto-address", "LVg2kJoFNg45Nbpy53h7Fe1wKyeXVRhMH9", "litecoin",
         "LTC:LVg2kJoFNg45Nbpy53h7Fe1wKyeXVRhMH9"),
    ],
)  # fmt: skip
def test_what_stands_beside_completes_an_identifier(
    scheme: str, raw: str, beside: str, value: str
) -> None:
    """A country, carrier, port or date of birth in another column completes, and never guesses."""
    assert identifiers.normalise(scheme, raw, issuer=beside).value == value


def test_a_pin_is_neither_kept_nor_shown() -> None:
    """What may be a PIN leaves no value and no raw text behind."""
    for raw in ("4711", "471109", "pin: 471 109 331 2", "AB-12", "123456789"):
        found = identifiers.normalise("release-reference", raw)
        assert (found.value, found.raw) == ("", "")


def test_a_name_alone_is_capped_and_no_other_scheme_is() -> None:
    """The ceiling is data of the scheme: the pointer, for a name without a date of birth."""
    capped = {name: identifiers.ceiling(name) for name in identifiers.SCHEMES}
    assert {name: c for name, c in capped.items() if c is not None} == {"person-name": POINTER}
    assert identifiers.ceiling("crystal-ball") is None


@pytest.mark.parametrize(
    ("raw", "schemes"),
    [
        ("MSCU 663987-0", ["container"]),
        ("9074729", ["vessel-imo"]),
        ("2041999", ["vessel-imo"]),
        ("BE68 5390 0754 7034", ["iban"]),
        ("5493001KJTIIGC8Y1R12", ["lei"]),
        ("+32 3 555 01 23", ["phone"]),
        ("0032 3 555 01 23", ["phone"]),
        ("a.person@example.org", ["email"]),
        ("192.0.2.17", ["ip-address"]),
        ("90.74.7.29", ["ip-address"]),
        ("9.0.7.4729", ["vessel-imo"]),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", ["crypto-address"]),
        ("BE0428759497", []),
        ("03 555 01 23", []),
        ("1M8GDM9AXKP042788", []),
        ("Jan Jansen 1980-02-01", []),
        ("352099001761481", []),
        ("26BEA1234567890122", []),
        ("DEUTDEFF", []),
        ("BEANR", []),
        ("example.org", []),
    ],
)
def test_an_ambiguous_text_is_never_taken_for_a_new_scheme(raw: str, schemes: list[str]) -> None:
    """Only what is like nothing else is recognised; everything else needs its scheme stated."""
    assert [found.scheme for found in identifiers.recognise(raw)
            if found.validity is not Validity.UNVERIFIABLE] == schemes  # fmt: skip


@given(ANY_TEXT)
def test_words_are_capitals_and_stable(raw: str) -> None:
    """Transliteration is total, and reads its own output as the same words."""
    found = latin.words(raw)
    assert latin.words(" ".join(found)) == found
    " ".join(found).encode()
