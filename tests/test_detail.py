"""The sealed detail: whole blocks, for the oversight of one partner, of one query."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import sealing
from fairlead.detail import BLOCK, detail_info, seal_detail
from fairlead.errors import Forged
from tests.walks import ASKER, OWNER, World, make_world

OVERHEAD = 1136


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("detail"))


def oversight(world: World, partner: str) -> sealing.SealingKey:
    folder = world.opened.layout.partner(partner) / "oversight"
    return sealing.SealingKey.load(folder / "oversight.seed")


@settings(max_examples=40, deadline=None)
@given(terms=st.lists(st.text(max_size=64), max_size=60))
def test_oversight_reads_what_was_sealed_in_whole_blocks(world: World, terms: list[str]) -> None:
    """The size is a multiple of a block, and the partner's oversight gets everything back."""
    sealed = seal_detail(world.directory.partner(ASKER), bytes(16), {"terms": terms})
    size = len(sealed) - OVERHEAD
    assert size % BLOCK == 0
    padded = oversight(world, ASKER).open(sealed, info=detail_info(bytes(16)))
    assert orjson.loads(sealing.unpad(padded, size)) == {"terms": terms}


def test_small_details_look_alike(world: World) -> None:
    """One short term and another have details of the same size."""
    partner = world.directory.partner(ASKER)
    sizes = {
        len(seal_detail(partner, bytes(16), {"terms": [term]})) for term in ("A", "MSCU6639870")
    }
    assert sizes == {BLOCK + OVERHEAD}


def test_nobody_else_opens_a_detail(world: World) -> None:
    """Neither another partner's oversight, nor the node's own key, nor under another query id."""
    sealed = seal_detail(world.directory.partner(ASKER), bytes(16), {"terms": ["A"]})
    for key, query in (
        (oversight(world, OWNER), bytes(16)),
        (world.sealing_key(ASKER), bytes(16)),
        (oversight(world, ASKER), bytes(15) + b"\x01"),
    ):
        with pytest.raises(Forged):
            key.open(sealed, info=detail_info(query))
