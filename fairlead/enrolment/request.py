"""The request: a partner's own entry and its node's certificate request, in one file.

Made at the node, under the partner's root key. Who compares the root's check phrase by telephone
knows that the whole file is the partner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.authority import public_key_of_request
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.errors import Forged, InvalidInput, Stale
from fairlead.partners import Partner
from fairlead.v1 import directory_pb2, enrolment_pb2

DOMAIN = "enrolment-request"
LIFETIME_S = 14 * 86_400
CLOCK_SKEW_S = 120
"""Clocks may differ by this much."""
MAX_REQUEST = 128 * 1024
MAX_HOSTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A verified request. ``digest`` is the SHA-256 of the file."""

    digest: bytes
    partner: Partner
    entry: directory_pb2.SignedPartnerEntry
    node: SpiffeId
    public_key: ec.EllipticCurvePublicKey
    hosts: tuple[str, ...]
    expires_at: int

    @property
    def root_fingerprint(self) -> bytes:
        """SHA-256 of the partner's root key: what the check phrase says."""
        return signing.digest(self.partner.root_key)


def make_request(
    entry: directory_pb2.SignedPartnerEntry,
    *,
    federation: str,
    root: Ed25519PrivateKey,
    tls_key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    nonce: bytes,
    now: float,
) -> bytes:
    """The file's octets. :param nonce: 32 random octets; :param now: Unix seconds."""
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(tls_key, hashes.SHA256())
    )
    data = signing.canonical(
        enrolment_pb2.EnrolmentRequest(
            federation=federation,
            nonce=nonce,
            issued_at=int(now),
            expires_at=int(now) + LIFETIME_S,
            entry=entry,
            certificate_request=csr.public_bytes(serialization.Encoding.PEM),
            hosts=hosts,
        )
    )
    return signing.canonical(
        enrolment_pb2.SignedEnrolmentRequest(
            request=data, root_signature=signing.sign(root, DOMAIN, data)
        )
    )


def read_request(data: bytes, *, federation: str, now: float) -> Request:
    """Verify a request's octets.

    1. They are the one encoding of a request.
    2. The partner's root, whose fingerprint the caller compares, signed the entry and the
       request as a whole.
    3. It is for this federation and in force at ``now`` (Unix seconds).
    4. Its first node is one of this federation and this partner.
    5. The certificate request proves its key.

    :raises InvalidInput: malformed. :raises Forged: a signature is wrong; FEDERATION.
    :raises Stale: REQUEST_EXPIRED, or CLOCK_SKEW: issued more than two minutes from now.
    """
    # 1
    signed = signing.parse_canonical(enrolment_pb2.SignedEnrolmentRequest, data, limit=MAX_REQUEST)
    content = signing.parse_canonical(enrolment_pb2.EnrolmentRequest, signed.request)
    if len(content.nonce) != 32 or len(content.hosts) > MAX_HOSTS:
        raise InvalidInput("an enrolment request is malformed", reasons=("MALFORMED",))
    # 2
    claimed = signing.parse_canonical(directory_pb2.PartnerEntry, content.entry.entry)
    partner = Partner.from_signed(content.entry, signing.digest(claimed.root_key))
    signing.verify(partner.root_key, DOMAIN, signed.request, signed.root_signature)
    # 3
    if content.federation != federation:
        raise Forged("the request is for another federation", reasons=("FEDERATION",))
    check_period(content.issued_at, content.expires_at, now, code="REQUEST_EXPIRED")
    # 4
    node = SpiffeId.parse(partner.nodes[0].spiffe_id)
    owner = (node.federation, node.kind, node.partner_id)
    if owner != (federation, IdentityKind.NODE, partner.partner_id):
        raise InvalidInput("the request's node is not the partner's own", reasons=("NODES",))
    # 5
    return Request(
        digest=signing.digest(data),
        partner=partner,
        entry=content.entry,
        node=node,
        public_key=public_key_of_request(content.certificate_request),
        hosts=tuple(content.hosts),
        expires_at=content.expires_at,
    )


def check_period(issued_at: int, expires_at: int, now: float, *, code: str) -> None:
    """Require ``now`` to lie in a period of at most 14 days, allowing two minutes of skew.

    :raises Stale: CLOCK_SKEW, or ``code``.
    """
    if issued_at > now + CLOCK_SKEW_S:
        raise Stale(
            "it was issued in the future: the clocks differ by more than two minutes",
            reasons=("CLOCK_SKEW",),
            remedy="timedatectl   (compare both clocks, correct the wrong one)",
        )
    if not now < expires_at <= issued_at + LIFETIME_S:
        raise Stale(
            "this enrolment file has expired",
            reasons=(code,),
            remedy="fairlead-node init … again, with the same words: it makes a fresh request",
        )
