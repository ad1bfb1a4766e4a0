"""An audit log for people: which leaves, in words, exported with their proof, counted."""

from __future__ import annotations

import io
import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import merkle, receipts
from fairlead.auditing import export, reading
from fairlead.auditing.export import Checker, Exported
from fairlead.auditing.fields import MEANINGS, gist, iso_ms, values
from fairlead.auditing.file import LogFile, open_file, open_live
from fairlead.auditing.picture import bar, page, with_bars
from fairlead.auditing.selection import Selection
from fairlead.auditing.stream import Cursor, pending
from fairlead.auditing.usage import Usage, period
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import audit_reading_pb2
from tests.hostile import edits, only_ours
from tests.small_log import KEY, ORIGIN, PUBLIC, START, USER, any_leaf, make_log, story
from tests.small_log import leaf as leaf_at

INTENT, REFUSAL = pb.LEAF_TYPE_INTENT, pb.LEAF_TYPE_REFUSAL


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of ten leaves in four commits."""
    made = tmp_path_factory.mktemp("log") / "audit.sqlite"
    make_log(made, story())
    return made


@pytest.fixture(scope="module")
def log(path: Path) -> Iterator[LogFile]:
    with open_file(path) as opened:
        yield opened


def places(log: LogFile, selection: Selection) -> list[int]:
    steps = reading.newest_first(log.read, selection, log.span(selection))
    return [row.index for rows in steps for row in rows]


# ── Which leaves ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), list(range(9, -1, -1))),
        (Selection(first=2, stop=4), [3, 2]),
        (Selection(types=frozenset({INTENT})), [5, 4, 3, 1]),
        (Selection(types=frozenset({INTENT, REFUSAL})), [7, 5, 4, 3, 1]),
        (Selection(partners=frozenset({"police"})), [5, 2]),
        (Selection(users=frozenset({"u-9"})), [8, 4, 3]),
        (Selection(users=frozenset({f"{USER}u-1"})), [1]),
        (Selection(query_id=bytes(15) + b"\1"), [2, 1]),
        (Selection(reasons=frozenset({"PURPOSE_NOT_COVERED"})), [2]),
        (Selection(purposes=frozenset({"drug-trafficking"})), [5, 4, 3, 1]),
        (Selection(since_ms=int(START * 1000) + 8 * 60_000), [9, 8]),
        (Selection(until_ms=int(START * 1000) + 120_000), [1, 0]),
        (Selection(since_ms=2**52), []),
        (Selection(first=99, stop=120), []),
    ],
)
def test_a_selection_takes_what_it_names(
    log: LogFile, selection: Selection, expected: list[int]
) -> None:
    """Each kind that names values keeps the leaves with one of them; those that name none, all."""
    assert places(log, selection) == expected
    assert Selection.from_wire(selection.to_wire()) == selection


def test_a_period_finds_leaves_that_a_clock_misplaced(tmp_path: Path) -> None:
    """A leaf is looked for ten minutes beyond a period's ends, where a stepped clock put it."""
    file = tmp_path / "audit.sqlite"
    late = pb.AuditLeaf.FromString(story()[0])
    late.time_ms = int(START * 1000) + 5 * 60_000  # stamped, then the clock stepped back
    make_log(file, [late.SerializeToString(deterministic=True), *story()[1:]], commits=1)
    with open_file(file) as opened:
        since = Selection(since_ms=int(START * 1000) + 5 * 60_000)
        assert 0 in places(opened, since)


@settings(max_examples=150, deadline=None)
@given(leaf=any_leaf())
def test_any_leaf_can_be_read_and_told(leaf: pb.AuditLeaf) -> None:
    """Selecting, naming and summing up never fail, whatever a leaf holds."""
    said = values(leaf)
    json.dumps(said)
    gist(leaf)
    for selection in (
        Selection(partners=frozenset({"customs"}), users=frozenset({"u-1"})),
        Selection(query_id=bytes(16), reasons=frozenset({"POLICY"})),
    ):
        selection.takes(leaf)
    counted = Usage()
    counted.take(leaf)
    counted.lines()


