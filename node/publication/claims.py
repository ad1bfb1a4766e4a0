"""Which term speaks for a match key that several share: claims, sorted outside memory.

Persons whose names sound alike share keys, and a key has one entry. Every term claims its keys;
once all have, the claims come back key by key. What is written here is nothing but tokens, masked
times and prints, in a file of SQLite's own that has no name and goes with the process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Self

from node.publication.entries import unwritable
from node.publication.terms import Progress

CACHE_KIB = 16 * 1024
ROWS = 2_000
_TABLE = (
    "CREATE TABLE claim (place INTEGER NOT NULL, token BLOB NOT NULL, term BLOB NOT NULL, "
    "masked BLOB NOT NULL, record BLOB NOT NULL, print BLOB NOT NULL) STRICT"
)

_PLACE_SIZE = 4

Unmask = Callable[[bytes, bytes], int]
"""A time (unix seconds) from where it stands and what is written there."""


class Claim(NamedTuple):
    """One term's claim to one key of one target (``place``), and what the entry would be.

    ``token`` is the key's and ``term`` the term's own; ``masked`` is the time of the record that
    would speak, hidden, ``record`` that record's reference, ``print`` that of the payload.
    """

    place: int
    token: bytes
    term: bytes
    masked: bytes
    record: bytes
    print: bytes


def where_claimed(place: int, token: bytes, term: bytes) -> bytes:
    """Where the time of a claim stands, for :meth:`TermReader.mask`."""
    return place.to_bytes(_PLACE_SIZE, "big") + token + term


class Claims:
    """All claims of one build; a context manager.

    :raises Misconfigured: ``PUBLISH_UNWRITABLE``; any method.
    """

    def __init__(self) -> None:
        try:
            self._connection = sqlite3.connect("", isolation_level=None)
            self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._connection.execute("PRAGMA temp_store = FILE")
            self._connection.execute(_TABLE)
        except sqlite3.Error:
            raise unwritable() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, claims: Sequence[Claim]) -> None:
        """Put some in, in one transaction."""
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?)", claims)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            raise unwritable() from None

    def won(self, place: int, unmask: Unmask, progress: Progress) -> Iterator[Claim]:
        """The claim of each key of a target that prevails, in the order of the keys' tokens.

        The one with the newest record does; of records of one moment the one whose reference is
        greatest, and of one record the term whose token is.
        """

        def rank(claim: Claim) -> tuple[int, bytes, bytes]:
            where = where_claimed(claim.place, claim.token, claim.term)
            return unmask(where, claim.masked), claim.record, claim.term

        for _, claims in groupby(self._sorted(place, progress), key=attrgetter("token")):
            yield max(claims, key=rank)

    def _sorted(self, place: int, progress: Progress) -> Iterator[Claim]:
        count = "SELECT count(*) FROM claim WHERE place = ?"
        statement = "SELECT * FROM claim WHERE place = ? ORDER BY token"
        try:
            ((total,),) = self._connection.execute(count, (place,))
            cursor, done = self._connection.execute(statement, (place,)), 0
            for batch in iter(partial(cursor.fetchmany, ROWS), []):
                yield from map(Claim._make, batch)
                done += len(batch)
                progress(done, total)
        except sqlite3.Error:
            raise unwritable() from None
