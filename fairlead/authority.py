"""Issuing certificates: the federation CA's nodes and gateways, a user authority's people.

A user authority is a program of its own with a key of its own, so that a node's administrator
cannot make an analyst. Nothing here decides *whether* somebody should get a certificate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fairlead import signing
from fairlead.certificates import (
    MAX_USER_LIFETIME,
    ROLES_OID,
    SERVICE_OID,
    IdentityKind,
    Role,
    SpiffeId,
    encode_roles,
    encode_service,
)
from fairlead.errors import InvalidInput, Misconfigured

BACKDATED = timedelta(minutes=1)
"""Certificates begin this much before they are issued, for clocks that run behind."""

AUTHORITY_OID = x509.ObjectIdentifier(f"{ROLES_OID.dotted_string}.2")
"""Extension of an authority's server certificate: the authority's certificate (DER)."""

MAX_CSR = 16 * 1024

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authority's certificate and its private key (P-256)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def save(self, certificate_path: Path, key_path: Path) -> None:
        """Write the certificate as PEM and the key as PKCS #8, both mode 0600."""
        save_certificate(certificate_path, self.certificate)
        signing.save_key(key_path, self.key)

    @classmethod
    def load(cls, certificate_path: Path, key_path: Path) -> Issuer:
        """Read what :meth:`save` wrote.

        :raises Misconfigured: missing, unreadable, or key and certificate do not match.
        """
        key = signing.load_user_key(key_path)
        certificate = load_certificate(certificate_path)
        if certificate.public_key() != key.public_key():
            raise Misconfigured(
                "an authority's key does not belong to its certificate", reasons=("KEY_MISMATCH",)
            )
        return cls(certificate=certificate, key=key)


def create_ca(
    *, common_name: str, now: float, lifetime: timedelta, server_name: str = ""
) -> Issuer:
    """Make a self-signed P-256 authority that certifies end entities only (path length 0).

    :param now: Unix seconds.
    :param server_name: the DNS name of the authority's own server, written into its certificate
        so that whoever holds that knows what name to expect.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begins = _moment(now) - BACKDATED
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if server_name:
        names = x509.SubjectAlternativeName([x509.DNSName(server_name)])
        builder = builder.add_extension(names, critical=False)
    return Issuer(certificate=builder.sign(key, hashes.SHA256()), key=key)


def issue_node(
    ca: Issuer,
    *,
    federation: str,
    partner_id: str,
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    hosts: Sequence[str],
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    """Certify one of a partner's nodes, as a client and as a server.

    :param hosts: DNS names or IP addresses beside the name derived from the SPIFFE id.
    :raises InvalidInput: a name or a host is misspelt, or the key is not P-256.
    """
    spiffe_id = _spiffe_id(federation, IdentityKind.NODE, partner_id, name)
    return _issue(ca, spiffe_id, public_key, now=now, lifetime=lifetime, hosts=hosts)


def issue_gateway(
    ca: Issuer,
    *,
    federation: str,
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    hosts: Sequence[str],
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    """Certify a gateway, as a client and as a server.

    :raises InvalidInput: a name or a host is misspelt, or the key is not P-256.
    """
    spiffe_id = _spiffe_id(federation, IdentityKind.GATEWAY, None, name)
    return _issue(ca, spiffe_id, public_key, now=now, lifetime=lifetime, hosts=hosts)


def issue_user(
    authority: Issuer,
    *,
    federation: str,
    partner_id: str,
    pseudonym: str,
    roles: Iterable[Role],
    public_key: ec.EllipticCurvePublicKey,
    now: float,
    lifetime: timedelta,
    responsible: str = "",
    schemes: Iterable[str] = (),
) -> x509.Certificate:
    """Certify a person's key, for at most seven days, as a client only.

    :param responsible: for a service user: the person who answers for it; then ``schemes`` are
        those it may ask about.
    :raises InvalidInput: a name is misspelt, no role, a longer lifetime, or the key not P-256.
    """
    if not timedelta(0) < lifetime <= MAX_USER_LIFETIME:
        raise InvalidInput(
            "a user's certificate lives at most seven days",
            reasons=("LIFETIME",),
            remedy="ask for 7 days or less, and renew",
        )
    spiffe_id = _spiffe_id(federation, IdentityKind.USER, partner_id, pseudonym)
    extensions = {ROLES_OID: encode_roles(roles)}
    if responsible or schemes:
        extensions[SERVICE_OID] = encode_service(responsible, schemes)
    return _issue(
        authority, spiffe_id, public_key, now=now, lifetime=lifetime, extensions=extensions
    )


def issue_authority_server(
    authority: Issuer,
    *,
    dns_name: str,
    public_key: ec.EllipticCurvePublicKey,
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    """Certify a user authority's own server; nobody's identity, so nothing but that server.

    The certificate carries the authority's own (:data:`AUTHORITY_OID`), so that a client who knows
    only its fingerprint can find it.
    """
    own = authority.certificate.public_bytes(serialization.Encoding.DER)
    builder = _builder(authority, public_key, now=now, lifetime=lifetime)
    builder = (
        builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=True)
        .add_extension(x509.UnrecognizedExtension(AUTHORITY_OID, own), critical=False)
    )
    return builder.sign(authority.key, hashes.SHA256())


def public_key_of_request(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a certificate request (PKCS #10, PEM) whose holder proved possession.

    Names and extensions inside the request are ignored: the authority decides them.

    :raises InvalidInput: CSR.
    """
    try:
        request = x509.load_pem_x509_csr(pem[:MAX_CSR])
        proven, key = request.is_signature_valid, request.public_key()
    except (ValueError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InvalidInput("a certificate request cannot be decoded", reasons=("CSR",)) from None
    if not proven or not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput("a certificate request does not prove its key", reasons=("CSR",))
    return key


def save_certificate(path: Path, *certificates: x509.Certificate) -> None:
    """Write certificates as PEM, mode 0600."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))


def load_certificate(path: Path) -> x509.Certificate:
    """Read the first certificate of a PEM file.

    :raises Misconfigured: missing or unreadable.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise Misconfigured(
            "a certificate file is missing or unreadable",
            reasons=("CERTIFICATE_FILE",),
            remedy="make certs   (development), or ask the authority for a new certificate",
        ) from None


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)


