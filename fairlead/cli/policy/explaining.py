"""``fairlead policy explain``: why a question is decided so, and what would have to change."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Format, awaited, emit_json, emit_table, printable, say
from fairlead.cli.policy.options import AtOption, FolderArgument, moment_of

if TYPE_CHECKING:
    from fairlead.policy.draft import Draft
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
    about: Annotated[
        str | None, typer.Option(metavar="ID", help="A query or a decision of the own node.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Your replay key, which opens the records of --about.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option("--from", help="An exported file; else the own node is asked.")
    ] = None,
    at: AtOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say what decides a question, which agreements were considered, and what would permit it.

    The columns: asker, owner, purpose, scheme (needed), legal_basis, mode, terms, window_days,
    asker_country, owner_country, role, approvals, case, instrument, and of the record: event, tlp,
    pap, europol, grade, personal, active_target, record_purposes, record_country, fields.

    Of a question for figures: asker, cube, purpose (needed), level, asker_country, role.
    """
    from fairlead.policy.draft import Draft

    draft = Draft.read(folder)
    found: dict[str, Explanation] = {}
    if about is not None:
        for label, document in _recorded(about, key, records, profile):
            found |= _of_input(draft, document, label)
    elif given is not None:
        found = _of_input(draft, _read(given))
    else:
        found = {"": _of_words(draft, _columns(words or []), moment_of(at))}
    if output is Format.JSON:
        emit_json([{"of": name or None, **e.record()} for name, e in found.items()])
        return
    for name, explanation in found.items():
        _print(name, explanation)


def _of_words(draft: Draft, words: Mapping[str, str], now: int) -> Explanation:
    from fairlead.policy.explanation import explain as find
    from fairlead.policy.figures import explaining, inquiry
    from fairlead.policy.inquiry import Inquiry

    if "cube" in words:
        asked = inquiry.FigureInquiry.of(words, draft.policy, now=now)
        return explaining.explain(draft.points, draft.policy, asked)
    return find(draft.points, draft.policy, Inquiry.of(words, draft.policy, now=now))


def _of_input(draft: Draft, document: Mapping[str, Any], label: str = "") -> dict[str, Explanation]:
    """What a point was told, explained for each of its candidates or records."""
    from fairlead.policy.explanation import explain as find
    from fairlead.policy.figures import explaining, inquiry
    from fairlead.policy.told import figures, inquiries

    if document.get("point") == inquiry.POINT:
        found = explaining.explain(draft.points, draft.policy, figures(document))
        return {label: found}
    point, questions = inquiries(document, draft.policy)
    return {
        " ".join(word for word in (label, name) if word): find(
            draft.points, draft.policy, question, only=point
        )
        for name, question in questions.items()
    }


def _recorded(
    about: str, key: Path | None, file: Path | None, profile: Path | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was decided then, said at once, and what it was decided on."""
    from fairlead.cli.policy import recalling
    from fairlead.errors import InvalidInput

    if key is None:
        raise InvalidInput(
            "records are sealed to a replay key",
            reasons=("REPLAY_KEY",),
            remedy=f"fairlead policy explain DIR --about {about[:32]} --key replay.key",
        )
    wanted, now = recalling.id_of(about), time.time()
    work = recalling.find(wanted, key=key, file=file, profile=profile, now=now)
    for recorded in awaited(work):
        label = f"{recorded.point} {recorded.decision_id.hex()[:8]}"
        for place, outcome in recorded.outcomes.items():
            effect = "permitted" if outcome.permit else "refused"
            codes = f" [{', '.join(outcome.reasons)}]" if outcome.reasons else ""
            where = f" {place}" if place else ""
            say(f"{label}{where}: {effect} then, serial {recorded.policy_serial}{codes}")
        if recorded.document is None:
            say(f"{label}: its input was not kept, because no replay_key was configured")
        else:
            yield label, recorded.document


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
