"""A user authority: who gets a certificate, what is on the record, who is denied."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import pytest

from fairlead import login, signing
from fairlead.authority import load_certificate
from fairlead.certificates import IdentityKind, Role, identity_from_certificate
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Refused, Unreachable
from fairlead.partners import DenyLists, Directory
from fairlead.profile import Profile, load_profile
from fairlead.trust import Trust
from fairlead.user_authority.founding import found
from fairlead.user_authority.journal import drain_if_free
from fairlead.user_authority.register import State
from fairlead.v1 import audit_pb2, authority_pb2, directory_pb2
from tests.authorities import Serving, authority
from tests.founders import FEDERATION

DAY = 86_400
USER = f"spiffe://{FEDERATION}/partner/customs/user/u-c01"


def directory(made: Serving) -> Directory:
    config = made.people.config
    return Trust.load(config.trust).directory(config.directory, now=time.time())


def profile_of(made: Serving, name: str = "person") -> Profile:
    return load_profile(made.folder / "people" / name / "profile.toml")[0]


def deny_lists(made: Serving) -> DenyLists:
    lists = DenyLists()
    signed = directory_pb2.SignedDenyList.FromString(made.people.config.deny_list.read_bytes())
    data = signing.canonical(directory_pb2.DenyListBundle(lists=[signed]))
    lists.update(data, directory=directory(made), operators=(), now=time.time() + 1)
    return lists


def refusal(caught: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    metadata = dict(caught.value.trailing_metadata())  # type: ignore[attr-defined]
    return caught.value.code(), str(metadata.get("fairlead-reason"))  # type: ignore[attr-defined]


async def test_a_person_logs_in_with_a_key_made_at_home(tmp_path: Path) -> None:
    """One code gives a certificate that every server accepts, and a profile that loads."""
    async with authority(tmp_path) as made:
        done = await made.log_in(made.add("u-c01", Role.ANALYST, Role.APPROVER))
        profile = profile_of(made)
        der = load_certificate(Path(profile.certificate))
        from cryptography.hazmat.primitives.serialization import Encoding

        identity = identity_from_certificate(
            der.public_bytes(Encoding.DER), directory=directory(made), now=time.time()
        )
        assert (identity.spiffe_id, identity.kind) == (USER, IdentityKind.USER)
        assert identity.roles == {Role.ANALYST, Role.APPROVER}
        assert done.spiffe_id == USER
        assert profile.node_id.endswith("/partner/customs/node/node-1")


async def test_the_private_key_stays_in_the_persons_folder(tmp_path: Path) -> None:
    """Nothing outside that folder ever holds an octet string of the key, and it is 0600."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
    folder = tmp_path / "people" / "person"
    key = folder / "user.key"
    assert key.stat().st_mode & 0o777 == 0o600
    secret = signing.load_user_key(key).private_numbers().private_value.to_bytes(32, "big")
    elsewhere = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent != folder]
    assert len(elsewhere) > 20
    for path in elsewhere:
        octets = path.read_bytes()
        assert key.read_bytes() not in octets
        assert secret not in octets


async def test_every_issuance_is_a_leaf_before_the_certificate_leaves(tmp_path: Path) -> None:
    """The log tells who was entered, certified, renewed and suspended, by pseudonym."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
        assert made.subjects() == ["user-added", "certificate-issued"]
        await asyncio.to_thread(login.renew, profile_of(made), now=made.clock())
        assert made.subjects()[-1] == "certificate-renewed"
        made.people.suspend("u-c01")
    leaves = made.leaves()
    assert [leaf.subject for leaf in leaves][3:] == ["user-suspended"]
    assert {leaf.user for leaf in leaves} == {USER}
    assert {leaf.type for leaf in leaves} == {audit_pb2.LEAF_TYPE_USER}
    assert all(len(leaf.commitment) == 32 for leaf in leaves)


async def test_a_renewed_certificate_is_for_the_same_key(tmp_path: Path) -> None:
    """Renewal needs no code, changes no key and lasts another seven days."""
    async with authority(tmp_path) as made:
        first = await made.log_in(made.add("u-c01"))
        profile = profile_of(made)
        before = load_certificate(Path(profile.certificate))
        assert not login.due(profile, time.time())
        made.clock.offset = 5 * DAY
        assert login.due(profile, made.clock())
        until = await asyncio.to_thread(login.renew, profile, now=made.clock())
        after = load_certificate(Path(profile.certificate))
        assert after.public_key() == before.public_key()
        assert until - first.not_after > 4 * DAY


async def test_a_suspended_user_is_denied_and_not_renewed(tmp_path: Path) -> None:
    """Suspension is on the next deny list, which speaks about nobody else, and ends renewal."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
        made.add("u-c02")
        made.people.sign_deny_list()
        deny_lists(made).check(USER, time.time() + 2)
        assert made.people.suspend("u-c01")
        assert not made.people.suspend("u-c01")
        with pytest.raises(FairleadError) as denied:
            deny_lists(made).check(USER, time.time() + 2)
        assert denied.value.code == "DENIED"
        deny_lists(made).check(USER.replace("u-c01", "u-c02"), time.time() + 2)
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(login.renew, profile_of(made), now=made.clock())
        assert refusal(caught) == (grpc.StatusCode.PERMISSION_DENIED, "USER_SUSPENDED")


