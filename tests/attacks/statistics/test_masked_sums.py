"""Attacks on masked sums: each fails, and succeeds once its defence is switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from fairlead.errors import Conflict, Forged
from fairlead.summing import ListKeeper, Round, Statement, Terms, contributors, mask, totals
from fairlead.summing.figures import BoundExceeded
from fairlead.summing.masking import pack, sum_of, unpack
from tests.summed import COUNT, RELEASE, MemoryStore, Nodes, count_figures, names

ALONE = {"p00": (7, 1), "p01": (4, 2), "p02": (0, 3), "p03": (0, 4), "p04": (0, 5)}
"""Only two nodes have anything in the first cell."""
FIGURES = {name: count_figures(row) for name, row in ALONE.items()}


@pytest.fixture
def nodes() -> Nodes:
    """Five partners."""
    return Nodes(5)


# ── One node, by lists (the games are in isolating.py)


def test_a_gateway_that_has_everything_gets_no_second_list(nodes: Nodes) -> None:
    """After three rounds a node is said to be gone: all others refuse, and repeat themselves."""
    terms = nodes.terms(2)
    said = nodes.indicators(terms, FIGURES)
    values = nodes.values(terms, said)
    rest = nodes.terms(2, participants=nodes.ids[1:])
    for name in rest.participants:
        with pytest.raises(Exception, match="stated for another list"):
            nodes.rounds[name].ready(rest)
    assert nodes.values(terms, said) == values


# ── Masks


def test_no_mask_is_used_for_two_vectors(nodes: Nodes) -> None:
    """Over rounds, levels, lists, versions and periods all words of all zero vectors differ."""
    words: list[bytes] = []
    for changed in (
        {}, {"level": "quarter"}, {"version": 2}, {"period": "2026-Q2"}, {"cube_version": 2},
    ):  # fmt: skip
        terms = nodes.terms(2, release=replace(RELEASE, **changed))
        nothing = {name: count_figures((0, 0)) for name in nodes.ids}
        said = nodes.indicators(terms, nothing)
        words += _words(said)
        binding = terms.values_binding({name: s.vector for name, s in said.items()})
        seeds = {other: nodes.rounds["p00"].seeds(other, terms.quarter) for other in nodes.ids[1:]}
        vector = mask((0, 0), "p00", nodes.ids[1:], seeds, binding)
        words += [vector[:16], vector[16:]]
    assert len({*words}) == len(words) == 5 * 12


def test_figures_that_change_do_not_show_by_asking_twice(nodes: Nodes) -> None:
    """A node that kept nothing would mask both figures alike, and their difference would show."""
    terms = nodes.terms(2, measures=(COUNT,))
    full = {name: count_figures((1, 1)) for name in nodes.ids}
    first = nodes.indicators(terms, full)
    changed = full | {"p03": count_figures((0, 1))}
    assert nodes.indicators(terms, changed) == first
    forgetful = nodes.rounds["p03"]
    forgetful = replace(forgetful, keeper=ListKeeper(MemoryStore()))
    again = forgetful.indicators(terms, nodes.ready(terms), lambda: changed["p03"])
    off = [
        a - b for a, b in zip(unpack(first["p03"].vector), unpack(again.vector), strict=True)
    ]  # fmt: skip
    assert off == [1, 0]


# ── Vectors of others, of another time, of another length


def test_an_old_vector_is_not_summed_anew(nodes: Nodes) -> None:
    """A vector of the last version is not signed for this one; unsigned it adds up to nothing."""
    old = nodes.indicators(nodes.terms(2), FIGURES)
    terms = nodes.terms(2, release=replace(RELEASE, version=2))
    said = nodes.indicators(terms, FIGURES)
    replayed = said | {"p01": old["p01"]}
    with pytest.raises(Forged) as caught:
        nodes.rounds["p00"].values(terms, replayed)
    assert caught.value.code == "SIGNATURE"
    with pytest.raises(Forged) as caught:
        contributors(_vectors(replayed), terms)
    assert caught.value.code == "MASKS"


def test_a_vector_of_another_length_is_refused(nodes: Nodes) -> None:
    """Signed by its own node or not, nothing is summed beside a vector of other cells."""
    terms = nodes.terms(2)
    said = nodes.indicators(terms, FIGURES)
    for size in (0, 16, 31, 48):
        vector = said["p04"].vector.ljust(size, b"\x00")[:size]
        with pytest.raises(Forged) as caught:
            nodes.rounds["p00"].values(terms, said | {"p04": _resigned(nodes, terms, vector)})
        assert caught.value.code == "VECTORS"


def test_a_gateway_cannot_make_up_contributors(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding to a vector on its way breaks its signature; unsigned, two contributors pass as 4."""
    terms = nodes.terms(2)
    said = nodes.indicators(terms, FIGURES)
    forged = said | {"p04": replace(said["p04"], vector=_plus(said["p04"].vector, (2, 0)))}
    with pytest.raises(Forged) as caught:
        nodes.values(terms, forged)
    assert caught.value.code == "SIGNATURE"
    monkeypatch.setattr(Statement, "verify", lambda *_: None)
    with pytest.raises(Forged, match="own vector"):
        nodes.rounds["p04"].values(terms, forged)
    values = {n: nodes.rounds[n].values(terms, forged) for n in nodes.ids if n != "p04"}
    assert {len(value.vector) for value in values.values()} == {32}


