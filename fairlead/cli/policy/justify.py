"""``fairlead policy justify``: why a widening is wanted, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.output import say


def justify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the draft.")],
    widening: Annotated[str, typer.Argument(help="Its id in the report of the replay.")],
    *,
    text: Annotated[str, typer.Option(help="Why it is wanted: one line, 500 characters at most.")],
    officer: Annotated[Path, typer.Option(help="Your own key file: you sign what you say.")],
) -> None:
    """Say why decisions may be wider than before; without it nobody can sign a second time."""
    import time

    from fairlead import signing
    from fairlead.policy import report

    key = signing.load_signing_key(officer)
    now, by = int(time.time()), signing.digest(signing.public_bytes(key)).hex()

    def said(draft: str) -> report.Json:
        return report.justification(widening, text, key, draft=draft, person="", now=now)

    for path in report.justify(folder, widening, said):
        say(f"{path}: {widening} is justified by {by[:16]}…")
    left = sorted({w for _, found in report.reports(folder) for w in report.unjustified(found)})
    if left:
        say(f"{len(left)} left; next: fairlead policy justify {folder} {left[0]} …")
    else:
        say(f"next: fairlead policy sign {folder} --key FILE")
