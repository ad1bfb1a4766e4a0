"""A span of a log that proves itself: its leaves, and one signed head over all of them.

An export begins with the hashes that stand for everything before its first leaf, goes on with every
leaf in its place (the hash alone where it was not selected, or lies behind the span), and ends with
the smallest signed head that covers them. Whoever holds the log's public key computes the root
anew: a leaf that was changed, moved, dropped or added leads to another one. What a line says of a
leaf in words has to be what the leaf says.

As a file it is JSON lines: the start, a line for each place, the checkpoint. What this proves is
the span as it is in the log: that a hash given alone stands for nothing of interest, it does not
prove."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from google.protobuf.message import DecodeError

from fairlead import merkle, receipts
from fairlead.auditing.fields import values
from fairlead.auditing.reading import STEP, Read, damaged, leaf_of, number_of, rows
from fairlead.auditing.selection import Selection
from fairlead.errors import Forged, InvalidInput
from fairlead.v1 import audit_pb2
from fairlead.v1 import audit_reading_pb2 as pb

VERSION = 1
MARK = b'{"fairlead_audit_export":'
MAX_LINE = 1024 * 1024
"""Octets of a line: a leaf of 64 KiB, in base64 and in words."""
PAGE_OCTETS = 1024 * 1024


def responses(
    read: Read, selection: Selection, places: range, *, origin: str, frontier: Sequence[bytes]
) -> Iterator[pb.ExportLeavesResponse]:
    """A span as it travels. Times have said which places it has: of these no leaf is left out
    because of its time.

    :param frontier: of the leaves before it.
    :raises Forged: LOG_CORRUPTED: leaves or checkpoints are missing.
    """
    selected = replace(selection.among(places), since_ms=0, until_ms=0)
    start = pb.ExportStart(origin=origin, selection=selected.to_wire(), frontier=frontier)
    yield pb.ExportLeavesResponse(start=start)
    found = read(
        "SELECT size, note FROM checkpoint WHERE size >= ? ORDER BY size LIMIT 1", (places.stop,)
    )
    size, note = found[0] if found else (0, "")
    if not found or not isinstance(note, str) or number_of(size) < places.stop:
        raise damaged()
    for low in range(places.start, size, STEP):
        yield from _pages(read, selected, range(low, min(low + STEP, size)))
    yield pb.ExportLeavesResponse(checkpoint=note)


def _pages(read: Read, selected: Selection, step: range) -> Iterator[pb.ExportLeavesResponse]:
    hashes = read(
        "SELECT idx, hash FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
        (step.start, step.stop),
    )
    inside = range(step.start, min(step.stop, selected.stop))
    bodies = {row.index: row.body for row in rows(read, selected, inside)}
    page, octets = pb.ExportPage(), 0
    for (index, leaf_hash), expected in zip(hashes, step, strict=False):
        if index != expected or not isinstance(leaf_hash, bytes):
            raise damaged()
        body = bodies.get(index)
        octets += len(body or leaf_hash)
        page.leaves.append(
            pb.ExportedLeaf(hash=leaf_hash) if body is None else pb.ExportedLeaf(leaf=body)
        )
        if octets > PAGE_OCTETS:
            yield pb.ExportLeavesResponse(page=page)
            page, octets = pb.ExportPage(), 0
    if len(hashes) != len(step):
        raise damaged()
    if page.leaves:
        yield pb.ExportLeavesResponse(page=page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A verified export: the places shown, how many leaves are whole, and the head that proves it.

    ``complete``: every leaf of the span is there; none was left out by the selection. ``covers``:
    of the period that the checker was told, a leaf before it, or the log's beginning, and one
    after it, if it has an end, show that no other leaf of the log is in it.
    """

    origin: str
    selection: Selection
    leaves: int
    head: receipts.Head
    covers: bool

    @property
    def complete(self) -> bool:
        """See the class."""
        return self.leaves == self.selection.stop - self.selection.first


