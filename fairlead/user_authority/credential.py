"""How a person shows, once, who they are: a port, and one-time codes behind it.

OIDC and PKCS #11 are meant to come as further implementations; ``tests/conformance`` has one suite
for all of them.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Protocol

from fairlead.errors import Overloaded, Unauthenticated
from fairlead.user_authority.register import Register

CODE_LIFETIME_S = 24 * 3600
MAX_FAILURES = 20
FAILURE_WINDOW_S = 600
MAX_CREDENTIAL = 256
"""Characters."""


class Credential(Protocol):
    """Something a person presents in place of a certificate.

    Both run inside one transaction of the register.
    """

    def issue(self, pseudonym: str, *, now: float, secret: bytes) -> str:
        """Make what ``pseudonym`` will present, as text to hand over; an earlier one is void.

        :param secret: 16 random octets.
        """

    def redeem(self, presented: str, *, now: float) -> str:
        """Say whose it is; it is used up by that.

        :raises Unauthenticated: CODE_REFUSED. :raises Overloaded: TOO_MANY_ATTEMPTS.
        """


class OneTimeCodes:
    """Codes of 128 bits, valid 24 hours, used once; only their SHA-256 is stored.

    After twenty refused codes in ten minutes every code is refused for the rest of them: nobody
    guesses 128 bits, but each refusal is a leaf, and the log is not a stranger's to fill.
    """

    def __init__(self, register: Register) -> None:
        self._register = register

    def issue(self, pseudonym: str, *, now: float, secret: bytes) -> str:
        """See :class:`Credential`."""
        text = base64.b32encode(secret).decode("ascii").rstrip("=").lower()
        self._register.put_code(_digest(text), pseudonym, int(now) + CODE_LIFETIME_S)
        return "-".join(text[place : place + 5] for place in range(0, len(text), 5))

    def redeem(self, presented: str, *, now: float) -> str:
        """See :class:`Credential`."""
        if self._register.failures_since(int(now) - FAILURE_WINDOW_S) >= MAX_FAILURES:
            raise Overloaded(
                "too many codes were refused lately",
                reasons=("TOO_MANY_ATTEMPTS",),
                remedy="wait ten minutes, then: fairlead login …",
            )
        found = None
        if len(presented) <= MAX_CREDENTIAL:
            text = presented.replace("-", "").replace(" ", "").lower()
            found = self._register.take_code(_digest(text), int(now))
        if found is None:
            raise Unauthenticated(
                "this code is not in force: used, expired or misspelt",
                reasons=("CODE_REFUSED",),
                remedy="ask for a new one: fairlead-authority user renew PSEUDONYM",
            )
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(b"fairlead/v1/one-time-code\0" + text.encode("utf-8", "replace")).digest()
