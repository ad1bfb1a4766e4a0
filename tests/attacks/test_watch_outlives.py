"""Attack: a bought analyst's watch goes on after what it rests on, or serves somebody else."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fairlead import backup
from fairlead.errors import NotFound
from fairlead.v1 import audit_pb2
from tests.blind import require_libsodium
from tests.libraries import payload
from tests.walks import NOW, make_world
from tests.watched import CASE, DAY_S, TERM, Bench

require_libsodium()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "state").mkdir()
    made = Bench(make_world(tmp_path / "world"), tmp_path / "state")
    await made.open_case()
    yield made
    made.close()


async def _closed(bench: Bench) -> None:
    await bench.cases.close(CASE, bench.approver)


async def _removed(bench: Bench) -> None:
    await bench.cases.assign(CASE, bench.approver, add=["u-c03"], remove=["u-c01"])


async def _expired(bench: Bench) -> None:
    bench.now = NOW + 30 * DAY_S


async def _over(bench: Bench) -> None:
    bench.now = NOW + 7 * DAY_S


async def _suspended(bench: Bench) -> None:
    bench.deny("u-c01", 2)


ENDS = [
    (_closed, "CASE_OVER"),
    (_removed, "CASE_OVER"),
    (_expired, "CASE_OVER"),
    (_over, "TIME_OVER"),
    (_suspended, "USER_SUSPENDED"),
]


@pytest.mark.parametrize(("attack", "why"), ENDS)
async def test_a_watch_ends_with_its_case_its_order_and_its_user(
    bench: Bench, attack: Any, why: str
) -> None:
    """A snapshot that comes afterwards is not looked up, and what was evaluated is erased."""
    far = int(NOW) + 60 * DAY_S
    bench.library.publish({}, ends_at=far)
    until = NOW + (31 * DAY_S if attack is _expired else 7 * DAY_S)
    name = await bench.watched(until=until)
    await attack(bench)
    bench.library.publish({TERM: payload(b"t" * 16)}, ends_at=far)
    await bench.watches.look()
    assert bench.state(name) == "ended"
    assert await bench.news(name) == [("ended", why)]
    assert bench.outputs() == []
    assert "watch-checked" not in bench.subjects()
    assert bench.told == []


async def test_an_ended_watch_does_not_come_back(bench: Bench) -> None:
    """Whoever is let in again asks again."""
    bench.library.publish({})
    name = await bench.watched()
    bench.deny("u-c01", 2)
    await bench.watches.look()
    bench.deny("", 3)
    bench.library.publish({TERM: payload(b"t" * 16)})
    await bench.watches.look()
    assert bench.state(name) == "ended"
    assert await bench.news(name) == [("ended", "USER_SUSPENDED")]


async def test_nothing_is_looked_up_while_a_suspension_cannot_be_known(bench: Bench) -> None:
    """An authority that was silenced opens nothing; the watch goes on when its list is back."""
    far = int(NOW) + 400 * DAY_S
    await bench.open_case("CASE-2", expires_at=int(NOW) + 300 * DAY_S)
    bench.library.publish({}, ends_at=far)
    expiries = bench.world.opened.deny_lists.expiries()
    bench.now = expiries["customs"] + 1
    name = await bench.watched(case_id="CASE-2")
    bench.library.publish({TERM: payload(b"t" * 16)}, ends_at=far)
    await bench.watches.look()
    assert "watch-checked" not in bench.subjects()
    bench.deny("", 2)
    await bench.watches.look()
    assert await bench.news(name) == [("appeared", TERM[1])]


async def test_a_colleagues_watch_is_as_if_there_were_none(bench: Bench) -> None:
    """To read, to remove and to renew; each try is on the record."""
    bench.library.publish({})
    name = await bench.watched()
    other = bench.world.user("customs", "u-c03")
    for attack in (bench.watches.show, bench.watches.remove):
        with pytest.raises(NotFound) as caught:
            await attack(name, other)
        assert caught.value.code == "UNKNOWN_WATCH"
    with pytest.raises(NotFound):
        bench.watches.check(bench.batch(renews=name, user="u-c03"))
    assert bench.watches.listed(other) == []
    rows = bench.log.read("SELECT body FROM leaf ORDER BY idx")
    refused = [
        (leaf.subject, leaf.user)
        for leaf in (audit_pb2.AuditLeaf.FromString(body) for (body,) in rows)
        if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL
    ]
    rpcs = ["AskingService.ShowWatch", "AskingService.RemoveWatch"]
    assert refused == [(rpc, other.spiffe_id) for rpc in rpcs]
    assert bench.state(name) == "active"


async def test_outputs_moved_to_another_watch_do_not_open(bench: Bench) -> None:
    """Whoever can write the file cannot have a live watch look up what an ended one knew."""
    bench.library.publish({})
    first, second = await bench.watched(), await bench.watched()
    (sealed,) = bench.vault.read("SELECT outputs FROM watch_place WHERE watch_id = ?", (first,))
    await bench.vault.write(
        lambda c: c.execute(
            "UPDATE watch_place SET outputs = ? WHERE watch_id = ?", (sealed[0], second)
        )
    )
    bench.library.publish({TERM: payload(b"t" * 16)})
    await bench.watches.look()
    assert await bench.news(second) == [("must_renew", "OUTPUTS_LOST")]


@pytest.mark.parametrize("end", ["removed", "case", "epoch", "renewed"])
async def test_erased_outputs_stand_in_no_file(bench: Bench, end: str) -> None:
    """Neither in the vault nor in its write-ahead log, encrypted or not; before, they do."""
    bench.library.publish({TERM: payload(b"t" * 16)})
    batch = bench.batch()
    await bench.watches.begin(batch)
    found = bench.found(batch)
    await bench.watches.keep(batch, found, None)
    (sealed,) = bench.outputs()
    assert sealed in on_disk(bench.folder)
    if end == "removed":
        await bench.watches.remove(batch.batch_id, bench.user)
    elif end == "case":
        await bench.cases.close(CASE, bench.approver)
    elif end == "epoch":
        bench.now = NOW + 1000
    else:
        await bench.watches.begin(bench.batch(renews=batch.batch_id))
    await bench.watches.look()
    left = on_disk(bench.folder)
    rows = [row for outputs, _ in found.looked for row in outputs.rows]
    assert all(part not in left for part in (sealed, sealed[:24], sealed[-24:], *rows))


def on_disk(folder: Path) -> bytes:
    """Every octet of the node's files, whatever they are."""
    return b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_backup_looks_nothing_up(bench: Bench, tmp_path: Path) -> None:
    """An archive holds the encrypted outputs and not their key."""
    bench.library.publish({})
    await bench.watched()
    (bench.folder / "watches.secret").write_bytes(b"w" * 32)
    archive = tmp_path / "node.tar.gz"
    backup.take(bench.folder, archive, kind="node", name="customs", now=NOW)
    with tarfile.open(archive) as made:
        names = made.getnames()
    assert any(name.endswith("history.sqlite") for name in names)
    assert not any("watches.secret" in name for name in names)