@dataclass(slots=True, kw_only=True)
class Checker:
    """Takes an export's pieces in their order; believe them once :meth:`finish` has returned."""

    known: Sequence[receipts.Head] = ()
    """Heads verified elsewhere; those that lie within the span must be this log's."""
    since_ms: int = 0
    until_ms: int = 0
    """The period that was wanted; 0: unbounded."""
    origin: str = ""
    selection: Selection = field(default_factory=Selection)
    leaves: int = 0
    _edges: dict[int, int] = field(default_factory=dict)
    """When the first and the last leaf of the span were written, as far as they are whole."""
    _tree: merkle.Frontier | None = None
    _checkpoint: str = ""

    def start(self, start: pb.ExportStart) -> None:
        """:raises InvalidInput: malformed, or a second start."""
        selection = Selection.from_wire(start.selection)
        if self._tree is not None or selection.stop < selection.first:
            raise _malformed()
        receipts.require_origin(start.origin)
        self.origin, self.selection = start.origin, selection
        self._tree = merkle.Frontier(selection.first, tuple(start.frontier))
        self._compare()

    def take(self, item: pb.ExportedLeaf) -> tuple[int, audit_pb2.AuditLeaf | None]:
        """The next place, and its leaf where it is shown.

        :raises InvalidInput: malformed, or out of its order. :raises Forged: not of the selection.
        """
        tree = self._tree
        if tree is None or self._checkpoint:
            raise _malformed()
        place, leaf = tree.size, None
        if item.WhichOneof("form") == "leaf":
            leaf = leaf_of(item.leaf)
            if place >= self.selection.stop or not self.selection.takes(leaf):
                raise _malformed()
            tree.append(merkle.leaf_hash(item.leaf))
            self.leaves += 1
            if place in (self.selection.first, self.selection.stop - 1):
                self._edges[place] = leaf.time_ms
        else:
            tree.append(item.hash)
        self._compare()
        return place, leaf

    def checkpoint(self, note: str) -> None:
        """:raises InvalidInput: there is one, or nothing begun."""
        if self._tree is None or self._checkpoint or not note:
            raise _malformed()
        self._checkpoint = note

    def finish(self, public_keys: Sequence[bytes]) -> Exported:
        """:raises Forged: EXPORT_FORGED: the leaves are not those that the log's head covers; or
        the head is not the log's. :raises InvalidInput: the end is missing."""
        if self._tree is None or not self._checkpoint:
            raise _malformed()
        signed = receipts.open_checkpoint_of(self._checkpoint, self.origin, public_keys)
        if (signed.size, signed.root) != (self._tree.size, self._tree.root()):
            raise _forged()
        if signed.size < self.selection.stop:
            raise _forged()
        head = receipts.Head(
            origin=self.origin, size=signed.size, root=signed.root, checkpoint=self._checkpoint
        )
        return Exported(
            origin=self.origin,
            selection=self.selection,
            leaves=self.leaves,
            head=head,
            covers=self._covers(),
        )

    def _covers(self) -> bool:
        """Whether the leaves at the ends of the span are of other times than those wanted. A clock
        may step, by less than what a span has beyond the period (:data:`reading.CLOCK_MS`). That a
        log ends here its head does not say: there may be a newer one."""
        first, last = self.selection.first, self.selection.stop - 1
        before = not first or self._edges.get(first, self.since_ms) < self.since_ms
        return before and self._edges.get(last, 0) >= self.until_ms

    def _compare(self) -> None:
        tree = self._tree
        for head in self.known:
            there = tree is not None and (head.origin, head.size) == (self.origin, tree.size)
            if tree is not None and there and head.root != tree.root():
                raise _forged()


def write(items: Iterator[pb.ExportLeavesResponse], file: BinaryIO, checker: Checker) -> None:
    """Write an export as JSON lines, and give ``checker`` each piece; finish that afterwards."""
    for item in items:
        file.writelines(lines(item, checker))


