"""Which cells of a release may be shown (fairlead/disclosure)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.disclosure.complement import complementary
from fairlead.disclosure.exposure import exposed
from fairlead.disclosure.ledger import Asked, Ledger, Release
from fairlead.disclosure.release import (
    Decided,
    ReleaseRefused,
    Sums,
    decide,
    needs_sums,
)
from fairlead.disclosure.rounding import behind, round_to_base
from fairlead.disclosure.rules import Reason, Rules, primary
from fairlead.disclosure.system import Interval, Sum
from fairlead.errors import Conflict, InvalidInput, Stale

RULES = Rules()
BOUND = 10_000
PARTS = ("2026/a", "2026/b", "2026/c", "2026/d")
YEAR = Sum(whole="2026", parts=PARTS)
ASKED = Asked(
    cube="reports", cube_version=1, measure="count", level="region", period="2026", version=1
)
TOTAL = replace(ASKED, level="year")


def span(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


def sums(cells: Sequence[str], values: Sequence[int], few: Sequence[str] = ()) -> Sums:
    """Sums of cells, in which the ``few`` have two contributors and the others eight."""
    indicators = tuple(2 if cell in few else 8 for cell in cells)
    return Sums(
        cells=tuple(cells), values=tuple(values), indicators=indicators, counts=(50,) * len(cells)
    )


def released(asked: Asked, given: Sums, ledger: Ledger | None = None) -> Decided:
    """One release more of the year and its parts."""
    return decide(asked, given, [YEAR], ledger or Ledger(), RULES, bound=BOUND)


# ── By themselves ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("contributors", "records", "waived", "reason"),
    [
        (4, 10, 0, None), (3, 10, 0, Reason.TOO_FEW_CONTRIBUTORS),
        (0, 0, 0, Reason.TOO_FEW_CONTRIBUTORS), (4, 9, 0, Reason.TOO_FEW_RECORDS),
        (4, 10, 1, Reason.TOO_FEW_CONTRIBUTORS), (5, 10, 1, None),
        (4, -3, 0, Reason.TOO_FEW_RECORDS),
    ],
)  # fmt: skip
def test_a_count_needs_three_contributors_beside_its_reader_and_ten_records(
    contributors: int, records: int, waived: int, reason: Reason | None
) -> None:
    """A reader who contributes covers nobody from itself, nor does who publishes its share."""
    found = primary([contributors], [records], None, RULES, waived=[waived])
    assert found.get(0) == reason


@pytest.mark.parametrize(
    ("moments", "dominated"),
    [
        ((600, 60_000), False), ((3005, 9_000_005), True), ((4, 9), False), ((4, 10), True),
        ((4 * 10**20, 9 * 10**40), False), ((4 * 10**20, 9 * 10**40 + 1), True),
        ((0, 0), True), ((-5, 25), True),
    ],
)  # fmt: skip
def test_one_contributor_may_not_make_up_most_of_a_sum(
    moments: tuple[int, int], dominated: bool
) -> None:
    """Σx² / (Σx)² ≤ 9/16 is compared exactly, and a sum that noise made vanish is no sum."""
    found = primary([6], [100], [moments], RULES)
    assert (found.get(0) is Reason.DOMINATED) == dominated


def test_a_measure_that_can_be_dominated_needs_five_beside_its_reader() -> None:
    """Five contributors are not enough where one of them reads, six are."""
    found = primary([5, 6], [100, 100], [(50, 500), (60, 600)], RULES)
    assert found == {0: Reason.TOO_FEW_CONTRIBUTORS}


def test_figures_that_are_not_all_there_are_no_figures() -> None:
    """A vector shorter than the others is an error, never a cell without a rule."""
    with pytest.raises(InvalidInput):
        primary([5, 5], [10], None, RULES)
    with pytest.raises(InvalidInput):
        decide(ASKED, replace(sums(PARTS, [1] * 4), values=(1,)), [], Ledger(), RULES, bound=BOUND)


@pytest.mark.parametrize(
    "wrong",
    [{"contributors": 0}, {"round_to": 4}, {"width": 0}, {"hhi": Fraction(1)}, {"versions": 0},
     {"share": Fraction(0)}, {"records": -1}, {"round_to": -5}, {"draws": 0}],
)  # fmt: skip
def test_a_rule_that_protects_nothing_is_refused(wrong: dict[str, int]) -> None:
    """Rules that are empty or out of range cannot be made."""
    with pytest.raises(InvalidInput):
        Rules(**wrong)  # type: ignore[arg-type]


@given(st.integers(-100, 10_000), st.sampled_from([1, 3, 5, 7]))
def test_a_value_lies_behind_its_figure(value: int, base: int) -> None:
    """What a figure says always holds, except that nothing below zero is said."""
    figure = round_to_base(value, base)
    said = behind(figure, base)
    assert figure % base == 0
    assert said.low <= max(0, value) <= said.high
    assert said.high - said.low <= base - 1


# ── Together ─────────────────────────────────────────────────────────────────────────────────


def test_a_withheld_cell_is_found_by_subtraction() -> None:
    """A total and all parts but one bound that one, within what rounding leaves."""
    known = {"2026": span(198, 202)} | {part: span(28, 32) for part in PARTS[1:]}
    (found,) = exposed([YEAR], known, [PARTS[0]], RULES, bound=BOUND)
    assert (found.cell, found.low, found.high) == (PARTS[0], 102, 118)
    assert found.through <= {"2026", *PARTS[1:]}


def test_a_withheld_cell_is_found_over_several_levels() -> None:
    """No single sum gives it away, all of them together do."""
    months = tuple(f"2026-{month:02d}" for month in range(1, 4))
    fine = {(m, r): f"{m}/{r}" for m in months for r in "ab"}
    relations = [Sum(whole=m, parts=(fine[m, "a"], fine[m, "b"])) for m in months]
    relations.append(Sum(whole="Q1/a", parts=tuple(fine[m, "a"] for m in months)))
    known = {m: span(100, 100) for m in months} | {"Q1/a": span(150, 150)}
    known |= {fine[months[0], "b"]: span(40, 40), fine[months[1], "b"]: span(60, 60)}
    secret = [fine[months[2], "a"], fine[months[2], "b"]]
    found = exposed(relations, known, secret, RULES, bound=BOUND)
    assert [(each.low, each.high) for each in found] == [(50, 50), (50, 50)]
    assert exposed(relations[:-1], known, secret, RULES, bound=BOUND) == []


def test_what_no_sum_mentions_is_as_unknown_as_its_bound() -> None:
    """Alone, a cell may be anything up to the bound; a bound of four protects nobody."""
    assert exposed([], {}, ["x"], RULES, bound=BOUND) == []
    assert [each.high for each in exposed([], {}, ["x"], RULES, bound=4)] == [4]


def test_figures_that_contradict_each_other_are_reconciled() -> None:
    """Noise may make parts exceed their total: the audit then corrects as little as it can."""
    known = {"2026": span(8, 12)} | {part: span(28, 32) for part in PARTS[1:]}
    (found,) = exposed([YEAR], known, [PARTS[0]], RULES, bound=BOUND)
    assert found.high < 5


def test_further_cells_are_withheld_until_nothing_is_exposed() -> None:
    """The least one goes first, and the audit then finds nothing."""
    cells = {PARTS[1]: span(48, 52), PARTS[2]: span(18, 22), PARTS[3]: span(88, 92)}
    out = {"2026": span(358, 362)}
    found = complementary(cells, [YEAR], out, [PARTS[0]], RULES, bound=BOUND)
    assert (found.further, found.beyond) == ((PARTS[2],), ())
    shown = {cell: cells[cell] for cell in cells if cell not in found.further}
    assert exposed([YEAR], out | shown, [PARTS[0], PARTS[2]], RULES, bound=BOUND) == []


def test_what_is_exposed_by_what_is_out_is_said_to_be() -> None:
    """Nothing that this release could withhold helps, and nothing is claimed."""
    out = {"2026": span(198, 202)} | {part: span(28, 32) for part in PARTS[1:]}
    found = complementary({}, [YEAR], out, [PARTS[0]], RULES, bound=BOUND)
    assert [each.cell for each in found.beyond] == [PARTS[0]]


def test_a_figure_of_an_earlier_version_remains_known() -> None:
    """Withholding the next version of it takes back nothing, and it needs no protection."""
    out = {"2026": span(358, 362), PARTS[2]: span(18, 22), PARTS[3]: span(88, 92)}
    out[PARTS[1]] = span(50, 54)
    cells = {PARTS[1]: span(48, 52)}
    found = complementary(cells, [YEAR], out, [PARTS[0]], RULES, bound=BOUND)
    assert [each.cell for each in found.beyond] == [PARTS[0]]


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_no_table_of_two_dimensions_gives_a_withheld_cell_away(data: st.DataObject) -> None:
    """Whatever is in a small table, the cells chosen leave every withheld one wide enough."""
    rows, columns = range(3), range(3)
    values = {
        f"r{r}/c{c}": data.draw(st.integers(0, 80), label="value") for r in rows for c in columns
    }
    relations = [Sum(whole=f"r{r}", parts=tuple(f"r{r}/c{c}" for c in columns)) for r in rows]
    relations += [Sum(whole=f"c{c}", parts=tuple(f"r{r}/c{c}" for r in rows)) for c in columns]
    out = {
        each.whole: behind(round_to_base(sum(values[part] for part in each.parts), 5), 5)
        for each in relations
    }
    secret = data.draw(st.lists(st.sampled_from([*values]), min_size=1, unique=True))
    cells = {c: behind(round_to_base(v, 5), 5) for c, v in values.items() if c not in secret}
    bare = exposed(relations, out, secret, RULES, bound=BOUND)
    found = complementary(cells, relations, out, secret, RULES, bound=BOUND)
    assert {each.cell for each in bare} >= {each.cell for each in found.beyond} & {*secret}
    shown = {cell: cells[cell] for cell in cells if cell not in found.further}
    kept = [*secret, *found.further]
    left = exposed(relations, out | shown, kept, RULES, bound=BOUND)
    assert {each.cell for each in left} == {each.cell for each in found.beyond}


# ── Releases ─────────────────────────────────────────────────────────────────────────────────


def test_a_release_is_frozen() -> None:
    """Whoever asks again gets the first figures, whatever the sums have become."""
    first = released(ASKED, sums(PARTS, [51, 62, 73, 84]))
    again = released(ASKED, sums(PARTS, [1, 2, 3, 4]), first.ledger)
    assert again.release == first.release
    assert first.release.figures == (50, 60, 75, 85)
    other = replace(first.release, figures=(0, 0, 0, 0))
    with pytest.raises(Conflict):
        first.ledger.with_release(other)


def test_a_cell_is_frozen_whatever_period_asks_for_it() -> None:
    """A second release of the same version with one of its cells is a mistake of who asks."""
    first = released(ASKED, sums(PARTS, [51, 62, 73, 84]))
    other = replace(ASKED, period="2026..2027")
    with pytest.raises(Conflict):
        released(other, sums(PARTS[:2], [51, 62]), first.ledger)


def test_versions_follow_each_other_and_are_few() -> None:
    """One may be left out, none comes after a later one, and after the fourth there is none."""
    ledger = released(replace(ASKED, version=2), sums(PARTS, [50] * 4), Ledger()).ledger
    with pytest.raises(Stale):
        released(ASKED, sums(PARTS, [50] * 4), ledger)
    for version in range(3, RULES.versions + 1):
        ledger = released(replace(ASKED, version=version), sums(PARTS, [50] * 4), ledger).ledger
    with pytest.raises(ReleaseRefused):
        released(replace(ASKED, version=RULES.versions + 1), sums(PARTS, [50] * 4), ledger)


def test_a_record_is_in_few_figures_of_their_own() -> None:
    """One too many is refused, whatever the level; a total of published parts is none."""
    rules = replace(RULES, draws=2)
    ledger = released(ASKED, sums(PARTS, [51, 62, 73, 84])).ledger
    total = decide(TOTAL, sums(["2026"], [295]), [YEAR], ledger, rules, bound=BOUND)
    assert total.release.figures == (270,)
    second = replace(ASKED, version=2)
    twice = decide(second, sums(PARTS, [50] * 4), [YEAR], total.ledger, rules, bound=BOUND)
    third = replace(ASKED, version=3)
    with pytest.raises(ReleaseRefused):
        decide(third, sums(PARTS, [50] * 4), [YEAR], twice.ledger, rules, bound=BOUND)


def test_where_figures_are_used_up_the_total_is_of_the_published_parts() -> None:
    """No further noise is drawn, and nothing is refused that tells nothing."""
    rules = replace(RULES, draws=1)
    ledger = released(ASKED, sums(PARTS, [30, 62, 73, 84], few=PARTS[:2])).ledger
    total = decide(TOTAL, sums(["2026"], [249]), [YEAR], ledger, rules, bound=BOUND)
    assert (total.release.figures, total.release.partial) == ((160,), {"2026"})


def test_what_one_version_withheld_the_next_one_does_not_show() -> None:
    """Shown later, it would tell what it was before, and what it protected."""
    ledger = released(TOTAL, sums(["2026"], [307])).ledger
    first = released(ASKED, sums(PARTS, [100, 20, 90, 97], few=PARTS[:1]), ledger)
    assert first.release.figures == (None, None, 90, 95)
    second = released(replace(ASKED, version=2), sums(PARTS, [30, 99, 90, 97]), first.ledger)
    assert second.release.figures == (None, None, 90, 95)
    assert second.reasons == dict.fromkeys(PARTS[:2], Reason.WITHHELD_BEFORE)


def test_a_total_of_published_parts_is_their_sum() -> None:
    """It is not rounded from its own sum, whose noise would be a second look at the records."""
    ledger = released(ASKED, sums(PARTS, [51, 62, 73, 84])).ledger
    total = released(TOTAL, sums(["2026"], [295]), ledger)
    assert total.release.figures == (270,)
    assert total.release.spans == {"2026": span(262, 278)}


def test_totals_of_published_parts_need_no_sums() -> None:
    """A node is asked for no figure that its neighbours' answers give away already."""
    assert needs_sums(ASKED, PARTS, [YEAR], Ledger(), RULES)
    ledger = released(ASKED, sums(PARTS, [51, 62, 73, 84])).ledger
    assert not needs_sums(TOTAL, ["2026"], [YEAR], ledger, RULES)
    unasked = released(TOTAL, Sums.unasked(["2026"]), ledger)
    asked = released(TOTAL, sums(["2026"], [295]), ledger)
    assert (unasked.release, unasked.reasons) == (asked.release, {})
    assert not needs_sums(TOTAL, ["2026"], [YEAR], asked.ledger, RULES)
    some = released(ASKED, sums(PARTS, [51, 62, 73, 84], few=PARTS[:1])).ledger
    assert needs_sums(TOTAL, ["2026"], [YEAR], some, RULES)