async def test_a_suspended_user_comes_back_when_no_certificate_is_left(tmp_path: Path) -> None:
    """Lifting a suspension never brings a stolen key back to life."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
        made.people.suspend("u-c01")
        with pytest.raises(Refused):
            made.people.renew("u-c01")
        made.clock.offset = 8 * DAY
        made.people.renew("u-c01")
        assert made.people.register.person("u-c01").state is State.ACTIVE


async def test_a_suspended_users_code_is_void(tmp_path: Path) -> None:
    """Whoever is suspended before logging in cannot log in."""
    async with authority(tmp_path) as made:
        code = made.add("u-c01")
        made.people.suspend("u-c01")
        with pytest.raises(grpc.RpcError) as caught:
            await made.log_in(code)
        assert refusal(caught) == (grpc.StatusCode.UNAUTHENTICATED, "CODE_REFUSED")


async def test_a_service_user_carries_its_schemes_and_its_person(tmp_path: Path) -> None:
    """What a program may ask about stands in its certificate, and goes with its person."""
    async with authority(tmp_path) as made:
        made.add("u-c01")
        code = made.add("svc-x", responsible="u-c01", schemes=("container", "vessel-imo"))
        await made.log_in(code)
        from cryptography.hazmat.primitives.serialization import Encoding

        der = load_certificate(Path(profile_of(made).certificate)).public_bytes(Encoding.DER)
        identity = identity_from_certificate(der, directory=directory(made), now=time.time())
        assert (identity.responsible, identity.schemes) == ("u-c01", {"container", "vessel-imo"})
        identity.check_schemes(["container"])
        with pytest.raises(Refused) as caught:
            identity.check_schemes(["container", "vehicle-plate"])
        assert caught.value.code == "SCHEME_NOT_ALLOWED"
        made.people.suspend("u-c01")
        assert made.people.register.person("svc-x").state is State.SUSPENDED


async def test_nobody_answers_for_themselves_or_for_nothing(tmp_path: Path) -> None:
    """A service user needs an active person and at least one scheme."""
    async with authority(tmp_path, ready=False) as made:
        made.add("u-c01")
        made.add("svc-x", responsible="u-c01", schemes=("container",))
        for wrong in (
            {"responsible": "svc-x", "schemes": ("container",)},
            {"responsible": "u-nobody", "schemes": ("container",)},
            {"responsible": "u-c01", "schemes": ()},
            {"responsible": "", "schemes": ("container",)},
            {"responsible": "u-c01", "schemes": ("Container 1",)},
        ):
            with pytest.raises(FairleadError):
                made.add("svc-y", **wrong)
        assert [p.pseudonym for p in made.people.register.people()] == ["svc-x", "u-c01"]


@pytest.mark.parametrize("pseudonym", ["", "Jan Jansen", "u/../../x", "U-C01", "x" * 40])
async def test_a_pseudonym_is_no_name(tmp_path: Path, pseudonym: str) -> None:
    """What is not a pseudonym does not enter the register."""
    async with authority(tmp_path, ready=False) as made:
        with pytest.raises(InvalidInput):
            made.add(pseudonym)
        assert made.people.register.people() == []


async def test_a_pseudonym_is_given_once(tmp_path: Path) -> None:
    """Entering somebody twice is a conflict, and the first code stays good."""
    async with authority(tmp_path) as made:
        code = made.add("u-c01")
        with pytest.raises(Conflict):
            made.add("u-c01", Role.OPERATOR)
        await made.log_in(code)


async def test_an_authority_that_is_gone_is_named(tmp_path: Path) -> None:
    """Login and renewal say that nobody answers; the certificate in hand stays as it is."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
    profile = profile_of(made)
    before = Path(profile.certificate).read_bytes()
    with pytest.raises(Unreachable) as caught:
        await asyncio.to_thread(login.renew, profile, now=time.time())
    assert caught.value.code == "AUTHORITY_UNREACHABLE"
    with pytest.raises(Unreachable) as again:
        await made.log_in("any-code", "other")
    assert again.value.code == "AUTHORITY_UNREACHABLE"
    assert "fairlead-authority serve" in again.value.remedy
    assert Path(profile.certificate).read_bytes() == before


