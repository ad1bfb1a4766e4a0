"""The asker's half of a node: cases, drafts, what is sent, and what is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.release import ReleaseDesk
from fairlead.v1 import (
    gateway_pb2,
    gateway_pb2_grpc,
    query_pb2,
    statistics_pb2,
    statistics_pb2_grpc,
)
from node import cases, feedback, history
from node.approvals import Approvals
from node.asking import Asking
from node.blinded import Library
from node.casefile import CaseFiles, Shelves
from node.drafting import Drafter
from node.figuring import Figuring, GatewayFigures
from node.following import Following
from node.guard import MEMORY_S, Guard
from node.held import Held
from node.line import GatewayLine
from node.opening import cubes_of, open_vault, watch_key, words_of
from node.packing import PackDesk
from node.parts import Parts
from node.reviews import Reviews
from node.sealer import Sealer
from node.sending import GatewayQuery, Sending, gateway_error
from node.snapshots import Exchange, Snapshots
from node.spending import AskerBudgets
from node.vault import Cipher, Vault
from node.watches import Watches, WatchShelf

FIGURES_TIMEOUT_S = 2 * 3600.0
"""Seconds that a question of the most units of time may take, each in rounds of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What a node asks with."""

    asking: Asking
    approvals: Approvals
    telling: feedback.Feedback
    book: feedback.FeedbackBook
    cases: cases.CaseRegister
    vault: Vault
    snapshots: Snapshots
    watches: Watches
    files: CaseFiles
    figuring: Figuring
    packs: PackDesk


def open_snapshots(parts: Parts, exchange: Exchange) -> Snapshots:
    """What is held of others' publications; it is opened when it runs."""
    return Snapshots(
        partner_id=parts.config.partner,
        state=parts.config.state_dir,
        directory=parts.directory,
        keys=parts.keys,
        log=parts.log,
        leaves=parts.leaves,
        heads=parts.heads,
        exchange=exchange,
        policy_serial=lambda: parts.policy.serial,
        clock=parts.clock,
    )


def open_asker(
    parts: Parts, line: GatewayLine, following: Following, snapshots: Snapshots
) -> Asker:
    """Put it together over the vault, which it opens.

    :raises Misconfigured: the vault or the policy cannot be used.
    """
    config, clock = parts.config, parts.clock
    register = cases.CaseRegister(
        parts.log, parts.leaves, words=lambda: words_of(parts.policy.current), clock=clock
    )
    vault = open_vault(config)
    kept = history.History(vault)
    book = feedback.FeedbackBook(vault)
    held = Held(vault, kept, clock=clock)
    reviews = Reviews(parts.log, parts.leaves, percent=config.reviews.sample_percent, clock=clock)
    budgets = AskerBudgets(config.budgets, partner_id=config.partner, log=parts.log, clock=clock)
    watching = _watches(parts, vault, register, snapshots)
    sealer = Sealer(
        partner_id=config.partner,
        keys=parts.keys,
        check_clock=following.check_clock,
        directory=parts.directory,
        gateway=lambda: parts.directory.current.gateway_at(config.gateway).spiffe_id,
        deny_lists=parts.member.deny_lists,
        heads=parts.heads,
        library=snapshots,
        clock=clock,
    )
    asking = Asking(
        partner_id=config.partner,
        log=parts.log,
        leaves=parts.leaves,
        drafter=Drafter(
            partner_id=config.partner,
            directory=parts.directory,
            deny_lists=parts.member.deny_lists,
            policy=parts.policy,
            cases=register,
            guard=Guard(config.guard, asked=kept.asked_since(clock() - MEMORY_S), clock=clock),
            budgets=budgets,
            library=snapshots,
            lists=kept.lists,
            held=held,
            reviews=reviews,
            clock=clock,
        ),
        cases=register,
        sealer=sealer,
        sending=_sending(parts, line, kept, sealer, budgets, snapshots, reviews, watching),
        history=kept,
        held=held,
        budgets=budgets,
        watches=watching,
        clock=clock,
    )
    return Asker(
        asking=asking, approvals=_approvals(parts, kept, held, reviews),
        telling=_telling(parts, line, kept, book), book=book, cases=register, vault=vault,
        snapshots=snapshots, watches=watching, files=_files(parts, kept, held, register),
        figuring=_figuring(parts, line, following), packs=_packs(parts),
    )  # fmt: skip


def _packs(parts: Parts) -> PackDesk:
    def roles() -> Collection[str]:
        words = parts.policy.current.registry
        return () if words is None else words.figure_roles

    return PackDesk(
        partner_id=parts.config.partner,
        keys=parts.keys,
        directory=parts.directory,
        log=parts.log,
        leaves=parts.leaves,
        roles=roles,
    )