def test_every_field_of_a_leaf_is_explained() -> None:
    """A field that nobody put into words fails here."""
    assert {field.name for field in pb.AuditLeaf.DESCRIPTOR.fields} == set(MEANINGS)


def test_a_time_that_is_none_is_told_as_none() -> None:
    """Another organisation's absurd time does not stop a list."""
    assert iso_ms(2**62) is None
    assert iso_ms(1_790_000_000_123) == "2026-09-21T14:13:20.123Z"


def test_a_file_that_holds_no_log_is_said_to(tmp_path: Path) -> None:
    """Garbage in place of a leaf, or of the whole file, is an error with a next command."""
    (tmp_path / "text").write_text("nothing of the kind")
    with pytest.raises(FairleadError), open_file(tmp_path / "text"):
        pass
    with pytest.raises(Forged):
        reading.leaf_of(b"\xff")
    with pytest.raises(Forged):
        reading.leaf_of(None)


def test_a_leaf_is_found_by_its_hash(log: LogFile) -> None:
    """A receipt kept elsewhere names a leaf by its hash."""
    assert reading.find(log.read, merkle.leaf_hash(story()[4])) == 4
    with pytest.raises(NotFound):
        reading.find(log.read, bytes(32))
    receipt = log.receipt(4)
    receipts.verify_receipt(receipt, origin=ORIGIN, public_key=PUBLIC, head=None)


# ── Exported ─────────────────────────────────────────────────────────────────────────────────


def exported(log: LogFile, selection: Selection) -> tuple[bytes, Exported]:
    """The file of a span, and what its checker says of it."""
    span = log.span(selection)
    items = export.responses(
        log.read, selection, span, origin=log.origin, frontier=log.frontier(span.start)
    )
    file, checker = io.BytesIO(), Checker()
    for item in items:
        for line in export.lines(item, checker):
            file.write(line)
    return file.getvalue(), checker.finish([PUBLIC])


def covered(path: Path, since: int, until: int, **filters: object) -> tuple[bool, int]:
    """Whether an export of these hours shows that it has all of their leaves, and how many it has
    within them."""
    wanted = Selection(
        since_ms=int(START * 1000) + since * 3_600_000,
        until_ms=int(START * 1000) + until * 3_600_000 if until else 0,
        **filters,  # type: ignore[arg-type]
    )
    with open_file(path) as opened:
        span = opened.span(wanted)
        checker, inside = Checker(since_ms=wanted.since_ms, until_ms=wanted.until_ms), 0
        frontier = opened.frontier(span.start)
        for item in export.responses(opened.read, wanted, span, origin=ORIGIN, frontier=frontier):
            for line in export.lines(item, checker):
                body = b64decode(json.loads(line).get("leaf", ""))
                found = pb.AuditLeaf.FromString(body)
                inside += wanted.takes(found)
    return checker.finish([PUBLIC]).covers, inside


def test_a_forged_clock_beside_the_log_hides_no_leaf_of_a_period(tmp_path: Path) -> None:
    """Whoever keeps a log moves the times beside its heads, so that an export of a period has fewer
    leaves: the leaves at its ends are not of before and after it."""
    file = tmp_path / "audit.sqlite"
    hourly = [leaf_at(INTENT, 60 * hour) for hour in range(8)]
    make_log(file, hourly, commits=1)
    with sqlite3.connect(file) as database:  # one commit an hour, as its leaves say
        database.execute(
            "UPDATE checkpoint SET time_ms = ? + (size - 1) * 3600000", (int(START * 1000),)
        )
    for since, until in ((2, 5), (2, 0), (0, 5), (7, 0)):
        assert covered(file, since, until) == (True, (until or 8) - since)
    assert covered(file, 2, 9) == (False, 6)  # of the ninth hour there may be more by now
    assert covered(file, 2, 5, users=frozenset({"u-9"})) == (False, 0)
    # Hours 3 and 4 are said to be of the beginning, then to be of the day after.
    for shift in (-3, 21):
        with sqlite3.connect(file) as database:
            database.execute(
                "UPDATE checkpoint SET time_ms = ? + (size - 1 + ?) * 3600000 "
                "WHERE size IN (4, 5) OR (? > 0 AND size > 4)", (int(START * 1000), shift, shift),
            )  # fmt: skip
        covers, inside = covered(file, 3, 5)
        assert (covers, inside < 2) == (False, True)


