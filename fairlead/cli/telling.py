"""What a code means, told to a person in the language they read.

Programs get codes, the same in every language: ``fairlead policy reasons --output json`` has the
words for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fairlead.cli.output import printable

if TYPE_CHECKING:
    from fairlead.reasons import Explanation

GENERAL = frozenset(
    {
        "a slot was not answered",
        "policy does not permit this query",
        "refused",
        "the gateway or the owner does not answer",
        "the gateway refused",
        "the gateway refused this query",
        "the owner delivered nothing",
        "the owner did not take the feedback",
        "your node drafts no question",
    }
)
"""Messages that say no more than that it was refused: the codes say why. Any other says in English
what its first code says."""
KINDS = frozenset(
    {
        "CONFLICT", "FORGED", "INTERNAL", "INVALID_INPUT", "MISCONFIGURED", "NOT_FOUND", "REFUSED",
        "SOURCE_UNUSABLE", "STALE",
    }
)  # fmt: skip
"""Codes of a kind of error: a message beside one says more than its words would."""
MOST = 12
"""Codes that are explained at a time."""
NOTHING_KNOWN: Mapping[str, str] = {}


def language() -> str:
    """The language of whoever runs this program."""
    from fairlead.reasons import chosen

    return chosen(os.environ)


def diagnosis(
    message: str, codes: Sequence[str], remedy: str, values: Mapping[str, str] = NOTHING_KNOWN
) -> str:
    """What stopped a program: what happened, what would be needed, and the next command.

    :param message: in English, as the error has it. :param remedy: likewise, or empty.
    :param values: what is known of the catalogue's placeholders.
    """
    from fairlead.reasons import ENGLISH, catalogue, reason

    wanted = language()
    word = catalogue().words(wanted)
    known = set(catalogue().codes) - KINDS
    explained = [code for code in dict.fromkeys(codes) if code in known]
    told = [reason(code, wanted, values) for code in explained[:MOST]]
    first = told[0] if told and told[0].code == codes[0] else None
    translated = first is not None and first.language != ENGLISH
    head = first.text if first is not None and translated else message
    lines = [f"{word['error']}: {head} [{', '.join(codes)}]"]
    for item in told:
        if item is not first or not (translated or message not in GENERAL):
            lines.append(f"{item.code}: {item.text}")
        lines.append(f"  {word['needed']}: {item.needed}")
    own = reason(codes[0], values=values).next if first else ""
    return "\n".join(lines + _steps(first, remedy, own, word))


def _steps(
    first: Explanation | None, remedy: str, english: str, word: Mapping[str, str]
) -> list[str]:
    """The catalogue's step in the person's language, and the error's own where it says more than
    the catalogue's English one."""
    from fairlead.reasons import ENGLISH

    if first is None:
        return [f"next: {remedy}"] if remedy else []
    if first.language == ENGLISH:
        return [f"{word['next']}: {remedy or first.next}"]
    same = remedy.replace("...", "…") == english
    own = [f"next: {remedy}"] if remedy and not same else []
    return [f"{word['next']}: {first.next}", *own]


def explanations(
    about: Iterable[tuple[str, str]], values: Mapping[str, str], lang: str = ""
) -> list[str]:
    """Lines that explain each code once, with the partners it is about.

    :param about: codes, each with a partner's id or "". :param lang: instead of the person's own.
    """
    from fairlead.reasons import catalogue, reason

    partners: dict[str, list[str]] = {}
    for code, partner in about:
        named = partners.setdefault(code, [])
        if partner and partner not in named:
            named.append(partner)
    wanted = lang or language()
    word, lines = catalogue().words(wanted), []
    for code, named in list(partners.items())[:MOST]:
        known = {**values, "partner": named[0]} if len(named) == 1 else values
        told = reason(code, wanted, known)
        whose = f" ({', '.join(named)})" if named else ""
        lines += [
            f"{printable(code + whose)}: {told.text}",
            f"  {word['needed']}: {told.needed}",
            f"  {word['next']}: {told.next}",
        ]
    return lines
