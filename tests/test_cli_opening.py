"""``fairlead audit open`` and ``search``, ``fairlead-oversight share``: from desk to desk."""

from __future__ import annotations

import asyncio
import time

import pytest

from certs.dev.lists import deny
from fairlead.auditlog import verify_log
from fairlead.cli.output import Exit
from fairlead.cli.oversight import app as oversight_app
from fairlead.detail import open_share
from fairlead.errors import Refused
from fairlead.opening import share
from fairlead.signing import load_signing_key, public_bytes
from fairlead.v1.audit_pb2 import LEAF_TYPE_ALARM as ALARM
from fairlead.v1.audit_pb2 import LEAF_TYPE_OPENING as OPENING
from tests.desks import WHY, Desks, asked_twice, leaves_of, typed
from tests.federation import CASE, OTHER, STORY
from tests.openings import AUDITOR


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Desks:
    """A federation that asked twice, and is closed."""
    return asyncio.run(asked_twice(tmp_path_factory.mktemp("openings")))


def test_a_leaf_of_the_gateways_log_is_opened_by_two_of_three(desks: Desks) -> None:
    """The auditor asks, two oversights decide, and every signed part of the query follows."""
    to = desks.folder / "one"
    log = ("--log", str(desks.gateway_log))
    made = desks.audit("open", desks.query, *log, *WHY, "--to", str(to))
    assert made.code == Exit.ANSWERED, made.err
    request = to / "request.opening"
    shown = desks.share("customs", request)
    assert shown.json[0]["ground"] == "court-order"
    assert shown.json[0]["terms"] == "1"
    assert shown.json[0]["auditor"] == "police/user/u-p09"
    assert shown.json[0]["proved_by"] == "gateway/gw-1, cosigned by a quorum of directory 1"
    assert not list(to.glob("*.shares"))
    options = desks.shares(request, "customs", "terminal-north")
    opened = desks.audit("open", str(request), *options, "--output", "json")
    assert opened.code == Exit.ANSWERED, opened.err
    found = opened.json
    assert [(term["scheme"], term["term"]) for term in found["terms"]] == [("container", STORY)]
    assert found["query"]["case"] == CASE
    assert {part["result"] for part in found["parts"]} == {"recomputed"}
    assert len(found["parts"]) == 10
    table = desks.audit("open", str(request), *options)
    assert STORY in table.out


def test_what_was_done_is_on_the_record_of_everybody(desks: Desks) -> None:
    """OPENING leaves with ground and auditor: in each oversight's log, and in the auditor's."""
    oversight = desks.folder / "oversights" / "customs"
    leaves = leaves_of(oversight / "state" / "audit.sqlite", OPENING)
    assert [leaf.subject for leaf in leaves] == ["shares-released"]
    assert leaves[0].legal_basis == "court-order"
    assert leaves[0].user.endswith("/partner/police/user/u-p09")
    assert list(leaves[0].approvers) == ["u-o01"]
    assert leaves[0].query_id.hex() == desks.query
    folder = desks.made.folder / "profiles" / AUDITOR[1] / "openings"
    subjects = [leaf.subject for leaf in leaves_of(folder / "audit.sqlite", OPENING)]
    assert subjects[:3] == ["opening-asked", "detail-opened", "detail-opened"]
    verify_log(
        folder / "audit.sqlite", origin="fairlead.demo/partner/police/auditor",
        public_key=public_bytes(load_signing_key(folder / "log.key")),
    )  # fmt: skip


def test_a_receipt_alone_is_enough_to_open_a_query(desks: Desks) -> None:
    """What the asker keeps holds the leaf, its proof and the sealed detail."""
    to = desks.folder / "receipt"
    words = ("--receipt", str(desks.receipt), *WHY, "--to", str(to))
    made = desks.audit("open", desks.query, *words)
    assert made.code == Exit.ANSWERED, made.err
    request = to / "request.opening"
    assert "no quorum has cosigned" in made.err
    # Its head is as young as the query: an officer has to say that the gateway's word is enough.
    refused = desks.share("customs", request, "--by", "u-o01", "--to", str(to / "none"))
    assert (refused.code, (to / "none").exists()) == (Exit.REFUSED, False)
    assert "HEAD_UNWITNESSED" in refused.err
    assert refused.json[0]["proved_by"] == "gateway/gw-1 alone"
    options = desks.shares(request, "customs", "police", more=["--unwitnessed"])
    opened = desks.audit("open", str(to / "request.opening"), *options, "--output", "json")
    assert (opened.code, opened.json["terms"][0]["term"]) == (Exit.ANSWERED, STORY)