def checked(data: bytes, known: list[receipts.Head] | None = None) -> Exported:
    checker = Checker(known=known or [])
    for _ in export.read_lines(io.BytesIO(data), checker):
        pass
    return checker.finish([PUBLIC])


@pytest.mark.parametrize("first", range(11))
def test_every_span_proves_itself(log: LogFile, first: int) -> None:
    """From any leaf to any other, the file verifies to the same head, and holds the leaves."""
    for stop in range(max(first, 1), 11):
        data, found = exported(log, Selection(first=first, stop=stop))
        assert checked(data) == found
        assert found.complete
        assert (found.leaves, found.head.size >= stop) == (stop - first, True)


def test_a_selected_span_is_not_a_complete_one(log: LogFile) -> None:
    """What was not selected stands as a hash, and nobody is told that nothing was there."""
    data, found = exported(log, Selection(types=frozenset({INTENT})))
    assert (found.leaves, found.complete) == (4, False)
    assert checked(data) == found
    assert b"BUDGET_USER" not in data


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (0, b'"first":2', b'"first":1'),
        (0, ORIGIN.encode(), b"fairlead.demo/partner/police"),
        (1, b'"term_count":3', b'"term_count":4'),
        (1, b'"index":3', b'"index":4'),
        (1, b'"leaf":"CAE', b'"leaf":"CAF'),
        (2, b'"says":{', b'"says":{"note":1,'),
        (-1, b"customs\\n", b"customs\\n1"),
    ],
)
def test_a_changed_line_is_found(log: LogFile, number: int, old: bytes, new: bytes) -> None:
    """What a line says, its place, its leaf, its origin and the head are each held together."""
    selection = Selection(first=2, stop=7, types=frozenset({INTENT}))
    lines = exported(log, selection)[0].splitlines(keepends=True)
    lines = [line for line in lines if b'"hash"' not in line] if number == 99 else lines
    target = (
        [line for line in lines if b'"leaf"' in line][number - 1] if number > 0 else (lines[number])
    )
    assert old in target
    data = b"".join(lines).replace(target, target.replace(old, new, 1))
    with pytest.raises((Forged, InvalidInput)):
        checked(data)


def test_lines_that_are_missing_doubled_or_moved_are_found(log: LogFile) -> None:
    """Every line has its place: none is dropped, repeated, swapped or added."""
    lines = exported(log, Selection())[0].splitlines(keepends=True)
    for place in range(len(lines)):
        others = lines[:place] + lines[place + 1 :]
        for edited in (
            others,
            [*lines[: place + 1], lines[place], *lines[place + 1 :]],
            [*others, lines[place]] if place < len(lines) - 1 else [lines[place], *others],
        ):
            with pytest.raises((Forged, InvalidInput)):
                checked(b"".join(edited))


def test_a_leaf_cannot_be_passed_off_as_not_selected_by_the_file_alone(log: LogFile) -> None:
    """A leaf replaced by its hash still verifies, and the export stops being complete."""
    lines = exported(log, Selection())[0].splitlines(keepends=True)
    document = json.loads(lines[4])
    body = receipts._decode(document["leaf"])
    hidden = {"index": document["index"], "hash": receipts._encode(merkle.leaf_hash(body))}
    lines[4] = json.dumps(hidden).encode() + b"\n"
    assert checked(b"".join(lines)).complete is False


def test_a_stranger_verifies_an_export_by_the_page_alone(log: LogFile) -> None:
    """The steps of docs/audit.md, a hash function and a signature are all that it takes."""
    data, found = exported(log, Selection(first=3, stop=6, types=frozenset({INTENT})))
    start, *places, last = [json.loads(line) for line in data.splitlines()]
    kept = [b64decode(value) for value in start["frontier"]]
    size = start["selection"].get("first", 0)
    assert len(kept) == size.bit_count()
    for place in places:
        assert place["index"] == size
        hashed = (
            sha256(b"\0" + b64decode(place["leaf"])).digest()
            if "leaf" in place
            else b64decode(place["hash"])
        )
        before = size
        while before % 2:
            hashed, before = sha256(b"\1" + kept.pop() + hashed).digest(), before // 2
        kept.append(hashed)
        size += 1
    root = kept.pop()
    while kept:
        root = sha256(b"\1" + kept.pop() + root).digest()
    text, _, signatures = last["checkpoint"].rpartition("\n\n")
    signature = b64decode(signatures.split(" ")[2])[4:]
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(signature, f"{text}\n".encode())
    assert text.split("\n") == [start["origin"], str(size), b64encode(root).decode()]
    assert size >= start["selection"]["stop"]
    assert root == found.head.root


