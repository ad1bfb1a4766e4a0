"""``fairlead watch``: blind queries that stand until their epoch ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import (
    WAY_S,
    OutputOption,
    PapOption,
    ProfileOption,
    RowsOption,
    TlpOption,
    asked_since,
    connect,
    handling,
    lasting,
    query_reference,
    when,
)
from fairlead.cli.output import (
    Exit,
    Format,
    RowFormat,
    awaited,
    emit,
    emit_json,
    emit_rows,
    printable,
    say,
)
from fairlead.cli.results import BLIND, Result, answer_of
from fairlead.cli.showing import show_hit
from fairlead.cli.telling import explanations

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

app = typer.Typer(
    help="Watch for identifiers: a blind query that your node looks up again by itself.",
    no_args_is_help=True,
)
COLUMNS = ("watch", "case", "terms", "state", "unread", "until", "as_of", "made_at", "user")
DAY_S = 86_400
STATES = {1: "active", 2: "must be renewed", 3: "ended"}
KINDS = {1: "appeared", 2: "changed", 3: "disappeared", 4: "must be renewed", 5: "ended"}
WatchArgument = Annotated[str, typer.Argument(help="Id of a watch; see: fairlead watch list.")]
ForOption = Annotated[
    str, typer.Option("--for", help="How long: a span like 7d, or an ISO 8601 time.")
]


@app.command("add")
def add_watch(
    *,
    terms: Annotated[list[str], typer.Argument(help="Identifiers, as of fairlead ask.")],
    case: Annotated[str, typer.Option(help="Reference of an open case assigned to you.")],
    purpose: Annotated[str, typer.Option(help="Why: for example drug-trafficking.")],
    since: Annotated[str, typer.Option(help="A span like 90d, or an ISO 8601 time.")] = "90d",
    event: Annotated[list[str] | None, typer.Option(help="Only this event; repeat.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="Only this partner; repeat.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme, when it is not recognised.")] = None,
    tlp: TlpOption = None,
    pap: PapOption = None,
    lasts: ForOption = "7d",
    receipt: Annotated[Path | None, typer.Option(help="Where to keep the receipt.")] = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> int:
    """Ask blind now, and be told of what becomes different later.

    Your node looks again in each later publication, and asks nobody. A watch lasts at most until
    the owners' epoch ends; then it must be renewed.
    """
    from fairlead.cli.ask import recognise
    from fairlead.v1 import asking_pb2

    now = time.time()
    request = asking_pb2.PrepareRequest(
        terms=[recognise(term, scheme) for term in terms],
        case_id=case,
        purpose=purpose,
        mode=BLIND,  # type: ignore[arg-type]
        since=asked_since(since, now=now),
        events=event or [],
        partners=to or [],
        **handling(tlp, pap),
    )
    until = lasting(lasts, now=now)

    async def run() -> int:
        client, settings, folder = connect(profile)
        async with client:
            return await _asked(
                client, request, until, b"", receipt or folder / settings.receipts, output
            )

    return awaited(run())


@app.command("renew")
def renew_watch(
    watch: WatchArgument,
    lasts: ForOption = "7d",
    since: Annotated[
        str | None, typer.Option(help="Another period; default: as long as before, until now.")
    ] = None,
    receipt: Annotated[Path | None, typer.Option(help="Where to keep the receipt.")] = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> int:
    """Sign a watch anew and ask again: it is paid for again, and lasts another epoch at most."""
    from fairlead.v1 import asking_pb2

    now = time.time()
    reference, until = query_reference(watch), lasting(lasts, now=now)

    async def run() -> int:
        client, settings, folder = connect(profile)
        async with client:
            kept = await client.stub.ShowWatch(
                asking_pb2.ShowWatchRequest(watch_id=reference), timeout=10
            )
            asked = sorted({p.partner_id for p in kept.watch.places if p.reason != "PARTNER_LEFT"})
            for term in kept.terms:  # what is signed is seen first
                say(f"{term.scheme} {printable(term.value)}")
            request = asking_pb2.PrepareRequest(
                terms=kept.terms,
                case_id=kept.watch.case_id,
                purpose=kept.watch.purpose,
                mode=BLIND,  # type: ignore[arg-type]
                since=asked_since(since, now=now) if since else _moved(kept, now),
                events=kept.events,
                partners=asked,
                tlp=kept.tlp,
                pap=kept.pap,
            )
            _say_news(kept)
            return await _asked(
                client, request, until, reference, receipt or folder / settings.receipts, output
            )

    return awaited(run())


@app.command("list")
def list_watches(profile: ProfileOption = None, output: RowsOption = RowFormat.TABLE) -> None:
    """List your watches, newest first; those of your whole partner for an auditor."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[Any]:
        client, _, _ = connect(profile)
        async with client:
            listed = await client.stub.ListWatches(asking_pb2.ListWatchesRequest(), timeout=10)
            return list(listed.watches)

    found = awaited(run())
    if not found:
        say("nothing is watched\nnext: fairlead watch add --help")
    emit_rows([_record(item) for item in found], columns=COLUMNS, output=output)
    for item in found:
        name = item.watch_id.hex()
        if item.unread:
            say(f"next: fairlead watch show {name}   ({item.unread} unread)")
        if item.state == 2:
            say(f"next: fairlead watch renew {name}   ({_why(item)})")
    _explain(code for item in found for code in _why(item).split())


