"""Attack: somebody steals or guesses a one-time code, or holds the node and wants a user."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fairlead import login
from fairlead.authority import create_ca
from fairlead.certificates import Role, identity_from_certificate
from fairlead.errors import Unauthenticated
from fairlead.keyfile import private_folder
from fairlead.user_authority.app import open_people
from fairlead.user_authority.register import Person
from fairlead.v1 import audit_pb2
from tests.authorities import Serving, authority
from tests.test_user_authority import directory, profile_of


def reason(caught: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    return str(dict(caught.value.trailing_metadata()).get("fairlead-reason"))  # type: ignore[attr-defined]


def refusals(made: Serving) -> list[str]:
    kinds = [leaf for leaf in made.leaves() if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL]
    return [code for leaf in kinds for code in leaf.reasons]


async def test_a_code_that_was_used_is_refused_and_on_the_record(tmp_path: Path) -> None:
    """The thief who comes second gets nothing; who comes first, the owner of the code notices."""
    async with authority(tmp_path) as made:
        code = made.add("u-c01")
        await made.log_in(code)
        with pytest.raises(grpc.RpcError) as caught:
            await made.log_in(code, "thief")
        assert reason(caught) == "CODE_REFUSED"
        assert not (tmp_path / "people" / "thief").exists()
        assert refusals(made) == ["CODE_REFUSED"]


async def test_guessing_is_on_the_record_until_it_is_cut_off(tmp_path: Path) -> None:
    """Twenty guesses are twenty leaves; the next ones are refused unheard and fill no log."""
    async with authority(tmp_path) as made:
        made.add("u-c01")
        told = []
        for guess in range(23):
            with pytest.raises(grpc.RpcError) as caught:
                await made.log_in(f"{guess:026d}", "thief")
            told.append(reason(caught))
        assert told == ["CODE_REFUSED"] * 20 + ["TOO_MANY_ATTEMPTS"] * 3
        assert len(refusals(made)) == 20


async def test_a_suspended_persons_key_is_not_certified_and_is_on_the_record(
    tmp_path: Path,
) -> None:
    """Whoever still holds the key tries to renew: refused, with the pseudonym, every time."""
    async with authority(tmp_path) as made:
        await made.log_in(made.add("u-c01"))
        made.people.suspend("u-c01")
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(login.renew, profile_of(made), now=made.clock())
            assert reason(caught) == "USER_SUSPENDED"
        assert refusals(made) == ["USER_SUSPENDED"] * 2
        assert made.leaves()[-1].user.endswith("/partner/customs/user/u-c01")


async def test_the_nodes_administrator_cannot_mint_a_user(tmp_path: Path) -> None:
    """Every file of the node together makes no authority, and no user its own door lets in."""
    async with authority(tmp_path) as made:
        home = tmp_path / "node"
        key = (made.people.config.keys_dir / "authority.key").read_bytes()
        for path in home.rglob("*"):
            if path.is_file():
                assert key not in path.read_bytes()
        forged = made.people.config.model_copy(
            update={name: tmp_path / "imitation" / name for name in ("keys_dir", "state_dir")}
        )
        imitation = create_ca(
            common_name="customs user authority", now=time.time(), lifetime=timedelta(days=9)
        )
        keys = private_folder(forged.keys_dir)
        imitation.save(keys / "authority.pem", keys / "authority.key")
        people = open_people(forged)
        code = people.add(Person(pseudonym="u-ghost", roles=(Role.ANALYST,)))
        der = people.enrol(code, ec.generate_private_key(ec.SECP256R1()).public_key())
        people.register.close()
        with pytest.raises(Unauthenticated) as caught:
            identity_from_certificate(der, directory=directory(made), now=time.time())
        assert caught.value.code == "ISSUER"
