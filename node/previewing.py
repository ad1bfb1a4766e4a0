"""What a partner would get, shown to the owner: the real code path, with its reasons.

The same policy points, the same gate, the same disclosure as for a question that comes through
the gateway; what is left out is only what proves who asks. Each look is a leaf without the term.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fairlead import identifiers
from fairlead.auditlog import AuditLog
from fairlead.envelope.approval import MAX_APPROVALS
from fairlead.envelope.query import Scope
from fairlead.envelope.question import Question
from fairlead.errors import InvalidInput, Misconfigured
from fairlead.facts import party_facts, requester_code, window_days
from fairlead.identifiers import Identifier
from fairlead.leaves import LeafWriter
from fairlead.names import check_code
from fairlead.partners import Directory, Partner
from fairlead.policy.decision import Audience, Decision, meet
from fairlead.policy.inputs import GrantFacts, QueryFacts
from fairlead.policy.points import PolicyPoints
from fairlead.reasons import reason
from fairlead.v1 import query_pb2
from node.disclosing import (
    MAX_VISIBLE,
    Disclosure,
    Judge,
    Ruling,
    narrowed,
    record_facts,
    to_wire,
    within,
)
from node.exposure.document import moment
from node.exposure.gate import ExposureGate
from node.index import Index, IndexedRecord

Json = dict[str, Any]
_UNKNOWN = "fairlead-node exposure --config FILE lists partners, purposes and legal bases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagined:
    """A question nobody has asked."""

    asker: Partner
    purpose: str
    legal_basis: str
    mode_name: str
    schemes: tuple[str, ...]
    query_id: bytes = bytes(16)
    term_count: int = 1


@dataclass(slots=True, kw_only=True)
class Previewing:
    """Answers imagined questions over the index in use."""

    owner: str
    directory: Callable[[], Directory]
    policy: Callable[[], PolicyPoints]
    index: Callable[[], Index]
    gate: ExposureGate
    log: AuditLog
    leaves: LeafWriter
    clock: Callable[[], float]

    async def preview(
        self,
        *,
        partner: str,
        purpose: str,
        term: str,
        scheme: str = "",
        legal_basis: str = "",
        mode: str = "sealed",
        since: int = 0,
        until: int = 0,
    ) -> Json:
        """Answer as if ``partner`` asked.

        1. The question is one that could be asked. 2. That somebody looked is durable.
        3. Gateway and owner decide, and the gate. 4. The answer is composed as it would be.
        5. Every record about the term is listed with what decided over it.

        :raises InvalidInput: misspelt, or not a word of the registry. :raises NotFound: no such
            partner.
        """
        # 1
        asker = self.directory().partner(partner)
        found = _identifier(term, scheme)
        query = self._imagine(asker, purpose, legal_basis, mode, found.scheme)
        # 2
        leaf = self.leaves.owner(
            "previewed", partner_id=partner, purpose=purpose, schemes=[found.scheme]
        )
        await self.log.append(leaf)
        # 3
        scope = Scope(since=since, until=until)
        now = self.clock()
        facts = QueryFacts(
            mode="sealed" if mode == "sealed" else "blind",
            purpose=purpose,
            legal_basis=query.legal_basis,
            schemes=query.schemes,
            term_count=1,
            window_days=window_days(since, until, now),
            events=(),
        )
        policy = self.policy()
        before = self._rule(policy, facts, asker, int(now))
        decision = self.gate.rule(before, query)
        shown = _head(query, decision)
        if not decision.permit:
            return shown
        # 4
        ruling = Ruling(
            question=Question(terms=(found,), scope=scope), decision=decision, facts=facts
        )
        disclosure = Disclosure(
            owner=self.directory().partner(self.owner),
            index=self.index(),
            policy=policy,
            gate=self.gate,
            clock=self.clock,
        )
        judge = disclosure.judge(query, ruling)
        (answer,) = (await disclosure.answer(query, ruling, judge=judge)).answers
        # 5
        return {**shown, **_answer(answer), "considered": self._considered(found, ruling, judge)}

    def _imagine(
        self, asker: Partner, purpose: str, legal_basis: str, mode: str, scheme: str
    ) -> Imagined:
        registry = self.policy().registry
        if registry is None:
            raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
        check_code(purpose)
        if asker.partner_id == self.owner:
            raise InvalidInput("a node is not asked by its own partner", reasons=("ASKS_ITSELF",))
        if mode not in ("sealed", "blind"):
            raise InvalidInput("a mode is sealed or blind", reasons=("MODE",))
        known = registry.purposes.get(purpose)
        if known is None:
            raise InvalidInput("no such purpose", reasons=("PURPOSE_UNKNOWN",), remedy=_UNKNOWN)
        kinds = registry.legal_bases
        fitting = [b for b in known.legal_bases if asker.kind.value in kinds[b].kinds]
        if legal_basis and legal_basis not in known.legal_bases:
            raise InvalidInput("no such legal basis", reasons=("LEGAL_BASIS",), remedy=_UNKNOWN)
        basis = legal_basis or next(iter(fitting or known.legal_bases))
        return Imagined(
            asker=asker, purpose=purpose, legal_basis=basis, mode_name=mode, schemes=(scheme,)
        )

    def _rule(self, policy: PolicyPoints, facts: QueryFacts, asker: Partner, now: int) -> Decision:
        """The gateway's routing met with the owner's sovereignty, as for a real grant."""
        owner = party_facts(self.directory().partner(self.owner))
        routed = policy.routing(
            now=now,
            query=facts,
            asker=party_facts(asker),
            approvals=MAX_APPROVALS,
            candidates={self.owner: owner},
        )[self.owner]
        if not routed.permit:
            return routed
        own = policy.sovereignty(
            now=now,
            query=facts,
            asker=party_facts(asker),
            approvals=MAX_APPROVALS,
            owner=owner,
            grant=GrantFacts(
                mode=facts.mode,
                facets=tuple(sorted(routed.facets)),
                policy_serial=policy.serial,
                expires_at=now + 1,
            ),
        )
        granted = Decision.of_grant(
            facets=routed.facets, obligations=routed.obligations, policy_serial=policy.serial
        )
        return meet(own, granted)

    def _considered(self, term: Identifier, ruling: Ruling, judge: Judge) -> list[Json]:
        """Every record about the term, newest first, as far as an answer looks."""
        scope = narrowed(ruling.question.scope, ruling.decision)
        listed: list[Json] = []
        for page in self.index().pages(term):
            judge.learn([record_facts(record, judge.now) for record in page])
            listed += [
                _considered(record, judge, term.scheme, within(record, scope)) for record in page
            ]
            if len(listed) >= MAX_VISIBLE:
                break
        return listed[:MAX_VISIBLE]


def _identifier(term: str, scheme: str) -> Identifier:
    """:raises InvalidInput: not recognised, or not written as its scheme demands."""
    if scheme:
        return identifiers.parse(scheme, term)
    found = identifiers.recognise(term)
    if not found:
        raise InvalidInput(
            "the kind of identifier is not recognised",
            reasons=("SCHEME_UNKNOWN",),
            remedy="state it: --scheme SCHEME",
        )
    return identifiers.parse(found[0].scheme, term)


def _head(query: Imagined, decision: Decision) -> Json:
    return {
        "schema": 1,
        "partner": query.asker.partner_id,
        "purpose": query.purpose,
        "legal_basis": query.legal_basis,
        "mode": query.mode_name,
        "scheme": query.schemes[0],
        "status": "answered" if decision.permit else "refused",
        "reason": "" if decision.permit else requester_code(decision),
        "agreements": list(decision.rules),
        "reasons": _reasons(decision),
        "hit": False,
        "count_band": "",
        "contact_desk": "",
        "more": False,
        "records": [],
        "considered": [],
    }


def _answer(answer: query_pb2.TermAnswer) -> Json:
    """What leaves, exactly."""
    return {
        "hit": answer.hit,
        "count_band": answer.count_band,
        "contact_desk": answer.contact_desk,
        "more": answer.more,
        "records": [
            {
                "type": record.record_type,
                "event": record.event,
                "occurred_at": moment(record.occurred_at) if record.occurred_at else "",
                "fields": {field.name: field.value for field in record.fields},
                "withheld": list(record.withheld),
                "ref": record.ref.hex(),
            }
            for record in answer.records
        ],
    }


def _considered(record: IndexedRecord, judge: Judge, scheme: str, in_scope: bool) -> Json:
    facts = record_facts(record, judge.now)
    decision, before = judge.known[facts], judge.before[facts]
    allowed = judge.visible(record, scheme) if in_scope else None
    visible = allowed is not None
    wire = to_wire(record, allowed or decision)
    shown = {f.name for f in wire.fields} if visible else set()
    names = [*sorted({*record.fields, *record.withheld}), "event", "occurred_at"]
    if visible and wire.event:
        shown.add("event")
    if visible and wire.occurred_at:
        shown.add("occurred_at")
    held = [n for n in names if n not in shown]
    return {
        "ref": record.ref.hex(),
        "type": record.record_type,
        "released": visible,
        "why": "" if visible else _why(decision, in_scope),
        "approvals": decision.obligations.approvals,
        "agreements": list(decision.rules),
        "reasons": _reasons(decision),
        "fields": sorted(shown),
        "withheld": {n: _why_field(n, record, decision, before) for n in held} if visible else {},
    }


def _why(decision: Decision, in_scope: bool) -> str:
    if not in_scope:
        return "OUT_OF_SCOPE"
    if not decision.permit:
        return decision.reasons[0].code if decision.reasons else "POLICY"
    return "APPROVAL_NEEDED" if decision.obligations.approvals else "NOTHING_GRANTED"


def _why_field(name: str, record: IndexedRecord, decision: Decision, before: Decision) -> str:
    """The first thing that holds a field back."""
    if name in record.withheld:
        return "MAPPING"
    if name in decision.obligations.redact:
        return "REDACTED"
    granted = {"full_record", f"field:{name}"}
    if granted & before.facets and not granted & decision.facets:
        return "EXPOSURE_NOT_ACCEPTED"
    return "NOT_GRANTED"


def _reasons(decision: Decision) -> list[Json]:
    """What the owner may read: its own reasons and the requester's."""
    readable = {Audience.OWNER, Audience.REQUESTER}
    return [
        {"code": r.code, "audience": r.audience.value, "text": told.text, "needed": told.needed,
         "next": told.next}
        for r in decision.reasons
        if r.audience in readable
        for told in (reason(r.code),)
    ]  # fmt: skip
