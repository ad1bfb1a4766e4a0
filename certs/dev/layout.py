"""Where the recipe puts each file. One folder per key holder, so that each can be handed over.

::

    DEVELOPMENT-ONLY
    made.json                       what was asked for, and until when it is valid
    public/                         everybody's: directory.bin deny-lists.bin pins.toml
                                    federation-ca.pem
    federation/                     the operators': ca.pem ca.key operator-{1,2}.key
                                    policy-{1,2}.key
    gateway/<name>/                 tls.pem tls.key signing.key log.key ca.pem ca.key
    partners/<partner>/root/        root.key (offline)
    partners/<partner>/authority/   authority.pem authority.key
    partners/<partner>/node/        tls.pem tls.key signing.key sealing.seed mask.key witness.key
                                    index.key noise.secret
    partners/<partner>/oversight/   oversight.seed
    partners/<partner>/users/<u>/   user.pem user.key

``.key`` is PKCS #8 PEM (``index.key``: 32 random octets in hexadecimal), ``.seed`` the 96 raw
octets of an HPKE key. Every file is 0600, every folder 0700, and every folder with a key in it
carries the marker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one development federation's folder."""

    root: Path

    @property
    def made(self) -> Path:
        """What was asked for, and until when it is valid."""
        return self.root / "made.json"

    @property
    def directory(self) -> Path:
        """``pb.SignedDirectory``."""
        return self.root / "public" / "directory.bin"

    @property
    def deny_lists(self) -> Path:
        """``pb.DenyListBundle``."""
        return self.root / "public" / "deny-lists.bin"

    @property
    def pins(self) -> Path:
        """TOML: ``federation``, ``operators`` (raw Ed25519 keys in hexadecimal),
        ``policy_officers`` and the table ``partners`` (id → SHA-256 of the root key)."""
        return self.root / "public" / "pins.toml"

    @property
    def federation_ca(self) -> Path:
        """The federation CA's certificate."""
        return self.root / "public" / "federation-ca.pem"

    @property
    def federation(self) -> Path:
        """The operators' folder."""
        return self.root / "federation"

    def gateway(self, name: str) -> Path:
        """A gateway's key folder."""
        return self.root / "gateway" / name

    def partner(self, partner_id: str) -> Path:
        """A partner's folder of folders."""
        return self.root / "partners" / partner_id

    def node(self, partner_id: str) -> Path:
        """A node's key folder."""
        return self.partner(partner_id) / "node"

    def authority(self, partner_id: str) -> Path:
        """A user authority's key folder."""
        return self.partner(partner_id) / "authority"

    def user(self, partner_id: str, pseudonym: str) -> Path:
        """A person's folder."""
        return self.partner(partner_id) / "users" / pseudonym
