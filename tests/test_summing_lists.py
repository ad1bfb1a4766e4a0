"""Lists of participants: no combination of what was served isolates fewer than three nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fairlead.errors import FairleadError
from fairlead.summing import (
    Binding,
    ListKeeper,
    Release,
    Round,
    Served,
    Statement,
    Terms,
    list_digest,
    mask,
)
from fairlead.summing.keeper import MAX_LISTS, MAX_LOOKS, LooksUsedUp
from fairlead.summing.participants import ListTooClose, check_apart
from tests.summed import RELEASE, MemoryStore, Nodes, count_figures, names


def served(
    participants: Sequence[str], release: Release = RELEASE, readers: tuple[str, ...] = ("reader",)
) -> Served:
    return Served(release=release, participants=tuple(sorted(participants)), readers=readers)


def isolates(lists: Collection[tuple[str, ...]]) -> bool:
    """Whether adding and subtracting some of the lists' sums leaves one or two nodes' figures."""
    for factors in product((-1, 0, 1), repeat=len(lists)):
        weights: dict[str, int] = {}
        for factor, listed in zip(factors, lists, strict=True):
            for name in listed:
                weights[name] = weights.get(name, 0) + factor
        if 0 < sum(weight != 0 for weight in weights.values()) < 3:
            return True
    return False


LISTS = st.lists(st.sets(st.sampled_from(names(9)), min_size=1), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(lists=LISTS)
def test_lists_that_pass_isolate_nobody(lists: list[set[str]]) -> None:
    """Found by trying every combination, which the rule itself does not."""
    wanted = {tuple(sorted(listed)) for listed in lists}
    with suppress(ListTooClose):
        check_apart(wanted, ())
        assert not isolates(wanted)


def test_two_lists_pass_when_they_differ_by_three_each_way() -> None:
    """Three away, or three others in their place; one, two, or one against two do not pass."""
    ids = names(12)
    for other in (ids[:9], ids[3:], ids[:3], ids):
        check_apart({ids, other}, ())
    check_apart({ids[:9], ids[3:]}, ())
    for one, other in ((ids, ids[1:]), (ids, ids[2:]), (ids[:10], ids[1:9] + ids[10:12])):
        with pytest.raises(ListTooClose):
            check_apart({one, other}, ())


def test_a_reader_does_not_count_among_the_three() -> None:
    """Who is in a group of three and reads the sums sees two others' figures."""
    ids = names(9)
    check_apart({ids, ids[3:]}, ("reader",))
    with pytest.raises(ListTooClose):
        check_apart({ids, ids[3:]}, (ids[0],))
    check_apart({ids, ids[4:]}, (ids[0], ids[5]))


def test_a_list_is_served_again_and_another_one_waits() -> None:
    """The same list always; one node fewer neither now nor in the next version, three in both."""
    keeper, ids, after = ListKeeper(MemoryStore()), names(8), replace(RELEASE, version=2)
    keeper.serve(served(ids))
    keeper.serve(served(ids))
    for release in (RELEASE, after):
        with pytest.raises(ListTooClose):
            keeper.serve(served(ids[1:], release))
    keeper.serve(served(ids[3:], after))
    keeper.serve(served(ids, after))


def test_lists_of_several_versions_count_together() -> None:
    """A list far from the last version's is refused when it is too near to the first's."""
    keeper, ids = ListKeeper(MemoryStore()), names(12)
    keeper.serve(served(ids[:9]))
    keeper.serve(served(ids[:6], replace(RELEASE, version=2)))
    with pytest.raises(ListTooClose):
        keeper.serve(served((*ids[:8], ids[9]), replace(RELEASE, version=3)))
    keeper.serve(served(ids, replace(RELEASE, version=3)))


def test_a_release_has_no_more_than_two_lists() -> None:
    """Each list has noise of its own, and what is drawn often enough averages out."""
    keeper, ids = ListKeeper(MemoryStore()), names(12)
    keeper.serve(served(ids))
    keeper.serve(served(ids[:6]))
    with pytest.raises(ListTooClose, match="as many lists"):
        keeper.serve(served(ids[6:]))
    assert MAX_LISTS == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"level": "quarter"}, {"level": "year", "period": "2026"}, {"cube_version": 2},
        {"level": "month", "period": "2026-03"},
    ],
)  # fmt: skip
def test_a_total_has_its_parts_list(changed: dict[str, object]) -> None:
    """A total without a node, less the parts with it, would be that node."""
    keeper, ids = ListKeeper(MemoryStore()), names(8)
    keeper.serve(served(ids))
    with pytest.raises(ListTooClose):
        keeper.serve(served(ids[1:], replace(RELEASE, **changed)))  # type: ignore[arg-type]
    keeper.serve(served(ids, replace(RELEASE, **changed)))  # type: ignore[arg-type]


