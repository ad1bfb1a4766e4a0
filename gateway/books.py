"""The federation's books as they lie at its gateway: directory, operators' deny list, pins, CA.

What was published last is read here without asking whether it has expired: a directory that ran
out must still be renewable. Each file is replaced in one step; the pins come before the directory
that needs them, and the running gateway takes both up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from fairlead import process, signing
from fairlead.appointed import Appointed
from fairlead.authority import Issuer, load_certificate
from fairlead.config import GatewayConfig
from fairlead.enrolment.invitation import Invitation
from fairlead.errors import NotFound
from fairlead.keyfile import private_folder, write_private
from fairlead.lists import OPERATORS, deny_list
from fairlead.partners import Directory, Partner, verify_operators
from fairlead.policy.bundle import Bundle
from fairlead.policy.manifest import MANIFEST, approved, parse_manifest
from fairlead.trust import Trust
from fairlead.v1 import directory_pb2 as pb
from gateway.drafts import DraftDesk, Signed

DIRECTORY_LIFETIME_S = 30 * 86_400
DENY_LIST_LIFETIME_S = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The current state. ``directory.serial`` 0 means founded, and not yet signed."""

    config: GatewayConfig
    trust: Trust
    directory: pb.Directory
    denied: pb.DenyList
    lists: tuple[pb.SignedDenyList, ...]

    @classmethod
    def load(cls, config: GatewayConfig) -> Books:
        """Read the books; what two operators signed is verified.

        :raises Forged: the directory or the operators' deny list is not signed by two of them.
        :raises Misconfigured: a file is missing or unreadable.
        """
        trust = Trust.load(config.pins)
        signed = signing.parse_canonical(pb.SignedDirectory, config.directory.read_bytes())
        directory = signing.parse_canonical(pb.Directory, signed.directory)
        if directory.serial:
            verify_operators(signed.directory, signed.signatures, "directory", trust.operators)
        lists = signing.parse_canonical(pb.DenyListBundle, config.deny_lists.read_bytes()).lists
        denied = pb.DenyList(issuer=OPERATORS)
        others = []
        for item in lists:
            content = signing.parse_canonical(pb.DenyList, item.deny_list)
            if content.issuer != OPERATORS:
                others.append(item)
                continue
            verify_operators(item.deny_list, item.signatures, "deny-list", trust.operators)
            denied = content
        return cls(
            config=config,
            trust=trust,
            directory=directory,
            denied=denied,
            lists=tuple(others),
        )

    # ── Read ─────────────────────────────────────────────────────────────────────────────────

    def entries(self) -> dict[str, pb.SignedPartnerEntry]:
        """Partner id → its entry as listed."""
        return {
            signing.parse_canonical(pb.PartnerEntry, item.entry).partner_id: item
            for item in self.directory.partners
        }

    def partner(self, partner_id: str) -> Partner:
        """A listed partner, verified under its pinned root.

        :raises NotFound: nobody of that id.
        """
        entry = self.entries().get(partner_id)
        if entry is None:
            raise NotFound(
                "the directory lists no such partner",
                reasons=("UNKNOWN_PARTNER",),
                remedy="fairlead-gateway partner list",
            )
        return Partner.from_signed(entry, self.trust.roots.get(partner_id, b""))

    def invitation(self) -> Invitation:
        """What a partner that wants to join starts from.

        :raises NotFound: the directory does not list this gateway.
        """
        gateway = self.gateway()
        return Invitation(
            federation=self.trust.federation,
            gateway=gateway.endpoint,
            gateway_id=gateway.spiffe_id,
            operators=self.trust.operators,
            policy_officers=self.trust.policy_officers,
            federation_ca=signing.digest(self.directory.federation_ca),
        )

    def gateway(self) -> pb.GatewayEntry:
        """The entry of the gateway whose books these are.

        :raises NotFound: the directory does not list this gateway.
        """
        gateway_id = f"spiffe://{self.trust.federation}/gateway/{self.config.name}"
        for gateway in self.directory.gateways:
            if gateway.spiffe_id == gateway_id:
                return gateway
        raise NotFound(
            "the directory does not list this gateway",
            reasons=("UNKNOWN_GATEWAY",),
            remedy="correct name in the configuration: fairlead-gateway config show",
        )

    def certificate_authority(self) -> Issuer:
        """The federation CA with its key."""
        return Issuer.load(self.config.keys_dir / "ca.pem", self.config.keys_dir / "ca.key")

    def gateway_certificate(self) -> x509.Certificate:
        """The gateway's own certificate."""
        return load_certificate(self.config.keys_dir / "tls.pem")

    def verified(self, *, now: float) -> Directory:
        """The directory as a participant sees it.

        :raises FairleadError: it does not verify, or has expired.
        """
        return self.trust.directory(self.config.directory, now=now)

    def policy_files(self) -> dict[str, bytes]:
        """The policy bundle as files, verified first.

        :raises PolicyUnavailable: it does not verify.
        """
        return self.policy(now=time.time()).as_files()

    def policy_end(self) -> tuple[int, int, bool]:
        """Serial and end of the release that lies there, expired or not, and whether it still waits
        for a second person.

        :raises PolicyUnavailable: two people of two organisations did not approve it.
        """
        signed = parse_manifest((self.config.policy_dir / MANIFEST).read_bytes())
        found = approved(signed, self.trust.policy_officers, two_organisations=True)
        return signed.manifest.serial, signed.manifest.not_after, not found.complete

    def policy(self, *, now: float) -> Bundle:
        """The policy bundle, verified.

        :raises PolicyUnavailable: it does not verify.
        """
        return process.policy_place(self.config, lambda: self.trust).federation(now=now)

    def desk(self) -> DraftDesk:
        """Where drafts wait for the second operator."""
        return DraftDesk(private_folder(self.config.state_dir) / "drafts", self.trust.operators)

    # ── Derive ───────────────────────────────────────────────────────────────────────────────

    def next_directory(
        self,
        at: int,
        entries: Mapping[str, pb.SignedPartnerEntry] | None = None,
        appointed: Appointed | None = None,
        gateways: Sequence[pb.GatewayEntry] = (),
    ) -> bytes:
        """The next directory's octets, unsigned: other entries, others appointed, another or a
        further entry of a gateway, or the same for longer."""
        listed = self.entries() if entries is None else entries
        content = pb.Directory()
        content.CopyFrom(self.directory)
        if appointed is not None:
            appointed.put(content)
        places = {entry.spiffe_id: place for place, entry in enumerate(content.gateways)}
        for entry in gateways:
            place = places.get(entry.spiffe_id)
            (content.gateways.add() if place is None else content.gateways[place]).CopyFrom(entry)
        content.serial += 1
        content.issued_at = at
        content.expires_at = at + DIRECTORY_LIFETIME_S
        del content.partners[:]
        content.partners.extend(listed[partner] for partner in sorted(listed))
        return signing.canonical(content)

    def next_deny_list(self, at: int, spiffe_ids: Iterable[str] | None = None) -> bytes:
        """The operators' next deny list, unsigned."""
        return deny_list(
            OPERATORS,
            self.denied.spiffe_ids if spiffe_ids is None else spiffe_ids,
            serial=self.denied.serial + 1,
            now=at,
            lifetime_s=DENY_LIST_LIFETIME_S,
        )

    # ── Publish ──────────────────────────────────────────────────────────────────────────────

    def publish_directory(self, signed: Signed) -> bytes:
        """Put a directory that two operators signed in place; returns it as transmitted."""
        content, signatures = signed.part("directory")
        data = signing.canonical(pb.SignedDirectory(directory=content, signatures=signatures))
        write_private(self.config.directory, data)
        return data

    def publish_deny_list(self, signed: Signed) -> None:
        """Put an operators' deny list in place; the lists of user authorities stay."""
        content, signatures = signed.part("deny-list")
        own = pb.SignedDenyList(deny_list=content, signatures=signatures)
        bundle = pb.DenyListBundle(lists=[own, *self.lists])
        write_private(self.config.deny_lists, signing.canonical(bundle))

    def pin(self, partner_id: str, root_fingerprint: bytes) -> None:
        """Write a partner's compared root fingerprint into the pins file."""
        self.trust.with_root(partner_id, root_fingerprint).save(self.config.pins)

    def admission_file(self, partner_id: str) -> Path:
        """Where the last admission of a partner is kept."""
        return private_folder(self.config.state_dir / "admissions") / f"{partner_id}.admission"
