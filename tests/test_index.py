"""node.index: finds what is held, shows nothing to who reads the file, notices changes."""

from __future__ import annotations

import random as seeded
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fairlead.errors import Misconfigured, SourceUnusable
from fairlead.identifiers import Identifier, normalise
from fairlead.vocabulary import (
    Europol,
    Event,
    Handling,
    InformationGrade,
    Pap,
    RecordType,
    SourceGrade,
    Tlp,
)
from node.index import BuildReport, Index, Verified, verify_index
from node.index.codec import NONCE_SIZE, Codec
from node.index.description import NAME, Description
from node.sources.record import SourceRecord

NOW = 1_790_000_000.0
KEYS = {"token_key": b"t" * 32, "field_key": b"f" * 32}
BOX = normalise("container", "MSCU6639870")
OTHER_BOX = normalise("container", "CSQU3054383")
TRUCK = normalise("vehicle-plate", "NL:AB-123-C")


def clock() -> float:
    """Always now."""
    return NOW


def make_record(
    number: int = 1, *identifiers: Identifier, age_s: int = 100, keep_s: int = 1_000
) -> SourceRecord:
    """A record about ``identifiers`` (the story's container by default)."""
    occurred_at = int(NOW) - age_s
    return SourceRecord(
        origin=f"gate|gate.csv|{number}",
        identifiers=identifiers or (BOX,),
        record_type=RecordType.MOVEMENT,
        event=Event.GATE_IN,
        occurred_at=occurred_at,
        expires_at=occurred_at + keep_s,
        handling=Handling(
            tlp=Tlp.AMBER_STRICT,
            pap=Pap.RED,
            europol=Europol.H2,
            source_grade=SourceGrade.B,
            information_grade=InformationGrade.TWO,
        ),
        purposes=("customs-risk", "drug-trafficking"),
        active_target=False,
        personal=True,
        fields={"place": "Gate 7", "driver_name": "Somebody Invented"},
        withheld=("driver_card",),
        country="BE",
    )


def build(path: Path, records: Sequence[SourceRecord]) -> BuildReport:
    """Build with fixed randomness."""
    source = seeded.Random(1)
    return Index.build(path, records, clock=clock, random=source.randbytes, **KEYS)


def verified(path: Path) -> Verified:
    """Verify the whole."""
    return verify_index(path, progress=lambda _done, _total: None, **KEYS)


