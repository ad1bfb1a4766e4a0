"""``fairlead queries`` and ``fairlead feedback``: one's own history, in every format."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairlead.cli.output import Exit
from fairlead.v1 import audit_pb2
from tests.attacks.evil import leaves
from tests.commands import Ended, as_user
from tests.decided import undecided
from tests.federation import CASE, OTHER, PURPOSE, STORY, Federation, federation
from tests.processes import command, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUESTION = ("--case", CASE, "--purpose", PURPOSE)
ROWS = [STORY, "", OTHER, "=cmd()", STORY]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("queries")
    async with federation(folder, partners=("customs", "police", "terminal-north")) as running:
        await running.open_case()
        yield running


async def asked(made: Federation, *words: str) -> Ended:
    """Ask a file of five rows."""
    file = made.folder / "terms.csv"
    file.write_text("term\n" + "".join(f"{row or chr(34) * 2}\n" for row in ROWS))
    return await as_user(made, "ask", "--file", str(file), *QUESTION, *words)


async def test_a_file_is_answered_row_by_row(made: Federation) -> None:
    """JSON holds every row in order, its result and its partners; the summary came first."""
    ended = await asked(made, "--output", "json")
    assert ended.code == Exit.ANSWERED, ended.err
    document = ended.json
    assert [row["input"] for row in document["rows"]] == ROWS
    results = [(row["result"], row["reason"]) for row in document["rows"]]
    assert results == [
        ("hit", ""),
        ("not asked", "BLANK"),
        ("no hit", ""),
        ("not asked", "NOT_RECOGNISED"),
        ("hit", ""),
    ]
    assert document["complete"] is True
    assert "5 rows: 2 terms to ask, 1 repeated, 1 blank, 1 not recognised" in ended.err
    assert ended.err.index("5 rows") < ended.err.index("will learn")
    verified = await as_user(made, "receipts", "verify", *document["receipts"])
    assert verified.code == Exit.ANSWERED


async def test_csv_and_ndjson_have_a_line_for_each_row(made: Federation) -> None:
    """A spreadsheet does not take an owner's or a file's text for a formula."""
    ended = await asked(made, "--output", "csv")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert [row["result"] for row in rows] == ["hit", "not asked", "no hit", "not asked", "hit"]
    assert rows[3]["input"] == "'=cmd()"
    assert rows[0]["hits"] == "terminal-north"
    ended = await asked(made, "--output", "ndjson")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5]


async def test_a_query_is_shown_and_exported_as_it_was_answered(made: Federation) -> None:
    """Show, export and resume repeat the rows; each reading is a leaf."""
    first = (await asked(made, "--output", "json")).json
    log = made.nodes["customs"].log
    for words in (("show", "--output", "json"), ("export",), ("resume", "--output", "json")):
        before = len(leaves(log, audit_pb2.LEAF_TYPE_HISTORY))
        ended = await as_user(made, "queries", words[0], first["query_id"], *words[1:])
        assert ended.code == Exit.ANSWERED, ended.err
        assert ended.json["rows"] == first["rows"]
        assert len(leaves(log, audit_pb2.LEAF_TYPE_HISTORY)) == before + 1


async def test_typed_terms_are_kept_too(made: Federation) -> None:
    """A single question is a batch of one chunk: its history looks like its answer."""
    ended = await as_user(made, "ask", STORY, *QUESTION, "--output", "json")
    shown = await as_user(made, "queries", "show", ended.json["query_id"], "--output", "json")
    assert shown.json["partners"] == ended.json["partners"]
    listed = (await as_user(made, "queries", "list", "--output", "json")).json
    assert listed[0]["query"] == ended.json["query_id"]
    assert (listed[0]["state"], listed[0]["terms"], listed[0]["case"]) == ("complete", 1, CASE)


async def test_nobody_reads_anothers_history(made: Federation) -> None:
    """Another analyst sees an empty list, and the same words as for no such query."""
    first = (await asked(made, "--output", "json")).json
    listed = await as_user(made, "queries", "list", "--output", "json", user="u-c03")
    assert listed.json == []
    for word in ("show", "export", "resume"):
        ended = await as_user(made, "queries", word, first["query_id"], user="u-c03")
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert "UNKNOWN_QUERY" in ended.err
    refused = await as_user(made, "queries", "list", user="u-c02")
    assert refused.code == Exit.REFUSED


@pytest.mark.parametrize("word", ["show", "resume", "export"])
async def test_an_id_that_is_none_is_a_usage_error(made: Federation, word: str) -> None:
    """The next command says where ids come from."""
    ended = await as_user(made, "queries", word, "xyz")
    assert ended.code == Exit.USAGE
    assert "next: fairlead queries list" in ended.err


async def test_a_file_without_a_term_asks_nobody(made: Federation) -> None:
    """Its rows are printed with their reasons, and nothing is sent."""
    file = made.folder / "none.txt"
    file.write_text("\nhello\n")
    before = len(undecided(made.nodes["customs"].log))
    ended = await as_user(made, "ask", "--file", str(file), *QUESTION, "--output", "json")
    assert ended.code == Exit.USAGE
    assert [row["reason"] for row in ended.json["rows"]] == ["BLANK", "NOT_RECOGNISED"]
    assert len(undecided(made.nodes["customs"].log)) == before
    both = await as_user(made, "ask", STORY, "--file", str(file), *QUESTION)
    assert (both.code, "not both" in both.err) == (Exit.USAGE, True)


async def test_handling_is_said_and_travels(made: Federation) -> None:
    """The case's handling, or what the user states; PAP RED is refused in sealed mode."""
    usual = await as_user(made, "ask", STORY, *QUESTION, "--dry-run")
    assert "handling of the question: TLP:AMBER, PAP:AMBER" in usual.err
    stated = ("--tlp", "AMBER_STRICT", "--pap", "green")
    ended = await as_user(made, "ask", STORY, *QUESTION, *stated)
    assert "handling of the question: TLP:AMBER+STRICT, PAP:GREEN" in ended.err
    (newest, *_) = (await as_user(made, "queries", "list", "--output", "json")).json
    assert (newest["tlp"], newest["pap"]) == ("AMBER_STRICT", "GREEN")
    red = await as_user(made, "ask", STORY, *QUESTION, "--pap", "RED", "--mode", "sealed")
    assert red.code == Exit.REFUSED
    assert "PAP_RED" in red.err
    assert "next:" in red.err


