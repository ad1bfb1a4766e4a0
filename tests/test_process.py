"""Processes start closed: nothing older, missing or forged; and they stop in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from certs.dev.lists import deny, sign_directory, sign_entry
from fairlead import process, signing
from fairlead.errors import FairleadError, Misconfigured, PolicyUnavailable, Stale
from fairlead.membership import Membership
from fairlead.v1 import audit_pb2
from fairlead.v1 import directory_pb2 as pb
from gateway.app import assemble
from tests.federation import Federation, federation, publish_policy

DAY = 86_400


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[Federation]:
    async with federation(tmp_path, partners=("customs", "police"), start=False) as running:
        yield running


def join(made: Federation, now: float | None = None) -> Membership:
    moment = time.time() if now is None else now
    return process.join(made.gateway_config, lambda: moment)


async def start(made: Federation) -> list[audit_pb2.AuditLeaf]:
    """Assemble the gateway and stop it again; its log's leaves."""
    await made.start_gateway()
    assert made.gateway is not None
    rows = made.gateway.log.read("SELECT body FROM leaf ORDER BY idx")
    await made.stop_gateway()
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


def redirect(made: Federation, change: Callable[[pb.Directory], object] = lambda _: None) -> None:
    """Publish the directory again, changed and signed by both operators."""
    layout = made.layout
    keys = [signing.load_signing_key(layout.federation / f"operator-{n}.key") for n in (1, 2)]
    signed = pb.SignedDirectory.FromString(layout.directory.read_bytes())
    content = pb.Directory.FromString(signed.directory)
    change(content)
    layout.directory.write_bytes(sign_directory(content, keys))


def next_entry(made: Federation, content: pb.Directory) -> None:
    """The police change their own entry once."""
    root = signing.load_signing_key(made.layout.partner("police") / "root" / "root.key")
    for item in content.partners:
        entry = pb.PartnerEntry.FromString(item.entry)
        if entry.partner_id == "police":
            entry.sequence, entry.previous_digest = 2, signing.digest(item.entry)
            item.CopyFrom(sign_entry(entry, root))


# ── Joining ──────────────────────────────────────────────────────────────────────────────────


async def test_a_participant_joins_with_everything_verified(made: Federation) -> None:
    """Anchors, directory, deny lists and the identity check belong to one federation."""
    member = join(made)
    assert member.directory.current.federation == member.trust.federation == "fairlead.demo"
    assert set(member.deny_lists.serials()) == {"operators", "customs", "police"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("directory", None),
        ("directory", b""),
        ("directory", b"garbage"),
        ("pins", None),
        ("pins", b""),
        ("pins", b"garbage"),
        ("deny_lists", None),
        ("deny_lists", b"garbage"),
    ],
)
async def test_nothing_starts_without_its_papers(
    made: Federation, name: str, content: bytes | None
) -> None:
    """A missing, empty or broken file of the three is the operator's to repair: exit 3."""
    path = getattr(made.layout, name)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        join(made)
    assert caught.value.exit_code == 3
    assert caught.value.remedy


async def test_an_expired_directory_does_not_start(made: Federation) -> None:
    """Past its time the directory is refused with its own code and a remedy."""
    with pytest.raises(Misconfigured) as caught:
        join(made, time.time() + 8 * DAY)
    assert caught.value.code == "DIRECTORY_EXPIRED"


async def test_development_keys_listen_on_loopback_only(made: Federation) -> None:
    """A listener the world can reach does not start with keys that were made here."""
    made.gateway_config = made.gateway_config.model_copy(update={"listen": "0.0.0.0:7400"})
    with pytest.raises(FairleadError):
        join(made)


# ── Activating ───────────────────────────────────────────────────────────────────────────────


async def test_what_a_process_runs_under_is_on_the_record(made: Federation) -> None:
    """Directory, policy and each deny list are activation leaves with serial and digest."""
    first = await start(made)
    found = {leaf.subject: leaf for leaf in first if leaf.type == audit_pb2.LEAF_TYPE_ACTIVATION}
    assert set(found) == {
        "directory",
        "policy",
        "deny-list/operators",
        "deny-list/customs",
        "deny-list/police",
    }
    assert found["directory"].detail_digest == made.directory.digest
    assert len(found["policy"].detail_digest) == 32


