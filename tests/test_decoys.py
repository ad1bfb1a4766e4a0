"""Decoys: invented and published like records, encrypted at rest, told to oversight alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead import identifiers
from fairlead.auditlog import AuditLog
from fairlead.decoys import PADDED, open_decoys
from fairlead.entries import ENTRY_SIZE
from fairlead.envelope.manifest import Manifest
from fairlead.errors import Conflict, FairleadError, InvalidInput, NotFound, Overloaded
from fairlead.leaves import LeafWriter
from fairlead.snapshot import Snapshot, padded_count
from fairlead.vocabulary import Event
from node import decoys
from node.decoys import Decoy, DecoyBook, commitment
from node.owning import at_rest
from node.publication.build import Build, Built
from node.publication.decoying import decoy_terms, invented
from node.publication.folder import SUFFIX
from node.publication.outcome import Line
from node.publication.shelf import line_of
from node.publication.target import Target
from node.steering import Steering
from tests.blind import require_libsodium
from tests.federation import OTHER, STORY, Federation, build_index
from tests.live import leaves
from tests.oversights import seed_of
from tests.publications import OWNER, held, line, looked_up, owner_of
from tests.refreshed import DAY_S, KEYS, NOW, box, row
from tests.test_publication_build import UNTIL, found, index, opened, target

require_libsodium()
READER, PURPOSE = "customs", "drug-trafficking"
SINCE = int(NOW) - DAY_S


def decoy(number: int, secret: int = 1) -> Decoy:
    """The ``number``-th container as a decoy."""
    return Decoy(
        id=number.to_bytes(8, "big"), scheme="container", value=box(number).value,
        secret=bytes([secret]) * 32, generated=False, added_at=0,
    )  # fmt: skip


def build(path: Path, made: Target, *hidden: Decoy, since: int = SINCE) -> tuple[Built, int]:
    with opened(path) as reader:
        work = Build(
            reader=reader, targets=[made], folder=path.parent, until=UNTIL,
            token_key=KEYS["token_key"], report=lambda *_: None, workers=1,
            decoys=decoy_terms(reader, hidden, since=since),
        )  # fmt: skip
        (built,) = work.run()
        return built, work.computed


# ── In a snapshot ────────────────────────────────────────────────────────────────────────────


def test_a_decoy_is_an_entry_like_any_other(tmp_path: Path) -> None:
    """It is found by its term, says what some record of its scheme says, and counts as a term."""
    rows = [replace(row(n), event=Event.SCAN if n % 2 else Event.GATE_IN) for n in range(40)]
    path = index(tmp_path, rows)
    built, _ = build(path, target(path), decoy(500), decoy(501, 2))
    assert (built.terms, built.entries) == (42, padded_count(42))
    payloads = {n: found(path, built, n) for n in range(40)}
    for number in (500, 501):
        hidden = found(path, built, number)
        assert hidden is not None
        assert any(
            real is not None and replace(hidden, ref=b"") == replace(real, ref=b"")
            for real in payloads.values()
        )
        assert hidden.ref not in {real.ref for real in payloads.values() if real}
    assert found(path, built, 502) is None


def test_decoys_are_told_from_records_by_nothing_in_the_file(tmp_path: Path) -> None:
    """An attack: with the snapshot alone, and even with every payload opened, position, size and
    what is said are distributed as those of records."""
    events = (Event.GATE_IN, Event.GATE_IN, Event.GATE_IN, Event.SCAN)
    rows = [replace(row(n), event=events[n % 4]) for n in range(200)]
    path = index(tmp_path, rows)
    hidden = [replace(decoy(1_000 + n), secret=n.to_bytes(32, "big")) for n in range(200)]
    built, _ = build(path, target(path), *hidden)
    file = path.parent / f"{built.digest.hex()}{SUFFIX}"
    snapshot = Snapshot.open(file, entries=built.entries, digest=built.digest)
    snapshot.close()
    assert file.stat().st_size == built.entries * ENTRY_SIZE
    real = [found(path, built, n) for n in range(200)]
    invented_ones = [found(path, built, 1_000 + n) for n in range(200)]
    assert len({p.ref for p in (*real, *invented_ones) if p}) == 400
    shares = [
        Counter(p.event for p in payloads if p)[Event.SCAN] / 200
        for payloads in (real, invented_ones)
    ]
    assert shares[0] == 0.25
    assert abs(shares[1] - shares[0]) < 0.15
    octets = file.read_bytes()
    tags = [octets[at : at + 16] for at in range(0, len(octets), ENTRY_SIZE)]
    assert tags == sorted(tags)


def test_a_decoy_stays_as_it_is_while_records_come(tmp_path: Path) -> None:
    """An attack by comparing snapshots: records that come, or are seen again, within the epoch
    change nothing of a decoy's entry, and nothing of it is computed again."""
    rows = [replace(row(n), occurred_at=SINCE - 100) for n in range(30)]
    path = index(tmp_path, rows)
    made = target(path)
    first, _ = build(path, made, decoy(500))
    later = [row(n, origin=f"x{n}") for n in range(30)]
    index(tmp_path, [*rows, *later])
    made = replace(made, told={**made.told, **target(path).told})
    again, computed = build(path, made, decoy(500))
    assert computed <= 30
    assert found(path, first, 500) == found(path, again, 500)


