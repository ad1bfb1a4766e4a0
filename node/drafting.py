"""Drafting a query at home: terms read, case checked, own policy asked, mandate drafted."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.budgets import BudgetExhausted, Charge
from fairlead.certificates import Identity
from fairlead.envelope.chunk import chunk_count, max_terms, root_of
from fairlead.envelope.query import (
    MANDATE_LIFETIME_S,
    Committed,
    Scope,
    draft_mandate,
    mode_name,
)
from fairlead.envelope.question import MAX_EVENTS
from fairlead.errors import (
    Forged,
    InvalidInput,
    NotFound,
    Refused,
    Stale,
    Unauthenticated,
)
from fairlead.facts import (
    instrument_facts,
    party_facts,
    refusal_of,
    requester_code,
    user_facts,
    window_days,
)
from fairlead.identifiers.matching import check_blind, keys_per_term
from fairlead.names import check_code
from fairlead.partners import DenyLists, Directories, Directory, Partner
from fairlead.policy.inputs import CaseFacts, QueryFacts
from fairlead.policy.live import LivePolicy
from fairlead.policy.points import PolicyPoints
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from fairlead.v1.handling_pb2 import Pap
from fairlead.vocabulary import Event
from node.batch import roots_of
from node.blinded import BlindPlan, Library
from node.cases import Case, CaseRegister, check_handling
from node.guard import Guard
from node.held import Held
from node.intake import check_count
from node.reviews import Reviews
from node.sealer import no_snapshots
from node.spending import AskerBudgets
from node.termlist import PAGE, TermList, TermLists

PREPARATION_S = 600
ROOM = signing.MAX_MESSAGE - 512 * 1024
"""Octets of all sealed parts of one message: what a gateway takes, without the query's front and
its sealed detail."""
PART_OVERHEAD = 2048
"""Octets of a sealed part beyond the padded question, at most: wrapped key, tags, address."""
MAX_DRAFTS = 32
"""Unsigned drafts kept for one user; the oldest gives way."""
MAX_DRAFT_OCTETS = 256 * 1024 * 1024
"""Of terms and rows in them all, unless they are of one draft; likewise."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A drafted query waiting for its user's signature. It lives in memory, and its terms, but for
    the last page, in the vault."""

    user: Identity
    case: Case
    mandate: bytes
    mode: int
    terms: TermList
    nonce_seed: bytes
    roots: tuple[bytes, ...]
    salts: Mapping[str, bytes]
    scope: Scope
    session: Ed25519PrivateKey
    not_asked: Mapping[str, str]
    urgent: bool
    """It exceeds a budget, and asks an approver to let it."""
    policy_serial: int
    """Under which the node decided that it may be asked."""
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """What is wanted, by whom, and when: all that decides whom the question may reach."""

    request: pb.PrepareRequest
    terms: TermList
    purpose: str
    case: Case
    user: Identity
    wanted: Mapping[str, Partner]
    directory: Directory
    policy: PolicyPoints
    now: float

    @property
    def covert(self) -> bool:
        """Nobody may notice: the handling of the question or of its case is PAP RED."""
        return Pap.PAP_RED in (self.request.pap, self.case.pap)


def check_room(partners: int, terms: int, elements: int = 0) -> None:
    """Whether the parts of a chunk for so many partners fit into one message.

    :param elements: blinded elements of all terms; 0 in sealed mode.
    :raises InvalidInput: ``TOO_LARGE``; the remedy says how many partners do.
    """
    each = sealing.question_size(min(terms, sealing.MAX_TERMS)) + PART_OVERHEAD
    if elements:
        most = min(elements, sealing.MAX_ELEMENTS)
        each = sealing.blind_question_size(most) + PART_OVERHEAD
    if partners * each > ROOM:
        raise InvalidInput(
            "so many terms for so many partners do not fit into one message",
            reasons=("TOO_LARGE",),
            remedy=f"name at most {ROOM // each} partners with --to, or ask fewer terms at once",
        )


class Drafter:
    """Drafts queries for the partner's own users and keeps the drafts until they are signed."""

    def __init__(
        self,
        *,
        partner_id: str,
        directory: Directories,
        deny_lists: DenyLists,
        policy: LivePolicy,
        cases: CaseRegister,
        guard: Guard,
        budgets: AskerBudgets,
        library: Library,
        lists: TermLists,
        held: Held,
        reviews: Reviews,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._directory = directory
        self._deny_lists = deny_lists
        self._policy = policy
        self._cases = cases
        self._guard = guard
        self._budgets = budgets
        self._library = library
        self._lists = lists
        self._held = held
        self._reviews = reviews
        self._clock = clock
        self._preparations: OrderedDict[bytes, Preparation] = OrderedDict()

    async def draft(
        self, request: pb.PrepareRequest, terms: TermList, user: Identity, certificate: bytes
    ) -> pb.PrepareResponse:
        """Draft one query.

        1. The options are read, as the terms were; a typo stops here.
        2. The case is open, and the user assigned to it.
        3. The node's own policy says whom the user may ask and how many second persons must
           agree, and the parts for all of them fit into one message.
        4. The guard sees no sweep in the terms, beside those of the user's last 24 hours.
        5. The budgets of the user, the case and the partner have room for it, or it is urgent
           and no earlier urgent query of the user waits for its review; and not too many queries
           of the user wait for a second person.
        6. The mandate is drafted and kept until it is signed.

        :param certificate: the user's certificate as TLS presented it (DER).
        :raises FairleadError: misspelt, without a case, or refused by the node's own policy.
        """
        now, directory = self._clock(), self._directory.asking
        # 1
        user.check_schemes(terms.schemes)
        _check_window(request, now)
        purpose = check_code(request.purpose)
        if request.mode:
            mode_name(request.mode)
        # 2
        case = self._cases.assigned(request.case_id, user)
        # 3
        wanted = self._candidates(request, directory)
        asking = _Asking(
            request=request, terms=terms, purpose=purpose, case=case, user=user, wanted=wanted,
            directory=directory, policy=self._policy.current, now=now,
        )  # fmt: skip
        mode, not_asked, approvals = self._mode(asking)
        check_count(len(terms), mode)
        scope = _scope(request, case, mode)
        asked = {p: partner for p, partner in wanted.items() if p not in not_asked}
        elements = _elements(terms.schemes) if mode == query_pb2.MODE_BLIND else 0
        check_room(len(asked), len(terms), elements)
        if not request.partners:
            not_asked |= dict.fromkeys(directory.unpinned, "ROOT_UNPINNED")
        # 4
        async with self._guard.turn(user.name):
            await aside(len(terms), self._guard.check, user.name, terms)
        # 5
        charges = self._budgets.charges(user.name, case.case_id, terms.schemes, mode)
        urgent = self._urgent(charges, request, user)
        approvals = max(approvals, int(urgent))
        if approvals:
            self._held.check_room(user.name)
        # 6
        session = Ed25519PrivateKey.generate()
        seed = os.urandom(32)
        roots = await aside(len(terms), roots_of, terms, seed, scope, mode)
        salts = {p: os.urandom(32) for p in directory.listed}
        mandate = draft_mandate(
            directory=directory,
            partner_id=self._partner_id,
            user_certificate=certificate,
            purpose=purpose,
            legal_basis=case.legal_basis,
            case_commitment=signing.commit(case.nonce, case.case_id.encode()),
            mode=mode,
            committed=Committed(schemes=terms.schemes, count=len(terms), root=root_of(roots)),
            salts=salts,
            asked=asked.keys(),
            session_key=signing.public_bytes(session),
            now=now,
            lifetime_s=MANDATE_LIFETIME_S if approvals else mandate_lifetime_s(len(terms), mode),
            required_approvals=approvals,
        )
        preparation_id = await self._remember(
            Preparation(
                user=user,
                case=case,
                mandate=mandate,
                mode=mode,
                terms=terms,
                nonce_seed=seed,
                roots=roots,
                salts={p: salts[p] for p in asked},
                scope=scope,
                session=session,
                not_asked=not_asked,
                urgent=urgent,
                policy_serial=asking.policy.serial,
                expires_at=now + PREPARATION_S,
            )
        )
        return pb.PrepareResponse(
            preparation_id=preparation_id,
            mandate=mandate,
            nonce_seed=seed,
            case_nonce=case.nonce,
            partner_salts=list(salts.values()),
            exposures=[
                pb.Exposure(
                    partner_id=p,
                    display_name=partner.display_name,
                    learns="count" if mode == query_pb2.MODE_BLIND else "term",
                )
                for p, partner in asked.items()
            ],
            directory_partners=list(directory.listed),
            tlp=scope.tlp,  # type: ignore[arg-type]
            pap=scope.pap,  # type: ignore[arg-type]
            not_asked=[
                pb.NotAsked(partner_id=p, reason=reason) for p, reason in sorted(not_asked.items())
            ],
            spends=self._budgets.costs(charges),
        )

    def _candidates(self, request: pb.PrepareRequest, directory: Directory) -> dict[str, Partner]:
        """The wanted partners by id.

        :raises NotFound: a partner that the directory does not list, or oneself.
        """
        if not request.partners:
            others = directory.partners.items()
            return {p: partner for p, partner in others if p != self._partner_id}
        wanted = {p: directory.partner(p) for p in sorted(set(request.partners))}
        if self._partner_id in wanted:
            raise NotFound(
                "a partner does not ask itself",
                reasons=("ASKS_ITSELF",),
                remedy="fairlead partners",
            )
        return wanted

    def _mode(self, asking: _Asking) -> tuple[int, dict[str, str], int]:
        """The mode of the question; who will not be asked, and why (reason code); and how many
        people must approve.

        Where the user leaves the mode open, it is sealed when policy lets every partner that may
        be asked at all be asked so, and blind else, or when PAP is RED, or for more terms than a
        sealed mandate has: from blind nothing falls to sealed.

        :raises Refused: the node's own policy permits nobody to be asked.
        """
        wanted = asking.request.mode
        if wanted == query_pb2.MODE_SEALED:
            return wanted, *self._decide(asking, "sealed")
        few = len(asking.terms) <= max_terms(query_pb2.MODE_SEALED)
        if not wanted and few and not asking.covert:
            try:
                codes, approvals = self._decide(asking, "sealed")
            except Refused as error:
                if "BLIND_REQUIRED" not in error.reasons:
                    raise
            else:
                if "BLIND_REQUIRED" not in codes.values():
                    return query_pb2.MODE_SEALED, codes, approvals
        for scheme in asking.terms.schemes:
            check_blind(scheme)
        codes, approvals = self._decide(asking, "blind")
        return query_pb2.MODE_BLIND, {**codes, **self._without_snapshot(asking, codes)}, approvals

    def _without_snapshot(self, asking: _Asking, codes: Mapping[str, str]) -> Mapping[str, str]:
        """Partners who may be asked blind and whose snapshot cannot be looked up in.

        :raises Refused: there is no other one.
        """
        owners = [p for p in asking.wanted if p not in codes]
        one_each = [(scheme, "") for scheme in asking.terms.schemes]
        plan = BlindPlan.make(self._library, owners, purpose=asking.purpose, terms=one_each)
        if not plan.places:
            raise no_snapshots(plan.left_out)
        return plan.left_out

    def _decide(
        self, asking: _Asking, mode: Literal["sealed", "blind"]
    ) -> tuple[dict[str, str], int]:
        """Who will not be asked in this mode, and why (reason code); and how many people must
        approve.

        :raises Refused: the node's own policy permits nobody to be asked.
        """
        request, case, wanted, now = asking.request, asking.case, asking.wanted, asking.now
        facts = QueryFacts(
            mode=mode,
            purpose=asking.purpose,
            legal_basis=case.legal_basis,
            instrument=instrument_facts(case.vouched()),
            schemes=tuple(sorted(asking.terms.schemes)),
            term_count=len(asking.terms),
            window_days=window_days(request.since, request.until, now),
            events=tuple(sorted(set(request.events))),
        )
        overall, decisions = asking.policy.asking(
            now=int(now),
            query=facts,
            asker=party_facts(asking.directory.partner(self._partner_id)),
            user=user_facts(asking.user),
            case=CaseFacts(
                open=True,
                assigned=True,
                purpose=case.purpose,
                legal_basis=case.legal_basis,
                schemes=case.schemes,
                expires_at=case.expires_at,
            ),
            approvals=0,
            candidates={p: party_facts(partner) for p, partner in wanted.items()},
        )
        if not overall.permit:
            raise refusal_of(overall)
        denied = {p: d for p, d in decisions.items() if not d.permit}
        if len(denied) == len(wanted):
            raise refusal_of(next(iter(denied.values())))
        codes = {p: requester_code(d) for p, d in denied.items()}
        codes |= {p: "SUSPENDED" for p, partner in wanted.items() if self._suspended(partner, now)}
        if len(codes) == len(wanted):
            raise Refused("every partner wanted is suspended", reasons=("SUSPENDED",))
        second = [
            decision.obligations.second_approvers
            for partner, decision in decisions.items()
            if partner not in codes
        ]
        return codes, max(overall.obligations.approvals, *second)

    def _urgent(
        self, charges: Sequence[Charge], request: pb.PrepareRequest, user: Identity
    ) -> bool:
        """Whether a query exceeds a budget and its user asks an approver to let it.

        :raises BudgetExhausted: it exceeds one and is not urgent. :raises Refused: an earlier
            urgent one was not reviewed.
        """
        try:
            self._budgets.check(charges)
        except BudgetExhausted:
            if not request.urgent:
                raise
            self._reviews.check_reviewed(user.spiffe_id)
            return True
        return False

    def _suspended(self, partner: Partner, now: float) -> bool:
        try:
            self._deny_lists.check(partner.nodes[0].spiffe_id, now)
        except Unauthenticated:
            return True
        return False

    async def _remember(self, preparation: Preparation) -> bytes:
        preparation_id = os.urandom(16)
        self._preparations[preparation_id] = preparation
        user = preparation.user.spiffe_id
        own = [k for k, kept in self._preparations.items() if kept.user.spiffe_id == user]
        octets = sum(self._preparations[k].terms.octets for k in own)
        gone = []
        while len(own) > MAX_DRAFTS or (octets > MAX_DRAFT_OCTETS and len(own) > 1):
            gone.append(self._preparations.pop(own.pop(0)).terms)
            octets -= gone[-1].octets
        await self._lists.drop(gone)
        await self.expire()
        return preparation_id

    async def expire(self) -> None:
        """Forget the drafts that nobody signed in time, and delete their terms."""
        now = self._clock()
        self._guard.forget()
        old = [k for k, kept in self._preparations.items() if now >= kept.expires_at]
        await self._lists.drop([self._preparations.pop(k).terms for k in old])

    async def take(self, request: pb.AskRequest, user: Identity) -> tuple[Preparation, bytes]:
        """Hand a draft out, once, to the user it was made for.

        :returns: the draft and the user's signature, which is not verified here.
        :raises Stale: unknown, expired or somebody else's. :raises Forged: another mandate.
        :raises Refused: the case was closed, or its budget spent, meanwhile, or a sweep shows
            beside what the user asked since.
        """
        preparation = self._preparations.pop(request.preparation_id, None)
        try:
            return await self._taken(preparation, request, user), request.signature
        except BaseException:
            if preparation is not None:
                await asyncio.shield(self._lists.drop([preparation.terms]))
            raise

    async def _taken(
        self, preparation: Preparation | None, request: pb.AskRequest, user: Identity
    ) -> Preparation:
        owned = preparation is not None and preparation.user.spiffe_id == user.spiffe_id
        if preparation is None or not owned or self._clock() >= preparation.expires_at:
            raise Stale(
                "this draft is unknown or has expired",
                reasons=("PREPARATION_EXPIRED",),
                remedy="ask again",
            )
        if request.mandate != preparation.mandate:
            raise Forged("the signed mandate is not the drafted one", reasons=("MANDATE",))
        case_id, terms = preparation.case.case_id, preparation.terms
        await self.admit(case_id, user, terms, mode=preparation.mode, urgent=preparation.urgent)
        return preparation

    async def admit(
        self, case_id: str, user: Identity, terms: TermList, *, mode: int, urgent: bool
    ) -> None:
        """What is true of a query when it was drafted is true still.

        :raises Refused: its case was closed, its budget spent, an urgent one not reviewed, or a
            sweep shows.
        """
        case = self._cases.assigned(case_id, user)
        if urgent:
            self._reviews.check_reviewed(user.spiffe_id)
        else:
            charges = self._budgets.charges(user.name, case.case_id, terms.schemes, mode)
            self._budgets.check(charges)
        async with self._guard.turn(user.name):
            await aside(len(terms), self._guard.admit, user.name, terms)


async def aside(terms: int, work: Callable[..., T], *arguments: Any) -> T:
    """Do what takes its time with many terms in a thread of its own, and the rest at once."""
    if terms <= PAGE:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


def _elements(schemes: Mapping[str, int]) -> int:
    """Blinded elements of so many terms of each scheme."""
    return sum(count * keys_per_term(scheme) for scheme, count in schemes.items())


def mandate_lifetime_s(terms: int, mode: int = query_pb2.MODE_SEALED) -> int:
    """An hour, and a quarter of one for each further chunk, so that a long query can be taken up
    again after an interruption; at most 24 hours."""
    return min(3600 + 900 * (chunk_count(terms, mode) - 1), MANDATE_LIFETIME_S)


def _scope(request: pb.PrepareRequest, case: Case, mode: int) -> Scope:
    """What the question reaches, with the case's handling where the user states none.

    :raises Refused: PAP_RED: an owner that sees the term could act on it.
    """
    check_handling(request.tlp, request.pap)
    pap = request.pap or case.pap
    red = Pap.PAP_RED in (pap, case.pap)  # what an approver set, no member takes back
    if red and mode == query_pb2.MODE_SEALED:
        raise Refused(
            "PAP RED forbids what the subject could notice, and a sealed query shows the term to "
            "its owners; nothing was sent",
            reasons=("PAP_RED",),
            remedy="fairlead ask … --mode blind, or --pap AMBER unless the case says RED",
        )
    return Scope(
        since=request.since,
        until=request.until,
        events=tuple(sorted(set(request.events))),
        tlp=request.tlp or case.tlp,
        pap=pap,
    )


def _check_window(request: pb.PrepareRequest, now: float) -> None:
    if request.since < 0 or request.until < 0 or (request.until and request.until <= request.since):
        raise InvalidInput(
            "the time range is empty", reasons=("TIME_RANGE",), remedy="fairlead ask --help"
        )
    if request.since >= now:
        raise InvalidInput(
            "the period has not begun; nothing was sent",
            reasons=("TIME_RANGE",),
            remedy="fairlead ask … --since 90d",
        )
    if len(set(request.events)) > MAX_EVENTS:
        raise InvalidInput("a question names too many events", reasons=("EVENTS",))
    if not set(request.events) <= set(Event):
        raise InvalidInput(
            "no partner knows this kind of event",
            reasons=("EVENT_UNKNOWN",),
            remedy="fairlead ask --help",
        )
