"""Renewing a process's own certificate before it ends: when, with which key, for which names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fairlead.certificates import SpiffeId
from fairlead.errors import InvalidInput, Refused

REMAINING = 1 / 3
"""A certificate is renewed when this share of its life is left."""
MAX_LIFETIME = timedelta(days=90)
MAX_REQUEST = 16 * 1024


def due(certificate: x509.Certificate, now: float) -> bool:
    """Whether it is time to renew. :param now: Unix seconds."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends.timestamp() - now <= (ends - begins).total_seconds() * REMAINING


def lifetime(certificate: x509.Certificate) -> timedelta:
    """The life of a certificate's successor: as long as its own, within the limit."""
    return min(certificate.not_valid_after_utc - certificate.not_valid_before_utc, MAX_LIFETIME)


def hosts(certificate: x509.Certificate, spiffe_id: SpiffeId) -> list[str]:
    """The host names and addresses a certificate was issued for, beside the derived name."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = [n for n in names.get_values_for_type(x509.DNSName) if n != spiffe_id.dns_name]
    return [*dns, *map(str, names.get_values_for_type(x509.IPAddress))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A new key and the request (PKCS #10, PEM) that proves it."""

    key: ec.EllipticCurvePrivateKey
    pem: bytes

    @classmethod
    def make(cls, spiffe_id: SpiffeId) -> Request:
        """A request for ``spiffe_id`` over a key made now."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))])
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(name, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, pem=request.public_bytes(serialization.Encoding.PEM))

    def key_pem(self) -> bytes:
        """The private key, PKCS #8 PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def check_request_names(pem: bytes, spiffe_id: str) -> None:
    """Require a request to name its caller and nobody else.

    :raises InvalidInput: CSR. :raises Refused: RENEW_OTHER.
    """
    try:
        request = x509.load_pem_x509_csr(pem[:MAX_REQUEST])
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise InvalidInput("a certificate request cannot be decoded", reasons=("CSR",)) from None
    if uris != [spiffe_id]:
        raise Refused(
            "a certificate is renewed for its own holder only",
            reasons=("RENEW_OTHER",),
            remedy="fairlead-node rotate tls",
        )


def check_renewed(pem: bytes, request: Request, spiffe_id: SpiffeId, now: float) -> None:
    """Require a renewed certificate to be the one asked for, in force, for this id.

    :raises InvalidInput: RENEWED.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem[:MAX_REQUEST])
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        uris, certificate = [], None
    moment = datetime.fromtimestamp(now, UTC)
    if (
        certificate is None
        or uris != [str(spiffe_id)]
        or certificate.public_key() != request.key.public_key()
        or not certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc
    ):
        raise InvalidInput(
            "the renewed certificate is not the one asked for",
            reasons=("RENEWED",),
            remedy="compare the clocks, and tell the gateway's operator",
        )
