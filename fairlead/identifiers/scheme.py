"""One kind of identifier, as data: how it is read, what is checked, what it may disclose.

Most kinds are made by :func:`plain` (the text is the identifier) or :func:`issued` (it means
nothing without its issuer, so the canonical value is ``ISSUER:VALUE``). Both are total and
idempotent as long as ``read`` reads what it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.spelling import fold

Reading = tuple[str, Validity]
Read = Callable[[str], Reading | None]
"""Canonical spelling and validity of a text, None when it is not of the scheme's form."""
IssuedRead = Callable[[str, str], Reading | None]
"""The same of (text, issuer)."""

POINTER = frozenset({"existence", "contact_desk"})
"""A lead and never a hit: that something is held, and whom to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One scheme. ``checks``, ``issuer`` and ``examples`` are shown in docs/schemes.md.

    ``issuer`` says which issuer belongs before the identifier, empty when none does.
    ``ceiling`` are the facets that a question in this scheme may ever yield, whatever any
    policy says; None leaves it to policy. ``recognised`` schemes are unlike any other, so that
    a text may be taken for one without being told. ``personal``: its identifiers are, or lead
    straight to, one natural person.
    """

    name: str
    title: str
    checks: str
    examples: tuple[str, ...]
    normalise: Callable[[str, str], Identifier]
    reason: Callable[[Identifier], str | None]
    issuer: str = ""
    ceiling: frozenset[str] | None = None
    recognised: bool = False
    personal: bool = False


def reason(found: Identifier) -> str | None:
    """Why an identifier may not be asked about: a wrong check digit, or not of the form."""
    return {
        Validity.CHECKSUM_OK: None,
        Validity.FORMAT_OK: None,
        Validity.CHECKSUM_FAILED: "CHECK_DIGIT",
        Validity.UNVERIFIABLE: "FORMAT",
    }[found.validity]


def plain(
    name: str,
    title: str,
    checks: str,
    *examples: str,
    read: Read,
    why: Callable[[Identifier], str | None] = reason,
    exact: bool = False,
    recognised: bool = False,
    personal: bool = False,
) -> Scheme:
    """A scheme without an issuer.

    :param exact: ``read`` is given the text as it stands first, because case or punctuation
        means something; otherwise, and when that fails, the folded text.
    """

    def normalise(raw: str, issuer: str = "") -> Identifier:  # noqa: ARG001  (every family's shape)
        value, validity = _settled(raw, read, exact=exact)
        return Identifier(scheme=name, value=value, issuer=None, validity=validity, raw=raw)

    return Scheme(
        name=name,
        title=title,
        checks=checks,
        examples=examples,
        normalise=normalise,
        reason=why,
        recognised=recognised,
        personal=personal,
    )


def issued(
    name: str,
    title: str,
    checks: str,
    *examples: str,
    read: IssuedRead,
    issuer: str,
    issuer_of: Callable[[str], str | None],
    bare: Callable[[str], tuple[str, str] | None] = lambda _: None,
    joint: str = ":",
    exact: bool = False,
    personal: bool = False,
) -> Scheme:
    """A scheme whose identifiers need their issuer: ``ISSUER:VALUE``, or the issuer beside it.

    :param issuer: which issuer, in words.
    :param issuer_of: the issuer's canonical spelling, None for any other text; idempotent.
    :param bare: finds (issuer, rest) in folded text that states no issuer, where the scheme
        itself begins with one. An issuer that is stated twice counts once.
    :param joint: what stands between the two; "" only when ``bare`` finds every issuer.
    """

    def split(raw: str, beside: str) -> tuple[str | None, str]:
        stated, rest = None, raw
        for left, right in _readings(raw):
            if (found := issuer_of(left)) and fold(right):
                stated, rest = found, right
                break
        else:
            stated = issuer_of(beside) if beside else None
        while leading := bare(fold(rest)):
            first = issuer_of(leading[0])
            if first is None or stated not in {None, first} or not leading[1]:
                break
            stated, rest = first, leading[1]
        return stated, rest

    def normalise(raw: str, beside: str = "") -> Identifier:
        stated, rest = split(raw, beside)
        value, validity = _settled(rest, lambda text: read(text, stated or ""), exact=exact)
        if stated is None or not value:
            return Identifier(
                scheme=name, value=fold(raw), issuer=None, validity=Validity.UNVERIFIABLE, raw=raw
            )
        return Identifier(
            scheme=name, value=stated + joint + value, issuer=stated, validity=validity, raw=raw
        )

    def why(found: Identifier) -> str | None:
        formed = found.issuer is None and _settled(
            found.raw, lambda text: read(text, ""), exact=exact
        )
        return "ISSUER_REQUIRED" if formed and formed[1] in _FORMED else reason(found)

    return Scheme(
        name=name,
        title=title,
        checks=checks,
        examples=examples,
        normalise=normalise,
        reason=why,
        issuer=issuer,
        personal=personal,
    )


_FORMED = frozenset({Validity.CHECKSUM_OK, Validity.FORMAT_OK})
_MARKS = str.maketrans({"：": ":", "／": "/", "｜": "|"})


def formed(pattern: str) -> Read:
    """A reader for schemes with a form and no check digit; ``pattern`` matches the folded text."""
    compiled = re.compile(rf"(?:{pattern})\Z")

    def read(text: str) -> Reading | None:
        return (text, Validity.FORMAT_OK) if compiled.match(text) else None

    return read


def formed_by(pattern: str) -> IssuedRead:
    """The same for schemes with an issuer."""
    read = formed(pattern)
    return lambda text, _: read(text)


def checked(value: str, *, right: bool) -> Reading:
    """A canonical value whose check digit was verified."""
    return value, Validity.CHECKSUM_OK if right else Validity.CHECKSUM_FAILED


def _settled(raw: str, read: Read, *, exact: bool) -> Reading:
    folded = fold(raw)
    found = (read(raw) if exact else None) or read(folded)
    return found or (folded, Validity.UNVERIFIABLE)


def _readings(raw: str) -> Iterator[tuple[str, str]]:
    """(issuer, rest) as written with a colon, a bar or a slash after the issuer."""
    text = raw if raw.isascii() else raw.translate(_MARKS)
    for mark in ":|/":
        left, found, right = text.partition(mark)
        if found:
            yield left, right
