"""The decision to publish: may every member of a class, for each of its purposes, learn of it?

Nothing here knows a rule. The policy points that answer a sealed query are asked as if each member
asked blind for each purpose, on every legal basis it may rely on, now, at every midnight (UTC) at
which an agreement can begin or end, and in the last second in which the entry can be found: the
epoch's overlap ends, or the policy does, after which nobody is answered. What the exposure gate has
not accepted is withheld. The answers are met: one no is a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fairlead.errors import Misconfigured
from fairlead.identifiers import ceiling
from fairlead.partners import Directory, Partner
from fairlead.policy.decision import Decision, capped, meet
from fairlead.policy.points import PolicyPoints
from node.exposure.gate import ExposureGate
from node.exposure.matrix import Channel, Survey, one_term
from node.publication.classes import AudienceClass
from node.publication.kind import DAY_S, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What an entry of a kind may say beside that it is there: ``record`` is type and handling."""

    record: bool
    event: bool
    date: bool
    desk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question nobody has asked, as the gate needs it."""

    asker: Partner
    purpose: str
    legal_basis: str
    schemes: tuple[str, ...]
    mode_name: str = "blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationPoint:
    """Decides for one owner, over what is in force and accepted when it is made."""

    owner: Partner
    directory: Directory
    policy: PolicyPoints
    gate: ExposureGate

    async def decide(
        self, audience: AudienceClass, scheme: str, kinds: Collection[Kind], *,
        now: float, until: int,
    ) -> dict[Kind, Telling]:  # fmt: skip
        """The kinds that may be published in one scheme until ``until``; any other may not.

        Others get their turn on the loop between two questions.

        :raises PolicyUnavailable: no decision could be made: nothing is known, nothing published.
        """
        left: dict[Kind, Decision | None] = dict.fromkeys(kinds)
        channels = audience.channels.get(scheme, ())
        ends = min(until, self.policy.not_after or until)
        for moment in moments(now, ends):
            survey = self._survey(moment)
            for channel in channels:
                left = self._met(left, channel, survey)
                await asyncio.sleep(0)
        decided = {kind: decision for kind, decision in left.items() if decision is not None}
        told = {kind: telling(kind, decision, scheme) for kind, decision in decided.items()}
        return {kind: said for kind, said in told.items() if said is not None}

    def _survey(self, moment: int) -> Survey:
        if self.policy.registry is None:
            raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
        return Survey(
            owner=self.owner,
            policy=self.policy,
            registry=self.policy.registry,
            sources=(),
            now=moment,
        )

    def _met(
        self, left: Mapping[Kind, Decision | None], channel: Channel, survey: Survey
    ) -> dict[Kind, Decision | None]:
        """What is left after one more question; kinds it does not permit are gone."""
        asked = _Asked(
            asker=self.directory.partner(channel.partner),
            purpose=channel.purpose,
            legal_basis=channel.legal_basis,
            schemes=(channel.scheme,),
        )
        met: dict[Kind, Decision | None] = {}
        for window in {kind.window_days for kind in left}:
            group = [kind for kind in left if kind.window_days == window]
            for kind, decision in self._ask(asked, channel, window, group, survey).items():
                before = left[kind]
                both = decision if before is None else meet(before, decision)
                if both.permit:
                    met[kind] = both
        return met

    def _ask(
        self, asked: _Asked, channel: Channel, window: int | None, kinds: Sequence[Kind],
        survey: Survey,
    ) -> dict[Kind, Decision]:  # fmt: skip
        """What is permitted with every legal instrument that the question may have to carry."""
        records = [replace(kind.facts, expires_at=survey.now + 1) for kind in kinds]
        asking = replace(one_term(channel), window_days=window)
        left: dict[Kind, Decision] = {}
        for query, owned in survey.permitted(asking, asked.asker):
            ruling = self.gate.rule(owned, asked)
            if not ruling.permit:
                return {}
            decisions = survey.release(query, asked.asker, ruling, records)
            for kind, record, decision in zip(kinds, records, decisions, strict=True):
                said = self.gate.record(decision, asked, record)
                left[kind] = meet(left[kind], said) if kind in left else said
        return left


def moments(now: float, until: int) -> tuple[int, ...]:
    """Now, every midnight (UTC) before ``until``, and the last second before it: agreements begin
    and end at midnights, so in between nothing changes."""
    first = (int(now) // DAY_S + 1) * DAY_S
    return tuple(sorted({int(now), *range(first, until, DAY_S), max(int(now), until - 1)}))


def telling(kind: Kind, decision: Decision, scheme: str) -> Telling | None:
    """What an entry may say, as a sealed answer would; None when not even that it is there.

    What waits for the owner's approval looks like absence. A record's type and handling leave with
    its content only.
    """
    final = capped(decision, ceiling(scheme))
    limits = final.obligations
    if not final.permit or limits.approvals or not final.facets & {"existence", "full_record"}:
        return None

    def may(name: str) -> bool:
        granted = bool({"full_record", f"field:{name}"} & final.facets)
        return granted and name not in limits.redact and limits.max_records != 0

    event, date = may("event"), may("occurred_at")
    return Telling(
        record=event or date or any(may(name) for name in kind.facts.fields),
        event=event,
        date=date,
        desk="contact_desk" in final.facets,
    )