async def test_feedback_goes_to_the_owner_who_lists_it(made: Federation) -> None:
    """``fairlead-node feedback list`` shows it beside the running node; strangers have none."""
    first = (await asked(made, "--output", "json")).json
    tell = ("feedback", first["query_id"], "--partner", "terminal-north", "--outcome", "measure")
    ended = await as_user(made, *tell, "--term", STORY)
    assert ended.code == Exit.ANSWERED, ended.err
    never = await as_user(made, *tell, "--term", "CSQU3054383", user="u-c03")
    assert "UNKNOWN_QUERY" in never.err
    other = await as_user(made, *tell, "--term", "NL:AB-12-CD")
    assert "TERM_UNKNOWN" in other.err
    for partner, direction in (("terminal-north", "received"), ("customs", "sent")):
        config = write_config(made.folder / f"{partner}.toml", made.node_configs[partner])
        words: tuple[str | Path, ...] = ("feedback", "list", "--config", config)
        shown = await command("node.cli.main", *words, "--output", "json")
        (kept,) = json.loads(shown.out)
        assert (kept["direction"], kept["outcome"]) == (direction, "measure")
        assert kept["term"] == STORY


async def test_answers_are_deleted_when_their_time_is_over(made: Federation) -> None:
    """After the owner's 90 days the lines are gone, after the case's the query; a leaf says so."""
    first = (await asked(made, "--output", "json")).json
    asking = made.nodes["customs"].asking
    history = asking._history
    batch_id = bytes.fromhex(first["query_id"])
    now = time.time()
    kept = {line.partner_id for line in history.lines(batch_id, 0, now)}
    assert kept == {"police", "terminal-north"}
    later = {line.partner_id for line in history.lines(batch_id, 0, now + 91 * 86_400)}
    assert later == {"police"}
    assert await history.expire(now + 91 * 86_400) >= 1
    shown = await as_user(made, "queries", "export", first["query_id"], "--output", "ndjson")
    assert shown.code == Exit.PARTIAL
    row = json.loads(shown.out.splitlines()[0])
    assert row["result"] == "incomplete", "an answer kept no longer is never no hit"
    assert [p["reason"] for p in row["partners"] if p["status"] == "lost"] == ["ANSWER_EXPIRED"]
    assert {line.partner_id for line in history.lines(batch_id, 0, now)} == {"police"}
    assert await history.expire(now + 366 * 86_400) >= 1
    gone = await as_user(made, "queries", "show", first["query_id"])
    assert "UNKNOWN_QUERY" in gone.err