def test_a_decoy_that_became_a_record_is_none_any_more(tmp_path: Path) -> None:
    """The record speaks under its own reference, and there is one entry."""
    path = index(tmp_path, [row(n) for n in range(5)])
    without, _ = build(path, target(path))
    record = found(path, without, 3)
    built, _ = build(path, target(path), decoy(3))
    assert built.terms == 5
    assert found(path, built, 3) == record


def test_without_a_record_of_its_scheme_a_decoy_is_not_published(tmp_path: Path) -> None:
    """There is nothing that it could look like."""
    path = index(tmp_path, [])
    built, _ = build(path, target(path), decoy(500))
    assert built.terms == 0


def test_a_removed_decoy_leaves_the_next_snapshot(tmp_path: Path) -> None:
    """As a record that is gone does."""
    path = index(tmp_path, [row(n) for n in range(5)])
    build(path, target(path), decoy(500))
    built, computed = build(path, target(path))
    assert (built.terms, computed) == (5, 0)
    assert found(path, built, 500) is None


# ── Inventing ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scheme", "terms"),
    [
        ("container", ["MSCU6639870", "TCLU1234568"]),
        ("vehicle-plate", ["NL:74BXK3", "BE:1ABC234"]),
        ("vessel-imo", ["9074729"]),
    ],
)
def test_what_is_invented_is_valid_and_no_record(
    tmp_path: Path, scheme: str, terms: Sequence[str]
) -> None:
    """Check digits are right, the beginning is a record's, and the index holds none of them."""
    found = [identifiers.normalise(scheme, term) for term in terms]
    rows = [replace(row(n), identifiers=(i,)) for n, i in enumerate(found)]
    path = index(tmp_path, rows)
    with opened(path) as reader:
        values = invented(reader, scheme, 5, ())
        assert not any(reader.holds(reader.token(scheme, value)) for value in values)
    assert len(set(values)) == 5
    for value in values:
        assert identifiers.parse(scheme, value).value == value
        assert any(value[:3] == real.value[:3] for real in found)
        assert value not in {real.value for real in found}


def test_nothing_is_invented_out_of_nothing(tmp_path: Path) -> None:
    """An index without such identifiers gives no pattern to follow."""
    path = index(tmp_path, [row(1)])
    with opened(path) as reader, pytest.raises(NotFound) as caught:
        invented(reader, "vessel-imo", 1, ())
    assert caught.value.code == "DECOY_PATTERN"


