"""Single changes that somebody could make to a question, each with whose it is to make.

A change may only be worth telling, never worth doing: another purpose is right where that is what
the question is for, and a record's handling is changed by a review, not for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from fairlead.policy.cells import may_rely
from fairlead.policy.inputs import CaseFacts, InstrumentFacts
from fairlead.policy.inquiry import CASE_S, Inquiry
from fairlead.policy.sides import Policy

Edit = Callable[[Inquiry], Inquiry]


Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Change(Generic[Asked]):
    """What somebody could do, whose it is to do, and what it makes of a question.

    Of the changes of one ``group`` the first that helps is the mildest.
    """

    text: str
    who: str
    edit: Callable[[Asked], Asked]
    group: str = ""


def changes(policy: Policy, inquiry: Inquiry) -> Iterator[Change[Inquiry]]:
    """Everything worth trying, what the asker can do at once first."""
    query = inquiry.query
    other = "blind" if query.mode == "sealed" else "sealed"
    yield Change(f"ask {other}", "the analyst", _asking(mode=other))
    rows = policy["agreements"].values()
    fewer = {r["max_terms"] for r in rows} | {policy["limits"]["max_terms"]}
    fewer |= {policy["limits"]["second_person_above_terms"]}
    for limit in sorted((n for n in fewer if n < query.term_count), reverse=True):
        yield Change(
            f"ask for at most {limit:,} terms at once", "the analyst",
            _asking(term_count=limit), "terms",
        )  # fmt: skip
    for days in sorted(_shorter(policy, query.window_days), reverse=True):
        yield Change(
            f"ask about at most {days} days", "the analyst",
            _asking(window_days=days), "window",
        )  # fmt: skip
    yield from _instruments(policy, inquiry)
    yield from _grounds(policy, inquiry)
    yield from _at_the_asker(policy, inquiry)
    yield Change("ask again, for a fresh grant", "the analyst", _changing(grant=None, facets=None))
    yield from _of_the_record(inquiry)


def _shorter(policy: Policy, days: int | None) -> set[int]:
    found = {row["max_window_days"] for row in policy["agreements"].values()} - {None}
    return {limit for limit in found if days is None or limit < days}


def _instruments(policy: Policy, inquiry: Inquiry) -> Iterator[Change[Inquiry]]:
    wanted = [r["instrument"] for r in policy["agreements"].values() if r["instrument"]]
    pairs = sorted(
        {(kind, a) for one in wanted for kind in one["kinds"] for a in one["authorities"]}
    )
    for kind, authority in pairs:
        found = InstrumentFacts(kind=kind, authority=authority, valid_until=inquiry.now + CASE_S)
        yield Change(
            f"have the case carry a valid {kind} of a {authority}", "an approver",
            _asking(instrument=found),
        )  # fmt: skip


def _grounds(policy: Policy, inquiry: Inquiry) -> Iterator[Change[Inquiry]]:
    for purpose, entry in policy["purposes"].items():
        for basis in entry["legal_bases"]:
            if may_rely(policy, inquiry.asker.kind, purpose, basis):
                yield Change(
                    f"ask for {purpose} on {basis}, if that is what it is for, in such a case",
                    "an approver",
                    partial(_ground, purpose=purpose, basis=basis),
                )  # fmt: skip


def _at_the_asker(policy: Policy, inquiry: Inquiry) -> Iterator[Change[Inquiry]]:
    case = CaseFacts(
        open=True, assigned=True, purpose=inquiry.query.purpose,
        legal_basis=inquiry.query.legal_basis, schemes=inquiry.query.schemes,
        expires_at=inquiry.now + CASE_S,
    )  # fmt: skip
    yield Change(
        "open a case for this question, and assign the analyst", "an approver",
        _changing(case=case),
    )  # fmt: skip
    for role in policy["roles"]:
        yield Change(
            f"give the person the role {role}", "the partner's administrator",
            partial(_with_role, role=role),
        )  # fmt: skip
    for count in (1, 2, 3):
        if count > inquiry.approvals:
            yield Change(
                f"let {count} other {'person' if count == 1 else 'people'} agree", "an approver",
                _changing(approvals=count), "approvals",
            )  # fmt: skip


def _of_the_record(inquiry: Inquiry) -> Iterator[Change[Inquiry]]:
    record = inquiry.record
    for name, value, text in (
        ("tlp", "GREEN", "review the record's TLP: GREEN would do"),
        ("pap", "GREEN", "review the record's PAP: GREEN would do"),
        ("europol", "H0", "review the record's Europol code: H0 would do"),
        ("active_target", False, "end what makes the record an active target"),
        ("personal", False, "review the mapping that says the record is about a person"),
        ("purposes", (*record.purposes, inquiry.query.purpose),
         "hold the record for this purpose too"),
        ("event", "gate-in", "give the record its event"),
        ("expires_at", inquiry.now + CASE_S, "import the record again, within its retention"),
    ):  # fmt: skip
        yield Change(
            text, "the owner",
            _recorded(**{name: value}),
        )  # fmt: skip
    yield Change(
        "give the record a 4x4 grade", "the owner",
        _recorded(source_grade="A", information_grade="1"),
    )  # fmt: skip


# ── Edits ────────────────────────────────────────────────────────────────────────────────────


def _changing(**changes: Any) -> Edit:
    return partial(replace, **changes)


def _recorded(**changes: Any) -> Edit:
    def edit(inquiry: Inquiry) -> Inquiry:
        return replace(inquiry, record=replace(inquiry.record, **changes))

    return edit


def _asking(**changes: Any) -> Edit:
    """The question asked otherwise, under a grant that is for the same mode if there is one."""

    def edit(inquiry: Inquiry) -> Inquiry:
        query = replace(inquiry.query, **changes)
        grant = inquiry.grant and replace(inquiry.grant, mode=query.mode)
        return replace(inquiry, query=query, grant=grant)

    return edit


def _with_role(inquiry: Inquiry, role: str) -> Inquiry:
    roles = tuple(dict.fromkeys((*inquiry.user.roles, role)))
    return replace(inquiry, user=replace(inquiry.user, roles=roles))


def _ground(inquiry: Inquiry, purpose: str, basis: str) -> Inquiry:
    case = inquiry.case and replace(inquiry.case, purpose=purpose, legal_basis=basis)
    record = inquiry.record
    if record.purposes == (inquiry.query.purpose,):  # held for what was asked: for this as well
        record = replace(record, purposes=(purpose,))
    query = replace(inquiry.query, purpose=purpose, legal_basis=basis)
    return replace(inquiry, query=query, case=case, record=record)
