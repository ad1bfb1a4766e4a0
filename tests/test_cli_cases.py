"""``fairlead cases``: opened by an approver for others, listed for those concerned."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from fairlead.cli.output import Exit
from tests.commands import Ended, as_user
from tests.federation import Federation, federation

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIELDS = {
    "tlp",
    "pap",
    "retention_days",
    "case",
    "state",
    "purpose",
    "legal_basis",
    "schemes",
    "members",
    "expires",
    "opened_by",
    "instrument",
    "authority",
    "instrument_until",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("cases")
    async with federation(folder, partners=("customs",), start=False) as running:
        await running.start_node("customs")
        yield running


async def open_case(made: Federation, case: str, *words: str, user: str = "u-c02") -> Ended:
    usual = ("--purpose", "drug-trafficking", "--legal-basis", "eu-ucc-art-46")
    more = words or ("--scheme", "container", "--member", "u-c01")
    return await as_user(made, "cases", "open", case, *usual, *more, "--output", "json", user=user)


async def listed(made: Federation, user: str) -> list[str]:
    ended = await as_user(made, "cases", "list", "--output", "json", user=user)
    assert ended.code == Exit.ANSWERED
    return [item["case"] for item in ended.json]


async def test_an_approver_opens_and_everybody_sees_their_own(made: Federation) -> None:
    """The case comes back as stored; its member and the approver list it, others do not."""
    ended = await open_case(made, "CASE-A")
    assert ended.code == Exit.ANSWERED
    (case,) = ended.json
    assert set(case) == FIELDS
    assert (case["members"], case["opened_by"]) == ("u-c01", "u-c02")
    assert await listed(made, "u-c01") == ["CASE-A"]
    assert await listed(made, "u-c02") == ["CASE-A"]
    assert await listed(made, "u-c03") == []


ORDER = (
    "--instrument", "court-order", "--authority", "court", "--instrument-ref", "ROT 26/417",
    "--instrument-until", "30d",
)  # fmt: skip


async def test_a_case_rests_on_a_legal_instrument(made: Federation) -> None:
    """What is shown names kind, authority and end; the reference is in nothing that is printed."""
    usual = ("--scheme", "container", "--member", "u-c01")
    ended = await open_case(made, "CASE-ORDER", *usual, *ORDER)
    (case,) = ended.json
    assert (case["instrument"], case["authority"]) == ("court-order", "court")
    assert case["instrument_until"]
    assert "ROT 26/417" not in ended.out
    again = await open_case(made, "CASE-ORDER", *usual, *ORDER)
    assert again.json == ended.json
    await as_user(made, "cases", "close", "CASE-ORDER", user="u-c02")


@pytest.mark.parametrize("left_out", [0, 2, 4, 6])
async def test_a_legal_instrument_is_whole_or_none(made: Federation, left_out: int) -> None:
    """Three of the four options are a mistake, and the next command is told."""
    some = ORDER[:left_out] + ORDER[left_out + 2 :]
    ended = await open_case(made, "CASE-PART", "--scheme", "seal", "--member", "u-c01", *some)
    assert ended.code == Exit.USAGE
    assert "--instrument-until" in ended.err


async def test_the_same_command_again_changes_nothing(made: Federation) -> None:
    """Repeating it exits with 0 and shows the case as it stands."""
    first = await open_case(made, "CASE-B")
    again = await open_case(made, "CASE-B")
    assert (first.code, again.code) == (Exit.ANSWERED, Exit.ANSWERED)
    assert first.json == again.json


async def test_another_case_under_the_reference_is_refused(made: Federation) -> None:
    """Exit 2, the code, and the command that shows what is there."""
    await open_case(made, "CASE-C")
    ended = await open_case(made, "CASE-C", "--scheme", "vessel-imo", "--member", "u-c01")
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "CASE_EXISTS" in ended.err
    assert "next: fairlead cases list" in ended.err


async def test_nobody_opens_a_case_for_themselves_and_analysts_open_none(made: Federation) -> None:
    """Both are refusals of policy, with exit 5."""
    own = await open_case(made, "CASE-D", "--scheme", "container", "--member", "u-c02")
    assert (own.code, own.out) == (Exit.REFUSED, "")
    assert "CASE_SELF_ASSIGNED" in own.err
    analyst = await open_case(made, "CASE-E", user="u-c01")
    assert (analyst.code, analyst.out) == (Exit.REFUSED, "")
    assert "ROLE_NOT_ALLOWED" in analyst.err


async def test_misspelt_words_are_usage_errors(made: Federation) -> None:
    """References, times and missing options end with 2 and say what is expected."""
    bad_name = await open_case(made, "../x")
    assert (bad_name.code, bad_name.out) == (Exit.USAGE, "")
    bad_time = await open_case(
        made, "CASE-F", "--scheme", "container", "--member", "u-c01", "--expires", "soon"
    )
    assert bad_time.code == Exit.USAGE
    assert "90d" in bad_time.err
    missing = await as_user(made, "cases", "open", "CASE-G", user="u-c02")
    assert missing.code == Exit.USAGE
    assert "Traceback" not in missing.err


async def test_a_case_lasts_from_now_or_until_a_date(made: Federation) -> None:
    """``90d`` counts from now, and a date means itself."""
    tomorrow = datetime.fromtimestamp(time.time() + 86_400, UTC)
    ended = await open_case(
        made,
        "CASE-H",
        "--scheme",
        "container",
        "--member",
        "u-c01",
        "--expires",
        tomorrow.isoformat(),
    )
    assert ended.code == Exit.ANSWERED
    assert ended.json[0]["expires"].startswith(tomorrow.strftime("%Y-%m-%d"))


async def test_nothing_to_list_says_whom_to_ask(made: Federation) -> None:
    """A table without rows still has its columns; the talk names the next command."""
    ended = await as_user(made, "cases", "list", user="u-c03")
    assert ended.code == Exit.ANSWERED
    assert ended.out.split()[:2] == ["case", "purpose"]
    assert "next: ask an approver" in ended.err
