"""What every command-line program here does with its words.

Data goes to stdout and talk to stderr, so that ``fairlead … --output json | jq`` works while a
person reads along. Tables are drawn with rich on a terminal and as aligned columns elsewhere;
``NO_COLOR`` (https://no-color.org) is honoured. Text from other organisations passes through
:func:`printable` first, because a terminal obeys what it is shown.

:func:`run` turns whatever stops a program into diagnostics and one documented exit code. An
unexpected exception's text is not printed: it may hold a term. Imports are late, because
``--help`` must not pay for what it does not use.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum, StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

if TYPE_CHECKING:
    from fairlead.errors import FairleadError

REPLACED = "\N{REPLACEMENT CHARACTER}"
T = TypeVar("T")
MAX_TEXT = 2_000
"""Characters printed of one text from elsewhere."""


class Format(StrEnum):
    """``--output``."""

    TABLE = "table"
    JSON = "json"


class RowFormat(StrEnum):
    """``--output`` of commands whose data are rows."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class Exit(IntEnum):
    """Every exit code, for every program."""

    ANSWERED = 0  # whether hit or no hit
    INTERNAL = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_ENROLLED = 4
    REFUSED = 5
    PARTIAL = 7  # somebody could not be reached, or something is not proved
    CHECK_FAILED = 8
    HIT = 10  # only with --exit-code
    INTERRUPTED = 130
    BROKEN_PIPE = 141


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def printable(text: str, *, keep: str = "") -> str:
    """Replace everything that is not a visible character or a blank (except ``keep``).

    Stops escape sequences, bidirectional overrides and line forgery; cuts at :data:`MAX_TEXT`.
    """
    return "".join(
        char if char in keep or char.isprintable() else REPLACED for char in text[:MAX_TEXT]
    )


def say(text: str) -> None:
    """Talk to the person: stderr, newlines kept."""
    _write(sys.stderr, "\n".join(printable(line) for line in text.split("\n")))


def emit_json(value: object) -> None:
    """Write one JSON document and a newline to stdout, in ASCII, so that no terminal obeys it."""
    _write(sys.stdout, json.dumps(value, allow_nan=False))


def emit_json_rows(head: Mapping[str, object], rows: Iterable[object], name: str) -> None:
    """Write one JSON document whose last member, ``name``, is a list; one item at a time."""
    _write(sys.stdout, json.dumps(head, allow_nan=False)[:-1] + f', "{name}": [', end="")
    between = ""
    for row in rows:
        _write(sys.stdout, between + json.dumps(row, allow_nan=False), end="")
        between = ", "
    _write(sys.stdout, "]}")


def emit_csv(
    columns: Sequence[str], records: Iterable[Mapping[str, object]], *, heading: bool = True
) -> None:
    """Write records as CSV (RFC 4180), with a heading unless it was written.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it: other
    organisations' text is data.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if heading:
        writer.writerow(columns)
    for record in records:
        writer.writerow([_plain(record.get(column)) for column in columns])
    if text.getvalue():
        _write(sys.stdout, text.getvalue().removesuffix("\n"))


def _plain(cell: object) -> str:
    text = "" if cell is None else printable(str(cell))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def emit_rows(
    records: Sequence[Mapping[str, object]], *, columns: Sequence[str], output: RowFormat
) -> None:
    """Write the same records in any of the formats for rows."""
    if output is RowFormat.NDJSON:
        for record in records:
            emit_json(dict(record))
    elif output is RowFormat.CSV:
        emit_csv(columns, records)
    else:
        emit(records, columns=columns, output=Format(output.value))


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows to stdout; cells are made printable, ``None`` becomes ``–``."""
    cells = [["–" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _write(sys.stdout, _aligned([[column.replace("_", " ") for column in columns], *cells]))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in cells:
        table.add_row(*[Text(cell) for cell in row])  # Text: a cell's [markup] is not obeyed
    Console(file=sys.stdout, no_color=not colour(sys.stdout, os.environ)).print(table)


def wrapped(row: Sequence[str], width: int = 60) -> Iterator[tuple[str, ...]]:
    """One row as several, where a cell is longer than ``width``: broken at blanks only."""
    cells = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
        for cell in row
    ]
    yield from zip_longest(*cells, fillvalue="")


def emit(
    records: Sequence[Mapping[str, object]], *, columns: Sequence[str], output: Format
) -> None:
    """Write the same records as a JSON array or as a table of ``columns``."""
    if output is Format.JSON:
        emit_json([dict(record) for record in records])
    else:
        emit_table(columns, [[record.get(column) for column in columns] for record in records])


def colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether to colour: only a terminal, unless ``NO_COLOR`` is set or it is a dumb one."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _write(stream: TextIO, text: str, *, end: str = "\n") -> None:
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding) + end)
        stream.flush()
    except BrokenPipeError:  # the reader left, as `head` does; the CLI library would say 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(int(Exit.BROKEN_PIPE)) from None


