"""A file's terms and rows, packed: octets and places instead of a million objects.

A :class:`Term` of the wire takes some 200 octets of memory, a packed one some 20.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import overload

from fairlead.v1 import asking_pb2 as pb


class _Texts:
    """Texts one after the other; 4 octets each beside their own."""

    __slots__ = ("_ends", "_octets")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._ends = array("I", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, text: str) -> None:
        self._octets += text.encode()
        self._ends.append(len(self._octets))

    def __getitem__(self, place: int) -> str:
        return self._octets[self._ends[place] : self._ends[place + 1]].decode()


class _Words:
    """One of a few words for each place, 2 octets each."""

    __slots__ = ("_numbers", "_places", "_words")

    def __init__(self) -> None:
        self._words: list[str] = []
        self._places: dict[str, int] = {}
        self._numbers = array("H")

    def append(self, word: str) -> None:
        number = self._places.setdefault(word, len(self._words))
        if number == len(self._words):
            self._words.append(word)
        self._numbers.append(number)

    def __getitem__(self, place: int) -> str:
        return self._words[self._numbers[place]]

    def counted(self) -> dict[str, int]:
        """How often each word stands there."""
        return {self._words[number]: n for number, n in Counter(self._numbers).items()}


class PackedTerms(Sequence[pb.Term]):
    """Terms in order."""

    __slots__ = ("_schemes", "_values")

    def __init__(self, terms: Sequence[pb.Term] = ()) -> None:
        self._schemes, self._values = _Words(), _Texts()
        for term in terms:
            self.append(term.scheme, term.value)

    def append(self, scheme: str, value: str) -> None:
        """Add one at the end."""
        self._schemes.append(scheme)
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> pb.Term: ...
    @overload
    def __getitem__(self, place: slice) -> list[pb.Term]: ...
    def __getitem__(self, place: int | slice) -> pb.Term | list[pb.Term]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        return pb.Term(scheme=self._schemes[at], value=self._values[at])

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Scheme and value of each."""
        return ((self._schemes[at], self._values[at]) for at in range(len(self)))

    def schemes(self) -> dict[str, int]:
        """How many terms each scheme has."""
        return self._schemes.counted()


class PackedRows(Sequence[pb.Row]):
    """The rows of a file in order."""

    __slots__ = ("_reasons", "_suggested", "_terms", "_texts")

    def __init__(self, rows: Sequence[pb.Row] = ()) -> None:
        self._texts, self._reasons, self._terms = _Texts(), _Words(), array("I")
        self._suggested: dict[int, tuple[int, ...]] = {}
        for row in rows:
            self.append(row)

    def append(self, row: pb.Row) -> None:
        """Add one at the end."""
        if row.suggested:
            self._suggested[len(self)] = tuple(row.suggested)
        self._texts.append(row.text)
        self._reasons.append(row.reason)
        self._terms.append(row.term)

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, place: int) -> pb.Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[pb.Row]: ...
    def __getitem__(self, place: int | slice) -> pb.Row | list[pb.Row]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        return pb.Row(
            text=self._texts[at],
            term=self._terms[at],
            reason=self._reasons[at],
            suggested=self._suggested.get(at, ()),
        )

    def reasons(self) -> dict[str, int]:
        """How many rows have each reason; "" for none."""
        return self._reasons.counted()
