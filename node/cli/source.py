"""``fairlead-node source``: add a source, test its mapping, list what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import Exit, Format, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption

app = typer.Typer(
    help="What the node answers from: add, test, list.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
GUESSES = ("column", "guess", "share_passing", "example_shape")
TESTED = (
    "source", "rows", "records", "excluded", "reasons", "identifiers", "check_digit_wrong",
    "unverifiable",
)  # fmt: skip
LISTED = ("source", "kind", "reads", "persons", "state", "mapping")
PROGRESS_ROWS = 100_000


@app.command("add")
def add(
    what: Annotated[str, typer.Argument(help="A file, a database URL, env:NAME or file:PATH.")],
    name: Annotated[str, typer.Option(help="Its name; else of the table or file.")] = "",
    config: ConfigOption = CONFIG,
    table: Annotated[str, typer.Option(help="The table to read, as in gate.moves.")] = "",
    query: Annotated[str, typer.Option(help="One SELECT to read instead of a table.")] = "",
    key: Annotated[list[str], typer.Option(help="Columns that tell rows apart.")] = [],
    cursor: Annotated[str, typer.Option(help="A column that grows with every change.")] = "",
    sheet: Annotated[str, typer.Option(help="The sheet of a workbook.")] = "",
    purpose: Annotated[list[str], typer.Option(help="A purpose records answer for.")] = [],
    record_type: Annotated[str, typer.Option(help="movement, release, seal, …")] = "",
    event: Annotated[str, typer.Option(help="The event of every record.")] = "",
    retention_days: Annotated[int | None, typer.Option(min=1, max=3660)] = None,
    active_target: Annotated[str, typer.Option(help="true or false, for every record.")] = "",
    timezone: Annotated[str, typer.Option(help="Of times that state none: an IANA name.")] = "",
    tlp: Annotated[str, typer.Option(help="CLEAR, GREEN, AMBER, AMBER+STRICT, RED.")] = "",
    pap: Annotated[str, typer.Option(help="CLEAR, GREEN, AMBER, RED.")] = "",
    europol: Annotated[str, typer.Option(help="H0, H1, H2, H3.")] = "",
    source_grade: Annotated[str, typer.Option(help="A, B, C, X.")] = "",
    information_grade: Annotated[str, typer.Option(help="1, 2, 3, 4.")] = "",
    allow_personal: Annotated[str, typer.Option(help="Legal ground for person columns.")] = "",
    approved_by: Annotated[str, typer.Option(help="Who approved person columns.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite its mapping.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Guess a mapping from the first rows, write it, and register it in the configuration."""
    import os

    from fairlead.errors import InvalidInput
    from node.sources.adding import add as add_source
    from node.sources.draft import Decisions, Origin

    if bool(allow_personal) != bool(approved_by):
        raise InvalidInput(
            "person columns need both a legal ground and who approved it",
            reasons=("PERSONAL",),
            remedy="--allow-personal 'GDPR art. …' --approved-by dpo",
        )
    grades = {"source_grade": source_grade, "information_grade": information_grade}
    added = add_source(
        what,
        name=name,
        config=config,
        origin=Origin(
            sheet=sheet or None, table=table or None, query=query or None, key=tuple(key),
            cursor=cursor or None,
        ),
        decisions=Decisions(
            purposes=tuple(purpose), record_type=record_type, event=event,
            retention_days=retention_days, active_target=active_target, timezone=timezone,
            handling={"tlp": tlp, "pap": pap, "europol": europol} | grades,
            ground=allow_personal, approved_by=approved_by,
        ),
        environ=os.environ,
        again=replace,
    )  # fmt: skip
    emit(_guesses(added.guesses, persons=bool(allow_personal)), columns=GUESSES, output=output)
    _say_added(added, config)


@app.command("test")
def try_(
    name: Annotated[str, typer.Argument(help="The source's name, or its mapping's.")],
    config: ConfigOption = CONFIG,
    rows: Annotated[int, typer.Option(help="How many excluded rows to show.", min=0)] = 20,
    output: OutputOption = Format.TABLE,
) -> int:
    """Read the whole source without indexing it; count what would become of every row."""
    import os
    import time

    from node.sources.opening import open_source
    from node.sources.trial import find, trial

    source = open_source(find(config, name), now=time.time(), environ=os.environ)
    done = trial(source, progress=lambda count: say(f"{count:,} records"), every=PROGRESS_ROWS)
    report = done.report
    row = {
        "source": report.source,
        "rows": report.rows,
        "records": report.records,
        "excluded": report.excluded_rows,
        "reasons": ", ".join(f"{k} {v}" for k, v in report.excluded_by_reason().items()),
        "identifiers": report.identifiers,
        "check_digit_wrong": report.checksum_failed,
        "unverifiable": report.unverifiable,
    }
    shown = [{"part": e.file, "row": e.row, "reason": e.reason} for e in report.excluded[:rows]]
    warnings = [*done.warnings()]
    if output is Format.JSON:
        reasons = report.excluded_by_reason()
        emit_json({**row, "reasons": reasons, "excluded_rows": shown, "warnings": warnings})
    else:
        emit([row], columns=TESTED, output=output)
    for line in (*(f"{e['part']}, row {e['row']}: {e['reason']}" for e in shown), *warnings):
        say(line)
    if not report.records:
        say("no row became a record")
        say(f"next: correct the mapping, then: fairlead-node source test {name} --config {config}")
        return Exit.CHECK_FAILED
    say(f"next: fairlead-node exposure --config {config}")
    return Exit.ANSWERED


@app.command("list")
def list_(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """List the sources that the configuration names, and whether their mappings are complete."""
    from node.sources.trial import listing

    found = listing(config)
    emit(found, columns=LISTED, output=output)
    if unready := [entry["source"] for entry in found if entry["state"] != "ready"]:
        say(f"next: fairlead-node source test {unready[0]} --config {config}")
    elif not found:
        say(f"next: fairlead-node source add FILE-OR-DATABASE --config {config}")


def _guesses(guesses: object, *, persons: bool) -> list[dict[str, object]]:
    from node.sources.guess import Guesses, Role

    assert isinstance(guesses, Guesses)  # noqa: S101
    rows: list[dict[str, object]] = []
    for found in guesses.columns:
        words = [str(found.role), found.what]
        if found.role is Role.PERSON and not persons:
            words.append("(left out)")
        share = None if found.share is None else f"{found.share:.0%}"
        row = (found.column, " ".join(word for word in words if word), share, found.shape)
        rows.append(dict(zip(GUESSES, row, strict=True)))
    return rows


def _say_added(added: object, config: Path) -> None:
    from node.sources.adding import Added

    assert isinstance(added, Added)  # noqa: S101
    kept = "written" if added.written else "kept as it is (--replace writes it anew)"
    say(f"{added.mapping}: {kept}")
    if added.registered:
        say(f"{config}: the source was added to its list")
    if not added.to_fill:
        say(f"next: fairlead-node source test {added.name} --config {config}")
        return
    say(f"still to be decided by a person, in that file: {', '.join(added.to_fill)}")
    say('next: replace every "TO FILL", then:')
    say(f"      fairlead-node source test {added.name} --config {config}")
