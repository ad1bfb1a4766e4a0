"""One suite over every way in which a person shows, once, who they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.certificates import Role
from fairlead.errors import FairleadError, Overloaded, Unauthenticated
from fairlead.user_authority.credential import (
    CODE_LIFETIME_S,
    FAILURE_WINDOW_S,
    MAX_FAILURES,
    Credential,
    OneTimeCodes,
)
from fairlead.user_authority.register import Person, Register

NOW = 1_790_000_000.0


@pytest.fixture
def register(tmp_path: Path) -> Register:
    found = Register.open(tmp_path / "register.sqlite")
    with found.change():
        for name in ("u-c01", "u-c02"):
            found.add(Person(pseudonym=name, roles=(Role.ANALYST,)))
    return found


@pytest.fixture(params=[OneTimeCodes], ids=["one-time codes"])
def credential(request: pytest.FixtureRequest, register: Register) -> Credential:
    make: Callable[[Register], Credential] = request.param
    return make(register)


def refused(credential: Credential, presented: str, now: float = NOW) -> FairleadError:
    with pytest.raises(FairleadError) as caught:
        credential.redeem(presented, now=now)
    return caught.value


def test_it_says_whose_it_is_once(credential: Credential) -> None:
    """A credential names its person the first time and nobody the second."""
    presented = credential.issue("u-c01", now=NOW, secret=bytes(16))
    assert credential.redeem(presented, now=NOW + 1) == "u-c01"
    assert isinstance(refused(credential, presented), Unauthenticated)


def test_a_newer_one_voids_the_older(credential: Credential) -> None:
    """Somebody who is handed a second credential cannot use the first any more."""
    old = credential.issue("u-c01", now=NOW, secret=bytes(16))
    new = credential.issue("u-c01", now=NOW, secret=bytes([1] * 16))
    other = credential.issue("u-c02", now=NOW, secret=bytes([2] * 16))
    assert refused(credential, old).code == "CODE_REFUSED"
    assert credential.redeem(new, now=NOW) == "u-c01"
    assert credential.redeem(other, now=NOW) == "u-c02"


def test_it_expires(credential: Credential) -> None:
    """After its time it is nobody's, and is used up by the attempt."""
    presented = credential.issue("u-c01", now=NOW, secret=bytes(16))
    assert refused(credential, presented, NOW + CODE_LIFETIME_S).code == "CODE_REFUSED"
    assert refused(credential, presented).code == "CODE_REFUSED"


@pytest.mark.parametrize("presented", ["", "u-c01", "a" * 100_000, "\ud800", "'; DROP TABLE user"])
def test_whatever_is_presented_is_at_most_refused(credential: Credential, presented: str) -> None:
    """Any text is a refusal, never another error."""
    assert refused(credential, presented).code == "CODE_REFUSED"


def test_case_and_dashes_do_not_matter(credential: Credential) -> None:
    """What is read out or typed by hand is understood."""
    presented = credential.issue("u-c01", now=NOW, secret=bytes(range(16)))
    assert credential.redeem(presented.replace("-", " ").upper(), now=NOW) == "u-c01"


def test_guessing_is_slowed_down(credential: Credential, register: Register) -> None:
    """After twenty refusals nothing is accepted, not even what is right, for ten minutes."""
    presented = credential.issue("u-c01", now=NOW, secret=bytes(16))
    for _ in range(MAX_FAILURES):
        register.failed(int(NOW))
    assert isinstance(refused(credential, presented), Overloaded)
    assert credential.redeem(presented, now=NOW + FAILURE_WINDOW_S + 1) == "u-c01"


def test_the_register_holds_no_code(tmp_path: Path, register: Register) -> None:
    """Whoever reads the register's file cannot log in as anybody."""
    presented = OneTimeCodes(register).issue("u-c01", now=NOW, secret=bytes(range(16)))
    register.close()
    octets = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert presented.encode() not in octets
    assert presented.replace("-", "").encode() not in octets
    assert bytes(range(16)) not in octets
