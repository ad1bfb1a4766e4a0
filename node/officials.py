"""``PolicyService``, ``DecisionService``, ``AuditReadingService`` and ``EvidenceService``: for the
partner's own officers and auditors, and for courts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.certificates import Identity
from fairlead.door import current_identity
from fairlead.errors import Refused
from fairlead.v1 import (
    audit_reading_pb2,
    audit_reading_pb2_grpc,
    decisions_pb2,
    decisions_pb2_grpc,
    evidence_pb2,
    evidence_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
)
from node.auditing import AuditDesk
from node.casefile import CaseFiles
from node.decisions import DecisionDesk
from node.releases import ReleaseFollower

Context = grpc.aio.ServicerContext[Any, Any]


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """Hands the own security officers' calls to what follows the gateway's policy."""

    def __init__(self, partner_id: str, releases: ReleaseFollower) -> None:
        self._partner_id = partner_id
        self._releases = releases

    async def GetPolicy(  # noqa: N802
        self, request: policy_pb2.GetPolicyRequest, _context: Context
    ) -> policy_pb2.GetPolicyResponse:
        """See :meth:`ReleaseFollower.get`."""
        own_user(self._partner_id)
        return self._releases.get(request.serial)

    async def PublishPolicy(  # noqa: N802
        self, request: policy_pb2.PublishPolicyRequest, _context: Context
    ) -> policy_pb2.PublishPolicyResponse:
        """See :meth:`ReleaseFollower.publish`."""
        serial = await self._releases.publish(request.release, own_user(self._partner_id))
        return policy_pb2.PublishPolicyResponse(serial=serial)

    async def PolicyStatus(  # noqa: N802
        self, _request: policy_pb2.PolicyStatusRequest, _context: Context
    ) -> policy_pb2.PolicyStatusResponse:
        """See :meth:`ReleaseFollower.status`."""
        own_user(self._partner_id)
        return await self._releases.status()


class DecisionServicer(decisions_pb2_grpc.DecisionServiceServicer):
    """Hands the own officers' calls to what was decided."""

    def __init__(self, partner_id: str, desk: DecisionDesk) -> None:
        self._partner_id = partner_id
        self._desk = desk

    async def ReadDecisions(  # noqa: N802
        self, request: decisions_pb2.ReadDecisionsRequest, _context: Context
    ) -> AsyncGenerator[decisions_pb2.ReadDecisionsResponse, None]:
        """See :meth:`DecisionDesk.read`."""
        async with aclosing(self._desk.read(request, own_user(self._partner_id))) as items:
            async for item in items:
                yield item


class AuditReadingServicer(audit_reading_pb2_grpc.AuditReadingServiceServicer):
    """Hands the own auditors' calls to the log."""

    def __init__(self, partner_id: str, desk: AuditDesk) -> None:
        self._partner_id = partner_id
        self._desk = desk

    async def ListLeaves(  # noqa: N802
        self, request: audit_reading_pb2.ListLeavesRequest, _context: Context
    ) -> AsyncGenerator[audit_reading_pb2.ListLeavesResponse, None]:
        """See :meth:`AuditDesk.list`."""
        async with aclosing(self._desk.list(request, own_user(self._partner_id))) as items:
            async for item in items:
                yield item

    async def ShowLeaf(  # noqa: N802
        self, request: audit_reading_pb2.ShowLeafRequest, _context: Context
    ) -> audit_reading_pb2.ShowLeafResponse:
        """See :meth:`AuditDesk.show`."""
        return await self._desk.show(request, own_user(self._partner_id))

    async def ExportLeaves(  # noqa: N802
        self, request: audit_reading_pb2.ExportLeavesRequest, _context: Context
    ) -> AsyncGenerator[audit_reading_pb2.ExportLeavesResponse, None]:
        """See :meth:`AuditDesk.export`."""
        async with aclosing(self._desk.export(request, own_user(self._partner_id))) as items:
            async for item in items:
                yield item

    async def ListTimestamps(  # noqa: N802
        self, request: audit_reading_pb2.ListTimestampsRequest, _context: Context
    ) -> AsyncGenerator[audit_reading_pb2.ListTimestampsResponse, None]:
        """See :meth:`AuditDesk.timestamps`."""
        async with aclosing(self._desk.timestamps(request, own_user(self._partner_id))) as items:
            async for item in items:
                yield item


class EvidenceServicer(evidence_pb2_grpc.EvidenceServiceServicer):
    """Hands the own people's calls to what is kept of cases."""

    def __init__(self, partner_id: str, files: CaseFiles) -> None:
        self._partner_id = partner_id
        self._files = files

    async def CollectEvidence(  # type: ignore[override]  # noqa: N802
        self, request: evidence_pb2.CollectEvidenceRequest, context: Context
    ) -> None:
        """See :meth:`CaseFiles.collect`, which has to see how long each piece takes."""

        async def write(piece: bytes) -> None:
            await context.write(evidence_pb2.CollectEvidenceResponse(octets=piece))

        await self._files.collect(request.case_id, own_user(self._partner_id), write)


def own_user(partner_id: str) -> Identity:
    """The caller, who must be a user of this node's own partner.

    :raises Refused: somebody else's user; the trusted roots make this unreachable, and a
        directory change must not make it reachable.
    """
    user = current_identity()
    if user.partner_id != partner_id:
        raise Refused("this node serves its own partner's users", reasons=("OTHER_PARTNER",))
    return user
