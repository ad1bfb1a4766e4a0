"""Backup and restore: consistent while serving, total on hostile archives, never back in time."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import stat
import tarfile
import time
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import backup
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Misconfigured
from fairlead.leaves import LeafWriter
from fairlead.v1 import query_pb2
from tests.federation import STORY, Federation, build_index, federation, states
from tests.processes import command, write_config
from tests.small_log import make_log, story


def gateway_state(made: Federation) -> Path:
    return made.gateway_config.state_dir


def take(made: Federation, name: str = "backup.tar.gz") -> Path:
    target = made.folder / name
    backup.take(gateway_state(made), target, kind="gateway", name="gw-1", now=time.time())
    return target


def restore(made: Federation, source: Path, **changes: str) -> backup.Backup:
    named = {"kind": "gateway", "name": "gw-1", **changes}
    return backup.restore(source, gateway_state(made), now=time.time(), **named)


async def grown(made: Federation) -> None:
    """The gateway's log outgrows every head that was accepted of its other history."""
    assert made.gateway is not None
    writer = LeafWriter(log="gateway/gw-1", clock=time.time)
    for serial in range(32):
        leaf = writer.activation("policy", serial=serial, digest=bytes(32))
        await made.gateway.log.append(leaf)


async def test_a_backup_taken_while_serving_restores_to_a_log_that_verifies(tmp_path: Path) -> None:
    """The copy has every leaf that was durable, and the process goes on with it."""
    async with federation(tmp_path) as made:
        await made.open_case()
        await made.ask(STORY)
        archive = take(made)
        assert made.gateway is not None
        size = made.gateway.log.head.size
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert backup.inspect(archive).leaves == size
        await made.stop_gateway()
        shutil.rmtree(gateway_state(made))
        assert restore(made, archive).leaves == size
        await made.start_gateway()
        await made.reconnected()
        (answer,) = [s for p, s in states(await made.ask(STORY)).items() if p == "terminal-north"]
        assert answer.status == query_pb2.STATUS_ANSWERED


async def test_a_restore_never_replaces_a_log_by_an_older_one(tmp_path: Path) -> None:
    """The state in place stays untouched and the operator learns why."""
    async with federation(tmp_path) as made:
        await made.open_case()
        archive = take(made)
        await made.ask(STORY)
        await made.stop_gateway()
        before = backup.log_size(gateway_state(made) / backup.LOG)
        with pytest.raises(Conflict) as caught:
            restore(made, archive)
        assert caught.value.code == "BACKUP_OLDER"
        assert backup.log_size(gateway_state(made) / backup.LOG) == before


@pytest.mark.parametrize(("later", "reason"), [(1, "CHECKPOINT_FORK"), (8, "LOG_BEHIND")])
async def test_a_gateway_brought_back_older_than_a_head_an_owner_accepted_is_refused(
    tmp_path: Path, later: int, reason: str
) -> None:
    """Whoever moves the newer log away gets no answer out of the owners, and reads the reason."""
    async with federation(tmp_path) as made:
        await made.open_case()
        archive = take(made)
        for _ in range(later):
            await made.ask(STORY)
        await made.stop_gateway()
        gateway_state(made).rename(made.folder / "moved-away")
        restore(made, archive)
        await made.start_gateway()
        await made.reconnected()
        if reason == "CHECKPOINT_FORK":
            await grown(made)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await made.ask(STORY)
        assert reason in str(caught.value.trailing_metadata())
        # An asker that never saw the log gets nothing out of an owner that did.
        await made.stop_node("customs")
        shutil.rmtree(made.node_configs["customs"].state_dir)
        build_index(made.node_configs["customs"], [])
        await made.start_node("customs")
        await made.open_case()
        found = states(await made.ask(STORY))["terminal-north"]
        assert (found.status, found.reason) == (query_pb2.STATUS_INVALID, reason)


async def test_a_running_process_is_not_restored_over(tmp_path: Path) -> None:
    """The lock of the log in use is respected."""
    async with federation(tmp_path) as made:
        archive = take(made)
        with pytest.raises(Misconfigured) as caught:
            restore(made, archive)
        assert caught.value.code == "DATABASE_IN_USE"


