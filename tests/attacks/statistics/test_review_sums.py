"""What a bought node or gateway still gets out of masked sums: each test shows one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from fairlead.errors import FairleadError, Forged
from fairlead.summing import ListKeeper, Measure, Round, Statement, Terms, list_digest, mask
from fairlead.summing.masking import unpack
from fairlead.summing.noise import BOUGHT, Noise
from fairlead.summing.participants import ListTooClose
from tests.summed import RELEASE, MemoryStore, Nodes, count_figures, names, octets

NOISED = Measure(measure_id="count", bound=100_000, scale=Fraction(5))


def lying(nodes: Nodes, terms: Terms, own: str, values: Sequence[int], round_: Round,
          seen: Mapping[str, bytes] | None = None) -> Statement:  # fmt: skip
    """A bought node's vector: any words at all, properly masked and signed."""
    binding = terms.binding(round_) if seen is None else terms.values_binding(seen)
    others = [name for name in terms.participants if name != own]
    seeds = {name: nodes.rounds[own].seeds(name, terms.quarter) for name in others}
    vector = mask(values, own, others, seeds, binding)
    return Statement.sign(own, nodes.signers[own], binding, vector)


def test_one_bought_node_counts_as_three_and_shows_a_cell_of_one_other() -> None:
    """p00 says 3 where it contributes nothing; p05, alone in the cell, is summed and laid bare."""
    nodes = Nodes(8)
    terms = nodes.terms(2, readers=nodes.ids, measures=(NOISED,))
    own = {name: count_figures([20, 0]) for name in nodes.ids}
    own["p05"] = count_figures([20, 1234])
    said = nodes.indicators(terms, own, nodes.ids[1:])
    said["p00"] = lying(nodes, terms, "p00", [1, 3], Round.INDICATORS)
    seen = {name: each.vector for name, each in said.items()}
    values = {name: nodes.rounds[name].values(terms, said) for name in nodes.ids[1:]}
    values["p00"] = lying(nodes, terms, "p00", [20, 0], Round.VALUES, seen)
    found = nodes.combined(terms, said, values)
    assert found.contributors["2026-Q1/c1"] == {"count": 4}
    assert abs(found.sums["2026-Q1/c1"]["count"] - 1234) < 60


def test_four_said_to_have_dropped_out_leave_nothing_of_the_one_that_contributes() -> None:
    """Lists may differ by four nodes; where one of the four has records, the difference would be
    its, so no node says values of a month for a second list, in any level or version."""
    nodes = Nodes(9)
    own = {name: count_figures([300]) for name in nodes.ids[:5]}
    own |= {name: count_figures([0]) for name in nodes.ids[5:]}
    own["p07"] = count_figures([1234])
    whole = nodes.terms(1, readers=nodes.ids, measures=(NOISED,))
    first = nodes.run(whole, own)
    assert first.contributors["2026-Q1/c0"] == {"count": 6}
    for changed in ({}, {"version": 2}, {"level": "quarter"}, {"period": "2026", "level": "year"}):
        fewer = nodes.terms(
            1, readers=nodes.ids[:5], participants=nodes.ids[:5], measures=(NOISED,),
            release=replace(RELEASE, **changed),
        )  # fmt: skip
        for name in fewer.participants:
            with pytest.raises(ListTooClose, match="stated for another list"):
                nodes.rounds[name].ready(fewer)
    assert nodes.run(whole, own) == first


def test_a_list_begun_before_another_stated_values_goes_no_further() -> None:
    """Indicators were said for two lists, as the rule of groups allows; values are for one."""
    nodes = Nodes(9)
    own = {name: count_figures([300]) for name in nodes.ids}
    whole = nodes.terms(1, readers=nodes.ids, measures=(NOISED,))
    fewer = nodes.terms(1, readers=nodes.ids[:5], participants=nodes.ids[:5], measures=(NOISED,))
    said, of_fewer = nodes.indicators(whole, own), nodes.indicators(fewer, own)
    nodes.values(whole, said)
    for name in fewer.participants:
        with pytest.raises(ListTooClose, match="stated for another list"):
            nodes.rounds[name].values(fewer, of_fewer)


