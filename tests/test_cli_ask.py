"""``fairlead ask``: a typo stops at home, nothing falls to sealed, every partner has its line."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cli import ask, results, showing
from fairlead.cli.options import iso, lasting, moment, when
from fairlead.cli.output import Exit
from fairlead.errors import InvalidInput
from fairlead.v1 import asking_pb2, query_pb2
from tests.commands import Ended, as_user, fairlead
from tests.decided import undecided
from tests.federation import CASE, OTHER, PURPOSE, STORY, Federation, federation, publish_policy

NOW = 1_795_000_000.0
PARTNERS = ("customs", "police", "terminal-north")
QUESTION = ("--case", CASE, "--purpose", PURPOSE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("ask")
    async with federation(folder, partners=PARTNERS) as running:
        await running.open_case()
        yield running


async def asked(made: Federation, *words: str, user: str = "u-c01") -> Ended:
    return await as_user(made, "ask", *words, user=user)


def leaves(made: Federation) -> list[int]:
    """How long each log is, but for decision records: what was sent leaves something."""
    assert made.gateway is not None
    return [len(undecided(app.log)) for app in (made.gateway, *made.nodes.values())]


# ── Whole commands ───────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_is_one_document_and_the_talk_is_elsewhere(made: Federation) -> None:
    """JSON has schema 1, a line per partner and the receipt; who learns what is said before."""
    ended = await asked(made, STORY, OTHER, *QUESTION, "--output", "json")
    assert ended.code == Exit.ANSWERED
    document = ended.json
    assert set(document) == {"schema", "query_id", "mode", "partners", "receipt"}
    assert document["schema"] == 1
    by_name = {line["partner"]: line for line in document["partners"]}
    assert list(by_name) == ["police", "terminal-north"]
    hit = by_name["terminal-north"]
    assert (hit["status"], hit["hits"], hit["reason"]) == ("answered", 1, "")
    assert [item["term"] for item in hit["answers"]] == [STORY, OTHER]
    assert [item["hit"] for item in hit["answers"]] == [True, False]
    (record,) = hit["answers"][0]["records"]
    assert record["fields"] == {"place": "Gate 7"}
    assert record["withheld"] == ["driver_name"]
    assert record["handling"]["tlp"] == "AMBER"
    assert by_name["police"]["hits"] == 0
    assert "will learn" in ended.err
    receipt = Path(document["receipt"])
    assert json.loads(receipt.read_text())["fairlead_receipt"] == 1
    assert stat.S_IMODE(receipt.parent.stat().st_mode) == 0o700
    assert STORY not in receipt.read_text()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_person_sees_a_line_per_partner_and_the_records(made: Federation) -> None:
    """Live lines and next command on stderr, the tables on stdout."""
    ended = await asked(made, STORY, *QUESTION)
    assert ended.code == Exit.ANSWERED
    assert "HIT 1" in ended.out
    assert "no hit" in ended.out
    assert "place=Gate 7" in ended.out
    assert "Somebody Invented" not in ended.out + ended.err
    live = [line for line in ended.err.splitlines() if " s  " in line]
    assert {line.split()[2] for line in live} == {"police", "terminal-north"}
    assert "next: fairlead receipts verify" in ended.err


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hit_exits_with_ten_on_request_only(made: Federation) -> None:
    """``--exit-code`` tells hit from no hit; without it both are 0."""
    to = ("--to", "terminal-north", "--exit-code")
    assert (await asked(made, STORY, *QUESTION, *to)).code == Exit.HIT
    assert (await asked(made, OTHER, *QUESTION, *to)).code == Exit.ANSWERED


@pytest.mark.asyncio(loop_scope="module")
async def test_a_dry_run_sends_nothing(made: Federation) -> None:
    """It says who would learn what, and no log grows by a query."""
    before = leaves(made)
    ended = await asked(made, STORY, *QUESTION, "--dry-run", "--output", "json")
    assert ended.code == Exit.ANSWERED
    assert ended.json["dry_run"] is True
    assert {item["partner"] for item in ended.json["exposures"]} == {"police", "terminal-north"}
    assert leaves(made) == before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["MSCU6639871"], Exit.USAGE, "MSCU6639870"),
        (["hello world"], Exit.USAGE, "next: fairlead ask --help"),
        (["AB-123-C"], Exit.USAGE, "country"),
        ([STORY, "--since", "soon"], Exit.USAGE, "--since 90d"),
        ([STORY, "--scheme", "crystal-ball"], Exit.USAGE, "SCHEME"),
        ([STORY, "--mode", "open"], Exit.USAGE, "mode"),
    ],
)
async def test_a_typo_stops_before_the_node_hears_of_it(
    made: Federation, words: list[str], code: int, says: str
) -> None:
    """Misspelt words end with 2 and the next command, and not even the own node is asked."""
    before = leaves(made)
    ended = await asked(made, *words, *QUESTION)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert leaves(made) == before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("words", "user", "code", "says"),
    [
        (["--purpose", "customs-risk"], "u-c01", Exit.REFUSED, ""),
        ([], "u-c03", Exit.REFUSED, "CASE_NOT_ASSIGNED"),
        ([], "u-c02", Exit.REFUSED, "ROLE_NOT_ALLOWED"),
        (["--to", "nobody"], "u-c01", Exit.USAGE, "UNKNOWN_PARTNER"),
        (["--to", "customs"], "u-c01", Exit.USAGE, "ASKS_ITSELF"),
        (["--event", "gate-inn"], "u-c01", Exit.USAGE, ""),
        (["--mode", "blind"], "u-c01", Exit.REFUSED, "NO_SNAPSHOT"),
        (["--since", "1d", "--until", "2d"], "u-c01", Exit.USAGE, "TIME_RANGE"),
    ],
)
async def test_what_the_own_node_refuses_is_a_leaf_there_and_goes_no_further(
    made: Federation, words: list[str], user: str, code: int, says: str
) -> None:
    """Refused at home: exit 5 or 2 with the reason and the next command; the gateway is silent."""
    before = leaves(made)
    ended = await asked(made, STORY, *QUESTION, *words, user=user)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    after = leaves(made)
    assert sum(after) == sum(before) + 1
    assert after[0] == before[0]
    assert STORY not in ended.err.replace(f"{STORY}: container {STORY}", "")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stopped_partner_makes_the_result_partial(made: Federation) -> None:
    """Somebody unreachable exits with 7, and the answers of the others are printed."""
    await made.stop_node("police")
    try:
        ended = await asked(made, STORY, *QUESTION, "--output", "json", "--exit-code")
    finally:
        await made.start_node("police")
    assert ended.code == Exit.PARTIAL
    status = {line["partner"]: line["status"] for line in ended.json["partners"]}
    assert status == {"police": "unreachable", "terminal-north": "answered"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_receipt_that_cannot_be_kept_does_not_lose_the_answer(made: Federation) -> None:
    """The query was made and is on record: its answer is printed, whatever the disk says."""
    ended = await asked(made, STORY, *QUESTION, "--receipt", "/dev/full", "--output", "json")
    assert ended.json["partners"]
    assert (ended.code, ended.json["receipt"]) == (Exit.CONFIGURATION, None)
    assert "RECEIPT_UNWRITABLE" in ended.err


@pytest.mark.asyncio(loop_scope="module")
async def test_a_missing_receipt_folder_stops_the_query_at_home(made: Federation) -> None:
    """What can be known to be unwritable is said before anybody learns the term."""
    folder = made.folder / "no-such-folder" / "r.json"
    ended = await asked(made, STORY, *QUESTION, "--receipt", str(folder))
    assert ended.code == Exit.USAGE
    assert "nothing was sent" in ended.err


@pytest.mark.asyncio(loop_scope="module")
async def test_a_period_that_has_not_begun_is_refused(made: Federation) -> None:
    """A start in the future is a mistake, not a confident no hit."""
    ended = await asked(made, STORY, *QUESTION, "--since", "2099-01-01")
    assert ended.code == Exit.USAGE
    assert "TIME_RANGE" in ended.err


@pytest.mark.asyncio(loop_scope="module")
async def test_an_own_node_that_is_down_is_seven(made: Federation) -> None:
    """Nobody to talk to is PARTIAL, with a next command and no traceback."""
    await made.stop_node("customs")
    try:
        ended = await asked(made, STORY, *QUESTION)
    finally:
        await made.start_node("customs")
    assert ended.code == Exit.PARTIAL
    assert "next:" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.asyncio
async def test_without_a_profile_nobody_is_asked(tmp_path: Path) -> None:
    """Not enrolled is 4, and says how to be."""
    ended = await fairlead("ask", STORY, *QUESTION, home=tmp_path)
    assert ended.code == Exit.NOT_ENROLLED
    assert "FAIRLEAD_PROFILE" in ended.err


@pytest.mark.asyncio
async def test_auto_never_falls_from_blind_to_sealed(tmp_path: Path) -> None:
    """Where policy wants blind, auto refuses by that name, and so does an explicit sealed."""
    async with federation(tmp_path, partners=("customs", "terminal-north"), start=False) as made:
        publish_policy(made.layout, made.folder / "policy", demo=False)
        await made.start_gateway()
        for partner in ("customs", "terminal-north"):
            await made.start_node(partner)
        await made.open_case()
        before = leaves(made)
        for mode, says in (("auto", "NO_SNAPSHOT"), ("sealed", "BLIND_REQUIRED")):
            ended = await asked(made, STORY, *QUESTION, "--mode", mode)
            assert (ended.code, ended.out) == (Exit.REFUSED, "")
            assert says in ended.err
        after = leaves(made)
        assert (after[0], after[2]) == (before[0], before[2])


# ── Pieces ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("0d", NOW),
        ("90d", NOW - 90 * 86_400),
        ("12h", NOW - 12 * 3600),
        ("30m", NOW - 1800),
        ("1970-01-02", 86_400),
        ("1970-01-01T00:01Z", 60),
        ("1970-01-01T01:01+01:00", 60),
    ],
)
def test_times_are_spans_ago_or_iso_8601(text: str | None, seconds: float) -> None:
    """A time without a zone is UTC; no text is no bound."""
    assert moment(text, now=NOW) == int(seconds)


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "90d ", "90D", "123456d", "2026-13-01", "x"]
)
def test_other_times_are_refused(text: str) -> None:
    """What is neither says how to write it."""
    with pytest.raises(InvalidInput) as caught:
        moment(text, now=NOW)
    assert caught.value.code == "TIME"
    assert "--since 90d" in caught.value.remedy


@given(st.text(max_size=24))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    """Reading a time never fails in another way, and a span never lies in the future."""
    for read in (moment, lasting):
        try:
            found = read(text, now=NOW)
        except InvalidInput:
            continue
        assert isinstance(found, int)


def test_a_lasting_span_is_from_now() -> None:
    """``90d`` for a case is in the future; an ISO time means itself."""
    assert lasting("90d", now=NOW) == int(NOW) + 90 * 86_400
    assert lasting("2030-01-01", now=NOW) == int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_owners_time_can_be_shown(seconds: int) -> None:
    """A hostile or absurd time of a record does not stop the others from being shown."""
    for show in (when, iso):
        assert show(seconds) is None or isinstance(show(seconds), str)


def test_times_are_shown_in_utc() -> None:
    """Minutes for people; zero is no time."""
    assert when(60) == "1970-01-01 00:01Z"
    assert when(0) == "–"


@pytest.mark.parametrize(
    ("text", "scheme", "value"),
    [
        ("mscu 663987-0", None, ("container", STORY)),
        ("NL:AB-123-C", None, ("vehicle-plate", None)),
        ("9074729", None, ("vessel-imo", "9074729")),
        ("9074729", "vessel-imo", ("vessel-imo", "9074729")),
    ],
)
def test_identifiers_are_recognised(
    text: str, scheme: str | None, value: tuple[str, str | None]
) -> None:
    """What a person types becomes a scheme and its canonical form."""
    term = ask.recognise(text, scheme)
    assert term.scheme == value[0]
    assert value[1] is None or term.value == value[1]


@given(st.text(max_size=70))
def test_any_text_is_an_identifier_or_a_usage_error(text: str) -> None:
    """Recognising never fails in another way."""
    try:
        term = ask.recognise(text, None)
    except InvalidInput:
        return
    assert term.scheme
    assert term.value


def line(status: str, hits: int = 0) -> dict[str, Any]:
    return {"partner": "p", "chunk": 0, "status": status, "hits": hits}


@pytest.mark.parametrize(
    ("lines", "on_hit", "code"),
    [
        ([line("answered", 1)], False, Exit.ANSWERED),
        ([line("answered", 1)], True, Exit.HIT),
        ([line("answered")], True, Exit.ANSWERED),
        ([line("answered", 1), line("refused")], False, Exit.ANSWERED),
        ([line("refused"), line("not asked")], True, Exit.REFUSED),
        ([line("answered", 1), line("timeout")], True, Exit.PARTIAL),
        ([line("refused"), line("unreachable")], False, Exit.PARTIAL),
        ([line("overloaded")], False, Exit.PARTIAL),
        ([line("invalid")], False, Exit.PARTIAL),
    ],
)
def test_exit_codes_are_partial_before_refused_before_hit(
    lines: list[dict[str, Any]], on_hit: bool, code: int
) -> None:
    """The documented order holds for every mixture; without evidence nothing is complete."""
    result = results.Result(partners=lines)
    assert result.exit_code(on_hit=on_hit) == code
    assert (
        results.Result(partners=lines, terms=[asking_pb2.Term()]).exit_code(on_hit=on_hit)
        == Exit.PARTIAL
    )


def shown(**changes: Any) -> dict[str, Any]:
    """One line about a term, from an owner that sent whatever it liked."""
    record = query_pb2.Record(
        record_type="movement",
        event="gate-in",
        occurred_at=int(time.time()),
        fields=[query_pb2.Field(name="place", value="x")],
        ref=bytes(16),
    )
    for name, value in changes.items():
        target = record.handling if name in ("tlp", "pap") else record
        setattr(target, name, value)
    answer = asking_pb2.OpenedAnswer(
        partner_id="p",
        status=query_pb2.STATUS_ANSWERED,
        answers=[query_pb2.TermAnswer(index=0, hit=True, records=[record])],
    )
    term = asking_pb2.Term(scheme="container", value=STORY)
    return results.line_of(answer, [term])


@pytest.mark.parametrize(
    "changes",
    [{"tlp": 99}, {"pap": 99}, {"occurred_at": 2**62}, {"occurred_at": -(2**62)}, {"ref": b""}],
)
def test_a_hostile_record_does_not_stop_the_result(changes: dict[str, Any]) -> None:
    """An owner's absurd handling or time is shown somehow; the others' answers are not lost."""
    made_line = shown(**changes)
    assert made_line["hits"] == 1
    assert json.dumps(made_line)


def test_terminals_do_not_obey_an_owner(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and line ends in an owner's fields reach no terminal."""
    made_line = shown()
    item = made_line["answers"][0]
    item["contact_desk"] = "desk\x1b[2J\nforged line"
    item["records"][0]["fields"]["place"] = "\x1b]0;title\x07\u202e"
    showing.show_hit("p\x1b[0m", item)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\nforged line" not in out
