"""The second people of the tests, and approvals signed with their real keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.dev.federation import UserSpec
from certs.dev.layout import Layout
from fairlead import signing
from fairlead.certificates import Role
from fairlead.envelope.approval import DOMAIN, sign_approval
from fairlead.v1 import query_pb2 as pb

SECOND = ("customs", "u-c02")
THIRD = ("customs", "u-c04")
BOTH = ("customs", "u-c05")
"""Analyst and approver in one person."""
ELSEWHERE = ("police", "u-p02")
MORE_USERS = {
    "customs": (
        UserSpec(pseudonym="u-c04", roles=(Role.APPROVER,)),
        UserSpec(pseudonym="u-c05", roles=(Role.ANALYST, Role.APPROVER)),
    ),
    "police": (UserSpec(pseudonym="u-p02", roles=(Role.APPROVER,)),),
}
Person = tuple[str, str]


def certificate_of(layout: Layout, person: Person) -> bytes:
    """A person's certificate, DER."""
    pem = (layout.user(*person) / "user.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def approval(
    layout: Layout,
    person: Person,
    mandate: bytes,
    *,
    now: float,
    urgent: bool = False,
    change: Callable[[pb.Approval], object] = lambda _: None,
    signer: Person | None = None,
) -> pb.SignedApproval:
    """A mandate approved by ``person``, honest unless told otherwise.

    :param change: to the approval before it is signed. :param signer: whose key signs it.
    """
    key = signing.load_user_key(layout.user(*(signer or person)) / "user.key")
    settings: dict[str, Any] = {"certificate": certificate_of(layout, person), "key": key}
    made = sign_approval(mandate, now=now, urgent=urgent, **settings)
    content = pb.Approval.FromString(made.approval)
    change(content)
    made.approval = signing.canonical(content)
    made.signature = signing.sign_as_user(key, DOMAIN, made.approval)
    return made
