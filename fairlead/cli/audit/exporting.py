"""``fairlead audit export``: a span of leaves in a file that proves itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fairlead.cli.audit.selecting import (
    DirectoryOption,
    LogOption,
    PartnerOption,
    PurposeOption,
    QueryOption,
    ReasonOption,
    SinceOption,
    TrustOption,
    TypeOption,
    UntilOption,
    UserOption,
    among,
    keys_of,
    selection_of,
)
from fairlead.cli.options import OutputOption, ProfileOption, connect
from fairlead.cli.output import Format, awaited, emit, say
from fairlead.errors import Conflict

if TYPE_CHECKING:
    from fairlead.auditing.export import Exported
    from fairlead.auditing.selection import Selection
    from fairlead.v1 import audit_reading_pb2 as pb

COLUMNS = ("log", "first", "last", "leaves", "complete", "log_size", "root")
EXPORT_S = 600.0
UNCOVERED = (
    "no leaf of before or after the period stands at an end of this span: that these are all of "
    "its leaves is the word of whoever keeps the log\n"
    "next: fairlead audit export FILE --leaves 0-   (without a filter)"
)
LeavesOption = Annotated[
    str | None, typer.Option("--leaves", help="Span of leaves: A-B, or A- to the end.")
]


def export_leaves(
    file: Annotated[Path, typer.Argument(help="The file to write (JSON lines).")],
    since: SinceOption = None,
    until: UntilOption = None,
    leaves: LeavesOption = None,
    type_: TypeOption = None,
    partner: PartnerOption = None,
    purpose: PurposeOption = None,
    user: UserOption = None,
    query: QueryOption = None,
    reason: ReasonOption = None,
    log: LogOption = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a span of your node's log and its proof into a file, verified while it is written.

    The leaves that match are whole; the others of the span are there as hashes, so that the log's
    signed head covers every place. The reading is on the record.
    """
    from fairlead.auditing.export import Checker, lines

    wanted = among(selection_of(since, until, type_, partner, purpose, user, query, reason), leaves)
    keys = keys_of(directory, trust, profile)
    checker = Checker(since_ms=wanted.since_ms, until_ms=wanted.until_ms)

    async def run(out: BinaryIO) -> Exported:
        async for item in items(log, profile, wanted):
            out.writelines(lines(item, checker))
        return checker.finish(keys(checker.origin))

    with _new(file) as out:
        found = awaited(run(out))
    told = record(found) | {"covers_period": covers(found, wanted, leaves)}
    emit([told], columns=(*COLUMNS, "covers_period"), output=output)
    if told["covers_period"] is False:
        say(UNCOVERED)
    say(f"next: fairlead audit verify {file}")


def covers(found: Exported, wanted: Selection, leaves: str | None) -> bool | None:
    """Whether it shows all leaves of the period asked for; None where none was, or places were
    named too."""
    timed = bool(wanted.since_ms or wanted.until_ms) and leaves is None
    return found.covers if timed else None


async def items(
    log: Path | None, profile: Path | None, wanted: Selection
) -> AsyncIterator[pb.ExportLeavesResponse]:
    """The pieces of a span: of a log's file, or of the own node's log."""
    from fairlead.v1 import audit_reading_pb2 as pb

    if log is not None:
        for item in _of_file(log, wanted):
            yield item
        return
    client, _, _ = connect(profile)
    async with client:
        request = pb.ExportLeavesRequest(selection=wanted.to_wire())
        async for item in client.auditor.ExportLeaves(request, timeout=EXPORT_S):
            yield item


def record(found: Exported) -> dict[str, object]:
    """A verified export, for printing."""
    return {
        "log": found.origin,
        "first": found.selection.first,
        "last": found.selection.stop - 1,
        "leaves": found.leaves,
        "complete": found.complete,
        "log_size": found.head.size,
        "root": found.head.root.hex(),
    }


def _of_file(path: Path, wanted: Selection) -> Iterator[pb.ExportLeavesResponse]:
    from fairlead.auditing.export import responses
    from fairlead.auditing.file import open_file

    with open_file(path) as log:
        places = log.span(wanted)
        yield from responses(
            log.read, wanted, places, origin=log.origin, frontier=log.frontier(places.start)
        )


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that is there whole, or not at all."""
    fresh = path.with_name(f"{path.name}.part")
    if path.exists():
        raise Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        )
    try:
        with fresh.open("wb") as out:
            fresh.chmod(0o600)
            yield out
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
