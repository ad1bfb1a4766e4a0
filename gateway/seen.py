"""What an operator saw last of the federation's books, kept beside the operator's own key.

The books lie at the gateway, and whoever holds the gateway could put last month's back before a
routine signature: the suspension since then would be gone under two honest names. So an operator's
program signs nothing over books older than those it saw.
"""

from __future__ import annotations

import json
from pathlib import Path

from fairlead import signing
from fairlead.errors import Forged, Misconfigured
from fairlead.keyfile import write_private
from gateway.books import Books

MAX_FILE = 64 * 1024
Marks = dict[str, tuple[int, str]]
"""List → its serial and its SHA-256 in hexadecimal."""


class Seen:
    """The newest directory and deny list one operator's key has met."""

    def __init__(self, operator: Path) -> None:
        """:param operator: the operator's key file; ``<name>.seen`` beside it is ours."""
        self._path = operator.with_name(f"{operator.name}.seen")

    def check(self, books: Books) -> None:
        """Refuse to sign over older books, or others of the same serial.

        :raises Forged: BOOKS_OLDER or BOOKS_FORK. :raises Misconfigured: SEEN_FILE.
        """
        now, kept = _marks(books), self._read()
        for name, (serial, digest) in kept.items():
            found, of = now[name]
            if found < serial:
                raise _put_back("BOOKS_OLDER")
            if found == serial and of != digest:
                raise _put_back("BOOKS_FORK")

    def keep(self, books: Books) -> None:
        """Remember these books.

        :raises Misconfigured: SEEN_FILE: it cannot be written.
        """
        try:
            write_private(self._path, json.dumps(_marks(books)).encode())
        except OSError:
            raise self._unusable() from None

    def _read(self) -> Marks:
        if not self._path.exists():
            return {}
        try:
            with self._path.open("rb") as file:
                content = json.loads(file.read(MAX_FILE))
            found = {name: (int(serial), str(of)) for name, (serial, of) in content.items()}
            if found.keys() != {"directory", "deny-list"}:
                raise ValueError
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            raise self._unusable() from None
        return found

    def _unusable(self) -> Misconfigured:
        return Misconfigured(
            "what this operator saw last cannot be read or written beside the key",
            reasons=("SEEN_FILE",),
            remedy=f"make the folder of {self._path} writable; remove that file only when its "
            "serials are those you signed last: fairlead-gateway partner list",
        )


def _marks(books: Books) -> Marks:
    directory, denied = (
        signing.digest(signing.canonical(content)).hex()
        for content in (books.directory, books.denied)
    )
    return {
        "directory": (books.directory.serial, directory),
        "deny-list": (books.denied.serial, denied),
    }


def _put_back(code: str) -> Forged:
    return Forged(
        "the books at this gateway are not those you saw last; nothing was signed",
        reasons=(code,),
        remedy="ask the other operator and a partner which serial they hold: "
        "fairlead-gateway partner list; somebody has put older books back",
    )
