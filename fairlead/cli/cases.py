"""``fairlead cases``: why a group of users may ask."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import (
    OutputOption,
    PapOption,
    ProfileOption,
    TlpOption,
    connect,
    handling,
    lasting,
    when,
)
from fairlead.cli.output import Format, awaited, emit, say
from fairlead.errors import InvalidInput, Misconfigured

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

app = typer.Typer(help="Open and list cases.", no_args_is_help=True)
WEEK_S = 7 * 86_400
CaseArgument = Annotated[str, typer.Argument(help="Reference of the case.")]
COLUMNS = ("case", "purpose", "legal_basis", "schemes", "members", "state", "expires", "opened_by")


@app.command("open")
def open_case(
    case: Annotated[
        str, typer.Argument(help="Reference of the case, as your organisation has it.")
    ],
    purpose: Annotated[str, typer.Option(help="Purpose, for example drug-trafficking.")],
    legal_basis: Annotated[str, typer.Option(help="Legal basis, for example eu-ucc-art-46.")],
    scheme: Annotated[list[str], typer.Option(help="Scheme that may be asked; repeat.")],
    member: Annotated[list[str], typer.Option(help="Pseudonym of a user assigned; repeat.")],
    expires: Annotated[str, typer.Option(help="A span like 90d, or an ISO 8601 time.")] = "90d",
    tlp: TlpOption = None,
    pap: PapOption = None,
    retention: Annotated[
        str | None, typer.Option(help="Answers are kept this long at most, like 90d.")
    ] = None,
    instrument: Annotated[
        str | None,
        typer.Option(help="Legal instrument it rests on, for example court-order."),
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="Who issued the instrument, for example court.")
    ] = None,
    instrument_ref: Annotated[
        str | None, typer.Option(help="The instrument's reference; it never leaves the node.")
    ] = None,
    instrument_until: Annotated[
        str | None, typer.Option(help="How long it is valid: a span like 90d, or a time.")
    ] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Open a case (role approver). Repeating the same command changes nothing."""
    from fairlead.v1 import asking_pb2

    wanted = asking_pb2.Case(
        case_id=case,
        purpose=purpose,
        legal_basis=legal_basis,
        schemes=scheme,
        members=member,
        expires_at=lasting(expires, now=time.time()),
        retention_days=_days(retention),
        instrument=_instrument(instrument, authority, instrument_ref, instrument_until),
        **handling(tlp, pap),
    )

    async def run() -> asking_pb2.Case:
        client, _, _ = connect(profile)
        async with client:
            request = asking_pb2.OpenCaseRequest(case=wanted)
            response: asking_pb2.OpenCaseResponse = await client.stub.OpenCase(request, timeout=10)
            return response.case

    emit([_record(awaited(run()))], columns=COLUMNS, output=output)


