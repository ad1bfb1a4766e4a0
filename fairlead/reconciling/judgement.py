"""What two statements and a verdict come to: the same at both ends, and for a later reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from fairlead import signing
from fairlead.reconciling.statement import Counterstatement, Entry, Statement, Verdict

RECONCILE_MISSING = "RECONCILE_MISSING"
RECONCILE_DIFFERS = "RECONCILE_DIFFERS"
RECONCILE_SHORTENED = "RECONCILE_SHORTENED"
RECONCILE_RESTARTED = "RECONCILE_RESTARTED"
ROWS = 256
"""Entries of one verdict that are each known by themselves afterwards."""


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

    ``codes``: of what is wrong with a log as a whole. ``excused``: entries that a log lacks because
    it lost its tail, which is an incident of its own: the node's, or the gateway's former log.
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
        """Identity → code of what is raised once and for all. Where it is much, what is beyond
        :data:`ROWS` has one identity together for each code: a log keeps them for ever."""
        found = {item.identity: item.code for item in self.incidents[:ROWS]}
        rest: dict[str, list[bytes]] = {}
        for item in self.incidents[ROWS:]:
            rest.setdefault(item.code, []).append(item.identity)
        for code, several in rest.items():
            found[signing.digest(f"rest {code} ".encode() + b"".join(sorted(several)))] = code
        if RECONCILE_SHORTENED in self.codes:
            found[lasting(RECONCILE_SHORTENED, statement.lost)] = RECONCILE_SHORTENED
        if RECONCILE_RESTARTED in self.codes:
            whose = f"{statement.gateway_origin} {statement.pair.node}"
            found[lasting(RECONCILE_RESTARTED, whose)] = RECONCILE_RESTARTED
        return found

    def standing(self, whose: str) -> dict[bytes, str]:
        """Identity → code of what is wrong with the gateway's log as long as it is."""
        once = {RECONCILE_SHORTENED, RECONCILE_RESTARTED}
        return {lasting(c, whose): c for c in self.codes if c not in once}

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

    1. What the gateway does not hold of the node's entries is an incident; all that is older than
       its log, which follows one that ended, is one together.
    2. What the node does not hold of the gateway's entries is an incident, unless its log has lost
       its tail since.
    3. A log that lost its tail is one itself, and whatever the node holds against the gateway's.
    """
    found, excused, codes = [], 0, {*verdict.reasons}
    # 1
    for entry, code in _absent(statement.entries, said.leaves, said.differing):
        if code == RECONCILE_MISSING and entry.leaf < statement.resumed:
            excused += 1
            codes.add(RECONCILE_RESTARTED)
        else:
            found.append(Incident(code=code, absent_from="gateway", entry=entry))
    # 2
    for entry, code in _absent(said.entries, verdict.leaves, verdict.differing):
        if code == RECONCILE_MISSING and entry.leaf < said.excused:
            excused += 1
        else:
            found.append(Incident(code=code, absent_from="node", entry=entry))
    # 3
    if statement.lost:
        codes.add(RECONCILE_SHORTENED)
    return Judgement(incidents=tuple(found), codes=tuple(sorted(codes)), excused=excused)


def _absent(
    entries: Sequence[Entry], leaves: Sequence[int], differing: Collection[int]
) -> Iterator[tuple[Entry, str]]:
    """Those of one end's entries that the other end has no leaf of, each with its code."""
    others = frozenset(differing)
    for place, (entry, leaf) in enumerate(zip(entries, leaves, strict=True)):
        if not leaf:
            yield entry, RECONCILE_DIFFERS if place in others else RECONCILE_MISSING
