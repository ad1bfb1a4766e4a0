"""Signs that terms sweep through a range of identifiers instead of asking about a case. Pure.

A sweep shows in what its terms are together, in whatever order and in however many queries they
come: serials of one owner side by side (``RUN``) or crowded (``CROWD``), too many of one owner's
(``OWNER``, ISO 6346), or spellings that differ in two characters only (``PATTERN``).
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge
from itertools import combinations, groupby

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
PATTERNED = frozenset({PERSON, PLATE})
"""Schemes that :func:`patterns_of` knows."""
TOGETHER_S = 3_600
"""Seconds within which what was asked counts as asked at once: it is remembered by up to so much
longer."""
LARGE = 4_096
"""Places from which on a query's terms are kept apart from those before and after."""
_LOAD = 2
"""Patterns for each place of a sketch when it is made."""
_SHIFT = 56
"""Of a key: its first octet says in which bucket it is sorted, so that few are sorted at once."""
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


class Asked:
    """Terms asked together, packed: 16 octets for each serial, and the text of what has patterns.

    ``keys`` and ``serials`` are sorted side by side; a key stands for a series, and its last bit
    says whether that is one of containers.
    """

    __slots__ = ("keys", "patterned", "serials")

    def __init__(self, terms: Iterable[Term] = ()) -> None:
        """About 2 µs a term."""
        buckets: dict[int, array[int]] = {}
        self.patterned: dict[str, bytearray] = {}
        for scheme, value in terms:
            if (place := series_of((scheme, value))) is not None:
                key = key_of(place[0])
                buckets.setdefault(key >> _SHIFT, array("Q")).extend((key, place[1]))
            if scheme in PATTERNED:
                self.patterned.setdefault(scheme, bytearray()).extend(f"{value}\n".encode())
        self.keys, self.serials = array("Q"), array("Q")
        for _, bucket in sorted(buckets.items()):
            for key, serial in sorted(zip(bucket[::2], bucket[1::2], strict=True)):
                self.keys.append(key)
                self.serials.append(serial)

    def __len__(self) -> int:
        """How many places it takes."""
        return len(self.keys) + -(-sum(map(len, self.patterned.values())) // 8)

    def merged(self, other: Asked) -> Asked:
        """Both together."""
        made = Asked()
        pairs = merge(zip(self.keys, self.serials, strict=True),
                      zip(other.keys, other.serials, strict=True))  # fmt: skip
        last = None
        for pair in pairs:
            if pair != last:
                made.keys.append(pair[0])
                made.serials.append(pair[1])
            last = pair
        for scheme in self.patterned.keys() | other.patterned.keys():
            both = (side.patterned.get(scheme, bytearray()) for side in (self, other))
            made.patterned[scheme] = bytearray().join(both)
        return made

    def series(self) -> Iterator[int]:
        """The key of each series, once."""
        at = 0
        while at < len(self.keys):
            yield self.keys[at]
            at = bisect_right(self.keys, self.keys[at], lo=at)

    def of_series(self, key: int) -> array[int]:
        """The serials of one series, sorted."""
        first = bisect_left(self.keys, key)
        return self.serials[first : bisect_right(self.keys, key, lo=first)]

    def patterns(self) -> Iterator[tuple[Term, int]]:
        """Each term that has patterns, with a number for each pattern."""
        for scheme, packed in self.patterned.items():
            start = 0
            while start < len(packed):
                stop = packed.index(b"\n", start)
                term = scheme, packed[start:stop].decode()
                for pattern in patterns_of(term):
                    yield term, hash(pattern)
                start = stop + 1


def key_of(series: str) -> int:
    """A number of 64 bits for a series. Python's own hash is keyed anew in every process, and no
    key leaves one."""
    found = hash(series) & 0xFFFF_FFFF_FFFF_FFFE
    return found | series.startswith(f"{CONTAINER} ")


class Sketch:
    """How often each pattern stands there, at least: a few octets for each term, not for each of
    its two dozen patterns. Two that share a place are counted together, so that whoever finds too
    many has to count again."""

    __slots__ = ("_counts", "_mask", "_total")

    def __init__(self, patterns: int = 0) -> None:
        """:param patterns: how many will be added, about."""
        size = 1 << max(10, (patterns // _LOAD).bit_length())
        self._counts, self._mask, self._total = array("I", bytes(4 * size)), size - 1, 0

    @property
    def full(self) -> bool:
        """Whether a larger one is due."""
        return self._total > 2 * _LOAD * len(self._counts)

    def add(self, asked: Asked, times: int = 1) -> None:
        """Count every pattern of these terms, or with -1 take it back."""
        for _, pattern in asked.patterns():
            self._counts[pattern & self._mask] += times
            self._total += times

    def count(self, pattern: int) -> int:
        """How often it may have been counted."""
        return self._counts[pattern & self._mask]


@dataclass(slots=True)
class Trail:
    """What one user asked, in the order in which it was asked: 16 octets or so a term.

    Terms that are asked within :data:`TOGETHER_S` are kept, and forgotten, together.
    """

    _steps: list[tuple[float, float, Asked]] = field(default_factory=list)
    """When its first and its last term was asked, and what."""
    _sketch: Sketch = field(default_factory=Sketch)

    def __len__(self) -> int:
        return sum(len(asked) for _, _, asked in self._steps)

    def add(self, terms: Iterable[Term], now: float) -> None:
        """Add terms asked at ``now``, unix seconds."""
        self.keep(Asked(terms), now)

    def keep(self, asked: Asked, now: float) -> None:
        """Add them packed."""
        if not len(asked):
            return
        self._count(asked)
        if self._steps:
            first, last, before = self._steps[-1]
            if abs(now - first) < TOGETHER_S and len(before) < LARGE > len(asked):
                self._steps[-1] = (first, max(last, now), before.merged(asked))
                return
        self._steps.append((now, now, asked))

    def _count(self, asked: Asked) -> None:
        self._sketch.add(asked)
        if self._sketch.full:
            everything = [*(step for _, _, step in self._steps), asked]
            self._sketch = Sketch(2 * sum(1 for step in everything for _ in step.patterns()))
            for step in everything:
                self._sketch.add(step)

    def forget(self, before: float) -> None:
        """Forget what was asked last before a moment; after a clock went back, later."""
        while self._steps and self._steps[0][1] < before:
            self._sketch.add(self._steps.pop(0)[2], -1)

    def sign(self, asked: Asked, limits: Guard) -> Sign | None:
        """The first sign of a sweep in a series or pattern that ``asked`` belongs to, beside all
        that was asked before."""
        steps = [step for _, _, step in self._steps]
        for key in asked.series():
            parts = [asked.of_series(key), *(step.of_series(key) for step in steps)]
            serials = _united([part for part in parts if part])
            if longest_run(serials) > limits.longest_run:
                return Sign.RUN
            if densest(serials) > limits.densest_thousand:
                return Sign.CROWD
            if key & 1 and len(serials) > limits.one_owner:
                return Sign.OWNER
        return self._pattern(asked, [asked, *steps], limits.one_pattern)

    def _pattern(self, asked: Asked, everything: Sequence[Asked], limit: int) -> Sign | None:
        fresh = Sketch(sum(1 for _ in asked.patterns()))
        fresh.add(asked)
        suspects = {
            pattern
            for _, pattern in asked.patterns()
            if self._sketch.count(pattern) + fresh.count(pattern) > limit
        }
        found: dict[int, set[int]] = {pattern: set() for pattern in suspects}
        for step in everything if suspects else ():
            for term, pattern in step.patterns():
                if pattern in suspects:
                    found[pattern].add(hash(term))
                    if len(found[pattern]) > limit:
                        return Sign.PATTERN
        return None


def _united(parts: Sequence[array[int]]) -> Sequence[int]:
    """Sorted serials, each once."""
    if len(parts) == 1:
        return parts[0]
    return array("Q", (serial for serial, _ in groupby(merge(*parts))))
