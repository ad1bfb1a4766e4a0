"""``fairlead audit list``: leaves that match, newest first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.audit.selecting import (
    CALL_S,
    LogOption,
    PartnerOption,
    PurposeOption,
    QueryOption,
    ReasonOption,
    SinceOption,
    TypeOption,
    UntilOption,
    UserOption,
    selection_of,
)
from fairlead.cli.options import ProfileOption, RowsOption, connect, when
from fairlead.cli.output import RowFormat, awaited, emit_rows, say

if TYPE_CHECKING:
    from fairlead.auditing.selection import Selection

COLUMNS = ("leaf", "time", "type", "partner", "user", "purpose", "says")
MOST = 10_000
SHORT = 100
"""Characters of what a leaf says in a table."""
Found = tuple[list[tuple[int, bytes]], int]
"""Index and octets of each leaf, and where to go on; 0 at the end."""


def list_leaves(
    since: SinceOption = None,
    until: UntilOption = None,
    type_: TypeOption = None,
    partner: PartnerOption = None,
    purpose: PurposeOption = None,
    user: UserOption = None,
    query: QueryOption = None,
    reason: ReasonOption = None,
    limit: Annotated[
        int, typer.Option(min=1, max=MOST, help="Leaves shown at most, the newest first.")
    ] = 100,
    before: Annotated[
        int | None, typer.Option(min=1, help="Only leaves before this one: the next page.")
    ] = None,
    log: LogOption = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """List leaves of your node's log, newest first (role auditor); the reading is on the record.

    With --log they are those of a file in your hands, which leaves no trace anywhere.
    """
    wanted = selection_of(since, until, type_, partner, purpose, user, query, reason)
    wanted = replace(wanted, stop=before or 0)
    found, rest = _of_file(log, wanted, limit) if log else awaited(_of_node(profile, wanted, limit))
    records = [_record(index, body, output) for index, body in found]
    if not records:
        say("no leaf matches\nnext: fairlead audit list")
    emit_rows(records, columns=COLUMNS, output=output)
    if rest:
        say(f"there are older ones\nnext: fairlead audit list … --before {rest}")


async def _of_node(profile: Path | None, wanted: Selection, limit: int) -> Found:
    from fairlead.v1 import audit_reading_pb2 as pb

    request = pb.ListLeavesRequest(selection=wanted.to_wire(), limit=limit)
    found: list[tuple[int, bytes]] = []
    rest = 0
    client, _, _ = connect(profile)
    async with client:
        async for page in client.auditor.ListLeaves(request, timeout=CALL_S):
            found += [(one.index, one.leaf) for one in page.leaves]
            rest = page.next
    return found, rest


def _of_file(path: Path, wanted: Selection, limit: int) -> Found:
    from fairlead.auditing import reading
    from fairlead.auditing.file import open_file

    found: list[tuple[int, bytes]] = []
    with open_file(path) as log:
        for rows in reading.newest_first(log.read, wanted, log.span(wanted)):
            found += [(row.index, row.body) for row in rows]
            if len(found) >= limit:
                break
    shown = found[:limit]
    return shown, shown[-1][0] if len(shown) == limit else 0


def _record(index: int, body: bytes, output: RowFormat) -> dict[str, Any]:
    from fairlead.auditing.fields import gist, type_word, values
    from fairlead.auditing.reading import leaf_of

    leaf = leaf_of(body)
    if output in {RowFormat.JSON, RowFormat.NDJSON}:
        return {"leaf": index, **values(leaf)}
    said = gist(leaf)
    return {
        "leaf": index,
        "time": when(leaf.time_ms // 1000),
        "type": type_word(leaf.type),
        "partner": leaf.partner_id,
        "user": leaf.user.rpartition("/")[2],
        "purpose": leaf.purpose,
        "says": said if len(said) <= SHORT or output is RowFormat.CSV else f"{said[:SHORT]}…",
    }