async def test_another_authority_gets_no_code(tmp_path: Path) -> None:
    """A server that is not the one of the fingerprint never sees the code."""
    async with authority(tmp_path) as made:
        code = made.add("u-c01")
        with pytest.raises(Forged) as caught:
            await made.log_in(code, fingerprint=bytes(32))
        assert caught.value.code == "AUTHORITY_FINGERPRINT"
        await made.log_in(code)


@pytest.mark.parametrize("skew", [-130, 130])
async def test_clocks_that_differ_are_named(tmp_path: Path, skew: float) -> None:
    """More than two minutes of difference is refused before the code is used up."""
    async with authority(tmp_path) as made:
        code = made.add("u-c01")
        with pytest.raises(grpc.RpcError) as caught:
            await made.log_in(code, now=made.clock() + skew)
        assert refusal(caught) == (grpc.StatusCode.FAILED_PRECONDITION, "CLOCK_SKEW")
        await made.log_in(code)


async def test_an_authority_without_directory_uses_no_code_up(tmp_path: Path) -> None:
    """Before its partner is enrolled the authority says so, and the code stays good."""
    async with authority(tmp_path, ready=False) as made:
        code = made.add("u-c01")
        with pytest.raises(grpc.RpcError) as caught:
            await made.log_in(code)
        assert refusal(caught) == (grpc.StatusCode.FAILED_PRECONDITION, "AUTHORITY_NOT_READY")
        with made.people.register.change():
            assert made.people.credential.redeem(code, now=made.clock()) == "u-c01"


async def test_a_renewal_by_another_key_is_refused(tmp_path: Path) -> None:
    """Who holds a certificate but not its key gets nothing from it."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
        await made.log_in(made.add("u-c02"), "other")
        mine, other = profile_of(made), profile_of(made, "other")
        stolen = mine.model_copy(update={"key": other.key})
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(login.renew, stolen, now=made.clock())
        assert refusal(caught)[1] == "SIGNATURE"


@pytest.mark.parametrize("octets", [b"", b"\xff" * 100])
async def test_any_octets_are_no_renewal(tmp_path: Path, octets: bytes) -> None:
    """A renewal that cannot be read is a refusal, whatever stands in it."""
    async with authority(tmp_path, ready=False) as made:
        renewal = signing.canonical(
            authority_pb2.Renewal(certificate=octets, issued_at=int(time.time()))
        )
        for data in (octets, renewal):
            with pytest.raises(FairleadError):
                made.people.next_certificate(data, b"")


async def test_founding_again_changes_nothing(tmp_path: Path) -> None:
    """A second init keeps key, register and list; a folder of something else is left alone."""

    def init(partner: str = "customs") -> None:
        found(
            tmp_path / "authority", partner=partner, federation=FEDERATION,
            listen="127.0.0.1:0", node_folder=None, now=time.time(),
        )  # fmt: skip

    init()
    key = (tmp_path / "authority" / "keys" / "authority.key").read_bytes()
    init()
    assert (tmp_path / "authority" / "keys" / "authority.key").read_bytes() == key
    with pytest.raises(FairleadError) as caught:
        init("police")
    assert caught.value.code == "FOLDER_IN_THE_WAY"


async def test_commands_beside_a_serving_authority_leave_their_leaves_to_it(
    tmp_path: Path,
) -> None:
    """A leaf written by a command is neither lost nor doubled, whoever holds the log."""
    async with authority(tmp_path, ready=False) as made:
        made.add("u-c01")
        people = made.people
        assert not await drain_if_free(people.config, people.register, people.clock)
        made.people.suspend("u-c01")
    assert made.subjects() == ["user-added", "user-suspended"]
    from fairlead.user_authority.register import Register

    register = Register.open(people.config.register)
    assert await drain_if_free(people.config, register, people.clock)
    register.close()
    assert made.subjects() == ["user-added", "user-suspended"]
