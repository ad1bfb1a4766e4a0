"""``fairlead audit usage``: what was asked and answered, counted from the log alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.audit.exporting import UNCOVERED, items
from fairlead.cli.audit.selecting import (
    DirectoryOption,
    LogOption,
    SinceOption,
    TrustOption,
    UntilOption,
    keys_of,
    selection_of,
)
from fairlead.cli.options import ProfileOption, RowsOption, when
from fairlead.cli.output import RowFormat, awaited, emit_rows, emit_table, say
from fairlead.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from fairlead.auditing.export import Checker, Exported
    from fairlead.auditing.selection import Selection
    from fairlead.auditing.usage import Usage

COLUMNS = ("part", "of", "which", "count")


def usage(
    period: Annotated[
        str | None, typer.Option(help="A year, quarter or month in UTC, like 2026-Q4.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    export: Annotated[
        Path | None, typer.Option("--from", help="An export instead of your node's log.")
    ] = None,
    log: LogOption = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as a page into this new file.")
    ] = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """Count what was asked, by whom it was answered, and what was asked of you (role auditor).

    Counts alone, from verified leaves alone; the last 90 days unless you say otherwise.
    """
    from fairlead.auditing.export import Checker
    from fairlead.auditing.picture import page, with_bars
    from fairlead.auditing.usage import Usage

    wanted = _period(period, since, until)
    keys = keys_of(directory, trust, profile)
    ends = wanted.until_ms if until or period else 0  # until now, nothing can be of afterwards
    checker = Checker(since_ms=wanted.since_ms, until_ms=ends)
    counted = Usage(since_ms=wanted.since_ms, until_ms=wanted.until_ms)
    if export:
        _of_file(export, checker, counted)
    else:
        awaited(_of_log(log, profile, wanted, checker, counted))
    found = checker.finish(keys(checker.origin))
    lines = counted.lines()
    span = f"{when(wanted.since_ms // 1000)} to {when(wanted.until_ms // 1000)}"
    proof = _proof(found, counted.leaves)
    if html:
        _write(html, page(lines, log=found.origin, span=span, proof=proof))
    if output is RowFormat.TABLE:
        emit_table((*COLUMNS, ""), with_bars(lines))
    else:
        emit_rows([line.as_record() for line in lines], columns=COLUMNS, output=output)
    say(f"{span}\n{proof}\nno leaf says whether an answer was a hit, so no count does")
    if not found.covers:
        say(UNCOVERED)
    if not found.complete:
        say(
            "the export leaves leaves out, so these counts do too\n"
            "next: fairlead audit export FILE (without a filter)"
        )


def _period(period: str | None, since: str | None, until: str | None) -> Selection:
    from fairlead.auditing import usage as counts

    if period is None:
        return selection_of(since or "90d", until or "0m")
    if since or until:
        raise InvalidInput(
            "a period and its begin or end are not said together",
            reasons=("TIME",),
            remedy="fairlead audit usage --period 2026-Q4",
        )
    begin, end = counts.period(period)
    return replace(selection_of(), since_ms=begin, until_ms=end)


async def _of_log(
    log: Path | None, profile: Path | None, wanted: Selection, checker: Checker, counted: Usage
) -> None:
    async for item in items(log, profile, wanted):
        kind = item.WhichOneof("item")
        if kind == "start":
            checker.start(item.start)
        elif kind == "page":
            for one in item.page.leaves:
                _, leaf = checker.take(one)
                if leaf is not None:
                    counted.take(leaf)
        else:
            checker.checkpoint(item.checkpoint)


def _of_file(path: Path, checker: Checker, counted: Usage) -> None:
    from fairlead.auditing.export import open_export, read_lines

    with open_export(path) as file:
        for _, leaf in read_lines(file, checker):
            counted.take(leaf)


def _proof(found: Exported, leaves: int) -> str:
    return (
        f"verified: {leaves:,} leaves of {found.origin}, of its leaves {found.selection.first} to "
        f"{found.selection.stop - 1}, under its signed head of {found.head.size:,}"
    )


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        ) from None
    say(f"page: {path}")
