"""The decision points: build the input, ask every layer, meet the answers, fail closed.

Evaluation is synchronous and in-process, and nothing is cached: the next decision is always
made under the policy in force. Whatever goes wrong becomes a denial with the reason
``POLICY_UNAVAILABLE`` and one call of the alarm hook.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from fairlead.errors import FairleadError, Misconfigured, PolicyUnavailable
from fairlead.policy import inputs
from fairlead.policy.decision import Audience, Decision, Reason, denial, meet
from fairlead.policy.documents import Registry
from fairlead.policy.engine import PolicyEngine
from fairlead.policy.inputs import (
    CaseFacts,
    Document,
    GrantFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)
from fairlead.policy.reading import (
    REQUIRED,
    Read,
    read_candidates,
    read_decision,
    read_records,
)
from fairlead.policy.recorded import OVERALL, Decisions, Recorder, places

Alarm = Callable[[str, str], None]
"""Called with the decision point and a stable code; both are fixed names."""

BATCH = 128
"""Records in one evaluation: far from the engine's deadline."""

UNAVAILABLE = Reason(code="POLICY_UNAVAILABLE", audience=Audience.REQUESTER)


@dataclass(frozen=True, slots=True)
class Layer:
    """An engine, and the identity of the policy whose decisions are taken from it."""

    engine: PolicyEngine
    policy_id: str