def test_heads_kept_elsewhere_lie_on_an_exports_way(log: LogFile) -> None:
    """A head within the span must be the log's: an operator who signed two histories is found."""
    data, found = exported(log, Selection(first=1))
    tree = merkle.Tree()
    for body in story():
        tree.append(merkle.leaf_hash(body))
    for size in range(1, 10):
        head = receipts.Head(origin=ORIGIN, size=size, root=tree.root(size), checkpoint="")
        assert checked(data, [head]) == found
        other = receipts.Head(origin=ORIGIN, size=size, root=bytes(32), checkpoint="")
        with pytest.raises(Forged):
            checked(data, [other])


def test_a_foreign_key_signs_no_export(log: LogFile) -> None:
    """The head has to be signed by a key of this log."""
    data, _ = exported(log, Selection())
    checker = Checker()
    for _ in export.read_lines(io.BytesIO(data), checker):
        pass
    with pytest.raises(Forged):
        checker.finish([bytes(32)])


def test_a_node_that_shows_what_was_not_selected_is_refused(log: LogFile) -> None:
    """Leaves that do not match, or lie behind the span, are no part of what was asked."""
    wire = Selection(first=0, stop=2, types=frozenset({REFUSAL})).to_wire()
    for place in (1, 7):
        checker = Checker()
        frontier = log.frontier(place)
        wire.first, wire.stop = place, max(place, 2)
        start = audit_reading_pb2.ExportStart(origin=ORIGIN, selection=wire, frontier=frontier)
        checker.start(start)
        with pytest.raises(InvalidInput):
            checker.take(audit_reading_pb2.ExportedLeaf(leaf=story()[place]))


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(edits(), max_size=4), junk=st.none() | st.binary(max_size=80))
def test_no_file_makes_the_reader_fail_otherwise(
    log: LogFile, changes: list[object], junk: bytes | None
) -> None:
    """Any octets are an export or an error of ours, and no edited one proves other leaves."""
    data = exported(log, Selection(first=3, stop=5))[0] if junk is None else junk
    for change in changes:
        data = change(data)  # type: ignore[operator]
    try:
        found = checked(data)
    except FairleadError:
        return
    assert found.head.root == exported(log, Selection(first=3, stop=5))[1].head.root


def test_a_log_without_a_leaf_in_the_middle_is_not_exported(tmp_path: Path) -> None:
    """Leaves that are missing in the file are an error, not a shorter export."""
    file = tmp_path / "audit.sqlite"
    make_log(file, story(), commits=1)
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM leaf WHERE idx = 4")
    connection.close()
    with open_file(file) as opened, pytest.raises(Forged):
        exported(opened, Selection())


@pytest.mark.parametrize("value", [None, 10**12, "text", b"", b"\xff", -1, 2.5], ids=repr)
@pytest.mark.parametrize(
    "column", ["leaf.idx", "leaf.hash", "leaf.body", "checkpoint.size", "checkpoint.note"]
)
def test_a_file_full_of_anything_ends_in_our_errors(
    path: Path, tmp_path: Path, column: str, value: object
) -> None:
    """Whatever somebody wrote in place of a number, a hash or a leaf, nothing else gets out."""
    copy = tmp_path / "audit.sqlite"
    table, _, name = column.partition(".")
    source = sqlite3.connect(path)
    target = sqlite3.connect(copy)
    for other, columns in (("leaf", 4), ("checkpoint", 3)):
        rows = source.execute(f"SELECT * FROM {other}").fetchall()  # noqa: S608
        named = ("idx", "hash", "body", "detail") if other == "leaf" else ("size", "note", "time")
        target.execute(f"CREATE TABLE {other} ({', '.join(named)})".replace("time", "time_ms"))
        target.executemany(
            f"INSERT INTO {other} VALUES ({', '.join('?' * columns)})",  # noqa: S608
            rows,
        )
    target.execute(
        f"UPDATE {table} SET {name} = ? WHERE rowid = (SELECT max(rowid) FROM {table})",  # noqa: S608
        (value,),
    )
    target.commit()
    source.close()
    target.close()

    def look() -> None:
        with open_file(copy) as opened:
            places(opened, Selection(since_ms=1, until_ms=2**52))
            exported(opened, Selection())

    only_ours(look)

    def stream() -> None:
        with open_live(copy) as read:
            list(pending(read, Cursor()))

    only_ours(stream)


