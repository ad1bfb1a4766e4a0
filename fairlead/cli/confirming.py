"""Asking a person before something that cannot be taken back."""

from __future__ import annotations

import typer


def confirm(question: str, *, what: str, otherwise: str) -> None:
    """Go on if somebody is there and says yes.

    :param what: what is confirmed, as in "what is signed". :param otherwise: what a no means.
    :raises InvalidInput: CONFIRM: nobody is there to be asked.
    :raises Refused: NOT_CONFIRMED: they said no.
    """
    import sys

    from fairlead.errors import InvalidInput, Refused

    if not sys.stdin.isatty():
        raise InvalidInput(
            f"nobody is there to confirm {what}", reasons=("CONFIRM",), remedy="add --yes"
        )
    if not typer.confirm(question, err=True):
        raise Refused(otherwise, reasons=("NOT_CONFIRMED",))
