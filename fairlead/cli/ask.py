"""``fairlead ask``: one query, from the words a person types to a line per partner."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.budgets import costs
from fairlead.cli.options import (
    PapOption,
    ProfileOption,
    RowsOption,
    TlpOption,
    asked_since,
    connect,
    handling,
    moment,
)
from fairlead.cli.output import Exit, RowFormat, awaited, emit_json, emit_rows, printable, say
from fairlead.cli.receipts import Receipts
from fairlead.cli.results import Result, gather, word
from fairlead.cli.showing import RowStream, show
from fairlead.cli.telling import explanations
from fairlead.cli.terms import TermsFile, read_terms
from fairlead.errors import InvalidInput, Misconfigured

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2


SUGGESTED = 3
"""Near identifiers that are named, or asked, instead of one whose check digit is wrong."""
_MODES = {"auto": 0, "sealed": 1, "blind": 2}
"""The wire's numbers; auto leaves the mode to policy."""


class ModeWord(StrEnum):
    """``--mode``."""

    AUTO = "auto"
    SEALED = "sealed"
    BLIND = "blind"


def ask(
    *,
    terms: Annotated[
        list[str] | None,
        typer.Argument(help="Identifiers: container, plate (NL:AB-12-CD), IMO."),
    ] = None,
    case: Annotated[str, typer.Option(help="Reference of an open case assigned to you.")],
    purpose: Annotated[str, typer.Option(help="Why: for example drug-trafficking.")],
    since: Annotated[str, typer.Option(help="A span like 90d, or an ISO 8601 time.")] = "90d",
    until: Annotated[str | None, typer.Option(help="A span ago, or an ISO 8601 time.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only this event; repeat.")] = None,
    to: Annotated[list[str] | None, typer.Option(help="Only this partner; repeat.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme, when it is not recognised.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="File of terms: CSV, .xlsx, or one a line; - is standard input."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Heading of the terms' column in the file.")
    ] = None,
    tlp: TlpOption = None,
    pap: PapOption = None,
    mode: Annotated[
        ModeWord, typer.Option(help="auto follows policy, never blind to sealed.")
    ] = ModeWord.AUTO,
    urgent: Annotated[
        bool,
        typer.Option("--urgent", help="Beyond a budget: ask an approver on call to let it, once."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show who would learn what; send nothing.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 10 on a hit.")] = False,
    receipt: Annotated[Path | None, typer.Option(help="Where to keep the receipt.")] = None,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> int:
    """Ask the partners about identifiers, under a case and a purpose.

    Exit codes: 0 answered (hit or no hit), 2 usage, 4 not enrolled, 5 refused by policy,
    7 partial (somebody could not be reached), 8 a check failed.
    """
    from fairlead.v1 import asking_pb2

    now = time.time()
    if receipt is not None and not receipt.absolute().parent.is_dir():
        raise InvalidInput(
            "the folder for the receipt does not exist; nothing was sent",
            reasons=("RECEIPT_FOLDER",),
            remedy="make the folder, or leave --receipt out",
        )
    listed = _listed(terms or [], file, column, scheme, as_it_stands=mode is ModeWord.BLIND)
    if listed.rows:
        say(listed.summary())
    if not listed.terms:
        if listed.rows:
            show(Result(rows=listed.rows), output, ())
        raise InvalidInput(
            "there is no term to ask about; nothing was sent",
            reasons=("NO_TERM",),
            remedy="fairlead ask --help",
        )
    request = asking_pb2.PrepareRequest(
        case_id=case,
        purpose=purpose,
        mode=_MODES[mode],  # type: ignore[arg-type]
        since=asked_since(since, now=now),
        until=moment(until, now=now),
        events=event or [],
        partners=to or [],
        urgent=urgent,
        **handling(tlp, pap),
    )
    return awaited(
        _ask(
            request,
            listed,
            dry_run=dry_run,
            on_hit=exit_code,
            receipt=receipt,
            profile=profile,
            output=output,
        )
    )


def _listed(
    typed: list[str],
    file: Path | None,
    column: str | None,
    scheme: str | None,
    *,
    as_it_stands: bool,
) -> TermsFile:
    """The terms typed, each recognised aloud, or those of a file.

    :param as_it_stands: ask a file's term with a wrong check digit all the same, and what it may
        have been meant to be: blind, no partner sees either.

    :raises InvalidInput: both or neither, a typo, or a file that cannot be read.
    """
    if file is None:
        from fairlead.packed import PackedRows, PackedTerms

        found = [recognise(term, scheme) for term in typed]
        return TermsFile(rows=PackedRows(), terms=PackedTerms(found))
    if typed:
        raise InvalidInput(
            "terms are typed or in a file, not both; nothing was sent",
            reasons=("TERMS",),
            remedy="fairlead ask --help",
        )
    return read_terms(
        file,
        lambda text, stated: recognise(text, stated, aloud=False),
        column=column,
        scheme=scheme,
        near=suggested if as_it_stands else None,
    )


def suggested(text: str, scheme: str | None) -> list[asking_pb2.Term]:
    """A text whose check digit is wrong as it stands, and then the likeliest that it may have been
    meant to be; nothing when it is no identifier that has one."""
    from fairlead import identifiers
    from fairlead.v1 import asking_pb2

    found = identifiers.recognise(text) if scheme is None else ()
    if scheme in identifiers.SCHEMES:
        found = (identifiers.normalise(scheme, text),)
    wrong = [one for one in found if one.validity is identifiers.Validity.CHECKSUM_FAILED]
    if not wrong:
        return []
    close = identifiers.suggest(text)[:SUGGESTED]
    near = [one for raw in close for one in identifiers.recognise(raw)[:1]]
    named = [wrong[0], *(one for one in near if one.scheme == wrong[0].scheme)]
    return [asking_pb2.Term(scheme=one.scheme, value=one.value) for one in named]


def recognise(text: str, scheme: str | None, *, aloud: bool = True) -> asking_pb2.Term:
    """Read one identifier; a typo stops here, with suggestions, before anything is sent.

    :param aloud: say what it was taken for.
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
        if aloud:
            validity = found.validity.value.replace("_", " ")
            say(f"{printable(text)}: {found.scheme} {found.value}, {validity}")
        return asking_pb2.Term(scheme=found.scheme, value=found.value)
    close = identifiers.suggest(text)
    if problem is not None and not close:
        raise problem
    raise InvalidInput(
        "this is no identifier of a known scheme, or its check digit is wrong; nothing was sent",
        reasons=("NOT_RECOGNISED",),
        remedy=f"did you mean {' or '.join(close[:SUGGESTED])}?"
        if close
        else "fairlead ask --help",
    )


async def _ask(
    request: asking_pb2.PrepareRequest,
    listed: TermsFile,
    *,
    dry_run: bool,
    on_hit: bool,
    receipt: Path | None,
    profile: Path | None,
    output: RowFormat,
) -> int:
    client, settings, folder = connect(profile)
    async with client:
        draft = await client.prepare(request, terms=listed.terms, rows=listed.rows)
        announce(draft, listed.terms.schemes())
        if dry_run:
            for cost in costs(draft.response.spends):
                say(
                    "it would spend {spends} of {left} terms left ({budget} of {of})".format(**cost)
                )
            say("dry run: nothing was sent")
            _print_dry_run(draft, output)
            return Exit.ANSWERED
        return await finish(
            client.ask(draft),
            Result(mode=draft.mode, terms=listed.terms, rows=listed.rows),
            output=output,
            receipt=receipt or folder / settings.receipts,
            on_hit=on_hit,
        )


def announce(draft: Any, schemes: Mapping[str, int]) -> None:
    """Say what is about to be signed, and who will learn what of so many terms of each scheme."""
    say(f"legal basis of the case: {printable(draft.legal_basis)}")
    say(f"handling of the question: {_handled(draft)}")
    what = _learnt(schemes, blind=draft.blind)
    for exposure in draft.exposures:
        name = printable(exposure.display_name)
        say(f"{exposure.partner_id} ({name}) will learn that you ask, the purpose, and {what}")
    _say_second(draft)


def _say_second(draft: Any) -> None:
    """Before it is signed: whether it waits for somebody else."""
    from fairlead.v1 import query_pb2

    needed = query_pb2.Mandate.FromString(draft.response.mandate).required_approvals
    if needed:
        who = "a second person" if needed == 1 else f"{needed} other people"
        say(f"{who} with the role approver must approve it before anything is sent")


def _handled(draft: Any) -> str:
    from fairlead.v1.handling_pb2 import Pap, Tlp

    tlp, pap = word(Tlp, draft.response.tlp, ""), word(Pap, draft.response.pap, "")
    return f"{tlp}, {pap}".replace("_", ":", 1).replace("PAP_", "PAP:").replace("_", "+")


def _learnt(schemes: Mapping[str, int], *, blind: bool) -> str:
    """What of so many terms of each scheme a partner will learn."""
    if blind:
        counted = sorted(schemes.items())
        return "the number of terms, not which: " + ", ".join(f"{n} {s}" for s, n in counted)
    terms = sum(schemes.values())
    return "this term" if terms == 1 else f"these {terms} terms"


async def finish(
    events: Any,
    result: Result,
    *,
    output: RowFormat,
    receipt: Path,
    on_hit: bool,
) -> int:
    """Gather what comes back, keep the receipts, print; the exit code.

    What came before an interruption is printed all the same.
    """
    problem: BaseException | None = None
    receipts, stream = Receipts(receipt, result), RowStream(output)
    streamed = stream if output in {RowFormat.NDJSON, RowFormat.CSV} else None
    try:
        await gather(
            events, result, live=output is RowFormat.TABLE, keep=receipts.take, shown=streamed
        )
    except BaseException as error:
        if not result.query_id or not (result.rows or result.chunks > 1):
            if result.query_id:
                say(f"next: fairlead queries resume {result.query_id}")
            raise
        problem = error
    if receipts.failed:
        problem = problem or Misconfigured(
            "the receipt cannot be kept; the answer above is complete",
            reasons=("RECEIPT_UNWRITABLE",),
            remedy="name a folder you may write: --receipt FOLDER, and ask again",
        )
    show(result, output, receipts.paths, streamed)
    if problem is not None:
        raise problem
    return result.exit_code(on_hit=on_hit)


def _print_dry_run(draft: Any, output: RowFormat) -> None:
    records = [
        {"partner": exposure.partner_id, "learns": exposure.learns} for exposure in draft.exposures
    ]
    records += [
        {"partner": item.partner_id, "learns": f"nothing ({item.reason})"}
        for item in draft.response.not_asked
    ]
    if output is RowFormat.JSON:
        spends = costs(draft.response.spends)
        emit_json({"schema": 1, "dry_run": True, "exposures": records, "spends": spends})
        return
    emit_rows(records, columns=("partner", "learns"), output=output)
    if output is RowFormat.TABLE:
        for line in explanations([(i.reason, i.partner_id) for i in draft.response.not_asked], {}):
            say(line)
