"""Building a blind index: resumed, kept up to date, and no more than index and decisions allow."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from fairlead.blinding import (
    EpochSeed,
    PrivateKey,
    encode_terms,
    epoch_key,
    evaluate_unblinded,
)
from fairlead.config import NodeConfig
from fairlead.entries import ENTRY_SIZE, EntryCodec, Payload
from fairlead.errors import SourceUnusable
from fairlead.identifiers import NORM_VERSION, normalise
from fairlead.snapshot import LEAST, Snapshot, padded_count
from fairlead.vocabulary import Event
from node.index import Index
from node.indexing import index_keys
from node.publication import terms
from node.publication.build import ENTRIES_FILE, Build, Built
from node.publication.child import obey, order
from node.publication.decision import Telling
from node.publication.folder import SUFFIX
from node.publication.payload import References
from node.publication.target import Target
from node.publication.terms import TermReader
from node.sources.record import SourceRecord
from tests.blind import require_libsodium
from tests.refreshed import DAY_S, KEYS, NOW, Memory, Table, box, refresh, row

require_libsodium()
UNTIL = int(NOW) + 8 * DAY_S
AUDIENCE = b"a" * 32
ALL = Telling(record=True, event=True, date=True, desk=True)
SEED = EpochSeed(epoch=7, secret=bytes(range(32)))


def scalar(seed: EpochSeed = SEED, scheme: str = "container") -> bytes:
    node = "partner/terminal-north/node/n1"
    return epoch_key(seed, node=node, audience=AUDIENCE, scheme=scheme).scalar


def index(folder: Path, rows: Sequence[SourceRecord]) -> Path:
    refresh(folder / "index.sqlite", Memory({"t": Table(list(rows))}), accept=True)
    return folder / "index.sqlite"


def opened(path: Path) -> TermReader:
    return TermReader(path, **KEYS)


def target(path: Path, key: bytes | None = None) -> Target:
    """A target that tells everything of every kind the index holds."""
    with opened(path) as reader:
        kinds = reader.kinds(UNTIL, lambda *_: None)
    told = {kind: ALL for scheme, kind in kinds if scheme == "container"}
    return Target(
        audience=AUDIENCE, epoch=7, scheme="container", scalar=key or scalar(), desk=1, told=told
    )


def build(path: Path, *targets: Target) -> tuple[list[Built], int]:
    with opened(path) as reader:
        made = Build(
            reader=reader, targets=targets, folder=path.parent, until=UNTIL,
            token_key=KEYS["token_key"], report=lambda *_: None, workers=1,
        )  # fmt: skip
        return made.run(), made.computed


def found(path: Path, built: Built, number: int, key: bytes | None = None) -> Payload | None:
    """What the snapshot says of the ``number``-th container."""
    file = path.parent / f"{built.digest.hex()}{SUFFIX}"
    snapshot = Snapshot.open(file, entries=built.entries, digest=built.digest)
    inputs = encode_terms(NORM_VERSION, "container", [box(number).value])
    (output,) = evaluate_unblinded(PrivateKey(scalar=key or scalar()), inputs)
    codec = EntryCodec(audience=AUDIENCE, epoch=7)
    entry = snapshot.find(codec.tag(output))
    snapshot.close()
    return codec.open(output, entry) if entry else None


def test_every_term_has_one_entry_and_the_count_is_padded(tmp_path: Path) -> None:
    """1,100 terms in 1,650 records become 1,100 entries among 1,152, each found by its output."""
    rows = [row(n) for n in range(1_100)] + [row(n, origin=f"x{n}") for n in range(550)]
    path = index(tmp_path, rows)
    ((built,), computed) = build(path, target(path))
    assert (built.terms, built.entries, computed) == (1_100, 1_152, 1_100)
    assert all(found(path, built, number) for number in (0, 1, 549, 1_099))
    assert found(path, built, 1_100) is None


def test_only_what_changed_is_computed_again(tmp_path: Path) -> None:
    """A second build computes nothing; one row gone, one new and one newer are three changes."""
    rows = [row(n) for n in range(20)]
    path = index(tmp_path, rows)
    ((first,), _) = build(path, target(path))
    ((again,), computed) = build(path, target(path))
    assert (again, computed) == (first, 0)
    later = replace(row(0, origin="later"), event=Event.SCAN, occurred_at=int(NOW) - 10)
    index(tmp_path, [*rows[:19], row(20), later])
    ((changed,), computed) = build(path, target(path))
    assert (changed.terms, computed) == (20, 2)
    assert found(path, changed, 19) is None
    assert found(path, changed, 20) is not None
    payload = found(path, changed, 0)
    assert payload is not None
    assert payload.event is Event.SCAN


@pytest.mark.parametrize("kept", [[3], []])
def test_what_is_gone_from_the_index_is_gone_from_the_snapshot(
    tmp_path: Path, kept: list[int]
) -> None:
    """Wherever a term stood in the order of tokens, nothing of it stays, nor of an empty index."""
    path = index(tmp_path, [row(n) for n in range(20)])
    build(path, target(path))
    index(tmp_path, [row(n) for n in kept])
    ((built,), computed) = build(path, target(path))
    assert (built.terms, computed) == (len(kept), 0)
    assert [n for n in range(20) if found(path, built, n)] == kept


def test_another_key_computes_everything_anew(tmp_path: Path) -> None:
    """Entries under a key that was drawn anew in the same epoch are never mixed with old ones."""
    path = index(tmp_path, [row(n) for n in range(5)])
    build(path, target(path))
    other = scalar(EpochSeed(epoch=7, secret=b"\x01" * 32))
    ((built,), computed) = build(path, target(path, other))
    assert computed == 5
    assert found(path, built, 3, other) is not None
    assert found(path, built, 3) is None


def test_a_kind_that_was_not_decided_stays_out(tmp_path: Path) -> None:
    """A record that came after the decisions were made is not published on a guess."""
    path = index(tmp_path, [row(1)])
    decided = target(path)
    index(tmp_path, [row(1), replace(row(2), event=Event.SEIZURE)])
    ((built,), _) = build(path, decided)
    assert built.terms == 1
    assert found(path, built, 2) is None


def test_targets_of_other_schemes_get_nothing_of_this_one(tmp_path: Path) -> None:
    """Each scheme has a snapshot of its own, one without any term as large as the smallest."""
    path = index(tmp_path, [row(n) for n in range(3)])
    plates = replace(target(path), scheme="vehicle-plate", scalar=scalar(scheme="vehicle-plate"))
    (boxes, none), _ = build(path, target(path), plates)
    assert (boxes.terms, none.terms, none.entries) == (3, 0, LEAST)
    assert (path.parent / f"{none.digest.hex()}{SUFFIX}").stat().st_size == LEAST * ENTRY_SIZE


def test_a_term_with_very_many_records_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a term with more records than are considered the newest still speaks."""
    monkeypatch.setattr(terms, "NEWEST", 8)
    moments = [int(NOW) - 5_000 + 37 * n % 997 for n in range(60)]
    rows = [replace(row(1, origin=n), occurred_at=at) for n, at in enumerate(moments)]
    newest = replace(row(1, origin="z"), occurred_at=int(NOW) - 9, event=Event.SCAN)
    path = index(tmp_path, [*rows, newest])
    ((built,), _) = build(path, target(path))
    payload = found(path, built, 1)
    assert payload is not None
    assert payload.event is Event.SCAN


