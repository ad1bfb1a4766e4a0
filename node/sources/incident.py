"""What may go wrong with a source that was read before, as a refresh has to act on it. Pure."""

from __future__ import annotations

from enum import StrEnum

from fairlead.errors import SourceUnusable

SHRINK_PERCENT = 20
"""A complete read that has lost more than this share of the rows is not believed by itself."""


class Incident(StrEnum):
    """Why a source's new content is not taken over; what was indexed before stays in use."""

    SOURCE_DOWN = "SOURCE_DOWN"
    """It cannot be reached or read; trying again later may help."""
    SCHEMA_CHANGED = "SCHEMA_CHANGED"
    """Its columns, or their types, are no longer those of the mapping or the last good read."""
    ROWS_SHRANK = "ROWS_SHRANK"
    """More than a fifth of its rows went away between two complete reads."""


_INCIDENTS = {
    "FILE_MISSING": Incident.SOURCE_DOWN,
    "FILE_UNREADABLE": Incident.SOURCE_DOWN,
    "SOURCE_DOWN": Incident.SOURCE_DOWN,
    "TIMEOUT": Incident.SOURCE_DOWN,
    "COLUMN_MISSING": Incident.SCHEMA_CHANGED,
    "HEADER": Incident.SCHEMA_CHANGED,
    "KEY_NOT_UNIQUE": Incident.SCHEMA_CHANGED,
    "SCHEMA_CHANGED": Incident.SCHEMA_CHANGED,
    "SHEET_MISSING": Incident.SCHEMA_CHANGED,
}


def incident_of(error: SourceUnusable) -> Incident | None:
    """The incident that an error of a source is; None when it is an owner's mistake to correct."""
    return _INCIDENTS.get(error.code)


def schema_changed(before: str, after: str) -> bool:
    """Whether two known fingerprints (:attr:`Part.schema`) of one part differ."""
    return bool(before and after and before != after)


def shrank(before: int, after: int) -> bool:
    """Whether a complete read of ``after`` rows lost more than a fifth of the last one's."""
    return (before - after) * 100 > SHRINK_PERCENT * before
