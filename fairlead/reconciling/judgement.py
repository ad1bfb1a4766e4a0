"""What two statements and a verdict come to: the same at both ends, and for a later reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fairlead import signing
from fairlead.reconciling.statement import (
    MISSING,
    Counterstatement,
    Entry,
    Statement,
    Verdict,
)

RECONCILE_MISSING = "RECONCILE_MISSING"
RECONCILE_DIFFERS = "RECONCILE_DIFFERS"
RECONCILE_SHORTENED = "RECONCILE_SHORTENED"


def lasting(code: str, whose: str) -> bytes:
    """The identity of what is wrong with a log as a whole."""
    return signing.digest(f"lasting {code} {whose}".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One entry that a log lacks, or holds otherwise.

    ``absent_from`` is ``gateway`` or ``node``: whose log it is.
    """

    code: str
    absent_from: str
    entry: Entry

    @property
    def identity(self) -> bytes:
        """SHA-256 of what it is about, whichever round found it: it is raised once."""
        entry = self.entry
        place = f"{self.absent_from} {entry.kind} {entry.leaf} {entry.partner_id} ".encode()
        return signing.digest(place + entry.query_id + entry.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came of one reconciliation.

    ``codes``: of what is wrong with a log as a whole. ``excused``: entries that the node's log
    lacks for a reason that was stated: it began later, or lost its tail, which is an incident.
    """

    incidents: tuple[Incident, ...]
    codes: tuple[str, ...]
    excused: int

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every code, sorted; empty when both logs agree."""
        return tuple(sorted({*self.codes, *(item.code for item in self.incidents)}))

    def keeping(self, wanted: Callable[[Incident], bool]) -> Judgement:
        """The same with some of its incidents."""
        kept = tuple(item for item in self.incidents if wanted(item))
        return Judgement(incidents=kept, codes=self.codes, excused=self.excused)

    def once(self, statement: Statement) -> dict[bytes, str]:
        """Identity → code of what is raised once and for all."""
        found = {item.identity: item.code for item in self.incidents}
        if RECONCILE_SHORTENED in self.codes:
            found[lasting(RECONCILE_SHORTENED, statement.lost)] = RECONCILE_SHORTENED
        return found

    def standing(self, whose: str) -> dict[bytes, str]:
        """Identity → code of what is wrong with the gateway's log as long as it is."""
        return {lasting(c, whose): c for c in self.codes if c != RECONCILE_SHORTENED}

    def table(self) -> list[dict[str, object]]:
        """For people: how many of each kind are not in which log."""
        found = Counter((i.code, i.absent_from, i.entry.name) for i in self.incidents)
        rows: list[dict[str, object]] = [
            {"code": code, "not_in": where, "kind": kind, "count": count}
            for (code, where, kind), count in sorted(found.items())
        ]
        return rows + [{"code": c, "not_in": "", "kind": "log", "count": 1} for c in self.codes]


def judge(statement: Statement, said: Counterstatement, verdict: Verdict) -> Judgement:
    """Compare what was said.

    1. What the gateway does not hold of the node's entries is an incident.
    2. So is what the node does not hold of the gateway's, unless they met after that entry and its
       log began later, or its log has lost its tail since.
    3. A log that lost its tail is one itself, and whatever the node holds against the gateway's.
    """
    # 1
    found = [
        Incident(code=_code(item.kind), absent_from="gateway", entry=statement.entries[item.entry])
        for item in said.findings
    ]
    # 2
    excused, differing = 0, set(verdict.differing)
    for place, (entry, leaf) in enumerate(zip(said.entries, verdict.leaves, strict=True)):
        if leaf:
            continue
        if place in differing:
            found.append(Incident(code=RECONCILE_DIFFERS, absent_from="node", entry=entry))
        elif entry.leaf < (said.met if entry.time_ms < statement.began_ms else said.excused):
            excused += 1
        else:
            found.append(Incident(code=RECONCILE_MISSING, absent_from="node", entry=entry))
    # 3
    codes = {*verdict.reasons} | ({RECONCILE_SHORTENED} if statement.lost else set())
    return Judgement(incidents=tuple(found), codes=tuple(sorted(codes)), excused=excused)


def _code(kind: int) -> str:
    return RECONCILE_MISSING if kind == MISSING else RECONCILE_DIFFERS
