"""A decision, how it is read from an engine, and how several become one.

The effective decision is a *meet*: a permit needs every layer, and whatever two layers permit,
only what both permit is left. So a further layer can only tighten, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from fairlead.reasons import ENGLISH
from fairlead.reasons import reason as explained

_FACET = re.compile(
    r"(existence|count_band|contact_desk|full_record|figures|field:[a-z][a-z0-9_]{0,63})\Z"
)
_FIELD = "field:"
_FULL = "full_record"
FIGURES = "figures"
"""What a decision about statistics permits: figures of everybody together, and no record."""


class Effect(StrEnum):
    """There is no third."""

    PERMIT = "permit"
    DENY = "deny"


class Audience(StrEnum):
    """Who may read a reason. What the requester reads is independent of records."""

    REQUESTER = "requester"
    OWNER = "owner"
    AUDITOR = "auditor"


class Onward(StrEnum):
    """To whom an asker may pass an answer on, the strictest first: to nobody; to whom the owner
    agrees to; to partners of its own sector."""

    NONE = "none"
    WITH_CONSENT = "with-consent"
    SAME_SECTOR = "same-sector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why not: a stable code, and for whom. :mod:`fairlead.reasons` has the words."""

    code: str
    audience: Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """Duties that come with a permission.

    ``max_records``, ``retention_days`` and ``onward`` None mean that this layer sets no limit.
    ``approvals`` are of the owner's people, ``second_approvers`` of the asker's. ``redact`` are
    field names; ``notify`` are fixed recipients at the owner.
    """

    redact: frozenset[str] = frozenset()
    max_records: int | None = None
    approvals: int = 0
    second_approvers: int = 0
    notice_delay_s: int = 0
    retention_days: int | None = None
    onward: Onward | None = None
    notify: frozenset[str] = frozenset()


NOTHING = Obligations(max_records=0, retention_days=0, onward=Onward.NONE)
"""The obligations of a denial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. ``rules`` are the ids of the agreements a permission rests on, sorted."""

    effect: Effect
    checks: Mapping[str, bool]
    facets: frozenset[str]
    obligations: Obligations
    reasons: tuple[Reason, ...] = ()
    rules: tuple[str, ...] = ()
    policy_serial: int = 0

    @property
    def permit(self) -> bool:
        """Whether the effect is to permit."""
        return self.effect is Effect.PERMIT

    @classmethod
    def of_grant(
        cls, *, facets: Collection[str], obligations: Obligations, policy_serial: int
    ) -> Decision:
        """The gateway's verified grant as a decision, to be met with the owner's own.

        It has no checks of its own: the grant's signature was the evidence.
        """
        granted = frozenset(f for f in facets if is_facet(f))
        if not granted:
            return denial(NOTHING_GRANTED, policy_serial=policy_serial)
        return cls(
            effect=Effect.PERMIT,
            checks=MappingProxyType({}),
            facets=_compact(granted),
            obligations=obligations,
            policy_serial=policy_serial,
        )


NOTHING_GRANTED = Reason(code="NOTHING_GRANTED", audience=Audience.REQUESTER)


def denial(reason: Reason, *, checks: Iterable[str] = (), policy_serial: int = 0) -> Decision:
    """A denial for one reason; none of ``checks`` holds."""
    return Decision(
        effect=Effect.DENY,
        checks=MappingProxyType(dict.fromkeys(checks, False)),
        facets=frozenset(),
        obligations=NOTHING,
        reasons=(reason,),
        policy_serial=policy_serial,
    )


def meet(first: Decision, *others: Decision) -> Decision:
    """What all decisions permit together (PROTOCOL §4).

    Deny wins; facets are intersected, a full record being all its fields; limits take the
    minimum, approvals and delays the maximum, redactions the union, ``onward`` the strictest word;
    ``notify`` is intersected, because telling somebody is a disclosure too. A permission of nothing
    is a denial. The policy serial is the first decision's.
    """
    result = first
    for other in others:
        result = _meet(result, other)
    return result


