"""What the development federation consists of: partners, users, ports, lifetimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fairlead.certificates import Role
from fairlead.partners import PartnerKind

SCHEMES = ("container", "vehicle-plate", "vessel-imo")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSpec:
    """A person: pseudonym and roles, never a name."""

    pseudonym: str
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerSpec:
    """A partner with one node at ``port`` (loopback)."""

    partner_id: str
    display_name: str
    kind: PartnerKind
    country: str
    port: int
    users: tuple[UserSpec, ...] = ()
    schemes: tuple[str, ...] = SCHEMES
    node: str = "node-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """The gateway and the origin of its log."""

    name: str = "gw-1"
    port: int = 7400


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things are valid. Deny lists live long here, because nobody renews them."""

    ca: timedelta = timedelta(days=30)
    leaf: timedelta = timedelta(days=7)
    user: timedelta = timedelta(days=7)
    directory: timedelta = timedelta(days=7)
    deny_lists: timedelta = timedelta(days=7)


def demo_partners(first_port: int = 7401) -> Sequence[PartnerSpec]:
    """The demo's six, on consecutive ports; ``u-c03`` is the analyst without any case,
    ``u-c06`` the auditor."""
    rows: tuple[tuple[str, str, PartnerKind, str, tuple[UserSpec, ...]], ...] = (
        (
            "customs",
            "Customs",
            PartnerKind.CUSTOMS,
            "NL",
            (
                UserSpec(pseudonym="u-c01", roles=(Role.ANALYST,)),
                UserSpec(pseudonym="u-c02", roles=(Role.APPROVER,)),
                UserSpec(pseudonym="u-c03", roles=(Role.ANALYST,)),
                UserSpec(pseudonym="u-c06", roles=(Role.AUDITOR,)),
            ),
        ),
        (
            "police",
            "Police",
            PartnerKind.POLICE,
            "NL",
            (
                UserSpec(pseudonym="u-p01", roles=(Role.ANALYST,)),
                UserSpec(pseudonym="u-p02", roles=(Role.APPROVER,)),
            ),
        ),
        ("terminal-north", "Terminal North", PartnerKind.TERMINAL, "NL", ()),
        ("oceanic-line", "Oceanic Line", PartnerKind.SHIPPING_LINE, "DK", ()),
        ("quayguard", "Quayguard Security", PartnerKind.SECURITY_COMPANY, "BE", ()),
        ("inland-port", "Inland Port", PartnerKind.INLAND_PORT, "DE", ()),
    )
    return tuple(
        PartnerSpec(
            partner_id=partner_id,
            display_name=display_name,
            kind=kind,
            country=country,
            port=first_port + position,
            users=users,
        )
        for position, (partner_id, display_name, kind, country, users) in enumerate(rows)
    )
