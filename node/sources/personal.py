"""What tells that a column is about persons: names of fields, schemes and columns. Pure.

The federation's registry (``policies/data``) decides what may be released; this decides what an
owner must have thought about before it is read at all.
"""

from __future__ import annotations

import re

from fairlead.identifiers import PERSONAL

PERSON_SCHEMES = PERSONAL
"""Schemes whose value is, or leads straight to, one natural person."""

_PERSON = re.compile(
    r"(?:^|_)(?:driver|operator|person|employee|visitor|crew|guard|officer|inspector|suspect)"
    r"(?:_?(?:name|full_name|id|no|nr|licen[cs]e|phone|mobile|email|mail))?$"
    r"|(?:^|_)(?:first|last|family|given|middle|maiden|full|sur|birth)_?names?$"
    r"|(?:^|_)(?:surname|firstname|lastname|dob|birth_?date|date_of_birth|birthday|gender|sex"
    r"|nationality|passport|passport_no|national_id|id_card|bsn|ssn|driver_card|badge|badge_no"
    r"|phone|phone_no|mobile|telephone|tel|gsm|e_?mail|naam|voornaam|achternaam|chauffeur"
    r"|fahrer|vorname|nachname|nom|prenom|conducteur)$"
)
_WORDS = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake(name: str) -> str:
    """A column's name in the spelling of fields: ``DriverName`` and ``driver name`` are one."""
    return _WORDS.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


def about_person(name: str) -> bool:
    """Whether the name of a field or a column says that it is about a natural person."""
    return _PERSON.search(snake(name)) is not None
