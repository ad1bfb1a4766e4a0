"""fairlead.identifiers.matching: by which keys a term is asked about, and by which it is found."""

from __future__ import annotations

import csv
import datetime as dt
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import identifiers
from fairlead.blinding import encode_terms
from fairlead.errors import InvalidInput
from fairlead.identifiers import NORM_VERSION, phonetic
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.matching import (
    HELD_WORDS,
    MEDIUM,
    PERSON_KEYS,
    STRONG,
    WEAK,
    MatchKey,
    asked_keys,
    check_blind,
    held_keys,
    keys_per_term,
)
from tests.spellings import ANY_SCHEME, ANY_TEXT

_TABLE = Path(__file__).parent / "vectors" / "identifiers" / "person-keys.csv"
with _TABLE.open(encoding="utf-8", newline="") as _file:
    KEYS = list(csv.DictReader(_file))
_DATES = st.dates(dt.date(1850, 1, 1), dt.date(2099, 12, 31)).map(dt.date.isoformat)
_WORDS = st.text(st.characters(categories=["Lu", "Ll", "Lo"]), min_size=1, max_size=12)
PERSONS = (
    st.tuples(st.lists(_WORDS, min_size=1, max_size=6), _DATES)
    .map(lambda person: identifiers.normalise("person", f"{' '.join(person[0])}|{person[1]}"))
    .filter(lambda found: found.validity is Validity.FORMAT_OK)
    .map(lambda found: found.value)
)
"""Canonical persons of one to six words, of any script."""
TEXTS = ANY_TEXT | PERSONS | st.text(st.characters(), max_size=40)


def values(keys: tuple[MatchKey, ...]) -> list[str]:
    return [key.value for key in keys]


def person(raw: str) -> str:
    return identifiers.parse("person", raw).value


def grade(asked: str, held: str) -> str:
    """The best grade by which one person finds another, or nothing."""
    published = set(values(held_keys("person", person(held))))
    keys = asked_keys("person", person(asked))
    return next((key.grade for key in keys if key.value in published), "")


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row['value']!a}")
def test_a_person_is_asked_and_held_by_the_keys_of_the_table(row: dict[str, str]) -> None:
    """The keys are what two strangers agree on: another one is another version."""
    assert NORM_VERSION == 1
    assert " ".join(values(held_keys("person", row["value"]))) == row["held"]
    assert " ".join(values(asked_keys("person", row["value"]))) == row["asked"]


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_every_person_costs_the_same(text: str) -> None:
    """An attack: to count the words of a name by its elements; whatever the text is, lone
    surrogates and nothing included, there are as many keys, and no two are one."""
    keys = asked_keys("person", text)
    assert keys == asked_keys("person", text)
    assert len(set(values(keys))) == len(keys) == keys_per_term("person") == PERSON_KEYS
    grades = [key.grade for key in keys]
    assert grades == sorted(grades, key=[STRONG, MEDIUM, WEAK].index)
    assert len(encode_terms(NORM_VERSION, "person", values(keys))) == PERSON_KEYS


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_an_owner_publishes_each_key_once_and_not_too_many(text: str) -> None:
    """At most eleven keys a person, and each is of one family."""
    keys = held_keys("person", text)
    assert len(set(values(keys))) == len(keys)
    assert len(keys) <= 1 + HELD_WORDS * (HELD_WORDS - 1) // 2 + HELD_WORDS
    marks = {STRONG: "", MEDIUM: "2|", WEAK: "3|"}
    assert all(key.value.startswith(marks[key.grade]) for key in keys)
    assert sum(key.value[:1] in "0123456789" for key in keys) == max(0, len(keys) - 1)


@given(TEXTS)
def test_a_person_without_a_date_is_not_published(text: str) -> None:
    """What was kept although it could not be read has no key: nobody may ask about it."""
    found = identifiers.normalise("person", text)
    assert bool(held_keys("person", found.value)) == (found.validity is Validity.FORMAT_OK)


@settings(max_examples=300, deadline=None)
@given(st.lists(PERSONS, min_size=1, max_size=6), TEXTS)
def test_a_key_that_stands_for_nothing_finds_nobody(held: list[str], asked: str) -> None:
    """What fills up a short name equals no key that anybody publishes of any person."""
    published = {value for one in [*held, asked] for value in values(held_keys("person", one))}
    fillers = [v for v in values(asked_keys("person", asked)) if v.startswith("0|")]
    assert not published & set(fillers)


