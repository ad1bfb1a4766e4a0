"""``fairlead ask``: one query, from the words a person types to a line per partner."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, connect, iso, moment
from fairlead.cli.output import Exit, Format, emit_json, emit_table, printable, say
from fairlead.errors import InvalidInput, Misconfigured, Refused

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

STATUS_WORDS = {
    1: "answered",
    2: "refused",
    3: "not asked",
    4: "unreachable",
    5: "timeout",
    6: "overloaded",
    7: "invalid",
}
MISSING = {"unreachable", "timeout", "overloaded", "invalid"}


class ModeWord(StrEnum):
    """``--mode``."""

    AUTO = "auto"
    SEALED = "sealed"
    BLIND = "blind"


@dataclass(slots=True)
class Result:
    """What one query brought home, ready to be printed."""

    query_id: str = ""
    partners: list[dict[str, Any]] = field(default_factory=list)
    evidence: asking_pb2.Evidence | None = None

    def exit_code(self, *, on_hit: bool) -> Exit:
        """FACTS, CLI: partial before refused before hit."""
        if self.evidence is None:
            return Exit.PARTIAL
        words = {line["status"] for line in self.partners}
        if words & MISSING:
            return Exit.PARTIAL
        if words <= {"refused", "not asked"}:
            return Exit.REFUSED
        hit = any(line.get("hits") for line in self.partners)
        return Exit.HIT if on_hit and hit else Exit.ANSWERED


def ask(
    terms: Annotated[
        list[str], typer.Argument(help="Identifiers: container, plate (NL:AB-12-CD), IMO.")
    ],
    case: Annotated[str, typer.Option(help="Reference of an open case assigned to you.")],
    purpose: Annotated[str, typer.Option(help="Why: for example drug-trafficking.")],
    since: Annotated[str, typer.Option(help="A span like 90d, or an ISO 8601 time.")] = "90d",
    until: Annotated[str | None, typer.Option(help="A span ago, or an ISO 8601 time.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only this event; repeat.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="Only this partner; repeat.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme, when it is not recognised.")] = None,
    mode: Annotated[
        ModeWord, typer.Option(help="auto follows policy, never blind to sealed.")
    ] = ModeWord.AUTO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show who would learn what; send nothing.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 10 on a hit.")] = False,
    receipt: Annotated[Path | None, typer.Option(help="Where to keep the receipt.")] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Ask the partners about identifiers, under a case and a purpose.

    Exit codes: 0 answered (hit or no hit), 2 usage, 4 not enrolled, 5 refused by policy,
    7 partial (somebody could not be reached), 8 a check failed.
    """
    from fairlead.v1 import asking_pb2, query_pb2

    now = time.time()
    if receipt is not None and not receipt.absolute().parent.is_dir():
        raise InvalidInput(
            "the folder for the receipt does not exist; nothing was sent",
            reasons=("RECEIPT_FOLDER",),
            remedy="make the folder, or leave --receipt out",
        )
    request = asking_pb2.PrepareRequest(
        terms=[recognise(term, scheme) for term in terms],
        case_id=case,
        purpose=purpose,
        mode=query_pb2.MODE_BLIND if mode is ModeWord.BLIND else query_pb2.MODE_SEALED,
        since=moment(since, now=now),
        until=moment(until, now=now),
        events=event or [],
        partners=to or [],
    )
    return asyncio.run(
        _ask(
            request,
            mode,
            dry_run=dry_run,
            on_hit=exit_code,
            receipt=receipt,
            profile=profile,
            output=output,
        )
    )


def recognise(text: str, scheme: str | None) -> asking_pb2.Term:
    """Read one identifier; a typo stops here, with suggestions, before anything is sent.

    :raises InvalidInput: no scheme fits, or the check digit is wrong.
    """
    from fairlead import identifiers
    from fairlead.v1 import asking_pb2

    if scheme is not None:
        found = identifiers.parse(scheme, text)
        return asking_pb2.Term(scheme=found.scheme, value=found.value)
    problem = None
    for candidate in identifiers.recognise(text):
        try:
            found = identifiers.parse(candidate.scheme, text)
        except InvalidInput as error:
            problem = problem or error
            continue
        validity = found.validity.value.replace("_", " ")
        say(f"{printable(text)}: {found.scheme} {found.value}, {validity}")
        return asking_pb2.Term(scheme=found.scheme, value=found.value)
    close = identifiers.suggest(text)
    if problem is not None and not close:
        raise problem
    raise InvalidInput(
        "this is no identifier of a known scheme, or its check digit is wrong; nothing was sent",
        reasons=("NOT_RECOGNISED",),
        remedy=f"did you mean {' or '.join(close[:3])}?" if close else "fairlead ask --help",
    )


async def _ask(
    request: asking_pb2.PrepareRequest,
    mode: ModeWord,
    *,
    dry_run: bool,
    on_hit: bool,
    receipt: Path | None,
    profile: Path | None,
    output: Format,
) -> int:
    client, settings, folder = connect(profile)
    async with client:
        draft = await _prepare(client, request, mode)
        say(f"legal basis of the case: {printable(draft.legal_basis)}")
        for exposure in draft.exposures:
            count = len(request.terms)
            what = "this term" if count == 1 else f"these {count} terms"
            name = printable(exposure.display_name)
            say(f"{exposure.partner_id} ({name}) will learn that you ask, the purpose, and {what}")
        if dry_run:
            say("dry run: nothing was sent")
            _print_dry_run(draft, output)
            return Exit.ANSWERED
        result = await _collect(client, draft, live=output is Format.TABLE)
    lost = None
    try:
        path = _keep(result, receipt or folder / settings.receipts)
    except OSError:  # the query is on record: its answer is shown all the same
        path, lost = (
            None,
            Misconfigured(
                "the receipt cannot be kept; the answer above is complete",
                reasons=("RECEIPT_UNWRITABLE",),
                remedy="name a folder you may write: --receipt FOLDER, and ask again",
            ),
        )
    _print(result, output, path)
    if lost is not None:
        raise lost
    return result.exit_code(on_hit=on_hit)


