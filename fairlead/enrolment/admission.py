"""The admission: what two operators hand back, verified against the invitation alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import signing
from fairlead.certificates import identity_from_certificate
from fairlead.enrolment.invitation import Invitation
from fairlead.enrolment.request import LIFETIME_S, Request, check_period
from fairlead.errors import Forged
from fairlead.partners import DenyLists, Directory, verify_operators
from fairlead.v1 import directory_pb2, enrolment_pb2, policy_pb2

DOMAIN = "admission"
MAX_ADMISSION = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A verified admission: the node's certificate, and what it starts from.

    ``vouched`` are the other listed partners' root fingerprints as the operators compared them;
    the newcomer has compared none of them yet. A pin for somebody the directory does not list is
    no part of it: nobody could see it.
    """

    digest: bytes
    certificate: x509.Certificate
    directory: Directory
    directory_octets: bytes
    deny_lists: bytes
    vouched: Mapping[str, bytes]
    policy: Mapping[str, bytes]


def draft_admission(
    request: Request,
    *,
    certificate: bytes,
    directory: bytes,
    pins: Mapping[str, bytes],
    now: int,
) -> bytes:
    """The octets two operators sign. :param directory: the unsigned directory's octets."""
    return signing.canonical(
        enrolment_pb2.Admission(
            request_digest=request.digest,
            issued_at=now,
            expires_at=now + LIFETIME_S,
            certificate=certificate,
            directory_digest=signing.digest(directory),
            pins=[
                enrolment_pb2.PartnerPin(partner_id=partner, root_fingerprint=pin)
                for partner, pin in sorted(pins.items())
            ],
        )
    )


def make_admission(
    content: bytes,
    signatures: Sequence[directory_pb2.OperatorSignature],
    *,
    directory: bytes,
    deny_lists: bytes,
    policy: Mapping[str, bytes],
) -> bytes:
    """The file's octets, with the signed directory, the deny lists and the policy bundle."""
    files = [policy_pb2.PolicyFile(name=name, content=policy[name]) for name in sorted(policy)]
    return signing.canonical(
        enrolment_pb2.SignedAdmission(
            admission=content,
            signatures=signatures,
            directory=directory,
            deny_lists=deny_lists,
            policy=files,
        )
    )


def read_admission(
    data: bytes, *, request: Request, invitation: Invitation, now: float
) -> Admission:
    """Verify an admission's octets against one's own request and the invitation.

    1. They are the one encoding of an admission, signed by two operators of the invitation.
    2. It answers this very request and is in force at ``now`` (Unix seconds).
    3. The directory is the one the operators signed, of this federation, with the invitation's
       CA and gateway; each entry is under the root the operators vouch for.
    4. The own entry is unchanged, octet for octet, under the own root.
    5. The certificate is from that CA, for the own key and the own node.
    6. The deny lists verify; one that does not is left out.

    The policy bundle is verified when it is loaded (:mod:`fairlead.policy.bundle`).

    :raises Forged: anything is another's. :raises Stale: ADMISSION_EXPIRED, CLOCK_SKEW.
    :raises InvalidInput: malformed. :raises Unauthenticated: the certificate is nobody's.
    """
    # 1
    signed = signing.parse_canonical(enrolment_pb2.SignedAdmission, data, limit=MAX_ADMISSION)
    verify_operators(signed.admission, signed.signatures, DOMAIN, invitation.operators)
    content = signing.parse_canonical(enrolment_pb2.Admission, signed.admission)
    # 2
    if content.request_digest != request.digest:
        raise Forged(
            "this admission answers another request",
            reasons=("OTHER_REQUEST",),
            remedy="give the operators this folder's request.bin",
        )
    check_period(content.issued_at, content.expires_at, now, code="ADMISSION_EXPIRED")
    # 3
    own = request.partner.partner_id
    vouched = {pin.partner_id: pin.root_fingerprint for pin in content.pins}
    pins = {**vouched, own: request.root_fingerprint}
    directory = Directory.from_signed(
        signed.directory, operators=invitation.operators, pins=pins, now=now
    )
    ca = signing.digest(directory.federation_ca.public_bytes(Encoding.DER))
    if (directory.digest, directory.federation, ca) != (
        content.directory_digest,
        invitation.federation,
        invitation.federation_ca,
    ) or invitation.gateway_id not in directory.gateways:
        raise Forged("the directory is not the one you were invited to", reasons=("DIRECTORY",))
    # 4
    listed = directory.partners.get(own)
    if listed is None or listed.entry_digest != request.partner.entry_digest:
        raise Forged("the directory changes your own entry", reasons=("OWN_ENTRY",))
    # 5
    identity = identity_from_certificate(content.certificate, directory=directory, now=now)
    if identity.spiffe_id != str(request.node) or identity.public_key != request.public_key:
        raise Forged("the certificate is not for this node's key", reasons=("OWN_CERTIFICATE",))
    # 6
    lists = DenyLists()
    lists.update(signed.deny_lists, directory=directory, operators=invitation.operators, now=now)
    return Admission(
        digest=signing.digest(data),
        certificate=x509.load_der_x509_certificate(content.certificate),
        directory=directory,
        directory_octets=signed.directory,
        deny_lists=lists.bundle(),
        vouched={p: pin for p, pin in vouched.items() if p != own and p in directory.partners},
        policy={file.name: file.content for file in signed.policy},
    )
