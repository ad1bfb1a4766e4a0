"""The manifest of a snapshot: what an owner signs, and what an asker verifies before it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.audience import Audience
from fairlead.blinding import check_epoch, check_public_key
from fairlead.errors import Forged, InvalidInput, Refused, Stale
from fairlead.identifiers import NORM_VERSION
from fairlead.names import check_code
from fairlead.partners import MAX_TEXT, SKEW_S, Directory
from fairlead.snapshot import DIGEST_SIZE, check_count
from fairlead.v1 import audit_pb2
from fairlead.v1 import blind_pb2 as pb

DOMAIN = "blind-manifest"
MAX_DESKS = 64
MAX_LIFE_S = 62 * 86_400
"""Seconds that a key may answer: the longest epoch and the longest overlap, 31 days each."""
MAX_MANIFEST = 256 * 1024
"""Octets: 1,024 partners and 64 desks fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest. ``digest`` is that of its octets: the next one of its line names it.

    A key evaluates from ``begins_at`` until ``answers_until`` (unix seconds); ``ends_at`` is when
    the next epoch's snapshot takes over.
    """

    federation: str
    owner: str
    node: str
    audience: Audience
    epoch: int
    begins_at: int
    ends_at: int
    answers_until: int
    scheme: str
    norm_version: int
    serial: int
    predecessor: bytes
    public_key: bytes
    entry_count: int
    snapshot_digest: bytes
    contact_desks: tuple[str, ...]
    made_at: int
    digest: bytes = b""
    pages_root: bytes = b""

    @property
    def line(self) -> bytes:
        """32 octets that name what manifests follow one another in: one node, the same partners,
        purposes and scheme, through epochs and policies."""
        parts = (self.node, ",".join(self.audience.partners), ",".join(self.audience.purposes),
                 self.scheme)  # fmt: skip
        return signing.digest(signing.preimage("manifest-line", "|".join(parts).encode()))

    def to_wire(self) -> bytes:
        """The octets that are signed."""
        content = {n: getattr(self, n) for n in self.__slots__ if n not in {"audience", "digest"}}
        return signing.canonical(pb.BlindManifest(audience=self.audience.to_wire(), **content))


def verify_manifest(
    signed: pb.SignedBlindManifest,
    *,
    directory: Directory,
    partner_id: str,
    now: float,
    previous: Manifest | None = None,
) -> Manifest:
    """Verify a manifest as its reader, a node of ``partner_id``.

    1. The directory lists its owner, and the owner's key signed these octets.
    2. It is of this federation, and of a node of that owner.
    3. Its class is well formed and holds the reader.
    4. Its key is a point, its count a rung, its digests have their sizes.
    5. Its canonical forms are the reader's: another version would miss silently.
    6. Its key answers now.
    7. After ``previous`` of the same line: the next serial and that one's digest; without one,
       it is the first or names a predecessor.

    :raises Forged: ``SIGNATURE``, ``MANIFEST_OWNER`` or ``MANIFEST_CHAIN``.
    :raises InvalidInput: malformed: ``MANIFEST`` or the part's own code.
    :raises NotFound: an owner the directory does not list. :raises Refused: ``NOT_IN_AUDIENCE``.
    :raises Stale: ``NORM_VERSION`` or ``EPOCH_OVER``.
    """
    # 1 to 3
    manifest = _signed_by_owner(signed, directory)
    if partner_id not in manifest.audience.partners:
        raise Refused("a manifest is for others", reasons=("NOT_IN_AUDIENCE",))
    # 4
    _check_content(manifest)
    # 5
    if manifest.norm_version != NORM_VERSION:
        raise Stale(
            "a snapshot was made with another version of canonical forms",
            reasons=("NORM_VERSION",),
            remedy="install the version of Fairlead that the owner runs, or ask it to upgrade",
        )
    # 6
    if not manifest.begins_at - SKEW_S <= now < manifest.answers_until:
        raise Stale("a manifest's epoch is not now", reasons=("EPOCH_OVER",))
    # 7
    _check_chain(manifest, previous)
    return manifest


def verify_as_stranger(
    signed: pb.SignedBlindManifest, *, directory: Directory, now: float
) -> Manifest:
    """Verify a manifest as somebody it is not for: the gateway, before it takes it.

    1. Its owner signed it, as in steps 1 to 3 of :func:`verify_manifest`.
    2. It is well formed, as in step 4.
    3. Its epoch has begun. One that is over is still a link of its line.

    :raises FairleadError: as :func:`verify_manifest`.
    """
    # 1
    manifest = _signed_by_owner(signed, directory)
    # 2
    _check_content(manifest)
    # 3
    if now < manifest.begins_at - SKEW_S:
        raise Stale("a manifest's epoch has not begun", reasons=("EPOCH_AHEAD",))
    return manifest


def follows(manifest: Manifest, newest: Manifest) -> bool:
    """Whether a manifest may come after the newest one known of its line: a later serial and no
    earlier epoch, and the direct successor names it. What lies between was never accepted."""
    linked = (
        manifest.serial != newest.serial + 1 or manifest.predecessor == newest.digest
    ) and manifest.line == newest.line
    return linked and manifest.serial > newest.serial and manifest.epoch >= newest.epoch


ACCEPTED = "manifest-accepted"
"""Subject of the gateway's PUBLICATION leaf of a manifest."""


