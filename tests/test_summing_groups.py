"""Contributors of each measure: counted by every node, and summed only where there are enough."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import Forged, InvalidInput
from fairlead.summing import Figures, Measure, Statement
from fairlead.summing.figures import groups_of
from tests.summed import Nodes

TINY = Fraction(1, 1000)
MEASURES = (
    Measure(measure_id="asked", bound=1000, scale=TINY),
    Measure(measure_id="low", bound=1000, scale=TINY, group="bars"),
    Measure(measure_id="high", bound=1000, scale=TINY, group="bars"),
    Measure(measure_id="weight", bound=1000, scale=TINY, square_scale=TINY),
)
Row = tuple[int, int, int, int]


def figures(*rows: Row) -> Figures:
    """A node's, which contributes where it has anything."""
    return Figures(
        contributes=tuple((a > 0, low + high > 0, w > 0) for a, low, high, w in rows), values=rows
    )


ROWS = st.lists(
    st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=2, max_size=2), min_size=8, max_size=8
)


@given(nodes=ROWS)
def test_what_survives_is_exact_and_nothing_else_is_said(nodes: list[list[Row]]) -> None:
    """Each measure of each cell by itself: its contributors are counted, its words are summed where
    three contribute, of squares where five do, and otherwise no node sends any."""
    made = Nodes(8)
    terms = made.terms(width=2, measures=MEASURES)
    own = {name: figures(*rows) for name, rows in zip(made.ids, nodes, strict=True)}
    found = made.run(terms, own)
    for at, cell in enumerate(terms.cells):
        rows = [each[at] for each in nodes]
        by = {
            "asked": sum(row[0] > 0 for row in rows),
            "bars": sum(row[1] + row[2] > 0 for row in rows),
            "weight": sum(row[3] > 0 for row in rows),
        }
        assert found.contributors[cell] == by
        asked, low, high, weight = map(sum, zip(*rows, strict=True))
        expected = {"asked": asked} if by["asked"] >= 3 else {}
        expected |= {"low": low, "high": high} if by["bars"] >= 3 else {}
        if by["weight"] >= 5:
            expected |= {"weight": weight, "weight^2": sum(row[3] ** 2 for row in rows)}
        assert found.sums.get(cell, {}) == expected


@pytest.mark.parametrize(("readers", "needed"), [(("p00",), (4, 4, 6)), (("reader",), (3, 3, 5))])
def test_a_reader_that_takes_part_is_not_counted(
    readers: tuple[str, ...], needed: tuple[int, ...]
) -> None:
    """One contributor more for each measure, also where one may make up most of it."""
    terms = Nodes(8).terms(measures=MEASURES, readers=readers)
    assert (terms.needed_by, terms.needed) == (needed, needed[0])
    assert terms.flags == 4 * 3
    assert [len(group.words) for group in terms.groups] == [1, 2, 2]


def test_a_measure_that_did_not_survive_has_no_words() -> None:
    """A node that says some all the same is found: vectors have the length of what survived."""
    made = Nodes(6)
    terms = made.terms(width=1, measures=MEASURES)
    own = {name: figures((1, int(at < 2), 0, 1)) for at, name in enumerate(made.ids)}
    said = made.indicators(terms, own)
    values = made.values(terms, said)
    assert {len(each.vector) for each in values.values()} == {3 * 16}
    seen = {name: each.vector for name, each in said.items()}
    name = made.ids[0]
    longer = values[name].vector + bytes(16)
    binding = terms.values_binding(seen)
    lying = Statement.sign(name, made.signers[name], binding, longer)
    with pytest.raises(Forged):
        made.combined(terms, said, {**values, name: lying})


def test_groups_are_part_of_the_terms() -> None:
    """Nodes that group otherwise have other masks."""
    made = Nodes(4)
    other = (*MEASURES[:2], replace(MEASURES[2], group="other"), MEASURES[3])
    assert made.terms(measures=MEASURES).digest() != made.terms(measures=other).digest()
    assert [group.name for group in groups_of(other)] == ["asked", "bars", "other", "weight"]


def test_a_figure_where_a_node_contributes_nothing_is_refused() -> None:
    """Contributing to another measure of the cell is not enough."""
    wrong = Figures(contributes=((True, False, True),), values=((1, 0, 1, 1),))
    with pytest.raises(InvalidInput):
        wrong.check(MEASURES, 1)
    replace(wrong, values=((1, 0, 0, 1),)).check(MEASURES, 1)
