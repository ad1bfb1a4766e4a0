"""What a query brought home, printed in the format wanted."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fairlead.cli.output import (
    RowFormat,
    emit_csv,
    emit_json,
    emit_json_rows,
    emit_table,
    printable,
    say,
    wrapped,
)
from fairlead.cli.results import HIT_AS_SUGGESTED, MISSING, Result, summary
from fairlead.cli.telling import diagnosis, explanations

ROW_COLUMNS = (
    "row", "input", "scheme", "term", "result", "reason", "hits", "answered", "missing",
    "suggested",
)  # fmt: skip
FOLLOWED = 3
"""Hits whose next step is printed."""
SUMMARISED = 1_000
"""Rows from which on a table shows the hits alone, and counts the others."""


class RowStream:
    """Writes rows in their order, each once, as far as they cannot change any more."""

    def __init__(self, output: RowFormat) -> None:
        self._output = output
        self._next = 0

    def advance(self, result: Result, *, last: bool = False) -> None:
        """Write what is settled, or with ``last`` whatever there is."""
        stop = self._next
        while stop < result.row_count and (last or result.settled(stop)):
            stop += 1
        if self._output is RowFormat.CSV:
            heading = not self._next and (last or stop > 0)
            for start in range(self._next, max(stop, self._next + heading), SUMMARISED):
                part = range(start, min(stop, start + SUMMARISED))
                flat = [_flat(result.row(place)) for place in part]
                emit_csv(ROW_COLUMNS, flat, heading=heading and start == 0)
        else:
            for place in range(self._next, stop):
                emit_json(result.row(place))
        self._next = stop


def show(
    result: Result, output: RowFormat, receipts: Sequence[Path], stream: RowStream | None = None
) -> None:
    """Print a result: a line for each partner when terms were typed, for each row of a file.

    :param stream: which wrote some of the rows already.
    """
    if output in {RowFormat.NDJSON, RowFormat.CSV}:
        (stream or RowStream(output)).advance(result, last=True)
    elif result.rows or result.chunks > 1:
        _show_file(result, output, receipts)
    elif output is RowFormat.JSON:
        lines = [{k: v for k, v in line.items() if k != "chunk"} for line in result.partners]
        document = {
            "schema": 1,
            "query_id": result.query_id,
            "mode": "blind" if result.blind else "sealed",
            "partners": lines,
            "receipt": str(receipts[0]) if receipts else None,
        }
        emit_json(document)
    else:
        _show_lines(result)
    if output is RowFormat.TABLE:
        _explain(result)
    if output is RowFormat.TABLE and result.blind:
        _follow_up(result)
    if output is RowFormat.TABLE and receipts:
        named = " ".join(str(path) for path in receipts[:FOLLOWED])
        more = f" ({len(receipts) - FOLLOWED:,} more there)" if len(receipts) > FOLLOWED else ""
        say(f"receipt: {named}{more}\nnext: fairlead receipts verify {named}")
    if not result.complete and not result.held:
        known = {"query": result.query_id}
        say(diagnosis("this result is not complete", ["INCOMPLETE"], "", known))


def _explain(result: Result) -> None:
    """Why partners were not asked or gave no answer, and why rows were not, each code once."""
    about = [(line["reason"], line["partner"]) for line in result.partners if line["reason"]]
    about += [(code, "") for code in _row_codes(result) if code]
    for line in explanations(about, {"query": result.query_id}):
        say(line)


def _row_codes(result: Result) -> Iterable[str]:
    """The codes of a file's rows; packed ones are counted by code already."""
    counted = getattr(result.rows, "reasons", None)
    return counted() if callable(counted) else {row.reason for row in result.rows}