def check_accepted(leaf: bytes, manifest: Manifest) -> None:
    """:raises Forged: ``leaf`` is not the gateway's PUBLICATION leaf of exactly this manifest."""
    content = signing.parse_canonical(audit_pb2.AuditLeaf, leaf, limit=64 * 1024)
    told = (content.type, content.subject, content.manifest_digest, content.partner_id)
    if told != (audit_pb2.LEAF_TYPE_PUBLICATION, ACCEPTED, manifest.digest, manifest.owner):
        raise Forged(
            "a receipt is not of this manifest",
            reasons=("MANIFEST_RECEIPT",),
            remedy="tell the gateway's operator: it shows a manifest that its log does not hold",
        )


def sign_manifest(
    manifest: Manifest, key: Ed25519PrivateKey
) -> tuple[pb.SignedBlindManifest, bytes]:
    """The manifest under its owner's key, and the digest of its octets.

    :raises InvalidInput: as :func:`verify_manifest`, for what nobody would accept.
    """
    _check_content(manifest)
    octets = manifest.to_wire()
    if len(octets) > MAX_MANIFEST:
        raise _malformed()
    signature = signing.sign(key, DOMAIN, octets)
    return pb.SignedBlindManifest(manifest=octets, signature=signature), signing.digest(octets)


def read_manifest(signed: pb.SignedBlindManifest) -> Manifest:
    """What a manifest says that its reader made or verified itself; nothing is verified.

    :raises InvalidInput: malformed.
    """
    content = signing.parse_canonical(pb.BlindManifest, signed.manifest, limit=MAX_MANIFEST)
    return _read(content, signing.digest(signed.manifest))


def _signed_by_owner(signed: pb.SignedBlindManifest, directory: Directory) -> Manifest:
    content = signing.parse_canonical(pb.BlindManifest, signed.manifest, limit=MAX_MANIFEST)
    owner = directory.partner(content.owner)
    signing.verify(owner.signing_key, DOMAIN, signed.manifest, signed.signature)
    named = f"spiffe://{directory.federation}/{content.node}"
    if content.federation != directory.federation or named not in {
        node.spiffe_id for node in owner.nodes
    }:
        raise Forged("a manifest is of another node", reasons=("MANIFEST_OWNER",))
    return _read(content, signing.digest(signed.manifest))


def _read(content: pb.BlindManifest, digest: bytes) -> Manifest:
    return Manifest(
        federation=content.federation,
        owner=content.owner,
        node=content.node,
        audience=Audience.from_wire(content.audience),
        epoch=content.epoch,
        begins_at=content.begins_at,
        ends_at=content.ends_at,
        answers_until=content.answers_until,
        scheme=check_code(content.scheme),
        norm_version=content.norm_version,
        serial=content.serial,
        predecessor=content.predecessor,
        public_key=content.public_key,
        entry_count=content.entry_count,
        snapshot_digest=content.snapshot_digest,
        contact_desks=tuple(content.contact_desks),
        made_at=content.made_at,
        digest=digest,
        pages_root=content.pages_root,
    )


def _check_content(manifest: Manifest) -> None:
    check_epoch(manifest.epoch)
    check_public_key(manifest.public_key)
    check_count(manifest.entry_count)
    first = manifest.serial == 1
    times = (manifest.begins_at, manifest.ends_at, manifest.answers_until)
    well_formed = (
        0 < manifest.serial < 2**63
        and len(manifest.predecessor) == (0 if first else DIGEST_SIZE)
        and len(manifest.snapshot_digest) == DIGEST_SIZE
        and len(manifest.pages_root) in (0, DIGEST_SIZE)
        and 0 <= times[0] < times[1] <= times[2] <= times[0] + MAX_LIFE_S
        and 0 <= manifest.made_at < manifest.answers_until
        and _desks_fit(manifest.contact_desks)
    )
    if not well_formed:
        raise _malformed()


def _desks_fit(desks: Sequence[str]) -> bool:
    return len(desks) <= MAX_DESKS and all(0 < len(desk) <= MAX_TEXT for desk in desks)


def _check_chain(manifest: Manifest, previous: Manifest | None) -> None:
    if previous is None:
        return  # a reader that joins later begins anywhere
    same = (manifest.owner, manifest.node, manifest.scheme, manifest.audience.partners,
            manifest.audience.purposes) == (previous.owner, previous.node, previous.scheme,
            previous.audience.partners, previous.audience.purposes)  # fmt: skip
    follows = manifest.serial == previous.serial + 1 and manifest.predecessor == previous.digest
    if not (same and follows and manifest.epoch >= previous.epoch):
        raise Forged(
            "a manifest does not follow the one before it",
            reasons=("MANIFEST_CHAIN",),
            remedy="keep both, and tell the owner's contact desk",
        )


def _malformed() -> InvalidInput:
    return InvalidInput("a manifest is not well formed", reasons=("MANIFEST",))
