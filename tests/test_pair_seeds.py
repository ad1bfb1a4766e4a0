"""The seeds of a node's masks, from the directory as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from fairlead.errors import InvalidInput
from fairlead.keyring import KeyRing
from fairlead.partners import Directory, Node
from node.statistics.seeds import PairSeeds
from tests.walks import ASKER, OWNER, World, make_world

QUARTER = "2026-Q4"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("seeds"))


def seeds_of(world: World, partner: str, directory: Directory) -> PairSeeds:
    """Those of one partner, under a directory."""
    ring = KeyRing(world.opened.layout.node(partner))
    return PairSeeds(own=partner, directory=directory, keys=ring)


def with_nodes(directory: Directory, partner: str, nodes: Iterable[Node]) -> Directory:
    """A directory in which a partner has other nodes, with the keys that it had."""
    changed = replace(directory.partner(partner), nodes=tuple(nodes))
    return replace(directory, partners=MappingProxyType({**directory.partners, partner: changed}))


@pytest.mark.parametrize("moved", [ASKER, OWNER])
def test_another_first_node_of_either_partner_has_other_seeds(world: World, moved: str) -> None:
    """A second node in the list changes nothing, once it is the first everything; both ends agree
    each time, and whoever remembers a seed does not use it for the other node."""
    known = world.directory.current
    (first,) = known.partner(moved).nodes
    second = replace(first, spiffe_id=f"{first.spiffe_id}-two")
    lists = (known, with_nodes(known, moved, (first, second)),
             with_nodes(known, moved, (second, first)))  # fmt: skip
    found: list[bytes] = []
    own: Any = seeds_of(world, ASKER, known)
    for directory in lists:
        own.directory = directory
        found.append(own(OWNER, QUARTER))
        assert seeds_of(world, OWNER, directory)(ASKER, QUARTER) == found[-1]
    assert found[0] == found[1] != found[2]


def test_a_partner_without_a_node_has_no_seed(world: World) -> None:
    """Whoever lists it among those that take part is refused."""
    directory = with_nodes(world.directory.current, OWNER, ())
    with pytest.raises(InvalidInput) as caught:
        seeds_of(world, ASKER, directory)(OWNER, QUARTER)
    assert caught.value.reasons == ("PARTICIPANTS",)
