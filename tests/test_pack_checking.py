"""Whether a pack is the one that its partner signed: by the directory, with nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

import pytest
from typer.testing import CliRunner

from certs.dev import federation as specs
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.cli.stats import app
from fairlead.errors import Forged, InvalidInput, NotFound, Overloaded, Refused
from fairlead.keyring import KeyRing
from fairlead.kpi.checking import check_pack
from fairlead.kpi.pack import make_pack, pack_files
from fairlead.kpi.signature import Statement
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2
from node.packing import PackDesk
from tests.released import KEY, small_contents

SIGNATURE = "kpi-2026.sig.json"
ORIGIN = "fairlead.demo/partner/customs"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two partners."""
    partners, now = specs.demo_partners()[:2], time.time()
    layout = make(tmp_path_factory.mktemp("certs") / "out", partners=partners, now=now)
    return open_federation(layout, now=now)


@pytest.fixture
def folder(world: Opened, tmp_path: Path) -> Path:
    """A pack that the customs' node signed."""
    key = signing.load_signing_key(world.layout.node("customs") / "signing.key")
    for name, data in make_pack(small_contents(), signer="customs", key=key).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def verified(folder: Path, world: Opened) -> tuple[BaseException | None, str]:
    """The command's error and output."""
    keys = ["--directory", str(world.layout.directory), "--trust", str(world.layout.pins)]
    done = CliRunner().invoke(app, ["verify-pack", str(folder), *keys])
    return done.exception, done.output


def test_whoever_has_the_directory_verifies_a_pack(folder: Path, world: Opened) -> None:
    """The command says whose pack it is, of which year, and that its files are as signed."""
    error, output = verified(folder, world)
    assert error is None
    assert "customs" in output
    assert "2026" in output
    assert "as signed" in output


@pytest.mark.parametrize("name", ["kpi-2026.html", "kpi-2026.zip"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_changed_file_is_named(folder: Path, world: Opened, name: str, how: str) -> None:
    """A file that is changed or gone is named, and the other one is not."""
    if how == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"0", b"1", 1))
    error, output = verified(folder, world)
    assert isinstance(error, Forged)
    assert error.code == "PACK_FILES"
    assert [line for line in output.splitlines() if line.startswith("kpi-")] == [f"{name}: {how}"]


def test_another_key_than_the_partners_is_refused(folder: Path, world: Opened) -> None:
    """A pack that names a partner and was signed by somebody else does not verify."""
    for name, data in make_pack(small_contents(), signer="customs", key=KEY).items():
        (folder / name).write_bytes(data)
    error, output = verified(folder, world)
    assert isinstance(error, Forged)
    assert error.code == "SIGNATURE"
    assert "as signed" not in output


def test_a_pack_outlives_its_key(folder: Path, world: Opened) -> None:
    """Once the partner has another key, a pack verifies by the directory that was kept."""
    was = world.directory
    customs = replace(was.partner("customs"), signing_key=signing.public_bytes(KEY))
    partners = MappingProxyType({**was.partners, "customs": customs})
    now = replace(was, partners=partners, serial=was.serial + 1)
    before, after = (
        check_pack(folder / SIGNATURE, [was]),
        check_pack(folder / SIGNATURE, [now, was]),
    )
    assert (before.serial, before.in_force) == (was.serial, True)
    assert (after.serial, after.in_force) == (was.serial, False)
    with pytest.raises(Forged):
        check_pack(folder / SIGNATURE, [now])


# ── At the node ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def desk(world: Opened, tmp_path: Path) -> Iterator[PackDesk]:
    """The customs' node, as far as it signs packs."""
    log = AuditLog.open(tmp_path / "log.sqlite", origin=ORIGIN, key=KEY, clock=time.time)
    yield PackDesk(
        partner_id="customs",
        keys=KeyRing(world.layout.node("customs")),
        directory=world.directory,
        log=log,
        leaves=LeafWriter(log="partner/customs", clock=time.time),
        roles=lambda: {"analyst"},
    )
    log.close()


