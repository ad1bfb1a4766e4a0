"""Certificate → identity: who is at the other end, as one numbered procedure.

Gateways and nodes are certified by the federation CA, people by the user authority of their own
partner, and neither may certify the other kind: the federation cannot mint an analyst, and an
authority cannot mint a node. SPIFFE ids follow the SPIFFE X.509-SVID profile (one URI SAN);
certificates are RFC 5280. See PROTOCOL §1.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from fairlead.errors import InvalidInput, Refused, Unauthenticated
from fairlead.partners import PIN_REMEDY, DenyLists, Directory

ROLES_OID = x509.ObjectIdentifier(
    "1.2.840.113556.1.8000.2554.62825.15608.16646.17350.40634.15031168.6813384"
)
"""Extension of user certificates: a DER UTF8String of role names, sorted, comma-separated.

The arc is open to anybody's UUID (f5693cf8-4106-43c6-9eba-e55b8067f6c8, in seven small parts);
2.25.<UUID> would be shorter, but Go's X.509 parser refuses arcs above 31 bits.
"""

SERVICE_OID = x509.ObjectIdentifier(f"{ROLES_OID.dotted_string}.1")
"""Extension of a service user's certificate: a DER UTF8String, ``<responsible person>`` and, behind
a colon, the schemes it may ask about, sorted, comma-separated. Only its authority can widen it."""

MAX_USER_LIFETIME = timedelta(days=7)
MAX_CERTIFICATE = 16 * 1024
"""Octets, DER."""

_SPIFFE = re.compile(
    r"spiffe://(?P<federation>[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?)/"
    r"(?:gateway/(?P<gateway>[a-z][a-z0-9-]{0,31})"
    r"|partner/(?P<partner>[a-z][a-z0-9-]{1,31})"
    r"/(?:node/(?P<node>[a-z][a-z0-9-]{0,31})|user/(?P<user>[a-z][a-z0-9-]{0,31})))",
    re.ASCII,
)


_SERVICE = re.compile(
    r"(?P<who>[a-z][a-z0-9-]{0,31}):(?P<what>[a-z][a-z0-9-]{0,63}(?:,[a-z][a-z0-9-]{0,63}){0,63})",
    re.ASCII,
)


class IdentityKind(StrEnum):
    """What stands behind a certificate."""

    GATEWAY = "gateway"
    NODE = "node"
    USER = "user"


class Role(StrEnum):
    """What a person may do at their own partner."""

    ANALYST = "analyst"
    APPROVER = "approver"
    SECURITY_OFFICER = "security-officer"
    AUDITOR = "auditor"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """``spiffe://<federation>/gateway/<id>``, ``…/partner/<p>/node/<name>`` or ``…/user/<name>``.

    ``partner_id`` is ``None`` for a gateway and only for one.
    """

    federation: str
    kind: IdentityKind
    partner_id: str | None
    name: str

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read exactly the three spellings above: lower case, no port, query or empty segment.

        :raises InvalidInput: SPIFFE_ID.
        """
        match = _SPIFFE.fullmatch(text)
        if match is None or ".." in match["federation"]:
            raise InvalidInput("a SPIFFE id is misspelt", reasons=("SPIFFE_ID",))
        for kind in IdentityKind:
            if match[kind.value] is not None:
                return cls(
                    federation=match["federation"],
                    kind=kind,
                    partner_id=match["partner"],
                    name=match[kind.value],
                )
        raise InvalidInput("a SPIFFE id is misspelt", reasons=("SPIFFE_ID",))

    @property
    def dns_name(self) -> str:
        """The DNS SAN that stands for this id: a gRPC client cannot verify a URI SAN.

        ``node-1.node.customs.fairlead.demo``; the CA derives it and nobody asks for it by hand.
        """
        owner = f"{self.partner_id}." if self.partner_id else ""
        return f"{self.name}.{self.kind}.{owner}{self.federation}"

    def __str__(self) -> str:
        owner = f"partner/{self.partner_id}/" if self.partner_id else ""
        return f"spiffe://{self.federation}/{owner}{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A verified certificate: who it is, until when (Unix seconds), and its SHA-256 digest.

    A service user names the person ``responsible`` for it, and the ``schemes`` it may ask about;
    a person has neither.

    Count people by ``spiffe_id``, never by ``digest``: ECDSA lets anybody turn a signature into
    another valid one, hence a certificate into another encoding of itself.
    """

    kind: IdentityKind
    partner_id: str | None
    name: str
    spiffe_id: str
    roles: frozenset[Role]
    not_after: float
    digest: bytes
    public_key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)
    responsible: str = ""
    schemes: frozenset[str] = frozenset()

    def check_schemes(self, schemes: Iterable[str]) -> None:
        """Keep a service user to the schemes its authority wrote into its certificate.

        :raises Refused: SCHEME_NOT_ALLOWED.
        """
        if self.responsible and not set(schemes) <= self.schemes:
            raise Refused(
                "this service user may not ask about this scheme",
                reasons=("SCHEME_NOT_ALLOWED",),
                remedy="fairlead-authority user list   (shows the schemes it may ask about)",
            )


def identity_from_certificate(der: bytes, *, directory: Directory, now: float) -> Identity:
    """Verify one certificate (DER octets) against the directory and say who it is.

    1. It parses, holds a P-256 key, and is not a CA.
    2. It has exactly one URI SAN.
    3. That is a SPIFFE id of this federation, and the directory knows it: the gateway and the
       node by id, the user by partner.
    4. Its issuer: the federation CA for gateways and nodes; for a user the user authority of
       the partner named in the id. Each is a CA in force, its signature verifies, and one kind
       of issuer never stands in for the other.
    5. It is in force at ``now`` (Unix seconds); a user's lives at most seven days.
    6. Extended key usage contains clientAuth.
    7. Users carry one or more known roles, service users also a responsible person and one or
       more schemes; gateways and nodes carry neither extension.

    Deny lists are not consulted here: see :class:`IdentityCheck`.

    :raises Unauthenticated: CERTIFICATE, SPIFFE_ID, FEDERATION, UNKNOWN_PARTNER, ROOT_UNPINNED,
        UNKNOWN_NODE, UNKNOWN_GATEWAY, ISSUER, NOT_YET_VALID, EXPIRED, LIFETIME, KEY_USAGE, ROLES
        or SERVICE.
    """
    # 1
    certificate, key = _parse(der)
    extensions = _extensions(certificate)
    # 2
    uris = extensions.uris
    if len(uris) != 1:
        raise _refusal("a certificate must hold exactly one URI name", "SPIFFE_ID")
    # 3
    spiffe_id = _member(uris[0], directory)
    # 4
    _check_issuer(certificate, issuer_of(spiffe_id, directory), now)
    # 5
    _check_validity(certificate, spiffe_id.kind, now)
    # 6
    if ExtendedKeyUsageOID.CLIENT_AUTH not in extensions.usages:
        raise _refusal("a certificate is not meant for clients", "KEY_USAGE")
    # 7
    roles = _roles(extensions.roles, spiffe_id.kind)
    responsible, schemes = _service(extensions.service, spiffe_id.kind)
    return Identity(
        kind=spiffe_id.kind,
        partner_id=spiffe_id.partner_id,
        name=spiffe_id.name,
        spiffe_id=str(spiffe_id),
        roles=roles,
        not_after=certificate.not_valid_after_utc.timestamp(),
        digest=hashlib.sha256(der).digest(),
        public_key=key,
        responsible=responsible,
        schemes=schemes,
    )


class IdentityCheck:
    """The per-RPC check: certificate → identity, remembering only the verified parse.

    gRPC alone keeps serving an expired or revoked peer on a live connection, so expiry, the
    directory and the deny list are looked at again on every call.

    :param directory: returns the directory in force; a new object empties the memory.
    :param clock: Unix seconds.
    """

    __slots__ = ("_capacity", "_clock", "_deny_lists", "_directory", "_known", "_seen")

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        deny_lists: DenyLists,
        clock: Callable[[], float],
        capacity: int = 4096,
    ) -> None:
        self._directory = directory
        self._deny_lists = deny_lists
        self._clock = clock
        self._capacity = capacity
        self._known: dict[bytes, Identity] = {}
        self._seen: Directory | None = None

    def check(self, pem: bytes) -> Identity:
        """Say who presents ``pem`` (one certificate, as TLS handed it over), now.

        1. The directory is in force; another directory than last time forgets every parse.
        2. The certificate verifies (remembered by its octets).
        3. It has not expired since.
        4. No deny list names it, and the list that could is current.

        :raises Stale: DIRECTORY_EXPIRED.
        :raises Unauthenticated: as :func:`identity_from_certificate`, DENIED, DENY_LIST_EXPIRED.
        """
        now = self._clock()
        # 1
        directory = self._directory()
        directory.check_current(now)
        if directory is not self._seen:
            self._known.clear()
            self._seen = directory
        # 2
        identity = self._known.get(pem)
        if identity is None:
            identity = identity_from_certificate(der_of(pem), directory=directory, now=now)
            if len(self._known) >= self._capacity:
                self._known.clear()
            self._known[pem] = identity
        # 3
        if now >= identity.not_after:
            raise _expired()
        # 4
        self._deny_lists.check(identity.spiffe_id, now)
        return identity


def der_of(pem: bytes) -> bytes:
    """The DER octets of the one certificate in ``pem``.

    :raises Unauthenticated: CERTIFICATE.
    """
    try:
        if len(pem) <= 2 * MAX_CERTIFICATE:
            return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion, CryptographyDeprecationWarning):
        pass
    raise _refusal("a certificate cannot be decoded", "CERTIFICATE")


def encode_roles(roles: Iterable[Role]) -> bytes:
    """The octets of the roles extension (DER UTF8String).

    :raises InvalidInput: no role at all.
    """
    text = ",".join(sorted(set(roles))).encode("ascii")
    if not text:
        raise InvalidInput("a user needs at least one role", reasons=("ROLES",))
    return bytes((0x0C, len(text))) + text


def encode_service(responsible: str, schemes: Iterable[str]) -> bytes:
    """The octets of the service extension (DER UTF8String, ITU-T X.690 §8.1.3).

    :raises InvalidInput: SERVICE: nobody responsible, a person misspelt, no scheme, or too many.
    """
    listed = sorted(set(schemes))
    text = f"{responsible}:{','.join(listed)}"
    if not _SERVICE.fullmatch(text) or len(text) > 0xFFFF:
        raise InvalidInput(
            "a service user needs a responsible person and the schemes it may ask about",
            reasons=("SERVICE",),
            remedy="fairlead-authority user add ID --role analyst --service --responsible WHO "
            "--scheme container",
        )
    octets = text.encode("ascii")
    size = len(octets)
    length = bytes((size,)) if size < 0x80 else bytes((0x82, size >> 8, size & 0xFF))
    return b"\x0c" + length + octets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extensions:
    uris: tuple[str, ...]
    usages: tuple[x509.ObjectIdentifier, ...]
    roles: bytes | None
    service: bytes | None


def _refusal(message: str, code: str, remedy: str = "") -> Unauthenticated:
    return Unauthenticated(message, reasons=(code,), remedy=remedy)


def _expired() -> Unauthenticated:
    return _refusal(
        "a certificate has expired",
        "EXPIRED",
        "renew the certificate; in development: python -m certs.dev.make --force",
    )


def _parse(der: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePublicKey]:
    if len(der) > MAX_CERTIFICATE:
        raise _refusal("a certificate is larger than allowed", "CERTIFICATE")
    try:
        with warnings.catch_warnings():
            # What the library still lets pass with a warning (a negative serial number) is refused.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, CryptographyDeprecationWarning):
        raise _refusal("a certificate cannot be decoded", "CERTIFICATE") from None
    if not der.endswith(b"\x00" + certificate.signature):
        # A count of unused bits other than 0 hides in the signature's BIT STRING.
        raise _refusal("a certificate is not in canonical form", "CERTIFICATE")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refusal("a certificate's key is not P-256", "CERTIFICATE")
    return certificate, key


def _extensions(certificate: x509.Certificate) -> _Extensions:
    uris: tuple[str, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = ()
    roles: bytes | None = None
    service: bytes | None = None
    try:
        for extension in certificate.extensions:
            match extension.value:
                case x509.SubjectAlternativeName() as names:
                    uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
                case x509.ExtendedKeyUsage() as listed:
                    usages = tuple(listed)
                case x509.BasicConstraints(ca=True):
                    raise _refusal("an authority's certificate is no identity", "CERTIFICATE")
                case x509.UnrecognizedExtension(oid=oid, value=value):
                    if oid == ROLES_OID:
                        roles = value
                    elif oid == SERVICE_OID:
                        service = value
                    elif extension.critical:
                        raise _refusal("a certificate has an unknown extension", "CERTIFICATE")
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _refusal("a certificate cannot be decoded", "CERTIFICATE") from None
    return _Extensions(uris=uris, usages=usages, roles=roles, service=service)


def _member(uri: str, directory: Directory) -> SpiffeId:
    try:
        spiffe_id = SpiffeId.parse(uri)
    except InvalidInput:
        raise _refusal("a certificate's SPIFFE id is misspelt", "SPIFFE_ID") from None
    if spiffe_id.federation != directory.federation:
        raise _refusal("a certificate belongs to another federation", "FEDERATION")
    if spiffe_id.partner_id is None:
        if uri not in directory.gateways:
            raise _refusal("the directory lists no such gateway", "UNKNOWN_GATEWAY")
        return spiffe_id
    partner = directory.partners.get(spiffe_id.partner_id)
    if spiffe_id.partner_id in directory.unpinned:
        raise _refusal("a partner's root key is not pinned here", "ROOT_UNPINNED", PIN_REMEDY)
    if partner is None:
        raise _refusal("the directory lists no such partner", "UNKNOWN_PARTNER")
    listed = any(node.spiffe_id == uri for node in partner.nodes)
    if spiffe_id.kind is IdentityKind.NODE and not listed:
        raise _refusal("the directory lists no such node", "UNKNOWN_NODE")
    return spiffe_id


def issuer_of(member: SpiffeId | Identity, directory: Directory) -> x509.Certificate:
    """The one authority that may certify a member the directory knows."""
    if member.kind is IdentityKind.USER and member.partner_id is not None:
        return directory.partners[member.partner_id].user_authority
    return directory.federation_ca


def _moment(now: float) -> datetime:
    """``now``, which an old receipt states and a hostile one invents."""
    try:
        return datetime.fromtimestamp(now, UTC)
    except (ValueError, OverflowError, OSError):
        raise _refusal("a time is out of range", "NOT_YET_VALID") from None


def _check_issuer(certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> None:
    moment = _moment(now)
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(issuer)
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise _refusal(
            "a certificate was not issued by the authority responsible for it", "ISSUER"
        ) from None
    if not constraints.ca or not isinstance(algorithm, hashes.SHA256):
        raise _refusal("a certificate's issuer may not issue it", "ISSUER")
    if not issuer.not_valid_before_utc <= moment < issuer.not_valid_after_utc:
        raise _refusal("a certificate's issuer is not in force", "ISSUER")


def _check_validity(certificate: x509.Certificate, kind: IdentityKind, now: float) -> None:
    moment = _moment(now)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if moment < begins:
        raise _refusal("a certificate is not valid yet", "NOT_YET_VALID", "compare the clocks")
    if moment >= ends:
        raise _expired()
    if kind is IdentityKind.USER and ends - begins > MAX_USER_LIFETIME:
        raise _refusal("a user's certificate lives longer than seven days", "LIFETIME")


def _roles(encoded: bytes | None, kind: IdentityKind) -> frozenset[Role]:
    if kind is not IdentityKind.USER:
        if encoded is not None:
            raise _refusal("only a user's certificate may carry roles", "ROLES")
        return frozenset()
    try:
        roles = frozenset(Role(name) for name in (encoded or b"")[2:].decode("ascii").split(","))
    except ValueError:
        raise _refusal("a user's certificate carries no known role", "ROLES") from None
    if encode_roles(roles) != encoded:
        raise _refusal("a certificate's roles are not in canonical form", "ROLES")
    return roles


def _service(encoded: bytes | None, kind: IdentityKind) -> tuple[str, frozenset[str]]:
    if encoded is None:
        return "", frozenset()
    if kind is not IdentityKind.USER:
        raise _refusal("only a user's certificate may be a service user's", "SERVICE")
    head = 2 if encoded[1:2] < b"\x80" else 4
    match = _SERVICE.fullmatch(encoded[head:].decode("ascii", "replace"))
    if match is None:
        raise _refusal("a service user's certificate cannot be read", "SERVICE")
    responsible, schemes = match["who"], frozenset(match["what"].split(","))
    if encode_service(responsible, schemes) != encoded:
        raise _refusal("a service user's certificate is not in canonical form", "SERVICE")
    return responsible, schemes
