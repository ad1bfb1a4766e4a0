"""What one party sees of one trial, as numbers and octets that a guesser can learn from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from itertools import pairwise
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fairlead.v1 import audit_pb2, query_pb2

INNER: dict[tuple[str, str], type[Message]] = {
    ("SignedQuery", "mandate"): query_pb2.Mandate,
    ("SignedQuery", "header"): query_pb2.QueryHeader,
    ("SignedQuery", "statement"): query_pb2.NodeStatement,
    ("AddressedPart", "part"): query_pb2.SealedPart,
    ("AnswerRequest", "part"): query_pb2.SealedPart,
    ("AnswerRequest", "grant"): query_pb2.OwnerGrant,
    ("AnswerRequest", "grant_statement"): query_pb2.GrantStatement,
    ("SignedAnswer", "header"): query_pb2.AnswerHeader,
    ("Receipt", "leaf"): audit_pb2.AuditLeaf,
    ("Closed", "outcome"): query_pb2.Outcome,
}
"""Octets that are messages themselves."""
TREE = {("Receipt", "consistency")}
"""Of these fields the size is enough: they are nodes of a tree whose leaves are seen ..."""
PASSED_ON = {("AnswerRequest", "query"), *TREE}
"""... and what a gateway passes on, it was sent."""
ROW = 32
"""Octets of an element."""
_TOP = bytes(octet >> 5 for octet in range(256))
_BLOB = re.compile(r"[xX]'([0-9A-Fa-f]*)'")
_NUMBER = re.compile(r"(?<![\w'])\d{1,15}(?![\w'])")


class Sight:
    """Collects one party's view. Names say where something was seen; ``phase`` is which query."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.octets: dict[str, bytes] = {}
        self.phase = "1"
        self._moments: list[tuple[str, float]] = []
        self._count: Counter[str] = Counter()

    def _named(self, name: str) -> str:
        name = f"{self.phase}.{name}"
        self._count[name] += 1
        return name if self._count[name] == 1 else f"{name}#{self._count[name]}"

    def at(self, name: str, moment: float) -> None:
        """Something happened at ``moment`` (seconds of a monotonic clock)."""
        self._moments.append((self._named(name), moment))

    def number(self, name: str, value: float) -> None:
        """A number was seen."""
        self.numbers[self._named(name)] = float(value)

    def put(self, name: str, octets: bytes) -> None:
        """Octets were seen."""
        self.octets[self._named(name)] = octets

    def message(self, name: str, message: Message, *, passed_on: bool = False) -> None:
        """A message was seen: every field of it, and of the messages in its octets."""
        self.number(f"{name}.size", message.ByteSize())
        for path, value in fields(message, PASSED_ON if passed_on else TREE):
            if isinstance(value, bytes):
                self.put(f"{name}.{path}", value)
            else:
                self.number(f"{name}.{path}", value)

    def statement(self, sql: str) -> None:
        """A row was written: its numbers and its octets."""
        words = sql.split(None, 3)
        name = f"sql {' '.join(words[:3])}"[:40]
        self.number(f"{name}.size", len(sql))
        for blob in _BLOB.findall(sql):
            self.put(f"{name}.blob", bytes.fromhex(blob))
        for value in _NUMBER.findall(_BLOB.sub("", sql))[:8]:
            self.number(f"{name}.number", float(value))

    def elements(self, name: str, rows: bytes) -> None:
        """Elements were seen: each, and the relations of their order."""
        items = [rows[at : at + ROW] for at in range(0, len(rows), ROW)]
        for item in items[:16]:
            self.put(f"{name}.element", item)
        self.number(f"{name}.count", len(items))
        self.number(f"{name}.distinct", len(set(items)))
        self.number(f"{name}.rising", sum(a < b for a, b in pairwise(items)))
        self.number(f"{name}.least", items.index(min(items)) if items else -1)
        self.number(f"{name}.greatest", items.index(max(items)) if items else -1)

    def finished(self) -> tuple[dict[str, float], dict[str, int]]:
        """Every number, those derived included, and a fingerprint of every run of octets."""
        found = dict(self.numbers)
        found.update(self._times())
        for name, octets in self.octets.items():
            found.update(_shape(name, octets))
        found.update(self._relations())
        return found, {name: hash(octets) for name, octets in self.octets.items()}

    def _times(self) -> Iterator[tuple[str, float]]:
        """When each event came: since the first, since the one before, in which order, and how
        long it took from each landmark of a query to each other."""
        moments = sorted(self._moments, key=lambda item: item[1])
        if not moments:
            return
        first = before = moments[0][1]
        yield "time.phase", first * 1000 % 30
        for place, (name, moment) in enumerate(moments):
            yield f"{name}.since first", moment - first
            yield f"{name}.since last", moment - before
            yield f"{name}.place", place
            before = moment
        counts = Counter(name.partition("#")[0] for name, _ in moments)
        yield from ((f"{name}.events", count) for name, count in counts.items())
        marks = self._landmarks(moments)
        for number, (name, moment) in enumerate(marks):
            for later, then in marks[number + 1 :]:
                yield f"{name} to {later}", then - moment

    @staticmethod
    def _landmarks(moments: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """The first and the last of each kind of event but rows and lines, by name."""
        found: dict[str, float] = {}
        for name, moment in moments:
            kind = name.partition("#")[0]
            if kind[2:].startswith(("sql", "line")):
                continue
            found.setdefault(f"{kind} first", moment)
            found[f"{kind} last"] = moment
        return sorted(found.items())

    def records(self, kind: str, sizes: list[int]) -> None:
        """The sizes of one direction's records, whatever order they came in."""
        self.number(f"{kind}.total", sum(sizes))
        self.number(f"{kind}.records", len(sizes))
        for place, size in enumerate(sorted(sizes, reverse=True)[:6]):
            self.number(f"{kind}.largest {place}", size)

    def _relations(self) -> Iterator[tuple[str, float]]:
        """What the second query has in common with the first."""
        for name, octets in self.octets.items():
            if not name.startswith("2.") or len(octets) < 8:
                continue
            former = self.octets.get("1." + name[2:])
            if former is not None:
                yield f"{name}.again", former == octets
                yield f"{name}.alike", _alike(former, octets)
        first = {o for n, o in self.octets.items() if n.startswith("1.") and ".element" in n}
        second = {o for n, o in self.octets.items() if n.startswith("2.") and ".element" in n}
        yield "elements in common", len(first & second)


def fields(message: Message, derived: Container[tuple[str, str]]) -> Iterator[tuple[str, Any]]:
    """Every scalar of a message as a number or octets, with its path."""
    kind = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        items = value if field.is_repeated else [value]
        if field.is_repeated:
            yield f"{field.name}.count", len(items)
        if (kind, field.name) in derived:
            continue
        for place, item in enumerate(items):
            name = f"{field.name}[{place}]" if field.is_repeated else field.name
            inner = INNER.get((kind, field.name))
            if isinstance(item, Message) or inner is not None:
                nested = item if isinstance(item, Message) else inner.FromString(item)  # type: ignore[union-attr]
                yield f"{name}.size", nested.ByteSize()
                yield from ((f"{name}.{path}", value) for path, value in fields(nested, derived))
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield name, item.encode()
            else:
                yield name, item


def _shape(name: str, octets: bytes) -> Iterator[tuple[str, float]]:
    """Size, histogram, weight and both ends of octets."""
    yield f"{name}.length", len(octets)
    if not octets:
        return
    yield f"{name}.first", octets[0]
    yield f"{name}.last", octets[-1]
    yield f"{name}.ones", int.from_bytes(octets, "big").bit_count()
    if len(octets) >= 16:
        top = octets.translate(_TOP)
        yield from ((f"{name}.histogram[{n}]", top.count(n)) for n in range(8))


def _alike(one: bytes, other: bytes) -> int:
    """How many octets agree, place by place."""
    size = min(len(one), len(other))
    differing = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    return differing.to_bytes(size, "big").count(0)