def _follow_up(result: Result) -> None:
    """What to do about blind hits, and what it would reveal."""
    hits = [
        (line["partner"], item)
        for line in result.partners
        for item in line["answers"]
        if item["hit"]
    ]
    leads = [(partner, item) for partner, item in hits if item["grade"] not in {"", "strong"}]
    hits = [found for found in hits if found not in leads]
    for partner, item in hits[:FOLLOWED]:
        say(
            f"next: fairlead ask {shlex.quote(printable(item['term']))} --scheme {item['scheme']} "
            f"--case {shlex.quote(result.case)} --purpose {result.purpose} "
            f"--to {printable(partner)} --mode sealed"
        )
    if hits:
        more = f" ({len(hits) - FOLLOWED} more hits)" if len(hits) > FOLLOWED else ""
        say(
            "that would show this partner the term, and the gateway that there was a hit; "
            f"where policy refuses it, call the contact desk{more}"
        )
    for partner, item in leads[:FOLLOWED]:
        say(
            f"{printable(partner)}: a {item['grade']} match is a lead, for the name is spelt "
            "otherwise there: a sealed question would find nothing; call the contact desk"
        )


def _show_file(result: Result, output: RowFormat, receipts: Sequence[Path]) -> None:
    if output is RowFormat.JSON:
        head = {
            "schema": 1,
            "query_id": result.query_id,
            "mode": "blind" if result.blind else "sealed",
            "complete": result.complete,
            "receipts": [str(path) for path in receipts],
        }
        emit_json_rows(head, result.each_row(), "rows")
        return
    many = result.row_count > SUMMARISED
    counted: Counter[str] = Counter()
    shown = []
    for row in result.each_row():
        counted[row["result"]] += 1
        if not many or row["result"] in {"hit", HIT_AS_SUGGESTED}:
            flat = _flat(row)
            shown.append([flat[column] or None for column in ROW_COLUMNS])
    emit_table(ROW_COLUMNS, shown)
    if many:
        said = ", ".join(f"{count:,} {word}" for word, count in sorted(counted.items()))
        say(f"{result.row_count:,} rows: {said}\nthe hits alone are shown: --output csv has all")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    def named(keep: Any) -> str:
        return " ".join(item["partner"] for item in row["partners"] if keep(item))

    return {
        **{column: row.get(column) for column in ROW_COLUMNS},
        "hits": named(lambda item: item.get("hit")),
        "answered": named(lambda item: item["status"] == "answered"),
        "missing": named(lambda item: item["status"] in MISSING),
        "suggested": "; ".join(
            f"{item['term']}: {item['result']}" for item in row.get("suggested", ())
        ),
    }


def _show_lines(result: Result) -> None:
    emit_table(
        ("partner", "result", "index age"),
        [(line["partner"], summary(line), _age(line["index_age_s"])) for line in result.partners],
    )
    for line in result.partners:
        for item in line["answers"]:
            show_hit(line["partner"], item, days=result.blind)


def show_hit(partner: str, item: dict[str, Any], *, days: bool = False) -> None:
    """One partner's records about one term, for a person; ``days``: no time of day is known."""
    if not item["hit"]:
        return
    desk = f"; contact {item['contact_desk']}" if item["contact_desk"] else ""
    sys.stdout.write(f"\n{printable(partner)} on {printable(item['term'])}{printable(desk)}\n")
    rows = [
        (
            _time(record["occurred_at"], days=days),
            record["event"] or record["type"],
            ", ".join(f"{name}={value}" for name, value in record["fields"].items()),
            ", ".join(record["withheld"]),
        )
        for record in item["records"]
    ]
    if rows:
        emit_table(
            ("time", "event", "fields", "withheld"), [line for row in rows for line in wrapped(row)]
        )
    if item["outside"]:
        say("the newest record lies outside the period or events asked; older ones may lie within")
    if item["more"]:
        say("more records may be disclosed: narrow with --since, --until or --event")


def _time(occurred_at: str | None, *, days: bool) -> str:
    if occurred_at is None:
        return "–"
    return occurred_at[:10] if days else occurred_at[:16].replace("T", " ") + "Z"


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
