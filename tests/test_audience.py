"""Audience classes: a name that says for whom a snapshot is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.audience import Audience
from fairlead.blinding import AUDIENCE_SIZE, check_audience
from fairlead.errors import InvalidInput
from fairlead.v1 import blind_pb2

CLASS = Audience(partners=("customs", "police"), purposes=("drug-trafficking",), policy_serial=7)


def test_the_name_never_moves() -> None:
    """A known class has a known name of 32 octets: strangers recompute it."""
    check_audience(CLASS.name)
    assert len(CLASS.name) == AUDIENCE_SIZE
    assert CLASS.name.hex() == KNOWN


def test_every_part_is_in_the_name() -> None:
    """Another partner, purpose or policy serial is another class, however names are joined."""
    others = [
        replace(CLASS, partners=("customs",)),
        replace(CLASS, partners=("customs", "police2")),
        replace(CLASS, purposes=("customs-risk", "drug-trafficking")),
        replace(CLASS, partners=("customs",), purposes=("drug-trafficking", "police")),
        replace(CLASS, policy_serial=8),
    ]
    assert len({CLASS.name, *(other.name for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"partners": ()}, {"purposes": ()}, {"partners": ("police", "customs")},
        {"partners": ("customs", "customs")}, {"purposes": ("b", "a")}, {"policy_serial": 0},
        {"partners": ("Customs",)}, {"purposes": ("a b",)},
        {"partners": tuple(f"p{n:04d}" for n in range(1_025))},
    ],
)  # fmt: skip
def test_a_class_has_one_spelling(change: dict[str, object]) -> None:
    """Empty, unsorted, repeated or misspelt members are no class: empty never means everybody."""
    with pytest.raises(InvalidInput):
        replace(CLASS, **change)


@given(st.builds(
    blind_pb2.BlindAudience, partners=st.lists(st.text(max_size=5), max_size=3),
    purposes=st.lists(st.text(max_size=5), max_size=3), policy_serial=st.integers(0, 2**64 - 1),
))  # fmt: skip
def test_reading_is_total(content: blind_pb2.BlindAudience) -> None:
    """Whatever a stranger sends is a class that would be written the same, or refused."""
    try:
        found = Audience.from_wire(content)
    except InvalidInput:
        return
    assert found.to_wire() == content


KNOWN = "c478c6dcff870048a0f701c3bc97d427953ac86683ac6995c34984bfca4f2efb"
