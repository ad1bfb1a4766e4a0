"""A second person's approval: at the asker, of exactly one mandate (PROTOCOL §4).

What an approver signs names the mandate by its digest, which stands for everything its user
signed: terms, partners, purpose, case, time. Gateway and owner verify it as the asker's node does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from fairlead import signing
from fairlead.certificates import Identity, IdentityKind, Role, identity_from_certificate
from fairlead.errors import Forged, InvalidInput, Refused, Stale
from fairlead.partners import DenyLists, Directory
from fairlead.v1 import query_pb2 as pb

if TYPE_CHECKING:
    from fairlead.envelope.query import Identify

DOMAIN = "approval"
MAX_APPROVALS = 5
APPROVAL_LIFETIME_S = 24 * 3600
EARLY_S = 120
"""Seconds that an approver's clock may be ahead of a receiver's, or behind the mandate's."""
_LIMIT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The approvals of one query, every one of which verified."""

    people: tuple[Identity, ...] = ()
    urgent: bool = False
    """One of them lets the mandate exceed budgets."""


def sign_approval(
    mandate: bytes,
    *,
    certificate: bytes,
    key: ec.EllipticCurvePrivateKey,
    now: float,
    urgent: bool = False,
) -> pb.SignedApproval:
    """Approve a mandate for the rest of its life, in the name of the ``certificate`` (DER).

    :param mandate: the octets its user signed. :param now: unix seconds.
    :param urgent: it may exceed the asker's budgets once.
    :raises InvalidInput: not a mandate. :raises Stale: it is not in force.
    """
    content = signing.parse_canonical(pb.Mandate, mandate)
    if not content.issued_at - EARLY_S <= now < content.expires_at:
        raise Stale("a mandate is not in force", reasons=("MANDATE_EXPIRED",))
    approval = signing.canonical(
        pb.Approval(
            mandate_digest=signing.digest(mandate),
            partner_id=content.partner_id,
            approver_certificate_digest=signing.digest(certificate),
            issued_at=int(now),
            expires_at=min(content.expires_at, int(now) + APPROVAL_LIFETIME_S),
            urgent=urgent,
        )
    )
    signature = signing.sign_as_user(key, DOMAIN, approval)
    return pb.SignedApproval(approval=approval, signature=signature, certificate=certificate)


def verify_approvals(
    signed: Sequence[pb.SignedApproval],
    *,
    mandate: pb.Mandate,
    mandate_digest: bytes,
    requester: Identity,
    directory: Directory,
    deny_lists: DenyLists | None,
    now: float,
    identify: Identify = identity_from_certificate,
) -> Approved:
    """Verify every approval that a query brings; one that is wrong spoils them all.

    1. There are at most five; each is canonical, of this mandate and in the asker's name.
    2. Its certificate is the one it names, in force, of a person of the asker with the role
       approver, and not denied.
    3. That person is not the requester, nor responsible for a requester that is a service, and
       approves once.
    4. That person signed it.
    5. It is in force, lives at most 24 hours, and within the mandate's life.

    :param directory: the one the mandate is verified under.
    :param deny_lists: None only when verifying old evidence offline.
    :raises Forged: a signature or binding is wrong. :raises InvalidInput: malformed, or too many.
    :raises Refused: APPROVER_ROLE, APPROVER_IS_REQUESTER or APPROVED_TWICE.
    :raises Stale: APPROVAL_EXPIRED, or it is not in force yet.
    :raises Unauthenticated: a certificate is not acceptable.
    """
    # 1
    if len(signed) > MAX_APPROVALS:
        raise InvalidInput("a query brings too many approvals", reasons=("APPROVALS",))
    people: dict[str, Identity] = {}
    urgent = False
    for item in signed:
        approval = signing.parse_canonical(pb.Approval, item.approval, limit=_LIMIT)
        bound = (approval.mandate_digest, approval.partner_id)
        if bound != (mandate_digest, mandate.partner_id):
            raise Forged("an approval is of another mandate", reasons=("APPROVAL_BINDING",))
        # 2
        if signing.digest(item.certificate) != approval.approver_certificate_digest:
            raise Forged("an approval names another certificate", reasons=("APPROVAL_BINDING",))
        person = identify(item.certificate, directory=directory, now=now)
        check_approver(person, mandate.partner_id)
        if deny_lists is not None:
            deny_lists.check(person.spiffe_id, now)
        # 3
        check_second(person, requester)
        if person.spiffe_id in people:
            raise Refused("one person approved twice", reasons=("APPROVED_TWICE",))
        # 4
        signing.verify_as_user(person.public_key, DOMAIN, item.approval, item.signature)
        # 5
        _check_times(approval, mandate, now)
        people[person.spiffe_id] = person
        urgent = urgent or approval.urgent
    return Approved(people=tuple(people.values()), urgent=urgent)


def check_approver(person: Identity, partner_id: str) -> None:
    """:raises Refused: not a person of this partner with the role approver."""
    own = person.kind is IdentityKind.USER and person.partner_id == partner_id
    if not own or Role.APPROVER not in person.roles or person.responsible:
        raise Refused(
            "an approval is not by an approver of the asker",
            reasons=("APPROVER_ROLE",),
            remedy="ask your partner's user authority who has the role approver",
        )


def check_second(person: Identity, requester: Identity) -> None:
    """:raises Refused: the approver asked, or answers for the service that asked."""
    if person.spiffe_id == requester.spiffe_id or person.name == requester.responsible:
        raise Refused(
            "nobody approves an own query",
            reasons=("APPROVER_IS_REQUESTER",),
            remedy="ask another approver",
        )


def _check_times(approval: pb.Approval, mandate: pb.Mandate, now: float) -> None:
    within = (
        mandate.issued_at - EARLY_S <= approval.issued_at
        and approval.expires_at <= mandate.expires_at
        and 0 < approval.expires_at - approval.issued_at <= APPROVAL_LIFETIME_S
    )
    if not within:
        raise InvalidInput(
            "an approval lives longer than its mandate or than allowed",
            reasons=("APPROVAL_LIFETIME",),
        )
    if not approval.issued_at - EARLY_S <= now < approval.expires_at:
        raise Stale(
            "an approval is not in force",
            reasons=("APPROVAL_EXPIRED",),
            remedy="ask again, and have the new query approved",
        )
