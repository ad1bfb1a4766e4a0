"""``fairlead approvals``: the second person, before a query is sent and after it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, connect, query_reference, when
from fairlead.cli.output import Format, awaited, emit, emit_json, emit_table, printable, say
from fairlead.errors import NotFound

if TYPE_CHECKING:
    from fairlead.approving import Waiting

app = typer.Typer(help="Approve or deny queries that need a second person.", no_args_is_help=True)
reviews = typer.Typer(help="Confirm what was sent, or object.", no_args_is_help=True)
app.add_typer(reviews, name="reviews")
COLUMNS = (
    "query", "user", "case", "purpose", "legal_basis", "mode", "schemes", "terms", "partners",
    "urgent", "stands_until", "approvals", "asked_at", "expires",
)  # fmt: skip
REVIEW_COLUMNS = ("query", "kind", "user", "case", "purpose", "terms", "asked_at", "due")
TIMEOUT_S = 30
QueryArgument = Annotated[str, typer.Argument(help="Id of a query; see: fairlead approvals list.")]
ReviewArgument = Annotated[
    str, typer.Argument(help="Id of a query; see: fairlead approvals reviews list.")
]
KindOption = Annotated[str, typer.Option(help="urgent or sample, as the list says.")]


@app.command("list")
def list_approvals(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """List queries of colleagues that wait for you or another approver (role approver)."""

    async def run() -> list[Waiting]:
        client, _, _ = connect(profile)
        async with client:
            found: list[Waiting] = await client.pending()
            return found

    found = awaited(run())
    if not found:
        say("no query waits for a second person")
    emit([_record(item) for item in found], columns=COLUMNS, output=output)


@app.command("show")
def show_approval(
    query: QueryArgument, profile: ProfileOption = None, output: OutputOption = Format.TABLE
) -> None:
    """Show a query that waits, with its terms; the reading is on the record."""
    reference = query_reference(query)

    async def run() -> tuple[Waiting, list[Any]]:
        client, _, _ = connect(profile)
        async with client:
            waiting = _one(await client.pending(), reference)
            return waiting, await client.pending_terms(waiting)

    waiting, terms = awaited(run())
    listed = [{"scheme": term.scheme, "term": term.value} for term in terms]
    if output is Format.JSON:
        emit_json({"schema": 1, **_record(waiting), "asked": listed})
        return
    emit_table(("what", "value"), list(_record(waiting).items()))
    emit(listed, columns=("scheme", "term"), output=output)
    say(f"next: fairlead approvals approve {query} --mandate {waiting.digest.hex()}")


@app.command("approve")
def approve(
    query: QueryArgument,
    mandate: Annotated[
        str | None,
        typer.Option(help="Sign this mandate only: its digest, as show and list print it."),
    ] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Sign that a colleague's query may be sent; never your own.

    With --mandate nothing is signed but what you looked at, whatever your node shows now.
    """
    from fairlead.approving import check_same

    reference = query_reference(query)

    async def run() -> tuple[Waiting, int]:
        client, _, _ = connect(profile)
        async with client:
            waiting = _one(await client.pending(), reference)
            if mandate is not None:
                check_same(waiting, mandate)
            _say_signed(waiting)
            return waiting, await client.approve(waiting)

    waiting, state = awaited(run())
    decided = _decided(waiting, state)
    if decided["state"] == "approved":
        say(f"{waiting.requester} sends it with: fairlead queries resume {query}")
    else:
        say("another approver must agree too: fairlead approvals list")
    emit([decided], columns=("query", "state"), output=output)


