"""``fairlead audit search``: who asked about a subject, as an oversight filtered it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.opened import FOUND_COLUMNS, accuse, found_row, only_says
from fairlead.cli.opening import (
    REQUEST,
    Desk,
    DirectoryOption,
    GroundOption,
    LogOption,
    RecordOption,
    ReferenceOption,
    TrustOption,
    ask,
    desk_of,
    recording,
    usage,
)
from fairlead.cli.options import OutputOption, ProfileOption, moment
from fairlead.cli.output import Exit, Format, emit, say
from fairlead.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.opening.matches import Matches
    from fairlead.opening.record import Record
    from fairlead.opening.request import Request, Subject
    from fairlead.opening.share import Kept


def search(
    request: Annotated[
        Path | None, typer.Argument(help="With --found: the request that it answers.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Whom or what to find, as you would ask for it.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="The kind of identifier, if it is not plain.")
    ] = None,
    period: Annotated[
        str | None,
        typer.Option("--period", help="FROM..TO: 2026-01-01..2027-01-01, or 30d..0d"),
    ] = None,
    filtered_by: Annotated[
        str,
        typer.Option("--filtered-by", help="Whose oversight filters; default: not your own."),
    ] = "",
    ground: GroundOption = None,
    reference: ReferenceOption = None,
    log: LogOption = None,
    found: Annotated[
        Path | None,
        typer.Option("--found", help="What the oversight that filtered found. None: ask."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="A new folder for the request.")] = Path(
        "search"
    ),
    record: RecordOption = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Find a subject in the sealed detail of a log's period, together with the audit committee.

    First without --found: makes a request that you sign, and a file of the sealed details for the
    oversight that is to filter them. Members see ground, period, askers, purposes and number of
    leaves; that oversight's program alone is told the subject, opens the details with the others'
    shares, and lets out leaves about the subject. Then with --found: only those are opened and
    shown. That you searched is on the record before anything is shown.
    """
    desk = desk_of(profile, directory, trust, record)
    if found:
        if request is None:
            raise usage("name the request that was answered", "audit search REQUEST --found FILE")
        return _search(desk, request, found, output)
    if subject is None or period is None or log is None:
        raise usage(
            "a search needs --subject, --period and --log",
            "audit search --subject … --period … --log FILE --ground … --reference …",
        )
    from fairlead.opening.sought import in_log

    since, until = _period(period)
    ask(
        desk, in_log(log, since=since, until=until), to, ground=ground, reference=reference,
        again=f"fairlead audit search {to / REQUEST} --found FILE",
        since=since, until=until, subject=_subject(subject, scheme), searcher=filtered_by,
    )  # fmt: skip
    return Exit.ANSWERED


def _period(text: str) -> tuple[int, int]:
    since, found, until = text.partition("..")
    now = time.time()
    start, end = moment(since, now=now), moment(until, now=now) + (until == "0d")
    if not found or not 0 < start < end:
        raise usage("a period is FROM..TO", "audit search … --period 2026-01-01..2026-07-01")
    return start, end


def _subject(text: str, scheme: str | None) -> Subject:
    from fairlead.cli.ask import recognise
    from fairlead.opening.request import Subject

    term = recognise(text, scheme)
    return Subject(scheme=term.scheme, value=term.value)


def _taken(desk: Desk, path: Path, found: Path) -> tuple[Request, Kept, Matches]:
    from fairlead.opening.files import read_octets, read_request
    from fairlead.opening.matches import MAX_FOUND, take_matches
    from fairlead.opening.share import MAX_KEPT, Kept

    request = read_request(path, desk.known, now=time.time(), deny_lists=None)
    if not request.search:
        raise usage("this is a request for one leaf", f"audit open {path} --share FILE …")
    kept = Kept.parse(read_octets(path.with_suffix(".key"), MAX_KEPT), request)
    return request, kept, take_matches(read_octets(found, MAX_FOUND), request, kept)


def _search(desk: Desk, path: Path, found: Path, output: Format) -> int:
    from fairlead.opening.record import SEARCHED

    request, kept, matches = _taken(desk, path, found)
    rows: list[dict[str, Any]] = []
    wrong = bool(matches.doubts or matches.without_terms)
    with recording(desk, request) as log:
        log.put(request, SEARCHED)
        for place in matches.places:
            opened, faulty = _matching(desk, log, request, kept, matches, place, output)
            wrong = wrong or faulty or not opened
            rows += opened
    emit(rows, columns=FOUND_COLUMNS, output=output)
    say(f"{len(rows)} of {len(request.sought)} leaves are about the subject")
    _say_doubts(request, matches)
    return Exit.CHECK_FAILED if wrong else Exit.ANSWERED


def _matching(
    desk: Desk,
    log: Record,
    request: Request,
    kept: Kept,
    matches: Matches,
    place: int,
    output: Format,
) -> tuple[Sequence[dict[str, Any]], bool]:
    """One leaf that came out, opened anew: its rows, and whether anything of it is wrong."""
    from fairlead.detail import SharesWrong
    from fairlead.opening.opened import open_leaf
    from fairlead.opening.record import LIED
    from fairlead.opening.request import Subject

    item = request.sought[place]
    try:
        opened = open_leaf(place, item, kept.details[place], matches.released, desk.known)
    except SharesWrong as error:
        for member in error.liars:
            log.alarm(member, LIED, item.bound.query_id)
        accuse(error.liars, ())
        return [], True
    except FairleadError as error:  # the other leaves are shown all the same
        query = item.bound.query_id.hex()
        say(f"query {query} came out and could not be opened: {error.diagnostics()}")
        return [], True
    log.alarms(opened)
    accuse(opened.liars, opened.spoilt, opened.refused)
    incident = bool(opened.faults or opened.liars or opened.spoilt)
    if incident:
        say(f"INCIDENT: query {item.bound.query_id.hex()}: what was sealed is not so")
    faulty = incident or bool(opened.refused)
    subject = Subject(scheme=kept.scheme, value=kept.value)
    rows = [found_row(opened, match, output) for match in opened.find(subject)]
    if not rows:
        say(f"query {item.bound.query_id.hex()} came out and is not about the subject: not shown")
    return rows, faulty


def _say_doubts(request: Request, matches: Matches) -> None:
    """What the oversight that filtered says of leaves that it did not let out."""
    from fairlead.opening.opened import SAID

    if matches.without_terms:
        say(
            f"{matches.without_terms} of {len(request.sought)} leaves were asked blind: this log "
            "holds no term of them, so nobody knows here whether they are about the subject"
        )
        say("next: search the gateway's log: fairlead audit search … --log audit.sqlite")
    for doubt in matches.doubts:
        query = request.sought[doubt.place].bound.query_id.hex()
        if doubt.reason == SAID:
            file = f" (SHA-256 of its file: {doubt.digest.hex()})" if doubt.digest else ""
            say(f"query {query}: {only_says(doubt.partner_id)}{file}")
            continue
        blamed = f", of {doubt.partner_id}" if doubt.partner_id else ""
        say(f"query {query} may be about the subject, and was not read: {doubt.reason}{blamed}")
    if matches.doubts:
        say(f"that is the word of {request.searcher}; next: fairlead audit open QUERY …")
