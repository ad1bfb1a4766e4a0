"""Options that say which leaves, where they lie, and with which keys they are verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.options import moment, query_reference
from fairlead.errors import InvalidInput

if TYPE_CHECKING:
    from fairlead.auditing.selection import Selection
    from fairlead.partners import Directory
    from fairlead.trust import Trust

SinceOption = Annotated[
    str | None, typer.Option(help="A span like 30d (ago), or an ISO 8601 time.")
]
UntilOption = Annotated[
    str | None, typer.Option(help="The same; leaves from then on are left out.")
]
TypeOption = Annotated[
    list[str] | None, typer.Option("--type", help="Type of leaf, like INTENT; repeat.")
]
PartnerOption = Annotated[
    list[str] | None,
    typer.Option("--partner", help="Partner that asked, was asked or answered; repeat."),
]
PurposeOption = Annotated[list[str] | None, typer.Option("--purpose", help="Purpose; repeat.")]
UserOption = Annotated[
    list[str] | None, typer.Option("--user", help="Pseudonym of a person; repeat.")
]
QueryOption = Annotated[str | None, typer.Option("--query", help="Id of a query.")]
ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="Reason code, like PURPOSE_UNKNOWN; repeat.")
]
LogOption = Annotated[
    Path | None,
    typer.Option("--log", help="A log's file instead of your own node's log; leaves no trace."),
]
DirectoryOption = Annotated[Path | None, typer.Option(help="Signed directory; else the profile's.")]
TrustOption = Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")]
Keys = Callable[[str], Sequence[bytes]]
"""Origin of a log → the keys that may have signed it, today's first."""
CALL_S = 60.0
"""What a call for a table may take; an export may take ten times that."""


def selection_of(
    since: str | None = None,
    until: str | None = None,
    types: Iterable[str] | None = None,
    partners: Iterable[str] | None = None,
    purposes: Iterable[str] | None = None,
    users: Iterable[str] | None = None,
    query: str | None = None,
    reasons: Iterable[str] | None = None,
) -> Selection:
    """What the options say.

    :raises InvalidInput: SELECTION, LEAF_KIND, TIME or QUERY_ID.
    """
    from fairlead.auditing.selection import Selection

    now = time.time()
    found = Selection(
        since_ms=moment(since, now=now) * 1000,
        until_ms=moment(until, now=now) * 1000,
        types=frozenset(_type(word) for word in types or ()),
        partners=frozenset(partners or ()),
        purposes=frozenset(purposes or ()),
        users=frozenset(users or ()),
        query_id=query_reference(query) if query else b"",
        reasons=frozenset(reasons or ()),
    )
    return Selection.from_wire(found.to_wire())


def among(selection: Selection, leaves: str | None) -> Selection:
    """The same of the leaves ``A-B``, of ``A-`` to the end, or of all.

    :raises InvalidInput: SELECTION.
    """
    if leaves is None:
        return selection
    first, dash, last = leaves.partition("-")
    digits = first.isascii() and first.isdigit() and (not last or last.isdigit())
    if not dash or not digits or len(leaves) > 39 or (last and int(last) < int(first)):
        raise InvalidInput(
            "a span of leaves is written A-B or A-",
            reasons=("SELECTION",),
            remedy="for example --leaves 0-999, or --leaves 1000-",
        )
    return replace(selection, first=int(first), stop=int(last) + 1 if last else 0)


def keys_of(directory: Path | None, trust: Path | None, profile: Path | None) -> Keys:
    """The keys of whatever log the directory knows.

    :raises FairleadError: the directory does not verify.
    """
    from fairlead.cli.audit.verifying import keys_listed

    _, listed = anchors_of(directory, trust, profile)

    def keys(origin: str) -> list[bytes]:
        return keys_listed(origin, listed)

    return keys


def anchors_of(
    directory: Path | None, trust: Path | None, profile: Path | None
) -> tuple[Trust, list[Directory]]:
    """The trust anchors, and the directories that are here, the one in force first.

    :raises FairleadError: the directory does not verify.
    """
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    anchors = Trust.load(trust)
    members = anchors.directory(directory, now=time.time())
    return anchors, [members, *anchors.former(directory)]


def _type(word: str) -> int:
    from fairlead.v1 import audit_pb2

    known = {name.removeprefix("LEAF_TYPE_"): n for name, n in audit_pb2.LeafType.items() if n}
    if word.upper() not in known:
        raise InvalidInput(
            "a log has no leaves of this type",
            reasons=("LEAF_KIND",),
            remedy=f"one of {' '.join(sorted(known))}",
        )
    return known[word.upper()]