async def _prepare(client: Any, request: asking_pb2.PrepareRequest, mode: ModeWord) -> Any:
    """Draft; ``auto`` says that blind would be needed instead of falling to sealed."""
    import grpc

    try:
        return await client.prepare(request)
    except grpc.aio.AioRpcError as error:
        told = {value for key, value in error.trailing_metadata() or () if key == "fairlead-reason"}
        if mode is ModeWord.AUTO and "BLIND_REQUIRED" in told:
            raise Refused(
                "policy requires a blind query here, which this version cannot ask; auto never "
                "falls from blind to sealed, and nothing was sent",
                reasons=("BLIND_REQUIRED",),
                remedy="ask a partner that may be asked sealed: --to PARTNER",
            ) from None
        raise


async def _collect(client: Any, draft: Any, *, live: bool) -> Result:
    result = Result()
    started = time.monotonic()
    async for event in client.ask(draft):
        kind = event.WhichOneof("event")
        if kind == "accepted":
            result.query_id = event.accepted.query_id.hex()
        elif kind == "partner":
            line = _line(event.partner, draft)
            result.partners.append(line)
            if live:
                took = time.monotonic() - started
                say(f"  {took:5.2f} s  {line['partner']:<16} {printable(_summary(line))}")
        elif kind == "evidence":
            result.evidence = event.evidence
    result.partners.sort(key=lambda line: str(line["partner"]))
    return result


def _line(answer: asking_pb2.OpenedAnswer, draft: Any) -> dict[str, Any]:
    terms = draft.request.terms
    answers = [
        {
            "term": terms[item.index].value,
            "hit": item.hit,
            "count": item.count_band,
            "contact_desk": item.contact_desk,
            "records": [_record(record) for record in item.records],
            "more": item.more,
        }
        for item in answer.answers
    ]
    answered = answer.status == 1
    return {
        "partner": answer.partner_id,
        "status": STATUS_WORDS.get(answer.status, "invalid"),
        "reason": answer.reason,
        "index_age_s": answer.index_age_s if answered else None,
        "paused_s": max(0, int(time.time()) - answer.paused_since) if answer.paused_since else None,
        "hits": sum(bool(item["hit"]) for item in answers),
        "answers": answers,
    }


def _record(record: Any) -> dict[str, Any]:
    from fairlead.v1.handling_pb2 import Pap, Tlp

    return {
        "type": record.record_type,
        "event": record.event,
        "occurred_at": iso(record.occurred_at),
        "fields": {item.name: item.value for item in record.fields},
        "withheld": list(record.withheld),
        "handling": {
            "tlp": _word(Tlp, record.handling.tlp, "TLP_"),
            "pap": _word(Pap, record.handling.pap, "PAP_"),
            "europol": record.handling.europol,
            "source": record.handling.source_grade,
            "information": record.handling.information_grade,
        },
        "ref": record.ref.hex(),
    }


def _word(kind: Any, value: int, prefix: str) -> str:
    """The word of a wire enum; a number without one is unspecified."""
    return str(kind.Name(value if value in kind.values() else 0)).removeprefix(prefix)


def _summary(line: dict[str, Any]) -> str:
    if line["status"] != "answered":
        paused = line.get("paused_s")
        lasting = f", for {_span(paused)}" if paused is not None else ""
        return f"{line['status']} {line['reason']}".rstrip() + lasting
    if not line["hits"]:
        return "no hit"
    counts = [item["count"] for item in line["answers"] if item["hit"] and item["count"]]
    return f"HIT {', '.join(counts)}".rstrip()


def _print(result: Result, output: Format, receipt: Path | None) -> None:
    if output is Format.JSON:
        document = {
            "schema": 1,
            "query_id": result.query_id,
            "partners": result.partners,
            "receipt": str(receipt) if receipt else None,
        }
        emit_json(document)
        return
    emit_table(
        ("partner", "result", "index age"),
        [(line["partner"], _summary(line), _age(line["index_age_s"])) for line in result.partners],
    )
    for line in result.partners:
        for item in line["answers"]:
            _print_hit(line["partner"], item)
    if receipt is not None:
        say(f"receipt: {receipt}\nnext: fairlead receipts verify {receipt}")


def _print_hit(partner: str, item: dict[str, Any]) -> None:
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
        emit_table(("time", "event", "fields", "withheld"), rows)
    if item["more"]:
        say("more records may be disclosed: narrow with --since, --until or --event")


def _span(seconds: int) -> str:
    """How long, in the largest unit that says enough."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _print_dry_run(draft: Any, output: Format) -> None:
    records = [
        {"partner": exposure.partner_id, "learns": exposure.learns} for exposure in draft.exposures
    ]
    records += [
        {"partner": item.partner_id, "learns": f"nothing ({item.reason})"}
        for item in draft.response.not_asked
    ]
    if output is Format.JSON:
        emit_json({"schema": 1, "dry_run": True, "exposures": records})
    else:
        emit_table(("partner", "learns"), [(r["partner"], r["learns"]) for r in records])


def _keep(result: Result, target: Path) -> Path | None:
    """Write the evidence as JSON; a folder gets one file per query."""
    if result.evidence is None:
        return None
    from google.protobuf.json_format import MessageToDict

    path = target
    if target.is_dir() or not target.suffix:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = target / f"{result.query_id}.json"
    document = {"fairlead_receipt": 1, **MessageToDict(result.evidence)}
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
