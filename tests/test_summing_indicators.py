"""Contributors of each measure: one word a cell, counted by every node, summed only if enough."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import Forged, InvalidInput
from fairlead.summing import Figures, Measure
from fairlead.summing.indicators import MAX_GROUPS, counted, groups_of, indicator_words
from tests.summed import Nodes

TINY = Fraction(1, 1000)
MEASURES = (
    Measure(measure_id="records", bound=1000, scale=TINY),
    Measure(measure_id="asked", bound=1000, scale=TINY, group="a"),
    Measure(measure_id="low", bound=1000, scale=TINY, group="h"),
    Measure(measure_id="high", bound=1000, scale=TINY, group="h", square_scale=TINY),
)


@given(
    nodes=st.lists(
        st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=3, max_size=3),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_fields_add_up_by_themselves(nodes: list[list[tuple[int, int, int, int]]]) -> None:
    """What the words of all nodes add up to is each count, whatever the others are."""
    figures = [
        Figures(contributes=tuple(map(any, rows)), values=tuple(map(tuple, rows))) for rows in nodes
    ]
    words = [indicator_words(each, MEASURES) for each in figures]
    for at, total in enumerate(map(sum, zip(*words, strict=True))):
        found = counted(total, groups_of(MEASURES), len(nodes))
        assert found == sum(any(rows[at]) for rows in nodes)
        assert found.groups == {
            "a": sum(rows[at][1] > 0 for rows in nodes),
            "h": sum(rows[at][2] + rows[at][3] > 0 for rows in nodes),
        }


@pytest.mark.parametrize("word", [-1, 5, 1 << 12, 3 | 4 << 12, 3 | 1 << 36, 1 << 126])
def test_counts_that_cannot_be_are_masks_that_did_not_cancel(word: int) -> None:
    """More than there are nodes, more to a measure than to the cell, a field of no measure."""
    with pytest.raises(Forged):
        counted(word, ("a", "h"), 4)


def test_what_too_few_contribute_to_is_not_summed() -> None:
    """Six nodes have records, two of them one of the measures: no node says what it has of it, with
    noise or without; of a measure of which all have something, all do."""
    made = Nodes(6)
    terms = made.terms(width=2, measures=MEASURES)
    figures = {
        name: Figures(
            contributes=(True, True),
            values=((9, 5, at % 2, 0), (9, 7 * (at < 2), 3, 4)),
        )
        for at, name in enumerate(made.ids)
    }
    found = made.run(terms, figures)
    first, second = terms.cells
    assert found.groups == {"a": {first: 6, second: 2}, "h": {first: 3, second: 6}}
    assert found.sums[first] == {"records": 54, "asked": 30, "low": 3, "high": 0, "high^2": 0}
    assert found.sums[second] == {"records": 54, "asked": 0, "low": 18, "high": 24, "high^2": 96}


def test_a_node_that_sums_what_it_must_not_is_found() -> None:
    """Where too few contribute, anything but nought breaks the sum."""
    made = Nodes(6)
    terms = made.terms(width=1, measures=MEASURES)
    figures = {
        name: Figures(contributes=(True,), values=((9, int(at < 2), 1, 1),))
        for at, name in enumerate(made.ids)
    }
    said = made.indicators(terms, figures)
    values = made.values(terms, said)
    name = made.ids[0]
    more = (int.from_bytes(values[name].vector[16:32], "little") + 1) % 2**128
    vector = values[name].vector[:16] + more.to_bytes(16, "little") + values[name].vector[32:]
    seen = {each: one.vector for each, one in said.items()}
    lying = type(values[name]).sign(name, made.signers[name], terms.values_binding(seen), vector)
    with pytest.raises(Forged):
        made.combined(terms, said, {**values, name: lying})


def test_groups_are_part_of_the_terms() -> None:
    """Nodes that group otherwise have other masks, and there are as many groups as fields."""
    made = Nodes(4)
    other = (*MEASURES[:3], replace(MEASURES[3], group="b"))
    assert made.terms(measures=MEASURES).digest() != made.terms(measures=other).digest()
    many = [replace(MEASURES[0], measure_id=f"m{n}", group=f"g{n}") for n in range(MAX_GROUPS + 1)]
    assert made.terms(measures=tuple(many[:-1]))
    with pytest.raises(InvalidInput):
        made.terms(measures=tuple(many))
