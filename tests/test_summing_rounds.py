"""The three rounds of a node: in order, always the same octets, nothing from part of a list."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from fairlead.errors import Conflict, Forged, InvalidInput, NotFound, Stale
from fairlead.summing import Figures, Measure, Round, Statement, noise_share
from fairlead.summing.figures import BoundExceeded
from fairlead.summing.masking import ParticipantMissing
from fairlead.summing.participants import TooFewParticipants
from tests.summed import COUNT, RELEASE, Nodes, count_figures, names, octets

KILOGRAMS = Measure(
    measure_id="kilograms", bound=50_000, scale=Fraction(3), square_scale=Fraction(10**6)
)
ROWS = {"p00": (3, 0, 9, 0), "p01": (4, 0, 0, 0), "p02": (5, 1, 7, 0), "p03": (0, 2, 1, 0)}
FIGURES = {name: count_figures(row) for name, row in ROWS.items()}


@pytest.fixture
def nodes() -> Nodes:
    """Four partners."""
    return Nodes(4)


def test_sums_are_exact_and_small_cells_are_not_summed(nodes: Nodes) -> None:
    """Cells of at least three contributors are summed; of the others nobody sends anything."""
    found = nodes.run(nodes.terms(), FIGURES)
    assert found.contributors == {
        f"2026-Q1/c{cell}": {"count": count} for cell, count in enumerate((3, 2, 3, 0))
    }
    assert found.sums == {"2026-Q1/c0": {"count": 12}, "2026-Q1/c2": {"count": 17}}


def test_a_reader_that_takes_part_is_not_counted(nodes: Nodes) -> None:
    """Three others than whoever reads must contribute: with a reader on the list, four."""
    figures = FIGURES | {"p03": count_figures((1, 2, 1, 0)), "p01": count_figures((4, 0, 0, 0))}
    found = nodes.run(nodes.terms(readers=("p00",)), figures)
    assert found.sums == {"2026-Q1/c0": {"count": 13}}


def test_squares_and_noise_are_summed_with_the_figures() -> None:
    """What comes out is the truth and every node's own share, of the figure and of its square."""
    nodes = Nodes(6)
    terms = nodes.terms(2, measures=(COUNT, KILOGRAMS))
    rows = dict(zip(nodes.ids, ((2, 700), (1, 9000), (3, 5), (4, 12), (0, 1), (0, 1)), strict=True))
    figures = {
        name: Figures(contributes=((row[0] > 0, row[1] > 0), (False, False)), values=(row, (0, 0)))
        for name, row in rows.items()
    }
    shares = [
        sum(
            noise_share(
                octets("noise", name), RELEASE, terms.list_digest,
                cell="2026-Q1/c0", word=word.name, nodes=6, scale=word.scale,
            )
            for name in nodes.ids
        )
        for word in KILOGRAMS.words
    ]  # fmt: skip
    assert nodes.run(terms, figures).sums == {
        "2026-Q1/c0": {
            "count": 10,
            "kilograms": 9719 + shares[0],
            "kilograms^2": 700**2 + 9000**2 + 5**2 + 12**2 + 2 + shares[1],
        }
    }
    assert shares[1] != 0


def test_what_was_said_is_said_again_whatever_has_changed(nodes: Nodes) -> None:
    """New figures, or figures that can no longer be had, change no octet of a release."""
    terms = nodes.terms()
    said = nodes.indicators(terms, FIGURES)
    values = nodes.values(terms, said)
    later = {name: count_figures((9, 9, 9, 9)) for name in ROWS}
    assert nodes.indicators(terms, later) == said
    assert nodes.indicators(terms, dict.fromkeys(ROWS)) == said  # type: ignore[dict-item]
    assert nodes.values(terms, said) == values


def test_the_next_version_has_new_figures(nodes: Nodes) -> None:
    """What is frozen is one version: the next one is made anew."""
    nodes.run(nodes.terms(), FIGURES)
    later = {name: count_figures((9, 9, 9, 9)) for name in ROWS}
    found = nodes.run(nodes.terms(release=replace(RELEASE, version=2)), later)
    assert found.sums["2026-Q1/c0"] == {"count": 36}


def test_a_missing_node_aborts_each_round(nodes: Nodes) -> None:
    """Without one readiness, indicator or value there is nothing, and later there can be all."""
    terms = nodes.terms()
    ready = nodes.ready(terms)
    first = nodes.rounds["p00"]
    with pytest.raises(ParticipantMissing):
        first.indicators(terms, _without(ready, "p03"), lambda: FIGURES["p00"])
    assert nodes.stores["p00"].octets == {}
    said = nodes.indicators(terms, FIGURES)
    with pytest.raises(ParticipantMissing):
        first.values(terms, _without(said, "p02"))
    values = nodes.values(terms, said)
    with pytest.raises(ParticipantMissing):
        nodes.combined(terms, said, _without(values, "p01"))
    assert nodes.combined(terms, said, values).sums


def test_rounds_are_in_order(nodes: Nodes) -> None:
    """A node that has not said its indicators says no values, whatever others have said."""
    terms = nodes.terms()
    said = nodes.indicators(terms, FIGURES, names(3))
    with pytest.raises(Stale) as caught:
        nodes.rounds["p03"].values(terms, said)
    assert caught.value.code == "ROUND_ORDER"


