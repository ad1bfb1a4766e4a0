"""What policy is told: frozen facts, and one builder per decision point.

Every input is a closed document: ``{"schema": 2, "point": …, "now": …}`` and the point's own
fields, all of them, ``null`` where one does not apply. No input holds a term or a value of a
record. The builders are the only way to make one, so a point never sees what it must not: the
gateway's inputs hold neither window nor events. Times are Unix seconds, windows are days.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

SCHEMA = 2

Document = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentFacts:
    """The legal instrument of a case as its node vouches for it; the reference stays there.
    ``valid_until`` is exclusive."""

    kind: str
    authority: str
    valid_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFacts:
    """A question without its terms. ``window_days`` None is unbounded; no events means any.
    ``instrument`` None: its case has none."""

    mode: Literal["sealed", "blind"]
    purpose: str
    legal_basis: str
    instrument: InstrumentFacts | None = None
    schemes: tuple[str, ...]
    term_count: int
    window_days: int | None
    events: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyFacts:
    """An organisation as the directory describes it, never as a request does."""

    partner_id: str
    kind: str
    sector: str
    country: str
    schemes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """A person: a pseudonym and the roles of the certificate."""

    pseudonym: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """The case a question belongs to, as the asker's own register has it."""

    open: bool
    assigned: bool
    purpose: str
    legal_basis: str
    schemes: tuple[str, ...]
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """What the gateway's verified grant permits the owner."""

    mode: str
    facets: tuple[str, ...]
    policy_serial: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """One record without its values.

    ``country`` is where its source keeps it; empty is the owner's own, to be filled in
    (:func:`fairlead.facts.at_home`), and no country to a rule. ``personal`` says that the record
    is *about* a person; ``fields`` are the names of the releasable fields it has.
    An empty handling value is the most restrictive one.
    """

    record_type: str
    event: str
    tlp: str
    pap: str
    europol: str
    source_grade: str
    information_grade: str
    purposes: tuple[str, ...]
    expires_at: int
    active_target: bool
    personal: bool
    fields: tuple[str, ...]
    country: str = ""


def asking_input(
    *,
    now: int,
    query: QueryFacts,
    asker: PartyFacts,
    user: UserFacts,
    case: CaseFacts | None,
    approvals: int,
    candidates: Mapping[str, PartyFacts],
) -> Document:
    """May this user ask this, and whom? ``case`` None: there is no such case. ``approvals``: how
    many second persons agreed already; the decision says how many have to."""
    return {
        **_head("asking", now),
        "query": _opened(query),
        "asker": _plain(asker),
        "user": _plain(user),
        "case": None if case is None else _plain(case),
        "approvals": approvals,
        "candidates": {name: _plain(party) for name, party in candidates.items()},
    }


def admission_input(
    *,
    now: int,
    query: QueryFacts,
    asker: PartyFacts,
    user: UserFacts,
    case_open: bool,
    user_assigned: bool,
    approvals: int,
) -> Document:
    """May this question enter the exchange? The two flags are the asker's node's statement."""
    return {
        **_head("admission", now),
        "query": _sealed(query),
        "asker": _plain(asker),
        "user": _plain(user),
        "case_open": case_open,
        "user_assigned": user_assigned,
        "approvals": approvals,
    }


def routing_input(
    *,
    now: int,
    query: QueryFacts,
    asker: PartyFacts,
    approvals: int,
    candidates: Mapping[str, PartyFacts],
) -> Document:
    """Which owners may be asked?"""
    return {
        **_head("routing", now),
        "query": _sealed(query),
        "asker": _plain(asker),
        "approvals": approvals,
        "candidates": {name: _plain(party) for name, party in candidates.items()},
    }


def sovereignty_input(
    *,
    now: int,
    query: QueryFacts,
    asker: PartyFacts,
    approvals: int,
    owner: PartyFacts,
    grant: GrantFacts,
) -> Document:
    """Does the owner answer this at all?"""
    return {
        **_head("sovereignty", now),
        "query": _opened(query),
        "asker": _plain(asker),
        "approvals": approvals,
        "owner": _plain(owner),
        "grant": _plain(grant),
    }


def release_input(
    *,
    now: int,
    query: QueryFacts,
    asker: PartyFacts,
    owner: PartyFacts,
    facets: Collection[str],
    records: Sequence[RecordFacts],
) -> Document:
    """What of each record may leave? ``facets`` are those of grant and sovereignty together."""
    return {
        **_head("release", now),
        "query": _opened(query),
        "asker": _plain(asker),
        "owner": _plain(owner),
        "facets": sorted(facets),
        "records": [_plain(record) for record in records],
    }


def statistics_input(
    *,
    now: int,
    cube: str,
    level: str,
    purpose: str,
    asker: PartyFacts,
    user: UserFacts,
) -> Document:
    """May this user ask for these figures? Not of which period: no rule looks at one."""
    return {
        **_head("statistics", now),
        "question": {"cube": cube, "level": level, "purpose": purpose},
        "asker": _plain(asker),
        "user": _plain(user),
    }


def _plain(
    facts: InstrumentFacts | PartyFacts | UserFacts | CaseFacts | GrantFacts | RecordFacts,
) -> Document:
    """The facts as an object; ``dataclasses.asdict`` copies deeply and takes ten times as long."""
    return {name: getattr(facts, name) for name in facts.__slots__}


def _head(point: str, now: int) -> Document:
    return {"schema": SCHEMA, "point": point, "now": int(now)}


def _opened(query: QueryFacts) -> Document:
    return {**_question(query), "events": list(query.events or ())}


def _sealed(query: QueryFacts) -> Document:
    return {**_question(query), "window_days": None, "events": None}


def _question(query: QueryFacts) -> Document:
    found: Document = {name: getattr(query, name) for name in query.__slots__}
    if query.instrument is not None:
        found["instrument"] = _plain(query.instrument)
    return found
