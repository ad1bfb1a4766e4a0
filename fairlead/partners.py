"""Partners, their nodes, and the signed directory that says who they are.

Trust in the directory rests on two independent legs: two operators sign the list, and each
partner signs its own entry with an offline root key whose fingerprint the other participants
pinned out of band. Two bought operators can therefore withhold or delay an entry, but not
change a partner's keys. See PROTOCOL §1 and ``docs/protocol.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.appointed import Appointed
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Stale, Unauthenticated
from fairlead.names import check_partner_id
from fairlead.v1 import directory_pb2 as pb

MAX_PARTNERS = 1024
MAX_TEXT = 128
MASK_KEY_SIZE = 32
"""Octets of an X25519 key."""
OPERATOR_QUORUM = 2
MAX_SERIAL = 2**53 - 1
"""Serials and sequences; every log's database and every JSON reader can hold them."""
MAX_DENY_LIST = 64 * 1024
"""Octets of one signed deny list: the lists of all issuers travel in one message."""
SKEW_S = 120
"""Seconds a signed list may seem to come from the future, for clocks that run behind."""
OPERATORS = "operators"
"""The issuer of the deny list about nodes and gateways."""
_FRESH_OPERATORS = "an operator must publish a current one: fairlead-gateway directory renew …"
_FRESH_USERS = "the partner's user authority must run: fairlead-authority serve"
PIN_REMEDY = "fairlead-node partner pin PARTNER --phrase 'twelve words read to you'"


class Sector(StrEnum):
    """Whether a partner exercises public authority."""

    PUBLIC = "public"
    PRIVATE = "private"


