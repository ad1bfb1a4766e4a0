"""Certificate → identity: who may stand behind a certificate, and who may not."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from certs.dev import federation as specs
from certs.dev.lists import deny
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead.authority import Issuer, create_ca
from fairlead.certificates import (
    ROLES_OID,
    Identity,
    IdentityCheck,
    IdentityKind,
    Role,
    SpiffeId,
    encode_roles,
    identity_from_certificate,
)
from fairlead.errors import InvalidInput, Stale, Unauthenticated

NOW = 1_790_000_000.0
FEDERATION = "fairlead.demo"
GATEWAY = f"spiffe://{FEDERATION}/gateway/gw-1"
NODE = f"spiffe://{FEDERATION}/partner/customs/node/node-1"
USER = f"spiffe://{FEDERATION}/partner/customs/user/u-c01"
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two partners and a gateway, made at NOW."""
    partners = specs.demo_partners()[:2]
    layout = make(tmp_path_factory.mktemp("certs") / "out", partners=partners, now=NOW)
    return open_federation(layout, now=NOW)


def mint(
    issuer: Issuer,
    *uris: str,
    roles: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
    begins: float = NOW - 60,
    lifetime: timedelta = timedelta(days=1),
    ca: bool = False,
    critical_roles: bool = False,
    algorithm: hashes.SHA512 | None = None,
    extra: x509.UnrecognizedExtension | None = None,
    critical_extra: bool = True,
) -> bytes:
    """A certificate with any mistake one can ask for, DER."""
    start = datetime.fromtimestamp(begins, UTC)
    public = (key or ec.generate_private_key(ec.SECP256R1())).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if roles is not None:
        extension = x509.UnrecognizedExtension(ROLES_OID, roles)
        builder = builder.add_extension(extension, critical=critical_roles)
    if extra is not None:
        builder = builder.add_extension(extra, critical=critical_extra)
    return builder.sign(issuer.key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def identify(world: Opened, der: bytes, now: float = NOW) -> Identity:
    return identity_from_certificate(der, directory=world.directory, now=now)


def refused(world: Opened, der: bytes, now: float = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        identify(world, der, now)
    return caught.value.code


ANALYST = encode_roles([Role.ANALYST])

names = st.from_regex(r"[a-z][a-z0-9-]{1,31}", fullmatch=True)


@given(names, names)
def test_spiffe_ids_round_trip(partner: str, name: str) -> None:
    """Every id that can be written reads back as itself, and has a DNS name of its own."""
    seen = set()
    for kind in IdentityKind:
        owner = None if kind is IdentityKind.GATEWAY else partner
        spiffe_id = SpiffeId(federation=FEDERATION, kind=kind, partner_id=owner, name=name)
        assert SpiffeId.parse(str(spiffe_id)) == spiffe_id
        seen.add(spiffe_id.dns_name)
    assert len(seen) == 3


@given(st.text() | st.from_regex(r"spiffe://.*"))
def test_spiffe_parser_is_total(text: str) -> None:
    """Any text is either an id that writes itself back, or InvalidInput."""
    with contextlib.suppress(InvalidInput):
        assert str(SpiffeId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://fairlead.demo",
        "spiffe://fairlead.demo/",
        "spiffe://fairlead.demo/gateway/",
        "spiffe://fairlead.demo/gateway/gw-1/",
        "spiffe://fairlead.demo/gateway/gw-1\n",
        "spiffe://fairlead.demo//gateway/gw-1",
        "spiffe://fairlead.demo:443/gateway/gw-1",
        "spiffe://user@fairlead.demo/gateway/gw-1",
        "spiffe://fairlead..demo/gateway/gw-1",
        "spiffe://FAIRLEAD.demo/gateway/gw-1",
        "SPIFFE://fairlead.demo/gateway/gw-1",
        "https://fairlead.demo/gateway/gw-1",
        "spiffe://fairlead.demo/gateway/gw%2d1",
        "spiffe://fairlead.demo/gateway/gw-1?x=1",
        "spiffe://fairlead.demo/gateway/gw-1#x",
        "spiffe://fairlead.demo/partner/customs",
        "spiffe://fairlead.demo/partner/customs/node/../user/u-c01",
        "spiffe://fairlead.demo/partner/customs/admin/root",
        "spiffe://fairlead.demo/partner/Customs/node/node-1",
        "spiffe://fairlead.demo/partner/сustoms/node/node-1",
        "spiffe://fairlead.demo/partner/customs/node/node-1/user/u-c01",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    """A SPIFFE id has one spelling; look-alikes, paths and ports are none."""
    with pytest.raises(InvalidInput):
        SpiffeId.parse(text)


def test_the_right_certificates_are_identified(world: Opened) -> None:
    """What the recipe issues is recognised, with partner, roles, expiry and digest."""
    ca, authority = world.federation_ca(), world.user_authority("customs")
    gateway = identify(world, mint(ca, GATEWAY))
    node = identify(world, mint(ca, NODE))
    der = mint(authority, USER, roles=encode_roles([Role.ANALYST, Role.AUDITOR]))
    user = identify(world, der)
    assert (gateway.kind, gateway.partner_id, gateway.name) == (IdentityKind.GATEWAY, None, "gw-1")
    assert (node.kind, node.partner_id, node.name) == (IdentityKind.NODE, "customs", "node-1")
    assert (user.kind, user.partner_id, user.name) == (IdentityKind.USER, "customs", "u-c01")
    assert user.roles == {Role.ANALYST, Role.AUDITOR}
    assert user.spiffe_id == USER
    assert user.not_after == NOW - 60 + 86_400
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert user.digest == digest.finalize()
    assert gateway.roles == node.roles == frozenset()


def test_the_federation_cannot_mint_a_user(world: Opened) -> None:
    """A user's certificate under the federation CA is refused."""
    assert refused(world, mint(world.federation_ca(), USER, roles=ANALYST)) == "ISSUER"


def test_an_authority_cannot_mint_a_node_or_a_gateway(world: Opened) -> None:
    """A user authority's signature makes neither a node nor a gateway."""
    authority = world.user_authority("customs")
    assert refused(world, mint(authority, NODE)) == "ISSUER"
    assert refused(world, mint(authority, GATEWAY)) == "ISSUER"


def test_another_partners_authority_cannot_mint_a_user(world: Opened) -> None:
    """The police's authority cannot make a customs officer."""
    assert refused(world, mint(world.user_authority("police"), USER, roles=ANALYST)) == "ISSUER"


def test_an_alien_authority_of_the_same_name_is_refused(world: Opened) -> None:
    """A CA that copies the federation CA's name has another key."""
    name = world.federation_ca().certificate.subject
    common = str(name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    alien = create_ca(common_name=common, now=NOW, lifetime=timedelta(days=1))
    assert alien.certificate.subject == name
    assert refused(world, mint(alien, NODE)) == "ISSUER"


def test_a_node_certificate_cannot_issue(world: Opened) -> None:
    """A stolen node key with its certificate as issuer is no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = mint(world.federation_ca(), NODE, key=key)
    stolen = Issuer(certificate=x509.load_der_x509_certificate(der), key=key)
    assert refused(world, mint(stolen, GATEWAY)) == "ISSUER"


def test_an_authority_that_is_no_ca_issues_nothing(world: Opened) -> None:
    """A directory entry whose user authority is an ordinary certificate makes no users."""
    key = ec.generate_private_key(ec.SECP256R1())
    node = x509.load_der_x509_certificate(mint(world.federation_ca(), NODE, key=key))
    customs = dataclasses.replace(world.directory.partners["customs"], user_authority=node)
    partners = {**world.directory.partners, "customs": customs}
    directory = dataclasses.replace(world.directory, partners=partners)
    der = mint(Issuer(certificate=node, key=key), USER, roles=ANALYST)
    with pytest.raises(Unauthenticated) as caught:
        identity_from_certificate(der, directory=directory, now=NOW)
    assert caught.value.code == "ISSUER"


def test_an_authority_out_of_force_issues_nothing(world: Opened) -> None:
    """A leaf that outlives its issuer stops with it."""
    der = mint(world.federation_ca(), NODE, lifetime=timedelta(days=365))
    assert identify(world, der).name == "node-1"
    assert refused(world, der, now=NOW + 40 * 86_400) == "ISSUER"


@pytest.mark.parametrize(
    ("uris", "code"),
    [
        ((), "SPIFFE_ID"),
        ((NODE, GATEWAY), "SPIFFE_ID"),
        ((NODE, NODE), "SPIFFE_ID"),
        (("https://example.org/",), "SPIFFE_ID"),
        ((NODE + "/",), "SPIFFE_ID"),
        (("spiffe://other.demo/gateway/gw-1",), "FEDERATION"),
        ((f"spiffe://{FEDERATION}/gateway/gw-2",), "UNKNOWN_GATEWAY"),
        ((f"spiffe://{FEDERATION}/partner/customs/node/node-2",), "UNKNOWN_NODE"),
        ((f"spiffe://{FEDERATION}/partner/nobody/node/node-1",), "UNKNOWN_PARTNER"),
        ((f"spiffe://{FEDERATION}/partner/nobody/user/u-c01",), "UNKNOWN_PARTNER"),
    ],
)
def test_names_outside_the_directory_are_refused(
    world: Opened, uris: tuple[str, ...], code: str
) -> None:
    """The federation CA's signature alone does not make a participant."""
    assert refused(world, mint(world.federation_ca(), *uris)) == code


def test_time_bounds(world: Opened) -> None:
    """Before its first and from its last second on, a certificate is nobody's."""
    der = mint(world.federation_ca(), NODE, begins=NOW, lifetime=timedelta(seconds=100))
    assert refused(world, der, now=NOW - 0.001) == "NOT_YET_VALID"
    assert identify(world, der, now=NOW).name == "node-1"
    assert identify(world, der, now=NOW + 99.999).name == "node-1"
    assert refused(world, der, now=NOW + 100) == "EXPIRED"


def test_a_users_certificate_lives_seven_days(world: Opened) -> None:
    """Seven days pass; one second more is refused although the authority signed it."""
    authority = world.user_authority("customs")
    week = timedelta(days=7)
    assert identify(world, mint(authority, USER, roles=ANALYST, lifetime=week))
    longer = mint(authority, USER, roles=ANALYST, lifetime=week + timedelta(seconds=1))
    assert refused(world, longer) == "LIFETIME"


def test_key_usage_and_key_kind(world: Opened) -> None:
    """Server-only certificates, CA certificates, other curves and SHA-512 are refused."""
    ca = world.federation_ca()
    server_only = (ExtendedKeyUsageOID.SERVER_AUTH,)
    assert refused(world, mint(ca, NODE, usages=server_only)) == "KEY_USAGE"
    assert refused(world, mint(ca, NODE, usages=())) == "KEY_USAGE"
    assert refused(world, mint(ca, NODE, ca=True)) == "CERTIFICATE"
    other = ec.generate_private_key(ec.SECP384R1())
    assert refused(world, mint(ca, NODE, key=other)) == "CERTIFICATE"
    assert refused(world, mint(ca, NODE, algorithm=hashes.SHA512())) == "ISSUER"
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.3.1"), b"\x05\x00")
    assert refused(world, mint(ca, NODE, extra=unknown)) == "CERTIFICATE"


@pytest.mark.parametrize(
    "roles",
    [
        None,
        b"",
        b"\x0c\x00",
        b"analyst",
        b"\x0c\x05admin",
        b"\x0c\x0danalyst,admin",
        b"\x0c\x0fanalyst,analyst",
        b"\x0c\x10approver,analyst",
        b"\x0c\x81\x07analyst",
        b"\x13\x07analyst",
        b"\x0c\x08analyst ",
        b"\x0c\x07ANALYST",
        b"\x0c\x07analyst\x00",
        b"\x0c\x08\xc3\xa0nalyst",
    ],
)
def test_roles_have_one_spelling(world: Opened, roles: bytes | None) -> None:
    """No role, an unknown role, and any second encoding of a role are refused."""
    assert refused(world, mint(world.user_authority("customs"), USER, roles=roles)) == "ROLES"


def test_a_negative_serial_number_is_refused(world: Opened) -> None:
    """What the library lets pass with a warning (RFC 5280 forbids it) is refused, well signed."""
    issuer = world.federation_ca()
    certificate = x509.load_der_x509_certificate(mint(issuer, NODE))
    while certificate.serial_number.bit_length() <= 152:  # its first octet must take the sign
        certificate = x509.load_der_x509_certificate(mint(issuer, NODE))
    tbs = bytearray(certificate.tbs_certificate_bytes)
    serial = certificate.serial_number.to_bytes(20, "big").lstrip(b"\x00")
    tbs[tbs.index(serial)] |= 0x80
    signature = issuer.key.sign(bytes(tbs), ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    whole = bytes(tbs) + algorithm + b"\x03" + bytes((len(signature) + 1,)) + b"\x00" + signature
    assert refused(world, b"\x30\x82" + len(whole).to_bytes(2, "big") + whole) == "CERTIFICATE"


def test_organisations_carry_no_roles(world: Opened) -> None:
    """A node with a roles extension is a confusion somebody arranged."""
    assert refused(world, mint(world.federation_ca(), NODE, roles=ANALYST)) == "ROLES"


def test_no_altered_certificate_is_anybodys(world: Opened) -> None:
    """Whichever single bit is flipped, the certificate is refused, and nothing else is raised."""
    der = mint(world.user_authority("customs"), USER, roles=ANALYST)
    for bit in range(8 * len(der)):
        altered = bytearray(der)
        altered[bit // 8] ^= 1 << bit % 8
        refused(world, bytes(altered))


@given(st.binary(max_size=200))
def test_any_octets_are_refused_calmly(world: Opened, noise: bytes) -> None:
    """Octets that are no certificate give CERTIFICATE and never another exception."""
    assert refused(world, noise) == "CERTIFICATE"


def test_an_oversized_certificate_is_not_parsed(world: Opened) -> None:
    """Sixteen kilobytes are enough; a short unknown extension that is not critical is ignored."""
    oid = x509.ObjectIdentifier("1.3.6.1.3.1")
    small = x509.UnrecognizedExtension(oid, b"\x05\x00")
    assert identify(world, mint(world.federation_ca(), NODE, extra=small, critical_extra=False))
    huge = x509.UnrecognizedExtension(oid, b"\x04" * 17_000)
    der = mint(world.federation_ca(), NODE, extra=huge, critical_extra=False)
    assert refused(world, der) == "CERTIFICATE"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fresh(tmp_path: Path) -> Opened:
    """A federation of its own, for tests that change its lists."""
    partners = specs.demo_partners()[:2]
    lifetimes = specs.Lifetimes(deny_lists=timedelta(days=3))
    layout = make(tmp_path / "out", partners=partners, now=NOW, lifetimes=lifetimes)
    return open_federation(layout, now=NOW)


def checker(world: Opened, clock: Clock) -> IdentityCheck:
    return IdentityCheck(
        directory=lambda: world.directory, deny_lists=world.deny_lists, clock=clock
    )


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def test_a_remembered_certificate_still_expires(fresh: Opened) -> None:
    """The parse is remembered, the verdict is not: expiry counts on every call."""
    clock = Clock()
    check = checker(fresh, clock)
    node = pem(mint(fresh.federation_ca(), NODE, lifetime=timedelta(seconds=160)))
    first = check.check(node)
    assert check.check(node) is first
    clock.now = NOW + 100
    with pytest.raises(Unauthenticated) as caught:
        check.check(node)
    assert caught.value.code == "EXPIRED"


def test_a_remembered_certificate_can_be_denied(fresh: Opened) -> None:
    """A deny list that arrives later refuses the user and nobody else."""
    clock = Clock()
    check = checker(fresh, clock)
    user = pem(mint(fresh.user_authority("customs"), USER, roles=ANALYST))
    node = pem(mint(fresh.federation_ca(), NODE))
    check.check(user)
    check.check(node)
    data = deny(fresh.layout, [USER], serial=2, now=NOW)
    fresh.deny_lists.update(data, directory=fresh.directory, operators=fresh.operators, now=NOW)
    with pytest.raises(Unauthenticated) as caught:
        check.check(user)
    assert caught.value.code == "DENIED"
    check.check(node)


def test_an_old_deny_list_refuses(fresh: Opened) -> None:
    """Silence means no: past the list's expiry everybody it could name is refused."""
    clock = Clock()
    check = checker(fresh, clock)
    node = pem(mint(fresh.federation_ca(), NODE, lifetime=timedelta(days=30)))
    check.check(node)
    clock.now = NOW + 3 * 86_400
    with pytest.raises(Unauthenticated) as caught:
        check.check(node)
    assert caught.value.code == "DENY_LIST_EXPIRED"


def test_another_directory_forgets_every_parse(fresh: Opened) -> None:
    """A partner that leaves the directory leaves the memory too."""
    clock = Clock()
    current = [fresh.directory]
    check = IdentityCheck(directory=lambda: current[0], deny_lists=fresh.deny_lists, clock=clock)
    node = pem(mint(fresh.federation_ca(), NODE))
    check.check(node)
    without = {k: v for k, v in fresh.directory.partners.items() if k != "customs"}
    current[0] = dataclasses.replace(fresh.directory, partners=without)
    with pytest.raises(Unauthenticated) as caught:
        check.check(node)
    assert caught.value.code == "UNKNOWN_PARTNER"


def test_an_expired_directory_refuses_everybody(fresh: Opened) -> None:
    """Without a directory in force nobody is anybody."""
    clock = Clock()
    check = checker(fresh, clock)
    node = pem(mint(fresh.federation_ca(), NODE, lifetime=timedelta(days=30)))
    check.check(node)
    clock.now = fresh.directory.expires_at
    with pytest.raises(Stale):
        check.check(node)


def test_the_memory_is_bounded(fresh: Opened) -> None:
    """Many certificates cost time, never memory without end."""
    check = IdentityCheck(
        directory=lambda: fresh.directory,
        deny_lists=fresh.deny_lists,
        clock=Clock(),
        capacity=3,
    )
    ca = fresh.federation_ca()
    for _ in range(10):
        check.check(pem(mint(ca, NODE)))
        assert len(check._known) <= 3


@given(st.binary(max_size=300))
def test_pem_noise_is_refused_calmly(world: Opened, noise: bytes) -> None:
    """Whatever TLS hands over, the check says who or says no."""
    with pytest.raises(Unauthenticated):
        checker(world, Clock()).check(noise)