def open_index(path: Path, now: float = NOW) -> Index:
    """Open at a given time."""
    return Index.open(path, clock=lambda: now, **KEYS)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the index of a test stands."""
    return tmp_path / "index.sqlite"


def test_a_record_is_found_by_each_of_its_identifiers_and_whole(path: Path) -> None:
    """Everything a record states comes back; identifiers lead to it, others do not."""
    build(path, [make_record(1, BOX, TRUCK)])
    index = open_index(path)
    (found,) = index.lookup(BOX)
    assert index.lookup(TRUCK) == [found]
    assert index.lookup(OTHER_BOX) == []
    assert (found.record_type, found.event) == ("movement", "gate-in")
    assert (found.tlp, found.pap, found.europol) == ("AMBER_STRICT", "RED", "H2")
    assert (found.source_grade, found.information_grade) == ("B", "2")
    assert found.fields == {"place": "Gate 7", "driver_name": "Somebody Invented"}
    assert (found.withheld, found.doubtful) == (("driver_card",), ())
    assert found.purposes == ("customs-risk", "drug-trafficking")
    assert (found.active_target, found.personal) == (False, True)
    assert found.country == "BE"
    assert len(found.ref) == 16
    assert index.records == 1
    index.close()


def test_any_spelling_finds_and_a_wrong_check_digit_stays_itself(path: Path) -> None:
    """Matching is on the canonical value alone; a failed check digit is marked as doubtful."""
    typo = normalise("container", "MSCU 663987/4")
    build(path, [make_record(1), make_record(2, typo)])
    index = open_index(path)
    assert len(index.lookup(normalise("container", "mscu-663987.0"))) == 1
    (found,) = index.lookup(normalise("container", "MSCU6639874"))
    assert found.doubtful == ("container",)
    index.close()


def test_the_scheme_is_part_of_the_token(path: Path) -> None:
    """The same value under another scheme is another subject."""
    build(path, [make_record(1, normalise("vessel-imo", "9074729"))])
    index = open_index(path)
    assert index.lookup(normalise("vessel-imo", "IMO 9074729"))
    assert not index.lookup(normalise("container", "9074729"))
    index.close()


def test_newest_first(path: Path) -> None:
    """Records come back by time, whatever the order of the source."""
    build(path, [make_record(n, age_s=age) for n, age in enumerate((50, 10, 90, 30))])
    index = open_index(path)
    assert [int(NOW) - r.occurred_at for r in index.lookup(BOX)] == [10, 30, 50, 90]
    index.close()


def test_retention_over_means_no_answer(path: Path) -> None:
    """A record is returned until the second it expires, and not from then on."""
    build(path, [make_record(1, age_s=100, keep_s=200)])
    assert open_index(path, NOW + 99).lookup(BOX)
    assert not open_index(path, NOW + 100).lookup(BOX)


def test_the_file_shows_neither_identifiers_nor_content(path: Path) -> None:
    """Who reads the file finds no identifier, field, event or purpose in it."""
    build(path, [make_record(1, BOX, TRUCK)])
    content = path.read_bytes()
    for word in (b"MSCU", b"6639870", b"AB123C", b"gate-in", b"Gate 7", b"Invented", b"customs"):
        assert word not in content
    assert path.stat().st_mode & 0o077 == 0


def test_a_token_cannot_be_guessed_without_the_secret(path: Path, tmp_path: Path) -> None:
    """Another node's tokens for the same identifier are others: no offline dictionary."""
    build(path, [make_record(1)])
    other = tmp_path / "other.sqlite"
    Index.build(
        other, [make_record(1)], token_key=b"x" * 32, field_key=KEYS["field_key"], clock=clock
    )
    tokens = [
        sqlite3.connect(file).execute("SELECT token FROM entry").fetchall()
        for file in (path, other)
    ]
    assert tokens[0] != tokens[1]


def _edit(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry WHERE token = (SELECT token FROM entry LIMIT 1)",
        "DELETE FROM record WHERE key = (SELECT key FROM record LIMIT 1)",
        "DELETE FROM record; DELETE FROM entry",
        "INSERT INTO entry SELECT zeroblob(16), part, key, moment FROM entry LIMIT 1",
        "UPDATE entry SET moment = zeroblob(8)",
        "UPDATE record SET expires = zeroblob(8) WHERE key = (SELECT key FROM record LIMIT 1)",
        "UPDATE record SET tokens = zeroblob(16) WHERE key = (SELECT key FROM record LIMIT 1)",
        "UPDATE record SET sealed = (SELECT sealed FROM record LIMIT 1)",
        "UPDATE record SET sealed = zeroblob(80)",
        "DELETE FROM state WHERE length(sealed) > (SELECT min(length(sealed)) FROM state)",
    ],
)
def test_an_insider_who_edits_the_index_is_noticed(path: Path, statement: str) -> None:
    """Any row removed, added, changed or swapped fails the verification of the whole."""
    build(path, [make_record(n, BOX, TRUCK) for n in range(3)])
    assert verified(path).records == 3
    _edit(path, statement)
    with pytest.raises(SourceUnusable) as caught:
        verified(path)
    assert caught.value.code == "INDEX_CHANGED"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE state SET sealed = zeroblob(length(sealed))", "DELETE FROM state"],
)
def test_a_forged_description_does_not_open(path: Path, statement: str) -> None:
    """What the index says of itself is sealed; without it nothing is answered."""
    build(path, [make_record(1)])
    _edit(path, statement)
    with pytest.raises(SourceUnusable) as caught:
        open_index(path)
    assert caught.value.code == "INDEX_CHANGED"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record",
        "UPDATE record SET sealed = zeroblob(80)",
        "UPDATE entry SET moment = zeroblob(8)",
    ],
)
def test_a_damaged_record_never_answers(path: Path, statement: str) -> None:
    """Without waiting for a verification, a lookup that meets the damage says so."""
    build(path, [make_record(1)])
    _edit(path, statement)
    index = open_index(path)
    with pytest.raises(SourceUnusable) as caught:
        index.lookup(BOX)
    assert caught.value.code == "INDEX_CHANGED"
    index.close()