class PolicyPoints:
    """Every decision of one process, over one or more layers of one policy serial.

    The federation's layer comes first, a partner's own second. Each must permit what is to be
    permitted.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        serial: int,
        *,
        alarm: Alarm = lambda *_: None,
        registry: Registry | None = None,
        not_after: int = 0,
        recorder: Recorder | None = None,
        cubes: bytes = b"",
    ) -> None:
        """:param registry: the words the policy knows, for who must go through all of them.

        :param not_after: unix seconds; every decision after it is a denial. 0 where unknown.
        :param recorder: takes every decision down; None where nobody acts on one.
        :param cubes: the registry of cubes as it was signed; empty where there is none.
        :raises Misconfigured: no layer: that would permit everything or nothing by accident."""
        if not layers:
            raise Misconfigured("a policy has no layer", reasons=("POLICY_EMPTY",))
        self._layers = tuple(layers)
        self._alarm = alarm
        self.serial = serial
        self.registry = registry
        self.not_after = not_after
        self.recorder = recorder
        self.cubes = cubes
        self.origin: PolicyPoints | None = None

    def recorded_by(self, recorder: Recorder | None) -> PolicyPoints:
        """The same policy, its decisions taken down by another recorder, or, where a question is
        only imagined, by none."""
        points = copy(self)
        points.recorder = recorder
        points.origin = self  # the engines are shared: they live as long as any of the points does
        return points

    def highly_sensitive(self, purpose: str) -> bool:
        """Whether witnesses cosign a question for this purpose before anybody is asked. A policy
        without words says so of everything; of a word it does not know it permits nothing anyway.
        """
        if self.registry is None:
            return True
        known = self.registry.purposes.get(purpose)
        return known is not None and known.highly_sensitive

    def asking(
        self,
        *,
        now: int,
        query: QueryFacts,
        asker: PartyFacts,
        user: UserFacts,
        case: CaseFacts | None,
        approvals: int,
        candidates: Mapping[str, PartyFacts],
    ) -> tuple[Decision, dict[str, Decision]]:
        """May the user ask, and whom: the decision over all, and one per candidate.

        When no candidate may be asked, the decision over all gives the candidates' reasons.
        """
        document = inputs.asking_input(
            now=now,
            query=query,
            asker=asker,
            user=user,
            case=case,
            approvals=approvals,
            candidates=candidates,
        )
        overall, each = self._over_candidates("asking", document, candidates)
        self._taken_down("asking", document, {OVERALL: overall, **each})
        return overall, each

    def admission(
        self,
        *,
        now: int,
        query: QueryFacts,
        asker: PartyFacts,
        user: UserFacts,
        case_open: bool,
        user_assigned: bool,
        approvals: int,
    ) -> Decision:
        """May the question enter the exchange."""
        document = inputs.admission_input(
            now=now,
            query=query,
            asker=asker,
            user=user,
            case_open=case_open,
            user_assigned=user_assigned,
            approvals=approvals,
        )
        decision = self._single("admission", document)
        self._taken_down("admission", document, decision)
        return decision

    def routing(
        self,
        *,
        now: int,
        query: QueryFacts,
        asker: PartyFacts,
        approvals: int,
        candidates: Mapping[str, PartyFacts],
    ) -> dict[str, Decision]:
        """Which owners may be asked, and what each may answer at most: one per candidate."""
        document = inputs.routing_input(
            now=now, query=query, asker=asker, approvals=approvals, candidates=candidates
        )
        overall, each = self._over_candidates("routing", document, candidates)
        self._taken_down("routing", document, {OVERALL: overall, **each})
        return each

    def sovereignty(
        self,
        *,
        now: int,
        query: QueryFacts,
        asker: PartyFacts,
        approvals: int,
        owner: PartyFacts,
        grant: GrantFacts,
    ) -> Decision:
        """Does this owner answer, and what at most."""
        document = inputs.sovereignty_input(
            now=now, query=query, asker=asker, approvals=approvals, owner=owner, grant=grant
        )
        decision = self._single("sovereignty", document)
        self._taken_down("sovereignty", document, decision)
        return decision

    def release(
        self,
        *,
        now: int,
        query: QueryFacts,
        asker: PartyFacts,
        owner: PartyFacts,
        facets: Collection[str],
        records: Sequence[RecordFacts],
    ) -> list[Decision]:
        """What of each record may leave, in the order of ``records``.

        A denial may carry ``notify``: read it before meeting the decision with another.
        """
        decided: list[Decision] = []
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            document = inputs.release_input(
                now=now, query=query, asker=asker, owner=owner, facets=facets, records=batch
            )
            decisions = self._over_records(document, len(batch))
            self._taken_down("release", document, decisions)
            decided += decisions
        return decided

    def statistics(
        self,
        *,
        now: int,
        cube: str,
        level: str,
        purpose: str,
        asker: PartyFacts,
        user: UserFacts,
    ) -> Decision:
        """May the user ask for these figures. What of them is shown is not policy's to say."""
        document = inputs.statistics_input(
            now=now, cube=cube, level=level, purpose=purpose, asker=asker, user=user
        )
        decision = self._single("statistics", document)
        self._taken_down("statistics", document, decision)
        return decision

    def decide(self, point: str, document: Document) -> dict[str, Decision]:
        """Decide over an input as it is, by place (see :mod:`fairlead.policy.recorded`), and leave
        no record: for who asks what another policy would have said.

        An input that says nothing of its candidates or records is decided over none.
        """
        if point in ("asking", "routing"):
            candidates = document.get("candidates")
            names = candidates if isinstance(candidates, dict) else {}
            overall, each = self._over_candidates(point, document, names)
            return {OVERALL: overall, **each}
        if point == "release":
            records = document.get("records")
            count = len(records) if isinstance(records, list) else 0
            return dict(places(self._over_records(document, count)))
        return {OVERALL: self._single(point, document)}

    def _taken_down(self, point: str, document: Document, decisions: Decisions) -> None:
        if self.recorder is not None:
            engine = self._layers[0].engine.name
            self.recorder.record(
                point, document, decisions, policy_serial=self.serial, engine=engine
            )

    # ── One layer ────────────────────────────────────────────────────────────────────────────

    def _single(self, point: str, document: Document) -> Decision:
        return meet(*(self._one(layer, point, document) for layer in self._layers))

    def _one(self, layer: Layer, point: str, document: Document) -> Decision:
        try:
            octets = layer.engine.evaluate(point, document)
            return read_decision(
                octets, kind=point, policy_serial=self.serial, policy_id=layer.policy_id
            )
        except Exception as error:  # noqa: BLE001  (fail closed: whatever it was, it is a no)
            return self._failed(point, point, error)

    def _over_records(self, document: Document, count: int) -> list[Decision]:
        layers = [self._records(layer, document, count) for layer in self._layers]
        return _meets(zip(*layers, strict=True))

    def _records(self, layer: Layer, document: Document, count: int) -> list[Decision]:
        try:
            found = read_records(
                layer.engine.evaluate("release", document),
                count,
                policy_serial=self.serial,
                policy_id=layer.policy_id,
            )
        except Exception as error:  # noqa: BLE001  (fail closed: whatever it was, it is a no)
            return [self._failed("release", "release", error)] * count
        return [self._decision("release", "release", read) for read in found]

    def _over_candidates(
        self, point: str, document: Document, candidates: Collection[str]
    ) -> tuple[Decision, dict[str, Decision]]:
        layers = [self._candidates(layer, point, document, candidates) for layer in self._layers]
        rows = zip(*([found[c] for c in candidates] for _, found in layers), strict=True)
        each = dict(zip(candidates, _meets(rows), strict=True))
        overall = meet(*(decision for decision, _ in layers))
        return _with_candidates(overall, each), each

    def _candidates(
        self, layer: Layer, point: str, document: Document, candidates: Collection[str]
    ) -> tuple[Decision, dict[str, Decision]]:
        kind = f"{point}.candidate"
        try:
            octets = layer.engine.evaluate(point, document)
            overall, found = read_candidates(
                octets, kind=point, policy_serial=self.serial, policy_id=layer.policy_id
            )
        except Exception as error:  # noqa: BLE001  (fail closed: whatever it was, it is a no)
            failed = self._failed(point, kind, error)
            return self._denial(point), dict.fromkeys(candidates, failed)
        missing = PolicyUnavailable("no decision")
        return overall, {
            candidate: self._decision(point, kind, found.get(candidate, missing))
            for candidate in candidates
        }

    def _decision(self, point: str, kind: str, read: Read) -> Decision:
        return read if isinstance(read, Decision) else self._failed(point, kind, read)

    def _failed(self, point: str, kind: str, error: Exception) -> Decision:
        self._alarm(point, error.code if isinstance(error, FairleadError) else "ENGINE_BROKEN")
        return self._denial(kind)

    def _denial(self, kind: str) -> Decision:
        # What goes wrong over a record may depend on it, so it is not for the requester.
        audience = Audience.OWNER if kind == "release" else Audience.REQUESTER
        reason = replace(UNAVAILABLE, audience=audience)
        return denial(reason, checks=REQUIRED[kind], policy_serial=self.serial)


def _meets(rows: Iterable[tuple[Decision, ...]]) -> list[Decision]:
    """The meet of each row; decisions that came together before are met once."""
    met: dict[tuple[int, ...], Decision] = {}
    found: list[Decision] = []
    for row in rows:
        key = tuple(map(id, row))
        if key not in met:
            met[key] = meet(*row)
        found.append(met[key])
    return found


def _with_candidates(overall: Decision, each: Mapping[str, Decision]) -> Decision:
    """Deny when nobody may be asked, with the candidates' reasons first."""
    if any(decision.permit for decision in each.values()):
        return overall
    reasons = tuple(dict.fromkeys(r for decision in each.values() for r in decision.reasons))
    own = tuple(r for r in overall.reasons if r not in reasons)
    last = () if NO_PARTNER.code in {r.code for r in own} else (NO_PARTNER,)
    denied = denial(NO_PARTNER, checks=overall.checks, policy_serial=overall.policy_serial)
    checks = {**overall.checks, "partner_available": False}
    return replace(denied, checks=checks, reasons=(*reasons, *own, *last))


NO_PARTNER = Reason(code="NO_PARTNER", audience=Audience.REQUESTER)
