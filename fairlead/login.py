"""The person's side of a user authority: a key made here, a certificate for it, and the next one.

The private key never leaves its folder. The authority is recognised by the fingerprint of its
certificate, which the person got together with the one-time code.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import signing
from fairlead.authority import AUTHORITY_OID, MAX_CSR, load_certificate, save_certificate
from fairlead.certificates import MAX_USER_LIFETIME
from fairlead.door import REASON_KEY
from fairlead.errors import Forged, InvalidInput, Unreachable
from fairlead.keyfile import private_folder, write_private
from fairlead.profile import Profile
from fairlead.trust import Trust
from fairlead.v1 import authority_pb2, authority_pb2_grpc

TIMEOUT_S = 10.0
R = TypeVar("R")
Stub = authority_pb2_grpc.AuthorityServiceStub


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """What was written, and who one is now."""

    profile: Path
    spiffe_id: str
    not_after: float


def find_authority(address: str, fingerprint: bytes) -> x509.Certificate:
    """Ask who serves at ``address`` and believe it only under this fingerprint (SHA-256, DER).

    The server's certificate carries its authority's; whether the server holds that certificate's
    key is then verified by TLS, in :func:`_call`.

    :raises Unreachable: AUTHORITY_UNREACHABLE. :raises Forged: AUTHORITY_FINGERPRINT.
    """
    host, _, port = address.rpartition(":")
    try:
        pem = ssl.get_server_certificate(
            (host.removeprefix("[").removesuffix("]"), int(port)), timeout=TIMEOUT_S
        )
    except (OSError, ValueError):
        raise _unreachable() from None
    try:
        server = x509.load_pem_x509_certificate(pem.encode())
        carried = server.extensions.get_extension_for_oid(AUTHORITY_OID).value
        found = x509.load_der_x509_certificate(getattr(carried, "value", b"")[:MAX_CSR])
        matches = found.fingerprint(hashes.SHA256()) == fingerprint
    except (ValueError, x509.ExtensionNotFound):
        matches = False
    if not matches:
        raise Forged(
            "this is not the authority you were told to expect",
            reasons=("AUTHORITY_FINGERPRINT",),
            remedy="compare address and fingerprint with whoever gave you the code",
        )
    return found


def log_in(
    *,
    profile: Path,
    address: str,
    fingerprint: bytes,
    code: str,
    node: str | None,
    now: float,
) -> LoggedIn:
    """Make a key beside ``profile``, have it certified, and write the profile.

    :param node: ``host:port`` of the own node; default: as the directory lists it.
    :raises Unreachable: AUTHORITY_UNREACHABLE. :raises grpc.RpcError: refused.
    :raises Forged: the certificate or the directory is not what it must be.
    """
    authority = find_authority(address, fingerprint)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    request = authority_pb2.EnrolRequest(
        code=code, certificate_request=csr.public_bytes(Encoding.PEM), issued_at=int(now)
    )
    response = _call(address, authority, lambda stub: stub.Enrol(request, timeout=TIMEOUT_S))
    certificate = _certificate(response.credentials.certificate, authority, key)
    trust = Trust.parse(response.credentials.trust)
    folder = private_folder(profile.parent)
    write_private(folder / "directory.bin", response.credentials.directory)
    directory = trust.directory(folder / "directory.bin", now=now)
    trust.save(folder / "trust.toml")
    signing.save_key(folder / "user.key", key)
    save_certificate(folder / "user.pem", certificate)
    save_certificate(folder / "authority.pem", authority)
    spiffe_id = _uri(certificate)
    home = directory.partner(spiffe_id.split("/")[4]).nodes[0]
    settings = {
        "node": node or home.endpoint,
        "node_id": home.spiffe_id,
        "certificate": "user.pem",
        "key": "user.key",
        "directory": "directory.bin",
        "trust": "trust.toml",
        "authority": address,
        "authority_certificate": "authority.pem",
    }
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    write_private(profile, text.encode())
    ends = certificate.not_valid_after_utc.timestamp()
    return LoggedIn(profile=profile, spiffe_id=spiffe_id, not_after=ends)


def due(profile: Profile, now: float) -> bool:
    """Say whether a third of the certificate's life is left, or less, and somebody renews it."""
    if profile.authority is None or profile.authority_certificate is None:
        return False
    ends = load_certificate(Path(profile.certificate)).not_valid_after_utc.timestamp()
    return now < ends <= now + MAX_USER_LIFETIME.total_seconds() / 3