@app.command("assign")
def assign_case(
    case: CaseArgument,
    member: Annotated[
        list[str] | None, typer.Option(help="Pseudonym of a user to assign; repeat.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Pseudonym of a user to remove; repeat.")
    ] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Assign users to an open case, or remove them (role approver); never yourself."""
    from fairlead.v1 import asking_pb2

    request = asking_pb2.AssignCaseRequest(case_id=case, add=member or [], remove=remove or [])

    async def run() -> asking_pb2.Case:
        client, _, _ = connect(profile)
        async with client:
            changed: asking_pb2.AssignCaseResponse = await client.stub.AssignCase(
                request, timeout=10
            )
            return changed.case

    emit([_record(awaited(run()))], columns=COLUMNS, output=output)


@app.command("close")
def close_case(
    case: CaseArgument, profile: ProfileOption = None, output: OutputOption = Format.TABLE
) -> None:
    """Close a case for good (role approver); queries under it stop at once."""
    from fairlead.v1 import asking_pb2

    async def run() -> asking_pb2.Case:
        client, _, _ = connect(profile)
        async with client:
            closed: asking_pb2.CloseCaseResponse = await client.stub.CloseCase(
                asking_pb2.CloseCaseRequest(case_id=case), timeout=10
            )
            return closed.case

    emit([_record(awaited(run()))], columns=COLUMNS, output=output)


@app.command("list")
def list_cases(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """List the cases you are assigned to; all of them for an approver or auditor."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[asking_pb2.Case]:
        client, _, _ = connect(profile)
        async with client:
            listed = await client.stub.ListCases(asking_pb2.ListCasesRequest(), timeout=10)
            return list(listed.cases)

    found = awaited(run())
    if not found:
        say("no case is assigned to you\nnext: ask an approver for: fairlead cases open …")
    emit([_record(case) for case in found], columns=COLUMNS, output=output)
    soon = [case.case_id for case in found if _state(case) == "expires soon"]
    if soon:
        say(f"expires within a week: {', '.join(soon)}\nnext: fairlead cases open NEW-REFERENCE …")


@app.command("evidence")
def case_evidence(
    case: CaseArgument,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: evidence-CASE.html.")
    ] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write one file that proves to a court what was asked in a case, and verify it.

    Opened for an analyst who is a member of the case; without terms and answers for an approver or
    auditor. That it was made is on the record, query by query.
    """
    from fairlead.cli.evidence import anchors_of, report
    from fairlead.keyfile import write_private

    async def run() -> bytes:
        client, _, _ = connect(profile)
        async with client:
            made: bytes = await client.evidence(case)
            return made

    page = awaited(run())
    path = out or Path(f"evidence-{re.sub('[^A-Za-z0-9-]', '_', case)}.html")
    try:
        write_private(path, page)
    except OSError:
        raise Misconfigured(
            "the evidence cannot be written there",
            reasons=("FILE",),
            remedy="fairlead cases evidence CASE --out FILE   (in a folder of your own)",
        ) from None
    report(page, path, anchors_of(None, profile), output)
    say(f"written: {path}\nnext: fairlead evidence verify {path}")


def _instrument(
    kind: str | None, authority: str | None, reference: str | None, until: str | None
) -> asking_pb2.CaseInstrument | None:
    """All four options or none.

    :raises InvalidInput: some of them.
    """
    from fairlead.v1 import asking_pb2

    if kind is None and authority is None and reference is None and until is None:
        return None
    if kind is None or authority is None or reference is None or until is None:
        raise InvalidInput(
            "a legal instrument needs its kind, authority, reference and end",
            reasons=("INSTRUMENT_INCOMPLETE",),
            remedy="fairlead cases open … --instrument KIND --authority AUTHORITY "
            "--instrument-ref REFERENCE --instrument-until 90d",
        )
    return asking_pb2.CaseInstrument(
        kind=kind,
        authority=authority,
        reference=reference,
        valid_until=lasting(until, now=time.time()),
    )


def _days(text: str | None) -> int:
    """``90d`` as whole days; None leaves it to policy.

    :raises InvalidInput: anything else.
    """
    if text is None:
        return 0
    if not re.fullmatch(r"[1-9][0-9]{0,3}d", text):
        raise InvalidInput(
            "a retention is a number of days", reasons=("TIME",), remedy="--retention 90d"
        )
    return int(text[:-1])


def _until(case: object) -> str:
    until = case.instrument.valid_until  # type: ignore[attr-defined]
    return when(until) if until else ""


def _state(case: object) -> str:
    left = case.expires_at - time.time()  # type: ignore[attr-defined]
    if case.closed_at:  # type: ignore[attr-defined]
        return "closed"
    if left <= 0:
        return "expired"
    return "expires soon" if left < WEEK_S else "open"


def _record(case: object) -> dict[str, object]:
    from fairlead.v1.handling_pb2 import Pap, Tlp

    return {
        "case": case.case_id,  # type: ignore[attr-defined]
        "purpose": case.purpose,  # type: ignore[attr-defined]
        "legal_basis": case.legal_basis,  # type: ignore[attr-defined]
        "schemes": ", ".join(case.schemes),  # type: ignore[attr-defined]
        "members": ", ".join(case.members),  # type: ignore[attr-defined]
        "state": _state(case),
        "expires": when(case.expires_at),  # type: ignore[attr-defined]
        "opened_by": case.opened_by,  # type: ignore[attr-defined]
        "tlp": Tlp.Name(case.tlp).removeprefix("TLP_"),  # type: ignore[attr-defined]
        "pap": Pap.Name(case.pap).removeprefix("PAP_"),  # type: ignore[attr-defined]
        "retention_days": case.retention_days,  # type: ignore[attr-defined]
        "instrument": case.instrument.kind,  # type: ignore[attr-defined]
        "authority": case.instrument.authority,  # type: ignore[attr-defined]
        "instrument_until": _until(case),
    }
