"""Results of many rows: kept small, written as they settle, and honest about wrong check digits."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.cli import ask, results, showing
from fairlead.cli.output import RowFormat
from fairlead.cli.results import HIT_AS_SUGGESTED, Result, gather
from fairlead.cli.showing import RowStream, show
from fairlead.cli.terms import TermsFile, read_terms
from fairlead.packed import PackedRows, PackedTerms
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from tests.federation import OTHER, STORY
from tests.test_node_batches import container

WRONG = "MSCU6639871"
BLIND = query_pb2.MODE_BLIND


def read(path: Path, *rows: str, blind: bool = True) -> TermsFile:
    path.write_text("".join(f"{row}\n" for row in rows))
    return read_terms(
        path,
        lambda text, scheme: ask.recognise(text, scheme, aloud=False),
        near=ask.suggested if blind else None,
    )


def answered(chunk: int, terms: int, *hits: int) -> pb.AskResponse:
    """One partner's line about a chunk."""
    answers = [query_pb2.TermAnswer(index=at, hit=at in hits) for at in range(terms)]
    line = pb.OpenedAnswer(
        partner_id="police", chunk=chunk, status=query_pb2.STATUS_ANSWERED, answers=answers
    )
    return pb.AskResponse(partner=line)


def done(chunk: int) -> pb.AskResponse:
    return pb.AskResponse(done=pb.AskResponse.ChunkDone(chunk=chunk))


def begun(chunks: int, *, paged: bool = False) -> pb.AskResponse:
    summary = pb.QuerySummary(query_id=bytes(16), chunks=chunks, mode=BLIND)
    return pb.AskResponse(batch=pb.AskResponse.Batch(summary=summary, paged=paged))


def gathered(result: Result, *events: pb.AskResponse, stream: RowStream | None = None) -> Result:
    async def sent() -> AsyncIterator[pb.AskResponse]:
        for event in events:
            yield event

    return asyncio.run(gather(sent(), result, live=False, shown=stream))


def test_a_wrong_check_digit_is_asked_as_it_stands_and_as_suggested(tmp_path: Path) -> None:
    """Both are terms, each once, and the summary says so; sealed nothing of it is asked."""
    file = read(tmp_path / "t.txt", WRONG, STORY, WRONG, "hello")
    first, story, again, unknown = file.rows
    assert file.terms[0].value == WRONG
    assert (first.term, first.reason) == (again.term, again.reason) == (1, "CHECK_DIGIT")
    near = [file.terms[place - 1].value for place in first.suggested]
    assert 1 <= len(near) <= ask.SUGGESTED
    assert STORY in near
    assert file.terms[story.term - 1].value == STORY
    assert (unknown.term, unknown.reason) == (0, "NOT_RECOGNISED")
    assert "2 with a wrong check digit asked as they stand and as suggested" in file.summary()
    assert len({term.value for term in file.terms}) == len(file.terms) == 1 + len(near)
    sealed = read(tmp_path / "t.txt", WRONG, STORY, blind=False)
    assert [row.term for row in sealed.rows] == [0, 1]
    assert sealed.rows[0].reason == "NOT_RECOGNISED"


@pytest.mark.parametrize(
    ("hits", "word"), [((0,), "hit"), ((1,), HIT_AS_SUGGESTED), ((), "no hit")]
)
def test_each_spelling_has_a_result_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hits: tuple[int, ...], word: str
) -> None:
    """The row says whether it hit as it stands, or only as something it may have been meant to
    be; every format marks which."""
    file = read(tmp_path / "t.txt", WRONG)
    result = Result(mode=BLIND, terms=file.terms, rows=file.rows)
    gathered(result, begun(1), answered(0, len(file.terms), *hits), done(0))
    (row,) = result.by_row()
    assert (row["term"], row["result"], row["reason"]) == (WRONG, word, "CHECK_DIGIT")
    suggested = {item["term"]: item["result"] for item in row["suggested"]}
    assert len(suggested) == len(file.terms) - 1
    near = file.terms[1].value
    assert suggested[near] == ("hit" if 1 in hits else "no hit")
    capsys.readouterr()
    show(result, RowFormat.CSV, ())
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert f"{near}: {suggested[near]}" in line["suggested"]
    assert line["result"] == word


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four terms."""
    monkeypatch.setattr(results, "BLIND_CHUNK", 4)


def many(*again: int) -> Result:
    """Ten terms, each a row, and rows that repeat some of them."""
    terms = PackedTerms([pb.Term(scheme="container", value=container(n)) for n in range(10)])
    places = [*range(10), *again]
    rows = [pb.Row(text=terms[place].value, term=place + 1) for place in places]
    return Result(mode=BLIND, terms=terms, rows=PackedRows(rows))


@pytest.mark.usefixtures("small")
def test_rows_are_written_as_they_settle_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of a chunk once it is done, in the order of the file; the rest at the end."""
    result, stream = many(0, 9), RowStream(RowFormat.NDJSON)
    gathered(result, begun(3), answered(0, 4, 1), done(0), stream=stream)
    first = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["row"] for row in first] == [1, 2, 3, 4]
    assert [row["result"] for row in first] == ["no hit", "hit", "no hit", "no hit"]
    gathered(result, answered(2, 2), done(2), stream=stream)
    assert not capsys.readouterr().out
    show(result, RowFormat.NDJSON, (), stream)
    rest = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["row"] for row in rest] == list(range(5, 13))
    assert {row["result"] for row in rest[:4]} == {"incomplete"}
    assert rest[-2]["result"] == "no hit"