@settings(max_examples=300, deadline=None)
@given(PERSONS)
def test_a_person_finds_itself_by_every_key(value: str) -> None:
    """Whoever is asked about as it is held is found by each key that stands for something."""
    asked = [v for v in values(asked_keys("person", value)) if not v.startswith("0|")]
    assert set(asked) <= set(values(held_keys("person", value)))
    assert asked[0] == value


@settings(deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=4), _DATES)
def test_words_in_any_order_have_the_same_keys(words: list[str], born: str) -> None:
    """Given name and surname may be swapped."""
    spellings = {
        identifiers.normalise("person", f"{' '.join(order)}|{born}").value
        for order in permutations(words)
    }
    assert len({asked_keys("person", value) for value in spellings}) == 1


@settings(max_examples=300, deadline=None)
@given(ANY_SCHEME.filter(lambda scheme: scheme != "person"), TEXTS)
def test_every_other_scheme_is_its_own_key(scheme: str, value: str) -> None:
    """One key, the canonical value, at both ends and without a grade."""
    assert values(asked_keys(scheme, value)) == values(held_keys(scheme, value)) == [value]
    assert asked_keys(scheme, value)[0].grade == ""
    assert keys_per_term(scheme) == 1


@pytest.mark.parametrize(
    ("asked", "held", "expected"),
    [
        ("Jansen, Jan|1980-02-01", "Ján Janšen, born 1 Feb 1980", STRONG),
        ("Jansen, Jan|1980-02-01", "Jan Janssen|1980-02-01", MEDIUM),
        ("Stefan Ivanov|1980-02-01", "Iwanow, Stephan|1980-02-01", MEDIUM),
        ("Юрий Иванов|1980-02-01", "Yuri Ivanoff|1980-02-01", MEDIUM),
        ("Mikhail Petrov|1980-02-01", "Petrov, Michael|1980-02-01", MEDIUM),
        ("Jan Peeters|1980-02-01", "Peters|1980-02-01", WEAK),
        ("Maria Jansen|1980-02-01", "Maria Vandenberghe|1980-02-01", WEAK),
        ("Jan van der Berg|1980-02-01", "Berg, J.|1980-02-01", WEAK),
        ("小明 王|1980-02-01", "王 小红|1980-02-01", WEAK),
        ("Jan Jansen|1980-02-01", "Jan Jansen|1980-02-02", ""),
        ("Jan Jansen|1980-02-01", "Piet Vermeulen|1980-02-01", ""),
        ("J. A.|1980-02-01", "J. B.|1980-02-01", ""),
    ],
)
def test_a_hit_has_the_grade_of_its_best_key(asked: str, held: str, expected: str) -> None:
    """The exact name is strong, two words that sound alike are medium, one is weak; another date
    of birth is nobody, and so is a letter that stands alone."""
    assert grade(asked, held) == expected


def test_a_name_alone_is_refused_with_what_would_work() -> None:
    """A lead is published by nobody: the error names the scheme, its code and other schemes."""
    with pytest.raises(InvalidInput) as caught:
        check_blind("person-name")
    assert caught.value.reasons == ("BLIND_IMPOSSIBLE",)
    assert "person-name" in str(caught.value)
    assert "--scheme person" in (caught.value.remedy or "")
    assert "date of birth" in (caught.value.remedy or "")
    named = {"identity-document", "badge", "driver-card", "phone", "email"}
    assert all(name in (caught.value.remedy or "") for name in named)
    assert all(identifiers.ceiling(name) is None for name in named)


@pytest.mark.parametrize("scheme", identifiers.SCHEMES)
def test_exactly_the_leads_cannot_be_asked_blind(scheme: str) -> None:
    """What has a ceiling is refused by its name, everything else passes."""
    if identifiers.ceiling(scheme) is None:
        check_blind(scheme)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_blind(scheme)
        assert str(caught.value).startswith(scheme)


@given(st.text(st.characters(), max_size=20))
def test_a_code_is_total_and_stands_still(word: str) -> None:
    """Any word has one; it is short for Latin capitals and the word itself for anything else."""
    code = phonetic.code(word)
    assert bool(code) == bool(word)
    if word and not (word.isascii() and word.isalpha() and word.isupper()):
        assert code == word


@settings(max_examples=300)
@given(st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), min_size=1, max_size=20))
def test_a_latin_code_holds_three_sounds_at_most(word: str) -> None:
    """One to three letters, none twice in a row, no vowel behind the first."""
    code = phonetic.code(word)
    assert 1 <= len(code) <= phonetic.SOUNDS
    assert "A" not in code[1:]
    assert all(a != b for a, b in pairwise(code))