def capped(decision: Decision, ceiling: frozenset[str] | None) -> Decision:
    """The decision met with a scheme's ceiling of facets; None is no ceiling.

    Without a facet for records none may be released, so ``max_records`` becomes 0.
    """
    if ceiling is None:
        return decision
    records = any(facet == _FULL or facet.startswith(_FIELD) for facet in ceiling)
    lid = Decision(
        effect=Effect.PERMIT,
        checks=MappingProxyType({}),
        facets=ceiling,
        obligations=Obligations(
            max_records=None if records else 0, notify=decision.obligations.notify
        ),
    )
    return meet(decision, lid)


def disclosed(decision: Decision, fields: Collection[str]) -> frozenset[str]:
    """What actually leaves of a record that has ``fields``: fields as ``field:<name>``, and the
    facets that are not fields."""
    if not decision.permit:
        return frozenset()
    every = _FULL in decision.facets
    shown = {
        _FIELD + name
        for name in fields
        if (every or _FIELD + name in decision.facets) and name not in decision.obligations.redact
    }
    return frozenset(shown) | {
        f for f in decision.facets if f != _FULL and not f.startswith(_FIELD)
    }


def explain(decision: Decision, audience: Audience, language: str = ENGLISH) -> str:
    """The decision in plain words, with the reasons this reader may see, in their language.

    An auditor reads all of them, an owner its own and the requester's.
    """
    readable = {
        Audience.REQUESTER: {Audience.REQUESTER},
        Audience.OWNER: {Audience.REQUESTER, Audience.OWNER},
        Audience.AUDITOR: set(Audience),
    }[audience]
    lines = ["permitted" if decision.permit else "not permitted"]
    if decision.permit:
        lines.append("  under: " + (", ".join(decision.rules) or "no agreement needed"))
        lines.append("  may be disclosed: " + ", ".join(sorted(decision.facets)))
    for reason in decision.reasons:
        if reason.audience in readable:
            told = explained(reason.code, language)
            lines.append(f"  {told.text} [{reason.code}]")
            lines += [f"    needed: {told.needed}", f"    next: {told.next}"]
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def is_facet(value: str) -> bool:
    """Whether ``value`` is spelt like a facet."""
    return _FACET.match(value) is not None


# ── Meet ─────────────────────────────────────────────────────────────────────────────────────


def _meet(a: Decision, b: Decision) -> Decision:
    permitted = a.permit and b.permit
    facets = _shared(a.facets, b.facets) if permitted else frozenset[str]()
    reasons = a.reasons + tuple(r for r in b.reasons if r not in a.reasons)
    if permitted and not facets:
        permitted, reasons = False, (*reasons, NOTHING_GRANTED)
    return replace(
        a,
        effect=Effect.PERMIT if permitted else Effect.DENY,
        checks=MappingProxyType(
            {
                name: a.checks.get(name, True) and b.checks.get(name, True)
                for name in a.checks.keys() | b.checks.keys()
            }
        ),
        facets=facets,
        obligations=_both(a.obligations, b.obligations),
        reasons=reasons,
        rules=tuple(sorted({*a.rules, *b.rules})) if permitted else (),
    )


def _both(a: Obligations, b: Obligations) -> Obligations:
    return Obligations(
        redact=a.redact | b.redact,
        max_records=_least(a.max_records, b.max_records),
        approvals=max(a.approvals, b.approvals),
        second_approvers=max(a.second_approvers, b.second_approvers),
        notice_delay_s=max(a.notice_delay_s, b.notice_delay_s),
        retention_days=_least(a.retention_days, b.retention_days),
        onward=strictest(a.onward, b.onward),
        notify=a.notify & b.notify,
    )


def strictest(*words: Onward | None) -> Onward | None:
    """The strictest word that is said."""
    return next((word for word in Onward if word in words), None)


def _least(a: int | None, b: int | None) -> int | None:
    return min((limit for limit in (a, b) if limit is not None), default=None)


def _shared(a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
    shared = a & b
    for one, other in ((a, b), (b, a)):
        if _FULL in one:
            shared |= {f for f in other if f.startswith(_FIELD)}
    return _compact(shared)


def _compact(facets: frozenset[str]) -> frozenset[str]:
    if _FULL not in facets:
        return facets
    return frozenset(f for f in facets if not f.startswith(_FIELD))