def test_the_audit_takes_a_total_of_published_parts_for_nothing_new() -> None:
    """Counted beside its parts it would have a say in which of two contradicting figures is moved,
    and a cell that was safe before would be exposed by a figure that anybody can add up."""
    ledger = released(ASKED, sums(PARTS, [51, 62, 73, 84])).ledger
    total = released(TOTAL, sums(["2026"], [295]), ledger)
    assert total.ledger.known(5) == ledger.known(5)
    assert total.ledger.withheld() == ledger.withheld()


def test_a_total_that_would_give_a_part_away_is_of_the_published_parts() -> None:
    """It says so, and neither the audit nor a later total takes it for the whole."""
    ledger = released(ASKED, sums(PARTS, [300, 62, 73, 84], few=PARTS[:1])).ledger
    total = released(TOTAL, sums(["2026"], [519]), ledger)
    assert total.release.figures == (220,)
    assert total.release.partial == {"2026"}
    assert "2026" not in total.ledger.known(5)
    assert total.beyond == ()


def test_a_total_that_covers_its_withheld_parts_is_its_own() -> None:
    """Where several parts are withheld, the coarser level says how much they are together."""
    ledger = released(ASKED, sums(PARTS, [30, 62, 73, 84], few=PARTS[:2])).ledger
    total = released(TOTAL, sums(["2026"], [249]), ledger)
    assert (total.release.figures, total.release.partial) == ((250,), frozenset())


