"""The owner's register: entered once, corrected by a new row, counted as said at the time."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import storage
from fairlead.auditlog import AuditLog
from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError, InvalidInput, Misconfigured
from fairlead.v1 import audit_pb2 as pb
from node.register import Register, RegisterDesk, RegisterFigures
from node.register.entry import Entry, Noun, check_id, day
from node.register.facts import band, furthest
from tests.figures import NOW, REGISTRY, desk_of, open_log
from tests.small_log import Clock

REPORTER = "Jansen, quay 7"
Q1 = parse_unit("2026-Q1")


@dataclass(slots=True)
class Place:
    """A register, its log and its clock."""

    folder: Path
    log: AuditLog
    clock: Clock
    desk: RegisterDesk

    def leaves(self) -> list[pb.AuditLeaf]:
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        return [pb.AuditLeaf.FromString(body) for (body,) in rows]

    async def entries(self, noun: str, **fields: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.desk.listed(noun=noun, **fields))["entries"]
        return found

    async def figure(self, cube: str, level: str, cell: str) -> tuple[int, ...]:
        """The words of one cell, as of a second from now."""
        chosen = REGISTRY.cube(cube)
        found = chosen.level(level)
        counted = await RegisterFigures(self.desk.register).count(
            chosen, found, found.cell(cell).unit, cut_off=self.clock.now + 1
        )
        cells = found.cells(found.period(found.cell(cell).unit.spelling))
        return counted.values[cells.place(found.cell(cell))]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = Clock(NOW)
    log = open_log(tmp_path, clock)
    yield Place(tmp_path, log, clock, desk_of(log, clock))
    log.close()


async def report(at: Place, /, entry: str = "R-1", **changes: Any) -> dict[str, Any]:
    """Enter a report of a broken seal at Rotterdam."""
    fields = {
        "by": "u-t01", "on": "2026-02-16", "place": "NLRTM", "event": "seal-broken",
        "shore": "sea", "modus": "rip-off",
    }  # fmt: skip
    return await at.desk.add_report(entry=entry, **{**fields, **changes})


async def enquiry(at: Place, /, entry: str = "E-1", **changes: Any) -> dict[str, Any]:
    fields = {"by": "u-t01", "on": "2026-02-18", "report": "R-1"}
    return await at.desk.open_enquiry(entry=entry, **{**fields, **changes})


async def outcome(at: Place, /, entry: str = "O-1", **changes: Any) -> dict[str, Any]:
    fields = {
        "by": "u-t01", "on": "2026-03-02", "enquiry": "E-1", "outcome": "seizure", "kg": 120,
        "exchange": "linked",
    }  # fmt: skip
    return await at.desk.add_outcome(entry=entry, **{**fields, **changes})


async def refused(act: Any) -> FairleadError:
    with pytest.raises(FairleadError) as caught:
        await act
    return caught.value


# ── Entered ──────────────────────────────────────────────────────────────────────────────────


async def test_from_a_report_to_the_figures(place: Place) -> None:
    """One report, its enquiry, a seizure and the feedback are in each cube that they belong to."""
    await report(place)
    await enquiry(place)
    await outcome(place)
    await place.desk.close_enquiry(entry="E-1", by="u-t01", on="2026-03-20")
    await place.desk.give_feedback(entry="R-1", by="u-t01", on="2026-03-21")
    figures = {
        ("reports-received", "quarter,region,kind", "2026-Q1/NL-ZH/anonymous"): (1,),
        ("displacement", "quarter,shore,event", "2026-Q1/sea/seal-broken"): (1,),
        ("modus-operandi", "quarter,modus-operandi", "2026-Q1/rip-off"): (1,),
        ("seizures", "quarter,exchange,kg-band", "2026-Q1/linked/100-1000"): (1, 120),
        ("seizures", "quarter,country", "2026-Q1/NL"): (1, 120),
        ("bribe-approaches", "quarter", "2026-Q1"): (0,),
    }
    for (cube, level, cell), words in figures.items():
        assert await place.figure(cube, level, cell) == words, cube
    due = await place.figure("report-feedback", "quarter,kind", "2026-Q1/anonymous")
    assert due == (1, 1, *(int(bar == 5) for bar in range(10)))  # 33 days: from 30 up to 60
    done = await place.figure("enquiry-outcomes", "quarter,outcome", "2026-Q1/seizure")
    assert done == (1, *(int(bar == 5) for bar in range(10)))  # 30 days
    assert await place.figure("enquiry-outcomes", "quarter,outcome", "2026-Q1/open") == (0,) * 11


async def test_the_furthest_outcome_counts_and_an_enquiry_without_one_is_open(
    place: Place,
) -> None:
    """Outcomes are entered as they come, in any order; the enquiry stands under the furthest."""
    await report(place)
    await enquiry(place)
    level = "quarter,outcome"
    assert (await place.figure("enquiry-outcomes", level, "2026-Q1/open"))[0] == 1
    for nth, code in enumerate(["measure", "substantiated"]):
        await outcome(place, f"O-{nth}", outcome=code, kg=None, exchange="")
    assert (await place.figure("enquiry-outcomes", level, "2026-Q1/measure"))[0] == 1
    assert (await place.figure("enquiry-outcomes", level, "2026-Q1/substantiated"))[0] == 0
    group = "quarter,country,outcome-group"
    assert (await place.figure("enquiry-outcomes", group, "2026-Q1/NL/with"))[0] == 1


async def test_the_same_again_changes_nothing(place: Place) -> None:
    """A list of commands may be run twice, also after a correction: no row, no leaf."""
    for expected in (True, False):
        assert (await report(place))["changed"] is expected
        assert (await enquiry(place))["changed"] is expected
        assert (await outcome(place))["changed"] is expected
        closed = await place.desk.close_enquiry(entry="E-1", by="u-t01", on="2026-03-20")
        assert closed["changed"] is expected
    await report(place, correct=True, place="BEANR")
    size = place.log.head.size
    assert (await enquiry(place))["changed"] is False
    assert (await report(place))["changed"] is False
    assert (await report(place, correct=True, place="BEANR"))["changed"] is False
    assert place.log.head.size == size == 5
    assert [(await place.entries(noun))[0]["place"] for noun in ("report", "outcome")] == [
        "BEANR", "BEANR",
    ]  # fmt: skip
    assert await place.figure("seizures", "quarter,country", "2026-Q1/BE") == (1, 120)


async def test_something_else_under_an_id_is_a_correction_or_refused(place: Place) -> None:
    """Without saying so nothing is overwritten; a correction is a new row, and back again."""
    await report(place)
    error = await refused(report(place, modus="switch"))
    assert error.code == "REGISTER_TAKEN"
    assert "--correct" in error.remedy
    await report(place, modus="switch", correct=True)
    await report(place, correct=True)
    rows = await place.entries("report", revisions=True)
    assert [(row["modus"], row["state"]) for row in rows] == [
        ("rip-off", "corrected"), ("switch", "corrected"), ("rip-off", "in force"),
    ]  # fmt: skip
    assert [row["modus"] for row in await place.entries("report")] == ["rip-off"]


async def test_a_correction_keeps_what_was_done_since(place: Place) -> None:
    """The feedback stays when the place is corrected, unless it would come before the receipt."""
    await report(place)
    await place.desk.give_feedback(entry="R-1", by="u-t01", on="2026-03-21")
    await report(place, place="BEANR", correct=True)
    (row,) = await place.entries("report")
    assert (row["place"], row["feedback"]) == ("BEANR", "2026-03-21")
    assert (await refused(report(place, on="2026-04-01", correct=True))).code == "DATE"
    again = place.desk.give_feedback(entry="R-1", by="u-t01", on="2026-03-22")
    assert (await refused(again)).code == "REGISTER_TAKEN"


async def test_what_is_withdrawn_counts_nowhere_and_stays(place: Place) -> None:
    """It can be entered anew as a correction; what something follows from is withdrawn last."""
    await report(place)
    await enquiry(place)
    withdraw = place.desk.withdraw
    assert (await refused(withdraw(noun="report", entry="R-1", by="u-t01"))).code == (
        "REGISTER_FOLLOWED"
    )
    for noun, entry in (("enquiry", "E-1"), ("report", "R-1"), ("report", "R-1")):
        await withdraw(noun=noun, entry=entry, by="u-t01")
    assert await place.figure("reports-received", "quarter", "2026-Q1") == (0,)
    assert [row["state"] for row in await place.entries("report", revisions=True)] == [
        "corrected", "withdrawn",
    ]  # fmt: skip
    assert (await refused(report(place))).code == "REGISTER_TAKEN"
    assert (await refused(enquiry(place, correct=True))).code == "REGISTER_UNKNOWN"
    await report(place, correct=True)
    assert await place.figure("reports-received", "quarter", "2026-Q1") == (1,)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"entry": "Jan Jansen"}, "REGISTER_ID"),
        ({"by": "Jan Jansen"}, "CODE"),
        ({"on": "16-02-2026"}, "DATE"),
        ({"on": "2026-12-01"}, "DATE"),
        ({"happened": "yesterday"}, "DATE"),
        ({"kind": "gossip"}, "REGISTER_CODE"),
        ({"place": "Rotterdam"}, "REGISTER_CODE"),
        ({"event": "explosion"}, "REGISTER_CODE"),
        ({"modus": "teleport"}, "REGISTER_CODE"),
        ({"commodity": "999999"}, "REGISTER_CODE"),
        ({"place": "NL"}, "REGISTER_INCOMPLETE"),
        ({"place": ""}, "REGISTER_INCOMPLETE"),
        ({"shore": ""}, "REGISTER_INCOMPLETE"),
        ({"event": "bribe-approach"}, "REGISTER_INCOMPLETE"),
        ({"reporter": REPORTER}, "REGISTER_REPORTER"),
        ({"kind": "named", "reporter": "x" * 201}, "REGISTER_REPORTER"),
    ],
    ids=str,
)
async def test_a_report_that_no_cube_could_count_is_refused(
    place: Place, changes: dict[str, Any], code: str
) -> None:
    """Misspelt, unknown to the registry, or without a code that a cube needs: nothing is kept."""
    error = await refused(report(place, **changes))
    assert error.code == code
    assert isinstance(error, InvalidInput)
    assert error.remedy or code == "CODE"
    assert place.log.head.size == 0
    assert REPORTER not in error.diagnostics()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"place": "rotterdam"}, "NLRTM (Rotterdam)"),
        ({"place": "NLRTN"}, "NLRTM (Rotterdam)"),
        ({"event": "seal-brokn"}, "seal-broken"),
        ({"event": "explosion"}, "gate-in  gate-out"),
    ],
    ids=str,
)
async def test_an_unknown_code_is_answered_with_those_that_resemble_it(
    place: Place, changes: dict[str, Any], named: str
) -> None:
    """By its spelling or by its name, at any step; the words that were typed are not repeated."""
    error = await refused(report(place, **changes))
    assert named in error.remedy
    (typed,) = changes.values()
    assert typed not in error.diagnostics()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"outcome": "open"}, "REGISTER_CODE"),
        ({"outcome": "nothing"}, "REGISTER_CODE"),
        ({"kg": None}, "REGISTER_INCOMPLETE"),
        ({"kg": 10**9}, "REGISTER_KG"),
        ({"exchange": ""}, "REGISTER_INCOMPLETE"),
        ({"enquiry": "E-2"}, "REGISTER_UNKNOWN"),
        ({"on": "2026-02-17"}, "DATE"),
    ],
    ids=str,
)
async def test_an_outcome_that_cannot_be_is_refused(
    place: Place, changes: dict[str, Any], code: str
) -> None:
    """It follows an enquiry, comes no earlier, and a seizure says its weight and what preceded."""
    await report(place)
    await enquiry(place)
    assert (await refused(outcome(place, **changes))).code == code


async def test_what_follows_nothing_is_refused(place: Place) -> None:
    """An enquiry of no report that is there, one closed without an outcome or before it opened."""
    assert (await refused(enquiry(place))).code == "REGISTER_UNKNOWN"
    await enquiry(place, report="", place="NLRTM")
    close = place.desk.close_enquiry
    assert (await refused(close(entry="E-1", by="u-t01", on="2026-03-20"))).code == (
        "REGISTER_NO_OUTCOME"
    )
    await outcome(place, outcome="unsubstantiated", kg=None, exchange="")
    assert (await refused(close(entry="E-1", by="u-t01", on="2026-02-17"))).code == "DATE"
    assert (await refused(place.desk.listed(noun="person"))).code == "REGISTER_NOUN"


# ── Kept ─────────────────────────────────────────────────────────────────────────────────────


async def test_each_act_is_a_leaf_that_shows_nothing_of_it(place: Place) -> None:
    """The log says who entered something, and binds the rows; no id, code, day or noun is there."""
    await report(place, "R-2026-017", kind="named", reporter=REPORTER)
    await report(place, "R-2026-017", kind="named", modus="switch", correct=True)
    await place.desk.withdraw(noun="report", entry="R-2026-017", by="u-t02")
    leaves = place.leaves()
    assert [(leaf.subject, leaf.user) for leaf in leaves] == [
        ("register-recorded", "u-t01"), ("reporter-kept", "u-t01"),
        ("register-corrected", "u-t01"), ("register-withdrawn", "u-t02"),
    ]  # fmt: skip
    for leaf in leaves:
        said = leaf.SerializeToString()
        assert not any(word in said for word in (b"R-2026-017", b"NLRTM", b"rip-off"))
    assert len({leaf.detail_digest for leaf in leaves}) == 4


async def test_rows_are_neither_changed_nor_deleted(place: Place) -> None:
    """The file itself refuses, and a row moved to another time or place does not open."""
    await report(place)
    await report(place, "R-2", place="BEANR")
    path = place.folder / "audit.sqlite"
    place.log.close()
    with sqlite3.connect(path) as file:
        for statement in ("UPDATE register SET recorded_ms = 0", "DELETE FROM register"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                file.execute(statement)
        file.execute("DROP TRIGGER register_never_changes")
        file.execute("UPDATE register SET recorded_ms = recorded_ms - 1 WHERE number = 2")
    file.close()
    log = open_log(place.folder, place.clock)
    with pytest.raises(Misconfigured):
        desk_of(log, place.clock).register.rows()
    log.close()
    place.log = open_log(place.folder, place.clock)


async def test_a_register_is_read_again_and_by_its_key_alone(place: Place) -> None:
    """After a restart it says the same; under another key it opens for nobody."""
    await report(place)
    rows = place.desk.register.rows()
    leaves = place.desk.register._leaves
    again = Register(place.log, leaves, key=bytes(32), clock=place.clock)
    assert again.rows() == rows
    with pytest.raises(Misconfigured):
        Register(place.log, leaves, key=bytes([1]) * 32, clock=place.clock).rows()


async def test_who_made_a_report_is_replaced_by_a_correction_alone(place: Place) -> None:
    """Another name under the same id is refused, and each comparison is on the record: whoever
    guesses reads."""
    await report(place, "R-2026-017", kind="named", reporter=REPORTER)
    other = report(place, "R-2026-017", kind="named", reporter="somebody else")
    assert (await refused(other)).code == "REGISTER_TAKEN"
    assert place.leaves()[-1].subject == "reporter-read"
    await report(place, "R-2026-017", kind="named", reporter=REPORTER)
    assert place.leaves()[-1].subject == "reporter-read"
    await report(place, "R-2026-017", kind="named", reporter="somebody else", correct=True)
    looked = await place.desk.reporter(entry="R-2026-017", by="u-t03")
    assert looked["reporter"] == "somebody else"


async def test_who_made_a_report_is_in_no_file_in_clear_and_can_be_forgotten(
    place: Place,
) -> None:
    """A name is shown to who asks for it, on the record; forgotten, it is gone, and the report
    and the figures stay."""
    await report(place, "R-2026-017", kind="confidential", reporter=REPORTER)
    assert REPORTER not in str(await place.entries("report", revisions=True))
    looked = await place.desk.reporter(entry="R-2026-017", by="u-t03")
    assert looked["reporter"] == REPORTER
    assert place.leaves()[-1].subject == "reporter-read"
    assert place.leaves()[-1].user == "u-t03"
    before = await place.figure("reports-received", "quarter", "2026-Q1")
    await place.desk.reporter(entry="R-2026-017", by="u-t03", forget=True)
    assert (await place.desk.reporter(entry="R-2026-017", by="u-t03"))["reporter"] is None
    assert await place.figure("reports-received", "quarter", "2026-Q1") == before == (1,)
    unknown = place.desk.reporter(entry="R-2", by="u-t03")
    assert (await refused(unknown)).code == "REGISTER_UNKNOWN"
    octets = b"".join(path.read_bytes() for path in place.folder.iterdir())
    assert REPORTER.encode() not in octets
    assert b"NLRTM" not in octets
    assert b"R-2026-017" not in octets


async def test_a_clock_that_steps_back_changes_no_figure_of_before(place: Place) -> None:
    """Rows are recorded in their order, whatever the clock says."""
    await report(place)
    cut_off = place.clock.now
    place.clock.now -= 7 * 86_400
    await report(place, "R-2")
    figures = RegisterFigures(place.desk.register)
    cube = REGISTRY.cube("reports-received")
    level = cube.level("quarter")
    for until, count in ((cut_off, 1), (cut_off + 1, 2)):
        found = await figures.count(cube, level, Q1, cut_off=until)
        assert found.values == ((count,),)


async def test_a_full_disk_leaves_no_half_of_an_act(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the leaf cannot be written, the row is not there, nor believed to be."""

    async def fail(*_: object, **__: object) -> None:
        raise storage.unusable()

    monkeypatch.setattr(place.log, "append", fail)
    with pytest.raises(Misconfigured):
        await report(place)
    monkeypatch.undo()
    assert await place.entries("report") == []
    assert (await report(place))["changed"] is True


