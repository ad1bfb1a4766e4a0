"""Check phrases: the word list, the way back, and what a misheard word does."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import Forged, InvalidInput
from fairlead.phrases import OCTETS, WORDS, check_phrase, compare_phrase, parse_phrase

FINGERPRINTS = st.binary(min_size=32, max_size=32)


def test_the_list_has_one_distinct_word_per_octet() -> None:
    """256 words in order, none like another in its first three letters, all lower-case ASCII."""
    assert len(WORDS) == len(set(WORDS)) == len({word[:3] for word in WORDS}) == 256
    assert list(WORDS) == sorted(WORDS)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


@given(FINGERPRINTS)
def test_a_phrase_gives_its_fingerprint_back(fingerprint: bytes) -> None:
    """Twelve words carry 88 bits, whatever the case and the separators."""
    phrase = check_phrase(fingerprint)
    assert OCTETS * 8 >= 88
    for heard in (phrase, phrase.upper(), phrase.replace(" ", "-"), f"  {phrase}.\n"):
        assert parse_phrase(heard) == fingerprint[:OCTETS]
        compare_phrase(heard, fingerprint)


@given(FINGERPRINTS, st.integers(0, OCTETS), st.integers(1, 255))
def test_one_misheard_word_is_always_noticed(fingerprint: bytes, place: int, by: int) -> None:
    """Any one word replaced by any other fails the check word."""
    words = check_phrase(fingerprint).replace(" - ", " ").split()
    words[place] = WORDS[WORDS.index(words[place]) ^ by]
    with pytest.raises(InvalidInput) as refused:
        parse_phrase(" ".join(words))
    assert refused.value.code == "PHRASE_CHECK"


@given(FINGERPRINTS, st.integers(0, OCTETS - 1), st.integers(0, OCTETS - 1))
def test_two_swapped_words_are_always_noticed(fingerprint: bytes, one: int, other: int) -> None:
    """Words in another order are another phrase."""
    words = check_phrase(fingerprint).replace(" - ", " ").split()
    words[one], words[other] = words[other], words[one]
    if words[one] != words[other]:
        with pytest.raises(InvalidInput):
            parse_phrase(" ".join(words))


@given(FINGERPRINTS, FINGERPRINTS)
def test_another_keys_phrase_is_refused(mine: bytes, other: bytes) -> None:
    """A whole phrase of another key is Forged, and names what to do."""
    if mine[:OCTETS] != other[:OCTETS]:
        with pytest.raises(Forged) as refused:
            compare_phrase(check_phrase(other), mine)
        assert refused.value.reasons == ("PHRASE_DIFFERS",)


@given(st.text(max_size=600))
def test_parsing_is_total(text: str) -> None:
    """Any text is a phrase or an InvalidInput."""
    with suppress(InvalidInput):
        assert len(parse_phrase(text)) == OCTETS
