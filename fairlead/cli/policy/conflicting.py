"""``fairlead policy conflicts``: agreements that contradict, shadow or reach nobody."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.options import OutputOption
from fairlead.cli.output import Exit, Format, emit_json, emit_table, say, wrapped
from fairlead.cli.policy.options import AtOption, FolderArgument, moment_of

ExitCodeOption = Annotated[
    bool, typer.Option("--exit-code", help="End with 8 when something was found.")
]


def conflicts(
    folder: FolderArgument,
    exit_code: ExitCodeOption = False,
    at: AtOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Name agreements that overlap with other terms, that change nothing, or reach nobody."""
    from fairlead.policy.conflicts import CODES
    from fairlead.policy.conflicts import conflicts as look
    from fairlead.policy.draft import Draft

    draft = Draft.read(folder)
    found = look(draft.compiled, now=moment_of(at))
    if output is Format.JSON:
        places = draft.places
        emit_json(
            [{**c.record(), "places": [places.get(n, "") for n in c.agreements]} for c in found]
        )
    else:
        rows = [wrapped([c.code, ", ".join(c.agreements), c.text, c.remedy], 56) for c in found]
        emit_table(("code", "agreements", "what", "next"), [line for row in rows for line in row])
    for code in dict.fromkeys(c.code for c in found):
        say(f"{code}: {CODES[code]}")
    say(f"{len(found)} found" if found else "nothing found")
    say("next: fairlead policy diff OLD DIR")
    if found and exit_code:
        raise typer.Exit(Exit.CHECK_FAILED)