def lines(item: pb.ExportLeavesResponse, checker: Checker) -> Iterator[bytes]:
    """The lines of one piece, each given to ``checker`` before it is handed on."""
    kind = item.WhichOneof("item")
    if kind == "start":
        checker.start(item.start)
        yield _line(
            {
                "fairlead_audit_export": VERSION,
                "origin": item.start.origin,
                "selection": values(item.start.selection),
                "wire": _text(checker.selection.to_wire().SerializeToString()),
                "frontier": [_text(value) for value in item.start.frontier],
            }
        )
    elif kind == "page":
        for one in item.page.leaves:
            place, leaf = checker.take(one)
            yield _line(
                {"index": place, "hash": _text(one.hash)}
                if leaf is None
                else {"index": place, "leaf": _text(one.leaf), "says": values(leaf)}
            )
    elif kind == "checkpoint":
        checker.checkpoint(item.checkpoint)
        yield _line({"checkpoint": item.checkpoint})
    else:
        raise _malformed()


@contextmanager
def open_export(path: Path) -> Iterator[BinaryIO]:
    """:raises InvalidInput: EXPORT_FILE: it cannot be read."""
    try:
        file = path.open("rb")
    except OSError:
        raise _unreadable() from None
    with file:
        yield file


def read_lines(file: BinaryIO, checker: Checker) -> Iterator[tuple[int, audit_pb2.AuditLeaf]]:
    """Read an exported file: the leaves that are whole, each with its place.

    :raises InvalidInput: EXPORT_FILE: it is none, or was cut. :raises Forged: see
        :class:`Checker`, or EXPORT_FORGED: a line says of its leaf what that does not say.
    """
    start = _document(file.readline(MAX_LINE + 1))
    expected = {"fairlead_audit_export", "origin", "selection", "wire", "frontier"}
    if set(start) != expected or start["fairlead_audit_export"] != VERSION:
        raise _unreadable()
    checker.start(_start(start))
    if start["selection"] != values(checker.selection.to_wire()):
        raise _forged()
    while line := file.readline(MAX_LINE + 1):
        document = _document(line)
        if set(document) == {"checkpoint"} and isinstance(document["checkpoint"], str):
            checker.checkpoint(document["checkpoint"])
            continue
        place, leaf = checker.take(_item(document))
        if place != document.get("index") or isinstance(document["index"], bool):
            raise _forged()
        if leaf is not None:
            if document["says"] != values(leaf):
                raise _forged()
            yield place, leaf


def _start(document: Mapping[str, Any]) -> pb.ExportStart:
    frontier = document["frontier"]
    if not isinstance(document["origin"], str) or not isinstance(frontier, list):
        raise _unreadable()
    try:
        wire = audit_pb2.LeafSelection.FromString(_octets(document["wire"]))
    except (DecodeError, ValueError, RecursionError):
        raise _unreadable() from None
    return pb.ExportStart(
        origin=document["origin"], selection=wire, frontier=[_octets(value) for value in frontier]
    )


def _item(document: Mapping[str, Any]) -> pb.ExportedLeaf:
    if set(document) == {"index", "hash"}:
        return pb.ExportedLeaf(hash=_octets(document["hash"]))
    if set(document) == {"index", "leaf", "says"}:
        return pb.ExportedLeaf(leaf=_octets(document["leaf"]))
    raise _unreadable()


def _document(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line) if line.endswith(b"\n") and len(line) <= MAX_LINE else None
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise _unreadable()
    return found


def _line(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document) + b"\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _octets(text: object) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        data = None
    if data is None or _text(data) != text:
        raise _unreadable()
    return data


def _malformed() -> InvalidInput:
    return InvalidInput(
        "an export's pieces are not in their order",
        reasons=("EXPORT_FILE",),
        remedy="export it again: fairlead audit export FILE",
    )


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "this is no export of an audit log, or it was cut",
        reasons=("EXPORT_FILE",),
        remedy="export it again: fairlead audit export FILE",
    )


def _forged() -> Forged:
    return Forged(
        "the export is not what the log's signed head covers",
        reasons=("EXPORT_FORGED",),
        remedy="keep the file as evidence; over the log itself: fairlead audit verify FILE",
    )