def test_other_figures_may_have_another_list() -> None:
    """Another cube, or a period that shares no month, has nothing to subtract."""
    keeper, ids = ListKeeper(MemoryStore()), names(8)
    keeper.serve(served(ids))
    keeper.serve(served(ids[1:], replace(RELEASE, cube="seizures")))
    keeper.serve(served(ids[1:], replace(RELEASE, period="2026-Q2")))
    with pytest.raises(ListTooClose):
        keeper.serve(served(ids[1:], replace(RELEASE, level="year", period="2026")))


def test_the_same_records_are_in_few_sums() -> None:
    """Whichever level, version or list it is, a seventh sum of one month is refused for good; the
    six are stated again, and other months' sums too."""
    keeper, ids = ListKeeper(MemoryStore()), names(12)
    months = replace(RELEASE, level="month", period="2026-02")
    six = [
        served(ids), served(ids[:6]), served(ids, replace(RELEASE, version=2)), served(ids, months),
        served(ids, replace(RELEASE, level="quarter")),
        served(ids, replace(RELEASE, level="year", period="2026")),
    ]  # fmt: skip
    for each in (*six, *six):
        keeper.serve(each)
    assert len(six) == MAX_LOOKS
    for period, level in (("2026", "year,kind"), ("2026-02", "month,kind"), ("2026-Q1", "all")):
        with pytest.raises(LooksUsedUp):
            keeper.serve(served(ids, replace(RELEASE, level=level, period=period)))
    keeper.serve(served(ids, replace(months, period="2026-01")))
    keeper.serve(served(ids, replace(RELEASE, period="2026-Q2")))


def test_a_refused_list_leaves_nothing_behind() -> None:
    """What was refused counts for nothing afterwards."""
    store, ids = MemoryStore(), names(8)
    keeper = ListKeeper(store)
    keeper.serve(served(ids))
    with pytest.raises(ListTooClose):
        keeper.serve(served(ids[1:]))
    assert store.lists == [served(ids)]


def test_a_lists_digest_is_of_its_ids_and_their_lengths() -> None:
    """Ids that run together give another digest."""
    assert len({list_digest(ids) for ids in (("ab", "c1"), ("abc", "1"), ("ab", "c1", ""))}) == 3


# ── A node under every order of calls ────────────────────────────────────────────────────────────

IDS = names(7)
CHOICES = (IDS, IDS[1:], IDS[:4])
RELEASES = (
    *(replace(RELEASE, version=version) for version in range(1, 7)),
    replace(RELEASE, level="year", period="2026"),
)
READERS = (("reader",), ("p03",))
HOW = st.sampled_from(("all", "all", "all", "fewer", "other", "changed"))


