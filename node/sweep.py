"""Signs that terms sweep through a range of identifiers instead of asking about a case. Pure.

A sweep shows in what its terms are together, in whatever order and in however many queries they
come: serials of one owner side by side (``RUN``) or crowded (``CROWD``), too many of one owner's
(``OWNER``, ISO 6346), or spellings that differ in two characters only (``PATTERN``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

from fairlead.config import Guard

Term = tuple[str, str]
"""Scheme and canonical value."""
CONTAINER, PERSON, PLATE = "container", "person", "vehicle-plate"
CHECKED_LAST = frozenset(
    {CONTAINER, "company-imo", "customs-mrn", "imei", "rail-wagon", "vessel-imo"}
)
"""Schemes whose last character follows from the others, so that it is no part of a serial."""
STRETCH = 1_000
"""Serials, side by side, in which a crowd is counted."""
_SERIAL = re.compile(r"(.*?)(\d{1,18})\Z", re.DOTALL)


class Sign(StrEnum):
    """What gives a sweep away; a reason code of the alarm."""

    RUN = "ENUMERATION_RUN"
    CROWD = "ENUMERATION_CROWD"
    OWNER = "ENUMERATION_OWNER"
    PATTERN = "ENUMERATION_PATTERN"


def series_of(term: Term) -> tuple[str, int] | None:
    """The series a term belongs to and its serial there; None when it ends in no digit.

    No two values of a scheme share both.
    """
    scheme, value = term
    found = _SERIAL.match(value[:-1] if scheme in CHECKED_LAST else value)
    if found is None:
        return None
    head, digits = found.groups()
    return f"{scheme} {head} {len(digits)}", int(digits)


def patterns_of(term: Term) -> Iterator[str]:
    """The term with what a sweep would substitute left out: any two characters of a plate, a
    person's date of birth, or the name, of which a blind query finds every word that sounds
    alike (:mod:`fairlead.identifiers.matching`)."""
    scheme, value = term
    if scheme == PERSON:
        name, mark, born = value.rpartition("|")
        yield f"{scheme} {name}"
        if mark:
            yield f"{scheme} {mark}{born}"
    elif scheme == PLATE:
        country, _, plate = value.rpartition(":")
        for first, second in combinations(range(len(plate)), 2):
            left = f"{plate[:first]}?{plate[first + 1 : second]}?{plate[second + 1 :]}"
            yield f"{scheme} {country}:{left}"


def longest_run(serials: Sequence[int]) -> int:
    """How many of sorted, different ``serials`` stand side by side at most."""
    longest = current = 0
    last: int | None = None
    for serial in serials:
        current = current + 1 if last is not None and serial == last + 1 else 1
        longest, last = max(longest, current), serial
    return longest


def densest(serials: Sequence[int], stretch: int = STRETCH) -> int:
    """How many of sorted, different ``serials`` any ``stretch`` of numbers holds at most."""
    most = first = 0
    for last, serial in enumerate(serials):
        while serial - serials[first] >= stretch:
            first += 1
        most = max(most, last - first + 1)
    return most


@dataclass(slots=True)
class Trail:
    """The different terms of one user in the order in which they were asked last."""

    _seen: dict[Term, float] = field(default_factory=dict)
    _series: dict[str, set[int]] = field(default_factory=dict)
    _patterns: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, term: Term) -> bool:
        return term in self._seen

    def add(self, terms: Iterable[Term], now: float) -> None:
        """Add terms asked at ``now``, unix seconds; those that are there move to the end."""
        for term in terms:
            if self._seen.pop(term, None) is None:
                if (place := series_of(term)) is not None:
                    self._series.setdefault(place[0], set()).add(place[1])
                self._patterns.update(patterns_of(term))
            self._seen[term] = now

    def remove(self, terms: Iterable[Term]) -> None:
        """Forget these terms."""
        for term in terms:
            del self._seen[term]
            if (place := series_of(term)) is not None:
                self._series[place[0]].discard(place[1])
                if not self._series[place[0]]:
                    del self._series[place[0]]
            for pattern in patterns_of(term):
                self._patterns[pattern] -= 1
                if not self._patterns[pattern]:
                    del self._patterns[pattern]

    def forget(self, before: float) -> None:
        """Forget what was asked last before a moment; after a clock went back, later."""
        old = []
        for term, asked in self._seen.items():
            if asked >= before:
                break
            old.append(term)
        self.remove(old)

    def sign(self, terms: Iterable[Term], limits: Guard) -> Sign | None:
        """The first sign of a sweep in a series or pattern that ``terms`` belong to."""
        touched = {place[0] for term in terms if (place := series_of(term)) is not None}
        for series in sorted(touched):
            serials = sorted(self._series[series])
            if longest_run(serials) > limits.longest_run:
                return Sign.RUN
            if densest(serials) > limits.densest_thousand:
                return Sign.CROWD
            if series.startswith(f"{CONTAINER} ") and len(serials) > limits.one_owner:
                return Sign.OWNER
        patterns = {pattern for term in terms for pattern in patterns_of(term)}
        if any(self._patterns[pattern] > limits.one_pattern for pattern in patterns):
            return Sign.PATTERN
        return None
