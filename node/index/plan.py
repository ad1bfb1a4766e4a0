"""What of a source has to be read, and whether what was read may replace what is held."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from node.index.source_state import PartState, SourceState
from node.index.stage import PartReading, Reading
from node.sources.incident import schema_changed, shrank
from node.sources.source import Part

WHOLE_S = 86_400
"""A part that only appends is read whole this often, because it cannot say what was deleted."""


def jobs(
    state: SourceState, parts: Sequence[Part], *, mapping: str, now: float, number: int
) -> list[PartReading]:
    """The parts to read, and those that are no more. Under another mapping, that is all of them.

    :param number: the first free number for a new part.
    """
    found: list[PartReading] = []
    for part in parts:
        known = state.parts.get(part.name)
        same = known is not None and state.mapping == mapping
        recent = known is not None and now - known.whole_at < WHOLE_S
        stands = same and known is not None and part.stamp and part.stamp == known.stamp
        if stands and (recent or not part.appends):
            continue
        if known is None:
            known, number = PartState(number=number), number + 1
        continued = same and part.appends and bool(known.cursor) and recent
        after = replace(known) if continued else PartState(number=known.number, whole_at=now)
        after.stamp, after.schema, after.records = part.stamp, part.schema, known.records
        after.first_expiry = min(known.first_expiry, after.first_expiry)
        found.append(PartReading(name=part.name, whole=not continued, state=after))
    here = {part.name for part in parts}
    return found + [
        PartReading(name=name, whole=True, complete=True, vanished=True, state=replace(old))
        for name, old in state.parts.items()
        if name not in here
    ]


def usable(reading: Reading, source: str, parts: Sequence[Part], mapping: str) -> bool:
    """Whether a reading that was interrupted can go on where it stopped.

    Not when a part in the middle of which it stopped has changed since, unless it appends.
    """
    if (reading.source, reading.mapping) != (source, mapping):
        return False
    here = {part.name: part for part in parts}
    for job in reading.parts:
        part = here.get(job.name)
        if job.vanished != (part is None):
            return False
        if part is None or job.complete or not job.staged or part.appends:
            continue
        if not part.stamp or part.stamp != job.state.stamp:
            return False
    return True


def changed_schema(state: SourceState, parts: Sequence[Part], mapping: str) -> bool:
    """Whether a part has other columns or types than when it was last read under this mapping."""
    known = state.parts if state.mapping == mapping else {}
    return any(
        part.name in known and schema_changed(known[part.name].schema, part.schema)
        for part in parts
    )


def lost_many(state: SourceState, reading: Reading) -> bool:
    """Whether a complete reading leaves the source with more than a fifth of its records gone."""
    after = state.records
    for job in reading.parts:
        if job.whole:
            after += job.staged - job.state.records
    return shrank(state.records, after)


def digest(parts: Sequence[Part], mapping: str) -> str:
    """Tells one state of a source from another; empty when a part cannot say if it changed."""
    if not all(part.stamp for part in parts):
        return ""
    text = repr([mapping, *((part.name, part.stamp) for part in parts)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
