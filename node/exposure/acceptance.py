"""What was accepted: kept in the node's own log file, together with the leaf that says so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fairlead import storage
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured
from node.exposure.matrix import Channel, Exposure, Row, merged, row_document, row_of

MIGRATIONS = (
    "CREATE TABLE exposure (id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB NOT NULL)",
)
_READ = "SELECT document FROM exposure WHERE id = 1"
Kind = tuple[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """An exposure somebody accepted: ``accepted_at`` in unix seconds, ``sources`` name → digest."""

    digest: str
    by: str
    accepted_at: float
    rows: tuple[Row, ...]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, exposure: Exposure, *, by: str, now: float) -> Acceptance:
        """Accept all of an exposure."""
        return cls(
            digest=exposure.digest,
            by=by,
            accepted_at=now,
            rows=exposure.rows,
            sources=MappingProxyType({s.name: s.digest for s in exposure.sources}),
        )

    def document(self) -> bytes:
        """As kept."""
        content = {
            "schema": 1,
            "digest": self.digest,
            "by": self.by,
            "accepted_at": self.accepted_at,
            "rows": [row_document(row) for row in self.rows],
            "sources": dict(self.sources),
        }
        return json.dumps(content, sort_keys=True).encode("ascii")

    @classmethod
    def parse(cls, document: bytes) -> Acceptance:
        """Read it back.

        :raises Misconfigured: ``EXPOSURE_DAMAGED``; nothing counts as accepted.
        """
        try:
            content: dict[str, Any] = json.loads(document)
            if content["schema"] != 1:
                raise ValueError
            return cls(
                digest=str(content["digest"]),
                by=str(content["by"]),
                accepted_at=float(content["accepted_at"]),
                rows=tuple(row_of(row) for row in content["rows"]),
                sources=MappingProxyType({str(k): str(v) for k, v in content["sources"].items()}),
            )
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            raise Misconfigured(
                "what was accepted cannot be read",
                reasons=("EXPOSURE_DAMAGED",),
                remedy="fairlead-node exposure accept --by USER --config FILE",
            ) from None

    def persist(self) -> Callable[[sqlite3.Connection], None]:
        """For the transaction of the leaf."""
        document = self.document()

        def put(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO exposure VALUES (1, ?)", (document,))

        return put


def stored(log: AuditLog) -> Acceptance | None:
    """What an open log holds.

    :raises Misconfigured: ``EXPOSURE_DAMAGED``.
    """
    rows = log.read(_READ)
    return Acceptance.parse(rows[0][0]) if rows else None


def stored_in(path: Path) -> Acceptance | None:
    """What the log file at ``path`` holds, read beside the process that has it open.

    :raises Misconfigured: ``EXPOSURE_DAMAGED``, or the file cannot be read.
    """
    if not path.exists():
        return None
    with closing(storage.open_readonly(path)) as database:
        try:
            row = database.execute(_READ).fetchone()
        except sqlite3.OperationalError:  # an older node's log, without the table
            return None
    return Acceptance.parse(row[0]) if row else None


class Allowed:
    """The accepted rows, ready to be asked for every question."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._channels: dict[Channel, dict[Kind, list[Row]]] = {}
        for row in rows:
            kinds = self._channels.setdefault(row.channel, {})
            if row.record_type:
                kinds.setdefault(row.kind, []).append(row)

    def answers(self, channels: Collection[Channel]) -> bool:
        """Whether every one of these channels was accepted; of none nothing was."""
        return bool(channels) and all(channel in self._channels for channel in channels)

    def kinds(self, channels: Collection[Channel]) -> set[Kind]:
        """Which records were accepted for any of these channels."""
        return {kind for channel in channels for kind in self._channels.get(channel, {})}

    def row(self, channel: Channel, kind: Kind, approvals: int) -> Row | None:
        """The most accepted of one kind of record, where so many approvals come first."""
        rows = self._channels.get(channel, {}).get(kind, ())
        fitting = [row for row in rows if row.approvals <= approvals]
        most = None
        for row in fitting:
            most = row if most is None else merged(most, row)
        return most

    def missing(self, row: Row) -> Row | None:
        """The part of a row that goes beyond what was accepted; None when nothing does."""
        if row.channel not in self._channels:
            return row
        if not row.record_type:
            return None
        accepted = self.row(row.channel, row.kind, row.approvals)
        if accepted is None:
            return row
        beyond = tuple(facet for facet in row.facets if facet not in accepted.facets)
        longer = (row.max_records, row.retention_days)
        if beyond or row.max_records > accepted.max_records:
            return replace(row, facets=beyond)
        return replace(row, facets=beyond) if longer[1] > accepted.retention_days else None


def widened(exposure: Exposure, acceptance: Acceptance | None) -> tuple[Row, ...]:
    """What an exposure holds beyond what was accepted; all of it when nothing was."""
    allowed = Allowed(acceptance.rows if acceptance else ())
    return tuple(beyond for row in exposure.rows if (beyond := allowed.missing(row)) is not None)