# ── The book ─────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def a_book(folder: Path, now: list[float]) -> AsyncIterator[DecoyBook]:
    """A book over a log of its own; ``now`` is its clock."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    log = AuditLog.open(
        folder / "audit.sqlite", origin="f/partner/terminal-north",
        key=Ed25519PrivateKey.generate(), clock=time.time, migrations=decoys.MIGRATIONS,
    )  # fmt: skip
    leaves = LeafWriter(log="partner/terminal-north", clock=lambda: now[0])
    keys = KEYS["token_key"], KEYS["field_key"]
    try:
        yield DecoyBook(log, leaves, keys=keys, kept_s=100, clock=lambda: now[0])
    finally:
        log.close()


async def test_a_decoy_is_encrypted_and_every_change_is_a_leaf(tmp_path: Path) -> None:
    """No file holds the value; the leaf commits to it, and shows neither it nor its scheme."""
    async with a_book(tmp_path, [1_000.0]) as book:
        (made,) = await book.add("container", [STORY], generated=False)
        await book.remove(made.id)
        added, removed = leaves(book._log)
    assert (added.subject, removed.subject) == ("decoys-added", "decoys-removed")
    assert added.detail_digest == removed.detail_digest == commitment([made])
    assert list(added.schemes) == []
    for path in tmp_path.rglob("*"):
        assert STORY.encode() not in path.read_bytes()
        assert made.secret.hex().encode() not in path.read_bytes()


async def test_a_removed_decoy_alarms_until_no_snapshot_has_it(tmp_path: Path) -> None:
    """As long as an entry may be found it is named; then it is forgotten and may come again."""
    now = [1_000.0]
    async with a_book(tmp_path, now) as book:
        (made,) = await book.add("container", [STORY], generated=False)
        await book.remove(made.id)
        now[0] += 99
        assert book.named([("container", STORY)]) == (made.id,)
        assert (book.in_force(), len(book.findable())) == ([], 1)
        with pytest.raises(Conflict):
            await book.add("container", [STORY], generated=False)
        now[0] += 2
        assert book.named([("container", STORY)]) == ()
        (again,) = await book.add("container", [STORY], generated=False)
        assert again.id != made.id
        with pytest.raises(NotFound):
            await book.remove(made.id)


async def test_there_are_never_more_decoys_than_a_list_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those removed lately count: they are in the list too."""
    monkeypatch.setattr(decoys, "MAX_DECOYS", 2)
    async with a_book(tmp_path, [1_000.0]) as book:
        (made, _) = await book.add("container", [STORY, OTHER], generated=True)
        await book.remove(made.id)
        with pytest.raises(Overloaded):
            await book.add("container", [box(1).value], generated=True)


async def test_decoys_of_another_secret_are_no_decoys(tmp_path: Path) -> None:
    """With the index's secret lost nothing opens them; the node goes on without."""
    async with a_book(tmp_path, [1_000.0]) as book:
        await book.add("container", [STORY], generated=False)
        keys = KEYS["token_key"], b"o" * 32
        other = DecoyBook(book._log, book._leaves, keys=keys, kept_s=9, clock=time.time)
        assert other.findable() == []


# ── At a node ────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def steered(made: Federation) -> AsyncIterator[Steering]:
    async with at_rest(made.node_configs[OWNER]) as steering:
        yield steering


def newest(steering: Steering, found: Line) -> Manifest:
    """A line's manifest as signed."""
    shelf = steering.publishing.publisher.shelf
    published = shelf.newest(line_of(found.manifest.audience, found.scheme))
    assert published is not None
    return published.manifest


def refs_for(made: Federation, steering: Steering, found: Line, reader: str) -> set[bytes]:
    """What a reader's oversight is told of a line."""
    manifest = newest(steering, found)
    sealed = steering.decoying.decoys_for(manifest, made.directory.partner(reader))
    assert PADDED < len(sealed) < PADDED + 2_048
    listed = open_decoys(
        sealed, owner=OWNER, manifest=manifest.digest, reader=reader,
        keys=[seed_of(made.layout, reader)],
        signers=[made.directory.partner(OWNER).signing_key],
    )  # fmt: skip
    return set(listed.refs)


