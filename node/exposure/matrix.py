"""The exposure: everything this node could release, asked of the policy points themselves.

Nothing here knows a rule. For every partner of the directory, every purpose of the registry,
every legal basis that partner may rely on, both modes and every scheme, the owner's decision is
asked as it would be for a question of one term, approved by as many people as can approve one,
with the legal instrument that an agreement demands, granted whatever a gateway can grant; then the
release of one record of each kind a source can hold. So the exposure is the most that a query
can bring, and what it does not list is withheld (see :mod:`node.exposure.gate`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fairlead.envelope.approval import MAX_APPROVALS
from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.facts import at_home, party_facts
from fairlead.partners import Directory, Partner
from fairlead.policy.decision import Decision, disclosed, meet
from fairlead.policy.documents import Registry
from fairlead.policy.inputs import GrantFacts, InstrumentFacts, QueryFacts, RecordFacts
from fairlead.policy.points import UNAVAILABLE, PolicyPoints
from node.exposure.source import SourceFacts

MODES = ("sealed", "blind")
EVERYTHING = ("contact_desk", "count_band", "existence", "full_record")
OF_EVERY_RECORD = ("event", "occurred_at")
"""What any record has beside the fields its mapping lists; policy treats them as fields."""
UNLIMITED = 1_000_000
"""Stands for the limit of a policy that sets none."""
BATCH = 16
"""Records judged at a time: as many as one answer judges at once."""
INSTRUMENT_REQUIRED = "INSTRUMENT_REQUIRED"
"""The reason code which says that a question needs a legal instrument."""
ATTEMPTS = 5
"""Times a decision is asked for while the policy engine has no time for one."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Channel:
    """Who may ask, what for, on which ground, how, and by which kind of identifier."""

    partner: str
    purpose: str
    legal_basis: str
    mode: str
    scheme: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Row:
    """What one channel can bring of one kind of record, at most.

    ``record_type`` is empty in the row which says that the channel is answered at all; its
    facets are, too: an answer of "no hit" tells something even where no source holds anything.
    ``approvals`` of the owner's own people come before anything leaves. A limit of
    :data:`UNLIMITED` is none.
    """

    channel: Channel
    record_type: str = ""
    personal: bool = False
    approvals: int = 0
    facets: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    max_records: int = 0
    retention_days: int = 0
    rules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[str, bool]:
        """Which records this row is about."""
        return self.record_type, self.personal


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The whole matrix of one node, with what its sources are."""

    partner: str
    rows: tuple[Row, ...]
    sources: tuple[SourceFacts, ...]
    policy_serial: int
    directory_serial: int

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what can leave, and out of what. Serials and the names of
        agreements are left out: what widens nothing needs nobody's signature."""
        rows = [replace(row, rules=(), redacted=(), sources=()) for row in self.rows]
        content = {
            "partner": self.partner,
            "rows": [row_document(row) for row in rows],
            "sources": {source.name: source.digest for source in self.sources},
        }
        octets = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
        return hashlib.sha256(octets).hexdigest()


def row_document(row: Row) -> dict[str, Any]:
    """A row as plain JSON."""
    document = asdict(row)
    return {**document.pop("channel"), **document}


def row_of(document: Mapping[str, Any]) -> Row:
    """Undo :func:`row_document`.

    :raises ValueError: another form. :raises TypeError: another form.
    """
    content: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in document.items()
    }
    channel = Channel(**{name: content.pop(name) for name in Channel.__slots__})
    row = Row(channel=channel, **content)
    words = (*asdict(channel).values(), row.record_type)
    lists = (row.facets, row.redacted, row.rules, row.sources)
    whole = all(type(n) is int for n in (row.approvals, row.max_records, row.retention_days))
    texts = all(isinstance(word, str) for group in (words, *lists) for word in group)
    if not (whole and texts and type(row.personal) is bool):
        raise ValueError
    return row


