"""A published release: one set of octets, no number where none is shown, total parsing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.cubes.period import parse_unit
from fairlead.errors import InvalidInput
from fairlead.published import Published, PublishedCell, Shown, plain, spoken
from fairlead.v1 import statistics_pb2 as pb
from tests.hostile import edits, few_fields, only_ours, with_fields
from tests.released import every_kind, release, releases, small

FEW = settings(max_examples=60, deadline=None)
LEVEL = "quarter,country,kind"


def one() -> Published:
    return release(small(), "reports", LEVEL, "2026-Q1", every_kind)


@FEW
@given(releases())
def test_a_release_reads_back_as_it_was(made: Published) -> None:
    """What is written is read, and written again as the same octets."""
    octets = made.to_bytes()
    read = Published.parse(octets, [small()])
    assert read == made
    assert read.to_bytes() == octets
    assert read.digest == made.digest


@FEW
@given(edits())
def test_no_octets_raise_anything_else(edit: Any) -> None:
    """Changed octets are another release or an error of ours."""
    only_ours(lambda: Published.parse(edit(one().to_bytes()), [small()]))


@FEW
@given(few_fields(pb.PublishedRelease))
def test_no_fields_raise_anything_else(changed: Any) -> None:
    """Any value of any field is another release or an error of ours."""
    said = with_fields(pb.PublishedRelease.FromString(one().to_bytes()), changed)
    only_ours(lambda: Published.parse(signing.canonical(said), [small()]))


@FEW
@given(st.binary(max_size=200))
def test_no_rubbish_raises_anything_else(data: bytes) -> None:
    """Octets that nobody wrote are refused."""
    with pytest.raises(InvalidInput):
        Published.parse(data + b"\xff", [small()])


@pytest.mark.parametrize(
    "shown", [Shown.SUPPRESSED, Shown.NOT_REPORTED, Shown.ZERO], ids=lambda shown: shown.value
)
def test_no_number_hides_where_none_is_shown(shown: Shown) -> None:
    """A suppressed cell cannot carry its figure along, in the object or on the wire."""
    with pytest.raises(InvalidInput) as caught:
        PublishedCell(codes=(), shown=shown, value=5)
    assert caught.value.code == "PUBLISHED_FORM"
    said = pb.PublishedRelease.FromString(one().to_bytes())
    place = [Shown.VALUE, Shown.ZERO, Shown.SUPPRESSED, Shown.NOT_REPORTED].index(shown)
    said.figures[0].values[place] = 5
    with pytest.raises(InvalidInput):
        Published.parse(signing.canonical(said), [small()])


def test_nothing_is_shown_below_nought() -> None:
    """What noise left below nought is nought, and told apart from what is withheld."""
    assert PublishedCell.of(("BE",), -5, 15).shown is Shown.ZERO
    assert PublishedCell.of(("BE",), None, 15).shown is Shown.SUPPRESSED
    assert PublishedCell.of(("BE",), 5).shown is Shown.VALUE


def test_each_kind_of_cell_is_said_in_another_way() -> None:
    """A value, a nought, a part, a suppressed and an unreported cell never read alike."""
    made = [
        PublishedCell.of((), 1250, 15),
        PublishedCell.of((), 0, 15),
        PublishedCell.of((), 1250, 15, partial=True),
        PublishedCell.of((), None),
        PublishedCell(codes=(), shown=Shown.NOT_REPORTED),
    ]
    assert [cell.said(0) for cell in made] == [
        "1,250 ± 15", "0 ± 15", "1,250 ± 15 in part", "suppressed", "not reported",
    ]  # fmt: skip
    assert (spoken(12_345, 1), plain(12_345, 1), spoken(0, 1)) == ("1,234.5", "1234.5", "0.0")


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": parse_unit("2026")},
        {"version": 0},
        {"participants": 15},
        {"released_at": parse_unit("2026-Q1").ends - 1},
        {"rules_digest": b""},
        {"registry_digest": bytes(31)},
        {"method": "two\nlines"},
        {"figures": ()},
        {"level": small().cube("reports").level("quarter,country")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_fit_the_cube_is_no_release(changes: dict[str, Any]) -> None:
    """Figures of other cells, before the end of their time or of too many partners are refused."""
    with pytest.raises(InvalidInput) as caught:
        replace(one(), **changes)
    assert caught.value.code == "PUBLISHED_FORM"


def test_a_release_of_another_registry_is_not_read() -> None:
    """The registry is known by its digest: another one's cells are never put in its place."""
    with pytest.raises(InvalidInput) as caught:
        Published.parse(one().to_bytes(), [])
    assert caught.value.code == "PUBLISHED_REGISTRY"


def test_all_ways_of_showing_are_counted() -> None:
    """How many figures are shown in which way adds up to all of them."""
    counted = one().counted()
    assert set(counted) == set(Shown)
    assert sum(counted.values()) == 4 * len(small().cube("reports").measures)
    assert counted[Shown.SUPPRESSED] == 5