def test_nodes_that_are_shown_different_vectors_send_nothing_that_adds_up(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bought node signs two vectors, and the gateway shows each to half of the nodes."""
    assert _shown_apart(nodes) is None
    monkeypatch.setattr(
        Terms, "values_binding", lambda terms, _: terms.binding(Round.VALUES)
    )  # fmt: skip
    assert _shown_apart(Nodes(5)) == 7 + 4 + 3 + 4 + 5


def test_a_node_says_its_values_for_one_set_of_indicators(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown a bought node's two vectors one after the other, it answers the first alone."""
    terms = nodes.terms(2)
    said = nodes.indicators(terms, FIGURES)
    other = said | {"p04": _bought(nodes, terms, (2, 1))}
    first = nodes.rounds["p00"].values(terms, said)
    with pytest.raises(Conflict) as caught:
        nodes.rounds["p00"].values(terms, other)
    assert caught.value.code == "ROUND_DIFFERS"
    assert nodes.rounds["p00"].values(terms, said) == first
    kept = ListKeeper.said

    def forgetful(self, wanted, kind, context, make):  # type: ignore[no-untyped-def]
        return make() if kind == "values" else kept(self, wanted, kind, context, make)

    monkeypatch.setattr(ListKeeper, "said", forgetful)
    second = nodes.rounds["p00"].values(terms, other)
    assert (len(first.vector), len(second.vector)) == (16, 32)


# ── Figures that are too large


def test_a_figure_over_its_bound_never_leaves(nodes: Nodes) -> None:
    """Over the bound a node sends nothing; without the check the sum shows it."""
    terms = nodes.terms(2)
    huge = FIGURES | {"p02": replace(FIGURES["p02"], values=((0,), (10 * COUNT.bound,)))}
    with pytest.raises(BoundExceeded):
        nodes.indicators(terms, huge)
    honest = Nodes(5)
    said = honest.indicators(terms, FIGURES)
    counted = contributors(_vectors(said), terms)
    values = _vectors(honest.values(terms, said))
    values["p02"] = _plus(values["p02"], (10 * COUNT.bound,))
    with pytest.raises(Forged) as caught:
        totals(values, counted, terms)
    assert caught.value.code == "MASKS"


def test_a_sum_does_not_wrap_into_another_one() -> None:
    """The largest squares of a thousand nodes, with their noise, stay below half of 2¹²⁸."""
    from fairlead.summing.figures import MAX_BOUND
    from fairlead.summing.participants import MAX_PARTICIPANTS
    from fairlead.summing.sampling import MAX_SCALE

    assert MAX_PARTICIPANTS * MAX_BOUND**2 + 128 * MAX_SCALE < 2**127
    vectors = {name: pack((MAX_BOUND**2,)) for name in names(9)}
    assert sum_of(vectors, 1, names(9)) == (9 * MAX_BOUND**2,)


# ── Tools of the attackers


def _words(said: Mapping[str, Statement]) -> list[bytes]:
    vectors = [statement.vector for statement in said.values()]
    return [v[at : at + 16] for v in vectors for at in range(0, len(v), 16)]


def _vectors(said: Mapping[str, Statement]) -> dict[str, bytes]:
    return {name: statement.vector for name, statement in said.items()}


def _plus(vector: bytes, more: Sequence[int]) -> bytes:
    """A masked vector with something added: whoever carries it can do that."""
    words = [int.from_bytes(vector[at : at + 16], "little") for at in range(0, len(vector), 16)]
    added = [(word + plus) % 2**128 for word, plus in zip(words, more, strict=True)]
    return b"".join(word.to_bytes(16, "little") for word in added)


def _resigned(nodes: Nodes, terms: Terms, vector: bytes) -> Statement:
    binding = terms.binding(Round.INDICATORS)
    return Statement.sign("p04", nodes.signers["p04"], binding, vector)


def _bought(nodes: Nodes, terms: Terms, indicators: Sequence[int]) -> Statement:
    """What a bought p04 signs beside what it has said."""
    seeds = {other: nodes.rounds["p04"].seeds(other, terms.quarter) for other in nodes.ids[:4]}
    binding = terms.binding(Round.INDICATORS)
    return _resigned(nodes, terms, mask(indicators, "p04", nodes.ids[:4], seeds, binding))


def _shown_apart(nodes: Nodes) -> int | None:
    """Half of the nodes see a cell survive that has two contributors, the others see another one
    survive in its place; what the gateway gets for adding both kinds up, if anything."""
    terms = nodes.terms(2)
    said = nodes.indicators(terms, FIGURES)
    # Cell 0 has two contributors, cell 1 five: once 0 seems to have 3 and 1 only 2.
    other = said | {"p04": _bought(nodes, terms, (1, -2))}
    values = {
        name: nodes.rounds[name].values(terms, other if name in ("p00", "p01") else said).vector
        for name in nodes.ids
        if name != "p04"
    }
    values["p04"] = nodes.rounds["p04"].values(terms, said).vector
    found = sum_of(values, 1, nodes.ids)[0]
    return found if abs(found) < 2**60 else None