# ── Endings ──────────────────────────────────────────────────────────────────────────────────


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end; asyncio is imported only once there is some."""
    import asyncio

    return asyncio.run(work)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call ``main`` and leave the process with its exit code; nothing escapes as a traceback."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except SystemExit:
        raise
    except BrokenPipeError:  # the reader of our stdout left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.BROKEN_PIPE
    except BaseException as error:
        if os.environ.get("FAIRLEAD_TRACEBACK") == "1":
            raise
        code = explain(error)
    sys.exit(int(code))


def explain(
    error: BaseException, *, correlation: Callable[[], str] = lambda: secrets.token_hex(8)
) -> Exit:
    """Write the diagnostics of what stopped the program to stderr; return its exit code."""
    import grpc

    from fairlead.errors import FairleadError

    show = getattr(error, "show", None)
    if callable(show) and hasattr(error, "format_message"):  # a usage error of the CLI library
        show()
        return Exit.USAGE
    cause = _cause(error, (KeyboardInterrupt, FairleadError, grpc.RpcError))
    if isinstance(cause, KeyboardInterrupt):
        say("interrupted")
        return Exit.INTERRUPTED
    if isinstance(cause, FairleadError):
        say(told(cause))
        return Exit(cause.exit_code)
    if isinstance(cause, grpc.RpcError):
        return _explain_call(cause)
    say(f"internal error, correlation {correlation()}")
    say("next: run it again with FAIRLEAD_TRACEBACK=1 and report it; the output may hold terms")
    return Exit.INTERNAL


def told(error: FairleadError) -> str:
    """An error's diagnostics as this person reads them; those of a kind of error that has more to
    say stay as they are, below what its code means."""
    from fairlead.cli.telling import diagnosis
    from fairlead.errors import FairleadError

    if type(error).diagnostics is not FairleadError.diagnostics:
        return f"error: {error.diagnostics()}"
    return diagnosis(error.message, error.reasons, error.remedy)


def _cause(error: BaseException, kinds: tuple[type[BaseException], ...]) -> BaseException:
    """Find the first error of these kinds inside (nested) exception groups."""
    if isinstance(error, BaseExceptionGroup):
        found = [_cause(inner, kinds) for inner in error.exceptions]
        return next((inner for inner in found if isinstance(inner, kinds)), error)
    return error


def _explain_call(error: BaseException) -> Exit:
    """A failed call: the server's own words when it gave a reason, else fixed ones."""
    metadata = _metadata(error)
    status = _status(error)
    reasons = metadata.get("fairlead-reason", "")
    if not reasons:
        say(f"error: the node did not answer [{status}]")
        say("next: check that it runs and that the endpoint and certificates are right")
        return _STATUS_EXITS.get(status, Exit.INTERNAL)
    from fairlead.cli.telling import diagnosis

    details = getattr(error, "details", lambda: "")
    codes = [code.strip() for code in printable(reasons).split(",")]
    remedy = printable(metadata.get("fairlead-remedy", ""))
    say(diagnosis(printable(str(details() or "refused")), codes, remedy))
    if correlation := metadata.get("fairlead-correlation"):
        say(f"correlation: {printable(correlation)}")
    own = _exits_by_reason().get(reasons.partition(",")[0].strip())
    return own or _STATUS_EXITS.get(status, Exit.INTERNAL)


def _status(error: BaseException) -> str:
    code = getattr(error, "code", lambda: None)()
    return str(getattr(code, "name", "UNKNOWN"))


def _metadata(error: BaseException) -> dict[str, str]:
    """Read trailing metadata; a key that comes twice is joined with a comma."""
    found: dict[str, str] = {}
    for key, value in getattr(error, "trailing_metadata", lambda: None)() or ():
        if isinstance(value, str):
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _exits_by_reason() -> dict[str, Exit]:
    """Map each error class's own code to its exit code."""
    from fairlead.errors import FairleadError

    exits: dict[str, Exit] = {}
    waiting = [FairleadError]
    while waiting:
        kind = waiting.pop()
        exits[kind.default_code] = Exit(kind.exit_code)
        waiting.extend(kind.__subclasses__())
    return exits


_STATUS_EXITS = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "NOT_FOUND": Exit.USAGE,
    "ALREADY_EXISTS": Exit.USAGE,
    "FAILED_PRECONDITION": Exit.USAGE,
    "OUT_OF_RANGE": Exit.USAGE,
    "UNAUTHENTICATED": Exit.NOT_ENROLLED,
    "PERMISSION_DENIED": Exit.REFUSED,
    "ABORTED": Exit.CHECK_FAILED,
    "UNAVAILABLE": Exit.PARTIAL,
    "DEADLINE_EXCEEDED": Exit.PARTIAL,
    "RESOURCE_EXHAUSTED": Exit.PARTIAL,
}
