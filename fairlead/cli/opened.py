"""An opened detail, printed: what it says, what follows from it, and who is to blame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fairlead.cli.options import iso, when
from fairlead.cli.output import Format, emit, emit_json, say

if TYPE_CHECKING:
    from fairlead.opening.opened import Found, Opened

TERM_COLUMNS = ("scheme", "term", "since", "until")
PART_COLUMNS = ("part", "result")
FOUND_COLUMNS = (
    "at", "by", "purpose", "scheme", "term", "match", "query", "kept_by", "notice",
)  # fmt: skip


def show(opened: Opened, output: Format) -> None:
    document = _document(opened)
    if output is Format.JSON:
        emit_json(document)
        return
    emit([document["query"]], columns=tuple(document["query"]), output=output)
    emit(document["terms"], columns=TERM_COLUMNS, output=output)
    emit(document["parts"], columns=PART_COLUMNS, output=output)


def _document(opened: Opened) -> dict[str, Any]:
    leaf, detail = opened.item.leaf, opened.asked or opened.owned
    asked = opened.asked
    scope = (
        {"since": iso(detail.since), "until": iso(detail.until)}
        if detail
        else {"since": None, "until": None}
    )
    terms: list[dict[str, Any]] = [
        {"scheme": scheme, "term": value, **scope} for scheme, value in opened.terms
    ]
    if opened.owned:
        terms += [
            {"scheme": item.scheme, "term": f"{item.terms} blinded", **scope}
            for item in opened.owned.blinded
        ]
    return {
        "query": {
            "query": leaf.query_id.hex(),
            "at": iso(opened.item.at),
            "sealed_by": opened.item.bound.maker,
            "by": leaf.user.partition("/partner/")[2],
            "purpose": leaf.purpose,
            "legal_basis": leaf.legal_basis,
            "case": asked.case_id if asked else None,
            "instrument": (asked.instrument_reference or None) if asked else None,
            "partners": ", ".join(owner.partner_id for owner in asked.owners) if asked else None,
            "notice": _notice(opened),
        },
        "terms": terms,
        "parts": [
            {"part": part.part, "result": part.fault or "recomputed"} for part in opened.remade
        ],
        "liars": list(opened.liars),
        "spoilt": list(opened.spoilt),
        "said_spoilt": list(opened.refused),
    }


def found_row(opened: Opened, match: Found, output: Format) -> dict[str, Any]:
    leaf, at = opened.item.leaf, opened.item.at
    return {
        "at": iso(at) if output is Format.JSON else when(at),
        "by": leaf.user.partition("/partner/")[2],
        "purpose": leaf.purpose,
        "scheme": match.scheme,
        "term": match.value,
        "match": match.grade,
        "query": leaf.query_id.hex(),
        "kept_by": leaf.log,
        "notice": _notice(opened),
    }


def _notice(opened: Opened) -> str | None:
    """Whether the subject may be told, as far as the detail says."""
    since = opened.notice_from
    if since is None:
        return None
    if since == 0:
        return "not delayed"
    return (
        f"delayed until {when(since)}"
        if time.time() < since
        else f"may be given since {when(since)}"
    )


def only_says(member: str) -> str:
    """The words for what nothing proves: either that member lies, or whoever sealed the detail."""
    return f"the oversight of {member} says that its share was spoilt, which is its word alone"


def accuse(liars: Sequence[str], spoilt: Sequence[str], refused: Sequence[str] = ()) -> None:
    """Say who is to blame, and what members ``refused`` to release on their word alone."""
    for member in liars:
        say(
            f"INCIDENT: the oversight of {member} released a share that is not the one it was given"
        )
    if spoilt:
        say("INCIDENT: whoever sealed the detail spoilt the share of " + ", ".join(spoilt))
    for member in refused:
        say(only_says(member))
