"""What a person carries: identity documents, badges, tachograph driver cards.

A badge means nothing without who issued it. A *revoked* badge is a scheme of its own: owners
map their lists of lost, stolen and withdrawn badges to it, which private partners may share,
while ``badge`` is about who went where.
"""

from __future__ import annotations

import re

from fairlead.identifiers import country
from fairlead.identifiers.scheme import Scheme, formed_by, issued
from fairlead.identifiers.spelling import fold

_ORGANISATION = re.compile(r"[A-Z][A-Z0-9]{1,19}\Z")


def organisation(text: str) -> str | None:
    """A short name of an issuer, however spelt: letters and digits, a letter first."""
    folded = fold(text)
    return folded if _ORGANISATION.match(folded) else None


def _badge(name: str, title: str, *, personal: bool) -> Scheme:
    return issued(
        name,
        title,
        "form: 3 to 32 letters and digits behind the issuer",
        "ALFAPORT:00471-22",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{3,32}"),
        issuer="the organisation or port that issued it",
        issuer_of=organisation,
        personal=personal,
    )


SCHEMES = (
    issued(
        "identity-document",
        "Passport, identity card or other document of a person",
        "form: 5 to 20 letters and digits behind the country",
        "BE:592-1234567-89",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{5,20}"),
        issuer="the country that issued it",
        issuer_of=country.iso,
        personal=True,
    ),
    _badge("badge", "Access badge", personal=True),
    _badge("revoked-badge", "Access badge that is lost, stolen or withdrawn", personal=False),
    issued(
        "driver-card",
        "Tachograph driver card, Regulation (EU) No 165/2014",
        "form: sixteen letters and digits behind the country",
        "NL:1000000471220000",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{14}[A-Z0-9]{2}"),
        issuer="the country that issued it",
        issuer_of=country.iso,
        personal=True,
    ),
)
