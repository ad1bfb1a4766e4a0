"""``fairlead feedback``: tell an owner what its answer was good for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fairlead.cli.options import ProfileOption, connect, query_reference
from fairlead.cli.output import awaited, say


class OutcomeWord(StrEnum):
    """``--outcome``."""

    USEFUL = "useful"
    NOT_USEFUL = "not-useful"
    MEASURE = "measure"
    SEIZURE = "seizure"


def feedback(
    query: Annotated[str, typer.Argument(help="Id of a query; see: fairlead queries list.")],
    partner: Annotated[str, typer.Option(help="The partner whose answer it is about.")],
    outcome: Annotated[OutcomeWord, typer.Option(help="What the answer was good for.")],
    term: Annotated[
        str | None, typer.Option(help="The term it is about; else the query as a whole.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Scheme, when the term is not recognised.")
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """Tell a partner, sealed, what its answer was good for. Nobody else can read it."""
    from fairlead.cli.ask import recognise
    from fairlead.v1 import asking_pb2, query_pb2

    name = f"FEEDBACK_OUTCOME_{outcome.value.upper().replace('-', '_')}"
    request = asking_pb2.SendFeedbackRequest(
        query_id=query_reference(query),
        partner_id=partner,
        outcome=query_pb2.FeedbackOutcome.Value(name),
        term=recognise(term, scheme, aloud=False) if term is not None else None,
    )

    async def run() -> None:
        client, _, _ = connect(profile)
        async with client:
            await client.stub.SendFeedback(request, timeout=30)

    awaited(run())
    say("the partner has it")
