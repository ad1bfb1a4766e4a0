"""Decisions to measure: the committed policy in either engine, and questions no two alike.

Whatever the reader of decisions remembers of late outputs, it has to read these anew: each
question is about organisations of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from bench.federation import OWNER_KINDS, ROOT
from fairlead.partners import PartnerKind
from fairlead.policy.agreements import federation_data
from fairlead.policy.bundle import program_of
from fairlead.policy.compiling import identified
from fairlead.policy.decision import Decision
from fairlead.policy.engine import PolicyEngine, WasmEngine
from fairlead.policy.inputs import (
    Document,
    GrantFacts,
    PartyFacts,
    QueryFacts,
    RecordFacts,
    UserFacts,
)
from fairlead.policy.issuing import tree
from fairlead.policy.points import Layer, PolicyPoints
from fairlead.policy.recorded import Decisions, Outcome, Recorded, places
from fairlead.policy.replay import Replay
from fairlead.policy.supervision import supervised_engine

WASM, OPA = "wasm", "opa"
DATA = ("data/agreements.yaml", "data/demo.yaml")
POLICY = "measured"
NOW = 1_795_000_000
PATIENCE_S = 5.0
FIELDS = ("plate", "place", "event", "driver_name")
FACETS = ("contact_desk", "count_band", "existence", "full_record")
DIFFERENT = 256
"""Questions that differ, in turn: twice as many as the reader remembers outputs."""
ANALYST = UserFacts(pseudonym="u-b01", roles=("analyst",))
ASKERS = (
    (PartnerKind.CUSTOMS, "drug-trafficking", "eu-ucc-art-46", "sealed"),
    (PartnerKind.POLICE, "infiltration", "national-criminal-procedure", "blind"),
    (PartnerKind.CUSTOMS, "customs-risk", "eu-ucc-art-46", "blind"),
    (PartnerKind.INLAND_PORT, "security-incident", "gdpr-art-6-1-e", "blind"),
)
PURPOSES = tuple(purpose for _, purpose, _, _ in ASKERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, to every partner."""

    query: QueryFacts
    asker: PartyFacts
    candidates: dict[str, PartyFacts]


def questions(partners: int, count: int = DIFFERENT) -> list[Question]:
    """``count`` different questions, each to ``partners`` partners that only it asks."""
    found = []
    for number, (kind, purpose, basis, mode) in zip(range(count), cycle(ASKERS), strict=False):
        query = QueryFacts(
            mode="sealed" if mode == "sealed" else "blind",
            purpose=purpose,
            legal_basis=basis,
            schemes=("container",),
            term_count=1,
            window_days=90,
            events=(),
        )
        kinds = islice(cycle(OWNER_KINDS), partners)
        owners = [party(f"p-{number}-{place}", k) for place, k in enumerate(kinds)]
        found.append(
            Question(
                query=query,
                asker=party(f"asker-{number}", kind),
                candidates={owner.partner_id: owner for owner in owners},
            )
        )
    return found


def party(name: str, kind: PartnerKind) -> PartyFacts:
    """A partner that answers for the usual schemes."""
    return PartyFacts(
        partner_id=name,
        kind=kind.value,
        sector=kind.sector.value,
        country="NL",
        schemes=("container", "vehicle-plate", "vessel-imo"),
    )


def records(count: int) -> tuple[RecordFacts, ...]:
    """Records such as a terminal holds, of ten kinds; four in five of them may leave."""
    return tuple(
        RecordFacts(
            record_type="movement",
            event=("gate-in", "gate-out")[number % 2],
            tlp="RED" if number % 5 == 0 else "AMBER",
            pap="AMBER",
            europol="H0",
            source_grade="A",
            information_grade="1",
            purposes=PURPOSES,
            expires_at=NOW + 3600 + number,
            active_target=False,
            personal=False,
            country="NL",
            fields=FIELDS,
        )
        for number in range(count)
    )


# ── Engines ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def engines() -> Iterator[dict[str, PolicyPoints]]:
    """The decision points over each engine that this machine has: OPA only where it is.

    OPA is started and supervised, as a process with ``policy.engine = "opa"`` does it. Neither
    has the shipped deadline: a busy machine shows in the figures, and not as a denial.
    """
    policies = ROOT / "policies"
    files = {name: (policies / name).read_bytes() for name in DATA}
    data = identified(federation_data(files), POLICY)
    program = program_of(tree(policies))
    running: dict[str, PolicyEngine] = {WASM: WasmEngine(program.wasm, data, deadline_s=PATIENCE_S)}
    if (command := opa_command()) is not None:
        running[OPA] = supervised_engine(command, program, data, deadline_s=PATIENCE_S)
    try:
        yield {name: PolicyPoints([Layer(engine, POLICY)], 1) for name, engine in running.items()}
    finally:
        for engine in running.values():
            engine.close()


