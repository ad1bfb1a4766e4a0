"""The register as plain JSON, for the owner alone; no reporter is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.exposure.document import moment
from node.register.book import Row, placed
from node.register.entry import Entry, Noun

COLUMNS: dict[Noun, tuple[str, ...]] = {
    Noun.REPORT: ("row", "id", "received", "kind", "place", "event", "modus", "feedback", "state"),
    Noun.ENQUIRY: ("row", "id", "opened", "report", "place", "closed", "state"),
    Noun.OUTCOME: ("row", "id", "on", "enquiry", "outcome", "place", "kg", "exchange", "state"),
}
"""What a table shows of each noun; JSON has everything."""
_ON = {Noun.REPORT: "received", Noun.ENQUIRY: "opened", Noun.OUTCOME: "on"}
_DONE = {Noun.REPORT: "feedback", Noun.ENQUIRY: "closed"}
_OF = {Noun.ENQUIRY: "report", Noun.OUTCOME: "enquiry"}
_NAMES = {"report-kind": "kind"}


def listed(rows: Sequence[Row], noun: Noun, *, revisions: bool) -> list[dict[str, Any]]:
    """The entries of a noun as they are now, or each row of them; a place is the inherited one."""
    known = {(row.entry.noun, row.entry.id): row for row in rows}
    now = [row for row in known.values() if row.entry.noun is noun]
    shown = [row for row in rows if row.entry.noun is noun] if revisions else now
    return [
        _record(
            row,
            placed(row.entry, known),
            current=row is known[row.entry.noun, row.entry.id],
        )
        for row in shown
    ]


def _record(row: Row, entry: Entry, *, current: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "row": row.number,
        "id": entry.id,
        "revision": row.revision,
        "recorded_at": moment(row.recorded_ms // 1000),
        "state": "withdrawn" if entry.withdrawn else "in force" if current else "corrected",
        _ON[entry.noun]: entry.on.isoformat(),
        **{_NAMES.get(name, name): code for name, code in sorted(entry.codes.items())},
    }
    if entry.noun in _DONE:
        found[_DONE[entry.noun]] = entry.done.isoformat() if entry.done else None
    if entry.noun in _OF:
        found[_OF[entry.noun]] = entry.of or None
    if entry.noun is Noun.REPORT:
        found["happened"] = entry.happened.isoformat() if entry.happened else None
        found["feedback_due"] = entry.due
    if entry.kg is not None:
        found["kg"] = entry.kg
    return found