def _spiffe_id(federation: str, kind: IdentityKind, partner_id: str | None, name: str) -> SpiffeId:
    claimed = SpiffeId(federation=federation, kind=kind, partner_id=partner_id, name=name)
    if SpiffeId.parse(str(claimed)) != claimed:
        raise InvalidInput("a SPIFFE id is misspelt", reasons=("SPIFFE_ID",))
    return claimed


def _issue(
    issuer: Issuer,
    spiffe_id: SpiffeId,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: float,
    lifetime: timedelta,
    hosts: Sequence[str] = (),
    extensions: Mapping[x509.ObjectIdentifier, bytes] | None = None,
) -> x509.Certificate:
    is_user = spiffe_id.kind is IdentityKind.USER
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(spiffe_id))]
    if not is_user:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names.append(x509.DNSName(spiffe_id.dns_name))
        names += [_general_name(host, spiffe_id.federation) for host in hosts]
    builder = _builder(issuer, public_key, now=now, lifetime=lifetime)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).add_extension(
        x509.SubjectAlternativeName(names), critical=True
    )
    for oid, value in (extensions or {}).items():
        extension = x509.UnrecognizedExtension(oid, value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def _builder(
    issuer: Issuer, public_key: ec.EllipticCurvePublicKey, *, now: float, lifetime: timedelta
) -> x509.CertificateBuilder:
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise InvalidInput("a certificate's key must be P-256", reasons=("KEY_KIND",))
    begins = _moment(now) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )


def _general_name(host: str, federation: str) -> x509.GeneralName:
    """A host's SAN; names under the federation stand for SPIFFE ids and are never asked for."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    reserved = host == federation or host.endswith(f".{federation}")
    if reserved or not _HOST.fullmatch(host):
        raise InvalidInput("a host name is misspelt or reserved", reasons=("HOST",))
    return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
