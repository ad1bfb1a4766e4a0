"""The gateway's door for strategic queries, and the stream of releases behind it.

Whatever is refused here is refused for what was asked and what is out, never for a figure: a unit
of which nothing may be shown is a release like any other (PROTOCOL §6).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import decisions, published, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.cubes.registry import Registry
from fairlead.envelope.query import check_member
from fairlead.errors import FairleadError, Forged, Overloaded
from fairlead.facts import party_facts, refusal_of, user_facts
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.policy.cubes import CUBES, cubes_in
from fairlead.policy.decision import Decision
from fairlead.policy.live import LivePolicy
from fairlead.policy.points import PolicyPoints
from fairlead.remembered import RememberedCertificates
from fairlead.strategic.question import Asked, Wanted, verify_question
from fairlead.summing import Round
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures.making import Maker, Sought
from gateway.figures.proving import Proofs
from gateway.figures.shelf import FiguresShelf, Overtaken, put_question
from gateway.witnesses import Witnesses

SUBJECT = "StatisticsService.QueryFigures"
QUORUM_S = 5.0
"""Seconds that a question for a highly sensitive purpose waits for the witnesses."""
LIMIT = 64
"""Questions inside at a time; each asking partner gets at most a quarter of them."""
Response = pb.QueryFiguresResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    """A question behind the door, and where its leaf is."""

    asked: Asked
    wanted: Wanted
    registry: Registry
    sensitive: bool
    leaf: int = -1

    @property
    def units(self) -> tuple[Sought, ...]:
        """What is sought, in order of time."""
        return tuple(
            Sought(registry=self.registry, cube=self.wanted.cube, level=self.wanted.level, unit=u)
            for u in self.wanted.period.units(self.wanted.level.time)
        )


class Strategic:
    """Answers questions about figures with releases, one for each unit of time.

    :param gateway: this gateway's SPIFFE id. :param key: its signing key of the current directory.
    """

    def __init__(
        self,
        maker: Maker,
        *,
        gateway: str,
        key: Callable[[], Ed25519PrivateKey],
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        deny_lists: DenyLists,
        policy: LivePolicy,
        witnesses: Witnesses,
        clock: Callable[[], float],
    ) -> None:
        self._maker = maker
        self._gateway = gateway
        self._key = key
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._policy = policy
        self._witnesses = witnesses
        self._clock = clock
        self._shelf = FiguresShelf(log)
        self._proofs = Proofs(log, leaves)
        self._identify = RememberedCertificates()
        self._inside: Counter[str] = Counter()
        self._shut = False

    def shut(self) -> None:
        """Let no question in any more, and begin no further unit."""
        self._shut = True

    async def finish(self, within_s: float) -> None:
        """Let nothing in any more, and wait for what is being made, so many seconds at most."""
        self.shut()
        await self._maker.finish(within_s)

    async def drain(self) -> None:
        """Abandon what is being made."""
        self.shut()
        await self._maker.drain()

    async def query(
        self, request: pb.QueryFiguresRequest, peer: Identity
    ) -> AsyncGenerator[Response, None]:
        """Answer one ``StatisticsService.QueryFigures``.

        Each release is whole when it is shown. The first unit that cannot be had ends the answer
        with why not; what was shown before stays as it is, and the same question goes on from
        there. So it does when its asker goes away.

        :raises FairleadError: refused, or a unit could not be had; on the record first.
        """
        partner, inside = peer.partner_id or "", False
        try:
            self._enter(partner)
            inside = True
            admitted = await self._admit(request.question, peer)
            if admitted.sensitive:
                await self._witnesses.covering(
                    admitted.leaf, admitted.asked.directory, within_s=QUORUM_S
                )
            accepted, known = self._accepted(admitted, request.head_size)
            yield accepted
            for sought in admitted.units:
                self._check_still(admitted.asked)
                async with aclosing(self._unit(sought, admitted.asked, known)) as events:
                    async for event in events:
                        yield event
        except FairleadError as error:
            await self._refuse(error, request.question, peer)
            raise
        finally:
            self._inside[partner] -= inside

    # ── The door ─────────────────────────────────────────────────────────────────────────────

    def _enter(self, partner: str) -> None:
        """:raises Overloaded: the server is full of questions, or of this partner's."""
        self._check_open()
        full = self._inside.total() >= LIMIT or self._inside[partner] >= max(1, LIMIT // 4)
        if full:
            raise Overloaded("this server is busy", remedy="ask again in a few seconds")
        self._inside[partner] += 1

    def _check_still(self, asked: Asked) -> None:
        """A question of many units is under way for long, and its asker may be denied meanwhile.

        :raises Unauthenticated: the user is, or every node of the asker. :raises NotFound: the
            asker is no partner any more.
        """
        now = self._clock()
        self._deny_lists.check(asked.user.spiffe_id, now)
        check_member(self._directory.current.partner(asked.asker.partner_id), self._deny_lists, now)

    def _check_open(self) -> None:
        if self._shut:
            raise Overloaded(
                "this server is about to stop",
                reasons=("DRAINING",),
                remedy="ask again in a minute: the server is being restarted",
            )

    async def _admit(self, signed: pb.SignedFiguresQuestion, peer: Identity) -> _Admitted:
        """Admit one question.

        1. Every signature, binding and time of it verifies, and a node brings its own partner's.
        2. It is about a cube, a level and a closed period of the registry in force here.
        3. Policy permits it now, and the log is cosigned as a query of its purpose wants it.
        4. The same octets again have the leaf they had, and nothing is counted; another question
           under the same id is QUERY_ID_REUSED.
        5. User and partner keep within their budgets.
        6. A leaf, durable in one transaction with the record of step 4.

        :raises FairleadError: refused.
        """
        # 1
        now = self._clock()
        asked = verify_question(
            signed,
            directory=self._directory,
            deny_lists=self._deny_lists,
            now=now,
            identify=self._identify,
        )
        if peer.partner_id != asked.asker.partner_id:
            raise Forged("a question is brought by another node", reasons=("WRONG_PEER",))
        # 2
        policy = self._policy.current
        registry = await asyncio.to_thread(_registry, policy)
        wanted = asked.wanted(registry, now)
        found = _Admitted(
            asked=asked,
            wanted=wanted,
            registry=registry,
            sensitive=policy.highly_sensitive(asked.purpose),
        )
        # 3
        decision = self._decided(policy, asked)
        self._witnesses.check(sensitive=found.sensitive)
        # 4
        if self._shelf.was_asked(asked.question_id, asked.digest):
            return self._repeated(found)
        # 5
        new = await self._maker.new(found.units)
        self._shelf.check_budgets(asked.asker.partner_id, asked.user.spiffe_id, new=new, now=now)
        # 6
        return await self._recorded(found, decision)

    def _repeated(self, found: _Admitted) -> _Admitted:
        return replace(found, leaf=self._shelf.leaf_of(found.asked.question_id))

    def _decided(self, policy: PolicyPoints, asked: Asked) -> Decision:
        decisions.about(asked.question_id)
        decision = policy.statistics(
            now=int(self._clock()),
            cube=asked.cube,
            level=asked.level,
            purpose=asked.purpose,
            asker=party_facts(asked.asker),
            user=user_facts(asked.user),
        )
        if not decision.permit:
            raise refusal_of(decision)
        return decision

    async def _recorded(self, found: _Admitted, decision: Decision) -> _Admitted:
        asked = found.asked
        leaf = self._leaves.figures(
            "figures-asked",
            audit_pb2.FiguresLeaf(
                cube=asked.cube,
                cube_version=asked.cube_version,
                level=asked.level,
                period=asked.period,
            ),
            query_id=asked.question_id,
            partner_id=asked.asker.partner_id,
            user=asked.user.spiffe_id,
            purpose=asked.purpose,
            policy_serial=decision.policy_serial,
            rules=decision.rules,
            signatures=asked.signatures,
        )
        put = put_question(
            asked.question_id,
            asked.digest,
            partner=asked.asker.partner_id,
            user=asked.user.spiffe_id,
            leaf=leaf,
            leaf_from=self._log.head.size,
            now=self._clock(),
        )
        try:
            appended = await self._log.append(leaf, also=put)
        except Overtaken:
            return self._repeated(found)
        return replace(found, leaf=appended.index)

    async def _refuse(
        self, error: FairleadError, signed: pb.SignedFiguresQuestion, peer: Identity
    ) -> None:
        leaf = self._leaves.refusal(
            error,
            subject=SUBJECT,
            partner_id=peer.partner_id or "",
            user=peer.spiffe_id,
            query_id=_claimed_id(signed),
        )
        await self._log.append(leaf)
        get_logger().warning(Event.QUERY_REFUSED, error=error, partner=peer.partner_id)

    # ── The stream ───────────────────────────────────────────────────────────────────────────

    def _accepted(self, admitted: _Admitted, head_size: int) -> tuple[Response, int]:
        """The first event, and the size of the head that it proves."""
        head = self._log.head
        receipt = self._log.receipt(admitted.leaf, min(head_size, head.size), under=head)
        said = Response.Accepted(asked=receipt, units=len(admitted.units))
        return Response(accepted=said), head.size

    async def _unit(
        self, sought: Sought, asked: Asked, known: int
    ) -> AsyncGenerator[Response, None]:
        """What is heard of one unit: how far its rounds are, then the release.

        :param known: size of the head that the asker was shown.
        """
        events: asyncio.Queue[Response | None] = asyncio.Queue()

        def progress(round_: Round, answered: int, participants: int) -> None:
            said = Response.Progress(
                unit=sought.unit.spelling,
                round=round_,
                answered=answered,
                participants=participants,
            )
            events.put_nowait(Response(progress=said))

        if self._maker.due(sought)[1] is None:
            self._check_open()
        partner = asked.asker.partner_id
        made = asyncio.ensure_future(
            self._maker.released(sought, partner=partner, progress=progress)
        )
        made.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield Response(released=await self._signed(await made, known))
        finally:
            made.cancel()
            await asyncio.gather(made, return_exceptions=True)

    async def _signed(self, release: bytes, known: int) -> pb.ReleasedFigures:
        """A release with the receipt of its leaf, under the key that the directory of today has
        for this gateway: what is frozen outlives the keys of whoever made it."""
        return pb.ReleasedFigures(
            release=release,
            signature=signing.sign(self._key(), published.DOMAIN, release),
            gateway=self._gateway,
            receipt=await self._proofs.receipt(release, known),
        )


def _registry(policy: PolicyPoints) -> Registry:
    """Takes a moment the first time. :raises Misconfigured: CUBES_MISSING."""
    return cubes_in({CUBES: policy.cubes} if policy.cubes else {})


def _claimed_id(signed: pb.SignedFiguresQuestion) -> bytes:
    """The id that a refused caller claims, or nothing: it is recorded, never believed."""
    try:
        claimed = pb.FiguresQuestion.FromString(signed.question).question_id
    except Exception:  # noqa: BLE001  the octets are hostile; no reading of them may fail the log
        return b""
    return claimed if len(claimed) == 16 else b""
