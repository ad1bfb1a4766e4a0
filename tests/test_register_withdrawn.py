"""The register where two act at once, and where a reporter is to be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.errors import FairleadError, Stale
from tests.federation import federation
from tests.figures import NOW, desk_of, open_log
from tests.small_log import Clock
from tests.test_register import REPORTER, Place, enquiry, outcome, report


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = Clock(NOW)
    log = open_log(tmp_path, clock)
    yield Place(tmp_path, log, clock, desk_of(log, clock))
    log.close()


async def test_nothing_is_entered_by_a_clock_that_is_wrong(place: Place) -> None:
    """A row of a clock that is ahead, and every later one, would count nowhere until then."""

    def check() -> None:
        if place.clock.now > NOW:
            raise Stale("the clocks differ", reasons=("CLOCK_SKEW",))

    place.desk.register.check_clock = check
    place.clock.now = NOW + 400 * 86_400
    with pytest.raises(Stale):
        await report(place)
    place.clock.now = NOW
    assert place.leaves() == []
    await report(place)
    place.clock.now = NOW - 1
    assert await place.figure("reports-received", "quarter,country", "2026-Q1/NL") == (1,)


async def both(*acts: Any) -> list[str]:
    """What became of two acts at once: a code where one was refused."""
    found = await asyncio.gather(*acts, return_exceptions=True)
    return [one.code if isinstance(one, FairleadError) else "" for one in found]


async def test_nothing_follows_what_is_withdrawn_meanwhile(place: Place) -> None:
    """Whoever comes second is refused, whichever of the two it is."""
    await report(place)
    codes = await both(place.desk.withdraw(noun="report", entry="R-1", by="u-t01"), enquiry(place))
    assert codes == ["", "REGISTER_UNKNOWN"]
    await report(place, "R-2")
    await enquiry(place, "E-2", report="R-2")
    codes = await both(
        place.desk.withdraw(noun="enquiry", entry="E-2", by="u-t01"),
        outcome(place, enquiry="E-2"),
    )
    assert codes == ["", "REGISTER_UNKNOWN"]


async def test_no_enquiry_is_closed_whose_outcome_is_withdrawn_meanwhile(place: Place) -> None:
    """A closed enquiry says what came of it, also where two act at once."""
    await report(place)
    await enquiry(place)
    await outcome(place)
    codes = await both(
        place.desk.withdraw(noun="outcome", entry="O-1", by="u-t01"),
        place.desk.close_enquiry(entry="E-1", by="u-t01", on="2026-03-20"),
    )
    assert codes == ["", "REGISTER_NO_OUTCOME"]


async def test_who_made_a_report_that_was_withdrawn_can_be_forgotten(place: Place) -> None:
    """The name is deleted, with its leaf; nobody reads it any more."""
    await report(place, kind="partner", reporter=REPORTER)
    await place.desk.withdraw(noun="report", entry="R-1", by="u-t01")
    assert place.desk.register.has_reporter("R-1")
    said = await place.desk.reporter(entry="R-1", by="u-t01", forget=True)
    assert said == {"id": "R-1", "reporter": None}
    assert not place.desk.register.has_reporter("R-1")
    assert place.leaves()[-1].subject == "reporter-forgotten"


async def test_a_report_that_is_corrected_to_anonymous_names_nobody(place: Place) -> None:
    """What was kept beside it goes, on the record; without a name there is no such leaf."""
    await report(place, kind="partner", reporter=REPORTER)
    await report(place, kind="anonymous", correct=True)
    assert (await place.desk.reporter(entry="R-1", by="u-t01"))["reporter"] is None
    subjects = [leaf.subject for leaf in place.leaves()]
    assert subjects[-3:] == ["register-corrected", "reporter-forgotten", "reporter-read"]
    await report(place, modus="", event="", correct=True)
    assert place.leaves()[-1].subject == "register-corrected"


async def test_a_running_node_compares_its_clock_with_the_gateways(tmp_path: Path) -> None:
    """Before anything is entered; a node that hears no gateway takes its own."""
    async with federation(tmp_path, partners=("customs",), records={}, start=False) as made:
        node = await made.start_node("customs")
        desk = node.steering.register
        assert (await desk.listed(noun="report"))["entries"] == []
        node.following.skew_s = 200
        with pytest.raises(Stale) as caught:
            await desk.add_report(
                entry="R-1", by="u-t01", on="2026-02-16", place="NLRTM", event="seal-broken",
                shore="sea", modus="rip-off",
            )  # fmt: skip
        assert caught.value.code == "CLOCK_SKEW"
        assert (await desk.listed(noun="report"))["entries"] == []


async def test_an_outcome_that_an_enquiry_was_closed_with_does_not_move(place: Place) -> None:
    """A closed enquiry says what came of it, also after a correction; with a second one it may."""
    await report(place)
    for entry in ("E-1", "E-2"):
        await enquiry(place, entry)
    await outcome(place)
    await place.desk.close_enquiry(entry="E-1", by="u-t01", on="2026-03-20")
    with pytest.raises(FairleadError) as caught:
        await outcome(place, enquiry="E-2", correct=True)
    assert caught.value.code == "REGISTER_FOLLOWED"
    await outcome(place, kg=130, correct=True)
    await outcome(place, "O-2")
    assert (await outcome(place, enquiry="E-2", correct=True))["changed"]