def test_every_order_of_release_protects_the_same_cell() -> None:
    """Whatever comes first, nothing that is out bounds what is withheld."""
    halves = (Sum(whole="h1", parts=PARTS[:2]), Sum(whole="h2", parts=PARTS[2:]))
    relations = [YEAR, *halves, Sum(whole="2026", parts=("h1", "h2"))]
    given_ = {
        "region": sums(PARTS, [300, 62, 73, 84], few=PARTS[:1]), "year": sums(["2026"], [519]),
        "half": sums(["h1", "h2"], [362, 157]),
    }  # fmt: skip
    for order in itertools.permutations(given_):
        ledger = Ledger()
        for level in order:
            asked = replace(ASKED, level=level)
            decided = decide(asked, given_[level], relations, ledger, RULES, bound=BOUND)
            assert decided.beyond == ()
            ledger = decided.ledger
        left = exposed(relations, ledger.known(5), ledger.withheld(), RULES, bound=BOUND)
        assert left == []
        assert PARTS[0] in ledger.withheld()


def test_a_waived_share_is_known_to_all() -> None:
    """An owner's published share is taken off its cell, and what is left is protected."""
    rest, own = "2026/a/rest", "2026/a/own"
    relations = [YEAR, Sum(whole=PARTS[0], parts=(own, rest))]
    ledger = Ledger().with_waiver(own, 40)
    known = {**ledger.known(5), PARTS[0]: span(41, 45)}
    (found,) = exposed(relations, known, [rest], RULES, bound=BOUND)
    assert (found.low, found.high) == (1, 5)


