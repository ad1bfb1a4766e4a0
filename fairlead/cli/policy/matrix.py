"""``fairlead policy matrix``: who may learn what from whom, as a table or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import RowsOption
from fairlead.cli.output import RowFormat, emit_rows, emit_table, say, wrapped
from fairlead.cli.policy.options import AtOption, FolderArgument, moment_of

if TYPE_CHECKING:
    from fairlead.policy.asked import Filters
    from fairlead.policy.draft import Draft
    from fairlead.policy.matrix import MatrixRow
    from fairlead.policy.sides import Policy

COLUMNS = ("asker", "owner", "purpose", "schemes", "countries", "modes", "learns", "conditions",
           "legal_bases", "agreements", "level")  # fmt: skip
SHOWN = COLUMNS[:8]


def matrix(
    folder: FolderArgument,
    asker: Annotated[
        list[str] | None, typer.Option("--asker", help="Only this kind or partner (repeat).")
    ] = None,
    owner: Annotated[
        list[str] | None, typer.Option("--owner", help="Only this kind or partner (repeat).")
    ] = None,
    purpose: Annotated[
        list[str] | None, typer.Option("--purpose", help="Only this purpose (repeat).")
    ] = None,
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", help="Only this kind of identifier (repeat).")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="Only sealed, or only blind.")
    ] = None,
    country: Annotated[
        list[str] | None, typer.Option("--country", help="Only between these countries (repeat).")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write one page with a coloured grid."),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Instead: who may ask for which figures.")
    ] = False,
    at: AtOption = None,
    output: RowsOption = RowFormat.TABLE,
) -> None:
    """Show every permitted kind of question, each as the engine decides it."""
    from fairlead.policy.asked import Filters
    from fairlead.policy.draft import Draft
    from fairlead.policy.matrix import matrix as ask

    draft, now = Draft.read(folder), moment_of(at)
    filters = Filters(
        askers=asker or (), owners=owner or (), purposes=purpose or (),
        schemes=scheme or (), modes=mode or (), countries=country or (),
    )  # fmt: skip
    if figures:
        _figures(draft, filters, now, output)
        return
    rows = ask(draft.points, draft.policy, now=now, filters=filters)
    records = [_record(row, draft.policy) for row in rows]
    if output is RowFormat.TABLE:
        lines = [wrapped([str(r[name]) for name in SHOWN], 34) for r in records]
        emit_table(SHOWN, [line for row in lines for line in row])
    elif output is RowFormat.CSV:
        emit_rows(records, columns=COLUMNS, output=output)
    else:
        emit_rows([row.record() for row in rows], columns=COLUMNS, output=output)
    say(f"{len(rows)} kinds of question are permitted, everything else is refused")
    if page is not None:
        from fairlead.policy.figures.matrix import figure_matrix
        from fairlead.policy.matrix_page import page as drawn
        from fairlead.policy.sides import day

        readers = figure_matrix(draft.points, draft.policy, now=now, filters=filters)
        text = drawn(rows, draft.policy, draft.registry, readers, day=day(now), name=folder.name)
        page.write_text(text, "utf-8")
        say(f"written: {page}")


def _figures(draft: Draft, filters: Filters, now: int, output: RowFormat) -> None:
    from fairlead.policy.figures.matrix import FIGURE_COLUMNS, figure_matrix

    rows = figure_matrix(draft.points, draft.policy, now=now, filters=filters)
    if output is RowFormat.JSON:
        emit_rows([row.record() for row in rows], columns=FIGURE_COLUMNS, output=output)
    elif output is RowFormat.CSV:
        emit_rows([row.words(draft.policy) for row in rows], columns=FIGURE_COLUMNS, output=output)
    else:
        cells = [wrapped(list(row.words(draft.policy).values()), 34) for row in rows]
        emit_table(FIGURE_COLUMNS, [line for row in cells for line in row])
    say(f"{len(rows)} kinds of question for figures are permitted, everything else is refused")


def _record(row: MatrixRow, policy: Policy) -> dict[str, Any]:
    """The row as cells that a person reads."""
    from fairlead.policy.widened import scheme_words

    return {
        "asker": row.asker,
        "owner": row.owner,
        "purpose": row.purpose,
        "schemes": scheme_words([(name,) for name in row.schemes], policy["schemes"]),
        "countries": ", ".join(row.countries),
        "modes": ", ".join(row.modes),
        "learns": row.words(),
        "conditions": "; ".join(row.conditions),
        "legal_bases": ", ".join(row.legal_bases),
        "agreements": ", ".join(row.agreements),
        "level": row.level,
    }
