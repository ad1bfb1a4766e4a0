"""What a query brought home: gathered from its events, and printed in the format wanted."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.cli.options import iso, when
from fairlead.cli.output import (
    Exit,
    RowFormat,
    emit_csv,
    emit_json,
    emit_json_rows,
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
PENDING = "pending"
"""Held at the asker's own node for a second person; no partner was asked."""
APPROVAL_WORDS = {1: PENDING, 2: "approved", 3: "denied", 4: "expired"}
MISSING = {"unreachable", "timeout", "overloaded", "invalid", "lost"}
ROW_COLUMNS = (
    "row", "input", "scheme", "term", "result", "reason", "hits", "answered", "missing",
    "suggested",
)  # fmt: skip
HIT_AS_SUGGESTED = "hit as suggested"
"""The result of a row whose check digit is wrong and of which a near term hits."""
SUMMARISED = 1_000
"""Rows from which on a table shows the hits alone, and counts the others."""
_NO_HIT: dict[str, Any] = {
    "hit": False, "count": "", "contact_desk": "", "records": [], "more": False, "grade": "",
    "outside": False,
}  # fmt: skip


@dataclass(slots=True)
class Result:
    """What one query brought home, ready to be printed. ``partners`` has a line for each partner
    and chunk; ``done`` are the chunks that have their last line. Of a query of several chunks only
    the hits are kept term by term."""

    query_id: str = ""
    mode: int = 0
    case: str = ""
    purpose: str = ""
    terms: Sequence[asking_pb2.Term] = ()
    rows: Sequence[asking_pb2.Row] = ()
    partners: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[asking_pb2.Evidence] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    asked: Sequence[str] = ()
    """The partners it is to go to."""
    approval: str = ""
    """How it stands with the second person, when it needs one."""
    held: bool = False
    """Nothing of it was sent."""
    _places: dict[tuple[int, str], int] = field(default_factory=dict)
    _lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, line in enumerate(self.partners):
            self._places[line["chunk"], line["partner"]] = place
            self._lines.setdefault(line["chunk"], []).append(line)

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
        chunk = line.get("chunk", 0)
        place = self._places.setdefault((chunk, line["partner"]), len(self.partners))
        if self.chunks > 1:
            said = {at: item for at, item in enumerate(line["answers"]) if item["hit"]}
            line = {**line, "answers": list(said.values()), "hit_at": said}
        if place == len(self.partners):
            self.partners.append(line)
        else:
            self.partners[place] = line
        others = [old for old in self._lines.get(chunk, ()) if old["partner"] != line["partner"]]
        self._lines[chunk] = sorted([*others, line], key=lambda each: str(each["partner"]))

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

    @property
    def row_count(self) -> int:
        """Rows of the file, or terms that were typed."""
        return len(self.rows) or len(self.terms)

    def by_row(self) -> list[dict[str, Any]]:
        """One record for each row of the file, or for each term typed, in order."""
        return list(self.each_row())

    def each_row(self) -> Iterator[dict[str, Any]]:
        """The same, one at a time."""
        return (self.row(place) for place in range(self.row_count))

    def settled(self, place: int) -> bool:
        """Whether nothing about a row can change any more."""
        return all((term - 1) // self.chunk in self.done for term in _terms_of(self._asked(place)))

    def row(self, place: int) -> dict[str, Any]:
        """The record of one row."""
        asked = self._asked(place)
        row: dict[str, Any] = {"row": place + 1, "input": asked.text, "scheme": None, "term": None}
        if not asked.term:
            return {**row, "result": "not asked", "reason": asked.reason, "partners": []}
        row |= {**self._of_term(asked.term), "reason": asked.reason}
        if asked.suggested:
            row["suggested"] = [self._of_term(term) for term in asked.suggested]
            if row["result"] != "hit" and any(item["result"] == "hit" for item in row["suggested"]):
                row["result"] = HIT_AS_SUGGESTED
        return row

    def _asked(self, place: int) -> asking_pb2.Row:
        from fairlead.v1 import asking_pb2

        if self.rows:
            return self.rows[place]
        return asking_pb2.Row(text=self.terms[place].value, term=place + 1)

    def _of_term(self, term: int) -> dict[str, Any]:
        asked, (chunk, place) = self.terms[term - 1], divmod(term - 1, self.chunk)
        partners = [_of_term(line, place) for line in self._lines.get(chunk, ())]
        result = _result(partners, done=chunk in self.done)
        named = {"scheme": asked.scheme, "term": asked.value}
        return {**named, "result": result, "partners": partners}


def _terms_of(row: asking_pb2.Row) -> list[int]:
    return [term for term in (row.term, *row.suggested) if term]


def _of_term(line: dict[str, Any], place: int) -> dict[str, Any]:
    """One partner's line about one term."""
    if "hit_at" in line:
        said = line["hit_at"].get(place, _NO_HIT if line["status"] == "answered" else {})
    else:
        said = line["answers"][place] if place < len(line["answers"]) else {}
    known = {key: value for key, value in said.items() if key not in {"scheme", "term"}}
    head = {key: line[key] for key in ("partner", "status", "reason", "index_age_s")}
    return {**head, **known}


def _result(partners: Sequence[dict[str, Any]], *, done: bool) -> str:
    """One word for a row; "no hit" only when nothing is missing."""
    if any(partner.get("hit") for partner in partners):
        return "hit"
    words = {partner["status"] for partner in partners}
    if words == {PENDING}:
        return PENDING
    if not done or words & MISSING:
        return "incomplete"
    return "refused" if words <= {"refused", "not asked"} else "no hit"


# ── Gathering ────────────────────────────────────────────────────────────────────────────────


async def gather(
    events: AsyncIterator[asking_pb2.AskResponse],
    result: Result,
    *,
    live: bool,
    keep: Callable[[asking_pb2.Evidence], None] | None = None,
    shown: RowStream | None = None,
) -> Result:
    """Take in every event.

    :param live: say each partner's line as it comes.
    :param keep: takes each chunk's evidence as it comes, instead of the result.
    :param shown: writes rows as soon as they cannot change any more.
    """
    started, pace = time.monotonic(), Pace()
    async for event in events:
        kind = event.WhichOneof("event")
        if kind == "batch":
            _begin(result, event.batch)
        elif kind == "page":
            _take_page(result, event.page)
        elif kind == "partner":
            line = line_of(event.partner, result.terms, result.chunk)
            result.add(line)
            if live and result.chunks == 1:
                took = time.monotonic() - started
                say(f"  {took:5.2f} s  {line['partner']:<16} {printable(summary(line))}")
        elif kind == "evidence":
            (keep or result.evidence.append)(event.evidence)
        elif kind == "accepted":
            pace.begin(result)
        elif kind == "pending":
            _wait(result, event.pending)
        elif kind == "done":
            result.done.add(event.done.chunk)
            if shown is not None:
                shown.advance(result)
            pace.say(result)
    result.partners.sort(key=lambda line: (line["chunk"], str(line["partner"])))
    return result


def _begin(result: Result, batch: asking_pb2.AskResponse.Batch) -> None:
    from fairlead.packed import PackedRows, PackedTerms

    result.query_id, result.mode = batch.summary.query_id.hex(), batch.summary.mode
    result.case, result.purpose = batch.summary.case_id, batch.summary.purpose
    result.asked = sorted(batch.summary.partners)
    result.approval = APPROVAL_WORDS.get(batch.summary.approval, "")
    if batch.paged:
        result.terms, result.rows = PackedTerms(), PackedRows()
    large = batch.summary.chunks > 1 or bool(result.rows)
    if result.approval in {"", "approved"} and large:
        say(
            f"query {result.query_id}\n"
            f"if this is interrupted: fairlead queries resume {result.query_id}"
        )


def _wait(result: Result, pending: asking_pb2.AskResponse.Pending) -> None:
    """A line for every partner of a query that is held, or that nobody will send any more."""
    result.held, over = True, result.approval in {"denied", "expired"}
    reason = f"APPROVAL_{result.approval.upper()}" if over else ""
    for chunk in range(result.chunks):
        for partner in result.asked:
            result.add(_line(partner, chunk, "not asked" if over else PENDING, reason))
        if over:
            result.done.add(chunk)
    if over:
        say(f"{result.approval} by the second person; nothing was sent")
        return
    if result.approval == "approved":
        say(f"approved; nothing was sent yet\nnext: fairlead queries resume {result.query_id}")
        return
    count = pending.approvals
    who = "an approver" if count == 1 else f"{count} approvers"
    say(
        f"{result.approval}: held at your own node; nothing was sent\n"
        f"{who} of your partner, until {when(pending.expires_at)}: "
        f"fairlead approvals approve {result.query_id}\n"
        f"then you: fairlead queries resume {result.query_id}"
    )


def _line(partner: str, chunk: int, status: str, reason: str) -> dict[str, Any]:
    return {
        "partner": partner,
        "chunk": chunk,
        "status": status,
        "reason": reason,
        "index_age_s": None,
        "paused_s": None,
        "hits": 0,
        "answers": [],
    }


def _take_page(result: Result, page: asking_pb2.AskResponse.Page) -> None:
    from fairlead.packed import PackedRows, PackedTerms

    if isinstance(result.terms, PackedTerms) and isinstance(result.rows, PackedRows):
        for term in page.terms:
            result.terms.append(term.scheme, term.value)
        for row in page.rows:
            result.rows.append(row)


class Pace:
    """How fast chunks come, since the first one that was not known before."""

    def __init__(self) -> None:
        self._known: int | None = None
        self._began = 0.0

    def begin(self, result: Result) -> None:
        """A chunk is under way: what was done before came from what is kept."""
        if self._known is None:
            self._known, self._began = len(result.done), time.monotonic()

    def say(self, result: Result) -> None:
        """Terms asked so far, the rate, and the time left."""
        took = time.monotonic() - self._began
        if result.chunks < 2 or self._known is None or took <= 0:
            return
        whole = len(result.terms)
        asked = min(len(result.done) * result.chunk, whole)
        rate = max(1, asked - self._known * result.chunk) / took
        left = (whole - asked) / rate
        say(f"  {asked:,} of {whole:,} terms, {rate:,.0f} a second, {_span(round(left))} left")


def line_of(
    answer: asking_pb2.OpenedAnswer, terms: Sequence[asking_pb2.Term], size: int = CHUNK
) -> dict[str, Any]:
    """One partner's line about one chunk of ``size`` terms."""
    first = answer.chunk * size
    answers = [answer_of(item, *_named(terms, first + item.index)) for item in answer.answers]
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


def answer_of(item: Any, scheme: str, term: str) -> dict[str, Any]:
    """What one partner says about one term."""
    return {
        "scheme": scheme,
        "term": term,
        "hit": item.hit,
        "count": item.count_band,
        "contact_desk": item.contact_desk,
        "records": [_record(record) for record in item.records],
        "more": item.more,
        "grade": item.grade,
        "outside": item.outside,
    }


def _named(terms: Sequence[asking_pb2.Term], place: int) -> tuple[str, str]:
    if place >= len(terms):
        return "", ""
    return terms[place].scheme, terms[place].value


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
    if output is RowFormat.TABLE and result.blind:
        _follow_up(result)
    if output is RowFormat.TABLE and receipts:
        named = " ".join(str(path) for path in receipts[:FOLLOWED])
        more = f" ({len(receipts) - FOLLOWED:,} more there)" if len(receipts) > FOLLOWED else ""
        say(f"receipt: {named}{more}\nnext: fairlead receipts verify {named}")
    if not result.complete and not result.held:
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


# ── Receipts ─────────────────────────────────────────────────────────────────────────────────


class Receipts:
    """Writes each chunk's evidence as JSON as it comes; a folder gets one file per chunk, and so
    does a file name when there are several."""

    def __init__(self, target: Path, result: Result) -> None:
        self._target = target
        self._result = result
        self.paths: list[Path] = []
        self.failed = False

    def take(self, evidence: asking_pb2.Evidence) -> None:
        """Keep one chunk's evidence. A failure is remembered: the query is on record, and its
        answer is shown all the same."""
        try:
            self.paths.append(self._write(evidence))
        except OSError:
            self.failed = True

    def _write(self, evidence: asking_pb2.Evidence) -> Path:
        from google.protobuf.json_format import MessageToDict

        from fairlead.v1 import query_pb2

        header = query_pb2.QueryHeader.FromString(evidence.query.header)
        path = self._target
        if path.is_dir() or not path.suffix:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path /= f"{header.query_id.hex()}.json"
        elif self._result.chunks > 1:
            path = path.with_stem(f"{path.stem}-{header.chunk + 1}")
        document = {"fairlead_receipt": 1, **MessageToDict(evidence)}
        path.write_text(json.dumps(document, indent=1) + "\n")
        return path