def test_a_damaged_index_is_not_published(tmp_path: Path) -> None:
    """An attack: a record exchanged or taken out of the file stops the build."""
    path = index(tmp_path, [row(n) for n in range(5)])
    made = target(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM record WHERE key = (SELECT min(key) FROM record)")
        database.commit()
    with pytest.raises(SourceUnusable) as caught:
        build(path, made)
    assert caught.value.code == "INDEX_CHANGED"


def test_a_killed_build_goes_on(tmp_path: Path) -> None:
    """A build that is killed in its middle, with all its processes, computes the rest only."""
    secret = tmp_path / "index.key"
    secret.write_bytes(b"k" * 64)
    secret.chmod(0o600)
    state = tmp_path / "state"
    state.mkdir()
    config = whole_config(tmp_path)
    token_key, field_key = index_keys(config)
    rows, total = [row(n) for n in range(12_000)], 12_000
    Index.build(
        state / "index.sqlite", rows, token_key=token_key, field_key=field_key, clock=lambda: NOW
    )
    with TermReader(state / "index.sqlite", token_key=token_key, field_key=field_key) as reader:
        kinds = reader.kinds(UNTIL, lambda *_: None)
    made = Target(
        audience=AUDIENCE, epoch=7, scheme="container", scalar=scalar(), desk=1,
        told={kind: ALL for _, kind in kinds},
    )  # fmt: skip
    ordered = order(config, until=UNTIL, epoch=7, targets=[made.to_document()])
    killed = _killed_when_some_are_kept(ordered, state / "blind" / "epoch-7" / ENTRIES_FILE)
    assert 0 < killed < total
    done = obey(orjson.loads(ordered), lambda *_: None)
    assert done["built"][0]["terms"] == total
    assert done["built"][0]["entries"] == padded_count(total)
    assert done["computed"] == total - killed


def whole_config(folder: Path) -> NodeConfig:
    """A valid configuration of files that are there."""
    for name in ("keys", "policy"):
        (folder / name).mkdir()
    for name in ("directory", "pins", "deny"):
        (folder / name).touch()
    return NodeConfig(
        partner="terminal-north", listen="127.0.0.1:0", gateway="127.0.0.1:1",
        state_dir=folder / "state", keys_dir=folder / "keys", directory=folder / "directory",
        pins=folder / "pins", deny_lists=folder / "deny", policy_dir=folder / "policy",
        index_key=f"file:{folder / 'index.key'}", log_level="error",
    )  # fmt: skip


def _killed_when_some_are_kept(ordered: bytes, path: Path) -> int:
    """Kill a child without warning once entries are durable; how many are."""
    process = subprocess.Popen(
        [sys.executable, "-m", "node.publication.child"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(ordered)
    process.stdin.close()
    deadline = time.monotonic() + 60
    while _kept(path) == 0 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    return _kept(path)


def _kept(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=5)) as database:
            return int(database.execute("SELECT count(*) FROM entry").fetchone()[0])
    except sqlite3.Error:
        return 0


# ── Fillers and references ───────────────────────────────────────────────────────────────────


def test_fillers_follow_from_the_key() -> None:
    """The same each time, other ones under another key, sorted, and as many as bring a rung."""
    made = Target(audience=AUDIENCE, epoch=7, scheme="container", scalar=scalar(), desk=1, told={})
    fillers = list(made.fillers(1_000))
    assert fillers == sorted(fillers) == list(made.fillers(1_000))
    assert len(fillers) == LEAST - 1_000
    assert set(made.fillers(1_010)) < set(fillers)
    other = replace(made, scalar=scalar(EpochSeed(epoch=7, secret=b"\x01" * 32)))
    assert not set(other.fillers(1_000)) & set(fillers)
    assert list(made.fillers(1_152)) == []


def test_references_link_nothing() -> None:
    """One record has another reference for each term, class, epoch and scheme, and its owner finds
    it again."""
    references = References(KEYS["token_key"])
    record, token = bytes(16), normalise("container", "MSCU6639870").value.encode()[:16]
    ref = references.of(record, token=token, target=b"t" * 32)
    assert len(ref) == 16
    assert ref == References(KEYS["token_key"]).of(record, token=token, target=b"t" * 32)
    others = {
        references.of(record, token=b"0" * 16, target=b"t" * 32),
        references.of(record, token=token, target=b"u" * 32),
        references.of(b"1" * 16, token=token, target=b"t" * 32),
        References(b"o" * 32).of(record, token=token, target=b"t" * 32),
    }
    assert len(others | {ref}) == 5
