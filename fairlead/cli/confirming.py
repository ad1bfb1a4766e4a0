"""Asking a person before something that cannot be taken back."""

from __future__ import annotations

import typer


def confirm(question: str) -> None:
    """Go on if somebody is there and says yes.

    :raises InvalidInput: CONFIRM: nobody is there to be asked.
    :raises Refused: NOT_CONFIRMED: they said no.
    """
    import sys

    from fairlead.errors import InvalidInput, Refused

    if not sys.stdin.isatty():
        raise InvalidInput(
            "nobody is there to confirm this", reasons=("CONFIRM",), remedy="add --yes"
        )
    if not typer.confirm(question, err=True):
        raise Refused("not confirmed; nothing was changed", reasons=("NOT_CONFIRMED",))
