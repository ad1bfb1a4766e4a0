"""A release's three rounds at the partners, as the gateway carries them (PROTOCOL §6).

It passes on what everybody said to everybody, and believes none of it: each statement is verified
under the signing key of the directory, as every node does too. What it adds up is kept no longer
than the release is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairlead.errors import FairleadError, Forged
from fairlead.partners import DenyLists, Directory
from fairlead.strategic.statements import statement_from_wire, statements_to_wire
from fairlead.summing import (
    Binding,
    Combined,
    Round,
    Statement,
    Terms,
    contributors,
    surviving,
    totals,
)
from fairlead.summing.masking import WORD_SIZE, ParticipantMissing
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.fanout import fan_out
from gateway.members import FIGURES_PASSED_ON, LegFailed, RoundRequest, Transport

ROUND_S = 10.0
"""Seconds in which all partners have to say their part of a round."""
ENVELOPE = 4 * 1024
"""Octets of a response beside its vector."""

Progress = Callable[[Round, int, int], None]
"""Told in which round how many partners, of how many, have said their part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of one round: statements that verified, and why the others gave none."""

    statements: Mapping[str, Statement]
    failed: Mapping[str, LegFailed]

    def complete(self) -> Mapping[str, Statement]:
        """The statements of everybody.

        :raises ParticipantMissing: PARTICIPANT_MISSING and what the partners' transport says; the
            remedy names them.
        :raises Forged: one said what does not verify: SIGNATURE, VECTORS; the same.
        """
        if not self.failed:
            return self.statements
        names = ", ".join(f"{name} ({told(why)})" for name, why in sorted(self.failed.items()))
        lies = {why.reason for why in self.failed.values() if why.reason in _LIES}
        if lies:
            raise Forged(
                "a partner's statement in a round does not verify",
                reasons=tuple(sorted(lies)),
                remedy=f"tell the operators of the federation which nodes do not hold to the "
                f"rounds: {names}",
            )
        raise ParticipantMissing(
            "a participant of the list has not said its part of a round",
            reasons=("PARTICIPANT_MISSING", *sorted({w.reason for w in self.failed.values()})),
            remedy=f"ask again once these take part again: {names}",
        )


_LIES = frozenset({"SIGNATURE", "VECTORS"})


def told(why: LegFailed) -> str:
    """A partner's state in words for a person: ``timeout, DEADLINE``."""
    status = query_pb2.Status.Name(why.status).removeprefix("STATUS_")  # type: ignore[arg-type]
    return f"{status.lower()}, {why.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partners:
    """The partners as one directory has them, and the way to them."""

    transport: Transport
    directory: Directory
    deny_lists: DenyLists
    clock: Callable[[], float]
    round_s: float = ROUND_S

    async def ready(self, terms: Terms, wire: pb.RoundTerms, progress: Progress) -> Said:
        """Round 0: who signs that it takes part with exactly this list."""
        request = pb.GetReadyRequest(terms=wire)
        binding = terms.binding(Round.READY)
        return await self._round(terms, request, binding, 0, progress)

    async def sums(
        self,
        terms: Terms,
        wire: pb.RoundTerms,
        ready: Mapping[str, Statement],
        progress: Progress,
    ) -> Combined:
        """Rounds 1 and 2: how many contribute to each cell, and the sums of those that survive.

        1. Everybody says, masked, where it contributes; each statement verifies.
        2. These add up to numbers of contributors.
        3. Everybody says, masked and with its noise, what it has where enough contribute.
        4. These add up to sums within the bounds.

        Whatever fails, nothing is made of the rest.

        :raises ParticipantMissing: PARTICIPANT_MISSING.
        :raises Forged: SIGNATURE, VECTORS; MASKS: somebody's vector is not what it promised.
        """
        # 1
        first = pb.CountContributorsRequest(terms=wire, ready=statements_to_wire(ready.values()))
        binding = terms.binding(Round.INDICATORS)
        said = await self._round(terms, first, binding, len(terms.cells), progress)
        indicators = said.complete()
        # 2
        seen = {name: each.vector for name, each in indicators.items()}
        counted = await asyncio.to_thread(contributors, seen, terms)
        # 3
        second = pb.SumValuesRequest(terms=wire, indicators=statements_to_wire(indicators.values()))
        binding = terms.values_binding(seen)
        words = len(surviving(counted, terms)) * len(terms.words)
        said = await self._round(terms, second, binding, words, progress)
        # 4
        values = {name: each.vector for name, each in said.complete().items()}
        return await asyncio.to_thread(totals, values, counted, terms)

    async def _round(
        self, terms: Terms, request: RoundRequest, binding: Binding, words: int, progress: Progress
    ) -> Said:
        """Ask every participant at once; wait for all, so that all that fail are named."""
        statements: dict[str, Statement] = {}
        failed: dict[str, LegFailed] = {}
        total = len(terms.participants)

        async def ask(partner: str) -> None:
            try:
                statements[partner] = await self._said(partner, request, binding, words)
            except LegFailed as why:
                failed[partner] = why
                if binding.round is not Round.READY or why.reason not in FIGURES_PASSED_ON:
                    get_logger().warning(_event(why), partner=partner, code=why.reason)
            else:
                progress(binding.round, len(statements), total)

        progress(binding.round, 0, total)
        await fan_out(terms.participants, ask)
        return Said(statements=statements, failed=failed)

    async def _said(
        self, partner: str, request: RoundRequest, binding: Binding, words: int
    ) -> Statement:
        """One partner's statement, verified. :raises LegFailed: there is none that is."""
        known = self.directory.partners.get(partner)
        if known is None:
            unpinned = partner in self.directory.unpinned
            reason = "ROOT_UNPINNED" if unpinned else "NOT_LISTED"
            raise LegFailed(query_pb2.STATUS_UNREACHABLE, reason)
        try:
            self.deny_lists.check(known.nodes[0].spiffe_id, self.clock())
        except FairleadError:
            raise LegFailed(query_pb2.STATUS_UNREACHABLE, "SUSPENDED") from None
        limit = words * WORD_SIZE + ENVELOPE
        try:
            async with asyncio.timeout(self.round_s):
                wire = await self.transport.take_round(
                    partner, request, timeout_s=self.round_s, limit=limit
                )
        except TimeoutError:
            raise LegFailed(query_pb2.STATUS_TIMEOUT, "DEADLINE") from None
        try:
            found = statement_from_wire(wire)
            if found.partner_id != partner or len(found.vector) != words * WORD_SIZE:
                raise Forged("a masked vector is of another length or node", reasons=("VECTORS",))
            found.verify(known.signing_key, binding)
        except FairleadError as error:
            raise LegFailed(query_pb2.STATUS_INVALID, error.code) from None
        return found


def _event(why: LegFailed) -> Event:
    match why.status:
        case query_pb2.STATUS_TIMEOUT:
            return Event.PARTNER_TIMEOUT
        case query_pb2.STATUS_INVALID:
            return Event.PARTNER_INVALID
        case _:
            return Event.PARTNER_UNREACHABLE
