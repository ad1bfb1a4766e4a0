"""Certificates of people: issued by their own partner's user authority, for seven days at most."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from fairlead.verifier.anchors import Listing, in_domain
from fairlead.verifier.finding import EvidenceFailed, require

_ROLES = x509.ObjectIdentifier(
    "1.2.840.113556.1.8000.2554.62825.15608.16646.17350.40634.15031168.6813384"
)
_SERVICE = x509.ObjectIdentifier(f"{_ROLES.dotted_string}.1")
_KNOWN_ROLES = {"analyst", "approver", "security-officer", "auditor", "operator"}
_USER = re.compile(
    r"spiffe://([a-z0-9.-]{1,64})/partner/([a-z][a-z0-9-]{1,31})/user/([a-z][a-z0-9-]{0,31})",
    re.ASCII,
)
_CERTIFICATE = "has a certificate that cannot be read"
_NOT_OURS = "has a certificate that its partner's user authority did not issue"


@dataclass(frozen=True)
class Somebody:
    """A verified person, or a service that a person is responsible for."""

    spiffe_id: str
    partner_id: str
    name: str
    roles: frozenset[str]
    responsible: str
    schemes: frozenset[str]
    key: ec.EllipticCurvePublicKey

    def require_signature(self, domain: str, data: bytes, signature: bytes) -> None:
        """ECDSA P-256. :raises EvidenceFailed: this person did not sign it."""
        try:
            self.key.verify(signature, in_domain(domain, data), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise EvidenceFailed("is not signed by the person it names") from None


def somebody(der: bytes, listing: Listing, moment: int) -> Somebody:
    """Verify a certificate (DER) as of ``moment`` (unix seconds).

    1. It parses in its one form, holds a P-256 key, and is no authority's. 2. Its one name is a
    user of a listed partner. 3. That partner's user authority issued it. 4. It was in force, for
    seven days at most. 5. It is for clients, and carries known roles.

    :raises EvidenceFailed: any of it is wrong.
    """
    # 1
    certificate = _certificate(der)
    key = _public_key(certificate)
    p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    require(p256 and der.endswith(b"\x00" + certificate.signature), _CERTIFICATE)
    found = _extensions(certificate)
    # 2
    match = _USER.fullmatch(found["uris"][0]) if len(found["uris"]) == 1 else None
    require(match is not None and match[1] == listing.federation, "is of nobody in the federation")
    partner_id, name = match[2], match[3]  # type: ignore[index]
    # 3
    authority = _certificate(listing.partner(partner_id)["user_authority"])
    _require_issued(certificate, authority, moment)
    # 4
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    require(begins <= _time(moment) < ends, "has a certificate that was not in force")
    require(ends - begins <= timedelta(days=7), "has a certificate for longer than seven days")
    # 5
    require(ExtendedKeyUsageOID.CLIENT_AUTH in found["usages"], _CERTIFICATE)
    roles = frozenset(_text(found["roles"]).split(","))
    require(roles <= _KNOWN_ROLES, "has a certificate without known roles")
    responsible, _, schemes = _text(found["service"]).partition(":")
    return Somebody(
        found["uris"][0], partner_id, name, roles, responsible,
        frozenset(schemes.split(",") if schemes else ()), key,  # type: ignore[arg-type]
    )  # fmt: skip


def _certificate(der: bytes) -> x509.Certificate:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return x509.load_der_x509_certificate(der)
    except (ValueError, Warning, UnsupportedAlgorithm, x509.InvalidVersion):
        raise EvidenceFailed(_CERTIFICATE) from None


def _public_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceFailed(_CERTIFICATE) from None


def _extensions(certificate: x509.Certificate) -> dict[str, Any]:
    found: dict[str, Any] = {"uris": [], "usages": [], "roles": b"", "service": b""}
    try:
        for extension in certificate.extensions:
            value = extension.value
            if isinstance(value, x509.SubjectAlternativeName):
                found["uris"] = value.get_values_for_type(x509.UniformResourceIdentifier)
            elif isinstance(value, x509.ExtendedKeyUsage):
                found["usages"] = list(value)
            elif isinstance(value, x509.BasicConstraints):
                require(not value.ca, _CERTIFICATE)
            elif extension.oid == _ROLES:
                found["roles"] = value.public_bytes()
            elif extension.oid == _SERVICE:
                found["service"] = value.public_bytes()
            else:
                unknown = isinstance(value, x509.UnrecognizedExtension) and extension.critical
                require(not unknown, _CERTIFICATE)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise EvidenceFailed(_CERTIFICATE) from None
    return found


def _require_issued(certificate: x509.Certificate, authority: x509.Certificate, now: int) -> None:
    try:
        basic = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(authority)
        by_sha256 = isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise EvidenceFailed(_NOT_OURS) from None
    in_force = authority.not_valid_before_utc <= _time(now) < authority.not_valid_after_utc
    require(basic.ca and by_sha256 and in_force, _NOT_OURS)


def _text(encoded: bytes) -> str:
    """A DER UTF8String; no octets are an empty one. :raises EvidenceFailed: anything else."""
    if not encoded:
        return ""
    head = 2 if encoded[1:2] < b"\x80" else 4
    size = encoded[1] if head == 2 else int.from_bytes(encoded[2:4], "big")
    short = head == 2 or encoded[1] == 0x82
    require(encoded[0] == 0x0C and short and len(encoded) == head + size, _CERTIFICATE)
    try:
        return encoded[head:].decode("ascii")
    except UnicodeDecodeError:
        raise EvidenceFailed(_CERTIFICATE) from None


def _time(moment: int) -> datetime:
    try:
        return datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        raise EvidenceFailed("names a time that is out of range") from None