# ── Words ────────────────────────────────────────────────────────────────────────────────────


@given(st.text(max_size=12) | st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]\Z"))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_day_or_refused(text: str) -> None:
    """A day is read as it is spelled, and nothing that is only like it."""
    try:
        found = day(text, now=NOW)
    except InvalidInput:
        return
    assert found.isoformat() == text
    assert dt.date(2000, 1, 1) <= found <= dt.date(2026, 11, 2)


@given(st.text(max_size=70))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_id_or_refused(text: str) -> None:
    """No blank and no control character is in an id."""
    try:
        check_id(text)
    except InvalidInput:
        return
    assert text.isascii()
    assert not set(text) & set(" \n\t")


@given(
    st.builds(
        Entry,
        noun=st.sampled_from(Noun),
        id=st.just("R-1"),
        on=st.dates(),
        done=st.none() | st.dates(),
        happened=st.none() | st.dates(),
        due=st.booleans(),
        of=st.text(max_size=5),
        kg=st.none() | st.integers(0, 10**7),
        withdrawn=st.booleans(),
        codes=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    )
)
@settings(max_examples=100, deadline=None)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    """Whatever an entry says survives the file."""
    assert Entry.from_octets(entry.to_octets()) == entry


def test_bands_follow_from_the_codes_of_the_registry() -> None:
    """A band has its lower end and not its upper; a dimension that spells none has no band."""
    dimensions = {dimension.id: dimension for dimension in REGISTRY.dimensions}
    weight = dimensions["weight"]
    expected = {0: "below-10", 9: "below-10", 10: "10-100", 99: "10-100", 100: "100-1000",
                999: "100-1000", 1000: "from-1000", 10**6: "from-1000"}  # fmt: skip
    assert {kg: band(weight, kg) for kg in expected} == expected
    assert band(dimensions["staff"], 249) == "50-249"
    assert band(dimensions["outcome"], 5) == ""
    assert furthest(dimensions["outcome"], ["measure", "gone"]) == "gone"


