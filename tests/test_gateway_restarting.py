"""A log that lost its tail begins anew: two operators, one named checkpoint, nothing forgotten."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import receipts, signing
from fairlead.cli.output import Exit
from fairlead.cosigning import cosigners
from fairlead.errors import FairleadError, InvalidInput, LogUnavailable
from fairlead.v1 import audit_pb2
from gateway.app import LOG_FILE
from gateway.books import Books
from gateway.changes import Outcome
from gateway.restarting import new_origin, next_origin
from node.witness import QUORUM_NOTE
from tests.commands import as_user
from tests.federation import Federation, federation, states
from tests.founders import founded

PARTNERS = ("customs", "police", "terminal-north")


def test_origins_are_counted() -> None:
    """The first log has no number, the second has 2, and a name that ends in digits is none."""
    assert next_origin("port.example/gateway/gw-1") == "port.example/gateway/gw-1/2"
    assert next_origin("port.example/gateway/gw-1/2") == "port.example/gateway/gw-1/3"
    assert next_origin("port.example/gateway/gw-1/19") == "port.example/gateway/gw-1/20"


def test_before_a_quorum_is_possible_the_logs_own_note_is_enough(tmp_path: Path) -> None:
    """A federation of no partner yet can begin its log anew, and only under its own signature."""
    gateway = founded(tmp_path / "gateway")
    entry = gateway.books().gateway()
    key = signing.load_signing_key(gateway.config.keys_dir / "log.key")
    point = receipts.Checkpoint(origin=entry.log_origin, size=3, root=bytes(32))
    note = receipts.sign_checkpoint(point, key)
    strange = receipts.sign_checkpoint(point, Ed25519PrivateKey.generate())
    signing.save_key(gateway.config.keys_dir / "log.key", fresh := Ed25519PrivateKey.generate())
    for by in (0, 1):
        books = gateway.books()
        with books.desk().alone():
            with pytest.raises(FairleadError):
                new_origin(books, strange, gateway.operators[by], now=time.time())
            made = new_origin(books, note, gateway.operators[by], now=time.time())
        assert made.published == bool(by)
    found = gateway.books().gateway()
    assert found.log_origin == next_origin(entry.log_origin)
    assert (found.log_key, found.former_checkpoint) == (signing.public_bytes(fresh), note)


def test_a_new_origin_that_named_too_little_is_put_right(tmp_path: Path) -> None:
    """A later checkpoint of the log before is taken in its place, the same or an earlier one is
    not; every gateway that shares the log begins anew."""
    gateway = founded(tmp_path / "gateway")
    origin = gateway.books().gateway().log_origin
    key = signing.load_signing_key(gateway.config.keys_dir / "log.key")

    def begin(size: int) -> Outcome:
        point = receipts.Checkpoint(origin=origin, size=size, root=bytes(32))
        for operator in gateway.operators:
            books = gateway.books()
            with books.desk().alone():
                note = receipts.sign_checkpoint(point, key)
                made = new_origin(books, note, operator, now=time.time())
        return made

    assert begin(5).published
    for size in (4, 5):
        with pytest.raises(InvalidInput):
            begin(size)
    assert begin(6).published
    found = gateway.books().gateway()
    assert found.log_origin == f"{origin}/3"
    assert receipts.read_checkpoint(found.former_checkpoint).size == 6


def begin_anew(made: Federation, note: str) -> list[bool]:
    """Both operators sign; whether it was published after each."""
    published = []
    for number in (1, 2):
        books = Books.load(made.gateway_config)
        key = signing.load_signing_key(made.layout.federation / f"operator-{number}.key")
        with books.desk().alone():
            published.append(new_origin(books, note, key, now=time.time()).published)
    return published


async def settled(made: Federation) -> None:
    """Every node asks under the second directory."""
    async with asyncio.timeout(60):
        while any(app.member.directory.asking.serial < 2 for app in made.nodes.values()):
            await asyncio.sleep(0.1)


def leaves(app: object) -> list[audit_pb2.AuditLeaf]:
    rows = app.log.read("SELECT body FROM leaf ORDER BY idx")  # type: ignore[attr-defined]
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


async def test_a_log_that_lost_its_tail_stops_and_begins_anew(tmp_path: Path) -> None:
    """The restored log is stopped by its witnesses; under the next origin everybody goes on, the
    first leaf names the last cosigned checkpoint, and every node keeps the head it had."""
    async with federation(tmp_path, partners=PARTNERS) as made:
        await made.open_case()
        assert made.gateway is not None
        origin, file = made.gateway.log.origin, made.gateway_config.state_dir / LOG_FILE
        await made.gateway.witnesses.look()
        await made.stop_gateway()
        shutil.copy(file, tmp_path / "older.sqlite")
        gateway = await made.start_gateway()
        await made.reconnected()
        assert "police" in states(await made.ask())
        await gateway.witnesses.look()
        await made.ask()
        await gateway.witnesses.look()
        # The tail is lost.
        await made.stop_gateway()
        for end in ("", "-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)
        shutil.copy(tmp_path / "older.sqlite", file)
        gateway = await made.start_gateway()
        await gateway.witnesses.look()
        assert gateway.failed.event.is_set()
        await made.stop_gateway()
        with pytest.raises(LogUnavailable):
            await made.start_gateway()
        # Witnesses have what must be named, the newest of theirs; nothing else can be.
        kept = [app.log.read(QUORUM_NOTE, (origin,)) for app in made.nodes.values()]
        note = max((rows[0][0] for rows in kept), key=lambda n: receipts.read_checkpoint(n).size)
        assert len(cosigners(note, made.directory)) >= 2
        entry = made.directory.gateway
        bare = receipts.own_note(note, name=origin, public_key=entry.log_key)
        with pytest.raises(FairleadError) as caught:
            begin_anew(made, bare)
        assert caught.value.code == "QUORUM_MISSING"
        assert begin_anew(made, note) == [False, True]
        file.rename(tmp_path / "evidence.sqlite")
        gateway = await made.start_gateway()
        await settled(made)
        assert "police" in states(await made.ask())
        await gateway.witnesses.look()
        assert gateway.witnesses.cosigned is not None
        assert gateway.witnesses.cosigned.origin == f"{origin}/2"
        ended = await as_user(made, "audit", "verify", str(tmp_path / "evidence.sqlite"))
        assert ended.code == Exit.ANSWERED, (
            "an ended log verifies under the directories of its time"
        )
        first = leaves(gateway)[0]
        assert (first.type, first.subject) == (audit_pb2.LEAF_TYPE_WITNESS, "new-origin")
        assert list(first.checkpoints) == [note]
        for app in made.nodes.values():
            (told,) = (leaf for leaf in leaves(app) if leaf.type == audit_pb2.LEAF_TYPE_WITNESS)
            assert told.checkpoints[-1] == note
            held = app.log.foreign_head(origin)
            assert held is not None
            assert held.checkpoint == told.checkpoints[0]
            assert held.size >= receipts.open_checkpoint(note, origin, entry.log_key).size
        # Both ends: what nodes record from before is one incident each, which names all of it.
        for name, app in made.nodes.items():
            before, again = [await app.reconciler.reconcile() for _ in range(2)]
            assert (before["reasons"], again["reasons"]) == (["RECONCILE_RESTARTED"], []), name
            assert before["excused"] >= 2
        alarms = [leaf for leaf in leaves(gateway) if leaf.type == audit_pb2.LEAF_TYPE_ALARM]
        assert sorted(leaf.partner_id for leaf in alarms) == sorted(made.nodes)
