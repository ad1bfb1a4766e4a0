"""The development federation's signed lists: the directory and the deny lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.layout import Layout
from fairlead import signing
from fairlead.authority import Issuer
from fairlead.lists import (
    OPERATORS,
    deny_list,
    sign_directory,
    sign_entry,
    sign_operators_list,
    sign_users_list,
)
from fairlead.v1 import directory_pb2 as pb

__all__ = ["OPERATORS", "deny", "sign_deny_lists", "sign_directory", "sign_entry"]


def sign_deny_lists(
    operators: Sequence[Ed25519PrivateKey],
    authorities: Mapping[str, Issuer],
    *,
    denied: Iterable[str] = (),
    serial: int,
    now: float,
    lifetime: timedelta,
) -> bytes:
    """One deny list per issuer, holding those of ``denied`` (SPIFFE ids) it may speak about."""
    named: dict[str, list[str]] = {issuer: [] for issuer in (OPERATORS, *sorted(authorities))}
    for spiffe_id in denied:
        segments = spiffe_id.split("/")
        named[segments[4] if "/user/" in spiffe_id else OPERATORS].append(spiffe_id)
    bundle = pb.DenyListBundle()
    for issuer, spiffe_ids in named.items():
        data = deny_list(
            issuer, spiffe_ids, serial=serial, now=now, lifetime_s=lifetime.total_seconds()
        )
        if issuer == OPERATORS:
            bundle.lists.append(sign_operators_list(data, operators))
        else:
            bundle.lists.append(sign_users_list(data, authorities[issuer].key))
    return signing.canonical(bundle)


def deny(
    layout: Layout,
    spiffe_ids: Iterable[str],
    *,
    serial: int,
    now: float,
    lifetime: timedelta = timedelta(days=7),
) -> bytes:
    """Replace the deny lists of a made federation by lists that name ``spiffe_ids``.

    :param serial: above the serial of the lists before (the recipe's first is 1).
    """
    operators = [
        signing.load_signing_key(layout.federation / f"operator-{number}.key") for number in (1, 2)
    ]
    partners = sorted(folder.name for folder in (layout.root / "partners").iterdir())
    authorities = {
        partner: Issuer.load(
            layout.authority(partner) / "authority.pem", layout.authority(partner) / "authority.key"
        )
        for partner in partners
    }
    data = sign_deny_lists(
        operators, authorities, denied=spiffe_ids, serial=serial, now=now, lifetime=lifetime
    )
    fresh = layout.deny_lists.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    fresh.replace(layout.deny_lists)
    return data
