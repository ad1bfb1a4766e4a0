"""``fairlead policy reasons``: what each code means, who may read it, and what would be needed."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Format, emit_json, emit_table, say, wrapped
from fairlead.cli.telling import explanations, language
from fairlead.errors import InvalidInput, NotFound

REMEDY = "fairlead policy reasons"


def reasons(
    code: Annotated[str | None, typer.Argument(help="One code, as NO_AGREEMENT.")] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", help="A language, as nl; default: that of the system.")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Explain the codes of refusals: what each says, what would be needed, and what to do next."""
    from fairlead.reasons import catalogue, reason

    wanted = language() if lang is None else lang
    if wanted not in catalogue().languages:
        raise InvalidInput(
            "there is no catalogue in this language",
            reasons=("LANGUAGE",),
            remedy="fairlead policy reasons --lang " + "|".join(catalogue().languages),
        )
    if code is not None and code.upper() not in catalogue().codes:
        raise NotFound("the catalogue has no such code", reasons=("UNKNOWN_REASON",), remedy=REMEDY)
    found = [reason(name, wanted) for name in ([code.upper()] if code else catalogue().codes)]
    if output is Format.JSON:
        emit_json(
            [
                {
                    "code": item.code, "audience": item.audience, "text": item.text,
                    "needed": item.needed, "next": item.next, "language": item.language,
                }
                for item in found
            ]
        )  # fmt: skip
    elif code is not None:
        for line in explanations([(code.upper(), "")], {}, wanted):
            print_line(line)
    else:
        rows = [line for item in found for line in wrapped((item.code, item.audience, item.text))]
        emit_table(("code", "audience", "text"), rows)
        say("next: fairlead policy reasons CODE")


def print_line(text: str) -> None:
    """One line of what was asked for, on standard output."""
    typer.echo(text)