@app.command("deny")
def deny(
    query: QueryArgument,
    reason: Annotated[
        str, typer.Option(help="A code of capital letters, as NOT_PROPORTIONATE.")
    ] = "NOT_PROPORTIONATE",
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Deny a colleague's query for good."""
    from fairlead.v1 import asking_pb2

    reference = query_reference(query)
    request = asking_pb2.DecideApprovalRequest(query_id=reference, deny=reason)

    async def run() -> tuple[Waiting, int]:
        client, _, _ = connect(profile)
        async with client:
            waiting = _one(await client.pending(), reference)
            decided = await client.stub.DecideApproval(request, timeout=TIMEOUT_S)
            return waiting, decided.state

    emit([_decided(*awaited(run()))], columns=("query", "state"), output=output)


@reviews.command("list")
def list_reviews(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """List queries that you are to confirm: urgent ones, and those drawn by chance."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[Any]:
        client, _, _ = connect(profile)
        async with client:
            request = asking_pb2.ListReviewsRequest()
            listed = await client.stub.ListReviews(request, timeout=TIMEOUT_S)
            return list(listed.reviews)

    found = awaited(run())
    if not found:
        say("nothing waits for your review")
    emit([_review(item) for item in found], columns=REVIEW_COLUMNS, output=output)


@reviews.command("confirm")
def confirm(query: ReviewArgument, kind: KindOption, profile: ProfileOption = None) -> None:
    """Confirm that a query was asked as it should be."""
    _decide_review(query, kind, profile, objects=False)
    say("confirmed, on the record")


@reviews.command("object")
def objected(query: ReviewArgument, kind: KindOption, profile: ProfileOption = None) -> None:
    """Object to a query: an alarm in your node's audit log."""
    _decide_review(query, kind, profile, objects=True)
    say("objected, on the record; talk to your security officer")


def _decide_review(query: str, kind: str, profile: Path | None, *, objects: bool) -> None:
    from fairlead.v1 import asking_pb2

    request = asking_pb2.DecideReviewRequest(
        query_id=query_reference(query), kind=kind, objects=objects
    )

    async def run() -> None:
        client, _, _ = connect(profile)
        async with client:
            await client.stub.DecideReview(request, timeout=TIMEOUT_S)

    awaited(run())


def _one(found: list[Waiting], reference: bytes) -> Waiting:
    """:raises NotFound: it does not wait for this approver."""
    for waiting in found:
        if waiting.shown.query.query_id == reference:
            return waiting
    raise NotFound(
        "no such query waits for you",
        reasons=("NOT_PENDING",),
        remedy="fairlead approvals list",
    )


def _say_signed(waiting: Waiting) -> None:
    mandate = waiting.mandate
    say(
        f"you sign that {printable(waiting.requester)} may ask {mandate.term_count:,} terms "
        f"({', '.join(printable(scheme) for scheme in mandate.schemes)}) {waiting.mode}, for "
        f"{printable(mandate.purpose)} on {printable(mandate.legal_basis)}, once, until "
        f"{when(mandate.expires_at)}"
    )
    if waiting.stands_until:
        say(
            "it is a watch: its node looks the terms up again in each later snapshot, until "
            f"{when(waiting.stands_until)}"
        )
    if waiting.shown.urgent:
        say("it exceeds a budget, and you let it: another approver reviews that within 72 hours")
    say(f"mandate {waiting.digest.hex()}")


def _decided(waiting: Waiting, state: int) -> dict[str, object]:
    from fairlead.cli.results import APPROVAL_WORDS

    return {
        "query": waiting.shown.query.query_id.hex(),
        "state": APPROVAL_WORDS.get(state, "unknown"),
    }


def _record(waiting: Waiting) -> dict[str, object]:
    shown, mandate = waiting.shown, waiting.mandate
    return {
        "query": shown.query.query_id.hex(),
        "user": waiting.requester,
        "case": shown.query.case_id,
        "purpose": mandate.purpose,
        "legal_basis": mandate.legal_basis,
        "mode": waiting.mode,
        "schemes": ", ".join(f"{name} {count}" for name, count in sorted(shown.schemes.items())),
        "terms": mandate.term_count,
        "partners": ", ".join(shown.query.partners),
        "urgent": shown.urgent,
        "stands_until": when(waiting.stands_until),
        "approvals": f"{shown.given} of {shown.required}",
        "asked_at": when(shown.query.asked_at),
        "expires": when(shown.expires_at),
        "mandate": waiting.digest.hex(),
    }


def _review(review: Any) -> dict[str, object]:
    return {
        "query": review.query.query_id.hex(),
        "kind": review.kind,
        "user": review.query.user,
        "case": review.query.case_id,
        "purpose": review.query.purpose,
        "terms": review.query.terms,
        "asked_at": when(review.query.asked_at),
        "due": when(review.due_at),
    }