@pytest.mark.parametrize("kept", [1, 0])
def test_two_nodes_that_withhold_their_noise_change_nothing(kept: int) -> None:
    """The shares of all others alone are as wide as the noise that is promised; were r one of all
    nodes, six of eight would leave a quarter of its variance less."""
    scale, cells = Fraction(20), 1500
    ids = names(5)
    noises = [Noise(octets("noise", n), RELEASE, list_digest(ids), len(ids)) for n in ids]
    if not kept:
        for noise in noises:
            noise._nodes += BOUGHT
    left = [sum(n.share(f"c{at}", "count", scale) for n in noises[2:]) for at in range(cells)]
    variance = sum(each**2 for each in left) / cells
    promised = 2 * scale**2
    off = 4.4 * (5 / cells) ** 0.5  # the fourth moment of Laplace is six times the variance squared
    assert (abs(variance / promised - 1) < off) == bool(kept), float(variance / promised)


@pytest.mark.parametrize("defended", [True, False])
def test_a_partners_second_node_says_something_else_under_the_same_masks(defended: bool) -> None:
    """Both have p03's keys, each a store of its own, and the second one became the first: the
    difference is exact where seeds do not say by which node it takes part, and else a mask."""
    nodes = Nodes(8)
    terms = nodes.terms(1, readers=nodes.ids, measures=(NOISED,))
    own = {name: count_figures([20]) for name in nodes.ids}
    own["p03"] = count_figures([777])
    said = nodes.indicators(terms, own)
    seen = {name: each.vector for name, each in said.items()}
    first = nodes.values(terms, said)["p03"]
    seeds = nodes.seeds("p03", node="b" if defended else "a")
    second = replace(nodes.rounds["p03"], keeper=ListKeeper(MemoryStore()), seeds=seeds)
    again = second.indicators(terms, nodes.ready(terms), lambda: count_figures([5]))
    if not defended:
        (one,), (other,) = unpack(first.vector), unpack(second.values(terms, said).vector)
        assert (one - other) % 2**128 == 777 - 5
        return
    for said_then in (said, said | {"p03": again}):
        with pytest.raises(Forged):
            second.values(terms, said_then)
    others = [name for name in nodes.ids if name != "p03"]
    masks = {name: seeds(name, terms.quarter) for name in others}
    forced = mask([5], "p03", others, masks, terms.values_binding(seen))
    for one_vector, other_vector in ((first.vector, forced), (said["p03"].vector, again.vector)):
        (one,), (other,) = unpack(one_vector), unpack(other_vector)
        assert min((one - other) % 2**128, (other - one) % 2**128) > 2**64


def test_two_gateways_with_two_cut_offs_stop_a_release_for_good() -> None:
    """Each reaches half of the nodes first; no terms are left that all of them say again."""
    nodes = Nodes(8)
    own = {name: count_figures([20]) for name in nodes.ids}
    one = nodes.terms(1, readers=nodes.ids)
    other = replace(one, cut_off=one.cut_off + 1)
    for terms, reached in ((one, nodes.ids[:4]), (other, nodes.ids[4:])):
        nodes.indicators(terms, own, reached)
    for terms in (one, other):
        refused = []
        for name in nodes.ids:
            try:
                nodes.indicators(terms, own, [name])
            except FairleadError as error:
                refused.append(error.code)
        assert refused == ["ROUND_DIFFERS"] * 4


def test_one_node_stops_a_release_for_good_and_nobody_knows_which() -> None:
    """Its values are random; the sum is refused, today and whenever it is tried again."""
    nodes = Nodes(8)
    terms = nodes.terms(1, readers=nodes.ids)
    own = {name: count_figures([20]) for name in nodes.ids}
    said = nodes.indicators(terms, own)
    seen = {name: each.vector for name, each in said.items()}
    for _ in range(2):
        values = dict(nodes.values(terms, said))
        values["p00"] = lying(nodes, terms, "p00", [2**100], Round.VALUES, seen)
        with pytest.raises(Forged, match="a node lied") as caught:
            nodes.combined(terms, said, values)
        assert caught.value.reasons == ("MASKS",)
        assert "p00" not in str(caught.value) + str(caught.value.remedy)