@app.command("show")
def show_watch(
    watch: WatchArgument, profile: ProfileOption = None, output: OutputOption = Format.TABLE
) -> int:
    """Show what a watch noticed; the reading is on the record, and counts as read."""
    from fairlead.v1 import asking_pb2

    reference = query_reference(watch)

    async def run() -> Any:
        client, _, _ = connect(profile)
        async with client:
            return await client.stub.ShowWatch(
                asking_pb2.ShowWatchRequest(watch_id=reference), timeout=10
            )

    kept = awaited(run())
    if output is Format.JSON:
        emit_json({"schema": 1, **_document(kept)})
        return Exit.ANSWERED
    emit_rows([_record(kept.watch)], columns=COLUMNS, output=RowFormat.TABLE)
    emit(
        [_place(place) for place in kept.watch.places],
        columns=("partner", "scheme", "state", "epoch_ends", "as_of"),
        output=Format.TABLE,
    )
    _say_news(kept)
    _explain([kept.watch.reason, *(place.reason for place in kept.watch.places)])
    return Exit.ANSWERED


@app.command("remove")
def remove_watch(watch: WatchArgument, profile: ProfileOption = None) -> None:
    """End a watch; everything kept of it is erased."""
    from fairlead.v1 import asking_pb2

    reference = query_reference(watch)

    async def run() -> None:
        client, _, _ = connect(profile)
        async with client:
            await client.stub.RemoveWatch(
                asking_pb2.RemoveWatchRequest(watch_id=reference), timeout=10
            )

    awaited(run())
    say(f"watch {reference.hex()} is removed, and what was kept of it erased")


async def _asked(
    client: Any,
    request: asking_pb2.PrepareRequest,
    until: int,
    renews: bytes,
    receipt: Path,
    output: RowFormat,
) -> int:
    from fairlead.cli.ask import announce, finish
    from fairlead.client import Standing

    draft = await client.prepare(request)
    announce(draft, Counter(term.scheme for term in request.terms))
    result = Result(mode=draft.mode, terms=list(request.terms))
    code = await finish(
        client.ask(draft, watch=Standing(until=until, renews=renews)),
        result,
        output=output,
        receipt=receipt,
        on_hit=False,
    )
    name = renews.hex() or result.query_id
    say(f"watch {name} stands until {when(until)}, or until its epoch ends")
    say(f"next: fairlead watch list, fairlead watch show {name}")
    return code


def _moved(kept: Any, now: float) -> int:
    """The period's begin, if it is to be as long as it was: policy limits how long it may be, in
    whole days, so what the way to the node took does not count."""
    if not kept.since:
        return 0
    span = kept.watch.begun_at - kept.since
    if span % DAY_S < WAY_S:
        span -= span % DAY_S
    return int(now) - int(span) + WAY_S


# ── Records ──────────────────────────────────────────────────────────────────────────────────


def _record(watch: Any) -> dict[str, object]:
    known = [place.confirmed_at for place in watch.places if not place.reason]
    return {
        "watch": watch.watch_id.hex(),
        "user": watch.user,
        "case": watch.case_id,
        "purpose": watch.purpose,
        "terms": watch.terms,
        "state": STATES.get(watch.state, "unknown"),
        "reason": _why(watch),
        "unread": watch.unread,
        "made_at": when(watch.begun_at),
        "until": when(_until(watch)),
        "as_of": when(min(known, default=0)),
    }


def _until(watch: Any) -> int:
    """The user's own end, or the first epoch's that is earlier."""
    return int(min([watch.until, *(p.ends_at for p in watch.places if not p.reason)]))


def _why(watch: Any) -> str:
    places = sorted({place.reason for place in watch.places if place.reason})
    return str(watch.reason or " ".join(places))


def _explain(codes: Iterable[str]) -> None:
    for line in explanations([(code, "") for code in codes if code], {}):
        say(line)


def _place(place: Any) -> dict[str, object]:
    return {
        "partner": place.partner_id,
        "scheme": place.scheme,
        "state": f"must be renewed {place.reason}" if place.reason else "watched",
        "reason": place.reason,
        "epoch_ends": when(place.ends_at),
        "as_of": when(place.confirmed_at),
    }


def _document(kept: Any) -> dict[str, Any]:
    return {
        **_record(kept.watch),
        "places": [_place(place) for place in kept.watch.places],
        "news": [_news(item) for item in kept.news],
    }


def _news(item: Any) -> dict[str, Any]:
    answer = answer_of(item.answer, item.term.scheme, item.term.value)
    return {
        "kind": KINDS.get(item.kind, "unknown"),
        "noticed_at": when(item.noticed_at),
        "partner": item.partner_id,
        "scheme": item.scheme,
        "term": item.term.value,
        "reason": item.reason,
        "unread": item.unread,
        "answer": answer if answer["hit"] else None,
    }


def _say_news(kept: Any) -> None:
    news: Sequence[dict[str, Any]] = [_news(item) for item in kept.news]
    if not news:
        say("nothing was noticed yet")
        return
    emit(
        [{**item, "unread": "new" if item["unread"] else ""} for item in news],
        columns=("noticed_at", "kind", "partner", "scheme", "term", "reason", "unread"),
        output=Format.TABLE,
    )
    for item in news:
        if item["answer"] and item["unread"]:
            show_hit(item["partner"], item["answer"])