class AnyGateway(RuleBasedStateMachine):
    """A gateway that asks nodes for anything, in any order, and passes on what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = Nodes(len(IDS))
        self.turn = 0
        self.ready: dict[Terms, dict[str, Statement]] = {}
        self.said: dict[Terms, dict[str, Statement]] = {}
        self.vectors: dict[tuple[str, bytes], set[bytes]] = {}
        self.transcripts: dict[tuple[str, Release, tuple[str, ...]], set[bytes]] = {}
        self.lists: dict[tuple[str, int], set[tuple[str, ...]]] = {}
        self.looks: dict[tuple[str, int], set[tuple[Release, tuple[str, ...]]]] = {}

    def left(self, terms: Terms, statement: Statement, binding: Binding) -> None:
        """Note what left a node, and what it may be summed with."""
        name = statement.partner_id
        statement.verify(self.nodes.key(name), binding)
        self.vectors.setdefault((name, binding.to_bytes()), set()).add(statement.vector)
        if binding.round is Round.VALUES:
            place = (name, terms.release, terms.participants)
            self.transcripts.setdefault(place, set()).add(binding.earlier)
        for month in terms.release.months:
            served = self.lists.setdefault((name, month), set())
            served.add(terms.participants)
            looks = self.looks.setdefault((name, month), set())
            looks.add((terms.release, terms.participants))

    def passed_on(
        self, said: dict[Terms, dict[str, Statement]], terms: Terms, how: str, data: st.DataObject
    ) -> dict[str, Statement]:
        """Statements of these terms: all there are, or some, or of other terms, or changed."""
        given = dict(said[terms])
        if how == "other":
            given = dict(said[data.draw(st.sampled_from(list(said)))])
        name = data.draw(st.sampled_from(sorted(given))) if given else ""
        if how == "fewer":
            given.pop(name, None)
        if how == "changed" and given:
            given[name] = replace(given[name], vector=bytes(32))
        return given

    @rule(
        release=st.sampled_from(RELEASES),
        listed=st.sampled_from(CHOICES),
        readers=st.sampled_from(READERS),
        how=HOW,
        data=st.data(),
    )
    def begin(
        self,
        release: Release,
        listed: tuple[str, ...],
        readers: tuple[str, ...],
        how: str,
        data: st.DataObject,
    ) -> None:
        """Ask all of a list whether they are ready and, whoever is, for indicators."""
        terms = self.nodes.terms(2, release=release, participants=listed, readers=readers)
        ready = self.ready.setdefault(terms, {})
        for name in listed:
            with suppress(FairleadError):
                ready[name] = self.nodes.rounds[name].ready(terms)
        given = self.passed_on(self.ready, terms, how, data)
        self.turn += 1
        figures = count_figures((self.turn, self.turn % 2))
        for name in IDS if how == "other" else listed:
            with suppress(FairleadError):
                statement = self.nodes.rounds[name].indicators(terms, given, lambda: figures)
                assert given == ready
                assert given.keys() == {*listed}
                self.left(terms, statement, terms.binding(Round.INDICATORS))
                self.said.setdefault(terms, {})[name] = statement

    @rule(how=HOW, data=st.data())
    def finish(self, how: str, data: st.DataObject) -> None:
        """Ask for values, with the indicators of a list or with others."""
        if not self.said:
            return
        terms = data.draw(st.sampled_from(list(self.said)))
        given = self.passed_on(self.said, terms, how, data)
        binding = terms.values_binding({n: s.vector for n, s in given.items()})
        for name in terms.participants:
            with suppress(FairleadError):
                statement = self.nodes.rounds[name].values(terms, given)
                assert given == self.said[terms]
                assert given.keys() == {*terms.participants}
                self.left(terms, statement, binding)

    @rule(data=st.data(), count=st.integers(1, 3))
    def turn_a_node(self, data: st.DataObject, count: int) -> None:
        """One bought node says its indicators anew, and the gateway has both."""
        if not self.said:
            return
        terms = data.draw(st.sampled_from(list(self.said)))
        binding = terms.binding(Round.INDICATORS)
        bought = data.draw(st.sampled_from(sorted(self.said[terms])))
        others = [name for name in terms.participants if name != bought]
        seeds = {other: self.nodes.rounds[bought].seeds(other, terms.quarter) for other in others}
        vector = mask((count, 0), bought, others, seeds, binding)
        key = self.nodes.signers[bought]
        self.said[terms][bought] = Statement.sign(bought, key, binding, vector)

    @invariant()
    def no_mask_is_used_twice(self) -> None:
        """Of each node one vector for each binding."""
        assert all(len(vectors) == 1 for vectors in self.vectors.values())

    @invariant()
    def values_are_of_one_transcript(self) -> None:
        """Of each node, release and list the values are said for one set of indicators."""
        assert all(len(seen) == 1 for seen in self.transcripts.values())

    @invariant()
    def no_record_is_in_many_sums(self) -> None:
        """Of each node and month, over levels, versions and lists."""
        assert all(len(looks) <= MAX_LOOKS for looks in self.looks.values())

    @invariant()
    def nobody_is_isolated(self) -> None:
        """No combination of the lists that a node served for a month leaves one or two."""
        assert not any(isolates(lists) for lists in self.lists.values())


TestAnyGateway = AnyGateway.TestCase
TestAnyGateway.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
