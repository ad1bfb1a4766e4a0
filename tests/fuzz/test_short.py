"""The short form of ``make fuzz``: each target's seeds and a few hundred edits of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.run import GROUPS, groups, targets
from tests.fuzz.target import Target
from tests.hostile import edits


class Known(dict[str, Target]):
    """Targets by name, printed briefly: a failure is read by people."""

    def __repr__(self) -> str:
        return f"{len(self)} targets"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Every target, made once."""
    return Known({t.name: t for t in targets(tmp_path_factory.mktemp("fuzz"))})


@settings(max_examples=400, deadline=None)
@given(
    place=st.integers(0, 10_000),
    changes=st.lists(edits(), max_size=4),
    junk=st.none() | st.binary(max_size=64),
)
def test_no_parser_lets_anything_but_our_errors_out(
    known: Known,
    place: int,
    changes: list[Callable[[bytes], bytes]],
    junk: bytes | None,
) -> None:
    """Any octets in any parser give a value or an error of our tree."""
    names = sorted(known)
    target = known[names[place % len(names)]]
    data = target.seeds[place % len(target.seeds)] if junk is None else junk
    for change in changes:
        data = change(data)
    target(data)


def test_every_seed_is_tried(known: Known) -> None:
    """The honest octets pass through each target without a surprise, and names are unique."""
    assert len(known) >= 30
    for target in known.values():
        assert target.seeds, target.name
        for seed in target.seeds:
            target(seed)


def test_every_parser_is_in_one_group(known: Known) -> None:
    """What ``make fuzz`` runs is every parser once, and a group's first octet leads to each."""
    found = groups(known.values())
    assert not known.keys() & GROUPS.keys()
    assert sorted(m.name for g in found.values() for m in g.members) == sorted(known)
    for group in found.values():
        assert 0 < len(group.members) <= 256
        group(b"")
        assert {seed[0] for seed in group.seeds} == set(range(len(group.members)))


def test_a_defect_is_found() -> None:
    """The control: a parser that lets a ValueError out is a finding."""
    broken = Target(name="broken", seeds=[b""], attempt=int)
    with pytest.raises(ValueError, match="invalid literal"):
        broken(b"x")
