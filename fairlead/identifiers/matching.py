"""Match keys: what a blind query looks a term up by (PROTOCOL §3).

Most schemes have one, the canonical value itself. A person has three families of keys, so that
another spelling of a name is still found; each has the whole date of birth, and a grade:

1. *strong*: the exact name, its parts in order. The key is the canonical value.
2. *medium*: how two parts of the name sound.
3. *weak*: how one part of it sounds.

An asker blinds :func:`asked_keys`, whose number depends on the scheme alone, so that the number of
elements tells nothing about a term; an owner publishes :func:`held_keys`. Keys are part of
:data:`fairlead.identifiers.NORM_VERSION`, as canonical values are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from fairlead.errors import InvalidInput
from fairlead.identifiers.catalogue import CATALOGUE
from fairlead.identifiers.person import PERSON
from fairlead.identifiers.phonetic import code

STRONG, MEDIUM, WEAK = "strong", "medium", "weak"
"""The grades of a hit, best first."""

PERSON_KEYS = 4
"""Keys by which a person is asked about: one strong, one medium, two weak."""
HELD_WORDS = 4
"""Words of a name that an owner publishes the sound of: eleven keys a person at most."""
_ASKED_WORDS = 2
_PERSON_VALUE = re.compile(r"([^|?0-9][^|]*)\|([0-9]{4}-[0-9]{2}-[0-9]{2})", re.DOTALL)
_LETTER = re.compile(r"[A-Z]")

_A_LEAD = (
    "this kind of identifier is a lead and never a hit: it is not published for blind queries",
    "ask sealed (--mode sealed), or by an identifier that can be a hit",
)
_LEADS = {
    "person-name": (
        "person-name is a lead and never a hit: it is not published for blind queries",
        (
            "ask --scheme person with the full date of birth, as in Jansen, Jan|1980-02-01, or by "
            "an identity-document, a badge, a driver-card, a phone or an email; or ask --mode "
            "sealed"
        ),
    ),
}
"""Schemes that no owner publishes: why, and what would work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchKey:
    """One OPRF input of a term, and how well whoever is found by it matches: ``strong``,
    ``medium`` or ``weak``, or empty where the scheme knows equality alone."""

    value: str
    grade: str = ""


def keys_per_term(scheme: str) -> int:
    """How many keys an asker blinds for each term of a scheme; it depends on nothing else."""
    return PERSON_KEYS if scheme == PERSON else 1


def asked_keys(scheme: str, value: str) -> tuple[MatchKey, ...]:
    """The keys of a term to ask by, exactly :func:`keys_per_term` of them, best grade first.

    They differ from each other. Where a name has too few words, or the value is no name with a
    date, the last ones stand for nothing: no owner's key equals them.
    """
    if scheme != PERSON:
        return (MatchKey(value=value),)
    keys = _person_keys(value, _ASKED_WORDS)
    return keys + tuple(_nothing(value, place) for place in range(len(keys), PERSON_KEYS))


def held_keys(scheme: str, value: str) -> tuple[MatchKey, ...]:
    """The keys under which an owner publishes a term, best grade first, each once.

    None for what was kept of a person although it could not be read: nobody can ask about it.
    """
    return _person_keys(value, HELD_WORDS) if scheme == PERSON else (MatchKey(value=value),)


def check_blind(scheme: str) -> None:
    """Whether a scheme can be asked about blind at all.

    :raises InvalidInput: ``BLIND_IMPOSSIBLE``: nobody publishes the scheme, because it is a lead
        and never a hit.
    """
    found = CATALOGUE.get(scheme)
    if found is not None and found.ceiling is not None:
        message, remedy = _LEADS.get(scheme, _A_LEAD)
        raise InvalidInput(message, reasons=("BLIND_IMPOSSIBLE",), remedy=remedy)


def _person_keys(value: str, most: int) -> tuple[MatchKey, ...]:
    """The keys of a person by the sound of so many words of the name."""
    found = _PERSON_VALUE.fullmatch(value)
    if found is None:
        return ()
    name, born = found.groups()
    codes = [code(word) for word in _telling(name.split(), most)]
    pairs = (" ".join(sorted(pair)) for pair in combinations(codes, 2))
    return (
        MatchKey(value=value, grade=STRONG),
        *_family("2", pairs, born, MEDIUM),
        *_family("3", codes, born, WEAK),
    )


def _telling(words: Iterable[str], most: int) -> list[str]:
    """The longest words, which tell most about who it is; never a letter that stands alone."""
    whole = (word for word in words if not _LETTER.fullmatch(word))
    return sorted(whole, key=lambda word: (-len(word), word))[:most]


def _family(mark: str, sounds: Iterable[str], born: str, grade: str) -> Iterable[MatchKey]:
    """Keys of one family, each once; no canonical value begins with a digit."""
    for sound in dict.fromkeys(sounds):
        yield MatchKey(value=f"{mark}|{sound}|{born}", grade=grade)


def _nothing(value: str, place: int) -> MatchKey:
    """A key of no family: it follows from the term, so that nobody can publish it for everybody."""
    text = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return MatchKey(value=f"0|{place}|{text}", grade=WEAK)
