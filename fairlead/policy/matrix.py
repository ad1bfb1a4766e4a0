"""Who may learn what from whom: every ordinary question, asked of the engine.

A row is what one kind of partner may ask another for one purpose about some kinds of identifiers.
Nothing in it is read off the agreements but the limits under which it holds: whether a question is
permitted, and for what, is the engine's word on one term over one day. Larger questions may fall
under fewer agreements; ``fairlead policy conflicts`` says where that gives more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairlead.policy.asked import Asked, Filters, shown
from fairlead.policy.decision import Decision
from fairlead.policy.inputs import PartyFacts, QueryFacts
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Policy, days_words, listed
from fairlead.policy.terms import FIELD, FULL, facet_words, people

MOST = 9
"""People who agreed, so that what must be agreed to shows as a condition and not as a refusal."""
LEVELS = ("nothing", "pointer", "count", "fields", "record")
"""How much a row discloses, in steps that a grid can colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """What a kind of partner may learn from another, and the conditions."""

    asker: str
    owner: str
    purpose: str
    legal_bases: tuple[str, ...]
    schemes: tuple[str, ...]
    countries: tuple[str, ...]
    modes: tuple[str, ...]
    facets: tuple[str, ...]
    hidden: tuple[str, ...]
    conditions: tuple[str, ...]
    agreements: tuple[str, ...]

    @property
    def level(self) -> str:
        """The step of :data:`LEVELS`."""
        if FULL in self.facets:
            return "record"
        if any(facet.startswith(FIELD) for facet in self.facets):
            return "fields"
        return "count" if "count_band" in self.facets else "pointer"

    def words(self) -> str:
        """What is disclosed, in words."""
        said = facet_words(self.facets)
        if self.hidden and FULL in self.facets:
            return said.replace("the record", f"the record without {listed(self.hidden)}", 1)
        return said

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__} | {
            "level": self.level
        }


def matrix(
    points: PolicyPoints, policy: Policy, *, now: int, filters: Filters | None = None
) -> list[MatrixRow]:
    """Every permitted kind of question on one day, similar ones together."""
    chosen = filters or Filters()
    return _merged(_rows(points, policy, now, chosen))


def _rows(points: PolicyPoints, policy: Policy, now: int, filters: Filters) -> Iterator[MatrixRow]:
    asked = Asked(policy, filters)
    for asker in asked.askers():
        owners = {name: o for name, o in asked.owners().items() if name != asker.partner_id}
        for query in asked.queries(asker.kind, now):
            group = asked.alike[query.schemes[0]]
            found = points.routing(
                now=now, query=query, asker=asker, approvals=MOST, candidates=owners
            )
            for name, decision in found.items():
                if decision.permit:
                    yield _row(policy, asker, owners[name], query, group, asked, decision)


def _row(
    policy: Policy, asker: PartyFacts, owner: PartyFacts, query: QueryFacts,
    group: tuple[str, ...], asked: Asked, decision: Decision,
) -> MatrixRow:  # fmt: skip
    return MatrixRow(
        asker=shown(asker),
        owner=shown(owner),
        purpose=query.purpose,
        legal_bases=(query.legal_basis,),
        schemes=group,
        countries=(f"{asked.place(asker.country)} → {asked.place(owner.country)}",),
        modes=(query.mode,),
        facets=tuple(sorted(decision.facets)),
        hidden=tuple(sorted(decision.obligations.redact)),
        conditions=tuple(_conditions(policy, query, decision)),
        agreements=decision.rules,
    )


def _conditions(policy: Policy, query: QueryFacts, decision: Decision) -> Iterator[str]:
    """Under what it holds: duties from the decision, limits from the agreements it rests on."""
    duties = decision.obligations
    rows = [policy["agreements"][name] for name in decision.rules]
    if query.instrument is not None:
        yield f"a valid {query.instrument.kind} of a {query.instrument.authority}"
    if count := max(people(policy, query.purpose, 1), duties.second_approvers):
        yield f"{count} more to agree at the asker"
    if duties.approvals:
        yield f"{duties.approvals} to approve at the owner"
    if duties.notice_delay_s:
        yield f"notice delayed by {duties.notice_delay_s:,} s"
    days = [row["max_window_days"] for row in rows]
    longest = None if None in days else max(days)
    yield f"up to {max(row['max_terms'] for row in rows):,} terms"
    yield "any period" if longest is None else f"periods up to {days_words(longest)}"
    yield f"up to {duties.max_records} records a term"
    yield f"kept for {duties.retention_days} days at most"
    yield f"passed on: {duties.onward}"
    abroad = frozenset[str].intersection(*(frozenset(row["record_countries"]) for row in rows))
    if abroad != {name for name, place in policy["jurisdictions"].items() if place["eu"]}:
        yield f"records from {listed(abroad)} only"


# ── Similar rows together ────────────────────────────────────────────────────────────────────

_UNITED = ("modes", "legal_bases", "schemes", "countries")


def _merged(rows: Iterator[MatrixRow]) -> list[MatrixRow]:
    found = list(rows)
    for name in _UNITED:
        groups: dict[MatrixRow, list[str]] = {}
        for row in found:
            groups.setdefault(_with(row, name, ()), []).extend(getattr(row, name))
        found = [_with(key, name, tuple(dict.fromkeys(v))) for key, v in groups.items()]
    return found


def _with(row: MatrixRow, name: str, words: tuple[str, ...]) -> MatrixRow:
    changed: dict[str, Any] = {name: words}
    return replace(row, **changed)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def grid(rows: Sequence[MatrixRow]) -> Mapping[tuple[str, str, str], list[MatrixRow]]:
    """The rows by purpose, asker and owner."""
    found: dict[tuple[str, str, str], list[MatrixRow]] = {}
    for row in rows:
        found.setdefault((row.purpose, row.asker, row.owner), []).append(row)
    return found
