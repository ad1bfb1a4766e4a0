"""What is kept whatever its age: whole queries that are held, evidence, the log's own acts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead import errors, signing
from fairlead.retention import holds, survey
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import erasure_pb2
from tests.audited import Shelf, shelf
from tests.erased import RETENTION, Desk, aged, asked, closed, let_out


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Shelf]:
    with shelf(tmp_path) as found:
        yield found


@pytest.fixture
def desk(made: Shelf) -> Desk:
    return Desk(made.open(made.place()))


async def hold(desk: Desk, leaf_class: str = "", **selection: object) -> None:
    request = erasure_pb2.HoldRequest(
        selection=pb.LeafSelection(**selection),  # type: ignore[arg-type]
        leaf_class=leaf_class, reference="ROT 26/417", by="u-o-1",
    )  # fmt: skip
    await desk.eraser.hold(request)


@pytest.mark.parametrize(
    "selection",
    [
        {"partners": ["police"]},  # who answered stands in the RELEASE alone
        {"since_ms": aged(299), "until_ms": aged(297)},  # the OUTCOME alone is of these days
        {"types": [pb.LEAF_TYPE_OUTCOME]},
    ],
)
async def test_a_hold_that_selects_a_later_leaf_keeps_the_whole_query(
    desk: Desk, selection: dict[str, object]
) -> None:
    """The INTENT and its detail stay, though what the hold names stands in leaves after it."""
    await desk.fill([asked(1, "terminal", 301), let_out([1], 300), closed(1, "terminal", 298)])
    await hold(desk, **selection)
    with pytest.raises(errors.NotFound):
        await desk.erase("private", 150)
    assert desk.gone() == set()


async def test_a_hold_of_one_class_keeps_no_query_of_another(desk: Desk) -> None:
    """By partner and class: the company's query stays, the authority's goes in its time."""
    await desk.fill(
        [asked(1, "terminal", 1_200), asked(2, "police", 1_200), let_out([1, 2], 1_199)]
    )
    await hold(desk, "private", partners=["police"])
    with pytest.raises(errors.NotFound):
        await desk.erase("private", 1_100)
    assert await desk.erase("national", 1_100) == 1
    assert desk.gone() == {2}


async def test_an_edited_reference_is_not_shown(made: Shelf) -> None:
    """The hold's leaf commits to it: what somebody wrote in its place opens no commitment."""
    place = made.place()
    desk = Desk(made.open(place))
    await desk.fill([])
    await hold(desk, partners=["police"])
    (before,) = holds(desk.log.read, desk.log.head.size)
    assert before.reference == "ROT 26/417"
    ((kept,),) = made.query(place, "SELECT reference FROM legal_hold")
    for edited in (kept.replace("417", "418"), "ROT 26/417", ""):
        made.change(place, ("UPDATE legal_hold SET reference = ?", (edited,)))
        (found,) = holds(desk.log.read, desk.log.head.size)
        assert (found.hold_id, found.reference) == (before.hold_id, "")


async def test_what_auditors_read_and_who_cheated_stays(desk: Desk) -> None:
    """A READ leaf says what was done with the log, and an alarm of a forked directory is evidence
    without any head; an alarm of other codes is neither."""
    old = {"time_ms": aged(9_000), "log": "gateway/main"}
    leaves = [
        pb.AuditLeaf(type=pb.LEAF_TYPE_READ, subject="audit-listed", **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_ALARM, reasons=["DIRECTORY_FORK"], **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_ALARM, reasons=["ACTIVE_TARGET"], **old),
    ]
    await desk.fill([(signing.canonical(leaf), b"") for leaf in leaves])
    found = survey(desk.log.read, desk.log.head.size, RETENTION, [])
    assert [place.index for place in found] == [3]
