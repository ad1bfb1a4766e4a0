"""Publishing persons: several keys each, one entry a key, and whoever shares one."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.blinding import (
    EpochSeed,
    PrivateKey,
    encode_terms,
    epoch_key,
    evaluate_unblinded,
)
from fairlead.entries import EntryCodec, Payload
from fairlead.errors import Misconfigured
from fairlead.identifiers import NORM_VERSION, Identifier, normalise
from fairlead.identifiers.matching import MEDIUM, STRONG, WEAK, asked_keys, held_keys
from fairlead.snapshot import Snapshot
from fairlead.vocabulary import Event
from node.publication import build as building
from node.publication.build import ENTRIES_FILE, Build, Built
from node.publication.claims import Claim, Claims, where_claimed
from node.publication.decision import Telling
from node.publication.folder import SUFFIX
from node.publication.process import surroundings
from node.publication.target import Target
from node.publication.terms import TermReader
from node.sources.record import SourceRecord
from tests.blind import require_libsodium
from tests.refreshed import DAY_S, KEYS, NOW, Memory, Table, refresh, row

require_libsodium()
UNTIL = int(NOW) + 8 * DAY_S
AUDIENCE = b"a" * 32
ALL = Telling(record=True, event=True, date=True, desk=True)
BORN = "1980-02-01"
_SEED = EpochSeed(epoch=7, secret=bytes(range(32)))


def person(name: str) -> Identifier:
    found = normalise("person", name, issuer=BORN)
    assert "|" in found.value
    return found


def about(name: str, *, age_s: int = 1_000, event: Event = Event.GATE_IN) -> SourceRecord:
    """A record about one person, whose origin is the name."""
    made = row(0, origin=name)
    return replace(
        made, identifiers=(person(name),), occurred_at=int(NOW) - age_s, event=event, personal=True
    )


def index(folder: Path, rows: Sequence[SourceRecord]) -> Path:
    refresh(folder / "index.sqlite", Memory({"t": Table(list(rows))}), accept=True)
    return folder / "index.sqlite"


def target(path: Path, scheme: str = "person", audience: bytes = AUDIENCE) -> Target:
    """A target that tells everything of every kind the index holds."""
    node = "partner/terminal-north/node/n1"
    with TermReader(path, **KEYS) as reader:
        kinds = reader.kinds(UNTIL, lambda *_: None)
    return Target(
        audience=audience, epoch=7, scheme=scheme, desk=1,
        scalar=epoch_key(_SEED, node=node, audience=audience, scheme=scheme).scalar,
        told={kind: ALL for held, kind in kinds if held == scheme},
    )  # fmt: skip


def build(path: Path, *targets: Target) -> tuple[list[Built], int]:
    with TermReader(path, **KEYS) as reader:
        made = Build(
            reader=reader, targets=targets, folder=path.parent, until=UNTIL,
            token_key=KEYS["token_key"], report=lambda *_: None, workers=1,
        )  # fmt: skip
        return made.run(), made.computed


def hits(path: Path, built: Built, made: Target, name: str) -> Iterator[tuple[str, Payload]]:
    """Grade and payload of each key by which a person is found, best first."""
    file = path.parent / f"{built.digest.hex()}{SUFFIX}"
    snapshot = Snapshot.open(file, entries=built.entries, digest=built.digest)
    keys = asked_keys("person", person(name).value)
    inputs = encode_terms(NORM_VERSION, "person", [key.value for key in keys])
    codec = EntryCodec(audience=made.audience, epoch=7)
    outputs = evaluate_unblinded(PrivateKey(scalar=made.scalar), inputs)
    for key, output in zip(keys, outputs, strict=True):
        entry = snapshot.find(codec.tag(output))
        if entry is not None:
            yield key.grade, codec.open(output, entry)
    snapshot.close()


def grades(path: Path, built: Built, made: Target, name: str) -> list[str]:
    return [grade for grade, _ in hits(path, built, made, name)]


def test_a_person_is_found_by_every_key_it_has(tmp_path: Path) -> None:
    """Four entries for two words; a spelling that sounds alike and half a name find the same
    person, and another date of birth or another name finds nobody."""
    path = index(tmp_path, [about("Jan Jansen"), row(1)])
    made, boxes = target(path), target(path, "container")
    (persons, containers), computed = build(path, made, boxes)
    assert (persons.terms, containers.terms, computed) == (4, 1, 5)
    assert grades(path, persons, made, "Jansen, Jan") == [STRONG, MEDIUM, WEAK, WEAK]
    assert grades(path, persons, made, "Jan Janssen") == [MEDIUM, WEAK, WEAK]
    assert grades(path, persons, made, "Maria Jansen") == [WEAK]
    assert grades(path, persons, made, "Piet Vermeulen") == []
    assert grades(path, persons, made, "Jan Jansen|1980-02-02") == []


def test_an_entry_of_a_person_links_to_no_other(tmp_path: Path) -> None:
    """An attack: telling by equal references that two weak hits are one person."""
    path = index(tmp_path, [about("Jan Jansen")])
    made = target(path)
    ((built,), _) = build(path, made)
    refs = {payload.ref for _, payload in hits(path, built, made, "Jan Jansen")}
    assert len(refs) == 4


def test_who_shares_a_key_has_one_entry_and_the_newest_record_speaks(tmp_path: Path) -> None:
    """Two persons who sound alike: each is found by its own name, and by the shared keys the one
    with the newest record, in whatever order they came."""
    old, new = about("Jan Jansen", age_s=900), about("Jan Janssen", age_s=10, event=Event.SCAN)
    for place, rows in enumerate(([old, new], [new, old])):
        folder = tmp_path / str(place)
        folder.mkdir()
        path = index(folder, rows)
        made = target(path)
        ((built,), computed) = build(path, made)
        assert (built.terms, computed) == (5, 5)
        found = [(grade, payload.event) for grade, payload in hits(path, built, made, "Jan Jansen")]
        assert found == [
            (STRONG, Event.GATE_IN), (MEDIUM, Event.SCAN), (WEAK, Event.SCAN), (WEAK, Event.SCAN),
        ]  # fmt: skip


def test_records_of_one_moment_have_an_order(tmp_path: Path) -> None:
    """Of two records of one second the same one speaks however the index was filled."""
    rows = [about(name) for name in ("Jan Jansen", "Jan Janssen", "Jan Janzen", "Ian Jensen")]
    said = set()
    for place in range(4):
        folder = tmp_path / str(place)
        folder.mkdir()
        path = index(folder, random.Random(place).sample(rows, len(rows)))
        made = target(path)
        ((built,), _) = build(path, made)
        said.add(tuple(payload.ref for _, payload in hits(path, built, made, "Jan Jansen")))
    assert len(said) == 1


def test_what_may_not_be_told_does_not_speak_for_a_shared_key(tmp_path: Path) -> None:
    """The newest record counts among those that may be published in that target only."""
    secret = about("Jan Janssen", age_s=10, event=Event.SEIZURE)
    path = index(tmp_path, [about("Jan Jansen"), secret])
    made = target(path)
    narrow = replace(
        target(path, audience=b"b" * 32),
        told={kind: ALL for kind in made.told if kind.facts.event != Event.SEIZURE},
    )
    (everything, less), _ = build(path, made, narrow)
    assert (everything.terms, less.terms) == (5, 4)
    assert [p.event for _, p in hits(path, everything, made, "Janssen, Jan")] == [Event.SEIZURE] * 4
    assert [p.event for _, p in hits(path, less, narrow, "Janssen, Jan")] == [Event.GATE_IN] * 3


def test_a_shared_key_outlives_one_of_its_persons(tmp_path: Path) -> None:
    """Nothing is computed that did not change: when the newer of two goes, its own key goes and
    the shared ones say what the other one's record says; when both go, nothing is left."""
    old, new = about("Jan Jansen", age_s=900), about("Jan Janssen", age_s=10, event=Event.SCAN)
    path = index(tmp_path, [old, new])
    made = target(path)
    ((first,), _) = build(path, made)
    ((again,), computed) = build(path, made)
    assert (again, computed) == (first, 0)
    index(tmp_path, [old])
    ((built,), computed) = build(path, made)
    assert (built.terms, computed) == (4, 3)
    assert {p.event for _, p in hits(path, built, made, "Jan Janssen")} == {Event.GATE_IN}
    assert grades(path, built, made, "Jan Janssen") == [MEDIUM, WEAK, WEAK]
    index(tmp_path, [row(1)])
    ((built,), computed) = build(path, made)
    assert (built.terms, computed) == (0, 0)
    assert grades(path, built, made, "Jan Jansen") == []