# ── Counted ──────────────────────────────────────────────────────────────────────────────────


def test_usage_counts_queries_and_not_their_parts() -> None:
    """A mandate in two parts is one query; terms, users and second persons are counted right."""
    usage = Usage()
    for body in story():
        usage.take(pb.AuditLeaf.FromString(body))
    found = {(line.part, line.of, line.which): line.count for line in usage.lines()}
    assert found["asked", "queries", ""] == 2
    assert found["asked", "messages", ""] == 3
    assert found["asked", "terms", ""] == 9
    assert found["asked", "users", ""] == 2
    assert found["asked", "queries let go by a second person", ""] == 1
    assert found["asked", "most terms of one user in a day", ""] == 6
    assert found["asked", "terminal-north by status", "answered"] == 1
    assert found["asked", "police by reason", "PURPOSE_NOT_COVERED"] == 1
    assert found["asked of us", "queries of partner", "police"] == 1
    assert found["asked of us", "answers by status", "answered"] == 1
    assert found["refused", "by reason", "BUDGET_USER"] == 1
    assert found["alarms", "by reason", "ACTIVE_TARGET"] == 1
    assert found["people", "approval", "approval-given"] == 1


def test_usage_of_a_period_leaves_the_rest_out() -> None:
    """Only what was written within it counts."""
    usage = Usage(since_ms=int(START * 1000) + 3 * 60_000, until_ms=int(START * 1000) + 5 * 60_000)
    for body in story():
        usage.take(pb.AuditLeaf.FromString(body))
    assert usage.leaves == 2


def test_a_report_names_nobody_and_no_claim_becomes_markup() -> None:
    """Pseudonyms are counted and not shown; a hostile code is text on the page."""
    usage = Usage()
    for body in story():
        usage.take(pb.AuditLeaf.FromString(body))
    hostile = pb.AuditLeaf(type=REFUSAL, time_ms=1, log="partner/customs", reasons=["<script>"])
    usage.take(hostile)
    lines = usage.lines()
    text = page(lines, log=ORIGIN, span="a day", proof="verified")
    assert "u-0" not in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<svg") == sum(1 for line in lines if line.which)
    assert any(row[4] for row in with_bars(lines))


@pytest.mark.parametrize(
    ("count", "most", "drawn"), [(0, 9, ""), (1, 10**6, "▏"), (9, 9, "█" * 30)]
)
def test_a_bar_shows_whatever_is_there(count: int, most: int, drawn: str) -> None:
    """Nothing has no bar, and something always has one."""
    assert bar(count, most) == drawn


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2026", 365),
        ("2024", 366),
        ("2026-Q1", 90),
        ("2026-Q4", 92),
        ("2026-02", 28),
        ("2026-12", 31),
    ],
)
def test_a_period_has_its_days(text: str, days: int) -> None:
    """Years, quarters and months begin at midnight UTC and end where the next begin."""
    begin, end = period(text)
    assert (end - begin) == days * 86_400_000


@pytest.mark.parametrize(
    "text", ["2026-Q5", "2026-13", "26", "2026-Q", "2026-1", "0000", "９９９９"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    """A period that nobody could mean is not guessed."""
    with pytest.raises(InvalidInput):
        period(text)


def test_the_development_key_is_this_modules_alone() -> None:
    """The fixture's log is signed by the key its tests verify with."""
    assert KEY.public_key().public_bytes_raw() == PUBLIC