def test_a_description_forged_while_serving_stops_the_answers(path: Path) -> None:
    """A reader that is open notices on its next lookup, also where nothing is held."""
    build(path, [make_record(1)])
    index = open_index(path)
    _edit(path, "UPDATE state SET sealed = zeroblob(length(sealed))")
    with pytest.raises(SourceUnusable) as caught:
        index.lookup(OTHER_BOX)
    assert caught.value.code == "INDEX_CHANGED"
    index.close()


def test_a_sealed_record_does_not_open_under_another_reference() -> None:
    """Moving a sealed record to another subject fails: its content is bound to its reference."""
    codec = Codec(**KEYS)
    first, second = bytes(15) + b"1", bytes(15) + b"2"
    sealed = codec.seal(first, b"{}", bytes(12))
    assert codec.open(first, sealed).rstrip() == b"{}"
    with pytest.raises(SourceUnusable):
        codec.open(second, sealed)


def test_another_key_does_not_open_the_index(path: Path) -> None:
    """A replaced secret is noticed at start, not as a silent miss."""
    build(path, [make_record(1)])
    with pytest.raises(SourceUnusable) as caught:
        Index.open(path, token_key=b"x" * 32, field_key=b"f" * 32, clock=clock)
    assert caught.value.code == "INDEX_CHANGED"