@pytest.mark.parametrize("kind", ["directory", "entry", "policy", "deny lists"])
async def test_nothing_older_than_the_log_has_seen_starts(made: Federation, kind: str) -> None:
    """An older directory, entry, policy or deny list is refused, also after a restart."""
    old_directory = made.layout.directory.read_bytes()
    old_deny_lists = made.layout.deny_lists.read_bytes()
    if kind == "directory":
        redirect(made, lambda c: setattr(c, "serial", 5))
    elif kind == "entry":
        redirect(made, lambda c: next_entry(made, c))
    elif kind == "policy":
        publish_policy(made.layout, made.folder / "policy", serial=3)
    else:
        deny(made.layout, [], serial=4, now=time.time())
    await start(made)
    made.layout.directory.write_bytes(old_directory)
    made.layout.deny_lists.write_bytes(old_deny_lists)
    if kind == "policy":
        publish_policy(made.layout, made.folder / "policy", serial=2)
    expected = PolicyUnavailable if kind == "policy" else Stale
    with pytest.raises(expected) as caught:
        await assemble(made.gateway_config)
    assert caught.value.remedy


async def test_the_same_papers_start_again(made: Federation) -> None:
    """A restart under what was active is no rollback, and newer papers are taken over."""
    await start(made)
    await start(made)
    redirect(made, lambda c: setattr(c, "serial", 2))
    publish_policy(made.layout, made.folder / "policy", serial=2)
    deny(made.layout, [], serial=2, now=time.time())
    leaves = await start(made)
    serials = [leaf.policy_serial for leaf in leaves if leaf.subject == "policy"]
    assert serials == [1, 1, 2]


async def test_a_deny_list_that_comes_while_running_is_remembered(made: Federation) -> None:
    """A list taken over on the way binds the next start as well."""
    old = made.layout.deny_lists.read_bytes()
    moment = [time.time()]
    app = await assemble(made.gateway_config, clock=lambda: moment[0])
    try:
        deny(made.layout, [], serial=7, now=moment[0])
        moment[0] += 2
        lists = app.tactical._exchange.deny_lists
        lists.check("spiffe://fairlead.demo/partner/customs/node/node-1", moment[0])
        for _ in range(500):
            rows = app.log.read("SELECT serial FROM active WHERE subject = 'deny-list/customs'")
            if rows == [(7,)]:
                break
            await asyncio.sleep(0.01)
        assert rows == [(7,)]
    finally:
        await app.server.stop(0)
        await app.close()
    made.layout.deny_lists.write_bytes(old)
    with pytest.raises(Stale):
        await assemble(made.gateway_config)


async def test_a_policy_of_nobody_does_not_start(made: Federation) -> None:
    """A policy that is missing, expired or tampered with is no policy."""
    policy = made.folder / "policy"
    wasm = policy / "policy.wasm"
    good = wasm.read_bytes()
    wasm.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(FairleadError) as caught:
        await assemble(made.gateway_config)
    assert caught.value.exit_code == 3
    wasm.unlink()
    with pytest.raises(FairleadError):
        await assemble(made.gateway_config)


async def test_keys_of_somebody_else_do_not_start(made: Federation) -> None:
    """A key folder that is not the directory's is refused before the log is touched."""
    other = made.layout.node("customs")
    with pytest.raises(FairleadError) as caught:
        await assemble(made.gateway_config.model_copy(update={"keys_dir": other}))
    assert caught.value.exit_code == 3
    await start(made)


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_order(made: Federation, number: signal.Signals) -> None:
    """Told to stop, a process drains, closes its log and says that the end was ordered."""
    app = await assemble(made.gateway_config)
    stopped: list[bool] = []

    async def stop() -> None:
        stopped.append(app.log.healthy)
        await app.close()

    running = asyncio.ensure_future(process.serve(app.server, failed=app.failed, stop=stop))
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(running, 30) is True
    assert stopped == [True]
    assert not app.log.healthy


async def test_a_failed_log_stops_the_process(made: Federation) -> None:
    """When the log cannot be written the process ends by itself and says so."""
    app = await assemble(made.gateway_config)
    running = asyncio.ensure_future(process.serve(app.server, failed=app.failed, stop=app.close))
    await asyncio.sleep(0.2)
    app.failed()
    assert await asyncio.wait_for(running, 30) is False


async def test_a_process_that_no_longer_follows_does_not_go_on_serving() -> None:
    """What runs beside the server and ends by itself, by a defect or not, ends the process."""

    async def defect() -> None:
        raise OSError

    async def idle() -> None:
        await asyncio.Event().wait()

    for work in (defect(), asyncio.sleep(0)):
        failed = process.Failed()
        tasks = process.Tasks(failed, idle(), work)
        await asyncio.wait_for(failed.event.wait(), 30)
        await tasks.cancel()
    failed = process.Failed()
    tasks = process.Tasks(failed, idle())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert not failed.event.is_set()
