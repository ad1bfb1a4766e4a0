"""``fairlead cases``: why a group of users may ask."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from fairlead.cli.options import OutputOption, ProfileOption, connect, lasting, when
from fairlead.cli.output import Format, emit, say

app = typer.Typer(help="Open and list cases.", no_args_is_help=True)
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
    )

    async def run() -> asking_pb2.Case:
        client, _, _ = connect(profile)
        async with client:
            request = asking_pb2.OpenCaseRequest(case=wanted)
            response: asking_pb2.OpenCaseResponse = await client.stub.OpenCase(request, timeout=10)
            return response.case

    emit([_record(asyncio.run(run()))], columns=COLUMNS, output=output)


@app.command("list")
def list_cases(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """List the cases you are assigned to; all of them for an approver or auditor."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[asking_pb2.Case]:
        client, _, _ = connect(profile)
        async with client:
            listed = await client.stub.ListCases(asking_pb2.ListCasesRequest(), timeout=10)
            return list(listed.cases)

    found = asyncio.run(run())
    if not found:
        say("no case is assigned to you\nnext: ask an approver for: fairlead cases open")
    emit([_record(case) for case in found], columns=COLUMNS, output=output)


def _record(case: object) -> dict[str, object]:
    return {
        "case": case.case_id,  # type: ignore[attr-defined]
        "purpose": case.purpose,  # type: ignore[attr-defined]
        "legal_basis": case.legal_basis,  # type: ignore[attr-defined]
        "schemes": ", ".join(case.schemes),  # type: ignore[attr-defined]
        "members": ", ".join(case.members),  # type: ignore[attr-defined]
        "state": "open" if case.expires_at > time.time() else "expired",  # type: ignore[attr-defined]
        "expires": when(case.expires_at),  # type: ignore[attr-defined]
        "opened_by": case.opened_by,  # type: ignore[attr-defined]
    }
