"""Who is denied while figures are shown to them is shown no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fairlead.errors import Unauthenticated
from fairlead.partners import DenyLists
from fairlead.v1 import statistics_pb2 as pb
from gateway.members import RoundRequest
from tests.tallying import Town, releases
from tests.walks import World, make_world


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    (tmp_path / "town").mkdir()
    made = Town(_world(tmp_path), tmp_path / "town")
    yield made
    made.close()


def _world(folder: Path) -> World:
    return make_world(folder / "world")


@pytest.mark.parametrize("whom", ["user", "node"])
async def test_a_user_or_node_that_is_denied_meanwhile_sees_no_further_unit(
    town: Town, whom: str
) -> None:
    """What came before stays; that it ended is on the record, and no round is begun for it."""
    denied: set[str] = set()

    def check(spiffe_id: str, _now: float) -> None:
        if spiffe_id.split("/")[-2] in denied:
            raise Unauthenticated("denied", reasons=("DENIED",))

    town.strategic._deny_lists = cast("DenyLists", SimpleNamespace(check=check))
    first, second = "2026-Q2", "2026-Q3"

    def deny(request: RoundRequest) -> None:
        assert request.terms.unit == first
        if isinstance(request, pb.SumValuesRequest):
            denied.add(whom)

    town.wire.faults["p00"] = deny
    with pytest.raises(Unauthenticated):
        await town.ask(period=f"{first}..{second}")
    assert [found.unit.spelling for found in releases(town.heard)] == [first]
    assert town.leaves()[-1].reasons[0] == "DENIED"
