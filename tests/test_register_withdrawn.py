"""The register where two act at once, and where a reporter is to be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.errors import FairleadError
from tests.figures import NOW, desk_of, open_log
from tests.small_log import Clock
from tests.test_register import REPORTER, Place, enquiry, outcome, report


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = Clock(NOW)
    log = open_log(tmp_path, clock)
    yield Place(tmp_path, log, clock, desk_of(log, clock))
    log.close()


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
