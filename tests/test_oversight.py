"""Oversight: what is matched, what is an alert, and what a bought administrator cannot hide."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead import signing
from fairlead.auditlog import verify_log
from fairlead.cli.oversight import app
from fairlead.decoys import DecoyList, seal_decoys
from fairlead.errors import Misconfigured
from fairlead.journal import drain_if_free
from fairlead.notice import Hits, Notice, seal_notice
from fairlead.oversight import founding, taking
from fairlead.oversight.app import LOG_FILE, open_journal, origin
from fairlead.oversight.register import Position
from fairlead.reasons import reason
from fairlead.sealing import SealingKey
from node.oversight import COUNTER, OUTBOX
from tests.oversights import MANIFEST, OWNER, READER, Watched, asked, watched
from tests.walks import NOW, World, make_world

DECOY, RECORD = b"d" * 16, b"r" * 16
UNTIL = int(NOW) + 86_400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("oversight"))


@pytest.fixture
async def made(world: World, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(world, tmp_path) as found:
        yield found


def a_list(
    world: World, refs: Sequence[bytes], *, owner: str = OWNER, manifest: bytes = MANIFEST,
    signer: str = OWNER,
) -> bytes:  # fmt: skip
    return seal_decoys(
        DecoyList(refs=frozenset(refs), until=UNTIL), owner=owner, manifest=manifest,
        reader=world.directory.partner(READER), key=world.signing_key(signer),
    )  # fmt: skip


# ── Matching ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", ["decoys", "hits"])
async def test_a_hit_on_a_decoy_is_an_alert_whichever_came_first(
    world: World, made: Watched, first: str
) -> None:
    """Hits that were told before the owner's decoys arrived are matched when they do."""
    for what in (first, "hits" if first == "decoys" else "decoys"):
        if what == "decoys":
            await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
        else:
            hits = [(OWNER, MANIFEST, RECORD), (OWNER, MANIFEST, DECOY)]
            await made.outbox.hits(asked(5), hits)
        made.look()
    (alert,) = made.register.alerts()
    assert (alert["reason"], alert["owner"], alert["partner"], alert["user"]) == (
        "DECOY_HIT", OWNER, READER, "u-c01",
    )  # fmt: skip
    assert alert["query_id"] == asked(5).query_id
    assert made.files == []


async def test_hits_on_records_alarm_nobody(world: World, made: Watched) -> None:
    """A hit that is no decoy, and a reference that is another owner's decoy."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, RECORD), ("police", MANIFEST, DECOY)])
    made.look()
    assert made.reasons() == []


async def test_each_query_that_hits_a_decoy_is_an_alert(world: World, made: Watched) -> None:
    """In every one of many trials, and once each."""
    decoys = [n.to_bytes(16, "big") for n in range(1, 101)]
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, decoys))
    for number, ref in enumerate(decoys):
        await made.outbox.hits(asked(number), [(OWNER, MANIFEST, ref)])
    made.look()
    found = {alert["query_id"] for alert in made.register.alerts()}
    assert found == {asked(number).query_id for number in range(100)}
    assert made.reasons() == ["DECOY_HIT"] * 100


async def test_a_follow_up_is_an_alert_that_names_the_decoy(world: World, made: Watched) -> None:
    """The owner's oversight learns who asked, why, and which of its decoys."""
    query = world.walk().verify()
    made.outbox.looked(query, (b"decoy-id",))
    await made.outbox.tick()
    made.look()
    (alert,) = made.register.alerts()
    assert (alert["reason"], alert["decoy"]) == ("DECOY_FOLLOWED", b"decoy-id".hex())
    assert (alert["partner"], alert["purpose"]) == (query.asker.partner_id, query.purpose)
    assert alert["case_commitment"] == query.case_commitment


# ── Attacks by whoever can write to the folder ───────────────────────────────────────────────


