"""Authorisation as data: one row per RPC says who may call it.

Empty means no: a row that names nobody does not load, an RPC without a row does not start, and
an RPC nobody knows is refused. See HOUSE §5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from fairlead.certificates import Identity, IdentityKind, Role
from fairlead.errors import Misconfigured, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Who may call one RPC: kinds of identity, and for users the roles (any one of them).

    ``strangers``: callers without a certificate, on a server of their own; the request itself
    holds the credential, and the RPC checks it.
    """

    kinds: frozenset[IdentityKind]
    roles: frozenset[Role] = frozenset()
    strangers: bool = False

    def __post_init__(self) -> None:
        """:raises Misconfigured: nobody is allowed, or users without roles, or roles alone."""
        if self.strangers == bool(self.kinds) or (IdentityKind.USER in self.kinds) != bool(
            self.roles
        ):
            raise Misconfigured("an authorisation row is incomplete", reasons=("RPC_ROW",))

    def check(self, identity: Identity) -> None:
        """:raises Refused: KIND_NOT_ALLOWED or ROLE_NOT_ALLOWED."""
        if identity.kind not in self.kinds:
            raise Refused(
                "this call is not for this kind of participant", reasons=("KIND_NOT_ALLOWED",)
            )
        if identity.kind is IdentityKind.USER and not self.roles & identity.roles:
            raise Refused(
                "this call needs another role",
                reasons=("ROLE_NOT_ALLOWED",),
                remedy="ask your partner's user authority for the role",
            )

    def admits(self) -> frozenset[str]:
        """Everybody this row lets in: ``gateway``, ``node``, ``user:<role>``, ``stranger``."""
        if self.strangers:
            return frozenset({"stranger"})
        others = {str(kind) for kind in self.kinds if kind is not IdentityKind.USER}
        return frozenset(others | {f"user:{role}" for role in self.roles})


Authorisation = Mapping[str, Row]
"""``/package.Service/Method`` → who may call it."""

GATEWAYS = Row(kinds=frozenset({IdentityKind.GATEWAY}))
NODES = Row(kinds=frozenset({IdentityKind.NODE}))
STRANGERS = Row(kinds=frozenset(), strangers=True)
ANYBODY_IDENTIFIED = Row(kinds=frozenset(IdentityKind), roles=frozenset(Role))


def users(*roles: Role) -> Row:
    """A row for users who hold one of ``roles``.

    :raises Misconfigured: no role.
    """
    return Row(kinds=frozenset({IdentityKind.USER}), roles=frozenset(roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to offer: its descriptor, and how to add it to a server."""

    descriptor: ServiceDescriptor
    register: Callable[[grpc.aio.Server], None]

    def methods(self) -> frozenset[str]:
        """Full names: ``/package.Service/Method``."""
        name = self.descriptor.full_name
        return frozenset(f"/{name}/{method.name}" for method in self.descriptor.methods)


def assert_every_rpc_has_row(
    services: Sequence[Service],
    authorisation: Authorisation,
    expectations: Mapping[str, frozenset[str]] | None = None,
) -> None:
    """Walk the descriptors: each RPC has its row, and each row its RPC.

    :param expectations: for tests: RPC → what :meth:`Row.admits` must say, for every RPC.
    :raises Misconfigured: RPC_WITHOUT_ROW, ROW_WITHOUT_RPC or RPC_EXPECTATION; the remedy names
        the RPC.
    """
    offered = frozenset().union(*(service.methods() for service in services))
    _complain(offered - authorisation.keys(), "an RPC has no authorisation row", "RPC_WITHOUT_ROW")
    _complain(authorisation.keys() - offered, "a row names no RPC", "ROW_WITHOUT_RPC")
    if expectations is not None:
        wrong = {
            method
            for method in offered
            if expectations.get(method) != authorisation[method].admits()
        }
        wrong |= expectations.keys() - offered
        _complain(wrong, "an RPC is not authorised as expected", "RPC_EXPECTATION")


def _complain(methods: AbstractSet[str], message: str, code: str) -> None:
    if methods:
        raise Misconfigured(message, reasons=(code,), remedy="see " + ", ".join(sorted(methods)))
