"""A refusal as a person reads it: in their language, with what would be needed, and no surprise."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from fairlead.cli import ask, showing, telling, watch
from fairlead.cli.output import Exit, RowFormat, explain
from fairlead.cli.results import Result, line_of
from fairlead.errors import Forged, NotEnrolled, Refused
from fairlead.facts import refusal_of
from fairlead.policy.decision import Audience, Reason, denial
from fairlead.reasons import catalogue, reason
from fairlead.v1 import asking_pb2
from tests.commands import fairlead
from tests.federation import ROOT
from tests.test_cli_output import call


@pytest.fixture(autouse=True, params=["en", "nl"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here once in each language."""
    monkeypatch.setenv("FAIRLEAD_LANG", request.param)
    return str(request.param)


def refused() -> Result:
    """Two partners that were not asked, for one reason, and a third that broke the protocol."""
    lines = [
        ("customs", 2, "NO_AGREEMENT"),
        ("police", 3, "NO_AGREEMENT"),
        ("port", 7, "SIGNATURE"),
    ]
    term = asking_pb2.Term(scheme="container", value="MSCU6639870")
    told = [
        line_of(asking_pb2.OpenedAnswer(partner_id=p, status=s, reason=r), [term])  # type: ignore[arg-type]
        for p, s, r in lines
    ]
    return Result(query_id="ab" * 16, terms=[term], partners=told, done={0})


# ── Errors ───────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_by_policy_says_what_would_be_needed(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each code of a denial is explained, and the next step is in the same language."""
    told = reason("NO_AGREEMENT", language)
    error = refusal_of(denial(Reason(code="NO_AGREEMENT", audience=Audience.REQUESTER)))
    assert explain(error) is Exit.REFUSED
    said = capsys.readouterr().err
    assert "[NO_AGREEMENT]" in said
    assert said.count(told.text) == 1
    assert said.count(told.needed) == 1
    assert said.count(told.next) == 1