@pytest.mark.usefixtures("small")
def test_csv_has_one_heading_however_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """In parts or at once, it is the same document."""
    result, stream = many(3), RowStream(RowFormat.CSV)
    events = [
        event
        for chunk, size in enumerate((4, 4, 2))
        for event in (answered(chunk, size, 0), done(chunk))
    ]
    gathered(result, begun(3), *events, stream=stream)
    show(result, RowFormat.CSV, (), stream)
    parts = capsys.readouterr().out
    show(result, RowFormat.CSV, ())
    assert capsys.readouterr().out == parts
    assert len(parts.splitlines()) == 12


@pytest.mark.usefixtures("small")
def test_json_is_the_same_as_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Written row by row, it reads as one document."""
    result = many()
    gathered(result, begun(3), *(done(chunk) for chunk in range(3)))
    capsys.readouterr()
    show(result, RowFormat.JSON, [Path("r.json")])
    document = json.loads(capsys.readouterr().out)
    assert document["rows"] == result.by_row()
    assert (document["complete"], document["receipts"]) == (True, ["r.json"])


@pytest.mark.usefixtures("small")
def test_a_table_of_many_rows_has_the_hits_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how many others there are."""
    monkeypatch.setattr(showing, "SUMMARISED", 5)
    result = many()
    gathered(result, begun(3), answered(0, 4, 2), done(0))
    capsys.readouterr()
    show(result, RowFormat.TABLE, ())
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "10 rows: 1 hit, 6 incomplete, 3 no hit" in said.err


@pytest.mark.usefixtures("small")
def test_pages_bring_terms_and_rows_before_the_chunks(tmp_path: Path) -> None:
    """A query that is shown or resumed is told what was asked."""
    asked = many(0)
    pages = [
        pb.AskResponse(
            page=pb.AskResponse.Page(
                terms=asked.terms[first : first + 6], rows=asked.rows[first : first + 6]
            )
        )
        for first in (0, 6)
    ]
    result = gathered(Result(), begun(3, paged=True), *pages, answered(2, 2, 1), done(2))
    assert list(result.terms) == list(asked.terms)
    assert list(result.rows) == list(asked.rows)
    assert [row["result"] for row in result.by_row()][8:10] == ["no hit", "hit"]


@pytest.mark.usefixtures("small")
def test_only_hits_are_kept_of_a_large_query() -> None:
    """Whatever a chunk's lines say of its other terms is the same for all of them."""
    result = many()
    gathered(result, begun(3), answered(1, 4, 3), done(1))
    (line,) = result.partners
    assert len(line["answers"]) == 1
    partners: list[Any] = [row["partners"] for row in result.by_row()[4:8]]
    assert [found[0]["hit"] for found in partners] == [False, False, False, True]
    assert {frozenset(found[0]) for found in partners} == {frozenset(partners[0][0])}


def test_the_rate_counts_what_was_asked_now(capsys: pytest.CaptureFixture[str]) -> None:
    """A resumed query's earlier chunks came from what is kept, and say nothing about speed."""
    result = Result(mode=BLIND, terms=PackedTerms([pb.Term(scheme="email", value=OTHER)] * 3_000))
    accepted = pb.AskResponse(accepted=pb.AskResponse.Accepted(chunk=1))
    gathered(result, begun(3), done(0), accepted, done(1))
    said = capsys.readouterr().err
    assert "1,024 of 3,000" not in said
    assert "2,048 of 3,000 terms" in said