def _figuring(parts: Parts, line: GatewayLine, following: Following) -> Figuring:
    return Figuring(
        partner_id=parts.config.partner,
        keys=parts.keys,
        log=parts.log,
        leaves=parts.leaves,
        directory=parts.directory,
        deny_lists=parts.member.deny_lists,
        policy=parts.policy,
        heads=parts.heads,
        registry=cubes_of,
        check_clock=following.check_clock,
        send=_figures_sender(line),
        clock=parts.clock,
    )


def _files(
    parts: Parts, kept: history.History, held: Held, register: cases.CaseRegister
) -> CaseFiles:
    return CaseFiles(
        partner_id=parts.config.partner,
        keys=parts.keys,
        log=parts.log,
        leaves=parts.leaves,
        shelves=Shelves(
            history=kept,
            held=held,
            cases=register,
            directory=parts.directory,
            trust=lambda: parts.member.trust,
            path=parts.config.directory,
        ),
        clock=parts.clock,
    )


def _approvals(parts: Parts, kept: history.History, held: Held, reviews: Reviews) -> Approvals:
    return Approvals(
        partner_id=parts.config.partner,
        log=parts.log,
        leaves=parts.leaves,
        directory=parts.directory,
        deny_lists=parts.member.deny_lists,
        history=kept,
        held=held,
        reviews=reviews,
        clock=parts.clock,
    )


def _watches(
    parts: Parts, vault: Vault, register: cases.CaseRegister, snapshots: Snapshots
) -> Watches:
    """What stands of blind queries; woken by later snapshots and by changes of cases."""
    found = Watches(
        shelf=WatchShelf(vault, Cipher(watch_key(parts.config))),
        log=parts.log,
        leaves=parts.leaves,
        cases=register,
        directory=parts.directory,
        deny_lists=parts.member.deny_lists,
        library=snapshots,
        policy_serial=lambda: parts.policy.serial,
        clock=parts.clock,
    )
    snapshots.on_change.append(found.wake)
    register.on_change.append(found.wake)
    return found


def _sending(
    parts: Parts,
    line: GatewayLine,
    kept: history.History,
    sealer: Sealer,
    budgets: AskerBudgets,
    library: Library,
    reviews: Reviews,
    watching: Watches,
) -> Sending:
    return Sending(
        partner_id=parts.config.partner,
        log=parts.log,
        leaves=parts.leaves,
        desk=ReleaseDesk(parts.log, parts.leaves, tick_s=0),
        heads=parts.heads,
        history=kept,
        sealer=sealer,
        library=library,
        budgets=budgets,
        reviews=reviews,
        watches=watching,
        send=_sender(line, parts.deadline_s),
        clock=parts.clock,
    )


def _telling(
    parts: Parts, line: GatewayLine, kept: history.History, book: feedback.FeedbackBook
) -> feedback.Feedback:
    return feedback.Feedback(
        partner_id=parts.config.partner,
        keys=parts.keys,
        log=parts.log,
        leaves=parts.leaves,
        directory=parts.directory,
        history=kept,
        book=book,
        forward=_forwarder(line, parts.deadline_s),
        clock=parts.clock,
    )


def _sender(line: GatewayLine, deadline_s: float) -> GatewayQuery:
    """Streams one query through the gateway; leaving early cancels the call."""

    async def send(
        request: gateway_pb2.QueryRequest,
    ) -> AsyncIterator[gateway_pb2.QueryResponse]:
        stub = gateway_pb2_grpc.GatewayServiceStub(line.channel())
        call = stub.Query(request, timeout=2 * deadline_s)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    return send


def _figures_sender(line: GatewayLine) -> GatewayFigures:
    """Streams one question about figures through the gateway; leaving early cancels the call."""

    async def send(
        request: statistics_pb2.QueryFiguresRequest,
    ) -> AsyncIterator[statistics_pb2.QueryFiguresResponse]:
        stub = statistics_pb2_grpc.StatisticsServiceStub(line.channel())
        call = stub.QueryFigures(request, timeout=FIGURES_TIMEOUT_S)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    return send


def _forwarder(line: GatewayLine, deadline_s: float) -> feedback.Forward:
    """Hands sealed feedback to the gateway."""

    async def forward(signed: query_pb2.SignedFeedback) -> None:
        stub = gateway_pb2_grpc.GatewayServiceStub(line.channel())
        request = gateway_pb2.GatewayServiceFeedbackRequest(feedback=signed)
        try:
            await stub.Feedback(request, timeout=2 * deadline_s)
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error, asked=False) from None

    return forward
