"""``fairlead policy diff``: who may now learn what they could not before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Exit, Format, emit_json, say
from fairlead.cli.policy.conflicting import ExitCodeOption

if TYPE_CHECKING:
    from fairlead.policy.difference import Difference
    from fairlead.policy.draft import Draft
    from fairlead.policy.figures.changes import ChangedFigures
    from fairlead.policy.widened import Widening


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="What is in force: a folder.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="What is to be: a folder.")],
    exit_code: ExitCodeOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Compare two policies in plain words: what widens first, then what narrows, then the rest.

    With --exit-code it ends with 8 when something widens, or the rules themselves differ.
    """
    from fairlead.policy.difference import compare
    from fairlead.policy.draft import Draft

    one, two = Draft.read(old), Draft.read(new)
    found = compare(one.compiled, two.compiled, rules=_rules_differ(one, two))
    if output is Format.JSON:
        emit_json(_record(found))
    else:
        _print(found, two)
    say("this only tightens" if found.tightening else "this widens, or may")
    if exit_code and not found.tightening:
        raise typer.Exit(Exit.CHECK_FAILED)


def _rules_differ(one: Draft, two: Draft) -> bool:
    """Whether the rules are others: by their sources where both have them, else by the module."""
    if one.sources and two.sources:
        return one.sources != two.sources
    return one.wasm != two.wasm


def _record(found: Difference) -> dict[str, Any]:
    return {
        "tightening": found.tightening,
        "rules_differ": found.rules,
        "widening": [w.record() for w in found.widening],
        "narrowing": [w.record() for w in found.narrowing],
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": {name: list(keys) for name, keys in found.changed.items()},
        "registry": list(found.registry),
        "unchanged": list(found.same),
    }


def _print(found: Difference, draft: Draft) -> None:
    from fairlead.cli.output import printable

    lines = ["Widening", *_sentences(found.widening, draft)]
    if found.rules:
        lines.append(
            "  the rules themselves differ: agreements alone do not say what that changes; "
            "replay past decisions"
        )
    lines += ["Narrowing", *_sentences(found.narrowing, draft), "Agreements"]
    lines += [f"  added: {name}" for name in found.added]
    lines += [f"  removed: {name}" for name in found.removed]
    lines += [f"  changed: {name}: {', '.join(keys)}" for name, keys in found.changed.items()]
    if found.registry:
        lines.append(f"  registry changed: {', '.join(found.registry)}")
    lines.append(f"  unchanged: {', '.join(found.same) or 'none'}")
    typer.echo("\n".join(printable(line) for line in lines))


def _sentences(found: Sequence[Widening | ChangedFigures], draft: Draft) -> list[str]:
    return [f"  {w.sentence(draft.policy)}" for w in found] or ["  nothing"]
