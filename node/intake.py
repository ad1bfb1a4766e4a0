"""A question's terms and rows on their way in: read, counted, and spooled page by page.

The stream of one ``Prepare`` may bring a million terms; of them all, this keeps 16 octets each
while it lasts, to find what is asked twice, and one page.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from fairlead import identifiers
from fairlead.envelope.chunk import max_terms
from fairlead.errors import InvalidInput, Stale
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.termlist import PAGE, Spool, Term, TermList, TermLists

STREAM_S = 600
"""Seconds within which a question's terms are to come."""
MAX_ROWS = 1_048_576
"""Rows of one file of terms."""
MAX_ROW_TEXT = 64
MAX_SUGGESTED = 12
MAX_OCTETS = 128 * 1024 * 1024
"""Of terms and rows that one user's open streams may bring together."""
_DIGEST = 16


@dataclass(slots=True)
class _Seen:
    """Keyed digests of terms, 16 octets each, to find out whether one came twice."""

    _key: bytes = field(default_factory=lambda: os.urandom(32))
    _buckets: defaultdict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))

    def add(self, term: Term) -> None:
        data = "\x00".join(term).encode()
        found = blake2b(data, key=self._key, digest_size=_DIGEST).digest()
        self._buckets[found[0]] += found

    def twice(self) -> bool:
        for bucket in self._buckets.values():
            digests = {bytes(bucket[at : at + _DIGEST]) for at in range(0, len(bucket), _DIGEST)}
            if len(digests) * _DIGEST != len(bucket):
                return True
        return False


class Intake:
    """Reads questions as users' clients stream them."""

    def __init__(self, lists: TermLists) -> None:
        self._lists = lists
        self._octets: Counter[str] = Counter()

    async def take(
        self, requests: AsyncIterator[pb.PrepareRequest], user: str
    ) -> tuple[pb.PrepareRequest, TermList]:
        """Read one question to its end.

        :param user: whose it is: a pseudonym.
        :returns: its first message, without the terms and rows, and the list of all.
        :raises InvalidInput: TERM_COUNT, TERM_TWICE, ROWS, TOO_LARGE, LATER_FIELDS, or a term
            that is none. :raises Stale: STREAM_LATE. :raises LogUnavailable: no room for it.
        """
        spool = self._lists.spool()
        try:
            async with asyncio.timeout(STREAM_S):
                first = await self._read(requests, spool, user)
        except BaseException as error:
            await asyncio.shield(self._lists.drop([spool]))
            if isinstance(error, TimeoutError):
                raise Stale(
                    "the terms did not come within ten minutes; nothing was sent",
                    reasons=("STREAM_LATE",),
                    remedy="ask again",
                ) from None
            raise
        finally:
            self._octets[user] -= spool.octets
        return first, spool.done()

    async def _read(
        self, requests: AsyncIterator[pb.PrepareRequest], spool: Spool, user: str
    ) -> pb.PrepareRequest:
        first: pb.PrepareRequest | None = None
        seen, last_term = _Seen(), 0
        async for message in requests:
            if first is None:
                first = pb.PrepareRequest()
                first.CopyFrom(message)
                first.ClearField("terms")
                first.ClearField("rows")
            elif {item.name for item, _ in message.ListFields()} - {"terms", "rows"}:
                raise InvalidInput(
                    "a later message of a question holds more than terms and rows",
                    reasons=("LATER_FIELDS",),
                )
            last_term = max(last_term, _check_rows(message.rows))
            blind = first.mode == query_pb2.MODE_BLIND
            most = max_terms(first.mode or query_pb2.MODE_BLIND)
            for start in range(0, max(len(message.terms), len(message.rows)), PAGE):
                part = slice(start, start + PAGE)
                terms = [_term(term, blind=blind) for term in message.terms[part]]
                for term in terms:
                    seen.add(term)
                before = spool.octets
                try:
                    await spool.add(terms, message.rows[part])
                finally:  # what was broken off is taken off again too
                    self._octets[user] += spool.octets - before
                self._check_size(spool, user, most)
                await asyncio.sleep(0)
        if first is None or not spool.terms:
            raise _term_count(max_terms(query_pb2.MODE_BLIND))
        if last_term > spool.terms:
            raise _bad_rows()
        if await asyncio.to_thread(seen.twice):
            raise InvalidInput("a term is asked twice", reasons=("TERM_TWICE",))
        return first

    def _check_size(self, spool: Spool, user: str, most: int) -> None:
        if spool.terms > most:
            raise _term_count(most)
        if spool.rows > MAX_ROWS:
            raise _bad_rows()
        if self._octets[user] > MAX_OCTETS:
            raise InvalidInput(
                "the terms and rows that you are sending take too much room; nothing was sent",
                reasons=("TOO_LARGE",),
                remedy="send one file at a time, or split it",
            )


def _term(term: pb.Term, *, blind: bool) -> Term:
    """A term in its canonical form.

    :param blind: a wrong check digit may be asked as it stands: no partner sees the term.
    """
    try:
        return term.scheme, identifiers.parse(term.scheme, term.value).value
    except InvalidInput as error:
        if not blind or error.code != "CHECK_DIGIT":
            raise
        return term.scheme, identifiers.normalise(term.scheme, term.value).value


def _check_rows(rows: Sequence[pb.Row]) -> int:
    """The highest place of a term that these rows name.

    :raises InvalidInput: ROWS: too long, or with too much beside it.
    """
    sound = all(
        len(row.text) <= MAX_ROW_TEXT
        and len(row.reason) <= MAX_ROW_TEXT
        and len(row.suggested) <= MAX_SUGGESTED
        for row in rows
    )
    if not sound:
        raise _bad_rows()
    return max((max(row.term, *row.suggested, 0) for row in rows), default=0)


def _bad_rows() -> InvalidInput:
    return InvalidInput("the rows do not fit the terms", reasons=("ROWS",))


def check_count(terms: int, mode: int) -> None:
    """:raises InvalidInput: TERM_COUNT: more than one mandate of this mode may have."""
    if terms > max_terms(mode):
        raise _term_count(max_terms(mode))


def _term_count(most: int) -> InvalidInput:
    return InvalidInput(
        "a query has no term, or more than one signature may ask; policy allows fewer",
        reasons=("TERM_COUNT",),
        remedy=f"ask 1 to {most:,} terms at once: fairlead ask --help",
    )
