"""The development federation's signed lists: the directory and the deny lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.layout import Layout
from fairlead import signing
from fairlead.authority import Issuer
from fairlead.partners import sign_as_operator
from fairlead.v1 import directory_pb2 as pb

OPERATORS = "operators"


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
    lists = {issuer: pb.DenyList(issuer=issuer) for issuer in (OPERATORS, *sorted(authorities))}
    for spiffe_id in denied:
        segments = spiffe_id.split("/")
        lists[segments[4] if "/user/" in spiffe_id else OPERATORS].spiffe_ids.append(spiffe_id)
    bundle = pb.DenyListBundle()
    for issuer, content in lists.items():
        content.serial = serial
        content.issued_at = int(now)
        content.expires_at = int(now + lifetime.total_seconds())
        data = signing.canonical(content)
        signed = bundle.lists.add(deny_list=data)
        if issuer == OPERATORS:
            signed.signatures.extend(sign_as_operator(k, "deny-list", data) for k in operators)
        else:
            key = authorities[issuer].key
            signed.signatures.add(signature=signing.sign_as_user(key, "deny-list", data))
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
