"""Issuing certificates: what an authority puts its name to."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from fairlead import authority
from fairlead.authority import Issuer
from fairlead.certificates import Role
from fairlead.errors import InvalidInput, Misconfigured

NOW = 1_790_000_000.0
DAY = timedelta(days=1)
FEDERATION = "fairlead.demo"


@pytest.fixture(scope="module")
def ca() -> Issuer:
    """An authority."""
    return authority.create_ca(common_name="test CA", now=NOW, lifetime=30 * DAY)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePublicKey:
    """A subject's public key."""
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def node(ca: Issuer, key: ec.EllipticCurvePublicKey, *hosts: str) -> x509.Certificate:
    return authority.issue_node(
        ca,
        federation=FEDERATION,
        partner_id="customs",
        name="node-1",
        public_key=key,
        hosts=hosts,
        now=NOW,
        lifetime=DAY,
    )


def user(
    ca: Issuer,
    key: ec.EllipticCurvePublicKey,
    *,
    pseudonym: str = "u-c01",
    roles: tuple[Role, ...] = (Role.ANALYST,),
    lifetime: timedelta = DAY,
) -> x509.Certificate:
    return authority.issue_user(
        ca,
        federation=FEDERATION,
        partner_id="customs",
        pseudonym=pseudonym,
        roles=roles,
        public_key=key,
        now=NOW,
        lifetime=lifetime,
    )


def sans(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_node_is_client_and_server_under_its_own_name(
    ca: Issuer, key: ec.EllipticCurvePublicKey
) -> None:
    """A node's certificate holds its SPIFFE id, the DNS name derived from it, and its hosts."""
    certificate = node(ca, key, "localhost", "127.0.0.1")
    names = sans(certificate)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://fairlead.demo/partner/customs/node/node-1"
    ]
    assert names.get_values_for_type(x509.DNSName) == [
        "node-1.node.customs.fairlead.demo",
        "localhost",
    ]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    certificate.verify_directly_issued_by(ca.certificate)


def test_a_person_is_a_client_only(ca: Issuer, key: ec.EllipticCurvePublicKey) -> None:
    """A user's certificate cannot be a server: no DNS name, no serverAuth."""
    certificate = user(ca, key)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert sans(certificate).get_values_for_type(x509.DNSName) == []


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.example.org",
        "EXAMPLE.org",
        "exa mple",
        "-a.org",
        "a..b",
        "fairlead.demo",
        "node-1.node.police.fairlead.demo",
        "gw-1.gateway.fairlead.demo",
        "a" * 64,
    ],
)
def test_no_wildcards_and_no_names_of_others(
    ca: Issuer, key: ec.EllipticCurvePublicKey, host: str
) -> None:
    """A node cannot ask for a name that stands for another participant, nor for a wildcard."""
    with pytest.raises(InvalidInput):
        node(ca, key, host)


def test_users_live_seven_days_at_most(ca: Issuer, key: ec.EllipticCurvePublicKey) -> None:
    """Seven days are issued; longer, zero and negative lifetimes are not."""
    certificate = user(ca, key, lifetime=7 * DAY)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == 7 * DAY
    for lifetime in (7 * DAY + timedelta(seconds=1), timedelta(0), -DAY):
        with pytest.raises(InvalidInput) as caught:
            user(ca, key, lifetime=lifetime)
        assert caught.value.code == "LIFETIME"


def test_a_person_needs_a_role(ca: Issuer, key: ec.EllipticCurvePublicKey) -> None:
    """Empty means no: nobody is certified for nothing."""
    with pytest.raises(InvalidInput):
        user(ca, key, roles=())


@pytest.mark.parametrize("pseudonym", ["", "U-c01", "../x", "u c", "u/c", "u-c01\n"])
def test_misspelt_pseudonyms_are_refused(
    ca: Issuer, key: ec.EllipticCurvePublicKey, pseudonym: str
) -> None:
    """No pseudonym can smuggle a path or another SPIFFE segment."""
    with pytest.raises(InvalidInput):
        user(ca, key, pseudonym=pseudonym)


def test_only_p256_keys_are_certified(ca: Issuer) -> None:
    """Another curve is refused before anything is signed."""
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(InvalidInput):
        node(ca, other)


def request(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def test_a_request_proves_its_key() -> None:
    """The key of a signed request is returned; a request under another key's name is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    assert authority.public_key_of_request(request(key)) == key.public_key()
    der = bytearray(x509.load_pem_x509_csr(request(key)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidInput):
        authority.public_key_of_request(forged)
    with pytest.raises(InvalidInput):
        authority.public_key_of_request(request(ed25519.Ed25519PrivateKey.generate()))


@given(st.binary(max_size=300))
def test_request_noise_is_refused(noise: bytes) -> None:
    """Octets that are no request give InvalidInput and nothing else."""
    with pytest.raises(InvalidInput):
        authority.public_key_of_request(noise)


def test_an_authority_is_kept_private(ca: Issuer, tmp_path: Path) -> None:
    """Saved keys are readable by their owner alone and load back; a swapped key is noticed."""
    certificate_path, key_path = tmp_path / "ca.pem", tmp_path / "ca.key"
    ca.save(certificate_path, key_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    loaded = Issuer.load(certificate_path, key_path)
    assert loaded.certificate == ca.certificate
    other = authority.create_ca(common_name="test CA", now=NOW, lifetime=DAY)
    other.save(tmp_path / "other.pem", key_path)
    with pytest.raises(Misconfigured):
        Issuer.load(certificate_path, key_path)
    with pytest.raises(Misconfigured):
        Issuer.load(tmp_path / "nothing.pem", key_path)


def test_an_authority_certifies_end_entities_only(ca: Issuer) -> None:
    """The authority's own certificate forbids authorities below it."""
    constraints = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
