"""From verified things to policy facts, and from denying decisions to refusals.

Attributes of organisations come from the directory, never from the request.
"""

from __future__ import annotations

from dataclasses import replace

from fairlead.certificates import Identity
from fairlead.envelope.query import Instrument, Query
from fairlead.errors import Refused
from fairlead.partners import Partner
from fairlead.policy.decision import Decision
from fairlead.policy.inputs import (
    InstrumentFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)


def party_facts(partner: Partner) -> PartyFacts:
    """What policy knows of an organisation."""
    return PartyFacts(
        partner_id=partner.partner_id,
        kind=partner.kind.value,
        sector=partner.sector.value,
        country=partner.country,
        schemes=partner.schemes,
    )


def user_facts(user: Identity) -> UserFacts:
    """What policy knows of a person: a pseudonym and roles."""
    return UserFacts(pseudonym=user.name, roles=tuple(sorted(user.roles)))


def instrument_facts(instrument: Instrument | None) -> InstrumentFacts | None:
    """What policy knows of a case's legal instrument: not its reference, nor the commitment."""
    if instrument is None:
        return None
    return InstrumentFacts(
        kind=instrument.kind,
        authority=instrument.authority,
        valid_until=instrument.valid_until,
    )


def at_home(record: RecordFacts, owner: Partner) -> RecordFacts:
    """A record whose source says no country is kept where the directory places its owner."""
    return record if record.country else replace(record, country=owner.country)


def query_facts(
    query: Query, *, window_days: int | None = None, events: tuple[str, ...] | None = None
) -> QueryFacts:
    """What policy knows of a query; window and events only where the sealed part was opened."""
    return QueryFacts(
        mode="sealed" if query.mode_name == "sealed" else "blind",
        purpose=query.purpose,
        legal_basis=query.legal_basis,
        instrument=instrument_facts(query.instrument),
        schemes=query.schemes,
        term_count=query.mandate_terms,
        window_days=window_days,
        events=events,
    )


def requester_code(decision: Decision) -> str:
    """The first reason code the requester may see."""
    return next((r.code for r in decision.reasons if r.audience == "requester"), "POLICY")


def refusal_of(decision: Decision) -> Refused:
    """The error that carries a denying decision to the requester: its own reasons only."""
    visible = [reason for reason in decision.reasons if reason.audience == "requester"]
    return Refused(
        "policy does not permit this query",
        reasons=tuple(reason.code for reason in visible) or ("POLICY",),
        remedy=next((reason.remedy for reason in visible if reason.remedy), ""),
    )


def window_days(since: int, until: int, now: float) -> int | None:
    """Whole days a question reaches over, or None when it has no beginning."""
    if since == 0:
        return None
    return max(1, -(-int((until or int(now)) - since) // 86_400))
