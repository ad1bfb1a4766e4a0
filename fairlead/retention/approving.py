"""The two people whose signatures an erasure needs: operators at a gateway, users at a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.auditlog.erased import LIFETIME_S
from fairlead.certificates import Identity, IdentityKind, Role, identity_from_certificate
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Refused
from fairlead.partners import DenyLists, Directory, sign_as_operator, verify_operators
from fairlead.retention.order import DOMAIN, MAX_FILE, read_order
from fairlead.v1 import erasure_pb2 as pb

QUORUM = 2
MAX_APPROVALS = 8
ROLES = frozenset({Role.AUDITOR, Role.SECURITY_OFFICER})
Approval = tuple[str, bytes]
"""Who, as a SPIFFE id, and the signature."""
Approved = Callable[[pb.SignedErasureOrder, float], Sequence[Approval]]
"""Order and moment → who approved it.

:raises FairleadError: not two different people who may."""


def by_operators(federation: str, operators: Sequence[bytes]) -> Approved:
    """At a gateway: two operators, by the keys that are pinned."""

    def approved(signed: pb.SignedErasureOrder, _now: float) -> Sequence[Approval]:
        names = [item.key_id for item in signed.operators]
        known = {signing.digest(key) for key in operators}
        if signed.users or not known.issuperset(names) or len(set(names)) < len(names):
            raise _not_two()
        if len(names) < QUORUM:
            raise _not_two()
        verify_operators(signed.order, signed.operators, DOMAIN, operators)
        return [(_operator(federation, item.key_id), item.signature) for item in signed.operators]

    return approved


def by_users(
    partner_id: str, directory: Callable[[], Directory], deny_lists: DenyLists
) -> Approved:
    """At a node: two of its partner's users who are auditors or security officers, one of them an
    auditor."""

    def approved(signed: pb.SignedErasureOrder, now: float) -> Sequence[Approval]:
        if signed.operators or not QUORUM <= len(signed.users) <= MAX_APPROVALS:
            raise _not_two()
        people = [
            _approver(item, signed.order, partner_id, directory(), now) for item in signed.users
        ]
        for person in people:
            deny_lists.check(person.spiffe_id, now)
        _require_two(people)
        return [
            (person.spiffe_id, item.signature)
            for person, item in zip(people, signed.users, strict=True)
        ]

    return approved


def require_approved(
    data: bytes,
    names: Sequence[str],
    *,
    operators: Sequence[bytes],
    directories: Sequence[Directory],
) -> None:
    """Verify the approvals of an order that was carried out, as somebody who reads its log.

    Certificates are judged at the time of the order. Whether somebody was suspended then, only the
    process knew.

    :param names: who approved it, as the leaf says.
    :param directories: those that may have been in force.
    :raises FairleadError: they do not verify under what is known here.
    """
    signed = signing.parse_canonical(pb.SignedErasureOrder, data, limit=MAX_FILE)
    content = signing.parse_canonical(pb.ErasureOrder, signed.order)
    federation = directories[0].federation
    log = content.origin.removeprefix(f"{federation}/")
    if log.startswith("gateway/"):
        found = by_operators(federation, operators)(signed, content.issued_at)
        who = [name for name, _ in found]
    else:
        partner = log.removeprefix("partner/")
        people = [_then(item, content, partner, directories) for item in signed.users]
        if signed.operators or not QUORUM <= len(people) <= MAX_APPROVALS:
            raise _not_two()
        _require_two(people)
        who = [person.spiffe_id for person in people]
    if who != list(names):
        raise _not_two()


def _then(
    item: pb.UserApproval,
    content: pb.ErasureOrder,
    partner_id: str,
    directories: Sequence[Directory],
) -> Identity:
    """An approver at the time of the order, under whichever directory knew the certificate."""
    try:
        certificate = x509.load_der_x509_certificate(item.certificate)
    except ValueError:
        raise InvalidInput("a certificate cannot be read", reasons=("USER_CERTIFICATE",)) from None
    begins = certificate.not_valid_before_utc.timestamp()
    moment = max(float(content.issued_at), begins)
    if moment >= content.issued_at + LIFETIME_S:
        raise _not_two()
    failed: FairleadError = _not_two()
    for directory in directories:
        try:
            return _approver(item, signing.canonical(content), partner_id, directory, moment)
        except FairleadError as error:
            failed = error
    raise failed


def approve_as_operator(
    data: bytes, key: Ed25519PrivateKey, operators: Sequence[bytes]
) -> tuple[bytes, int]:
    """Sign an order's file as an operator; returns the file, and how many have signed it.

    :raises Refused: OPERATOR_UNKNOWN. :raises Conflict: APPROVED_ALREADY.
    :raises InvalidInput: it is no order.
    """
    order = read_order(data)
    own = signing.digest(signing.public_bytes(key))
    if own not in {signing.digest(known) for known in operators}:
        raise Refused(
            "this key is no operator's of this federation",
            reasons=("OPERATOR_UNKNOWN",),
            remedy="use the key file of one of the operators in pins.toml: --operator FILE",
        )
    if own in {item.key_id for item in order.signed.operators}:
        raise _again()
    order.signed.operators.append(sign_as_operator(key, DOMAIN, order.signed.order))
    return signing.canonical(order.signed), len(order.signed.operators)


def approve_as_user(
    data: bytes,
    certificate: bytes,
    key: ec.EllipticCurvePrivateKey,
    *,
    directory: Directory,
    now: float,
) -> tuple[bytes, int]:
    """Sign an order's file as a user; returns the file, and how many have signed it.

    :raises Refused: ERASURE_ROLE. :raises Conflict: APPROVED_ALREADY.
    :raises InvalidInput: it is no order.
    :raises Unauthenticated: the certificate is not acceptable.
    """
    order = read_order(data)
    own = identity_from_certificate(certificate, directory=directory, now=now)
    _require_person(own)
    for item in order.signed.users:
        other = identity_from_certificate(item.certificate, directory=directory, now=now)
        if other.spiffe_id == own.spiffe_id:
            raise _again()
    signature = signing.sign_as_user(key, DOMAIN, order.signed.order)
    order.signed.users.append(pb.UserApproval(signature=signature, certificate=certificate))
    return signing.canonical(order.signed), len(order.signed.users)


def _approver(
    item: pb.UserApproval, order: bytes, partner_id: str, directory: Directory, now: float
) -> Identity:
    found = identity_from_certificate(item.certificate, directory=directory, now=now)
    if found.kind is not IdentityKind.USER or found.partner_id != partner_id:
        raise Forged("an approval is not by a user of this partner", reasons=("USER",))
    _require_person(found)
    signing.verify_as_user(found.public_key, DOMAIN, order, item.signature)
    return found


def _require_person(found: Identity) -> None:
    """They may approve, and are no service user: behind that is a person with a certificate of
    their own, who would be two."""
    if found.responsible or not ROLES & set(found.roles):
        raise _role()


def _require_two(people: Sequence[Identity]) -> None:
    """They are different people with different keys, and one of them is an auditor."""
    keys = {_octets(person) for person in people}
    if len({person.spiffe_id for person in people}) < len(people) or len(keys) < len(people):
        raise _not_two()
    if not any(Role.AUDITOR in person.roles for person in people):
        raise _role()


def _octets(person: Identity) -> bytes:
    numbers = person.public_key.public_numbers()
    return f"{numbers.x}/{numbers.y}".encode()


def _operator(federation: str, key_id: bytes) -> str:
    """An operator has a key and no pseudonym: the key's digest stands for it."""
    return f"spiffe://{federation}/operator/{key_id.hex()[:16]}"


def _again() -> Conflict:
    return Conflict(
        "you have approved this order; the second approval is another person's",
        reasons=("APPROVED_ALREADY",),
        remedy="hand the file to the second person",
    )


def _not_two() -> Refused:
    return Refused(
        "an erasure is approved by two different people",
        reasons=("ERASURE_APPROVERS",),
        remedy="have a second person sign the file: fairlead audit approve FILE, or at a gateway "
        "fairlead-gateway audit approve FILE --operator KEY",
    )


def _role() -> Refused:
    return Refused(
        "an erasure is approved by auditors or security officers, one of them an auditor, and "
        "never by a service user",
        reasons=("ERASURE_ROLE",),
        remedy="ask your user authority for the role auditor",
    )
