"""What the gateway does for its federation's nodes beside routing: publish and certify.

Whatever it publishes was signed elsewhere and is verified by whoever receives it. What it
certifies with the federation CA's key opens transport only (ADR 11).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fairlead import authority, renewal, signing, tls
from fairlead.auditlog import AuditLog
from fairlead.authority import Issuer
from fairlead.certificates import Identity, SpiffeId
from fairlead.errors import FairleadError, Misconfigured, OperatorError, Refused
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import directory_pb2
from fairlead.v1 import federation_pb2 as pb
from gateway.releases import ReleaseExchange

HEARTBEAT_S = 5.0
SUBJECT = "FederationService"


class NoIssuer(OperatorError):
    """This gateway holds no key of the federation CA."""

    default_code = "NO_ISSUER"


def load_issuer(keys: Path, federation_ca: x509.Certificate) -> Issuer | None:
    """The federation CA, if its key lies in the gateway's key folder.

    :raises Misconfigured: KEY_MISMATCH, or it is another CA than the directory's.
    """
    if not (keys / "ca.key").exists():
        return None
    issuer = Issuer.load(keys / "ca.pem", keys / "ca.key")
    if issuer.certificate != federation_ca:
        raise Misconfigured(
            "the CA in the key folder is not the directory's",
            reasons=("CA_MISMATCH",),
            remedy="put the federation CA's ca.pem and ca.key there, or remove both",
        )
    return issuer


class Publishing:
    """The gateway's side of ``FederationService``.

    :param issuer: the federation CA, read anew for each certificate; None: not held here.
    """

    def __init__(
        self,
        member: Membership,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        issuer: Callable[[], Issuer | None],
        releases: ReleaseExchange,
        clock: Callable[[], float],
    ) -> None:
        self._member = member
        self._log = log
        self._leaves = leaves
        self._issuer = issuer
        self._releases = releases
        self._clock = clock
        self._changed = asyncio.Event()
        self._finished = False
        member.on_change.append(lambda _before, _after: self.wake())
        recorded = member.deny_lists.on_update

        def updated() -> None:
            recorded()
            self.wake()

        member.deny_lists.on_update = updated

    def finish(self) -> None:
        """End every stream, because the gateway stops; nodes come back to its successor."""
        self._finished = True
        self.wake()

    def wake(self) -> None:
        """Something that followers should hear of has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncGenerator[pb.FollowResponse, None]:
        """What is served now, then every change, and a sign of life in between."""
        directory, deny_lists = b"", b""
        while not self._finished:
            changed = self._changed
            event = pb.FollowResponse(
                directory_serial=self._member.directory.current.serial,
                time_ms=int(self._clock() * 1000),
            )
            self._releases.announce(event)
            if self._member.directory.transmitted != directory:
                event.directory = directory = self._member.directory.transmitted
            if self._member.deny_lists.bundle() != deny_lists:
                event.deny_lists = deny_lists = self._member.deny_lists.bundle()
            yield event
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()
            except TimeoutError:
                continue

    async def publish(self, signed: directory_pb2.SignedDenyList, peer: Identity) -> int:
        """Take over a user authority's list that its own partner's node brings.

        1. It speaks in the name of the caller's partner.
        2. It verifies, about that partner's users only, and is not older.
        3. It is stored and on its way to everybody.

        :returns: the serial in force.
        :raises Refused: another partner's list. :raises Forged: not verifiable, DENY_LIST_FORK.
        :raises Stale: older than the one in force.
        """
        try:
            # 1
            content = signing.parse_canonical(directory_pb2.DenyList, signed.deny_list)
            if content.issuer != peer.partner_id:
                raise Refused(
                    "a node brings the deny list of its own partner only",
                    reasons=("OTHER_PARTNER",),
                )
            # 2
            bundle = signing.canonical(directory_pb2.DenyListBundle(lists=[signed]))
            # 3
            if self._member.take_deny_lists(bundle):
                self.wake()
        except FairleadError as error:
            await self._refuse(error, "PublishDenyList", peer)
            raise
        return self._member.deny_lists.serials()[content.issuer]

    async def renew(self, request: bytes, peer: Identity, certificate: bytes) -> bytes:
        """Certify a caller's new key for the id and the hosts of the certificate it called with.

        1. The caller is a node in force and not denied (the door has checked, now).
        2. This gateway holds the CA's key.
        3. The request proves a key, and names the caller and nobody else.
        4. The issuance is durable in the log before it leaves.

        :param certificate: the caller's, DER.
        :returns: the new certificate, PEM.
        :raises NoIssuer: :raises InvalidInput: CSR. :raises Refused: RENEW_OTHER.
        """
        try:
            # 2
            issuer = self._issuer()
            if issuer is None:
                raise NoIssuer(
                    "this gateway does not hold the federation CA's key",
                    remedy="have the certificate renewed by the operator who holds it",
                )
            # 3
            renewal.check_request_names(request, peer.spiffe_id)
            key = authority.public_key_of_request(request)
        except FairleadError as error:
            await self._refuse(error, "Renew", peer)
            raise
        held, spiffe_id = (
            x509.load_der_x509_certificate(certificate),
            SpiffeId.parse(peer.spiffe_id),
        )
        issued = authority.issue_node(
            issuer,
            federation=spiffe_id.federation,
            partner_id=peer.partner_id or "",
            name=peer.name,
            public_key=key,
            hosts=renewal.hosts(held, spiffe_id),
            now=self._clock(),
            lifetime=renewal.lifetime(held),
        )
        # 4
        await self._record(issued, peer.spiffe_id)
        return issued.public_bytes(serialization.Encoding.PEM)

    async def renew_own(self, keys: Path, spiffe_id: SpiffeId) -> None:
        """Renew the gateway's own certificate, when it is due and the CA is here."""
        held = authority.load_certificate(keys / "tls.pem")
        issuer = self._issuer()
        if issuer is None or not renewal.due(held, self._clock()):
            return
        request = renewal.Request.make(spiffe_id)
        issued = authority.issue_gateway(
            issuer,
            federation=spiffe_id.federation,
            name=spiffe_id.name,
            public_key=request.key.public_key(),
            hosts=renewal.hosts(held, spiffe_id),
            now=self._clock(),
            lifetime=renewal.lifetime(held),
        )
        await self._record(issued, str(spiffe_id))
        tls.install(
            keys,
            chain=issued.public_bytes(serialization.Encoding.PEM),
            key=request.key_pem(),
        )
        get_logger().info(Event.CERTIFICATE_RELOADED)

    async def keep_certificate(self, keys: Path, spiffe_id: str, *, every_s: float = 60.0) -> None:
        """Renew the gateway's own certificate when it is due, until cancelled."""
        while True:
            try:
                await self.renew_own(keys, SpiffeId.parse(spiffe_id))
            except FairleadError as error:
                get_logger().error(Event.CERTIFICATE_PROBLEM, error=error)
            await asyncio.sleep(every_s)

    async def _record(self, issued: x509.Certificate, spiffe_id: str) -> None:
        digest = signing.digest(issued.public_bytes(serialization.Encoding.DER))
        leaf = self._leaves.certificate(
            spiffe_id, not_after=int(issued.not_valid_after_utc.timestamp()), digest=digest
        )
        await self._log.append(leaf)

    async def _refuse(self, error: FairleadError, rpc: str, peer: Identity) -> None:
        subject = f"{SUBJECT}.{rpc}"
        if "DENY_LIST_FORK" in error.reasons:
            leaf = self._leaves.alarm(error.reasons, subject=subject)
        else:
            leaf = self._leaves.refusal(
                error, subject=subject, partner_id=peer.partner_id or "", user=peer.spiffe_id
            )
        await self._log.append(leaf)
