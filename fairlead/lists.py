"""Signing what a federation believes: entries, the directory, deny lists.

The other half, verification, is :mod:`fairlead.partners`. Whoever signs, signs octets: a second
operator signs exactly those that the first one signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.partners import OPERATORS, sign_as_operator
from fairlead.v1 import directory_pb2 as pb

__all__ = [
    "OPERATORS",
    "USER_DENY_LIST",
    "deny_list",
    "sign_directory",
    "sign_entry",
    "sign_operators_list",
    "sign_users_list",
]
USER_DENY_LIST = "user-deny-list.bin"
"""The file a user authority writes and its partner's node publishes: ``pb.SignedDenyList``."""


def sign_entry(entry: pb.PartnerEntry, root: Ed25519PrivateKey) -> pb.SignedPartnerEntry:
    """A partner's entry under its own root key."""
    data = signing.canonical(entry)
    return pb.SignedPartnerEntry(
        entry=data, root_signature=signing.sign(root, "partner-entry", data)
    )


def sign_directory(content: pb.Directory, operators: Sequence[Ed25519PrivateKey]) -> bytes:
    """The list under every operator's signature, as transmitted."""
    data = signing.canonical(content)
    return signing.canonical(
        pb.SignedDirectory(
            directory=data,
            signatures=[sign_as_operator(key, "directory", data) for key in operators],
        )
    )


def deny_list(
    issuer: str, spiffe_ids: Iterable[str], *, serial: int, now: float, lifetime_s: float
) -> bytes:
    """The octets of one deny list, to be signed. :param now: Unix seconds."""
    return signing.canonical(
        pb.DenyList(
            issuer=issuer,
            serial=serial,
            issued_at=int(now),
            expires_at=int(now + lifetime_s),
            spiffe_ids=sorted(set(spiffe_ids)),
        )
    )


def sign_operators_list(data: bytes, operators: Sequence[Ed25519PrivateKey]) -> pb.SignedDenyList:
    """The operators' deny list under each one's signature."""
    signatures = [sign_as_operator(key, "deny-list", data) for key in operators]
    return pb.SignedDenyList(deny_list=data, signatures=signatures)


def sign_users_list(data: bytes, authority: ec.EllipticCurvePrivateKey) -> pb.SignedDenyList:
    """A partner's deny list under its user authority's signature."""
    signature = signing.sign_as_user(authority, "deny-list", data)
    return pb.SignedDenyList(deny_list=data, signatures=[pb.OperatorSignature(signature=signature)])