def test_a_refusal_over_the_wire_is_in_the_readers_language(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The node speaks English and codes, and its user reads their own language."""
    english = reason("BLIND_REQUIRED")
    metadata = (
        ("fairlead-reason", "BLIND_REQUIRED"), ("fairlead-reason", "TOO_MANY_TERMS"),
        ("fairlead-remedy", english.next.replace("…", "...")),
    )  # fmt: skip
    import grpc

    error = call((grpc.StatusCode.PERMISSION_DENIED, "policy does not permit this query", metadata))
    assert explain(error) is Exit.REFUSED
    said = capsys.readouterr().err
    for code in ("BLIND_REQUIRED", "TOO_MANY_TERMS"):
        told = reason(code, language)
        assert told.text in said
        assert told.needed in said
    assert said.count("--mode blind") == 1


def test_an_errors_own_words_are_not_lost(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remedy that holds a value, which no catalogue has, is shown in every language."""
    explain(Refused("no terms are left", reasons=("BUDGET_EXHAUSTED",), remedy="wait until 00:00Z"))
    said = capsys.readouterr().err
    assert "next: wait until 00:00Z" in said
    assert reason("BUDGET_EXHAUSTED", language).needed in said
    assert (reason("BUDGET_EXHAUSTED", language).text in said) is (language != "en")


def test_a_code_without_an_explanation_keeps_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the catalogue does not have, or has for a whole kind of error, is said as it was."""
    explain(
        Forged("a signature does not verify", reasons=("SIGNATURE",), remedy="fairlead partners")
    )
    explain(Forged("a thing is wrong", remedy="fairlead partners"))
    said = capsys.readouterr().err
    assert "a signature does not verify [SIGNATURE]\nnext: fairlead partners\n" in said
    assert "a thing is wrong [FORGED]\nnext: fairlead partners\n" in said


def test_an_error_without_a_remedy_has_the_catalogues_step(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An explained code never ends without something to do."""
    explain(NotEnrolled("no identity"))
    assert capsys.readouterr().err.endswith(reason("NOT_ENROLLED", language).next + "\n")


def test_the_general_messages_are_the_sources() -> None:
    """Each message that leaves the why to its codes is one that the product still says."""
    said = {
        item.value
        for package in ("fairlead", "gateway", "node")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "telling.py"
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(item, ast.Constant)
    }
    assert telling.GENERAL - said == set()


# ── Results ──────────────────────────────────────────────────────────────────────────────────


def test_why_a_partner_was_not_asked_stands_below_the_table(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each code once, with the partners it is about, what would be needed, and the next step."""
    showing.show(refused(), RowFormat.TABLE, ())
    out, err = capsys.readouterr()
    told = reason("NO_AGREEMENT", language)
    assert "NO_AGREEMENT" in out
    assert err.count(told.text) == 1
    assert f"NO_AGREEMENT (customs, police): {told.text}\n" in err
    assert told.needed in err
    assert f"SIGNATURE (port): {reason('FORGED', language).text}\n" in err


@pytest.mark.parametrize("output", [RowFormat.JSON, RowFormat.NDJSON, RowFormat.CSV])
def test_a_program_reads_the_same_in_every_language(
    output: RowFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """Codes and nothing translated: what parses an answer parses it in the Netherlands, too."""
    showing.show(refused(), output, ())
    out, err = capsys.readouterr()
    assert "NO_AGREEMENT" in out or output is RowFormat.CSV
    for spoken in catalogue().languages:
        assert reason("NO_AGREEMENT", spoken).text not in out + err


def test_a_lost_part_names_the_query_to_resume(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of an explanation has the value in it that the program knows."""
    result = refused()
    result.done = set()
    showing.show(result, RowFormat.TABLE, ())
    assert f"fairlead queries resume {'ab' * 16}" in capsys.readouterr().err


def test_hostile_codes_and_partners_command_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What another organisation puts for a code is made printable, and explained as unknown."""
    result = refused()
    result.partners[0]["reason"] = "\x1b[2JNO\nfout: forged"
    result.partners[1]["partner"] = "customs\nerror: forged"
    showing.show(result, RowFormat.TABLE, ())
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert not any(line.startswith(("fout: f", "error: f")) for line in err.split("\n"))


def test_a_dry_run_says_why_a_partner_is_left_out(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent it is known who will not be asked, why, and what would be needed."""
    left_out = asking_pb2.NotAsked(partner_id="police", reason="COUNTRY_NOT_COVERED")
    response = asking_pb2.PrepareResponse(not_asked=[left_out])
    ask._print_dry_run(SimpleNamespace(exposures=[], response=response), RowFormat.TABLE)
    assert reason("COUNTRY_NOT_COVERED", language).needed in capsys.readouterr().err


def test_why_a_watch_has_ended_is_said(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each code of a watch and its places once, and what there is none of is not spoken of."""
    watch._explain(["POLICY_CHANGED", "", "POLICY_CHANGED", "CASE_OVER"])
    said = capsys.readouterr().err
    assert said.count(reason("POLICY_CHANGED", language).text) == 1
    assert reason("CASE_OVER", language).needed in said
    assert len(said.splitlines()) == 6


# ── The command ──────────────────────────────────────────────────────────────────────────────


async def test_one_code_is_explained(language: str, tmp_path: Path) -> None:
    """In the person's language, in small letters too, without a profile or a network."""
    ended = await fairlead(
        "policy", "reasons", "no_agreement", home=tmp_path, FAIRLEAD_LANG=language
    )
    told = reason("NO_AGREEMENT", language)
    assert (ended.code, ended.err) == (Exit.ANSWERED, "")
    assert ended.out.startswith(f"NO_AGREEMENT: {told.text}\n")
    assert told.needed in ended.out
    assert told.next in ended.out


async def test_all_codes_are_listed_for_programs_and_people(tmp_path: Path, language: str) -> None:
    """The JSON has every code with its audience, and `--lang` decides over the environment."""
    ended = await fairlead(
        "policy",
        "reasons",
        "--output",
        "json",
        "--lang",
        "nl",
        home=tmp_path,
        FAIRLEAD_LANG=language,
    )
    rows = json.loads(ended.out)
    assert [row["code"] for row in rows] == list(catalogue().codes)
    assert {row["language"] for row in rows} == {"nl"}
    assert set(rows[0]) == {"code", "audience", "text", "needed", "next", "language"}
    table = await fairlead("policy", "reasons", home=tmp_path, FAIRLEAD_LANG=language)
    assert all(code in table.out for code in catalogue().codes)


@pytest.mark.parametrize("words", [("NEVER_HEARD_OF",), ("--lang", "tlh")])
async def test_an_unknown_code_or_language_is_a_usage_error(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Exit 2 and the command that lists what there is."""
    ended = await fairlead("policy", "reasons", *words, home=tmp_path)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "fairlead policy reasons" in ended.err
