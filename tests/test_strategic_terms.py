"""Terms of the rounds: what follows from registry and list, and what a node is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import FairleadError, Forged, InvalidInput, Stale
from fairlead.strategic import statements
from fairlead.strategic.terms import (
    FINAL_AFTER_S,
    figures_of_counted,
    quarter_at,
    terms_from_wire,
    terms_of,
    terms_to_wire,
    version_at,
    words_of,
)
from fairlead.summing import Statement, Terms
from fairlead.summing.figures import BoundExceeded
from fairlead.v1 import statistics_pb2 as pb
from tests.cubes import DEFAULTS
from tests.summed import names

REGISTRY = Registry.parse(DEFAULTS)
SEIZURES = REGISTRY.cube("seizures")
UNIT = parse_unit("2026-Q1")
LEVEL = SEIZURES.level("quarter,exchange")


def made(cut_off: int = UNIT.ends, count: int = 7) -> Terms:
    return terms_of(
        SEIZURES, LEVEL, UNIT,
        version=1, participants=names(count), quarter="2026-Q4", cut_off=cut_off,
    )  # fmt: skip


def wire(**changes: object) -> pb.RoundTerms:
    said = terms_to_wire(made(), SEIZURES, REGISTRY.digest)
    fresh = pb.RoundTerms(**changes)  # type: ignore[arg-type]
    for name in changes:
        said.ClearField(name)  # type: ignore[arg-type]
    said.MergeFrom(fresh)
    return said


def test_terms_say_what_is_summed_of_each_cell() -> None:
    """Records, the count, and the kilograms with their square, each with its noise."""
    terms = made()
    assert [(w.name, w.bound, w.scale) for w in terms.words] == [
        ("records", 10**8, 5),
        ("m0", 10_000, 5),
        ("m1", 100_000, 50),
        ("m1^2", 100_000**2, 2 * 100_000 * 50),
    ]
    assert terms.groups == ("m0", "m1")
    assert terms.cells == ("2026-Q1/linked", "2026-Q1/unlinked")
    assert terms.readers == terms.participants
    assert terms.needed == 4


def test_every_cube_of_the_registry_has_terms() -> None:
    """No cube has two words of one name, or more than are summed at once."""
    for cube in REGISTRY.cubes:
        words = words_of(cube)
        assert len(words) == 1 + sum(measure.words for measure in cube.measures)
        for level in cube.levels:
            unit = parse_unit(
                {"month": "2026-01", "quarter": "2026-Q1", "year": "2025"}[level.time]
            )
            terms = terms_of(
                cube, level, unit,
                version=2, participants=names(4), quarter="2026-Q4", cut_off=unit.ends,
            )  # fmt: skip
            assert len(terms.cells) == level.width


def test_a_node_is_told_what_the_gateway_means() -> None:
    """Both sides have the same digest, so masks cancel; another cut-off is another digest."""
    found = terms_from_wire(wire(), REGISTRY)
    assert (found.cube, found.level, found.unit) == (SEIZURES, LEVEL, UNIT)
    assert found.terms == made()
    assert found.terms.digest() == made().digest() != made(UNIT.ends + 1).digest()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"registry_digest": bytes(32)}, Stale),
        ({"cube_version": 2}, Stale),
        ({"cube": "nothing"}, InvalidInput),
        ({"level": "quarter,nothing"}, InvalidInput),
        ({"unit": "2026"}, InvalidInput),
        ({"unit": "2026-Q1..2026-Q2"}, InvalidInput),
        ({"version": 0}, InvalidInput),
        ({"participants": ["b2", "a1", "c3", "d4"]}, InvalidInput),
        ({"participants": ["a1", "b2", "c3"]}, FairleadError),
        ({"quarter": "2026"}, InvalidInput),
        ({"cut_off": UNIT.ends - 1}, InvalidInput),
        ({"cut_off": 2**62}, InvalidInput),
    ],
)
def test_terms_that_no_node_may_sum_are_refused(
    changes: dict[str, object], error: type[FairleadError]
) -> None:
    """Another registry, what it does not have, too short a list, an open period."""
    with pytest.raises(error):
        terms_from_wire(wire(**changes), REGISTRY)


@given(
    said=st.builds(
        pb.RoundTerms,
        cube=st.sampled_from(["seizures", "reports-received", ""]) | st.text(max_size=9),
        cube_version=st.integers(0, 2**32 - 1) | st.just(1),
        registry_digest=st.just(REGISTRY.digest) | st.binary(max_size=33),
        level=st.sampled_from(["quarter", "year", "month"]) | st.text(max_size=9),
        unit=st.sampled_from(["2026-Q1", "2025", "2099-12"]) | st.text(max_size=9),
        version=st.integers(0, 2**32 - 1),
        participants=st.lists(st.text(max_size=4), max_size=5)
        | st.integers(0, 9).map(lambda count: list(names(count))),
        quarter=st.just("2026-Q4") | st.text(max_size=8),
        cut_off=st.integers(-(2**63), 2**63 - 1) | st.just(1_790_000_000),
    )
)
def test_whatever_a_node_is_told_is_terms_or_an_error_of_ours(said: pb.RoundTerms) -> None:
    """Nothing else is raised, and what is read has a digest."""
    try:
        found = terms_from_wire(said, REGISTRY)
    except FairleadError:
        return
    assert terms_to_wire(found.terms, found.cube, REGISTRY.digest) == said
    assert len(found.terms.digest()) == 32


@dataclass
class Rows:
    records: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]


def test_records_are_summed_first_and_make_the_contributor() -> None:
    """A node contributes where it has a record, whatever its figures are."""
    figures = figures_of_counted(Rows((3, 0), ((2, 900), (0, 0))))
    assert figures.contributes == (True, False)
    assert figures.values == ((3, 2, 900), (0, 0, 0))
    terms = made()
    figures.check(terms.measures, 2)
    with pytest.raises(BoundExceeded):
        figures_of_counted(Rows((3, 1), ((2, 100_001), (0, 0)))).check(terms.measures, 2)
    with pytest.raises(InvalidInput):
        figures_of_counted(Rows((0, 1), ((2, 1), (0, 0)))).check(terms.measures, 2)


def test_the_clock_decides_which_version_is_made() -> None:
    """First figures once the unit is over, final ones 180 days later; none before."""
    with pytest.raises(InvalidInput):
        version_at(UNIT, UNIT.ends - 1)
    assert version_at(UNIT, UNIT.ends) == version_at(UNIT, UNIT.ends + FINAL_AFTER_S - 1) == 1
    assert version_at(UNIT, UNIT.ends + FINAL_AFTER_S) == 2
    assert [quarter_at(UNIT.begins), quarter_at(UNIT.ends - 1)] == ["2026-Q1"] * 2
    assert quarter_at(UNIT.ends) == "2026-Q2"


def test_statements_travel_whole() -> None:
    """What is read is what was said; one partner says one thing."""
    said = [Statement(partner_id=name, vector=b"v", signature=bytes(64)) for name in names(3)]
    sent = statements.statements_to_wire(reversed(said))
    assert list(statements.statements_from_wire(sent).values()) == said
    with pytest.raises(Forged):
        statements.statements_from_wire([sent[0], sent[0]])
    with pytest.raises(Forged):
        statements.statement_from_wire(pb.RoundStatement(partner_id="p00", signature=b"short"))
    with pytest.raises(InvalidInput):
        statements.statement_from_wire(pb.RoundStatement(partner_id="../", signature=bytes(64)))


def test_noise_is_of_a_step() -> None:
    """Words of kilograms bear more noise than counts do, by their step."""
    scales = {word.measure_id: word.scale for word in words_of(SEIZURES)}
    assert scales["m1"] == 10 * scales["m0"] == Fraction(50)