def test_a_newcomer_with_an_older_record_changes_no_shared_key(tmp_path: Path) -> None:
    """Only the newcomer's own name is computed."""
    path = index(tmp_path, [about("Jan Jansen")])
    made = target(path)
    build(path, made)
    index(tmp_path, [about("Jan Jansen"), about("Jan Janssen", age_s=5_000)])
    ((built,), computed) = build(path, made)
    assert (built.terms, computed) == (5, 1)


def test_many_persons_over_many_pages_are_what_one_page_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few keys are looked at together, the snapshot is the same and nothing is lost."""
    first = ("Jan", "Piet", "Joris", "Käthe", "Mikhail", "Ana", "Li", "Yusuf", "Olga", "Wim")
    last = ("Jansen", "Peeters", "Schouten", "Ivanov", "Müller", "Garcia", "Wang", "Demir", "Hoxha")
    rows = [about(f"{a} {b}", age_s=100 + n) for n, a in enumerate(first) for b in last]
    path = index(tmp_path, rows)
    made = target(path)
    ((whole,), computed) = build(path, made)
    keys = {k.value for r in rows for k in held_keys("person", r.identifiers[0].value)}
    assert whole.terms == computed == len(keys)
    monkeypatch.setattr(building, "PAGE", 7)
    (tmp_path / ENTRIES_FILE).unlink()
    ((paged,), computed) = build(path, made)
    assert (paged, computed) == (whole, len(keys))
    with closing(sqlite3.connect(tmp_path / ENTRIES_FILE)) as database:
        database.execute("DELETE FROM entry WHERE substr(hex(token), 1, 1) < '8'")
        gone = database.total_changes
        database.commit()
    ((resumed,), computed) = build(path, made)
    assert 0 < gone < len(keys)
    assert (resumed, computed) == (whole, gone)


def test_no_name_is_written_beside_the_index(tmp_path: Path) -> None:
    """An attack: reading persons' names in the files of a publication."""
    path = index(tmp_path, [about("Jan Jansen"), about("Jan Janssen")])
    build(path, target(path))
    for file in tmp_path.iterdir():
        assert b"JANS" not in file.read_bytes().upper(), file.name


