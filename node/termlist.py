"""The terms and rows of one query, in the vault by page, so that nobody holds a million at once.

Pages are written, encrypted, while a draft's terms arrive; the last one waits in memory until the
query is signed, so that a query of one page costs no write of its own. What is never signed is
deleted with its draft, and at the latest when the node starts.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from fairlead.errors import Stale
from fairlead.v1 import asking_pb2 as pb
from node.vault import Vault

MIGRATIONS = (
    """
    CREATE TABLE term_list (
        list_id BLOB PRIMARY KEY,
        batch_id BLOB REFERENCES batch ON DELETE CASCADE,
        schemes BLOB NOT NULL,
        terms INTEGER NOT NULL,
        rows INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX term_list_batch ON term_list (batch_id);
    CREATE TABLE term_page (
        list_id BLOB NOT NULL REFERENCES term_list ON DELETE CASCADE,
        kind INTEGER NOT NULL,
        number INTEGER NOT NULL,
        page BLOB NOT NULL,
        PRIMARY KEY (list_id, kind, number)
    ) STRICT;
    """,
)
PAGE = 1024
"""Terms, or rows, of one page."""
_TERMS, _ROWS = 0, 1

Term = tuple[str, str]
"""Scheme and canonical value."""


@dataclass(slots=True, eq=False)
class TermList:
    """The terms of one draft or query, in order; ``schemes`` has how many each scheme has."""

    vault: Vault
    list_id: bytes
    schemes: Mapping[str, int]
    row_count: int
    octets: int = 0
    """Of its terms and rows, as far as anybody counted."""
    tails: dict[int, tuple[int, list[Any]]] = field(default_factory=dict)
    """The last page of terms and of rows, by kind: its number and content, while it is not in the
    vault yet."""
    _last: tuple[int, list[Term]] = (-1, [])

    def __len__(self) -> int:
        return sum(self.schemes.values())

    def __iter__(self) -> Iterator[Term]:
        for number in range(-(-len(self) // PAGE)):
            yield from self._terms(number)

    def part(self, start: int, stop: int) -> list[Term]:
        """The terms from ``start`` up to ``stop``."""
        found: list[Term] = []
        stop = min(stop, len(self))
        for number in range(start // PAGE, -(-stop // PAGE)):
            first = number * PAGE
            found += self._terms(number)[max(0, start - first) : stop - first]
        return found

    def pages(self) -> Iterator[pb.AskResponse.Page]:
        """Terms and rows as their user sees them."""
        for number in range(-(-max(len(self), self.row_count) // PAGE)):
            yield pb.AskResponse.Page(
                terms=[pb.Term(scheme=s, value=v) for s, v in self._terms(number)],
                rows=[pb.Row.FromString(row) for row in self._rows(number)],
            )

    def keep(self, connection: sqlite3.Connection, batch_id: bytes) -> None:
        """Keep it as long as its query; work for the transaction that keeps that.

        :raises Stale: its user went away meanwhile, and its pages with the draft.
        """
        for kind, (number, _) in self.tails.items():
            pages = "SELECT count(*) FROM term_page WHERE list_id = ? AND kind = ?"
            ((there,),) = connection.execute(pages, (self.list_id, kind))
            if there != number:
                raise Stale(
                    "this draft has ended", reasons=("PREPARATION_EXPIRED",), remedy="ask again"
                )
        _declare(connection, self, batch_id)
        for kind, (number, content) in self.tails.items():
            _put(connection, self.vault, self.list_id, kind, number, content)

    def _terms(self, number: int) -> list[Term]:
        known, page = self._last  # read once: another thread may be reading another page
        if known != number:
            page = [(scheme, value) for scheme, value in self._page(_TERMS, number)]
            self._last = (number, page)
        return page

    def _rows(self, number: int) -> list[bytes]:
        return [bytes.fromhex(row) for row in self._page(_ROWS, number)]

    def _page(self, kind: int, number: int) -> list[Any]:
        if kind in self.tails and self.tails[kind][0] == number:
            return self.tails[kind][1]
        rows = self.vault.read(
            "SELECT page FROM term_page WHERE list_id = ? AND kind = ? AND number = ?",
            (self.list_id, kind, number),
        )
        for (sealed,) in rows:
            page: list[Any] = orjson.loads(
                self.vault.unseal(sealed, b"terms", self.list_id, kind, number)
            )
            return page
        return []


@dataclass(slots=True)
class Spool:
    """Takes the terms and rows of one draft in as they come."""

    vault: Vault
    list_id: bytes
    octets: int = 0
    """Of all terms and rows so far."""
    terms: int = 0
    rows: int = 0
    _schemes: Counter[str] = field(default_factory=Counter)
    _open: dict[int, list[Any]] = field(default_factory=lambda: {_TERMS: [], _ROWS: []})
    _pages: dict[int, int] = field(default_factory=lambda: {_TERMS: 0, _ROWS: 0})

    @property
    def spilled(self) -> bool:
        """Whether something of it is in the vault."""
        return any(self._pages.values())

    async def add(self, terms: Sequence[Term], rows: Iterable[pb.Row]) -> None:
        """Take in what follows; durable page by page.

        :raises LogUnavailable: HISTORY_UNAVAILABLE.
        """
        packed = [row.SerializeToString().hex() for row in rows]
        self._schemes.update(scheme for scheme, _ in terms)
        self.octets += sum(len(value) for _, value in terms) + sum(map(len, packed)) // 2
        self.terms += len(terms)
        self.rows += len(packed)
        await self._fill(_TERMS, terms)
        await self._fill(_ROWS, packed)

    async def _fill(self, kind: int, items: Sequence[Any]) -> None:
        """Append, and write the full pages; one that is just full stays, as the last one may."""
        waiting = self._open[kind]
        waiting.extend(items)
        full: list[tuple[int, list[Any]]] = []
        while len(waiting) > PAGE:
            full.append((self._pages[kind] + len(full), waiting[:PAGE]))
            del waiting[:PAGE]
        if not full:
            return

        def work(connection: sqlite3.Connection) -> None:
            _declare(connection, self.done(), None)
            for number, content in full:
                _put(connection, self.vault, self.list_id, kind, number, content)

        await self.vault.write(work)
        self._pages[kind] += len(full)

    def done(self) -> TermList:
        """The list as it is now."""
        return TermList(
            vault=self.vault,
            list_id=self.list_id,
            schemes=dict(self._schemes),
            row_count=self.rows,
            octets=self.octets,
            tails={kind: (self._pages[kind], self._open[kind]) for kind in (_TERMS, _ROWS)},
        )


class TermLists:
    """The lists of one node's vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._drafts: set[bytes] = set()

    def spool(self) -> Spool:
        """A new list, which begins empty."""
        spool = Spool(self._vault, os.urandom(16))
        self._drafts.add(spool.list_id)
        return spool

    def of_batch(self, batch_id: bytes) -> TermList | None:
        """The terms of a query; None when an earlier version kept it."""
        rows = self._vault.read(
            "SELECT list_id, schemes, rows FROM term_list WHERE batch_id = ?", (batch_id,)
        )
        for list_id, schemes, count in rows:
            counted = orjson.loads(self._vault.unseal(schemes, b"schemes", list_id))
            return TermList(self._vault, bytes(list_id), counted, count)
        return None

    def settle(self, made: TermList) -> None:
        """A query keeps this list now: nothing of it need stay in memory."""
        made.tails = {}
        self._drafts.discard(made.list_id)

    async def drop(self, made: Iterable[TermList | Spool]) -> None:
        """Delete the lists of drafts that ended; what a query keeps stays."""
        gone = [one.list_id for one in made]
        self._drafts.difference_update(gone)
        if gone:
            await self.sweep()

    async def sweep(self) -> None:
        """Delete every list that no query and no living draft keeps, such as those of drafts that
        ended with the process they were made in."""
        rows = self._vault.read("SELECT list_id FROM term_list WHERE batch_id IS NULL")
        gone = [(bytes(i),) for (i,) in rows if bytes(i) not in self._drafts]
        if gone:
            delete = "DELETE FROM term_list WHERE list_id = ? AND batch_id IS NULL"
            await self._vault.write(lambda connection: connection.executemany(delete, gone))


def _declare(connection: sqlite3.Connection, made: TermList, batch_id: bytes | None) -> None:
    schemes = made.vault.seal(orjson.dumps(dict(made.schemes)), b"schemes", made.list_id)
    connection.execute(
        "INSERT INTO term_list VALUES (?, ?, ?, ?, ?) ON CONFLICT (list_id) DO UPDATE SET "
        "batch_id = excluded.batch_id, schemes = excluded.schemes, terms = excluded.terms, "
        "rows = excluded.rows",
        (made.list_id, batch_id, schemes, len(made), made.row_count),
    )


def _put(
    connection: sqlite3.Connection,
    vault: Vault,
    list_id: bytes,
    kind: int,
    number: int,
    content: Sequence[Any],
) -> None:
    page = vault.seal(orjson.dumps(content), b"terms", list_id, kind, number)
    connection.execute("INSERT INTO term_page VALUES (?, ?, ?, ?)", (list_id, kind, number, page))
