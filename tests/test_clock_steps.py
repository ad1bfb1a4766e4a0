"""A clock that steps by five minutes: what is proved rests on places, and on no time."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from fairlead import receipts
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2
from tests.audited import Shelf, now, verify
from tests.walks import make_world
from tests.witnessing import Clock, Town, Wires, desk, opened

STEPS = (0, 300, -300, -300, 300, 600)
"""Seconds, each from the one before."""


async def test_leaves_stand_as_they_were_appended(logs: Shelf) -> None:
    """Forth and back, also across a restart: the order is that of the appends, each head extends
    the one before, and each leaf has the time that its clock showed."""
    place, moments, heads = logs.place(), [now() + at for at in accumulate(STEPS)], []
    for moment in moments:
        log = logs.open(place, clock=lambda moment=moment: moment)
        leaves = LeafWriter(log="gateway/main", clock=lambda moment=moment: moment)
        for _ in range(2):
            await log.append(leaves.decision("decisions-read", user="u-sec01"))
        heads.append(log.head)
        log.close()
    assert verify(place, tuple(heads)).size == 2 * len(STEPS)
    bodies = logs.query(place, "SELECT body FROM leaf ORDER BY idx")
    times = [audit_pb2.AuditLeaf.FromString(body).time_ms / 1000 for (body,) in bodies]
    assert times[::2] == times[1::2] == moments


async def test_a_quorum_forms_whatever_the_clocks_show(tmp_path: Path) -> None:
    """The gateway's clock and two witnesses' step apart: each round is cosigned by all, no quorum
    is late, and the newest note, not the latest time, is what covers a query."""
    town = Town.of(make_world(tmp_path / "keys"), 4)
    wires, clock = Wires(town), Clock()
    with desk(tmp_path / "gateway", town, wires, clock) as made, ExitStack() as stack:
        back = Clock()
        for number, partner in enumerate(sorted(town.keys)):
            place = stack.enter_context(opened(tmp_path / partner, town, partner))
            place.witness._clock = back if number % 2 else clock
            await place.witness.open()
            wires.attach(partner, place)
        for step in STEPS:
            clock.now += step
            back.now -= step
            index = await made.write()
            await made.collector.look()
            found = await made.collector.covering(index, town.directory, within_s=1)
            assert isinstance(found, receipts.Head)
            assert found.size == made.log.head.size
            assert made.collector.late_s() == 0
            made.collector.check(sensitive=True)
