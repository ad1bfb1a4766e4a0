"""What a query brought home: gathered from its events, and printed in the format wanted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fairlead.cli.options import iso, when
from fairlead.cli.output import (
    Exit,
    printable,
    say,
)

if TYPE_CHECKING:
    from fairlead.cli.showing import RowStream
    from fairlead.v1 import asking_pb2

CHUNK, BLIND_CHUNK = 512, 1024
"""Terms in one chunk of a sealed query and of a blind one."""
BLIND = 2
"""The wire's number of the mode."""
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
HIT_AS_SUGGESTED = "hit as suggested"
"""The result of a row whose check digit is wrong and of which a near term hits."""
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
        "onward": None,
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
        "onward": answer.onward if answered else None,
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