async def test_a_deleted_notice_is_noticed(world: World, made: Watched) -> None:
    """An attack: the node's administrator removes the notice of a hit before it is taken."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, DECOY)])
    made.files[1].unlink()
    made.look()
    await made.outbox.hits(asked(2), [])
    made.look()
    (alert,) = made.register.alerts()
    assert (alert["reason"], alert["count"]) == ("NOTICES_MISSING", 1)


async def test_a_late_file_is_waited_for_once(made: Watched) -> None:
    """A file that another look finds was never missing; one that comes after the alert counts."""
    for number in range(3):
        await made.outbox.hits(asked(number), [])
    second = made.files[1]
    away = second.rename(made.folder / "away")
    assert made.look(1) == 1
    away.rename(second)
    assert made.look(1) == 2
    assert made.reasons() == []


async def test_a_notice_that_comes_again_raises_nothing_twice(world: World, made: Watched) -> None:
    """An attack: a notice is copied and put back, under its number and under another."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, DECOY)])
    name, octets = made.files[1], made.files[1].read_bytes()
    made.look()
    name.write_bytes(octets)
    made.look()
    assert made.reasons() == ["DECOY_HIT"]
    name.with_name("000000000003.notice").write_bytes(octets)
    made.look()
    assert made.reasons() == ["DECOY_HIT", "NOTICE_FORGED"]
    assert made.files == []


async def test_another_notice_under_a_taken_number_is_tampering(
    world: World, made: Watched
) -> None:
    """An attack: a node that signs two notices of one number, as a copied node would."""
    await made.outbox.hits(asked(), [])
    position = made.files[0]
    made.look()
    series = made.register.position()
    assert series is not None
    other = Notice(series=series.series, number=1, at=1, content=Hits(asked=asked(9), hits=()))
    position.write_bytes(seal_notice(other, made.partner, world.signing_key(READER)))
    made.look()
    assert made.reasons() == ["NOTICE_FORGED"]


JUNK = {
    "empty": b"",
    "noise": b"\x00" * 5_000,
    "too large": b"\x00" * (taking.MAX_NOTICE + 9),
}


@pytest.mark.parametrize("kind", [*JUNK, "a link", "a folder", "another signer"])
async def test_what_is_no_notice_is_put_away_and_an_alert(
    world: World, made: Watched, kind: str
) -> None:
    """An attack: forged, malformed or foreign files; the notice behind them is still taken."""
    await made.outbox.hits(asked(), [])
    path = made.folder / OUTBOX / "000000000000.notice"
    if kind == "a link":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    elif kind == "another signer":
        made_up = Notice(series=bytes(16), number=0, at=1, content=Hits(asked=asked(), hits=()))
        path.write_bytes(seal_notice(made_up, made.partner, world.signing_key(OWNER)))
    else:
        path.write_bytes(JUNK[kind])
    assert made.look() == 1
    assert made.reasons() == ["NOTICE_FORGED"]
    assert made.files == []
    assert len(list(made.config.quarantine.iterdir())) == 1
    made.look()
    assert made.reasons() == ["NOTICE_FORGED"]


async def test_what_is_no_notice_leaves_the_folder_for_another_file_system(
    made: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: files that stay would be read again every two seconds, as many as somebody likes."""
    await made.outbox.hits(asked(), [])
    folder = made.folder / OUTBOX
    (folder / "000000000000.notice").write_bytes(JUNK["too large"])
    (folder / "a-link").symlink_to("/dev/zero")

    def elsewhere(*_: object) -> Path:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(Path, "rename", elsewhere)
    assert made.look() == 1
    assert made.files == []
    assert not list(folder.iterdir())
    (kept,) = made.config.quarantine.iterdir()
    assert kept.stat().st_size == taking.MAX_NOTICE + 1


async def test_an_emptied_list_of_decoys_is_forged(world: World, made: Watched) -> None:
    """An attack: the reader's node puts an empty list of its own in the place of the owner's."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [], signer=READER))
    made.look()
    (alert,) = made.register.alerts()
    assert (alert["reason"], alert["owner"]) == ("NOTICE_FORGED", OWNER)


async def test_a_withheld_list_of_decoys_is_missed(made: Watched) -> None:
    """An attack: hits are told, but what the owner sent with the snapshot never comes."""
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, DECOY)])
    made.look()
    made.clock.now += taking.UNMATCHED_S + 1
    made.look()
    assert made.reasons() == ["DECOYS_MISSING"]


async def test_a_counter_that_begins_again_is_an_alert(made: Watched) -> None:
    """An attack: the counter is removed, so that what is deleted leaves no gap."""
    await made.outbox.hits(asked(), [])
    made.look()
    (made.folder / COUNTER).unlink()
    await made.restarted().hits(asked(2), [])
    made.look()
    assert made.reasons() == ["NOTICES_BEGUN_ANEW"]
    assert made.register.position() == position_of(made, 1)


