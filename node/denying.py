"""The own user authority's deny list: from its file to the gateway, and so to everybody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio

from fairlead import signing
from fairlead.errors import FairleadError, Refused
from fairlead.membership import Membership
from fairlead.trust import read_trusted
from fairlead.v1 import directory_pb2, federation_pb2, federation_pb2_grpc
from node.following import gateway_refusal
from node.line import GatewayLine

CALL_S = 10.0
_LATER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class OwnDenyList:
    """Brings the own user authority's deny list from its file to the gateway.

    :param path: ``pb.SignedDenyList`` octets, as the authority writes them.
    """

    def __init__(self, path: Path, line: GatewayLine, member: Membership, partner_id: str) -> None:
        self._path = path
        self._line = line
        self._member = member
        self._partner_id = partner_id
        self._published = b""
        self._failed = b""

    async def look(self) -> None:
        """Publish the file if it holds what was not published yet.

        In this node it is in force at once, with or without a gateway.
        """
        if not self._path.exists():
            return
        data = b""
        try:
            data = read_trusted(self._path)
            if data in {self._published, self._failed}:
                return
            signed = signing.parse_canonical(directory_pb2.SignedDenyList, data)
            content = signing.parse_canonical(directory_pb2.DenyList, signed.deny_list)
            if content.issuer != self._partner_id:
                raise Refused("a deny list is another partner's", reasons=("OTHER_PARTNER",))
            self._member.take_deny_lists(
                signing.canonical(directory_pb2.DenyListBundle(lists=[signed]))
            )
        except FairleadError as error:
            self._failed = data
            self._member.problem(error)
            return
        try:
            stub = federation_pb2_grpc.FederationServiceStub(self._line.channel())
            await stub.PublishDenyList(
                federation_pb2.PublishDenyListRequest(deny_list=signed), timeout=CALL_S
            )
            self._published = data
        except FairleadError as error:  # no usable certificate at the moment: tried again
            self._member.problem(error)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _LATER:
                self._failed = data
                self._member.problem(gateway_refusal(error))

    async def watch(self, *, every_s: float = 1.0) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)
