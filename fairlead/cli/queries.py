"""``fairlead queries``: what was asked, what came back, and what was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fairlead.cli.options import ProfileOption, RowsOption, connect, query_reference, when
from fairlead.cli.output import Exit, RowFormat, awaited, emit_json, emit_rows, say
from fairlead.cli.results import APPROVAL_WORDS, BLIND, Result, gather, word
from fairlead.cli.showing import RowStream, show

app = typer.Typer(help="Show, resume and export queries asked before.", no_args_is_help=True)
COLUMNS = ("query", "asked_at", "user", "case", "purpose", "terms", "state", "kept_until")
QueryArgument = Annotated[str, typer.Argument(help="Id of a query; see: fairlead queries list.")]


@app.command("list")
def list_queries(profile: ProfileOption = None, output: RowsOption = RowFormat.TABLE) -> None:
    """List your queries, newest first; those of your whole partner for an auditor."""
    from fairlead.v1 import asking_pb2

    async def run() -> list[Any]:
        client, _, _ = connect(profile)
        async with client:
            listed = await client.stub.ListQueries(asking_pb2.ListQueriesRequest(), timeout=10)
            return list(listed.queries)

    found = awaited(run())
    if not found:
        say("no query is kept here\nnext: fairlead ask --help")
    emit_rows([_record(item) for item in found], columns=COLUMNS, output=output)


@app.command("show")
def show_query(
    query: QueryArgument, profile: ProfileOption = None, output: RowsOption = RowFormat.TABLE
) -> int:
    """Show what is kept of a query; the reading is on the record. Metadata for an auditor."""
    return awaited(_kept(query, profile, output))


@app.command("export")
def export_query(
    query: QueryArgument, profile: ProfileOption = None, output: RowsOption = RowFormat.JSON
) -> int:
    """Write what is kept of a query to standard output, for another program."""
    return awaited(_kept(query, profile, output))


@app.command("resume")
def resume_query(
    query: QueryArgument,
    receipt: Annotated[Path | None, typer.Option(help="Where to keep the receipts.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 10 on a hit.")] = False,
    profile: ProfileOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> int:
    """Finish a query that was interrupted; no term is asked twice."""
    from fairlead.cli.ask import finish

    reference = query_reference(query)

    async def run() -> int:
        client, settings, folder = connect(profile)
        async with client:
            return await finish(
                client.resume(reference),
                Result(),
                output=output,
                receipt=receipt or folder / settings.receipts,
                on_hit=exit_code,
            )

    return awaited(run())


async def _kept(query: str, profile: Path | None, output: RowFormat) -> int:
    reference = query_reference(query)
    client, _, _ = connect(profile)
    stream = RowStream(output) if output in {RowFormat.NDJSON, RowFormat.CSV} else None
    batches: list[Any] = []

    async def noted(events: Any) -> Any:
        async for event in events:
            if event.HasField("batch"):
                batches.append(event.batch)
            yield event

    async with client:
        events = noted(client.show(reference))
        # Its receipts were kept when it was asked.
        result = await gather(events, Result(), live=False, keep=lambda _: None, shown=stream)
    if not batches[0].paged:  # an auditor's view
        record = _record(batches[0].summary)
        if output is RowFormat.JSON:
            emit_json({"schema": 1, **record})
        else:
            emit_rows([record], columns=COLUMNS, output=output)
        return Exit.ANSWERED
    show(result, output, (), stream)
    partial = result.exit_code(on_hit=False) is Exit.PARTIAL
    return Exit.PARTIAL if partial else Exit.ANSWERED


def _record(summary: Any) -> dict[str, object]:
    from fairlead.v1.handling_pb2 import Pap, Tlp

    state = "complete" if summary.chunks_done >= summary.chunks else "interrupted"
    if not summary.chunks_done:
        state = APPROVAL_WORDS.get(summary.approval, state)
    return {
        "query": summary.query_id.hex(),
        "asked_at": when(summary.asked_at),
        "user": summary.user,
        "case": summary.case_id,
        "purpose": summary.purpose,
        "mode": "blind" if summary.mode == BLIND else "sealed",
        "terms": summary.terms,
        "state": state,
        "tlp": word(Tlp, summary.tlp, "TLP_"),
        "pap": word(Pap, summary.pap, "PAP_"),
        "partners": list(summary.partners),
        "kept_until": when(summary.kept_until),
    }
