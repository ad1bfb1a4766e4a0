"""What a decision point was told, read back from its input, so that it can be asked again.

An input says what one point knows. What the others would have been told is taken to be ordinary
(:mod:`fairlead.policy.inquiry`), and only the point itself is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from fairlead.errors import InvalidInput
from fairlead.policy.figures.inquiry import POINT, FigureInquiry
from fairlead.policy.inputs import (
    CaseFacts,
    GrantFacts,
    InstrumentFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)
from fairlead.policy.inquiry import POINTS, Inquiry
from fairlead.policy.sides import Policy

T = TypeVar("T")
MAX_SHOWN = 200
"""Candidates or records of one input that are looked at."""


def inquiries(document: Mapping[str, Any], policy: Policy) -> tuple[str, dict[str, Inquiry]]:
    """The point, and one question for each candidate or record of its input.

    :raises InvalidInput: INPUT_UNREADABLE: it is no input of a point.
    """
    try:
        point = document["point"]
        if point not in POINTS:
            raise ValueError
        return point, _read(point, document, policy)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise _unreadable() from None


def figures(document: Mapping[str, Any]) -> FigureInquiry:
    """The question for figures that the point was told.

    :raises InvalidInput: INPUT_UNREADABLE: it is no input of that point.
    """
    try:
        asked = document["question"]
        if document["point"] != POINT or asked.keys() != {"cube", "level", "purpose"}:
            raise ValueError
        return FigureInquiry(
            now=int(document["now"]),
            asker=_facts(PartyFacts, document["asker"]),
            user=_facts(UserFacts, document["user"]),
            **{name: str(word) for name, word in asked.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _unreadable() from None


def _read(point: str, document: Mapping[str, Any], policy: Policy) -> dict[str, Inquiry]:
    query = _query(document["query"])
    asker = _facts(PartyFacts, document["asker"])
    words = {
        "asker": asker.kind, "owner": asker.kind, "purpose": query.purpose,
        "legal_basis": query.legal_basis, "scheme": " ".join(query.schemes),
        "terms": str(query.term_count), "role": " ".join(policy["roles"]),
    }  # fmt: skip
    ordinary = Inquiry.of(words, policy, now=int(document["now"]))
    told = replace(
        ordinary,
        query=replace(query, events=query.events or ()),
        asker=asker,
        user=_facts(UserFacts, document["user"]) if "user" in document else ordinary.user,
        case=_case(document, ordinary.case),
        approvals=int(document.get("approvals", ordinary.approvals)),
        grant=_facts(GrantFacts, document["grant"]) if "grant" in document else None,
        facets=tuple(document["facets"]) if "facets" in document else None,
    )
    return _each(point, document, told)


def _query(document: Mapping[str, Any]) -> QueryFacts:
    found = document["instrument"]
    instrument = None if found is None else _facts(InstrumentFacts, found)
    return replace(_facts(QueryFacts, {**document, "instrument": None}), instrument=instrument)


def _each(point: str, document: Mapping[str, Any], told: Inquiry) -> dict[str, Inquiry]:
    if "candidates" in document:
        found = list(document["candidates"].items())[:MAX_SHOWN]
        return {name: replace(told, owner=_facts(PartyFacts, party)) for name, party in found}
    if "owner" not in document:
        return {point: told}
    told = replace(told, owner=_facts(PartyFacts, document["owner"]))
    records = document.get("records", [])[:MAX_SHOWN]
    if not records:
        return {told.owner.partner_id: told}
    return {
        f"record {i}": replace(told, record=_facts(RecordFacts, record))
        for i, record in enumerate(records)
    }


def _case(document: Mapping[str, Any], ordinary: CaseFacts | None) -> CaseFacts | None:
    if "case" in document:
        return None if document["case"] is None else _facts(CaseFacts, document["case"])
    if "case_open" in document and ordinary is not None:
        return replace(ordinary, open=document["case_open"], assigned=document["user_assigned"])
    return ordinary


def _facts(kind: type[T], document: Mapping[str, Any]) -> T:
    """Facts of one kind; lists are the tuples they were."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if document.keys() != names:
        raise ValueError
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "the document is not the input of a decision point",
        reasons=("INPUT_UNREADABLE",),
        remedy="see docs/policy.md, or: fairlead policy explain --help",
    )
