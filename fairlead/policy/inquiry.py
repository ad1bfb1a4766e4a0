"""One question to one owner, complete: what every decision point would be told, and what they say.

Officers write it in words (columns of a table, options of a command); :meth:`Inquiry.of` reads
them. What is not said is the ordinary: one term, thirty days, an open case the analyst is assigned
to, the approvals that the purpose needs, and a record that nothing speaks against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fairlead.errors import InvalidInput
from fairlead.policy.cells import may_rely
from fairlead.policy.decision import Decision, Reason, meet
from fairlead.policy.inputs import (
    CaseFacts,
    GrantFacts,
    InstrumentFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Party, Policy, Question
from fairlead.policy.terms import people

POINTS = ("asking", "admission", "routing", "sovereignty", "release")
"""In the order in which a question meets them."""
ANYBODY = ("the-asker", "the-owner")
"""Who is asked for where no partner in particular is meant; no agreement names either."""
GRANTED_S = 60
CASE_S = 86_400

ORDINARY: Mapping[str, str] = {
    "asker": "", "owner": "", "asker_country": "NL", "owner_country": "NL", "purpose": "",
    "legal_basis": "", "scheme": "", "mode": "sealed", "terms": "1", "window_days": "30",
    "role": "analyst", "approvals": "", "case": "open", "event": "gate-in", "tlp": "GREEN",
    "pap": "GREEN", "europol": "H0", "grade": "A1", "personal": "no", "active_target": "no",
    "record_purposes": "", "record_country": "NL", "fields": "", "instrument": "",
}  # fmt: skip
"""Every column, and what it is when nothing is said. Empty: what the rest suggests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """The facts of one question. ``grant`` and ``facets`` None: what routing gives."""

    now: int
    query: QueryFacts
    asker: PartyFacts
    owner: PartyFacts
    user: UserFacts
    case: CaseFacts | None
    approvals: int
    record: RecordFacts
    grant: GrantFacts | None = None
    facets: tuple[str, ...] | None = None

    @classmethod
    def of(cls, words: Mapping[str, str], policy: Policy, *, now: int) -> Inquiry:
        """Read a question from words.

        :raises InvalidInput: QUESTION_WORDS: an unknown column, or a word that is not one.
        """
        if words.keys() - ORDINARY.keys():
            raise wrong("there is no such column")
        said = {**ORDINARY, **{k: v for k, v in words.items() if v}}
        missing = [k for k in ("asker", "owner", "purpose", "scheme") if not said[k]]
        if missing:
            raise wrong(f"the {missing[0]} is not said")
        schemes = tuple(said["scheme"].replace("+", " ").split())
        asker = party_of(said["asker"], said["asker_country"], (), policy, ANYBODY[0])
        owner = party_of(said["owner"], said["owner_country"], schemes, policy, ANYBODY[1])
        basis = said["legal_basis"] or _basis(policy, asker.kind, said["purpose"])
        query = _query(said, schemes, basis, now)
        needed = people(policy, query.purpose, query.term_count)
        return cls(
            now=now,
            query=query,
            asker=asker,
            owner=owner,
            user=UserFacts(pseudonym="u-1", roles=tuple(said["role"].split())),
            case=_case(said, query, now),
            approvals=_number(said["approvals"], "approvals") if said["approvals"] else needed,
            record=_record(said, query, policy, now),
        )

    @property
    def question(self) -> Question:
        """The same as agreements see it."""
        found = self.query.instrument
        valid = found is not None and self.now < found.valid_until
        return Question(
            asker=named(self.asker),
            asker_country=self.asker.country,
            owner=named(self.owner),
            owner_country=self.owner.country,
            purpose=self.query.purpose,
            legal_basis=self.query.legal_basis,
            instrument=(found.kind, found.authority) if found is not None and valid else None,
            mode=self.query.mode,
            schemes=self.query.schemes,
            roles=self.user.roles,
            terms=self.query.term_count,
            window_days=self.query.window_days,
            at=self.now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the points say together, and each for itself."""

    decision: Decision
    steps: Mapping[str, Decision]
    people: int

    @property
    def decided_by(self) -> str:
        """The first point that refuses; empty for a permission."""
        return next((point for point, d in self.steps.items() if not d.permit), "")

    @property
    def reason(self) -> Reason | None:
        """The first reason of that point, else of all of them together."""
        step = self.steps.get(self.decided_by, self.decision)
        return None if self.decision.permit else next(iter(step.reasons), None)


def decide(points: PolicyPoints, inquiry: Inquiry, *, only: str = "") -> Verdict:
    """Take the question through every decision point, as a real one goes.

    What routing permits is the grant, what grant and owner permit is asked of the record.

    :param only: one point, where the others do not matter.
    """
    i, owner = inquiry, inquiry.owner.partner_id
    people_needed, asked = _asked(points, i)
    routed = points.routing(
        now=i.now,
        query=_unopened(i),
        asker=i.asker,
        approvals=i.approvals,
        candidates={owner: i.owner},
    )[owner]
    grant = i.grant or GrantFacts(
        mode=i.query.mode,
        facets=tuple(sorted(routed.facets)),
        policy_serial=points.serial,
        expires_at=i.now + GRANTED_S,
    )
    answered = points.sovereignty(
        now=i.now,
        query=i.query,
        asker=i.asker,
        approvals=i.approvals,
        owner=i.owner,
        grant=grant,
    )
    facets = meet(routed, answered).facets if i.facets is None else i.facets
    (released,) = points.release(
        now=i.now, query=i.query, asker=i.asker, owner=i.owner, facets=facets, records=[i.record]
    )
    every = dict(
        zip(POINTS, (asked, _admitted(points, i), routed, answered, released), strict=True)
    )
    steps = {only: every[only]} if only else every
    return Verdict(decision=meet(*steps.values()), steps=steps, people=people_needed)


def _asked(points: PolicyPoints, i: Inquiry) -> tuple[int, Decision]:
    overall, each = points.asking(
        now=i.now,
        query=i.query,
        asker=i.asker,
        user=i.user,
        case=i.case,
        approvals=i.approvals,
        candidates={i.owner.partner_id: i.owner},
    )
    return overall.obligations.approvals, each[i.owner.partner_id]


def _admitted(points: PolicyPoints, i: Inquiry) -> Decision:
    return points.admission(
        now=i.now,
        query=_unopened(i),
        asker=i.asker,
        user=i.user,
        case_open=i.case is not None and i.case.open and i.now < i.case.expires_at,
        user_assigned=i.case is not None and i.case.assigned,
        approvals=i.approvals,
    )


def _unopened(i: Inquiry) -> QueryFacts:
    """The question as the gateway sees it."""
    return replace(i.query, window_days=None, events=None)


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def party_of(
    word: str, country: str, schemes: tuple[str, ...], policy: Policy, name: str
) -> PartyFacts:
    """``terminal``, or ``terminal:terminal-north`` for one in particular."""
    kind, _, partner = word.partition(":")
    if kind not in policy["kinds"]:
        raise wrong("asker and owner are kinds of partners, or KIND:PARTNER")
    return PartyFacts(
        partner_id=partner or name,
        kind=kind,
        sector=policy["kinds"][kind],
        country=country,
        schemes=schemes,
    )


def _basis(policy: Policy, kind: str, purpose: str) -> str:
    """The first legal basis on which this kind may ask for the purpose."""
    bases = policy["purposes"].get(purpose, {"legal_bases": {}})["legal_bases"]
    fitting = (basis for basis in bases if may_rely(policy, kind, purpose, basis))
    return next(fitting, next(iter(bases), "none"))


def named(party: PartyFacts) -> Party:
    """As agreements see it: one that nobody named in particular has no name of its own."""
    return Party(kind=party.kind, partner="" if party.partner_id in ANYBODY else party.partner_id)


def _instrument(word: str, now: int) -> InstrumentFacts | None:
    """``court-order:court``, or ``expired:court-order:court``."""
    if not word:
        return None
    parts = word.split(":")
    if len(parts) == 3 and parts[0] == "expired":
        return InstrumentFacts(kind=parts[1], authority=parts[2], valid_until=now)
    if len(parts) != 2:
        raise wrong("an instrument is written KIND:AUTHORITY")
    return InstrumentFacts(kind=parts[0], authority=parts[1], valid_until=now + CASE_S)


def _query(said: Mapping[str, str], schemes: tuple[str, ...], basis: str, now: int) -> QueryFacts:
    if said["mode"] not in {"sealed", "blind"}:
        raise wrong("the mode is sealed or blind")
    days = said["window_days"]
    return QueryFacts(
        mode="blind" if said["mode"] == "blind" else "sealed",
        purpose=said["purpose"],
        legal_basis=basis,
        instrument=_instrument(said["instrument"], now),
        schemes=schemes,
        term_count=_number(said["terms"], "terms"),
        window_days=None if days == "any" else _number(days, "window_days"),
        events=(),
    )


def _case(said: Mapping[str, str], query: QueryFacts, now: int) -> CaseFacts | None:
    if said["case"] not in {"open", "closed", "unassigned", "none"}:
        raise wrong("the case is open, closed, unassigned or none")
    if said["case"] == "none":
        return None
    return CaseFacts(
        open=said["case"] != "closed",
        assigned=said["case"] != "unassigned",
        purpose=query.purpose,
        legal_basis=query.legal_basis,
        schemes=query.schemes,
        expires_at=now + CASE_S,
    )


def _record(said: Mapping[str, str], query: QueryFacts, policy: Policy, now: int) -> RecordFacts:
    grade = said["grade"] if len(said["grade"]) == 2 else "  "
    return RecordFacts(
        record_type="movement",
        event=said["event"],
        country=said["record_country"],
        tlp=said["tlp"],
        pap=said["pap"],
        europol=said["europol"],
        source_grade=grade[0].strip(),
        information_grade=grade[1].strip(),
        purposes=tuple(said["record_purposes"].split()) or (query.purpose,),
        expires_at=now + CASE_S,
        active_target=_yes(said["active_target"]),
        personal=_yes(said["personal"]),
        fields=tuple(said["fields"].split()) or tuple(sorted(policy["fields"])),
    )


def _yes(word: str) -> bool:
    if word not in {"yes", "no"}:
        raise wrong("yes or no is expected")
    return word == "yes"


def _number(word: str, column: str) -> int:
    if not word.isascii() or not word.isdigit() or len(word) > 9:
        raise wrong(f"{column} is a whole number")
    return int(word)


def wrong(message: str) -> InvalidInput:
    """The error for a question whose words are none."""
    return InvalidInput(
        "the question cannot be read",
        reasons=("QUESTION_WORDS",),
        remedy=f"{message}; see: fairlead policy explain --help",
    )
