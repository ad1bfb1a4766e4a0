"""``fairlead policy test``: a draft's tables of expectations, and the tests beside its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Exit, Format, emit_json, emit_table, say
from fairlead.cli.policy.options import FolderArgument, RequireOpaOption, opa


def try_tables(
    folder: FolderArgument,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Default: DIR/reports/tests.json."),
    ] = None,
    require_opa: RequireOpaOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Run tests/*.yaml on the engine (and on OPA if there), and the rules' own tests."""
    from fairlead.policy.draft import Draft
    from fairlead.policy.testing import run_tests

    found = run_tests(Draft.read(folder), opa(required=require_opa))
    document = found.report()
    _write(folder, report, document)
    if output is Format.JSON:
        failed = [{"place": r.row.place, "wrong": list(r.wrong)} for r in found.failed]
        emit_json({**document, "failed": failed})
    else:
        emit_table(("place", "wrong"), [(r.row.place, "; ".join(r.wrong)) for r in found.failed])
    say(f"{len(found.results)} rows, {len(found.failed)} failed")
    say(f"agreements under which a row is permitted: {document['agreements']['coverage']} %")
    for name in found.untested:
        say(f"untested: {name}")
    for line in found.differing:
        say(f"the engines differ: {line}")
    if found.rules is None:
        say("not run: OPA is missing, so neither the rules' own tests nor the second engine")
    else:
        rules = found.rules
        say(f"rules: {rules['tests']} tests, {len(rules['failed'])} failed, "
            f"{rules['coverage']} % of their lines covered")  # fmt: skip
    if not found.ok:
        say("next: correct the draft or the table, then: fairlead policy test DIR")
        raise typer.Exit(Exit.CHECK_FAILED)
    say("next: fairlead policy conflicts DIR")


def _write(folder: Path, report: Path | None, document: object) -> None:
    """Into the draft, or where the officer says; what lies there is replaced, never followed."""
    import json

    from fairlead.policy import folder as folders
    from fairlead.policy.testing import REPORT

    root, name = (folder, REPORT) if report is None else (report.parent, report.name)
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    folders.write(root, name, text.encode("ascii"))