def test_a_person_without_a_date_has_no_entry(tmp_path: Path) -> None:
    """What was kept although it could not be read cannot be asked about, and is not published."""
    unread = normalise("person", "Jan Jansen")
    rows = [replace(about("Jan Jansen"), identifiers=(unread,)), about("Piet Peeters")]
    path = index(tmp_path, rows)
    ((built,), computed) = build(path, target(path))
    assert (built.terms, computed) == (4, 4)


def claim(place: int, token: bytes, term: bytes, moment: int, record: bytes) -> Claim:
    masked = bytes(8) if moment < 0 else moment.to_bytes(8)
    return Claim(place=place, token=token, term=term, masked=masked, record=record, print=b"p" * 16)


def unmasked(_where: bytes, masked: bytes) -> int:
    return int.from_bytes(masked)


def test_claims_come_back_by_key_and_the_greatest_wins() -> None:
    """By time, then record, then term, for each target by itself, whatever the order of adding."""
    made = [
        claim(0, b"b", b"1", 5, b"r"), claim(0, b"a", b"1", 5, b"r"), claim(0, b"a", b"2", 6, b"a"),
        claim(0, b"b", b"2", 5, b"s"), claim(1, b"a", b"3", 1, b"r"), claim(1, b"a", b"4", 1, b"r"),
    ]  # fmt: skip
    seen: list[tuple[int, int]] = []
    for seed in range(5):
        with Claims() as claims:
            claims.add(random.Random(seed).sample(made, len(made)))
            won = list(claims.won(0, unmasked, lambda *at: seen.append(at)))
            assert [(one.token, one.term) for one in won] == [(b"a", b"2"), (b"b", b"2")]
            assert [one.term for one in claims.won(1, unmasked, lambda *_: None)] == [b"4"]
            assert list(claims.won(2, unmasked, lambda *_: None)) == []
    assert seen == [(4, 4)] * 5


def test_a_time_is_masked_by_where_it_stands() -> None:
    """Two targets, keys or terms never share a mask."""
    places = {where_claimed(p, k, t) for p in (0, 1) for k in (b"k" * 16, b"l" * 16)
              for t in (b"t" * 16, b"u" * 16)}  # fmt: skip
    assert len(places) == 8


def test_what_is_sorted_outside_memory_lies_in_the_state_folder(tmp_path: Path) -> None:
    """SQLite's files without a name are made where the child is told: room there is enough."""
    probe = (
        "import os, sqlite3; from node.publication.claims import Claim, Claims\n"
        "claims = Claims(); claims.__enter__()\n"
        "claims.add([Claim(0, os.urandom(16), b't', b'm', b'r', b'p' * 2000)] * 20_000)\n"
        "print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')\n"
        "       if os.path.islink(f'/proc/self/fd/{n}')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], env=surroundings(tmp_path), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_claims_that_cannot_be_kept_say_so() -> None:
    """A full disk, or any trouble of SQLite's, is the operator's error with a remedy."""
    claims = Claims()
    claims.__exit__()
    with pytest.raises(Misconfigured) as caught:
        claims.add([])
    assert caught.value.code == "PUBLISH_UNWRITABLE"
