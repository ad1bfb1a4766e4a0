"""From an engine's output to a decision: a closed schema, or no decision.

The engine's word is not taken for anything: the names of the checks must be exactly the ones
this point demands, a permit with a check that is not true is no permit, and an obligation that
is not understood cannot be obeyed, so it is refused with everything it came with. What a decision
says is in its octets alone, so octets read lately are not read again; each was decided anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

import orjson

from fairlead.errors import PolicyUnavailable
from fairlead.policy.decision import (
    FIGURES,
    Audience,
    Decision,
    Effect,
    Obligations,
    Onward,
    Reason,
    is_facet,
)
from fairlead.reasons import audience_of

MAX_ITEMS = 1024
"""Entries in any one list of a decision."""
MAX_NUMBER = 2**31
LATELY = 128
"""Outputs of an engine remembered as read; one over 30 candidates takes about 60 KiB."""

_GENERAL = frozenset(
    {
        "input_valid",
        "policy_whole",
        "asker_known",
        "asker_located",
        "purpose_known",
        "legal_basis_fits",
        "query_bounded",
    }
)
_PERSON = frozenset({"user_permitted", "case_open", "user_assigned"})
_PAIR = frozenset(
    {
        "partner_known",
        "partner_located",
        "other_partner",
        "schemes_answered",
        "country_covered",
        "transfer_grounded",
        "taking_part",
        "instrument_valid",
        "agreement_covers",
    }
)
_SECOND = frozenset({"second_approvers_agreed"})
_RECORD = frozenset(
    {
        "event_asked",
        "purpose_shared",
        "retained",
        "record_located",
        "tlp_permits",
        "pap_permits",
        "europol_known",
        "graded",
        "target_inactive",
        "person_permits",
        "facets_left",
    }
)

REQUIRED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "asking": _GENERAL | _PERSON | {"case_covers", "partner_available"},
        "asking.candidate": _GENERAL | _PERSON | {"case_covers"} | _PAIR,
        "admission": _GENERAL | _PERSON | {"approvals_sufficient"},
        "routing": _GENERAL | {"partner_available"},
        "routing.candidate": _GENERAL | _PAIR | _SECOND,
        "sovereignty": _GENERAL
        | _PAIR
        | _SECOND
        | {"grant_current", "grant_matches", "facets_granted"},
        "release": _GENERAL | _PAIR | _RECORD,
        "statistics": frozenset(
            {
                "input_valid",
                "policy_whole",
                "asker_known",
                "asker_located",
                "user_permitted",
                "cube_known",
                "purpose_known",
                "figures_agreed",
            }
        ),
    }
)
"""The checks each kind of decision must bring, no fewer and no others."""

FIGURES_KIND = "statistics"
"""The one kind of decision that permits figures, and permits nothing else."""
RECIPIENTS = frozenset({"owner_desk"})
"""Who an obligation may notify."""

_WIDEST_FIRST = tuple(Audience)
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")
_KEYS = {"effect", "checks", "facets", "obligations", "reasons", "rules"}
_OBLIGATIONS = {
    "redact", "max_records", "approvals", "second_approvers", "notice_delay_s", "retention_days",
    "onward", "notify",
}  # fmt: skip
_ONWARD = {word.value for word in Onward}

T = TypeVar("T")


@lru_cache(maxsize=LATELY)
def read_decision(octets: bytes, *, kind: str, policy_serial: int, policy_id: str) -> Decision:
    """Read an output that is one decision of ``kind``, a key of :data:`REQUIRED`.

    :param policy_id: the policy that has to have decided.
    :raises PolicyUnavailable: anything else, reason ``DECISION_UNREADABLE``, or
        ``DECISION_OTHER_POLICY``: an engine that still has another policy, or has it already.
    """
    content = _of_policy(_json(octets), policy_id)
    return decision_of(content, kind=kind, policy_serial=policy_serial)


def decision_of(document: object, *, kind: str, policy_serial: int) -> Decision:
    """One decision, parsed from JSON.

    Steps: 1. exactly the known keys, 2. exactly the required checks, each a boolean, 3. effect,
    and a permit only on checks that are all true and for at least one facet, 4. obligations,
    none unknown, 5. facets, reasons and rules, each well spelt.

    :raises PolicyUnavailable: anything else, reason ``DECISION_UNREADABLE``.
    """
    # 1
    content = _object(document, _KEYS)
    # 2
    checks = content["checks"]
    if not isinstance(checks, dict) or checks.keys() != REQUIRED[kind]:
        raise _unreadable()
    if not all(isinstance(value, bool) for value in checks.values()):
        raise _unreadable()
    # 3
    if content["effect"] not in ("permit", "deny"):
        raise _unreadable()
    effect = Effect(content["effect"])
    facets = frozenset(_list(content["facets"], _facet))
    if effect is Effect.PERMIT and not (all(checks.values()) and facets):
        raise _unreadable()
    if effect is Effect.DENY and facets:
        raise _unreadable()
    if effect is Effect.PERMIT and (kind == FIGURES_KIND) is not (facets == {FIGURES}):
        raise _unreadable()
    if kind != FIGURES_KIND and FIGURES in facets:
        raise _unreadable()
    # 4, 5
    return Decision(
        effect=effect,
        checks=MappingProxyType(checks),
        facets=facets,
        obligations=_obligations(content["obligations"]),
        reasons=tuple(_list(content["reasons"], _reason)),
        rules=tuple(sorted(_list(content["rules"], _word))),
        policy_serial=policy_serial,
    )


Read = Decision | PolicyUnavailable
"""A decision, or why there is none."""


@lru_cache(maxsize=LATELY)
def read_candidates(
    octets: bytes, *, kind: str, policy_serial: int, policy_id: str
) -> tuple[Decision, Mapping[str, Read]]:
    """Read an output that is a decision over all candidates, the decisions over each kind of
    candidate, and for each candidate the name of its kind.

    :returns: the decision over all, and for each candidate its own, or why it is none.
    :raises PolicyUnavailable: not of that form, or of another policy.
    """
    content = _object(_of_policy(_json(octets), policy_id), _KEYS | {"candidates", "decisions"})
    names, decisions = content.pop("candidates"), content.pop("decisions")
    if not isinstance(names, dict):
        raise _unreadable()
    each = _by_name(names.values(), decisions, f"{kind}.candidate", policy_serial)
    overall = decision_of(content, kind=kind, policy_serial=policy_serial)
    return overall, MappingProxyType(dict(zip(names, each, strict=True)))


def read_records(octets: bytes, count: int, *, policy_serial: int, policy_id: str) -> list[Read]:
    """Read an output over records: for each, in the order of the input, its decision, or why it
    is none.

    :raises PolicyUnavailable: not of that form, of another policy, or over other records.
    """
    content = _object(_of_policy(_json(octets), policy_id), {"records", "decisions"})
    names = content["records"]
    if not isinstance(names, list) or len(names) != count:
        raise _unreadable()
    return _by_name(names, content["decisions"], "release", policy_serial)


def _by_name(
    names: Collection[object], decisions: object, kind: str, policy_serial: int
) -> list[Read]:
    """What was decided together is read once; every name has its decision, and the other way."""
    if not isinstance(decisions, dict) or not all(isinstance(name, str) for name in names):
        raise _unreadable()
    if decisions.keys() != set(names):
        raise _unreadable()
    found: dict[object, Read] = {}
    for name, value in decisions.items():
        try:
            found[name] = decision_of(value, kind=kind, policy_serial=policy_serial)
        except PolicyUnavailable as error:
            found[name] = error
    return [found[name] for name in names]


def _json(octets: bytes) -> object:
    try:
        return orjson.loads(octets)
    except orjson.JSONDecodeError:
        raise _unreadable() from None


def _of_policy(document: object, policy_id: str) -> dict[str, object]:
    """The output without the name of the policy that gave it.

    :raises PolicyUnavailable: it is of another, or does not say of which.
    """
    if not isinstance(document, dict) or "policy" not in document:
        raise _unreadable()
    content = dict(document)
    if content.pop("policy") != policy_id:
        raise PolicyUnavailable(
            "the policy engine decided under another policy",
            reasons=("DECISION_OTHER_POLICY",),
            remedy="restart the engine, which has to load the bundle in force",
        )
    return content


def _obligations(value: object) -> Obligations:
    content = _object(value, _OBLIGATIONS)
    notify = frozenset(_list(content["notify"], _word))
    if not notify <= RECIPIENTS:
        raise _unreadable()
    return Obligations(
        redact=frozenset(_list(content["redact"], _text)),
        max_records=_limit(content["max_records"]),
        approvals=_number(content["approvals"]),
        second_approvers=_number(content["second_approvers"]),
        notice_delay_s=_number(content["notice_delay_s"]),
        retention_days=_limit(content["retention_days"]),
        onward=_onward(content["onward"]),
        notify=notify,
    )


def _object(value: object, keys: set[str]) -> dict[str, object]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise _unreadable()
    return value


def _list(value: object, read: Callable[[object], T]) -> list[T]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise _unreadable()
    return [read(item) for item in value]


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 1024:
        raise _unreadable()
    return value


def _word(value: object) -> str:
    if not _WORD.match(text := _text(value)):
        raise _unreadable()
    return text


def _facet(value: object) -> str:
    if not is_facet(text := _text(value)):
        raise _unreadable()
    return text


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise _unreadable()
    return value


def _limit(value: object) -> int | None:
    return None if value is None else _number(value)


def _onward(value: object) -> Onward | None:
    if value is None:
        return None
    if (text := _text(value)) not in _ONWARD:
        raise _unreadable()
    return Onward(text)


def _reason(value: object) -> Reason:
    """A reason for those whom both the output and the catalogue name: a code that nobody here has
    judged, as one of a partner's own rules may be, is for the auditor alone."""
    content = _object(value, {"code", "audience"})
    code, audience = _text(content["code"]), _text(content["audience"])
    if not _CODE.match(code) or audience not in {a.value for a in Audience}:
        raise _unreadable()
    judged = (Audience(audience), Audience(audience_of(code)))
    return Reason(code=code, audience=max(judged, key=_WIDEST_FIRST.index))


def _unreadable() -> PolicyUnavailable:
    return PolicyUnavailable(
        "the policy engine gave no readable decision",
        reasons=("DECISION_UNREADABLE",),
        remedy="make test-opa   (golden vectors over this bundle)",
    )
