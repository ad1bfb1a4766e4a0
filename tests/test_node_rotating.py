"""Rotating a node's keys: the next entry, made here, signed wherever the root key is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Forged, NotFound
from fairlead.keyring import KeyRing
from fairlead.partners import Partner
from fairlead.v1 import directory_pb2
from node.rotating import Kind, listed_entry, rotate, sign
from tests.federation import federation
from tests.processes import command, write_config
from tests.walks import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("rotating"))


def listed(world: World) -> bytes:
    return listed_entry(world.opened.layout.directory.read_bytes(), "customs")


def test_both_keys_join_one_next_entry_and_a_repetition_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    """Until the directory has it there is one next entry, which follows the listed one."""
    keys = tmp_path / "keys"
    shutil.copytree(world.opened.layout.node("customs"), keys)
    first = rotate(keys, listed(world), Kind.SIGNING)
    assert rotate(keys, listed(world), Kind.SIGNING).entry == first.entry
    rotate(keys, listed(world), Kind.MASK)
    both = rotate(keys, listed(world), Kind.SEALING)
    root = signing.load_signing_key(world.opened.layout.partner("customs") / "root" / "root.key")
    signed = directory_pb2.SignedPartnerEntry.FromString(sign(both.entry, root))
    partner = Partner.from_signed(signed, world.opened.pins["customs"])
    old = world.directory.partners["customs"]
    assert partner.sequence == old.sequence + 1
    assert partner.signing_key != old.signing_key
    assert partner.sealing_key != old.sealing_key
    assert partner.mask_key != old.mask_key
    ring = KeyRing(keys)
    for entry in (old, partner):
        ring.signing(entry.signing_key)
        ring.sealing(entry.sealing_key)
        ring.mask(entry.mask_key)


def test_only_the_entrys_own_root_signs_it(world: World, tmp_path: Path) -> None:
    """Another key is refused before anything leaves the machine."""
    keys = tmp_path / "keys"
    shutil.copytree(world.opened.layout.node("customs"), keys)
    made = rotate(keys, listed(world), Kind.SIGNING)
    with pytest.raises(Forged):
        sign(made.entry, Ed25519PrivateKey.generate())
    with pytest.raises(NotFound):
        listed_entry(world.opened.layout.directory.read_bytes(), "nobody")


async def test_the_commands_make_a_file_for_the_gateways_operator(tmp_path: Path) -> None:
    """With the root key at hand, or carried elsewhere, the same signed entry comes out."""
    async with federation(tmp_path, partners=("customs", "police"), start=False) as made:
        config = write_config(tmp_path / "customs.toml", made.node_configs["customs"])
        root = made.layout.partner("customs") / "root" / "root.key"
        near, far = tmp_path / "near.signed", tmp_path / "far.signed"
        main = "node.cli.main"
        here = await command(
            main, "rotate", "signing", "--config", config, "--root-key", root, "--out", near
        )
        assert here.code == 0, here.err
        assert "fairlead-gateway partner update" in here.err
        assert (await command(main, "rotate", "signing", "--config", config)).code == 0
        entry = made.layout.node("customs") / "entry-2.bin"
        there = await command(main, "rotate", "sign", entry, "--root-key", root, "--out", far)
        assert there.code == 0, there.err
        assert near.read_bytes() == far.read_bytes()
        shown = await command(main, "partner", "list", "--config", config, "--output", "json")
        assert '"pinned": "yes"' in shown.out, shown.err
