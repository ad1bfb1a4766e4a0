"""What owners published of their own figures, beside the log of the gateway that was told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from fairlead.auditlog import Also, AuditLog, Connection
from fairlead.certificates import Identity
from fairlead.cubes.cube import Cube
from fairlead.cubes.period import Period, Unit
from fairlead.cubes.registry import Registry
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Refused
from fairlead.leaves import LeafWriter
from fairlead.partners import SKEW_S, Directories
from fairlead.policy.cubes import CUBES, cubes_in
from fairlead.policy.live import LivePolicy
from fairlead.strategic.terms import version_at
from fairlead.strategic.waiver import Waiver, read_waiver, verify_waiver
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb

SUBJECT, WAIVED = "StatisticsService.PublishWaiver", "figures-waived"
MOST = 256
"""Figures of one cube and calendar year that a partner may publish: each is part of every audit."""
MIGRATIONS = (
    """
    CREATE TABLE figures_waiver (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        cube TEXT NOT NULL, layout TEXT NOT NULL, level TEXT NOT NULL, cell TEXT NOT NULL,
        measure TEXT NOT NULL, version INTEGER NOT NULL, partner_id TEXT NOT NULL,
        waiver BLOB NOT NULL, signature BLOB NOT NULL,
        UNIQUE (cube, layout, level, cell, measure, version, partner_id)
    ) STRICT
    """,
)
_COLUMNS = ("cube", "layout", "level", "cell", "measure", "version", "partner_id")
_SAME = " AND ".join(f"{name} = ?" for name in _COLUMNS)
_FIND = f"SELECT waiver FROM figures_waiver WHERE {_SAME}"  # noqa: S608
_COUNT = (
    "SELECT count(*) FROM figures_waiver "
    "WHERE cube = ? AND substr(cell, 1, 4) = ? AND partner_id = ?"
)


class WaiverShelf:
    """What an open log holds of them; a waiver goes with its leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def of_year(self, cube: str, year: str) -> list[Waiver]:
        """Those of the cells of a calendar year, in the order in which they came.

        :raises InvalidInput: WAIVER: one is unreadable, so that nothing may be decided.
        """
        rows = self._log.read(
            "SELECT waiver FROM figures_waiver WHERE cube = ? AND substr(cell, 1, 4) = ? "
            "ORDER BY position",
            (cube, year),
        )
        return [read_waiver(bytes(octets)) for (octets,) in rows]

    def has(self, waiver: Waiver) -> bool:
        """Whether the same is here, whenever it was signed.

        :raises Conflict: WAIVED_OTHERWISE: another value of the same share is.
        """
        return _has(self._log.read(_FIND, _key(waiver)), waiver)


class WaiverDesk:
    """Takes owners' waivers in."""

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        policy: LivePolicy,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._policy = policy
        self._clock = clock
        self._shelf = WaiverShelf(log)

    async def publish(
        self, request: pb.PublishWaiverRequest, peer: Identity
    ) -> pb.PublishWaiverResponse:
        """Take one owner's waiver in.

        1. It is canonical, and its own partner's node brings it.
        2. It is of a cube of the registry in force here, as it is laid out now; its owner signed
           it.
        3. Its figures are due: the unit is over, and the version is no later one.
        4. The same again changes nothing, and another value of the same share is refused: what is
           published is published.
        5. A partner publishes few of one cube and year.
        6. A leaf, durable in one transaction with the waiver. Whatever is decided from then on
           takes the share as known.

        :raises FairleadError: refused, with the refusal on the record.
        """
        try:
            # 1
            waiver = read_waiver(request.waiver.waiver)
            if peer.partner_id != waiver.partner:
                raise Forged("a waiver is brought by another node", reasons=("WRONG_PEER",))
            # 2
            registry = await asyncio.to_thread(self._registry)
            cube = registry.cube(waiver.cube)
            verify_waiver(
                request.waiver.waiver,
                request.waiver.signature,
                directory=self._directory.current,
                cube=cube,
            )
            # 3
            unit = self._due(waiver, cube)
            # 4
            if not self._shelf.has(waiver):
                # 5 and 6
                await self._log.append(
                    self._leaf(waiver, cube, unit), also=_put(waiver, request.waiver.signature)
                )
        except FairleadError as error:
            await self._refuse(error, peer)
            raise
        return pb.PublishWaiverResponse()

    def _registry(self) -> Registry:
        """Takes a moment the first time. :raises Misconfigured: CUBES_MISSING."""
        cubes = self._policy.current.cubes
        return cubes_in({CUBES: cubes} if cubes else {})

    def _due(self, waiver: Waiver, cube: Cube) -> Unit:
        """:raises InvalidInput: PERIOD_OPEN, RELEASE_VERSION, WAIVER_TIME."""
        now = self._clock()
        unit = cube.level(waiver.level).cell(waiver.cell).unit
        Period(unit, unit).check_closed(now)
        if waiver.version > version_at(unit, now):
            raise InvalidInput("figures of this version are not due", reasons=("RELEASE_VERSION",))
        if waiver.issued_at > now + SKEW_S:
            raise InvalidInput(
                "a waiver was not signed in the future",
                reasons=("WAIVER_TIME",),
                remedy="compare the clocks of the gateway and of this machine",
            )
        return unit

    def _leaf(self, waiver: Waiver, cube: Cube, unit: Unit) -> bytes:
        return self._leaves.figures(
            WAIVED,
            audit_pb2.FiguresLeaf(
                cube=cube.id,
                cube_version=cube.version,
                level=waiver.level,
                period=unit.spelling,
                version=waiver.version,
                statement_digest=hashlib.sha256(waiver.to_bytes()).digest(),
            ),
            partner_id=waiver.partner,
        )

    async def _refuse(self, error: FairleadError, peer: Identity) -> None:
        leaf = self._leaves.refusal(
            error, subject=SUBJECT, partner_id=peer.partner_id or "", user=peer.spiffe_id
        )
        await self._log.append(leaf)


def _put(waiver: Waiver, signature: bytes) -> Also:
    """For the transaction of its leaf.

    :raises Conflict: WAIVED_OTHERWISE. :raises Refused: WAIVER_LIMIT.
    """

    def put(connection: Connection) -> None:
        if _has(connection.execute(_FIND, _key(waiver)).fetchall(), waiver):
            return  # another call was quicker with the same: it has two leaves, and one row
        year = waiver.cell[:4]
        (many,) = connection.execute(_COUNT, (waiver.cube, year, waiver.partner)).fetchone()
        if many >= MOST:
            raise Refused(
                "this partner has published as many figures of this cube and year as one may",
                reasons=("WAIVER_LIMIT",),
                remedy="publish figures of coarser cells instead",
            )
        columns = ", ".join((*_COLUMNS, "waiver", "signature"))
        connection.execute(
            f"INSERT INTO figures_waiver ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (*_key(waiver), waiver.to_bytes(), signature),
        )

    return put


def _key(waiver: Waiver) -> tuple[str, str, str, str, str, int, str]:
    return (
        waiver.cube,
        waiver.layout,
        waiver.level,
        waiver.cell,
        waiver.measure,
        waiver.version,
        waiver.partner,
    )


def _has(rows: Sequence[tuple[Any, ...]], waiver: Waiver) -> bool:
    if rows and read_waiver(bytes(rows[0][0])).value != waiver.value:
        raise Conflict(
            "another value of this figure is published already",
            reasons=("WAIVED_OTHERWISE",),
            remedy="what is published stays; a later version of the figures may be published too",
        )
    return bool(rows)
