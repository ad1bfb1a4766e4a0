"""A batch's terms: spooled by page, cut as they come, and never held all at once."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.client import _paged
from fairlead.drafted import committed
from fairlead.envelope.chunk import (
    Cutter,
    check_chunk,
    chunk_count,
    chunk_size,
    chunks_of,
    chunks_under,
    root_of,
)
from fairlead.envelope.query import Scope, term_leaf, term_nonce
from fairlead.errors import FairleadError, InvalidInput, Misconfigured, Stale
from fairlead.packed import PackedRows, PackedTerms
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node import intake
from node.batch import roots_of
from node.history import History
from node.intake import Intake
from node.opening import VAULT_MIGRATIONS
from node.termlist import PAGE, TermList, TermLists
from node.vault import Vault
from tests.manifests import number
from tests.test_node_history import KEY, batch

SEALED, BLIND = query_pb2.MODE_SEALED, query_pb2.MODE_BLIND
SCOPE = Scope(since=1, until=2, events=("gate-in",), tlp=3, pap=2)
SEED = bytes(range(32))
SIZES = [1, 511, 512, 513, 1023, 1024, 1025, 2049]
USER = "u-c01"


def boxes(count: int, first: int = 0) -> list[pb.Term]:
    return [pb.Term(scheme="container", value=number("MSCU", first + n)) for n in range(count)]


async def sent(*messages: pb.PrepareRequest) -> AsyncIterator[pb.PrepareRequest]:
    for message in messages:
        yield message


def paged(
    terms: Sequence[pb.Term], rows: Sequence[pb.Row] = (), mode: int = BLIND
) -> AsyncIterator[pb.PrepareRequest]:
    """What the client sends."""
    request = pb.PrepareRequest(case_id="CASE-1", mode=mode)  # type: ignore[arg-type]
    return _paged(request, PackedTerms(terms), rows)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    opened = Vault.open(tmp_path / "history.sqlite", key=KEY, migrations=VAULT_MIGRATIONS)
    yield opened
    opened.close()


def pages(vault: Vault) -> int:
    ((count,),) = vault.read("SELECT count(*) FROM term_page")
    return int(count)


# ── Roots ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [SEALED, BLIND])
@pytest.mark.parametrize("count", SIZES)
async def test_the_chunks_of_a_spooled_list_are_those_of_all_its_leaves(
    vault: Vault, count: int, mode: int
) -> None:
    """Node, client and the computation over everything at once come to the same chunks and root,
    and every chunk stands where its path says."""
    terms = boxes(count)
    _, spooled = await Intake(TermLists(vault)).take(paged(terms), USER)
    leaves = [
        term_leaf(term.scheme, term.value, term_nonce(SEED, place), SCOPE)
        for place, term in enumerate(terms)
    ]
    roots = roots_of(spooled, SEED, SCOPE, mode)
    chunks = chunks_under(roots, count, mode)
    assert chunks == chunks_of(leaves, mode)
    said = committed(PackedTerms(terms).pairs(), SEED, SCOPE, mode)
    assert said.root == root_of(roots) == root_of(leaves)
    assert (said.count, said.schemes) == (count, ["container"])
    mandate = query_pb2.Mandate(mode=mode, term_count=count, terms_root=said.root)  # type: ignore[arg-type]
    assert len(chunks) == chunk_count(count, mode)
    for chunk in chunks:
        header = query_pb2.QueryHeader(
            chunk=chunk.number, term_count=chunk.term_count, chunk_root=chunk.root,
            chunk_path=chunk.path,
        )  # fmt: skip
        check_chunk(header, mandate)
        first = chunk.number * chunk_size(mode)
        part = spooled.part(first, first + chunk_size(mode))
        assert part == [(t.scheme, t.value) for t in terms[first : first + chunk_size(mode)]]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=1030))
@settings(max_examples=20, deadline=None)
def test_cutting_as_leaves_come_is_cutting_them_all(leaves: list[bytes]) -> None:
    """Whatever the leaves are."""
    cutter = Cutter(SEALED)
    for leaf in leaves:
        cutter.add(leaf)
    parts = [leaves[at : at + 512] for at in range(0, len(leaves), 512)]
    assert cutter.roots() == tuple(map(root_of, parts))


def test_nonces_of_a_seed_are_all_different() -> None:
    """By place, and by seed; a place that no mandate has is none."""
    many = {term_nonce(SEED, place) for place in range(2_000)}
    assert len(many) == 2_000
    assert term_nonce(bytes(32), 0) not in many
    assert len(term_nonce(SEED, 0)) == 32
    with pytest.raises(OverflowError):
        term_nonce(SEED, 2**32)


# ── What lies in the vault ───────────────────────────────────────────────────────────────────


async def test_a_list_of_one_page_waits_in_memory(vault: Vault) -> None:
    """A small query writes nothing before it is signed; a larger one all but its last page."""
    lists = TermLists(vault)
    await Intake(lists).take(paged(boxes(PAGE)), USER)
    assert pages(vault) == 0
    await Intake(lists).take(paged(boxes(2 * PAGE + 1)), USER)
    assert pages(vault) == 2


async def test_what_nobody_signed_is_deleted(vault: Vault) -> None:
    """With its draft, and after a restart, when nobody knows of it any more."""
    lists = TermLists(vault)
    _, first = await Intake(lists).take(paged(boxes(2 * PAGE)), USER)
    _, other = await Intake(lists).take(paged(boxes(2 * PAGE)), USER)
    assert pages(vault) == 2
    await lists.drop([first])
    assert pages(vault) == 1
    assert list(other) == [(t.scheme, t.value) for t in boxes(2 * PAGE)]
    await TermLists(vault).sweep()
    assert pages(vault) == 0


async def test_what_a_query_keeps_is_kept_as_long_as_the_query(vault: Vault) -> None:
    """Dropping its draft and a restart change nothing; expiry deletes it."""
    kept = History(vault)
    made = batch(vault)
    rows = [pb.Row(text="x", term=1, suggested=[2]), pb.Row(text="", reason="BLANK")] * PAGE
    _, made_terms = await Intake(kept.lists).take(paged(boxes(PAGE + 1), rows), USER)
    made = _with(made, made_terms)
    await kept.begin(made, made.batch_id, b"octets")
    await kept.lists.drop([made_terms])
    await TermLists(vault).sweep()
    read = [page async for page in _aside(History(vault).pages(made.batch_id))]
    assert [term for page in read for term in page.terms] == boxes(PAGE + 1)
    assert [row for page in read for row in page.rows] == rows
    found = History(vault).batch(made.batch_id)
    assert found is not None
    assert list(found.terms) == list(made_terms)
    await kept.expire(made.asked_at + 11 * 86_400)
    assert pages(vault) == 0


async def test_no_query_is_kept_without_all_of_its_terms(vault: Vault) -> None:
    """Its user hung up while it was being kept, and the draft's pages went first."""
    kept = History(vault)
    _, made_terms = await Intake(kept.lists).take(paged(boxes(2 * PAGE + 1)), USER)
    made = _with(batch(vault), made_terms)
    await kept.lists.drop([made_terms])
    with pytest.raises(Stale):
        await kept.begin(made, made.batch_id, b"octets")
    assert vault.read("SELECT 1 FROM batch") == []
    assert pages(vault) == 0