def last(desk: PackDesk) -> audit_pb2.AuditLeaf:
    """The newest leaf."""
    ((body,),) = desk.log.read("SELECT body FROM leaf ORDER BY idx DESC LIMIT 1")
    return audit_pb2.AuditLeaf.FromString(body)


def user(role: str) -> Identity:
    """A person of the customs'."""
    spiffe_id = f"spiffe://f/partner/customs/user/{role}"
    return cast("Identity", SimpleNamespace(spiffe_id=spiffe_id, roles=frozenset({role})))


ANALYST = user("analyst")


@pytest.mark.asyncio
async def test_a_node_signs_its_own_partners_packs(
    desk: PackDesk, world: Opened, tmp_path: Path
) -> None:
    """A pack that a node signed by its statement verifies, and the log has who asked for it."""
    files = pack_files(small_contents())
    statement = Statement.of(files, year=2026, signer="customs")
    files[SIGNATURE] = statement.signed(await desk.sign(statement.to_bytes(), ANALYST))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert check_pack(tmp_path / SIGNATURE, [world.directory]).differing == {}
    leaf = last(desk)
    assert (leaf.type, leaf.subject) == (audit_pb2.LEAF_TYPE_OWNER, "pack-signed")
    assert leaf.user == ANALYST.spiffe_id
    wanted = signing.digest(signing.preimage("kpi-pack", statement.to_bytes()))
    assert leaf.detail_digest == wanted


@pytest.mark.asyncio
@pytest.mark.parametrize(("signer", "code"), [("police", "PACK_SIGNER"), ("", "PACK_SIGNATURE")])
async def test_a_node_signs_nothing_else(desk: PackDesk, signer: str, code: str) -> None:
    """Another partner's statement, and what is none, is refused, and the log has it."""
    octets = b"{}"
    if signer:
        files = pack_files(small_contents())
        octets = Statement.of(files, year=2026, signer=signer).to_bytes()
    with pytest.raises(InvalidInput) as caught:
        await desk.sign(octets, ANALYST)
    assert caught.value.code == code
    leaf = last(desk)
    assert (leaf.type, list(leaf.reasons)) == (audit_pb2.LEAF_TYPE_REFUSAL, [code])


@pytest.mark.asyncio
async def test_who_may_ask_for_no_figures_has_none_signed(desk: PackDesk) -> None:
    """The partner's key is not an operator's to have used, and that somebody tried is on record."""
    files = pack_files(small_contents())
    statement = Statement.of(files, year=2026, signer="customs").to_bytes()
    with pytest.raises(Refused) as caught:
        await desk.sign(statement, user("operator"))
    assert caught.value.code == "FIGURES_ROLE"
    leaf = last(desk)
    assert (leaf.type, leaf.user) == (audit_pb2.LEAF_TYPE_REFUSAL, user("operator").spiffe_id)


@pytest.mark.asyncio
async def test_nothing_is_signed_that_is_not_logged(
    desk: PackDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the log takes no leaf, nobody gets a signature."""

    async def refuse(_leaf: bytes) -> None:
        raise Overloaded("full")

    monkeypatch.setattr(desk.log, "append", refuse)
    statement = Statement.of(pack_files(small_contents()), year=2026, signer="customs")
    with pytest.raises(Overloaded):
        await desk.sign(statement.to_bytes(), ANALYST)


# ── What is no pack ──────────────────────────────────────────────────────────────────────────


def test_a_partner_that_nobody_knows_signs_nothing(folder: Path, world: Opened) -> None:
    """A pack of a partner that no directory has is refused as such."""
    for name, data in make_pack(small_contents(), signer="harbour", key=KEY).items():
        (folder / name).write_bytes(data)
    with pytest.raises(NotFound) as caught:
        check_pack(folder / SIGNATURE, [world.directory])
    assert caught.value.code == "UNKNOWN_PARTNER"


def test_a_folder_without_a_pack_is_no_success(tmp_path: Path, world: Opened) -> None:
    """Where nothing lies, nothing verifies."""
    error, _ = verified(tmp_path, world)
    assert isinstance(error, NotFound)
    assert error.code == "PACK_MISSING"