def test_short_keys_are_refused(path: Path) -> None:
    """A key that is not 32 octets is the operator's mistake."""
    with pytest.raises(Misconfigured):
        Index.build(path, [], token_key=b"short", field_key=b"f" * 32, clock=clock)


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_what_is_no_index_is_refused(path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign file has a code and never an exception of SQLite."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceUnusable) as caught:
        open_index(path)
    assert caught.value.code in {"INDEX_UNREADABLE", "INDEX_CHANGED"}


def test_another_version_of_the_canonical_forms_is_an_error(path: Path) -> None:
    """A change of normalisation asks for a new build instead of missing silently."""
    build(path, [make_record(1)])
    connection = sqlite3.connect(path)
    codec = Codec(**KEYS)
    name = codec.state_name(NAME)
    (sealed,) = connection.execute("SELECT sealed FROM state WHERE name = ?", (name,)).fetchone()
    content = codec.open(name, sealed)
    older = codec.seal(name, content[:8] + bytes(8) + content[16:], bytes(NONCE_SIZE))
    connection.execute("UPDATE state SET sealed = ? WHERE name = ?", (older, name))
    connection.commit()
    connection.close()
    with pytest.raises(SourceUnusable) as caught:
        open_index(path)
    assert caught.value.code == "NORM_VERSION"


def test_a_failed_build_leaves_the_index_in_use(path: Path) -> None:
    """A source that breaks half-way neither replaces nor leaves anything behind."""
    build(path, [make_record(1)])

    def broken() -> Iterator[SourceRecord]:
        yield make_record(2, OTHER_BOX)
        raise SourceUnusable("a source broke")

    with pytest.raises(SourceUnusable):
        Index.build(path, broken(), clock=clock, **KEYS)
    index = open_index(path)
    assert index.lookup(BOX)
    assert not index.lookup(OTHER_BOX)
    index.close()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_a_folder_that_cannot_be_written_is_an_operator_error(tmp_path: Path) -> None:
    """No folder, no index, one precise code."""
    with pytest.raises(Misconfigured) as caught:
        build(tmp_path / "missing" / "index.sqlite", [])
    assert caught.value.code == "INDEX_UNWRITABLE"


def test_a_reader_sees_what_a_rebuild_changed(path: Path) -> None:
    """A reader that was open before finds the new content, and its root, on its next lookup."""
    build(path, [make_record(1)])
    index = open_index(path)
    before = index.root
    assert index.lookup(BOX)
    build(path, [make_record(1, OTHER_BOX)])
    assert not index.lookup(BOX)
    assert index.lookup(OTHER_BOX)
    assert index.root != before
    index.close()


def test_references_are_stable_while_a_row_stays_and_roots_cover_the_epoch(path: Path) -> None:
    """A follow-up finds the same record after a rebuild; another week has another root."""
    build(path, [make_record(1), make_record(2)])
    index = open_index(path)
    refs, root, epoch = {r.ref for r in index.lookup(BOX)}, index.root, index.epoch
    build(path, [make_record(1), make_record(2)])
    assert index.root == root
    later = NOW + 7 * 86_400
    Index.build(path, [make_record(1), make_record(2)], clock=lambda: later, **KEYS)
    assert {r.ref for r in index.lookup(BOX)} == refs
    assert index.root != root
    assert index.epoch == epoch + 1
    assert len(index.root) == 32
    index.close()


def test_the_same_row_twice_is_one_record(path: Path) -> None:
    """Reading a file under two mappings of one name does not double its records."""
    report = build(path, [make_record(1), make_record(1)])
    assert (report.records, report.entries) == (1, 1)


def test_age_counts_from_reading_the_sources(path: Path) -> None:
    """The age of an index is the time since its build began, and never negative."""
    build(path, [])
    index = open_index(path)
    assert index.age_s(NOW + 60) == 60
    assert index.age_s(NOW - 60) == 0
    assert index.records == 0
    index.close()


def test_a_miss_opens_a_sealed_record_too(path: Path) -> None:
    """Hit and miss run the same statement and each opens at least one sealed record."""
    build(path, [make_record(1)])
    index = open_index(path)
    ((ref, sealed),) = index._decoys
    index._decoys = [(ref, sealed[:-1] + bytes([sealed[-1] ^ 1]))]
    assert index.lookup(BOX)
    with pytest.raises(SourceUnusable):
        index.lookup(OTHER_BOX)
    index.close()


def test_hit_and_miss_run_the_same_statements(path: Path) -> None:
    """SQLite is asked the same, word for word but for the token, whether anything is held."""
    build(path, [make_record(1)])
    index = open_index(path)
    asked: list[str] = []
    index._connection.set_trace_callback(asked.append)
    assert index.lookup(BOX)
    hit = [re.sub(r"x'[0-9a-f]*'", "?", text, flags=re.IGNORECASE) for text in asked]
    asked.clear()
    assert not index.lookup(OTHER_BOX)
    miss = [re.sub(r"x'[0-9a-f]*'", "?", text, flags=re.IGNORECASE) for text in asked]
    assert hit == miss
    assert any("entry" in text for text in hit)
    index.close()


def test_many_records_come_newest_first_and_each_once(path: Path) -> None:
    """A term with more records than a page holds gives all of them in the order of time."""
    ages = seeded.Random(7).sample(range(10, 900), 300)
    build(path, [make_record(n, age_s=age, keep_s=2_000) for n, age in enumerate(ages)])
    index = open_index(path)
    found = [int(NOW) - record.occurred_at for record in index.lookup(BOX)]
    assert found == sorted(ages)
    assert max(len(page) for page in index.pages(BOX)) == 64
    index.close()


def test_the_file_hides_when_anything_happened(path: Path) -> None:
    """Neither the time of an event nor that of its expiry stands in the file."""
    build(path, [make_record(1)])
    content = path.read_bytes()
    for moment in (int(NOW) - 100, int(NOW) + 900):
        for octets in (moment.to_bytes(8), moment.to_bytes(4), str(moment).encode()):
            assert octets not in content


def test_a_mask_is_undone_by_who_holds_the_secret() -> None:
    """A masked time comes back under its own place, and another place gives another time."""
    codec = Codec(**KEYS)
    masked = codec.mask(b"here", 1_790_000_000)
    assert codec.unmask(b"here", masked) == 1_790_000_000
    assert codec.unmask(b"there", masked) != 1_790_000_000


def test_a_root_shows_nothing_of_the_sums(path: Path) -> None:
    """Roots of one record more or less are no multiset sums: their difference says nothing."""
    build(path, [make_record(1), make_record(2, OTHER_BOX)])
    connection = sqlite3.connect(path)
    said = Description.read(connection, Codec(**KEYS))
    connection.close()
    index = open_index(path)
    assert index.root != said.records.total.to_bytes(32)
    assert said.records.total.to_bytes(32) not in path.read_bytes()
    index.close()
