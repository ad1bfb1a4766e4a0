"""A snapshot: the entries of one audience class, epoch and scheme, sorted by tag, in one file.

The file is nothing but entries (:mod:`fairlead.entries`, 96 octets each) in the order of their
tags, each tag once. How many there are, and the SHA-256 of it all, stands in the signed manifest
(:mod:`fairlead.envelope.manifest`). The manifest also states the RFC 6962 root over *pages* of
:data:`PAGE` entries, so that a few entries and a path prove what is in a snapshot, and what is not,
long after the rest was deleted. The number is a rung of :func:`padded_count`: fillers, which
nobody without the key tells from entries, hide how many terms the owner holds.

A reader maps the file and halves its way to a tag: 20 steps among a million, whatever is in
memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from operator import lt
from pathlib import Path

from fairlead import merkle
from fairlead.entries import ENTRY_SIZE, TAG_SIZE
from fairlead.errors import Forged, InvalidInput, Misconfigured

LEAST = 1_024
"""Entries of the smallest snapshot, and of one without any term."""
STEPS = 8
"""Rungs between a power of two and the next: at most an eighth of a snapshot is padding."""
MAX_ENTRIES = 2**32
DIGEST_SIZE = 32
PAGE = 16
"""Entries of a page. Every rung is a multiple of it."""
_PAGE_OCTETS = PAGE * ENTRY_SIZE
_READ = 1 << 20
_ROWS = 8_192
"""Entries that are checked, digested and written at once."""


def padded_count(terms: int) -> int:
    """The least rung that holds so many terms: 1,024, 1,152, 1,280 … 2,048, 2,304 …

    A rung is :data:`LEAST` or a number of four significant bits, so of the number of terms no
    more is told than that it lies in an interval of about an eighth of itself.
    """
    if terms <= LEAST:
        return LEAST
    step = 1 << ((terms - 1).bit_length() - STEPS.bit_length())
    return -(-terms // step) * step


def check_count(entries: int) -> None:
    """Whether so many entries are a rung.

    :raises InvalidInput: ``SNAPSHOT_COUNT``: none, or the owner would disclose its exact number.
    """
    if not LEAST <= entries <= MAX_ENTRIES or padded_count(entries) != entries:
        raise InvalidInput("a snapshot's size is not a rung", reasons=("SNAPSHOT_COUNT",))


def write_snapshot(path: Path, entries: Iterable[bytes]) -> bytes:
    """Write sorted entries beside ``path`` and put the whole in its place; the SHA-256 of it.

    Memory does not grow with the number of entries. A crash leaves ``path`` as it was.

    :raises InvalidInput: ``SNAPSHOT_ORDER``: not an entry, or two tags out of order or equal.
    :raises Misconfigured: ``SNAPSHOT_UNWRITABLE``.
    """
    unfinished, digest, last = path.with_name(path.name + ".new"), hashlib.sha256(), b""
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            left = iter(entries)
            while rows := list(islice(left, _ROWS)):
                tags = [row[:TAG_SIZE] for row in rows]
                ascending = all(map(lt, chain((last,), tags), tags))
                if {*map(len, rows)} != {ENTRY_SIZE} or not ascending:
                    raise InvalidInput("entries are not in order", reasons=("SNAPSHOT_ORDER",))
                last, octets = tags[-1], b"".join(rows)
                digest.update(octets)
                file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable() from None
        raise
    return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries of a snapshot in their order, and the path from them to its root of pages."""

    index: int
    octets: bytes
    path: tuple[bytes, ...]