class PartnerKind(StrEnum):
    """What kind of organisation a partner is."""

    CUSTOMS = "customs"
    POLICE = "police"
    PORT_AUTHORITY = "port_authority"
    INLAND_PORT = "inland_port"
    EU_AGENCY = "eu_agency"
    TERMINAL = "terminal"
    SHIPPING_LINE = "shipping_line"
    FORWARDER = "forwarder"
    SECURITY_COMPANY = "security_company"

    @property
    def sector(self) -> Sector:
        """Public authorities are public; everybody else is private."""
        public = {"customs", "police", "port_authority", "inland_port", "eu_agency"}
        return Sector.PUBLIC if self.value in public else Sector.PRIVATE

    @classmethod
    def from_wire(cls, value: int) -> PartnerKind:
        """:raises InvalidInput: unspecified or unknown."""
        try:
            name = pb.PartnerKind.Name(value)  # type: ignore[arg-type]
            return cls(name.removeprefix("PARTNER_KIND_").lower())
        except ValueError:
            raise InvalidInput("a partner's kind is unknown", reasons=("PARTNER_KIND",)) from None

    def to_wire(self) -> int:
        """The wire number."""
        return int(pb.PartnerKind.Value(f"PARTNER_KIND_{self.value.upper()}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One of a partner's nodes: its identity and where the gateway dials it."""

    spiffe_id: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """One partner as its own root key describes it. Keys are raw octets."""

    partner_id: str
    display_name: str
    kind: PartnerKind
    country: str
    nodes: tuple[Node, ...]
    signing_key: bytes
    sealing_key: bytes
    mask_key: bytes
    witness_key: bytes
    oversight_key: bytes
    user_authority: x509.Certificate
    schemes: tuple[str, ...]
    contact_desk: str
    sequence: int
    entry_digest: bytes
    root_key: bytes

    @property
    def sector(self) -> Sector:
        """Public or private."""
        return self.kind.sector

    @classmethod
    def from_signed(cls, signed: pb.SignedPartnerEntry, pin: bytes) -> Partner:
        """Verify one entry against the pinned root fingerprint (SHA-256 of the root key).

        :raises Forged: another root, or the root's signature does not cover these octets.
        :raises InvalidInput: malformed content.
        """
        entry = signing.parse_canonical(pb.PartnerEntry, signed.entry, limit=64 * 1024)
        if signing.digest(entry.root_key) != pin:
            raise Forged("a partner's root key is not the pinned one", reasons=("ROOT_PIN",))
        signing.verify(entry.root_key, "partner-entry", signed.entry, signed.root_signature)
        check_serial(entry.sequence)
        if entry.sequence < 1 or (entry.sequence == 1) != (entry.previous_digest == b""):
            raise InvalidInput("a partner entry's chain is broken", reasons=("ENTRY_CHAIN",))
        sealing.check_public_key(entry.sealing_key)
        sealing.check_public_key(entry.oversight_key)
        if len(entry.mask_key) != MASK_KEY_SIZE:
            raise InvalidInput("a partner entry's mask key is none", reasons=("MASK_KEY",))
        if max(len(entry.display_name), len(entry.contact_desk)) > MAX_TEXT:
            raise InvalidInput("a partner entry's text is too long", reasons=("LIMIT",))
        path = f"/partner/{entry.partner_id}/node/"
        if not entry.nodes or not all(path in node.spiffe_id for node in entry.nodes):
            raise InvalidInput("a partner entry lists no node of its own", reasons=("NODES",))
        return cls(
            partner_id=check_partner_id(entry.partner_id),
            display_name=entry.display_name,
            kind=PartnerKind.from_wire(entry.kind),
            country=entry.country,
            nodes=tuple(Node(spiffe_id=n.spiffe_id, endpoint=n.endpoint) for n in entry.nodes),
            signing_key=entry.signing_key,
            sealing_key=entry.sealing_key,
            mask_key=entry.mask_key,
            witness_key=entry.witness_key,
            oversight_key=entry.oversight_key,
            user_authority=_certificate(entry.user_authority),
            schemes=tuple(entry.schemes),
            contact_desk=entry.contact_desk,
            sequence=entry.sequence,
            entry_digest=signing.digest(signed.entry),
            root_key=entry.root_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway: its identity, its keys and the origin of its audit log."""

    spiffe_id: str
    endpoint: str
    signing_key: bytes
    log_key: bytes
    log_origin: str
    former_checkpoint: str = ""
    """Of the log before this one, where it had to begin anew under another origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The verified directory.

    ``listed`` holds every partner's id in order, as digests on the wire are; ``partners`` holds
    those whose root key is pinned here, and ``unpinned`` the SHA-256 of the root key that each
    of the others claims. An unpinned partner is not asked, not answered and not served.
    """

    federation: str
    serial: int
    issued_at: int
    expires_at: int
    listed: tuple[str, ...]
    partners: Mapping[str, Partner]
    unpinned: Mapping[str, bytes]
    gateways: Mapping[str, Gateway]
    federation_ca: x509.Certificate
    release_tick_s: float
    digest: bytes
    appointed: Appointed

    @classmethod
    def from_signed(
        cls,
        data: bytes,
        *,
        operators: Sequence[bytes],
        pins: Mapping[str, bytes],
        now: float,
        previous: Directory | None = None,
    ) -> Directory:
        """Verify a directory as transmitted (``pb.SignedDirectory`` octets).

        1. Two different configured operators signed these octets.
        2. It is in force now, its beginning seen with :data:`SKEW_S`, and not older than
           ``previous``.
        3. Every entry whose root is pinned is signed by that root; any other is only listed.
        4. Against ``previous``: an unchanged sequence means unchanged octets; a changed entry
           has the next sequence and names its predecessor, or a later one and does not.

        :param operators: raw Ed25519 keys; :param pins: partner id → SHA-256 of its root key.
        :raises Forged: any signature, pin or chain is wrong.
        :raises Stale: expired, not yet valid, or an older serial.
        :raises InvalidInput: malformed.
        """
        signed = signing.parse_canonical(pb.SignedDirectory, data)
        # 1
        verify_operators(signed.directory, signed.signatures, "directory", operators)
        content = signing.parse_canonical(pb.Directory, signed.directory)
        check_serial(content.serial)
        # 2
        if not content.issued_at - SKEW_S <= now < content.expires_at:
            raise Stale(
                "the directory is not in force",
                reasons=("DIRECTORY_EXPIRED",),
                remedy="fetch the current directory from an operator",
            )
        if previous is not None and content.serial < previous.serial:
            raise Stale("the directory is older than one seen", reasons=("DIRECTORY_OLDER",))
        if len(content.partners) > MAX_PARTNERS:
            raise InvalidInput("the directory has too many partners", reasons=("LIMIT",))
        # 3
        listed: list[str] = []
        partners: dict[str, Partner] = {}
        unpinned: dict[str, bytes] = {}
        for entry in content.partners:
            claimed = signing.parse_canonical(pb.PartnerEntry, entry.entry)
            if listed and claimed.partner_id <= listed[-1]:
                raise InvalidInput("the directory is not in order", reasons=("NOT_CANONICAL",))
            listed.append(check_partner_id(claimed.partner_id))
            pin = pins.get(claimed.partner_id)
            if pin is None:
                unpinned[claimed.partner_id] = signing.digest(claimed.root_key)
                continue
            partner = partners[claimed.partner_id] = Partner.from_signed(entry, pin)
            # 4
            _check_chain(partner, entry, previous)
        return cls(
            federation=content.federation,
            serial=content.serial,
            issued_at=content.issued_at,
            expires_at=content.expires_at,
            listed=tuple(listed),
            partners=MappingProxyType(partners),
            unpinned=MappingProxyType(unpinned),
            gateways=MappingProxyType(_gateways(content)),
            federation_ca=_certificate(content.federation_ca),
            release_tick_s=content.release_tick_ms / 1000,
            digest=signing.digest(signed.directory),
            appointed=Appointed.from_wire(content, listed),
        )

    def partner(self, partner_id: str) -> Partner:
        """:raises NotFound: UNKNOWN_PARTNER, or ROOT_UNPINNED for one that is only listed."""
        if partner_id in self.unpinned:
            raise NotFound(
                "a partner's root key is not pinned here",
                reasons=("ROOT_UNPINNED",),
                remedy=PIN_REMEDY,
            )
        try:
            return self.partners[partner_id]
        except KeyError:
            raise NotFound(
                "no such partner in the directory",
                reasons=("UNKNOWN_PARTNER",),
                remedy="fairlead partners",
            ) from None

    def place(self, partner_id: str) -> int:
        """A listed partner's position in every list of digests.

        :raises NotFound: not listed.
        """
        try:
            return self.listed.index(partner_id)
        except ValueError:
            raise NotFound(
                "no such partner in the directory", reasons=("UNKNOWN_PARTNER",)
            ) from None

    @property
    def current(self) -> Directory:
        """Itself: a single directory is the shortest history (see :class:`Directories`)."""
        return self

    @property
    def asking(self) -> Directory:
        """Itself; see :class:`Directories`."""
        return self

    @property
    def recent(self) -> tuple[Directory, ...]:
        """Itself; see :class:`Directories`."""
        return (self,)

    def at(self, serial: int) -> Directory:
        """Itself, when it has that serial.

        :raises Stale: DIRECTORY_MISMATCH.
        """
        if serial != self.serial:
            raise directory_mismatch()
        return self

    @property
    def gateway(self) -> Gateway:
        """The federation's gateway (one log origin).

        :raises NotFound: the directory lists none.
        """
        for gateway in self.gateways.values():
            return gateway
        raise NotFound("the directory lists no gateway", reasons=("NO_GATEWAY",))

    def gateway_at(self, endpoint: str) -> Gateway:
        """The gateway that is reached at an endpoint; where none is listed there, the first.

        :raises NotFound: the directory lists none.
        """
        for gateway in self.gateways.values():
            if gateway.endpoint == endpoint:
                return gateway
        return self.gateway

    def check_current(self, now: float) -> None:
        """:raises Stale: the directory has expired since it was loaded."""
        if now >= self.expires_at:
            raise Stale("the directory has expired", reasons=("DIRECTORY_EXPIRED",))


class Directories(Protocol):
    """A directory and those before it; :class:`Directory` itself is the one without any."""

    @property
    def current(self) -> Directory:
        """The newest verified one."""

    @property
    def asking(self) -> Directory:
        """The newest one that the gateway serves too: what new queries are made under."""

    @property
    def recent(self) -> tuple[Directory, ...]:
        """:attr:`asking`, and those before it that still verify, newest first."""

    def at(self, serial: int) -> Directory:
        """The one a query of that serial was made under.

        :raises Stale: DIRECTORY_MISMATCH: unknown, or superseded too long ago.
        """


def check_serial(serial: int) -> None:
    """:raises InvalidInput: LIMIT: no successor, and no database, could hold it."""
    if serial > MAX_SERIAL:
        raise InvalidInput("a serial is larger than allowed", reasons=("LIMIT",))


def directory_mismatch() -> Stale:
    """The error of a query made under a directory that is not known here, or no longer."""
    return Stale(
        "the query was made under another directory",
        reasons=("DIRECTORY_MISMATCH",),
        remedy="fetch the current directory and ask again",
    )


def _check_chain(
    partner: Partner, entry: pb.SignedPartnerEntry, previous: Directory | None
) -> None:
    old = previous.partners.get(partner.partner_id) if previous else None
    if old is None or old.entry_digest == partner.entry_digest:
        return
    named = signing.parse_canonical(pb.PartnerEntry, entry.entry).previous_digest
    follows = partner.sequence == old.sequence + 1 and named == old.entry_digest
    # Entries between may have been missed; the pinned root signed this one, and it is later.
    later = partner.sequence > old.sequence + 1 and named != old.entry_digest
    if not follows and not later:
        raise Forged("a partner's entry does not follow its predecessor", reasons=("ENTRY_CHAIN",))


def _gateways(content: pb.Directory) -> dict[str, Gateway]:
    """The gateways; several may share one log, and then they sign it with one key."""
    found = {entry.spiffe_id: _gateway(entry) for entry in content.gateways}
    signers = {(gateway.log_origin, gateway.log_key) for gateway in found.values()}
    if len(signers) != len({origin for origin, _ in signers}):
        raise Forged("one log has two keys in the directory", reasons=("DIRECTORY",))
    return found


def _gateway(entry: pb.GatewayEntry) -> Gateway:
    return Gateway(
        spiffe_id=entry.spiffe_id,
        endpoint=entry.endpoint,
        signing_key=entry.signing_key,
        log_key=entry.log_key,
        log_origin=entry.log_origin,
        former_checkpoint=entry.former_checkpoint,
    )


def _certificate(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InvalidInput("a certificate cannot be decoded", reasons=("CERTIFICATE",)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("a certificate's key is not P-256", reasons=("CERTIFICATE",))
    return certificate


def verify_operators(
    data: bytes,
    signatures: Sequence[pb.OperatorSignature],
    domain: str,
    operators: Sequence[bytes],
    *,
    quorum: int = OPERATOR_QUORUM,
) -> None:
    """Require ``quorum`` *different* configured operators to have signed ``data``.

    :raises Forged: fewer, or any presented signature of a known operator is wrong.
    """
    known = {signing.digest(key): key for key in operators}
    signers: set[bytes] = set()
    for item in signatures[:16]:
        key = known.get(item.key_id)
        if key is not None:
            signing.verify(key, domain, data, item.signature)
            signers.add(item.key_id)
    if len(signers) < quorum:
        raise Forged("too few operators signed", reasons=("OPERATOR_QUORUM",))


def sign_as_operator(private: Ed25519PrivateKey, domain: str, data: bytes) -> pb.OperatorSignature:
    """One operator's signature over ``data`` in ``domain``."""
    return pb.OperatorSignature(
        key_id=signing.digest(signing.public_bytes(private)),
        signature=signing.sign(private, domain, data),
    )


class DenyLists:
    """Identities refused although their certificates have not expired.

    Operators (two signatures) speak about nodes and gateways; a partner's user authority speaks
    about that partner's users, and about nobody else's. No valid list, no entry: an identity
    whose issuer has no current list is refused.
    """

    def __init__(self) -> None:
        self._lists: dict[str, pb.DenyList] = {}
        self._signed: dict[str, pb.SignedDenyList] = {}
        self.outdone = False
        """Whether the last bundle held something older than what is held."""
        self.refused: FairleadError | None = None
        """Why the first list of the last bundle that did not verify was left out."""

    def update(
        self, data: bytes, *, directory: Directory, operators: Sequence[bytes], now: float
    ) -> bool:
        """Take over every newer list of a ``pb.DenyListBundle`` that verifies.

        Each issuer's list stands for itself: one that does not verify keeps nobody else's from
        counting, or one authority could keep everybody's suspensions from everybody. Lists of
        issuers that are not pinned here are left out, for nobody of theirs is let in; lists
        older than the ones held are left out too, unless the bundle has nothing newer.

        :returns: whether anything changed; :attr:`refused` then says what was left out.
        :raises Forged: nothing is newer, and a signature is wrong, an issuer speaks about
            somebody else's, or DENY_LIST_FORK: two lists of one issuer and serial that differ.
        :raises Stale: nothing in the bundle is newer and something older, or not yet valid.
        """
        fresh: dict[str, pb.SignedDenyList] = {}
        contents = dict(self._lists)
        older, self.refused = False, None
        for signed in signing.parse_canonical(pb.DenyListBundle, data).lists:
            try:
                content = self._read(signed, directory, operators, now)
                if content is None:
                    continue
                held = contents.get(content.issuer)
                if held is not None and content != held and content.serial == held.serial:
                    raise Forged("two deny lists have one serial", reasons=("DENY_LIST_FORK",))
            except FairleadError as error:
                self.refused = self.refused or error
                continue
            if held is not None and content.serial < held.serial:
                older = True
            elif content != held:
                fresh[content.issuer] = signed
                contents[content.issuer] = content
        if self.refused is not None and not fresh:
            raise self.refused
        if older and not fresh:
            raise Stale("a deny list is older than the one held", reasons=("DENY_LIST_OLDER",))
        self.outdone = older
        self._lists, self._signed = contents, {**self._signed, **fresh}
        return bool(fresh)

    def _read(
        self,
        signed: pb.SignedDenyList,
        directory: Directory,
        operators: Sequence[bytes],
        now: float,
    ) -> pb.DenyList | None:
        """One verified list, held already or not, or None of an issuer that is not pinned here."""
        if signed.ByteSize() > MAX_DENY_LIST:
            raise InvalidInput("a deny list is larger than allowed", reasons=("TOO_LARGE",))
        content = signing.parse_canonical(pb.DenyList, signed.deny_list)
        if content.issuer != OPERATORS and content.issuer not in directory.partners:
            return None
        if signed == self._signed.get(content.issuer):
            return self._lists[content.issuer]
        check_serial(content.serial)
        self._verify(content, signed, directory, operators)
        if content.issued_at - SKEW_S > now:
            raise Stale(
                "a deny list is not valid yet",
                reasons=("DENY_LIST_OLDER", "CLOCK_SKEW"),
                remedy="compare the clocks of the issuer and of this machine",
            )
        return content

    def bundle(self) -> bytes:
        """Every list held, as transmitted (``pb.DenyListBundle``)."""
        lists = [self._signed[issuer] for issuer in sorted(self._signed)]
        return signing.canonical(pb.DenyListBundle(lists=lists))

    @staticmethod
    def _verify(
        content: pb.DenyList,
        signed: pb.SignedDenyList,
        directory: Directory,
        operators: Sequence[bytes],
    ) -> None:
        if content.issuer == OPERATORS:
            verify_operators(signed.deny_list, signed.signatures, "deny-list", operators)
            return
        authority = directory.partner(content.issuer).user_authority.public_key()
        prefix = f"spiffe://{directory.federation}/partner/{content.issuer}/user/"
        if not all(item.startswith(prefix) for item in content.spiffe_ids):
            raise Forged("a deny list speaks about another issuer's identities", reasons=("SCOPE",))
        if len(signed.signatures) != 1 or not isinstance(authority, ec.EllipticCurvePublicKey):
            raise Forged("a deny list is not signed by its issuer", reasons=("SIGNATURE",))
        signing.verify_as_user(
            authority, "deny-list", signed.deny_list, signed.signatures[0].signature
        )

    def serials(self) -> dict[str, int]:
        """Issuer → serial of the list held."""
        return {issuer: content.serial for issuer, content in self._lists.items()}

    def expiries(self) -> dict[str, float]:
        """Issuer → Unix seconds at which the list held expires."""
        return {issuer: float(content.expires_at) for issuer, content in self._lists.items()}

    def check(self, spiffe_id: str, now: float) -> None:
        """Refuse an identity that is denied, or about which nothing current is known.

        :raises Unauthenticated: DENIED, or DENY_LIST_EXPIRED.
        """
        segments = spiffe_id.split("/")
        issuer = segments[4] if len(segments) == 7 and segments[5] == "user" else OPERATORS
        held = self._lists.get(issuer)
        if held is None or now >= held.expires_at:
            raise Unauthenticated(
                "there is no current deny list for this kind of identity",
                reasons=("DENY_LIST_EXPIRED",),
                remedy=_FRESH_OPERATORS if issuer == OPERATORS else _FRESH_USERS,
            )
        if spiffe_id in held.spiffe_ids:
            raise Unauthenticated(
                "this identity is on the deny list",
                reasons=("DENIED",),
                remedy="ask who suspended it: a user's own authority, or the operators for a node",
            )