def test_one_share_opens_nothing_and_a_broken_file_is_left_out(desks: Desks) -> None:
    """Too few is refused; a file that is none is said, and the others suffice."""
    to = desks.folder / "few"
    log = ("--log", str(desks.gateway_log))
    desks.audit("open", desks.query, *log, *WHY, "--to", str(to))
    request = to / "request.opening"
    one = desks.shares(request, "customs")
    refused = desks.audit("open", str(request), *one)
    assert (refused.code, refused.out) == (Exit.REFUSED, "")
    assert "SHARES_TOO_FEW" in refused.err
    broken = to / "broken.shares"
    broken.write_bytes(b"\xff" * 100)
    two = [*one, *desks.shares(request, "police"), "--share", str(broken)]
    opened = desks.audit("open", str(request), *two, "--output", "json")
    assert opened.code == Exit.CHECK_FAILED
    assert opened.json["terms"][0]["term"] == STORY
    assert "broken.shares: left out" in opened.err


def test_a_member_that_releases_another_share_is_named(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' shares open the detail, the exit code says that something is wrong, and an ALARM
    in the auditor's log says whose share it was."""
    to = desks.folder / "liar"
    desks.audit("open", desks.query, "--log", str(desks.gateway_log), *WHY, "--to", str(to))
    request = to / "request.opening"
    honest = desks.shares(request, "customs", "terminal-north")
    with monkeypatch.context() as lying:
        lying.setattr(share, "open_share", lambda *given: open_share(*given)[:1] + bytes(32))
        options = [*honest, *desks.shares(request, "police")]
    opened = desks.audit("open", str(request), *options, "--output", "json")
    assert (opened.code, opened.json["terms"][0]["term"]) == (Exit.CHECK_FAILED, STORY)
    assert "INCIDENT: the oversight of police released a share" in opened.err
    folder = desks.made.folder / "profiles" / AUDITOR[1] / "openings"
    alarm = leaves_of(folder / "audit.sqlite", ALARM)[-1]
    assert (alarm.partner_id, list(alarm.reasons)) == ("police", ["SHARES_WRONG"])


def test_what_cannot_be_put_on_the_record_is_not_shown(desks: Desks) -> None:
    """With a log that cannot be written nothing is opened, whoever released a share."""
    to = desks.folder / "unrecorded"
    desks.audit("open", desks.query, "--log", str(desks.gateway_log), *WHY, "--to", str(to))
    request = to / "request.opening"
    options = desks.shares(request, "customs", "police")
    in_the_way, damaged = desks.folder / "in-the-way", desks.folder / "damaged"
    in_the_way.write_text("a file")
    damaged.mkdir()
    (damaged / "audit.sqlite").write_bytes(b"no database" * 99)
    for folder in (in_the_way, damaged):
        ended = desks.audit("open", str(request), *options, "--record", str(folder))
        assert (ended.code, ended.out) == (Exit.CONFIGURATION, "")


def test_a_search_shows_leaves_about_its_subject_alone(desks: Desks) -> None:
    """In an owner's log: who asked about a container, and whether it may be told; of the other leaf
    nothing, neither on a screen nor in the auditor's files."""
    to = desks.folder / "search"
    log = ("--log", str(desks.node_log("terminal-north")), "--period", "1d..0d")
    made = desks.audit("search", "--subject", STORY, *log, *WHY, "--to", str(to))
    assert made.code == Exit.ANSWERED, made.err
    request = to / "request.opening"
    shown = desks.share("police", request)
    (record,) = shown.json
    assert (record["leaves"], record["filtered_by"]) == (2, "customs")
    assert record["asked_by"] == "customs/user/u-c01"
    assert STORY not in shown.out
    options = desks.shares(request, "police")
    filtered = desks.filter("customs", request, *options)
    assert filtered.code == Exit.ANSWERED, filtered.err
    assert STORY not in filtered.out + filtered.err
    found = desks.audit(
        "search", str(request), "--found", str(to / "request.found"), "--output", "json"
    )
    assert found.code == Exit.ANSWERED, found.err
    (row,) = found.json
    assert (row["term"], row["by"]) == (STORY, "customs/user/u-c01")
    assert row["notice"]
    assert OTHER not in found.out + found.err
    assert "1 of 2 leaves" in found.err
    # Whoever decided keeps what it decided about; its leaf names that.
    for partner, subject in (("police", "shares-released"), ("customs", "details-searched")):
        state = desks.folder / "oversights" / partner / "state"
        leaf = leaves_of(state / "audit.sqlite", OPENING)[-1]
        assert (leaf.subject, leaf.opened_count) == (subject, 2)
        kept = state / "requests" / f"{leaf.request_digest.hex()}.opening"
        assert kept.read_bytes() == request.read_bytes()


def test_a_leaf_that_came_out_and_does_not_open_ends_no_search(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, with its reason, and the command goes on to whatever else came out."""
    to = desks.folder / "unopened"
    log = ("--log", str(desks.gateway_log), "--period", "1d..0d")
    desks.audit("search", "--subject", STORY, *log, *WHY, "--to", str(to))
    request = to / "request.opening"
    desks.filter("customs", request, *desks.shares(request, "terminal-north"))

    def refusing(*_: object) -> None:
        raise Refused("too few", reasons=("SHARES_TOO_FEW",))

    monkeypatch.setattr("fairlead.opening.opened.open_leaf", refusing)
    ended = desks.audit("search", str(request), "--found", str(to / "request.found"))
    assert ended.code == Exit.CHECK_FAILED
    assert "came out and could not be opened: " in ended.err
    assert "0 of 2 leaves are about the subject" in ended.err


def test_a_log_that_was_asked_blind_is_said_to_answer_nothing(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves without terms are counted, the gateway's log is named, and the exit code is no yes."""
    to = desks.folder / "blind"
    log = ("--log", str(desks.node_log("terminal-north")), "--period", "1d..0d")
    desks.audit("search", "--subject", "MSCU6693871", *log, *WHY, "--to", str(to))
    request = to / "request.opening"
    with monkeypatch.context() as blind:
        blind.setattr("fairlead.opening.opened.Opened.blind", True)
        desks.filter("customs", request, *desks.shares(request, "police"))
    ended = desks.audit("search", str(request), "--found", str(to / "request.found"))
    assert ended.code == Exit.CHECK_FAILED
    assert "2 of 2 leaves were asked blind" in ended.err
    assert "search the gateway's log" in ended.err


def test_a_search_with_too_few_shares_says_what_it_could_not_read(desks: Desks) -> None:
    """Nothing comes out, and each leaf is named to the auditor: it may be about the subject."""
    to = desks.folder / "alone"
    log = ("--log", str(desks.node_log("terminal-north")), "--period", "1d..0d")
    desks.audit("search", "--subject", STORY, *log, *WHY, "--to", str(to))
    request = to / "request.opening"
    filtered = desks.filter("customs", request)
    assert (filtered.code, "SHARES_TOO_FEW -: 2" in filtered.err) == (Exit.CHECK_FAILED, True)
    ended = desks.audit("search", str(request), "--found", str(to / "request.found"))
    assert ended.code == Exit.CHECK_FAILED
    assert ended.err.count("may be about the subject, and was not read: SHARES_TOO_FEW") == 2
    for words in (("share", "customs"), ("search", "police")):
        settings = ("--config", str(desks.oversight(words[1])), "--by", "u-o01")
        more = ("--details", str(to / "request.details")) if words[0] == "search" else ()
        wrong = typed(oversight_app, words[0], str(request), *settings, *more)
        assert "OPENING_SEARCHER" in wrong.err


def test_an_auditor_who_was_denied_gets_no_share(desks: Desks) -> None:
    """A certificate in force, of somebody whose own authority has withdrawn the trust."""
    to = desks.folder / "denied"
    desks.audit("open", desks.query, "--log", str(desks.gateway_log), *WHY, "--to", str(to))
    layout = desks.made.layout
    before = layout.deny_lists.read_bytes()
    denied = f"spiffe://fairlead.demo/partner/{AUDITOR[0]}/user/{AUDITOR[1]}"
    deny(layout, [denied], serial=2, now=time.time())
    try:
        refused = desks.share("customs", to / "request.opening")
    finally:
        layout.deny_lists.write_bytes(before)
    assert (refused.out, "DENIED" in refused.err) == ("", True)
    assert desks.share("customs", to / "request.opening").code == Exit.ANSWERED  # the control


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("open", "00" * 16), "OPENING_INCOMPLETE"),
        (("open", "zz"), "QUERY_ID"),
        (("search",), "OPENING_INCOMPLETE"),
        (("search", "--subject", STORY, "--log", "x", "--period", "1d"), "TIME"),
        (("open", "x", "--share", "y"), "OPENING_FILE"),
    ],
)
def test_an_incomplete_command_says_what_is_missing(
    desks: Desks, words: tuple[str, ...], reason: str
) -> None:
    """Nothing is made, and the next command is named."""
    ended = desks.audit(*words)
    assert ended.code == Exit.USAGE
    assert reason in ended.err
    assert "next:" in ended.err


def test_an_analyst_cannot_ask_for_an_opening(desks: Desks) -> None:
    """Only a user with the role auditor signs a request that a member takes."""
    words = (desks.query, "--log", str(desks.gateway_log), *WHY, "--to", str(desks.folder / "no"))
    ended = desks.audit("open", *words, who=("customs", "u-c01"))
    assert ended.code == Exit.REFUSED
    assert "AUDITOR_ROLE" in ended.err
    assert not (desks.folder / "no").exists()


def test_a_query_that_is_not_in_the_log_is_said_so(desks: Desks) -> None:
    """Nothing is asked of anybody."""
    words = ("00" * 16, "--log", str(desks.gateway_log), *WHY)
    ended = desks.audit("open", *words, "--to", str(desks.folder / "none"))
    assert (ended.code, "NO_SUCH_LEAF" in ended.err) == (Exit.USAGE, True)
