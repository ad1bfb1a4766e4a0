"""What a node has said is kept before it leaves, and said again octet by octet.

Two things follow: a mask is never used for two vectors, and no list is served that together with
one served before would isolate a node, whoever is said to have dropped out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fairlead.errors import Conflict, Refused
from fairlead.summing.participants import ListTooClose, check_apart, list_digest
from fairlead.summing.release import Release, framed

MAX_LISTS = 2
"""Lists of one release: each has noise of its own, and noises are averaged away."""
MAX_LOOKS = 6
"""Sums that one record is in, over all levels, versions and lists of a cube: each has noise of its
own. A gateway sees them before they are rounded, and with scale 5 guesses a record right with
probability .593 from six and .608 from seven (the game ``looks`` of ``tests/attacks/statistics``).
Where one record may be in several measures, the scale is so many times larger (``measures`` there).
"""
VALUES = "values"
"""The kind of what is said with a list's figures in it."""


class LooksUsedUp(Refused):
    """This node has stated as many sums of a month's records as it ever does."""

    default_code = "FIGURES_USED_UP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A list that was served: of which release, and who reads it."""

    release: Release
    participants: tuple[str, ...]
    readers: tuple[str, ...]


class Store(Protocol):
    """Where it is kept. A write is durable before it returns, and nothing is ever replaced.

    All nodes of a partner use one. What is lost from it, as by restoring an older copy, would be
    said anew under the same masks: after that the partner needs a new mask key.
    """

    def exclusive(self) -> AbstractContextManager[None]:
        """While it is held nobody else reads or writes; an exception undoes what was written."""

    def served(self, cube: str) -> Sequence[Served]:
        """Every list served of a cube's releases, at any level, for any period, in any version."""

    def serve(self, served: Served) -> None:
        """Add one."""

    def kept(self, key: bytes) -> bytes | None:
        """What was kept under a key of 32 octets."""

    def keep(self, key: bytes, octets: bytes) -> None:
        """Keep it under a key that is not used yet."""


class ListKeeper:
    """A node's lists and what it said about them, over a :class:`Store`."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(self, wanted: Served) -> None:
        """Refuse a list that must not be served; one that was is always served again.

        Every level and every period that shares a month counts, because a total and its parts
        are sums of the same figures: for each month no lists may isolate fewer than three nodes.
        So does every version: most figures are the same in the next one, so a node that is gone
        in it would be the difference. Once values were said, no other list is served at all for
        their months: of the nodes by which two lists differ, one alone may have records.

        :raises ListTooClose: LIST_TOO_CLOSE.
        :raises LooksUsedUp: FIGURES_USED_UP: some month's records are in :data:`MAX_LOOKS` sums.
        """
        before = self._store.served(wanted.release.cube)
        self._check_settled(wanted)
        same = {s.participants for s in before if s.release == wanted.release}
        if wanted.participants in same:
            return
        if len(same) >= MAX_LISTS:
            raise ListTooClose(
                "a release was served with as many lists of participants as one may have",
                remedy="ask with a list served before, or wait for the release's next version",
            )
        for month in wanted.release.months:
            near = [served for served in before if month in served.release.months]
            if len({(s.release, s.participants) for s in near}) >= MAX_LOOKS:
                raise LooksUsedUp(
                    "this node states no further sums of this period's figures",
                    remedy="read what is released: fairlead stats list",
                )
            readers = {name for served in (wanted, *near) for name in served.readers}
            check_apart({wanted.participants, *(s.participants for s in near)}, readers)

    def _check_settled(self, wanted: Served) -> None:
        months = {*wanted.release.months}
        for served in self._store.served(wanted.release.cube):
            if served.participants == wanted.participants:
                continue
            if not months.isdisjoint(served.release.months) and self.has_said(served, VALUES):
                raise ListTooClose(
                    "figures of these months were stated for another list of participants",
                    remedy="ask once everybody of that list takes part again",
                )

    def serve(self, wanted: Served) -> None:
        """Judge a list, and from then on it was served.

        :raises ListTooClose, LooksUsedUp: see :meth:`judge`.
        """
        with self._store.exclusive():
            self.judge(wanted)
            if wanted not in self._store.served(wanted.release.cube):
                self._store.serve(wanted)

    def once(
        self, key: bytes, make: Callable[[], bytes], check: Callable[[], None] = lambda: None
    ) -> bytes:
        """What was kept under ``key``; the first time, what ``make`` gives, made unlocked.

        :param check: may refuse to keep it; nobody else keeps anything meanwhile.
        """
        kept = self._store.kept(key)
        if kept is None:
            made = make()
            with self._store.exclusive():
                kept = self._store.kept(key)
                if kept is None:
                    check()
                    self._store.keep(key, kept := made)
        return kept

    def said(self, wanted: Served, kind: str, context: bytes, make: Callable[[], bytes]) -> bytes:
        """What this node says of a kind for a release and list; always the same octets.

        :param context: 32 octets: what it is said about; the first time decides.
        :raises Conflict: ROUND_DIFFERS: it was said about something else.
        :raises ListTooClose: LIST_TOO_CLOSE: values of these months were said for another list.
        """
        key = _said(kind, wanted)
        kept = self.once(key, lambda: context + make(), lambda: self._check_settled(wanted))
        if kept[: len(context)] != context:
            raise Conflict(
                "this node has taken part in this round on other terms",
                reasons=("ROUND_DIFFERS",),
            )
        return kept[len(context) :]

    def frozen(self, release: Release, make: Callable[[], bytes]) -> bytes:
        """A release's figures: made once, whichever list asks first."""
        return self.once(_key("figures", release, b""), make)

    def has_said(self, wanted: Served, kind: str) -> bool:
        """Whether it has said anything of a kind."""
        return self._store.kept(_said(kind, wanted)) is not None


def _said(kind: str, wanted: Served) -> bytes:
    return _key(kind, wanted.release, list_digest(wanted.participants))


def _key(kind: str, release: Release, digest: bytes) -> bytes:
    octets = framed(kind.encode(), release.to_bytes(), digest)
    return hashlib.sha256(b"fairlead/v1/statistics-kept\x00" + octets).digest()
