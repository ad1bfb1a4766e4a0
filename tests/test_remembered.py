"""Remembered certificates: verified once, judged at every call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.dev import federation as specs
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead import remembered
from fairlead.certificates import Identity, identity_from_certificate
from fairlead.errors import Unauthenticated
from fairlead.remembered import RememberedCertificates

NOW = 1_790_000_000.0
DAY_S = 86_400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two partners and a gateway, made at NOW."""
    partners = specs.demo_partners()[:2]
    layout = make(tmp_path_factory.mktemp("certs") / "out", partners=partners, now=NOW)
    return open_federation(layout, now=NOW)


@pytest.fixture
def der(world: Opened) -> bytes:
    """A user's certificate."""
    pem = (world.layout.user("customs", "u-c01") / "user.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What went through the whole procedure."""
    seen: list[bytes] = []
    procedure: Callable[..., Identity] = identity_from_certificate

    def record(octets: bytes, **context: object) -> Identity:
        seen.append(octets)
        return procedure(octets, **context)

    monkeypatch.setattr(remembered, "identity_from_certificate", record)
    return seen


def test_a_certificate_is_verified_once(world: Opened, der: bytes, verified: list[bytes]) -> None:
    """The second call says the same and does not repeat the signature check."""
    memory = RememberedCertificates()
    first = memory(der, directory=world.directory, now=NOW)
    assert memory(der, directory=world.directory, now=NOW + 1) is first
    assert verified == [der]


@pytest.mark.parametrize("when", [NOW - 30 * DAY_S, NOW + 30 * DAY_S])
def test_an_expired_certificate_is_refused_although_remembered(
    world: Opened, der: bytes, when: float
) -> None:
    """Before its time and after it, the full procedure refuses with its own reason."""
    memory = RememberedCertificates()
    memory(der, directory=world.directory, now=NOW)
    with pytest.raises(Unauthenticated) as refused:
        memory(der, directory=world.directory, now=when)
    with pytest.raises(Unauthenticated) as full:
        identity_from_certificate(der, directory=world.directory, now=when)
    assert refused.value.reasons == full.value.reasons


def test_the_last_second_counts_as_in_the_procedure(world: Opened, der: bytes) -> None:
    """At the very end of its time a remembered certificate is refused, a second before not."""
    memory = RememberedCertificates()
    ends = memory(der, directory=world.directory, now=NOW).not_after
    memory(der, directory=world.directory, now=ends - 1)
    with pytest.raises(Unauthenticated):
        memory(der, directory=world.directory, now=ends)


def test_another_directory_forgets_everything(
    world: Opened, der: bytes, verified: list[bytes]
) -> None:
    """A directory that came later is asked about every certificate again."""
    memory = RememberedCertificates()
    memory(der, directory=world.directory, now=NOW)
    later = open_federation(world.layout, now=NOW).directory
    memory(der, directory=later, now=NOW)
    assert verified == [der, der]


def test_the_memory_is_bounded_and_keeps_no_refusal(
    world: Opened, der: bytes, verified: list[bytes]
) -> None:
    """Full, it starts anew; what was refused is verified, and refused, at every call."""
    memory = RememberedCertificates(capacity=1)
    other = world.layout.user("customs", "u-c02") / "user.pem"
    second = x509.load_pem_x509_certificate(other.read_bytes()).public_bytes(Encoding.DER)
    for octets in (der, second, der):
        memory(octets, directory=world.directory, now=NOW)
    assert verified == [der, second, der]
    forged = der[:-1] + bytes((der[-1] ^ 1,))
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            memory(forged, directory=world.directory, now=NOW)
    assert verified[3:] == [forged, forged]