async def test_many_are_entered_in_one_act_all_or_none(place: Place) -> None:
    """A system's entries become one leaf; one that cannot be counted keeps all of them out."""
    on = dt.date(2026, 2, 16)
    codes = {"place": "NLRTM", "report-kind": "system"}
    reports = [Entry(noun=Noun.REPORT, id=f"S-{n}", on=on, codes=codes) for n in range(50)]
    follows = Entry(noun=Noun.ENQUIRY, id="E-1", on=on, of="S-7")
    wrong = Entry(noun=Noun.REPORT, id="S-99", on=on, codes={"place": "NLRTM"})
    assert (await refused(place.desk.take([*reports, wrong], by="u-t01"))).code == (
        "REGISTER_INCOMPLETE"
    )
    lost = Entry(noun=Noun.ENQUIRY, id="E-2", on=on, of="S-99")
    assert (await refused(place.desk.take([lost], by="u-t01"))).code == "REGISTER_UNKNOWN"
    assert place.log.head.size == 0
    assert await place.desk.take([*reports, follows], by="u-t01") == 51
    assert await place.desk.take([*reports, follows], by="u-t01") == 0
    assert place.log.head.size == 1
    assert await place.figure("reports-received", "quarter,kind", "2026-Q1/system") == (50,)
    assert (await place.figure("enquiry-outcomes", "quarter,country", "2026-Q1/NL"))[0] == 1
    other = Entry(noun=Noun.REPORT, id="S-1", on=on, codes={**codes, "place": "BEANR"})
    assert (await refused(place.desk.take([other], by="u-t01"))).code == "REGISTER_TAKEN"