async def test_a_counter_that_begins_again_overwrites_nothing(made: Watched) -> None:
    """What waits of the series before is still taken, and the new one goes on behind it."""
    for number in range(3):
        await made.outbox.hits(asked(number), [])
    (made.folder / COUNTER).unlink()
    await made.restarted().hits(asked(3), [])
    assert len(made.files) == 4
    assert made.look() == 4
    assert made.reasons() == ["NOTICES_BEGUN_ANEW"]
    assert made.register.position() == position_of(made, 4)


def position_of(made: Watched, number: int) -> Position:
    """The newest notice, as the node's counter has it."""
    series, last = (made.folder / COUNTER).read_text().split()
    assert int(last) == number
    return Position(series=bytes.fromhex(series), number=number, at=int(made.clock()))


async def test_silence_is_an_alert_once(made: Watched) -> None:
    """A node writes every hour, so three hours without a notice are told, and told once."""
    await made.outbox.hits(asked(), [])
    made.look()
    made.clock.now += taking.SILENT_S + 1
    made.look(5)
    assert made.reasons() == ["NOTICES_SILENT"]
    await made.outbox.hits(asked(2), [])
    made.look()
    assert made.reasons() == ["NOTICES_SILENT"]


async def test_a_directory_that_does_not_verify_changes_nobody(made: Watched) -> None:
    """Whoever signed until now goes on; a key that no directory named never counts."""
    await made.outbox.hits(asked(), [])
    made.look()
    broken = made.config.model_copy(update={"directory": made.folder / COUNTER})
    made.taking.config = broken
    await made.outbox.hits(asked(2), [])
    assert made.look() == 1
    assert made.reasons() == []


async def test_a_file_that_cannot_be_removed_is_taken_once(
    world: World, made: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oversight without the right to remove files still alerts, once, and goes on."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, DECOY)])

    def refused(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    assert made.look(4) == 2
    assert len(made.files) == 2
    monkeypatch.undo()
    made.look()
    assert (made.reasons(), made.files) == (["DECOY_HIT"], [])


# ── The officer ──────────────────────────────────────────────────────────────────────────────


def typed(config: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--config", str(config)], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


async def test_every_alert_and_who_saw_it_are_leaves(
    world: World, made: Watched, tmp_path: Path
) -> None:
    """Listed, acknowledged once, no longer listed; the oversight's own log verifies."""
    await made.outbox.decoys(OWNER, MANIFEST, a_list(world, [DECOY]))
    await made.outbox.hits(asked(), [(OWNER, MANIFEST, DECOY)])
    made.look()
    config = tmp_path / "oversight" / "oversight.toml"
    await drain_if_free(lambda: open_journal(made.config, made.register))
    (row,) = json.loads(typed(config, "alerts", "list", "--output", "json"))
    assert (row["reason"], row["user"]) == ("DECOY_HIT", "u-c01")
    made.register.acknowledge(row["alert"], "u-o01", int(NOW))
    assert json.loads(typed(config, "alerts", "list", "--output", "json")) == []
    assert len(json.loads(typed(config, "alerts", "list", "--all", "--output", "json"))) == 1
    shown = CliRunner().invoke(
        app, ["alerts", "list", "--all", "--config", str(config)], env={"FAIRLEAD_LANG": "nl"}
    )
    assert reason("DECOY_HIT", "nl").text in shown.output
    (state,) = json.loads(typed(config, "status", "--output", "json"))
    assert (state["alerts_waiting"], state["files_waiting"], state["decoys_known"]) == (0, 0, 1)
    key = signing.public_bytes(signing.load_signing_key(made.config.keys_dir / "log.key"))
    report = verify_log(
        made.config.state_dir / LOG_FILE, origin=origin(made.config), public_key=key
    )
    assert dict(report.leaves) == {"ALARM": 1}


def test_an_oversight_makes_its_own_key(tmp_path: Path) -> None:
    """Its private half is 0600 in its own folder; founding again changes nothing, another folder's
    name is refused."""
    settings = {"federation": "f", "node_folder": None, "seed": None}
    public = founding.found(tmp_path / "o", partner="customs", **settings)  # type: ignore[arg-type]
    seed = tmp_path / "o" / "keys" / "oversight.seed"
    assert SealingKey.load(seed).public_bytes() == public.read_bytes()
    before = seed.read_bytes()
    founding.found(tmp_path / "o", partner="customs", **settings)  # type: ignore[arg-type]
    assert seed.read_bytes() == before
    with pytest.raises(Misconfigured):
        founding.found(tmp_path / "o", partner="police", **settings)  # type: ignore[arg-type]
    with pytest.raises(Misconfigured):
        taking.load_keys(tmp_path)
