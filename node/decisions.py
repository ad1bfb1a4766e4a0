"""What a node decided, for its own security officer: sealed, in order, proved, on the record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.decisions.shelf import span
from fairlead.decisions.stream import responses
from fairlead.errors import Forged, InvalidInput
from fairlead.leaves import LeafWriter
from fairlead.v1 import decisions_pb2 as pb

AROUND_MS = 10 * 60 * 1000
"""Before and after a query began, within which everything about it is decided: drafts are signed,
and answers leave, within minutes."""
SUBJECT = "DecisionService.ReadDecisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionDesk:
    """Lets officers read; what they read is opened with their own key, elsewhere."""

    log: AuditLog
    leaves: LeafWriter
    clock: Callable[[], float]

    async def read(
        self, request: pb.ReadDecisionsRequest, user: Identity
    ) -> AsyncGenerator[pb.ReadDecisionsResponse, None]:
        """Everything kept of a time, the reading itself on the record first.

        :raises InvalidInput: QUERY_ID or TIME. :raises Forged: DECISIONS_FORGED, an alarm. Either
            is on the record.
        """
        try:
            since, until = _times(request)
            await self.log.append(
                self.leaves.decision(
                    "decisions-read", user=user.spiffe_id, query_id=request.query_id
                )
            )  # with it, whatever was decided until now is written
            numbers = span(self.log, since, until)
            for item in responses(self.log, numbers, self.log.receipt):
                yield item
        except Forged as error:
            leaf = self.leaves.alarm(error.reasons, subject=SUBJECT, user=user.spiffe_id)
            await self.log.append(leaf)
            raise
        except InvalidInput as error:
            leaf = self.leaves.refusal(error, subject=SUBJECT, user=user.spiffe_id)
            await self.log.append(leaf)
            raise


def _times(request: pb.ReadDecisionsRequest) -> tuple[int, int]:
    if not request.query_id:
        if request.since_ms < 0 or request.until_ms < 0:
            raise InvalidInput("a time before 1970 is none", reasons=("TIME",))
        return request.since_ms, request.until_ms
    if len(request.query_id) != 16 or request.since_ms or request.until_ms:
        raise InvalidInput(
            "records are read by times, or by the 16 octets of a query's id",
            reasons=("QUERY_ID",),
            remedy="fairlead queries list",
        )
    began = int.from_bytes(request.query_id[:6], "big")
    return max(0, began - AROUND_MS), began + AROUND_MS
