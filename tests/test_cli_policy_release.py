"""``fairlead policy sign, publish, status, revert``: as officers type it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certs.dev.federation import UserSpec
from certs.dev.policies import local_policy
from fairlead.certificates import Role
from fairlead.policy.issuing import Wishes
from tests.commands import Ended, as_user
from tests.commands import fairlead as typed
from tests.federation import Federation, federation
from tests.live import apart, start, until

PEOPLE = {
    "customs": (UserSpec(pseudonym="u-so1", roles=(Role.SECURITY_OFFICER,)),),
    "terminal-north": (UserSpec(pseudonym="u-so2", roles=(Role.SECURITY_OFFICER,)),),
}


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Federation]:
    async with federation(
        tmp_path, partners=("customs", "terminal-north"), more_users=PEOPLE, start=False
    ) as found:
        apart(found)
        await start(found)
        await found.reconnected()
        yield found


async def policy(made: Federation, *words: object, officer: int = 1) -> Ended:
    """One of the two officers types it."""
    partner = ("customs", "terminal-north")[officer - 1]
    return await as_user(made, "policy", *map(str, words), user=f"u-so{officer}", partner=partner)


async def signed(made: Federation, folder: Path, officer: int, *words: str) -> Ended:
    """With the officer's own key."""
    key = made.layout.federation / f"policy-{officer}.key"
    return await policy(made, "sign", folder, "--key", key, "--yes", *words, officer=officer)


async def test_a_release_from_fetch_to_revert(made: Federation, tmp_path: Path) -> None:
    """Fetch, edit, sign twice, publish, see it everywhere, go back: each step says the next."""
    folder = tmp_path / "next"
    assert (await policy(made, "fetch", folder)).code == 0
    agreements = folder / "data" / "demo.yaml"
    agreements.write_text(agreements.read_text() + "\n# reviewed in May\n")
    first = await signed(made, folder, 1, "--note", "a remark")
    assert first.code == 0, first.err
    for words in ("serial 2", "follows serial 1", "changed: data/demo.yaml", "second person"):
        assert words in first.err
    alone = await policy(made, "publish", folder)
    assert alone.code == 5
    assert "POLICY_UNDERSIGNED" in alone.err
    again = await signed(made, folder, 1)
    assert "already" in again.err
    second = await signed(made, folder, 2)
    assert second.code == 0, second.err
    assert f"fairlead policy publish {folder}" in second.err
    published = await policy(made, "publish", folder, officer=2)
    assert published.code == 0, published.err
    await until(lambda: made.nodes["terminal-north"].releases.live.serial == 2)

    status = (await policy(made, "status", "--output", "json")).json
    assert (status["here"]["serial"], status["reviewed"]) == (2, True)
    assert {item["serial"] for item in status["served"]} == {2}
    assert len(status["served"]) == 3
    table = await policy(made, "status")
    assert "partner/customs/node/node-1" in table.out

    back = tmp_path / "back"
    key = made.layout.federation / "policy-1.key"
    reverted = await policy(made, "revert", 1, "--out", back, "--key", key, "--yes")
    assert "serial 3, revert" in reverted.err, reverted.err
    assert (await signed(made, back, 2)).code == 0
    assert (await policy(made, "publish", back)).code == 0
    await until(lambda: made.nodes["customs"].releases.live.serial == 3)
    assert (
        made.nodes["customs"].releases.files(1)["data/demo.yaml"]
        == (  # type: ignore[index]
            back / "data" / "demo.yaml"
        ).read_bytes()
    )


async def test_who_may_not_sign_is_told_so(made: Federation, tmp_path: Path) -> None:
    """A stranger's key, a folder that somebody else changed, and nobody to be asked."""
    folder = tmp_path / "next"
    await policy(made, "fetch", folder)
    (folder / "data" / "demo.yaml").write_text(
        (folder / "data" / "demo.yaml").read_text() + "\n# one\n"
    )
    key = tmp_path / "stranger.key"
    new = await typed("policy", "keygen", str(key), home=tmp_path)
    assert len(new.out.strip()) == 64
    assert (await typed("policy", "keygen", str(key), home=tmp_path)).code != 0
    stranger = await policy(made, "sign", folder, "--key", key, "--yes")
    assert "OFFICER_UNKNOWN" in stranger.err
    mine = made.layout.federation / "policy-1.key"
    unasked = await policy(made, "sign", folder, "--key", mine)
    assert "CONFIRM" in unasked.err
    assert (await signed(made, folder, 1)).code == 0
    with (folder / "data" / "demo.yaml").open("a") as file:
        file.write("\n# two\n")
    changed = await signed(made, folder, 2)
    assert "POLICY_TAMPERED" in changed.err


async def test_one_officer_tightens_in_an_emergency(made: Federation, tmp_path: Path) -> None:
    """Signed once, published, in force; the other officer's signature afterwards is its review."""
    folder, review = tmp_path / "emergency", tmp_path / "review"
    await policy(made, "fetch", folder)
    path = folder / "data" / "demo.yaml"
    path.write_text(path.read_text().replace("max_records: 20", "max_records: 2"))
    hurried = await signed(made, folder, 1, "--emergency")
    assert hurried.code == 0, hurried.err
    assert (await policy(made, "publish", folder)).code == 0
    await until(lambda: made.nodes["terminal-north"].releases.live.serial == 2)
    assert not made.nodes["terminal-north"].releases.bundle.reviewed
    assert "waits for its review" in (await policy(made, "status")).err
    await policy(made, "fetch", review, officer=2)
    assert (await signed(made, review, 2)).code == 0
    assert (await policy(made, "publish", review, officer=2)).code == 0
    await until(lambda: made.nodes["customs"].releases.bundle.reviewed)

    path.write_text(path.read_text().replace("max_records: 2", "max_records: 99"))
    wider = await signed(made, folder, 1, "--emergency", "--base", str(review))
    assert "POLICY_EMERGENCY" in wider.err


async def test_a_partners_own_bundle_is_signed_at_home(made: Federation, tmp_path: Path) -> None:
    """By the officers that the node's configuration names, and it follows the one that is there."""
    from certs.dev.policies import toml
    from tests.processes import write_config

    wishes = Wishes(issued_at=1, not_after=2**31)
    own = local_policy(tmp_path / "own", b"schema: 2\nadopt: [public-asks-private]\n", wishes)
    config = tmp_path / "customs.toml"
    write_config(config, made.node_configs["customs"])
    with config.open("a") as file:
        file.write(toml(own))
    draft = tmp_path / "draft"
    (draft / "data").mkdir(parents=True)
    (draft / "data" / "own.yaml").write_text("schema: 2\nadopt: [private-asks-public]\n")
    keys = [tmp_path / "own" / "officers" / f"officer-{n}.key" for n in (1, 2)]
    for key, words in zip(keys, ("second person", "copy"), strict=True):
        ended = await typed(
            "policy",
            "sign",
            str(draft),
            "--key",
            str(key),
            "--local",
            str(config),
            "--yes",
            home=tmp_path,
        )
        assert ended.code == 0, ended.err
        assert "your partner's own policy, serial 2" in ended.err
        assert words in ended.err
