"""What a gateway keeps of figures beside its log: questions, attempts, releases. All of it is out.

An attempt is the list of participants, quarter and cut-off with which a release's rounds began:
durable before anybody counts, because nodes say the same octets again on the same terms only. Of a
round nothing is kept, neither vectors nor sums: what was withheld is in no row. Several gateways
share it, and whoever comes second finds what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import merkle
from fairlead.auditlog import Also, AuditLog, Connection
from fairlead.budgets import DAY_S, moment
from fairlead.cubes.cube import Cube
from fairlead.errors import Conflict, NotFound, Refused
from fairlead.strategic.layout import layout_of, shape_of
from fairlead.summing import Release, Terms

MIGRATIONS = (
    """
    CREATE TABLE figures_question (
        question_id BLOB PRIMARY KEY, digest BLOB NOT NULL, partner_id TEXT NOT NULL,
        asked_by TEXT NOT NULL, time_s INTEGER NOT NULL,
        leaf_from INTEGER NOT NULL, leaf_hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX figures_question_of_user ON figures_question (asked_by, time_s);
    CREATE TABLE figures_attempt (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        cube TEXT NOT NULL, cube_version INTEGER NOT NULL, level TEXT NOT NULL,
        unit TEXT NOT NULL, version INTEGER NOT NULL, participants TEXT NOT NULL,
        quarter TEXT NOT NULL, cut_off INTEGER NOT NULL,
        UNIQUE (cube, cube_version, level, unit, version, participants)
    ) STRICT;
    CREATE TABLE figures_gathering (
        partner_id TEXT NOT NULL, day INTEGER NOT NULL, gathered INTEGER NOT NULL,
        PRIMARY KEY (partner_id, day)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE figures_leaf (
        release_digest BLOB PRIMARY KEY, leaf_from INTEGER NOT NULL, leaf_hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE figures_release (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        cube TEXT NOT NULL, cube_version INTEGER NOT NULL, level TEXT NOT NULL,
        unit TEXT NOT NULL, version INTEGER NOT NULL, layout TEXT NOT NULL,
        shape TEXT NOT NULL, release BLOB NOT NULL, books BLOB NOT NULL,
        UNIQUE (cube, layout, level, unit, version)
    ) STRICT
    """,
)
QUESTIONS_AN_HOUR = 120
"""Questions that one user may ask: a yearly pack is some thirty, and may be made again."""
NEW_A_DAY = 400
"""Times that the nodes are asked for a release on account of one partner in a UTC day, whether one
is made or not."""
HOUR_S = 3600
_KEY = "cube = ? AND cube_version = ? AND level = ? AND unit = ? AND version = ?"

Read = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]


class Overtaken(Exception):
    """Another gateway of the same log was quicker: what it wrote counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """With what the rounds of a release began. ``cut_off`` in unix seconds."""

    release: Release
    participants: tuple[str, ...]
    quarter: str
    cut_off: int

    @classmethod
    def of(cls, terms: Terms) -> Attempt:
        """What is kept of a release's terms; the registry has the rest."""
        return cls(
            release=terms.release,
            participants=terms.participants,
            quarter=terms.quarter,
            cut_off=terms.cut_off,
        )


class FiguresShelf:
    """What an open log holds of figures; changes go with a leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    # ── Questions ────────────────────────────────────────────────────────────────────────────

    def was_asked(self, question_id: bytes, digest: bytes) -> bool:
        """Whether the same question was asked before.

        :raises Conflict: QUERY_ID_REUSED: another one, under its id.
        """
        return _was_asked(self._log.read(_ASKED, (question_id,)), digest)

    def leaf_of(self, question_id: bytes) -> int:
        """The place of a question's leaf in the log."""
        rows = self._log.read(
            "SELECT idx FROM leaf, figures_question WHERE question_id = ? "
            "AND idx >= leaf_from AND hash = leaf_hash LIMIT 1",
            (question_id,),
        )
        if not rows:
            raise NotFound("the log has no such leaf", reasons=("LEAF_UNKNOWN",))
        return int(rows[0][0])

    def check_budgets(self, partner: str, user: str, *, new: int, now: float) -> None:
        """Say early what the transactions would say, of a question that has ``new`` units to be
        counted: both numbers hang on what was asked and what is out, never on a figure.

        :raises Refused: FIGURES_BUDGET.
        """
        _check_questions(self._log.read, user, now)
        _check_new(self._log.read, partner, new, now)

    # ── Releases ─────────────────────────────────────────────────────────────────────────────

    def frozen(self, release: Release, layout: str) -> tuple[bytes, str] | None:
        """The octets of a release that is out, and the shape of its cube: of whichever version had
        this layout, for a raised one goes on with it."""
        rows = self._log.read(
            "SELECT release, shape FROM figures_release "
            "WHERE cube = ? AND layout = ? AND level = ? AND unit = ? AND version = ?",
            (release.cube, layout, release.level, release.period, release.version),
        )
        return (bytes(rows[0][0]), str(rows[0][1])) if rows else None

    def books(self, release: Release) -> tuple[int, list[bytes]]:
        """The place of the last release of a cube in a release's calendar year, whatever version
        of the cube it is of, and what each added to its books, in order. Figures of other years
        add up to none of these."""
        rows = self._log.read(
            "SELECT position, books FROM figures_release WHERE cube = ? "
            "AND substr(unit, 1, 4) = ? ORDER BY position",
            (release.cube, release.period[:4]),
        )
        return (int(rows[-1][0]) if rows else 0), [bytes(row[1]) for row in rows]

    def leaf_of_release(self, digest: bytes) -> int | None:
        """The place in the log of the leaf of a release, by the release's digest."""
        rows = self._log.read(
            "SELECT idx FROM leaf, figures_leaf WHERE release_digest = ? "
            "AND idx >= leaf_from AND hash = leaf_hash LIMIT 1",
            (digest,),
        )
        return int(rows[0][0]) if rows else None

    # ── Attempts ─────────────────────────────────────────────────────────────────────────────

    def attempts(self, cube: str) -> list[Attempt]:
        """With what the rounds of a cube's releases began, the last ones first."""
        rows = self._log.read(
            "SELECT cube, cube_version, level, unit, version, participants, quarter, cut_off "
            "FROM figures_attempt WHERE cube = ? ORDER BY position DESC",
            (cube,),
        )
        return [_attempt(row) for row in rows]

    def last_attempt(self, release: Release) -> int:
        """The place of the last attempt at a release; 0 before there is any."""
        return _last_attempt(self._log.read, release)


def put_question(
    question_id: bytes,
    digest: bytes,
    *,
    partner: str,
    user: str,
    leaf: bytes,
    leaf_from: int,
    now: float,
) -> Also:
    """For the transaction of its leaf: it is asked now, for the first time.

    :raises Conflict: QUERY_ID_REUSED. :raises Refused: FIGURES_BUDGET.
    :raises Overtaken: the same one is asked already.
    """
    row = (question_id, digest, partner, user, int(now), leaf_from, merkle.leaf_hash(leaf))

    def put(connection: Connection) -> None:
        if _was_asked(connection.execute(_ASKED, (question_id,)).fetchall(), digest):
            raise Overtaken
        _check_questions(_reading(connection), user, now)
        connection.execute(_FORGET, (int(now) - HOUR_S,))
        connection.execute("INSERT INTO figures_question VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    return put


def put_gathering(partner: str, now: float) -> Also:
    """Count that all nodes are asked for a release, on the account of the partner that asks first.

    :raises Refused: FIGURES_BUDGET.
    """
    day = int(now) // DAY_S

    def put(connection: Connection) -> None:
        _check_new(_reading(connection), partner, 1, now)
        connection.execute("DELETE FROM figures_gathering WHERE day < ?", (day,))
        connection.execute(
            "INSERT INTO figures_gathering VALUES (?, ?, 1) ON CONFLICT (partner_id, day) "
            "DO UPDATE SET gathered = figures_gathering.gathered + 1",
            (partner, day),
        )

    return put


def put_attempt(attempt: Attempt, *, seeds: Collection[str], after: int) -> Also:
    """Keep with what a release's rounds begin; one that is kept already stays as it is, for as
    long as nodes have its quarter's seeds.

    :param seeds: the quarters of which they have them.
    :param after: the place of the last attempt at the release when its list was gathered.
    :raises Overtaken: another gateway of this log has begun since, with a list or as of a moment
        of its own: its terms are those to go on with.
    """
    listed = ",".join(attempt.participants)

    def put(connection: Connection) -> None:
        read = _reading(connection)
        if _last_attempt(read, attempt.release) != after:
            raise Overtaken
        known = read(
            f"SELECT quarter, cut_off FROM figures_attempt WHERE {_KEY} AND participants = ?",  # noqa: S608
            (*_key(attempt.release), listed),
        )
        if known and known[0][0] in seeds:
            if tuple(known[0]) != (attempt.quarter, attempt.cut_off):
                raise Overtaken
            return
        connection.execute(
            "INSERT INTO figures_attempt (cube, cube_version, level, unit, version, participants, "
            "quarter, cut_off) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (cube, cube_version, level, unit, version, participants) DO UPDATE "
            "SET quarter = excluded.quarter, cut_off = excluded.cut_off",
            (*_key(attempt.release), listed, attempt.quarter, attempt.cut_off),
        )

    return put


def put_release(release: Release, octets: bytes, *, cube: Cube, books: bytes, after: int) -> Also:
    """For the transaction of its leaf: it is out, for good.

    :param books: what it adds to the cube's. :param after: the place of the last release that it
        was judged by; see :meth:`FiguresShelf.books`.
    :raises Overtaken: there is a later one.
    """

    def put(connection: Connection) -> None:
        (last,) = connection.execute(
            "SELECT coalesce(max(position), 0) FROM figures_release WHERE cube = ? "
            "AND substr(unit, 1, 4) = ?",
            (release.cube, release.period[:4]),
        ).fetchone()
        if last != after:
            raise Overtaken
        connection.execute(
            "INSERT INTO figures_release (cube, cube_version, level, unit, version, layout, "
            "shape, release, books) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_key(release), layout_of(cube), shape_of(cube), octets, books),
        )

    return put


def put_leaf(digest: bytes, leaf: bytes, *, leaf_from: int) -> Also:
    """For the transaction of the leaf of a release: where it is found again."""

    def put(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO figures_leaf VALUES (?, ?, ?) ON CONFLICT (release_digest) DO UPDATE "
            "SET leaf_from = excluded.leaf_from, leaf_hash = excluded.leaf_hash",
            (digest, leaf_from, merkle.leaf_hash(leaf)),
        )

    return put


_FORGET = "UPDATE figures_question SET asked_by = '' WHERE asked_by > '' AND time_s <= ?"
"""Who asked stands in the log, for as long as its leaf does; here it is for the budget alone."""
_ASKED = "SELECT digest FROM figures_question WHERE question_id = ?"


def _was_asked(rows: Sequence[tuple[bytes]], digest: bytes) -> bool:
    if rows and rows[0][0] != digest:
        raise Conflict("this question id was used before", reasons=("QUERY_ID_REUSED",))
    return bool(rows)


def _key(release: Release) -> tuple[str, int, str, str, int]:
    return (
        release.cube,
        release.cube_version,
        release.level,
        release.period,
        release.version,
    )


def _attempt(row: tuple[Any, ...]) -> Attempt:
    cube, cube_version, level, unit, version, participants, quarter, cut_off = row
    return Attempt(
        release=Release(
            cube=cube, cube_version=cube_version, level=level, period=unit, version=version
        ),
        participants=tuple(participants.split(",")),
        quarter=quarter,
        cut_off=cut_off,
    )


def _reading(connection: Connection) -> Read:
    def read(sql: str, parameters: Sequence[object]) -> Sequence[tuple[Any, ...]]:
        return connection.execute(sql, parameters).fetchall()

    return read


def _check_questions(read: Read, user: str, now: float) -> None:
    ((asked,),) = read(
        "SELECT count(*) FROM figures_question WHERE asked_by = ? AND time_s > ?",
        (user, int(now) - HOUR_S),
    )
    if asked >= QUESTIONS_AN_HOUR:
        raise _used_up("questions of one user in an hour", QUESTIONS_AN_HOUR, now + HOUR_S)


def _check_new(read: Read, partner: str, new: int, now: float) -> None:
    today = int(now) // DAY_S
    rows = read(
        "SELECT gathered FROM figures_gathering WHERE partner_id = ? AND day = ?", (partner, today)
    )
    if new + sum(int(row[0]) for row in rows) > NEW_A_DAY:
        until = (today + 1) * DAY_S
        raise _used_up("times that nodes are asked for one partner", NEW_A_DAY, until)


def _last_attempt(read: Read, release: Release) -> int:
    ((last,),) = read(
        f"SELECT coalesce(max(position), 0) FROM figures_attempt WHERE {_KEY}",  # noqa: S608
        _key(release),
    )
    return int(last)


def _used_up(what: str, limit: int, until: float) -> Refused:
    return Refused(
        "too much is asked of figures",
        reasons=("FIGURES_BUDGET",),
        remedy=f"there may be {limit} {what}: ask again after {moment(until)}, or a shorter period",
    )
