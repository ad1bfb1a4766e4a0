"""Making every key and signed list of one development federation, and verifying the result."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from certs.dev.federation import GatewaySpec, Lifetimes, PartnerSpec, UserSpec
from certs.dev.layout import Layout
from certs.dev.lists import sign_deny_lists, sign_directory, sign_entry
from fairlead import authority, signing
from fairlead.appointed import MIN_COMMITTEE, Appointed
from fairlead.authority import BACKDATED, Issuer
from fairlead.certificates import IdentityKind, SpiffeId
from fairlead.officers import Officer, render_officers
from fairlead.partners import DenyLists, Directory
from fairlead.sealing import SealingKey
from fairlead.tls import DEVELOPMENT_MARKER
from fairlead.v1 import directory_pb2 as pb

HOSTS = ("localhost", "127.0.0.1", "::1")
OFFICERS = 2
"""Policy officers, of different partners."""
MARKER_TEXT = "Made by certs/dev/make.py. Loopback only; never use these keys for real data.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What to make; equal wishes have equal fingerprints."""

    federation: str
    partners: tuple[PartnerSpec, ...]
    gateway: GatewaySpec
    more_gateways: tuple[GatewaySpec, ...] = ()
    """Gateways that share the first one's log."""
    lifetimes: Lifetimes
    release_tick_ms: int

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal."""
        content = asdict(self)
        if not self.more_gateways:  # as it was before there were any
            del content["more_gateways"]
        return signing.digest(json.dumps(content, default=str).encode()).hex()

    def valid_until(self, now: float) -> float:
        """Unix seconds at which the first thing made at ``now`` expires."""
        spans: list[timedelta] = list(asdict(self.lifetimes).values())
        return now + (min(spans) - BACKDATED).total_seconds()


class Recipe:
    """Makes one federation in an empty folder and verifies the result as a participant would."""

    def __init__(self, layout: Layout, wishes: Wishes, now: float) -> None:
        self._layout = layout
        self._wishes = wishes
        self._now = now
        self._ca = authority.create_ca(
            common_name=f"{wishes.federation} federation CA (development)",
            now=now,
            lifetime=wishes.lifetimes.ca,
        )
        self._operators = [Ed25519PrivateKey.generate() for _ in range(2)]
        self._policy_keys = [Ed25519PrivateKey.generate() for _ in range(OFFICERS)]
        self._authorities: dict[str, Issuer] = {}
        self._pins: dict[str, bytes] = {}

    def run(self) -> None:
        """Federation, gateway, partners, lists, and a last look through a participant's eyes."""
        self._folder(self._layout.root)
        self._folder(self._layout.directory.parent)
        self._make_federation()
        first = self._make_gateway(self._wishes.gateway)
        gateways = [first, *(self._make_gateway(s, first) for s in self._wishes.more_gateways)]
        ordered = sorted(self._wishes.partners, key=lambda spec: spec.partner_id)
        entries = [self._make_partner(spec) for spec in ordered]
        directory = self._make_lists(entries, gateways)
        self._write_pins()
        self._verify(directory)
        made = {
            "schema": 1,
            "fingerprint": self._wishes.fingerprint(),
            "made_at": self._now,
            "valid_until": self._wishes.valid_until(self._now),
        }
        self._write(self._layout.made, json.dumps(made).encode())

    def _make_federation(self) -> None:
        folder = self._folder(self._layout.federation)
        self._ca.save(folder / "ca.pem", folder / "ca.key")
        authority.save_certificate(self._layout.federation_ca, self._ca.certificate)
        for number, key in enumerate(self._operators, 1):
            signing.save_key(folder / f"operator-{number}.key", key)
        for number, key in enumerate(self._policy_keys, 1):
            signing.save_key(folder / f"policy-{number}.key", key)

    def _make_gateway(
        self, spec: GatewaySpec, first: pb.GatewayEntry | None = None
    ) -> pb.GatewayEntry:
        folder = self._folder(self._layout.gateway(spec.name))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority.issue_gateway(
            self._ca,
            federation=self._wishes.federation,
            name=spec.name,
            public_key=key.public_key(),
            hosts=HOSTS,
            now=self._now,
            lifetime=self._wishes.lifetimes.leaf,
        )
        authority.save_certificate(folder / "tls.pem", certificate)
        signing.save_key(folder / "tls.key", key)
        self._ca.save(folder / "ca.pem", folder / "ca.key")  # it renews the nodes' certificates
        entry = pb.GatewayEntry(
            spiffe_id=str(self._spiffe_id(IdentityKind.GATEWAY, None, spec.name)),
            endpoint=f"127.0.0.1:{spec.port}",
            signing_key=self._ed25519(folder / "signing.key"),
        )
        if first is None:
            entry.log_key = self._ed25519(folder / "log.key")
            entry.log_origin = f"{self._wishes.federation}/gateway/{spec.name}"
            return entry
        held = self._layout.gateway(self._wishes.gateway.name) / "log.key"
        self._write(folder / "log.key", held.read_bytes())
        entry.log_key, entry.log_origin = first.log_key, first.log_origin
        return entry

    def _make_partner(self, spec: PartnerSpec) -> pb.SignedPartnerEntry:
        root = Ed25519PrivateKey.generate()
        root_folder = self._folder(self._layout.partner(spec.partner_id) / "root")
        signing.save_key(root_folder / "root.key", root)
        self._pins[spec.partner_id] = signing.digest(signing.public_bytes(root))
        user_authority = self._make_authority(spec)
        for user in spec.users:
            self._make_user(spec, user, user_authority)
        self._make_node_certificate(spec)
        node, oversight = (
            self._layout.node(spec.partner_id),
            self._folder(self._layout.partner(spec.partner_id) / "oversight"),
        )
        entry = pb.PartnerEntry(
            partner_id=spec.partner_id,
            display_name=spec.display_name,
            kind=pb.PartnerKind.Name(spec.kind.to_wire()),  # type: ignore[arg-type]
            country=spec.country,
            nodes=[
                pb.NodeEntry(
                    spiffe_id=str(self._spiffe_id(IdentityKind.NODE, spec.partner_id, spec.node)),
                    endpoint=f"127.0.0.1:{spec.port}",
                )
            ],
            signing_key=self._ed25519(node / "signing.key"),
            sealing_key=self._sealing(node / "sealing.seed"),
            mask_key=self._x25519(node / "mask.key"),
            witness_key=self._ed25519(node / "witness.key"),
            user_authority=user_authority.certificate.public_bytes(serialization.Encoding.DER),
            oversight_key=self._sealing(oversight / "oversight.seed"),
            schemes=spec.schemes,
            protocol_versions=[1],
            sequence=1,
            root_key=signing.public_bytes(root),
            contact_desk=f"desk@{spec.partner_id}.{self._wishes.federation}",
        )
        return sign_entry(entry, root)

    def _make_authority(self, spec: PartnerSpec) -> Issuer:
        folder = self._folder(self._layout.authority(spec.partner_id))
        made = authority.create_ca(
            common_name=f"{spec.partner_id} user authority (development)",
            now=self._now,
            lifetime=self._wishes.lifetimes.ca,
        )
        made.save(folder / "authority.pem", folder / "authority.key")
        self._authorities[spec.partner_id] = made
        return made

    def _make_user(self, spec: PartnerSpec, user: UserSpec, issuer: Issuer) -> None:
        folder = self._folder(self._layout.user(spec.partner_id, user.pseudonym))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority.issue_user(
            issuer,
            federation=self._wishes.federation,
            partner_id=spec.partner_id,
            pseudonym=user.pseudonym,
            roles=user.roles,
            public_key=key.public_key(),
            now=self._now,
            lifetime=self._wishes.lifetimes.user,
        )
        authority.save_certificate(folder / "user.pem", certificate)
        signing.save_key(folder / "user.key", key)

    def _make_node_certificate(self, spec: PartnerSpec) -> None:
        folder = self._folder(self._layout.node(spec.partner_id))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority.issue_node(
            self._ca,
            federation=self._wishes.federation,
            partner_id=spec.partner_id,
            name=spec.node,
            public_key=key.public_key(),
            hosts=HOSTS,
            now=self._now,
            lifetime=self._wishes.lifetimes.leaf,
        )
        authority.save_certificate(folder / "tls.pem", certificate)
        signing.save_key(folder / "tls.key", key)
        self._write(folder / "index.key", secrets.token_hex(32).encode())
        self._write(folder / "noise.secret", secrets.token_bytes(32))

    def _make_lists(
        self, entries: Sequence[pb.SignedPartnerEntry], gateways: Sequence[pb.GatewayEntry]
    ) -> bytes:
        lifetimes = self._wishes.lifetimes
        appointed = _appointed([spec.partner_id for spec in self._wishes.partners])
        directory = sign_directory(
            pb.Directory(
                federation=self._wishes.federation,
                serial=1,
                issued_at=int(self._now),
                expires_at=int(self._now + lifetimes.directory.total_seconds()),
                partners=entries,
                gateways=gateways,
                federation_ca=self._ca.certificate.public_bytes(serialization.Encoding.DER),
                release_tick_ms=self._wishes.release_tick_ms,
                audit_committee=appointed.committee,
                audit_threshold=appointed.threshold,
                tolerated_witnesses=appointed.tolerated,
            ),
            self._operators,
        )
        deny_lists = sign_deny_lists(
            self._operators,
            self._authorities,
            serial=1,
            now=self._now,
            lifetime=lifetimes.deny_lists,
        )
        self._write(self._layout.directory, directory)
        self._write(self._layout.deny_lists, deny_lists)
        return directory

    def _write_pins(self) -> None:
        def keys(privates: Sequence[Ed25519PrivateKey]) -> str:
            return json.dumps([signing.public_bytes(key).hex() for key in privates])

        lines = [
            f'federation = "{self._wishes.federation}"',
            f"operators = {keys(self._operators)}",
            f"policy_officers = {render_officers(self._officers())}",
            "",
            "[partners]",
            *(f'{partner} = "{pin.hex()}"' for partner, pin in self._pins.items()),
        ]
        self._write(self._layout.pins, ("\n".join(lines) + "\n").encode())

    def _officers(self) -> list[Officer]:
        """Each of another partner, as far as there are partners."""
        partners = sorted(spec.partner_id for spec in self._wishes.partners)
        organisations = [*partners, *(f"absent-{number}" for number in range(OFFICERS))]
        return [
            Officer(
                key=signing.public_bytes(key), person=f"u-so{number}", organisation=organisation
            )
            for number, (key, organisation) in enumerate(
                zip(self._policy_keys, organisations, strict=False), 1
            )
        ]

    def _verify(self, directory: bytes) -> None:
        operators = [signing.public_bytes(key) for key in self._operators]
        verified = Directory.from_signed(
            directory, operators=operators, pins=self._pins, now=self._now
        )
        DenyLists().update(
            self._layout.deny_lists.read_bytes(),
            directory=verified,
            operators=operators,
            now=self._now,
        )

    def _spiffe_id(self, kind: IdentityKind, partner_id: str | None, name: str) -> SpiffeId:
        return SpiffeId(
            federation=self._wishes.federation, kind=kind, partner_id=partner_id, name=name
        )

    def _folder(self, path: Path) -> Path:
        for folder in (*reversed(path.relative_to(self._layout.root).parents), Path()):
            (self._layout.root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self._write(path / DEVELOPMENT_MARKER, MARKER_TEXT.encode())
        return path

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(data)

    @staticmethod
    def _ed25519(path: Path) -> bytes:
        key = Ed25519PrivateKey.generate()
        signing.save_key(path, key)
        return signing.public_bytes(key)

    @staticmethod
    def _sealing(path: Path) -> bytes:
        key = SealingKey.generate()
        key.save(path)
        return key.public_bytes()

    @classmethod
    def _x25519(cls, path: Path) -> bytes:
        key = X25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        cls._write(path, pem)
        return key.public_key().public_bytes_raw()


def _appointed(partners: Sequence[str]) -> Appointed:
    """The first three partners as a committee of which two open; every partner is a witness, and
    one of four or more may lie."""
    committee = tuple(sorted(partners)[:3])
    if len(committee) < MIN_COMMITTEE:
        return Appointed()
    return Appointed(committee=committee, threshold=MIN_COMMITTEE, tolerated=int(len(partners) > 3))