class Snapshot:
    """An opened snapshot; :meth:`open` verified that it is the manifest's."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._count = len(content) // ENTRY_SIZE
        self._pages = merkle.Tree()

    @classmethod
    def open(cls, path: Path, *, entries: int, digest: bytes, pages_root: bytes = b"") -> Snapshot:
        """Open the file that a verified manifest describes.

        1. It has exactly so many entries.
        2. Its digest is the manifest's.
        3. Tags ascend, each once: what is there is found, and what is not found is not there.
        4. Its pages lead to the manifest's root, where that states one.

        :param pages_root: 32 octets, or none of an owner whose version states no root.
        :raises Forged: ``SNAPSHOT``: it is not that snapshot.
        :raises Misconfigured: ``SNAPSHOT_UNREADABLE``.
        """
        try:
            with path.open("rb") as file:
                # 1
                if os.fstat(file.fileno()).st_size != entries * ENTRY_SIZE or not entries:
                    raise _another()
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            raise Misconfigured(
                "a snapshot cannot be read", reasons=("SNAPSHOT_UNREADABLE",)
            ) from None
        snapshot = cls(content)
        try:
            # 2 and 3
            snapshot._verify(digest)
            # 4
            if pages_root not in (b"", snapshot.pages_root):
                raise _another()
        except BaseException:
            content.close()
            raise
        return snapshot

    def _verify(self, digest: bytes) -> None:
        computed, last = hashlib.sha256(), b""
        step = _READ // _PAGE_OCTETS * _PAGE_OCTETS
        for start in range(0, len(self._content), step):
            part = self._content[start : start + step]
            computed.update(part)
            for at in range(0, len(part), _PAGE_OCTETS):
                self._pages.append(merkle.leaf_hash(part[at : at + _PAGE_OCTETS]))
            for at in range(0, len(part), ENTRY_SIZE):
                tag = part[at : at + TAG_SIZE]
                if tag <= last:
                    raise _another()
                last = tag
        if computed.digest() != digest:
            raise _another()

    def __len__(self) -> int:
        return self._count

    @property
    def pages_root(self) -> bytes:
        """RFC 6962 root over its pages: 32 octets."""
        return self._pages.root()

    def prove(self, tag: bytes) -> tuple[Page, ...]:
        """The page a tag stands on, or the one or two between whose entries it would stand.

        :raises InvalidInput: ``TAG``, another length.
        """
        place = self._place(tag)
        pages = {place // PAGE, max(place - 1, 0) // PAGE}
        return tuple(self._page(index) for index in sorted(pages) if index < self._pages.size)

    def _page(self, index: int) -> Page:
        at = index * _PAGE_OCTETS
        path = self._pages.inclusion(index, self._pages.size)
        return Page(index=index, octets=self._content[at : at + _PAGE_OCTETS], path=tuple(path))

    def _place(self, tag: bytes) -> int:
        """How many entries have a lesser tag. :raises InvalidInput: ``TAG``, another length."""
        if len(tag) != TAG_SIZE:
            raise InvalidInput("a tag has 16 octets", reasons=("TAG",))
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            at = middle * ENTRY_SIZE
            if self._content[at : at + TAG_SIZE] < tag:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, tag: bytes) -> bytes | None:
        """The entry of 96 octets under a tag of 16; None when there is none.

        :raises InvalidInput: ``TAG``, another length.
        """
        low = self._place(tag)
        found = self._content[low * ENTRY_SIZE : (low + 1) * ENTRY_SIZE]
        return found if found[:TAG_SIZE] == tag else None

    def close(self) -> None:
        """Unmap the file."""
        self._content.close()


def pages_root_of(path: Path) -> bytes:
    """The root over the pages of a snapshot this node has just written.

    :raises Misconfigured: ``SNAPSHOT_UNREADABLE``.
    """
    tree = merkle.Tree()
    try:
        with path.open("rb") as file:
            while page := file.read(_PAGE_OCTETS):
                tree.append(merkle.leaf_hash(page))
    except OSError:
        raise Misconfigured("a snapshot cannot be read", reasons=("SNAPSHOT_UNREADABLE",)) from None
    return tree.root()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable() -> Misconfigured:
    return Misconfigured(
        "a snapshot cannot be written",
        reasons=("SNAPSHOT_UNWRITABLE",),
        remedy="make room under state_dir (df -h) and check its permissions (ls -ld)",
    )


def _another() -> Forged:
    return Forged(
        "a snapshot is not the one its manifest describes",
        reasons=("SNAPSHOT",),
        remedy="fetch it again; if it stays so, tell the owner's contact desk",
    )