async def test_what_a_partner_finds_is_what_its_oversight_is_told(tmp_path: Path) -> None:
    """The reference in the entry of a decoy is in the sealed list of that manifest, that of a
    record is not, and one decoy has different ones for different classes."""
    made = owner_of(tmp_path, [held(STORY)])
    async with steered(made) as steering:
        publisher = steering.publishing.publisher
        before = line(await publisher.publish(), READER, PURPOSE)
        assert refs_for(made, steering, before, READER) == set()
        await steering.decoying.add("container", OTHER)
        lines = await publisher.publish()
        after = line(lines, READER, PURPOSE)
        assert (after.state, after.terms) == ("published", 2)
        hidden = looked_up(made, publisher, after, OTHER)
        record = looked_up(made, publisher, after, STORY)
        assert hidden is not None
        assert record is not None
        assert replace(hidden, ref=b"") == replace(record, ref=b"")
        assert refs_for(made, steering, after, READER) == {hidden.ref}
        other = line(lines, "oceanic-line", "infiltration")
        theirs = looked_up(made, publisher, other, OTHER, "oceanic-line")
        assert theirs is not None
        assert theirs.ref != hidden.ref
        assert refs_for(made, steering, other, "oceanic-line") == {theirs.ref}
        assert (await publisher.publish())[0].state == "unchanged"


async def test_the_readers_node_cannot_open_a_list(tmp_path: Path) -> None:
    """An attack: with every key of the reader's node, and of the owner's, the list stays shut."""
    made = owner_of(tmp_path, [held(STORY)])
    async with steered(made) as steering:
        await steering.decoying.add("container", OTHER)
        found = line(await steering.publishing.publisher.publish(), READER, PURPOSE)
        reader = made.directory.partner(READER)
        sealed = steering.decoying.decoys_for(newest(steering, found), reader)
        from fairlead.sealing import SealingKey

        for partner in (READER, OWNER):
            key = SealingKey.load(made.layout.node(partner) / "sealing.seed")
            with pytest.raises(FairleadError):
                open_decoys(
                    sealed, owner=OWNER, manifest=newest(steering, found).digest, reader=READER,
                    keys=[key], signers=[made.directory.partner(OWNER).signing_key],
                )  # fmt: skip


async def test_what_a_record_holds_cannot_be_a_decoy(tmp_path: Path) -> None:
    """Nor what is misspelt, nor a person, nor an unknown kind; nor too many at once."""
    made = owner_of(tmp_path, [held(STORY)])
    async with steered(made) as steering:
        decoying = steering.decoying
        with pytest.raises(Conflict) as caught:
            await decoying.add("container", STORY)
        assert caught.value.code == "DECOY_HELD"
        for scheme, value in (
            ("container", "MSCU6639871"), ("person", "Jansen, Jan|1980-02-01"), ("nothing", "1"),
        ):  # fmt: skip
            with pytest.raises(InvalidInput):
                await decoying.add(scheme, value)
        for count in (0, 201):
            with pytest.raises(InvalidInput):
                await decoying.generate("container", count)
        with pytest.raises(InvalidInput):
            await decoying.generate("person", 1)
        found = await decoying.generate("container", 3)
        assert {d.value[:4] for d in found} == {STORY[:4]}


async def test_a_record_that_comes_later_ends_a_decoy(tmp_path: Path) -> None:
    """From the next publication on the entry is the record's."""
    made = owner_of(tmp_path, [held(STORY)])
    async with steered(made) as steering:
        await steering.decoying.add("container", OTHER)
        await steering.publishing.publisher.publish()
    build_index(made.node_configs[OWNER], [held(STORY), held(OTHER)])
    async with steered(made) as steering:
        publisher = steering.publishing.publisher
        found = line(await publisher.publish(), READER, PURPOSE)
        payload = looked_up(made, publisher, found, OTHER)
        assert payload is not None
        assert payload.ref not in refs_for(made, steering, found, READER)
