"""A made federation as a participant sees it: verified directory, deny lists, and issuers."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from certs.dev.layout import Layout
from fairlead.authority import Issuer
from fairlead.certificates import SpiffeId
from fairlead.officers import Officer, parse_officers
from fairlead.partners import DenyLists, Directory
from fairlead.tls import KeyMaterial


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What :func:`open_federation` verified, and where it lies."""

    layout: Layout
    operators: tuple[bytes, ...]
    policy_officers: tuple[Officer, ...]
    pins: dict[str, bytes]
    directory: Directory
    deny_lists: DenyLists

    def federation_ca(self) -> Issuer:
        """The federation CA with its key."""
        return Issuer.load(self.layout.federation / "ca.pem", self.layout.federation / "ca.key")

    def user_authority(self, partner_id: str) -> Issuer:
        """A partner's user authority with its key."""
        folder = self.layout.authority(partner_id)
        return Issuer.load(folder / "authority.pem", folder / "authority.key")

    def node_id(self, partner_id: str) -> SpiffeId:
        """The id of a partner's node."""
        return SpiffeId.parse(self.directory.partners[partner_id].nodes[0].spiffe_id)

    def node_material(self, partner_id: str, *, serves_users: bool = True) -> KeyMaterial:
        """A node's TLS keys; it trusts the federation CA and its own partner's authority."""
        roots = [self.directory.federation_ca]
        if serves_users:
            roots.append(self.directory.partners[partner_id].user_authority)
        return self._material(self.layout.node(partner_id), "tls", roots)

    def gateway_material(self, name: str) -> KeyMaterial:
        """A gateway's TLS keys; it trusts the federation CA alone."""
        return self._material(self.layout.gateway(name), "tls", [self.directory.federation_ca])

    def user_material(self, partner_id: str, pseudonym: str) -> KeyMaterial:
        """A person's TLS keys; servers are certified by the federation CA."""
        folder = self.layout.user(partner_id, pseudonym)
        return self._material(folder, "user", [self.directory.federation_ca])

    @staticmethod
    def _material(folder: Path, stem: str, roots: list[x509.Certificate]) -> KeyMaterial:
        return KeyMaterial.load(folder / f"{stem}.pem", folder / f"{stem}.key", roots)


def open_federation(layout: Layout, *, now: float) -> Opened:
    """Verify the public part of ``layout`` as any participant would, at ``now``.

    :raises Forged: a signature or a pin is wrong.
    :raises Stale: the directory has expired.
    """
    pins = tomllib.loads(layout.pins.read_text("utf-8"))
    operators = tuple(bytes.fromhex(key) for key in pins["operators"])
    roots = {partner: bytes.fromhex(pin) for partner, pin in pins["partners"].items()}
    directory = Directory.from_signed(
        layout.directory.read_bytes(), operators=operators, pins=roots, now=now
    )
    deny_lists = DenyLists()
    deny_lists.update(
        layout.deny_lists.read_bytes(), directory=directory, operators=operators, now=now
    )
    return Opened(
        layout=layout,
        operators=operators,
        policy_officers=parse_officers(pins["policy_officers"]),
        pins=roots,
        directory=directory,
        deny_lists=deny_lists,
    )