def opa_command() -> Path | None:
    """An OPA in ``.tools/bin`` or on PATH."""
    built = ROOT / ".tools" / "bin" / "opa"
    found = str(built) if built.exists() else shutil.which("opa")
    return Path(found) if found else None


# ── Measuring ────────────────────────────────────────────────────────────────────────────────


class Wrong(Exception):
    """A decision is not what the question should get: nothing is measured of another policy."""


def admit(points: PolicyPoints, question: Question) -> None:
    """One admission. :raises Wrong: it is not permitted."""
    decision = points.admission(
        now=NOW, query=question.query, asker=question.asker, user=ANALYST, case_open=True,
        user_assigned=True, approvals=0,
    )  # fmt: skip
    _expect([decision], 1)


def route(points: PolicyPoints, question: Question) -> None:
    """One routing. :raises Wrong: some partner may not be asked."""
    decisions = points.routing(
        now=NOW,
        query=question.query,
        asker=question.asker,
        approvals=0,
        candidates=question.candidates,
    )
    _expect(decisions.values(), len(question.candidates))


def release(points: PolicyPoints, question: Question, batch: Sequence[RecordFacts]) -> None:
    """One batch of records. :raises Wrong: not four in five of them may leave."""
    decisions = points.release(
        now=NOW, query=question.query, asker=question.asker,
        owner=next(iter(question.candidates.values())), facets=FACETS, records=batch,
    )  # fmt: skip
    _expect(decisions, len(batch) - -(-len(batch) // 5))


def answer(points: PolicyPoints, question: Question) -> None:
    """One owner's decision to answer. :raises Wrong: it does not."""
    grant = GrantFacts(
        mode=question.query.mode, facets=FACETS, policy_serial=1, expires_at=NOW + 60
    )
    owner = next(iter(question.candidates.values()))
    decision = points.sovereignty(
        now=NOW,
        query=question.query,
        asker=question.asker,
        approvals=0,
        owner=owner,
        grant=grant,
    )
    _expect([decision], 1)


def _expect(decisions: Sequence[Decision] | object, permitted: int) -> None:
    if sum(decision.permit for decision in decisions) != permitted:  # type: ignore[attr-defined]
        raise Wrong


def p50_us(decide: Callable[[Question], None], asked: Sequence[Question], count: int) -> float:
    """Microseconds of one call, the median of ``count`` in turn over the questions."""
    times = []
    for question in islice(cycle(asked), count):
        began = time.perf_counter_ns()
        decide(question)
        times.append(time.perf_counter_ns() - began)
    return median(times) / 1000


@dataclass(slots=True)
class Kept:
    """A recorder that keeps records in memory, as an officer has them after opening them."""

    records: list[Recorded] = field(default_factory=list)

    def record(
        self,
        point: str,
        document: Document,
        decisions: Decisions,
        *,
        policy_serial: int,
        engine: str,
    ) -> bytes:
        """See :class:`fairlead.policy.recorded.Recorder`."""
        outcomes = {place: Outcome.of(found) for place, found in places(decisions).items()}
        recorded = Recorded(
            decision_id=bytes(16), point=point, engine=engine, policy_serial=policy_serial,
            time_ms=NOW * 1000, query_id=b"", digest=b"", outcomes=outcomes, document=document,
        )  # fmt: skip
        self.records.append(recorded)
        return recorded.decision_id


def recorded_by(points: PolicyPoints, count: int) -> list[Recorded]:
    """Records of ``count`` evaluations of a gateway and of an owner."""
    kept = Kept()
    taken = points.recorded_by(kept)
    asked, held = questions(8, 64), records(4)
    for number, question in enumerate(islice(cycle(asked), count)):
        if number % 4 == 0:
            admit(taken, question)
        elif number % 4 == 1:
            route(taken, question)
        elif number % 4 == 2:
            answer(taken, question)
        else:
            release(taken, question, held)
    return kept.records


def replayed(points: PolicyPoints, kept: Sequence[Recorded]) -> int:
    """Replay records as ``fairlead policy replay`` does: under a draft, here the same policy, under
    the policy in force, and against what they say; returns how many decisions that were."""
    replay = Replay(draft=points, current=points, at=[NOW], fields=FIELDS)
    for recorded in kept:
        replay.take(recorded)
    if replay.report.unlike or replay.report.widenings:
        raise Wrong
    return replay.report.decisions