def renew(profile: Profile, *, now: float) -> float:
    """Have the same key certified for longer; returns the new end (Unix seconds).

    Directory and trust anchors are taken up too, when they verify.

    :raises Unreachable: AUTHORITY_UNREACHABLE. :raises grpc.RpcError: refused.
    """
    if profile.authority is None or profile.authority_certificate is None:
        raise InvalidInput("this profile names no authority", reasons=("NO_AUTHORITY",))
    authority = load_certificate(Path(profile.authority_certificate))
    key = signing.load_user_key(Path(profile.key))
    current = load_certificate(Path(profile.certificate)).public_bytes(Encoding.DER)
    renewal = signing.canonical(authority_pb2.Renewal(certificate=current, issued_at=int(now)))
    request = authority_pb2.RenewCertificateRequest(
        renewal=renewal, signature=signing.sign_as_user(key, "renewal", renewal)
    )
    response = _call(
        profile.authority, authority, lambda stub: stub.RenewCertificate(request, timeout=TIMEOUT_S)
    )
    certificate = _certificate(response.credentials.certificate, authority, key)
    _take_up(profile, response.credentials, now)
    write_private(Path(profile.certificate), certificate.public_bytes(Encoding.PEM))
    return certificate.not_valid_after_utc.timestamp()


def _take_up(profile: Profile, credentials: authority_pb2.UserCredentials, now: float) -> None:
    """Replace directory and anchors by those the authority has, once they verify together."""
    trust = Trust.parse(credentials.trust)
    held = Trust.load(Path(profile.trust))
    fresh = Path(profile.directory).with_suffix(".new")
    write_private(fresh, credentials.directory)
    try:
        if trust.federation != held.federation:
            raise Forged("the directory is another federation's", reasons=("FEDERATION",))
        trust.directory(fresh, now=now)
        trust.save(Path(profile.trust))
        fresh.replace(Path(profile.directory))
    finally:
        fresh.unlink(missing_ok=True)


def _call(address: str, authority: x509.Certificate, call: Callable[[Stub], R]) -> R:
    tls.require_tls_floor()
    pem = authority.public_bytes(Encoding.PEM)
    name = _server_name(authority)
    with grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(root_certificates=pem),
        options=[
            ("grpc.ssl_target_name_override", name),
            ("grpc.default_authority", name),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ],
    ) as channel:
        try:
            return call(Stub(channel))
        except grpc.RpcError as error:
            gone = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
            if getattr(error, "code", lambda: None)() in gone and not _has_reason(error):
                raise _unreachable() from None
            raise


def _has_reason(error: grpc.RpcError) -> bool:
    """Say whether one of our own servers refused, rather than nobody answering."""
    metadata = getattr(error, "trailing_metadata", lambda: None)() or ()
    return any(key == REASON_KEY for key, _ in metadata)


def _server_name(authority: x509.Certificate) -> str:
    """The name in every certificate of that authority's server."""
    names = authority.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (name,) = names.value.get_values_for_type(x509.DNSName)
    return str(name)


def _certificate(
    der: bytes, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(authority)
        right = certificate.public_key() == key.public_key()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not ours
        right = False
    if not right:
        raise Forged("the authority certified something else", reasons=("OWN_CERTIFICATE",))
    return certificate


def _uri(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    return str(uri)


def _unreachable() -> Unreachable:
    return Unreachable(
        "the user authority does not answer; a certificate you hold works until it expires",
        reasons=("AUTHORITY_UNREACHABLE",),
        remedy="fairlead-authority serve --config authority.toml   (your partner's IT), then again",
    )