def test_a_list_that_a_node_does_not_know_is_refused(nodes: Nodes) -> None:
    """Without itself, or with a partner that is in no pinned directory, a node is not ready."""
    with pytest.raises(InvalidInput, match="without this node"):
        nodes.rounds["p00"].ready(nodes.terms(participants=("p01", "p02", "p03")))
    with pytest.raises(NotFound):
        nodes.rounds["p00"].ready(nodes.terms(participants=(*nodes.ids, "unknown")))


def test_a_readiness_says_nothing_else(nodes: Nodes) -> None:
    """A vector that is signed as a readiness is refused."""
    terms = nodes.terms()
    ready = nodes.ready(terms)
    binding = terms.binding(Round.READY)
    ready["p01"] = Statement.sign("p01", nodes.signers["p01"], binding, b"more")
    with pytest.raises(Forged, match="more than"):
        nodes.rounds["p00"].indicators(terms, ready, lambda: FIGURES["p00"])


def test_other_terms_for_the_same_list_are_refused(nodes: Nodes) -> None:
    """Other readers, or the seeds of another quarter, would mask the same figures anew."""
    nodes.indicators(nodes.terms(), FIGURES)
    for changed in ({"readers": ("other",)}, {"quarter": "2027-Q1"}):
        terms = nodes.terms(**changed)
        ready = nodes.ready(terms)
        with pytest.raises(Conflict) as caught:
            nodes.rounds["p00"].indicators(terms, ready, lambda: FIGURES["p00"])
        assert caught.value.code == "ROUND_DIFFERS"


def test_a_figure_over_its_bound_stops_before_anything_is_kept(nodes: Nodes) -> None:
    """Nothing is cut off to fit; the node can mend its source and take part then."""
    terms = nodes.terms()
    ready = nodes.ready(terms)
    for wrong in (COUNT.bound + 1, -1):
        figures = replace(FIGURES["p00"], values=((wrong,), (0,), (9,), (0,)))
        with pytest.raises(BoundExceeded):
            nodes.rounds["p00"].indicators(terms, ready, lambda figures=figures: figures)
    assert (nodes.stores["p00"].octets, nodes.stores["p00"].lists) == ({}, [])
    assert nodes.run(terms, FIGURES).sums


@pytest.mark.parametrize(
    "figures",
    [
        Figures(contributes=((True,),) * 3, values=((1,),) * 3),
        Figures(contributes=((True,),) * 4, values=((1,),) * 3),
        Figures(contributes=((True,),) * 4, values=((1, 2),) * 4),
        Figures(contributes=((True, True),) * 4, values=((1,),) * 4),
        Figures(contributes=((False,),) * 4, values=((1,),) * 4),
    ],
)
def test_figures_are_of_the_cells_and_of_contributors(nodes: Nodes, figures: Figures) -> None:
    """Other cells, other measures, or a figure of a node that says it contributes nothing."""
    terms = nodes.terms()
    with pytest.raises(InvalidInput):
        nodes.rounds["p00"].indicators(terms, nodes.ready(terms), lambda: figures)


def test_kept_figures_come_back_as_they_were() -> None:
    """Octets that are kept of figures give the same figures, or are refused."""
    figures = Figures(contributes=((True, False), (False, True)), values=((1, 0), (0, 700)))
    measures = (COUNT, KILOGRAMS)
    assert Figures.from_bytes(figures.to_bytes(), measures) == figures
    with pytest.raises(InvalidInput):
        Figures.from_bytes(figures.to_bytes()[:-16], measures)


@pytest.mark.parametrize(
    "changed",
    [
        {"participants": ("p01", "p00", "p02")}, {"participants": ()}, {"readers": ()},
        {"readers": ("b", "a")}, {"quarter": "2026-Q0"}, {"measures": ()},
        {"measures": (COUNT, COUNT)}, {"cells": ()}, {"cells": ("2026-Q1/a", "2026-Q1/a")},
        {"cells": ("2026-Q2/a",)}, {"cells": ("2026-Q1/" + 256 * "x",)},
        {"cells": tuple(f"2026-Q1/{n}" for n in range(4097))},
    ],
)  # fmt: skip
def test_terms_are_of_one_form(nodes: Nodes, changed: dict[str, object]) -> None:
    """What is out of order, twice, empty, too large or of another unit is refused."""
    with pytest.raises(InvalidInput):
        nodes.terms(**changed)


def test_a_list_that_is_too_short_is_not_begun(nodes: Nodes) -> None:
    """Where no cell could have three contributors other than a reader, nobody is asked."""
    with pytest.raises(TooFewParticipants):
        nodes.terms(participants=names(2))
    with pytest.raises(TooFewParticipants):
        nodes.terms(participants=names(3), readers=("p01",))


@pytest.mark.parametrize("bound", [0, 2**56 + 1])
def test_a_bound_whose_square_would_not_fit_is_no_bound(bound: int) -> None:
    """The squares of a thousand nodes still fit into a word."""
    with pytest.raises(InvalidInput):
        replace(COUNT, bound=bound)


def _without(statements: dict[str, Statement], name: str) -> dict[str, Statement]:
    return {other: statement for other, statement in statements.items() if other != name}