async def measure(
    *,
    owner: Partner,
    directory: Directory,
    policy: PolicyPoints,
    sources: Sequence[SourceFacts],
    now: float,
) -> Exposure:
    """Ask for the whole matrix; others get their turn on the loop between two channels.

    :raises PolicyUnavailable: no decision, so nothing is known.
    """
    if policy.registry is None:
        raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
    survey = Survey(
        owner=owner,
        policy=policy,
        registry=policy.registry,
        sources=tuple(sources),
        now=int(now),
    )
    rows: list[Row] = []
    for asker in directory.partners.values():
        if asker.partner_id == owner.partner_id:
            continue
        for purpose in sorted(policy.registry.purposes):
            for channel in survey.channels(asker, purpose):
                rows += survey.rows(channel, asker)
                await asyncio.sleep(0)
    return Exposure(
        partner=owner.partner_id,
        rows=tuple(sorted(rows)),
        sources=tuple(sorted(sources, key=lambda source: source.name)),
        policy_serial=policy.serial,
        directory_serial=directory.serial,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Owner's decisions over questions nobody has asked, as of the moment ``now``."""

    owner: Partner
    policy: PolicyPoints
    registry: Registry
    sources: tuple[SourceFacts, ...]
    now: int

    def channels(self, asker: Partner, purpose: str) -> Iterator[Channel]:
        """Every channel of one partner and purpose."""
        for basis in self.registry.purposes[purpose].legal_bases:
            if asker.kind.value not in self.registry.legal_bases[basis].kinds:
                continue
            for mode in MODES:
                for scheme in sorted({*self.owner.schemes} & {*self.registry.schemes}):
                    yield Channel(
                        partner=asker.partner_id, purpose=purpose, legal_basis=basis,
                        mode=mode, scheme=scheme,
                    )  # fmt: skip

    def rows(self, channel: Channel, asker: Partner) -> Iterator[Row]:
        """What would leave through one channel, by kind of record."""
        found: dict[tuple[str, bool, int], Row] = {}
        rules: set[str] = set()
        for query, ruling in self.permitted(one_term(channel), asker):
            rules.update(ruling.rules)
            for row in self._of_sources(channel, query, asker, ruling):
                key = (*row.kind, row.approvals)
                found[key] = merged(found[key], row) if key in found else row
        if rules:
            yield Row(channel=channel, rules=tuple(sorted(rules)))
        yield from found.values()

    def _of_sources(
        self, channel: Channel, query: QueryFacts, asker: Partner, ruling: Decision
    ) -> Iterator[Row]:
        for source in self.sources:
            if channel.scheme not in source.schemes or channel.purpose not in source.purposes:
                continue
            for decision in self.release(query, asker, ruling, source.record_facts(self.now)):
                row = _row(channel, source, decision)
                if row is not None:
                    yield row

    def permitted(self, query: QueryFacts, asker: Partner) -> Iterator[tuple[QueryFacts, Decision]]:
        """The question, if this owner would answer it, and what at most; where it is one that
        needs a legal instrument, the question with each that lets it be answered.

        :raises PolicyUnavailable: no decision.
        """
        ruling = self.sovereignty(query, asker)
        if ruling.permit:
            yield query, ruling
        if INSTRUMENT_REQUIRED not in {reason.code for reason in ruling.reasons}:
            return
        for name, kind in self.registry.instruments.items():
            for authority in kind.authorities:
                instrument = InstrumentFacts(
                    kind=name, authority=authority, valid_until=self.now + 1
                )
                carrying = replace(query, instrument=instrument)
                ruling = self.sovereignty(carrying, asker)
                if ruling.permit:
                    yield carrying, ruling

    def sovereignty(self, query: QueryFacts, asker: Partner) -> Decision:
        """What this owner would answer at most, granted whatever a gateway can grant.

        :raises PolicyUnavailable: no decision.
        """
        for _ in range(ATTEMPTS):
            decision = self.policy.sovereignty(
                now=self.now,
                query=query,
                asker=party_facts(asker),
                approvals=MAX_APPROVALS,
                owner=party_facts(self.owner),
                grant=GrantFacts(
                    mode=query.mode,
                    facets=EVERYTHING,
                    policy_serial=self.policy.serial,
                    expires_at=self.now + 1,
                ),
            )
            if not _unavailable([decision]):
                return decision
        raise PolicyUnavailable("the exposure cannot be measured: no decision could be made")

    def release(
        self, query: QueryFacts, asker: Partner, ruling: Decision, records: Sequence[RecordFacts]
    ) -> Iterator[Decision]:
        """What of each record would leave, met with the ruling.

        :raises PolicyUnavailable: no decision.
        """
        for start in range(0, len(records), BATCH):
            for _ in range(ATTEMPTS):
                decisions = self.policy.release(
                    now=self.now,
                    query=query,
                    asker=party_facts(asker),
                    owner=party_facts(self.owner),
                    facets=ruling.facets,
                    records=[at_home(r, self.owner) for r in records[start : start + BATCH]],
                )
                if not _unavailable(decisions):
                    break
            else:
                raise PolicyUnavailable("the exposure cannot be measured: no decision")
            yield from (meet(decision, ruling) for decision in decisions)


def one_term(channel: Channel) -> QueryFacts:
    """The least a question of this channel asks: one term, one day."""
    return QueryFacts(
        mode="sealed" if channel.mode == "sealed" else "blind",
        purpose=channel.purpose,
        legal_basis=channel.legal_basis,
        schemes=(channel.scheme,),
        term_count=1,
        window_days=1,
        events=(),
    )


def _unavailable(decisions: Iterable[Decision]) -> bool:
    return any(reason.code == UNAVAILABLE.code for d in decisions for reason in d.reasons)


def _row(channel: Channel, source: SourceFacts, decision: Decision) -> Row | None:
    if not decision.permit:
        return None
    limits = decision.obligations
    fields = {*source.fields, *OF_EVERY_RECORD}
    facets = facets_of(decision, fields)
    return Row(
        channel=channel,
        record_type=source.record_type,
        personal=source.personal,
        approvals=limits.approvals,
        facets=tuple(sorted(facets)),
        redacted=tuple(
            sorted({*source.withheld, *(f for f in fields if f"field:{f}" not in facets)})
        ),
        max_records=UNLIMITED if limits.max_records is None else limits.max_records,
        retention_days=UNLIMITED if limits.retention_days is None else limits.retention_days,
        rules=decision.rules,
        sources=(source.name,),
    )


def facets_of(decision: Decision, fields: Iterable[str]) -> frozenset[str]:
    """What leaves of a record with ``fields``; who may see a whole record may know of it."""
    exists = {"existence"} if decision.permit and "full_record" in decision.facets else set()
    return disclosed(decision, frozenset(fields)) | exists


def merged(a: Row, b: Row) -> Row:
    """The most of two rows of one channel, one kind and equally many approvals."""
    facets = {*a.facets, *b.facets}
    return replace(
        a,
        facets=tuple(sorted(facets)),
        redacted=tuple(sorted(f for f in {*a.redacted, *b.redacted} if f"field:{f}" not in facets)),
        max_records=max(a.max_records, b.max_records),
        retention_days=max(a.retention_days, b.retention_days),
        rules=tuple(sorted({*a.rules, *b.rules})),
        sources=tuple(sorted({*a.sources, *b.sources})),
    )