def test_what_a_waiver_leaves_of_a_cell_is_protected() -> None:
    """The published share bounds its cell from below, so that more is withheld beside it."""
    relations = [YEAR, Sum(whole=PARTS[0], parts=("own", "rest"))]
    given_ = sums(PARTS, [300, 62, 73, 84], few=PARTS[:1])
    figures = {}
    for waived in (False, True):
        ledger = Ledger().with_waiver("own", 290) if waived else Ledger()
        year = decide(TOTAL, sums(["2026"], [519]), relations, ledger, RULES, bound=BOUND)
        made = decide(ASKED, given_, relations, year.ledger, RULES, bound=BOUND)
        assert made.beyond == ()
        figures[waived] = made.release.figures
    assert figures == {False: (None, None, 75, 85), True: (None, None, None, 85)}


def test_a_refusal_and_a_release_without_figures_are_the_same() -> None:
    """Neither says why."""
    made = released(ASKED, sums(PARTS, [1, 2, 3, 4], few=PARTS)).release
    assert made == Release.refused(ASKED, PARTS)
    assert repr(made) == repr(Release.refused(ASKED, PARTS))


def test_a_release_whose_figures_are_not_its_cells_cannot_be_made() -> None:
    """One figure a cell, one cell a key."""
    for cells, figures in [(("a",), ()), (("a", "a"), (1, 1))]:
        with pytest.raises(InvalidInput):
            Release(asked=ASKED, cells=cells, figures=figures)
    with pytest.raises(InvalidInput):
        span(2, 1)
    with pytest.raises(InvalidInput):
        span(float("nan"), 1)
