"""What a query brought home: gathered from its events, and printed in the format wanted."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.cli.options import iso
from fairlead.cli.output import (
    Exit,
    RowFormat,
    emit_csv,
    emit_json,
    emit_table,
    printable,
    say,
    wrapped,
)

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

CHUNK, BLIND_CHUNK = 512, 1024
"""Terms in one chunk of a sealed query and of a blind one."""
BLIND = 2
"""The wire's number of the mode."""
FOLLOWED = 3
"""Hits whose next step is printed."""
STATUS_WORDS = {
    1: "answered",
    2: "refused",
    3: "not asked",
    4: "unreachable",
    5: "timeout",
    6: "overloaded",
    7: "invalid",
    8: "lost",
}
MISSING = {"unreachable", "timeout", "overloaded", "invalid", "lost"}
ROW_COLUMNS = ("row", "input", "scheme", "term", "result", "reason", "hits", "answered", "missing")


@dataclass(slots=True)
class Result:
    """What one query brought home, ready to be printed. ``partners`` has a line for each partner
    and chunk; ``done`` are the chunks that have their last line."""

    query_id: str = ""
    mode: int = 0
    case: str = ""
    purpose: str = ""
    terms: Sequence[asking_pb2.Term] = ()
    rows: Sequence[asking_pb2.Row] = ()
    partners: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[asking_pb2.Evidence] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    @property
    def blind(self) -> bool:
        """Whether no partner learnt the terms."""
        return self.mode == BLIND

    @property
    def chunk(self) -> int:
        """Terms in each chunk but the last one."""
        return BLIND_CHUNK if self.blind else CHUNK

    @property
    def chunks(self) -> int:
        """How many chunks the terms make."""
        return -(-len(self.terms) // self.chunk)

    @property
    def complete(self) -> bool:
        """Every chunk has its last line: nothing is left out at the end."""
        return self.done >= set(range(self.chunks))

    def add(self, line: dict[str, Any]) -> None:
        """Take in a partner's line about a chunk, in place of an earlier one."""
        key = (line["chunk"], line["partner"])
        self.partners = [old for old in self.partners if (old["chunk"], old["partner"]) != key]
        self.partners.append(line)

    def exit_code(self, *, on_hit: bool) -> Exit:
        """FACTS, CLI: partial before refused before hit."""
        if not self.complete:
            return Exit.PARTIAL
        words = {line["status"] for line in self.partners}
        if words & MISSING:
            return Exit.PARTIAL
        if words <= {"refused", "not asked"}:
            return Exit.REFUSED
        hit = any(line.get("hits") for line in self.partners)
        return Exit.HIT if on_hit and hit else Exit.ANSWERED

    def by_row(self) -> list[dict[str, Any]]:
        """One record for each row of the file, or for each term typed, in order."""
        lines = _by_chunk(self.partners)
        rows = [(row.text, row.term, row.reason) for row in self.rows]
        rows = rows or [(term.value, place, "") for place, term in enumerate(self.terms, start=1)]
        return [
            self._row(number, text, term, reason, lines)
            for number, (text, term, reason) in enumerate(rows, start=1)
        ]

    def _row(
        self,
        number: int,
        text: str,
        term: int,
        reason: str,
        lines: dict[int, list[dict[str, Any]]],
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"row": number, "input": text, "scheme": None, "term": None}
        if not term:
            return {**row, "result": "not asked", "reason": reason, "partners": []}
        asked, (chunk, place) = self.terms[term - 1], divmod(term - 1, self.chunk)
        partners = [_of_term(line, place) for line in lines.get(chunk, ())]
        result = _result(partners, done=chunk in self.done)
        row |= {"scheme": asked.scheme, "term": asked.value}
        return {**row, "result": result, "reason": "", "partners": partners}


def _by_chunk(lines: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: str(line["partner"])):
        found.setdefault(line["chunk"], []).append(line)
    return found


def _of_term(line: dict[str, Any], place: int) -> dict[str, Any]:
    """One partner's line about one term."""
    said = line["answers"][place] if place < len(line["answers"]) else {}
    known = {key: value for key, value in said.items() if key not in {"scheme", "term"}}
    head = {key: line[key] for key in ("partner", "status", "reason", "index_age_s")}
    return {**head, **known}


def _result(partners: Sequence[dict[str, Any]], *, done: bool) -> str:
    """One word for a row; "no hit" only when nothing is missing."""
    if any(partner.get("hit") for partner in partners):
        return "hit"
    words = {partner["status"] for partner in partners}
    if not done or words & MISSING:
        return "incomplete"
    return "refused" if words <= {"refused", "not asked"} else "no hit"


# ── Gathering ────────────────────────────────────────────────────────────────────────────────


async def gather(
    events: AsyncIterator[asking_pb2.AskResponse], result: Result, *, live: bool
) -> Result:
    """Take in every event; ``live`` says each partner's line as it comes."""
    started = time.monotonic()
    async for event in events:
        kind = event.WhichOneof("event")
        if kind == "batch":
            _begin(result, event.batch)
        elif kind == "partner":
            line = line_of(event.partner, result.terms, result.chunk)
            result.add(line)
            if live and result.chunks == 1:
                took = time.monotonic() - started
                say(f"  {took:5.2f} s  {line['partner']:<16} {printable(summary(line))}")
        elif kind == "evidence":
            result.evidence.append(event.evidence)
        elif kind == "done":
            result.done.add(event.done.chunk)
            _progress(result, time.monotonic() - started)
    result.partners.sort(key=lambda line: (line["chunk"], str(line["partner"])))
    return result


def _begin(result: Result, batch: asking_pb2.AskResponse.Batch) -> None:
    result.query_id, result.mode = batch.summary.query_id.hex(), batch.summary.mode
    result.case, result.purpose = batch.summary.case_id, batch.summary.purpose
    if not result.terms:
        result.terms, result.rows = list(batch.terms), list(batch.rows)
    if result.chunks > 1 or result.rows:
        say(
            f"query {result.query_id}\n"
            f"if this is interrupted: fairlead queries resume {result.query_id}"
        )


def _progress(result: Result, took: float) -> None:
    if result.chunks < 2 or took <= 0:
        return
    asked = min(len(result.done) * result.chunk, len(result.terms))
    rate = asked / took
    left = (len(result.terms) - asked) / rate
    say(f"  {asked:,} of {len(result.terms):,} terms, {rate:,.0f} a second, {left:,.0f} s left")


def line_of(
    answer: asking_pb2.OpenedAnswer, terms: Sequence[asking_pb2.Term], size: int = CHUNK
) -> dict[str, Any]:
    """One partner's line about one chunk of ``size`` terms."""
    first = answer.chunk * size
    answers = [
        {
            **_named(terms, first + item.index),
            "hit": item.hit,
            "count": item.count_band,
            "contact_desk": item.contact_desk,
            "records": [_record(record) for record in item.records],
            "more": item.more,
            "grade": item.grade,
            "outside": item.outside,
        }
        for item in answer.answers
    ]
    answered = answer.status == 1
    return {
        "partner": answer.partner_id,
        "chunk": answer.chunk,
        "status": STATUS_WORDS.get(answer.status, "invalid"),
        "reason": answer.reason,
        "index_age_s": answer.index_age_s if answered else None,
        "paused_s": max(0, int(time.time()) - answer.paused_since) if answer.paused_since else None,
        "hits": sum(bool(item["hit"]) for item in answers),
        "answers": answers,
    }


def _named(terms: Sequence[asking_pb2.Term], place: int) -> dict[str, str]:
    if place >= len(terms):
        return {"scheme": "", "term": ""}
    return {"scheme": terms[place].scheme, "term": terms[place].value}


def _record(record: Any) -> dict[str, Any]:
    from fairlead.v1.handling_pb2 import Pap, Tlp

    return {
        "type": record.record_type,
        "event": record.event,
        "occurred_at": iso(record.occurred_at),
        "fields": {item.name: item.value for item in record.fields},
        "withheld": list(record.withheld),
        "handling": {
            "tlp": word(Tlp, record.handling.tlp, "TLP_"),
            "pap": word(Pap, record.handling.pap, "PAP_"),
            "europol": record.handling.europol,
            "source": record.handling.source_grade,
            "information": record.handling.information_grade,
        },
        "ref": record.ref.hex(),
    }


def word(kind: Any, value: int, prefix: str) -> str:
    """The word of a wire enum; a number without one is unspecified."""
    return str(kind.Name(value if value in kind.values() else 0)).removeprefix(prefix)


def summary(line: dict[str, Any]) -> str:
    """A partner's line in a few words."""
    if line["status"] != "answered":
        paused = line.get("paused_s")
        lasting = f", for {_span(paused)}" if paused is not None else ""
        return f"{line['status']} {line['reason']}".rstrip() + lasting
    if not line["hits"]:
        return "no hit"
    said = [item["count"] or item["grade"] for item in line["answers"] if item["hit"]]
    return f"HIT {', '.join(filter(None, said))}".rstrip()


def _span(seconds: int) -> str:
    """How long, in the largest unit that says enough."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# ── Printing ─────────────────────────────────────────────────────────────────────────────────


def show(result: Result, output: RowFormat, receipts: Sequence[Path]) -> None:
    """Print a result: a line for each partner when terms were typed, for each row of a file."""
    if output in {RowFormat.NDJSON, RowFormat.CSV}:
        _show_rows(result, output)
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
    if output is RowFormat.TABLE and result.blind:
        _follow_up(result)
    if output is RowFormat.TABLE and receipts:
        named = " ".join(str(path) for path in receipts)
        say(f"receipt: {named}\nnext: fairlead receipts verify {named}")
    if not result.complete:
        say(
            "error: this result is not complete [INCOMPLETE]\n"
            f"next: fairlead queries resume {result.query_id or 'QUERY'}"
        )


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


def _show_rows(result: Result, output: RowFormat) -> None:
    rows = result.by_row()
    if output is RowFormat.CSV:
        emit_csv(ROW_COLUMNS, [_flat(row) for row in rows])
        return
    for row in rows:
        emit_json(row)


def _show_file(result: Result, output: RowFormat, receipts: Sequence[Path]) -> None:
    rows = result.by_row()
    if output is RowFormat.JSON:
        document = {
            "schema": 1,
            "query_id": result.query_id,
            "mode": "blind" if result.blind else "sealed",
            "complete": result.complete,
            "rows": rows,
            "receipts": [str(path) for path in receipts],
        }
        emit_json(document)
        return
    flat = [_flat(row) for row in rows]
    emit_table(ROW_COLUMNS, [[row[column] or None for column in ROW_COLUMNS] for row in flat])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    def named(keep: Any) -> str:
        return " ".join(item["partner"] for item in row["partners"] if keep(item))

    return {
        **{column: row.get(column) for column in ROW_COLUMNS},
        "hits": named(lambda item: item.get("hit")),
        "answered": named(lambda item: item["status"] == "answered"),
        "missing": named(lambda item: item["status"] in MISSING),
    }


def _show_lines(result: Result) -> None:
    emit_table(
        ("partner", "result", "index age"),
        [(line["partner"], summary(line), _age(line["index_age_s"])) for line in result.partners],
    )
    for line in result.partners:
        for item in line["answers"]:
            show_hit(line["partner"], item)


def show_hit(partner: str, item: dict[str, Any]) -> None:
    """One partner's records about one term, for a person."""
    if not item["hit"]:
        return
    desk = f"; contact {item['contact_desk']}" if item["contact_desk"] else ""
    sys.stdout.write(f"\n{printable(partner)} on {printable(item['term'])}{printable(desk)}\n")
    rows = [
        (
            (record["occurred_at"] or "–")[:16].replace("T", " ") + "Z",
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


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


# ── Receipts ─────────────────────────────────────────────────────────────────────────────────


def keep(result: Result, target: Path) -> list[Path]:
    """Write each chunk's evidence as JSON; a folder gets one file per chunk, and so does a file
    name when there are several.

    :raises OSError: it cannot be written.
    """
    from google.protobuf.json_format import MessageToDict

    from fairlead.v1 import query_pb2

    paths = []
    for evidence in result.evidence:
        header = query_pb2.QueryHeader.FromString(evidence.query.header)
        path = target
        if target.is_dir() or not target.suffix:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = target / f"{header.query_id.hex()}.json"
        elif len(result.evidence) > 1:
            path = target.with_stem(f"{target.stem}-{header.chunk + 1}")
        document = {"fairlead_receipt": 1, **MessageToDict(evidence)}
        path.write_text(json.dumps(document, indent=1) + "\n")
        paths.append(path)
    return paths