async def _aside(found: Iterator[Any]) -> AsyncIterator[Any]:
    for item in found:
        yield item


def _with(made: Any, terms: TermList) -> Any:
    from dataclasses import replace

    return replace(made, terms=terms)


async def test_no_page_is_in_clear_or_can_be_moved(vault: Vault, tmp_path: Path) -> None:
    """The file holds no term; a page put in another's place does not open."""
    _, made = await Intake(TermLists(vault)).take(paged(boxes(3 * PAGE)), USER)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(term.value.encode() in data for term in boxes(3 * PAGE)[:: PAGE // 2])
    await vault.write(lambda c: c.execute("UPDATE term_page SET number = 5 WHERE number = 1"))
    await vault.write(lambda c: c.execute("UPDATE term_page SET number = 1 WHERE number = 0"))
    with pytest.raises(Misconfigured):
        made.part(PAGE, PAGE + 1)


# ── On the way in ────────────────────────────────────────────────────────────────────────────

Message = pb.PrepareRequest
LONG = "x" * 65
BAD: dict[str, tuple[list[pb.PrepareRequest], str]] = {
    "nothing": ([], "TERM_COUNT"),
    "no term": ([Message(case_id="C")], "TERM_COUNT"),
    "twice in one message": ([Message(terms=[*boxes(2), *boxes(1)])], "TERM_TWICE"),
    "twice in two": ([Message(terms=boxes(3)), Message(terms=boxes(1))], "TERM_TWICE"),
    "twice, spelt in two ways": (
        [Message(terms=boxes(1)),
         Message(terms=[pb.Term(scheme="container", value=number("MSCU", 0).lower())])],
        "TERM_TWICE",
    ),
    "another case later": ([Message(terms=boxes(1)), Message(case_id="C")], "LATER_FIELDS"),
    "another mode later": ([Message(terms=boxes(1)), Message(mode=BLIND)], "LATER_FIELDS"),
    "a row about no term": ([Message(terms=boxes(1), rows=[pb.Row(term=2)])], "ROWS"),
    "a suggestion of no term": ([Message(terms=boxes(1), rows=[pb.Row(suggested=[2])])], "ROWS"),
    "too long a row": ([Message(terms=boxes(1), rows=[pb.Row(text=LONG)])], "ROWS"),
    "too long a reason": ([Message(terms=boxes(1), rows=[pb.Row(reason=LONG)])], "ROWS"),
    "too many suggestions": (
        [Message(terms=boxes(1), rows=[pb.Row(suggested=[1] * 13)])], "ROWS",
    ),
    "a typo": ([Message(terms=[pb.Term(scheme="container", value="MSCU6639871")])], "CHECK_DIGIT"),
    "a typo, sealed": (
        [Message(mode=SEALED, terms=[pb.Term(scheme="container", value="MSCU6639871")])],
        "CHECK_DIGIT",
    ),
    "no identifier, blind": (
        [Message(mode=BLIND, terms=[pb.Term(scheme="container", value="hello")])], "FORMAT",
    ),
    "no scheme": ([Message(terms=[pb.Term(scheme="no-such", value="x")])], "SCHEME"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_stream_is_refused_and_leaves_nothing(vault: Vault, name: str) -> None:
    """A stable code, whichever message is bad, also behind a page that was written."""
    messages, code = BAD[name]
    with pytest.raises(InvalidInput) as caught:
        await Intake(TermLists(vault)).take(sent(*messages), USER)
    assert caught.value.code == code
    if messages:
        first, *rest = messages
        many = Message()
        many.CopyFrom(first)
        many.ClearField("rows")
        del many.terms[:]
        many.terms.extend(boxes(2 * PAGE, 5_000))
        first.ClearField("case_id")
        first.ClearField("mode")
        with pytest.raises(InvalidInput):
            await Intake(TermLists(vault)).take(
                sent(many, first, *rest, Message(terms=boxes(1, 5_000))), USER
            )
    assert pages(vault) == 0


async def test_a_wrong_check_digit_may_be_asked_blind_as_it_stands(vault: Vault) -> None:
    """No partner sees the term, so that the document's own typo may be looked for."""
    wrong = pb.Term(scheme="container", value="mscu 663987-1")
    message = Message(mode=BLIND, terms=[wrong])
    _, made = await Intake(TermLists(vault)).take(sent(message), USER)
    assert list(made) == [("container", "MSCU6639871")]


@pytest.mark.parametrize(("mode", "most"), [(SEALED, 512), (BLIND, 1024), (0, 1024)])
async def test_one_term_too_many_is_refused_as_it_comes(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, mode: int, most: int
) -> None:
    """What a mandate of the mode may have passes, one more does not."""
    monkeypatch.setattr("fairlead.envelope.chunk.MAX_CHUNKS", 1)
    monkeypatch.setattr("fairlead.envelope.chunk.MAX_BLIND_CHUNKS", 1)
    take = Intake(TermLists(vault)).take
    assert len((await take(paged(boxes(most), mode=mode), USER))[1]) == most
    with pytest.raises(InvalidInput) as caught:
        await take(paged(boxes(most + 1), mode=mode), USER)
    assert caught.value.code == "TERM_COUNT"


async def test_one_users_streams_have_a_bound_together(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open counts, what has ended does not, and another user's neither."""
    monkeypatch.setattr(intake, "MAX_OCTETS", 11 * 1_500)
    reader = Intake(TermLists(vault))
    await reader.take(paged(boxes(1_000)), USER)
    await reader.take(paged(boxes(1_000)), USER)

    async def slow() -> AsyncIterator[pb.PrepareRequest]:
        yield Message(terms=boxes(1_000))
        await asyncio.sleep(60)

    open_ = asyncio.create_task(reader.take(slow(), USER))
    await asyncio.sleep(0.1)
    with pytest.raises(InvalidInput) as caught:
        await reader.take(paged(boxes(1_000)), USER)
    assert caught.value.code == "TOO_LARGE"
    await reader.take(paged(boxes(1_000)), "u-c02")
    open_.cancel()
    await asyncio.gather(open_, return_exceptions=True)
    await reader.take(paged(boxes(1_000)), USER)


async def test_streams_broken_off_while_a_page_is_written_give_nobody_more_room(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not counted when it came is not taken off when it goes."""
    monkeypatch.setattr(intake, "MAX_OCTETS", 11 * 1_500)
    reader = Intake(TermLists(vault))
    honest = vault.write

    async def stuck(_work: Any) -> None:
        await asyncio.sleep(60)

    for first in range(0, 9_000, 3_000):
        monkeypatch.setattr(vault, "write", stuck)
        broken = asyncio.create_task(reader.take(paged(boxes(2 * PAGE, first)), USER))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(vault, "write", honest)
        broken.cancel()
        await asyncio.gather(broken, return_exceptions=True)
    with pytest.raises(InvalidInput) as caught:
        await reader.take(paged(boxes(2 * PAGE)), USER)
    assert caught.value.code == "TOO_LARGE"


async def test_a_stream_that_never_ends_is_ended(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its terms are gone."""
    monkeypatch.setattr(intake, "STREAM_S", 0.2)

    async def endless() -> AsyncIterator[pb.PrepareRequest]:
        yield Message(terms=boxes(2 * PAGE))
        await asyncio.sleep(60)

    with pytest.raises(Stale) as caught:
        await Intake(TermLists(vault)).take(endless(), USER)
    assert caught.value.code == "STREAM_LATE"
    assert pages(vault) == 0


TERM = st.builds(
    pb.Term,
    scheme=st.sampled_from(["container", "person", "email", "vehicle-plate", "", "x"]),
    value=st.text(max_size=20),
)
ROW = st.builds(
    pb.Row,
    text=st.text(max_size=70),
    term=st.integers(0, 5),
    reason=st.text(max_size=70),
    suggested=st.lists(st.integers(0, 5), max_size=14),
)
REQUEST = st.builds(
    pb.PrepareRequest,
    terms=st.lists(TERM, max_size=3),
    rows=st.lists(ROW, max_size=3),
    mode=st.integers(0, 4),
    case_id=st.sampled_from(["", "C"]),
)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)
@given(st.lists(REQUEST, max_size=4))
def test_any_stream_is_a_list_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, messages: list[pb.PrepareRequest]
) -> None:
    """Reading never fails in another way, and a list has every term and row that came."""
    path = tmp_path_factory.mktemp("any") / "history.sqlite"
    vault = Vault.open(path, key=KEY, migrations=VAULT_MIGRATIONS)
    try:
        _, made = asyncio.run(Intake(TermLists(vault)).take(sent(*messages), USER))
    except FairleadError:
        return
    finally:
        vault.close()
    assert len(made) == sum(len(message.terms) for message in messages)
    assert made.row_count == sum(len(message.rows) for message in messages)


# ── Packed ───────────────────────────────────────────────────────────────────────────────────


@given(st.lists(TERM), st.lists(ROW), st.slices(30))
def test_what_is_packed_reads_as_it_was(
    terms: list[pb.Term], rows: list[pb.Row], part: slice
) -> None:
    """Any text, any place, and any slice."""
    packed, lines = PackedTerms(terms), PackedRows(rows)
    assert list(packed) == terms
    assert list(lines) == rows
    assert packed[part] == terms[part]
    assert lines[part] == rows[part]
    assert sum(packed.schemes().values()) == len(terms)
    assert sum(lines.reasons().values()) == len(rows)
    with pytest.raises(IndexError):
        packed[len(terms)]


# ── Memory ───────────────────────────────────────────────────────────────────────────────────


async def _peak(vault: Vault, count: int) -> int:
    """Octets that taking in and cutting so many terms needs at most, beyond what stays."""

    async def made() -> AsyncIterator[pb.PrepareRequest]:
        for first in range(0, count, PAGE):
            yield Message(terms=boxes(min(PAGE, count - first), first))

    tracemalloc.start()
    try:
        _, spooled = await Intake(TermLists(vault)).take(made(), USER)
        roots_of(spooled, SEED, SCOPE, BLIND)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_taking_in_many_terms_needs_some_octets_for_each(vault: Vault) -> None:
    """Sixteen for its digest, and little more: a million terms need some tens of megabytes."""
    few, many = await _peak(vault, 4 * PAGE), await _peak(vault, 36 * PAGE)
    assert (many - few) / (32 * PAGE) < 32


def test_packed_terms_and_rows_need_few_octets() -> None:
    """Under 64 for a term and its row, text and all."""
    tracemalloc.start()
    try:
        terms, rows = PackedTerms(), PackedRows()
        for place in range(20_000):
            (term,) = boxes(1, place)
            terms.append(term.scheme, term.value)
            rows.append(pb.Row(text=term.value, term=place + 1))
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(terms) == len(rows) == 20_000
    assert size / 20_000 < 64
