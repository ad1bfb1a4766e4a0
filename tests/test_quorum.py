"""How many witnesses are enough."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from fairlead import quorum
from fairlead.appointed import Appointed
from fairlead.partners import Directory
from tests.walks import make_world

PUBLIC, PRIVATE = (
    ("customs", "police", "inland-port"),
    ("terminal-north", "oceanic-line", "quayguard"),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return make_world(tmp_path_factory.mktemp("quorum"), partners=PUBLIC + PRIVATE).directory


def appointed(directory: Directory, names: tuple[str, ...], tolerated: int) -> Directory:
    wanted = Appointed(witnesses=tuple(sorted(names)), tolerated=tolerated)
    return replace(directory, appointed=wanted)


def test_a_quorum_is_the_smallest_that_forks_cannot_share() -> None:
    """For every n and f two quorums share more than f, and one fewer would not do."""
    for n in range(1, 65):
        for f in range(n):
            q = quorum.required(Appointed(witnesses=("x",) * n, tolerated=f))
            assert q <= n
            assert 2 * q - n > f >= 2 * (q - 1) - n


def test_a_quorum_has_a_public_and_a_private_partner(directory: Directory) -> None:
    """However many of one sector cosigned, the other one is missing."""
    six = appointed(directory, PUBLIC + PRIVATE, 1)
    assert quorum.required(six.appointed) == 4
    for signers in combinations(PUBLIC + PRIVATE, 4):
        assert quorum.reached(signers, six)
    for signers in combinations(PUBLIC + PRIVATE, 3):
        assert not quorum.reached(signers, six)
    five = appointed(directory, (*PUBLIC, "terminal-north"), 0)
    assert quorum.required(five.appointed) == 3
    assert not quorum.reached(PUBLIC, five)
    assert quorum.reached((*PUBLIC[:2], "terminal-north"), five)


def test_who_is_not_appointed_or_not_pinned_does_not_count(directory: Directory) -> None:
    """Partners that are no witnesses, strangers, and witnesses whose root is not pinned here."""
    few = appointed(directory, ("customs", "police", "terminal-north"), 1)
    assert not quorum.reached(("customs", "terminal-north", "oceanic-line", "nobody"), few)
    assert quorum.reached(few.appointed.witnesses, few)
    unpinned = replace(
        few, partners={p: v for p, v in few.partners.items() if p != "terminal-north"}
    )
    assert not quorum.reached(few.appointed.witnesses, unpinned)
    with pytest.raises(quorum.NoQuorum) as caught:
        quorum.require(few.appointed.witnesses, unpinned)
    assert caught.value.code == "QUORUM_MISSING"


def test_witnesses_of_one_sector_can_never_be_a_quorum(directory: Directory) -> None:
    """Before two sectors have enrolled, no quorum is possible, and nobody at all is none."""
    assert quorum.possible(directory)
    assert not quorum.possible(appointed(directory, PUBLIC, 0))
    assert not quorum.possible(replace(directory, partners={}))
    assert not quorum.reached((), replace(directory, appointed=Appointed()))
