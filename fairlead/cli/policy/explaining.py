"""``fairlead policy explain``: why a question is decided so, and what would have to change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Format, emit_json, emit_table, printable, say
from fairlead.cli.policy.options import AtOption, FolderArgument, moment_of

if TYPE_CHECKING:
    from fairlead.policy.explanation import Explanation


def explain(
    folder: FolderArgument,
    given: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="What one decision point was told (JSON)."),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLUMN=WORD]...",
            help="The question in the columns of a table, as asker=customs owner=terminal.",
        ),
    ] = None,
    at: AtOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say what decides a question, which agreements were considered, and what would permit it.

    The columns: asker, owner, purpose, scheme (needed), legal_basis, mode, terms, window_days,
    asker_country, owner_country, role, approvals, case, instrument, and of the record: event, tlp,
    pap, europol, grade, personal, active_target, record_purposes, record_country, fields.
    """
    from fairlead.policy.draft import Draft
    from fairlead.policy.explanation import explain as find
    from fairlead.policy.inquiry import Inquiry
    from fairlead.policy.told import inquiries

    draft = Draft.read(folder)
    if given is not None:
        point, questions = inquiries(_read(given), draft.policy)
    else:
        point = ""
        questions = {"": Inquiry.of(_columns(words or []), draft.policy, now=moment_of(at))}
    found = {
        name: find(draft.points, draft.policy, question, only=point)
        for name, question in questions.items()
    }
    if output is Format.JSON:
        emit_json([{"of": name or None, **e.record()} for name, e in found.items()])
        return
    for name, explanation in found.items():
        _print(name, explanation)


def _read(path: Path) -> Mapping[str, Any]:
    import json

    from fairlead.errors import InvalidInput

    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise InvalidInput(
            "the file is not a JSON document",
            reasons=("INPUT_UNREADABLE",),
            remedy="fairlead policy explain --help",
        )
    found = content.get("input", content)  # a golden vector has its input inside
    return found if isinstance(found, dict) else content


def _columns(words: list[str]) -> dict[str, str]:
    from fairlead.errors import InvalidInput

    pairs = [word.partition("=") for word in words]
    if any(not equals for _, equals, _ in pairs):
        raise InvalidInput(
            "a column is written as asker=customs",
            reasons=("QUESTION_WORDS",),
            remedy="fairlead policy explain --help",
        )
    return {name.replace("-", "_"): word for name, _, word in pairs}


def _print(name: str, found: Explanation) -> None:
    from fairlead.policy.terms import facet_words

    decision = found.verdict.decision
    heading = "permitted" if decision.permit else f"refused at {found.verdict.decided_by}"
    typer.echo(printable(f"{name}: {heading}" if name else heading))
    if decision.permit:
        typer.echo(printable(f"  discloses: {facet_words(decision.facets)}"))
        typer.echo(printable(f"  under: {', '.join(decision.rules) or 'no agreement needed'}"))
    _reasons(found)
    emit_table(
        ("point", "effect", "checks that fail"),
        [
            (
                point,
                step.effect.value,
                ", ".join(n for n, ok in sorted(step.checks.items()) if not ok),
            )
            for point, step in found.verdict.steps.items()
        ],
    )
    if found.considered:
        emit_table(
            ("agreement", "fails at", "asked", "agreed", "sides failed"),
            [
                (
                    c.agreement,
                    c.side or "covers it",
                    c.asked or None,
                    c.agreed[:60] or None,
                    c.failed,
                )
                for c in found.considered
            ],
        )
    _ways(found)


def _reasons(found: Explanation) -> None:
    """Those of the point that decides: what comes after it follows."""
    from fairlead.reasons.catalogue import reason as explained
    from fairlead.reasons.language import chosen

    step = found.verdict.steps.get(found.verdict.decided_by)
    for reason in step.reasons if step is not None else found.verdict.decision.reasons:
        told = explained(reason.code, chosen(os.environ))
        typer.echo(printable(f"  {told.text} {told.needed} [{reason.code}]"))


def _ways(found: Explanation) -> None:
    from fairlead.policy.terms import facet_words

    if not found.ways:
        say("no single change, nor two together, of the question would permit more")
        say("next: fairlead policy new-agreement DIR")
        return
    typer.echo("would permit more:")
    for way in found.ways:
        what = ", and ".join(f"{c.text} ({c.who})" for c in way.changes)
        typer.echo(printable(f"  {what}: {facet_words(way.facets)}"))