async def test_a_backup_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A node's state does not become a gateway's."""
    async with federation(tmp_path) as made:
        archive = take(made)
    for changes in ({"kind": "node"}, {"name": "gw-2"}):
        with pytest.raises(InvalidInput) as caught:
            restore(made, archive, **changes)
        assert caught.value.code == "BACKUP_OTHER"


async def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """An older backup may be all there is."""
    async with federation(tmp_path) as made:
        take(made)
        with pytest.raises(Conflict):
            take(made)


async def test_index_locks_and_sockets_are_left_out(tmp_path: Path) -> None:
    """What can be rebuilt or means nothing elsewhere is not carried along."""
    async with federation(tmp_path) as made:
        state = made.node_configs["terminal-north"].state_dir
        target = tmp_path / "node.tar.gz"
        found = backup.take(state, target, kind="node", name="terminal-north", now=time.time())
        assert backup.LOG in found.files
        assert (state / "figures.sqlite").exists()
        left = {"index.sqlite", "figures.sqlite", "audit.sqlite.lock", "audit.sqlite-wal"}
        assert not left & found.files.keys()


def test_what_a_killed_backup_left_goes_and_jobs_stay_out(tmp_path: Path) -> None:
    """A copy of the log that was never sealed is swept away, one being made is not; an order that
    waits is not carried out again after a restore, which names the state that it put aside."""
    state = tmp_path / "state"
    for folder in (".backup-dead", "retention"):
        (state / folder).mkdir(parents=True)
        (state / folder / "x.job").write_bytes(b"in clear")
    make_log(state / backup.LOG, story())

    def seal(copy: Path) -> None:
        backup.sweep(state)
        assert copy.exists()

    target = tmp_path / "backup.tar.gz"
    made = backup.take(state, target, kind="node", name="n", now=1, seal=seal)
    assert made.files.keys() == {backup.LOG}
    assert list(state.glob(".backup-*")) == []
    assert backup.replaced(state) == []
    backup.restore(target, state, kind="node", name="n", now=2)
    assert [path.name for path in backup.replaced(state)] == ["state.before-2"]


def rewritten(archive: Path, change: object) -> Path:
    """The same archive with its members changed by ``change(name, content) -> (name, content)``."""
    target = archive.with_name("changed.tar.gz")
    with tarfile.open(archive) as source, tarfile.open(target, "w:gz") as out:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            name, data = change(member.name, content.read())  # type: ignore[operator]
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return target


async def test_an_edited_archive_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A flipped octet, a path that climbs out and a missing file are all noticed."""
    async with federation(tmp_path) as made:
        archive = take(made)
    state = gateway_state(made)
    before = sorted(path.name for path in state.parent.iterdir())

    def flip(name: str, data: bytes) -> tuple[str, bytes]:
        return (name, data[:-1] + b"x") if name == backup.LOG else (name, data)

    def climb(name: str, data: bytes) -> tuple[str, bytes]:
        if name != backup.MANIFEST:
            return f"../{name}", data
        document = json.loads(data)
        document["files"] = {f"../{n}": v for n, v in document["files"].items()}
        return name, json.dumps(document).encode()

    def lose(name: str, data: bytes) -> tuple[str, bytes]:
        if name != backup.MANIFEST:
            return name, data
        document = json.loads(data)
        document["files"]["more.txt"] = [1, "00"]
        return name, json.dumps(document).encode()

    for change, kind in ((flip, Forged), (climb, InvalidInput), (lose, Forged)):
        with pytest.raises(kind):
            restore(made, rewritten(archive, change))
    assert sorted(path.name for path in state.parent.iterdir()) == before


@given(junk=st.binary(max_size=400), zipped=st.booleans())
def test_any_octets_are_refused_with_an_error_of_ours(
    junk: bytes, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing but a FairleadError leaves the reader of archives."""
    path = tmp_path_factory.mktemp("junk") / "x.tar.gz"
    path.write_bytes(gzip.compress(junk) if zipped else junk)
    with pytest.raises(FairleadError):
        backup.inspect(path)


async def test_the_commands_back_up_and_restore(tmp_path: Path) -> None:
    """What an operator types works end to end, with the next step named."""
    async with federation(tmp_path) as made:
        config = write_config(tmp_path / "gateway.toml", made.gateway_config)
        archive = tmp_path / "kept.tar.gz"
        done = await command("gateway.cli.main", "backup", "--config", config, "--to", archive)
        assert (done.code, archive.is_file()) == (0, True)
    again = await command("gateway.cli.main", "restore", archive, "--config", config)
    assert again.code == 0, again.err
    assert "next: fairlead-gateway check" in again.err
    assert f"{made.gateway_config.state_dir.name}.before-" in again.err
