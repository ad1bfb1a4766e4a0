"""What is released of a unit: exact without noise, within its error with noise, and for good."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.disclosure.rules import Rules
from fairlead.errors import Conflict, InvalidInput, Stale
from fairlead.published import Published, PublishedCell, Shown
from fairlead.strategic import case
from fairlead.strategic.books import Books
from fairlead.strategic.deciding import decide_unit, needs_rounds, not_reported, total_unit
from fairlead.strategic.layout import layout_of
from fairlead.strategic.terms import word_names
from fairlead.summing import noise, rounds
from tests.cubes import small, written
from tests.strategic import (
    NOW,
    REGISTRY,
    Federation,
    by_measure,
    federation,
    months_of,
)

REPORTS = REGISTRY.cube("reports-received")
FEEDBACK = REGISTRY.cube("report-feedback")
SEIZURES = REGISTRY.cube("seizures")
ANSWER = {"registry_digest": REGISTRY.digest, "expected": 9, "released_at": NOW}


def cells(made: Published, measure: str) -> tuple[PublishedCell, ...]:
    return made.of(measure)


def suppressed(made: Published) -> bool:
    return {shown for shown, count in made.counted().items() if count} == {Shown.SUPPRESSED}


def test_sums_are_exact_where_nodes_add_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of seven real nodes; what is shown is the pooled truth, rounded."""
    monkeypatch.setattr(noise.Noise, "share", lambda *_, **__: 0)
    pool = federation(REPORTS, months=months_of("2026-Q1"), each=40, real=True)
    made = pool.release("quarter,country", "2026-Q1")
    truth = pool.truth(REPORTS.level("quarter,country"), parse_unit("2026-Q1"))
    shown = 0
    for cell, (true,) in zip(cells(made.published, "reports"), truth.values, strict=True):
        if cell.shown is Shown.VALUE:
            shown += 1
            assert cell.value == (true + 2) // 5 * 5
    assert shown > 3
    assert rounds.Noise is noise.Noise


def test_nodes_noise_is_what_is_stated() -> None:
    """The same with the nodes' own noise: off by the stated error at most, and off at all."""
    pool = federation(SEIZURES, months=months_of("2026-Q1"), each=30, skew=0.2, real=True)
    made = pool.release("quarter,exchange", "2026-Q1")
    truth = pool.truth(SEIZURES.level("quarter,exchange"), parse_unit("2026-Q1"))
    for measure, word in (("seizures", 0), ("weight", 1)):
        for cell, row in zip(cells(made.published, measure), truth.values, strict=True):
            assert cell.shown is Shown.VALUE
            assert abs(cell.value - row[word]) <= 2 * cell.error
    assert {cell.error for cell in cells(made.published, "seizures")} == {38}
    assert {cell.error for cell in cells(made.published, "weight")} == {3795}


def outside(pool: Federation, made: Published) -> tuple[int, int]:
    """Figures that are off by more than they say, of how many that are no partial ones."""
    rows = pool.truth(made.level, made.unit).values
    off = all_ = 0
    for measure in made.cube.measures:
        for at, cell in enumerate(made.of(measure.id)):
            if cell.shown in {Shown.VALUE, Shown.ZERO}:
                true = true_of(made, measure.id, by_measure(made.cube, rows[at]))
                if true is not None:
                    all_ += 1
                    off += abs(cell.value - true) > cell.error
    return off, all_


def true_of(made: Published, name: str, words: dict[str, tuple[int, ...]]) -> float | None:
    """A measure of all partners' records together; of a median the middle of its bar."""
    measure = made.cube.measure(name)
    if measure.parts is not None:
        part, whole = (words[name][0] for name in measure.parts)
        return 1000 * part / whole if whole else None
    if not measure.edges:
        return words[name][0]
    bars, edges = words[name], (0, *measure.edges)
    half, below = sum(bars) / 2, 0
    for bar, count in enumerate(bars):
        if below + count > half:
            return 10 * (edges[bar] + edges[bar + 1]) / 2 if bar + 1 < len(edges) else None
        below += count
    return None


@pytest.mark.parametrize(
    ("name", "levels", "each"),
    [
        ("reports-received", ("quarter,region,kind", "quarter,country,kind", "quarter,kind"), 60),
        ("report-feedback", ("quarter,country", "quarter,kind", "quarter"), 40),
        ("seizures", ("quarter,country", "quarter,exchange,kg-band", "quarter,exchange"), 40),
    ],
)
def test_figures_are_as_close_to_the_truth_as_they_say(
    name: str, levels: tuple[str, ...], each: int
) -> None:
    """Counts, sums, rates, medians and totals, over seeds: at least 95 of 100."""
    off = all_ = 0
    for seed in range(4):
        pool = federation(
            REGISTRY.cube(name), months=months_of("2026-Q1"), each=each, seed=seed, skew=0.7
        )
        for level in levels:
            one = outside(pool, pool.release(level, "2026-Q1").published)
            off, all_ = off + one[0], all_ + one[1]
    assert all_ > 60
    assert off <= 0.05 * all_ + 2 * math.sqrt(0.05 * all_)


def test_a_partial_figure_is_the_total_of_its_parts_that_are_out() -> None:
    """And a whole one of all of them; neither needs noise of its own."""
    kinds = partials = wholes = 0
    for seed in range(6):
        pool = federation(REPORTS, months=months_of("2026-Q1"), each=40, seed=seed)
        fine = pool.release("quarter,region,kind", "2026-Q1").published.of("reports")
        coarse = pool.release("quarter,region", "2026-Q1").published.of("reports")
        for at, cell in enumerate(coarse):
            parts = fine[5 * at : 5 * at + 5]
            shown = [part.value for part in parts if part.shown.is_number]
            kinds += 1
            if cell.shown is Shown.PARTIAL:
                partials += 1
                assert cell.value == sum(shown)
            elif len(shown) == len(parts):
                wholes += 1
                assert cell.value == sum(shown)
                assert cell.error > 20
    assert kinds
    assert partials
    assert wholes


def test_what_is_withheld_stays_withheld() -> None:
    """In the next version, and by what a coarser level adds: no cell of a first version without a
    figure has one in the second."""
    pool = federation(REPORTS, months=months_of("2026-Q1"), each=40)
    first = pool.release("quarter,country,kind", "2026-Q1").published.of("reports")
    for name in pool.ids:
        pool.records[name] = pool.records[name] * 4
    second = pool.release("quarter,country,kind", "2026-Q1", 2).published.of("reports")
    hidden = [at for at, cell in enumerate(first) if cell.shown is Shown.SUPPRESSED]
    assert len(hidden) > 50
    assert {second[at].shown for at in hidden} == {Shown.SUPPRESSED}
    assert any(cell.shown is Shown.VALUE for cell in second)


def test_a_release_is_decided_once() -> None:
    """What the books have is refused; octets of another day would be another release."""
    pool = federation(REPORTS, months=months_of("2026-Q1"), each=40)
    made = pool.release("quarter,country", "2026-Q1")
    with pytest.raises(Conflict):
        pool.release("quarter,country", "2026-Q1")
    pool.books = Books.of([made.row])
    with pytest.raises(Conflict):
        pool.release("quarter,country", "2026-Q1")


def test_no_version_comes_after_a_later_one() -> None:
    """Final figures may be the first that anybody asks for; first ones do not come behind them."""
    pool = federation(REPORTS, months=months_of("2025-Q1"), each=40)
    assert pool.release("quarter,country", "2025-Q1", 2).published.version == 2
    with pytest.raises(Stale):
        pool.release("quarter,country", "2025-Q1", 1)


def test_books_are_what_was_kept() -> None:
    """Rows give the same ledgers: what follows is decided alike, whoever kept them."""
    kept, read = (federation(REPORTS, months=months_of("2026-Q1"), each=40) for _ in range(2))
    rows = []
    for level in ("quarter,region,kind", "quarter,region", "quarter,country", "quarter"):
        read.books = Books.of(rows)
        one, other = kept.release(level, "2026-Q1"), read.release(level, "2026-Q1")
        assert one.published.to_bytes() == other.published.to_bytes()
        rows.append(one.row)


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b'{"cube_version":1}', b"\xff"])
def test_a_row_that_was_not_kept_is_refused(octets: bytes) -> None:
    """Nothing is decided over books that nobody can read."""
    with pytest.raises(InvalidInput):
        Books.of([octets])


def by_rules(pool: Federation, version: int, rules: Rules) -> bytes:
    """A level of a pool by other rules than those in force: the release's octets."""
    level, unit = REPORTS.level("quarter,country"), parse_unit("2026-Q1")
    terms = pool.terms(level, unit, version)
    made = decide_unit(
        terms, pool.cube, level, unit, pool.combined(terms, level, unit), pool.books, rules,
        **ANSWER,
    )  # fmt: skip
    pool.books = made.books
    return made.published.to_bytes()


def test_whatever_is_refused_looks_like_what_is_suppressed() -> None:
    """Used-up looks, and another layout: octet for octet as if no cell had enough contributors."""
    few = Rules(draws=1)
    nobody, rich = (federation(REPORTS, months=months_of("2026-Q1"), each=n) for n in (0, 60))
    assert by_rules(nobody, 1, few) != by_rules(rich, 1, few)
    assert by_rules(nobody, 2, few) == by_rules(rich, 2, few)
    row = rich.books.rows[0].to_bytes()
    rich.books = Books.of([row.replace(layout_of(REPORTS).encode(), b"00" * 32)])
    level, unit = REPORTS.level("quarter,country"), parse_unit("2026-Q1")
    assert not needs_rounds(REPORTS, level, unit, 2, rich.books)
    nobody.books = Books()
    assert by_rules(nobody, 2, few) == by_rules(rich, 2, few)


def test_a_raised_version_of_the_same_layout_goes_on_with_what_is_out() -> None:
    """Another title is another version of the cube: what is frozen stays frozen, and the next
    version of the figures is the next one of the same series."""
    pool = federation(REPORTS, months=months_of("2026-Q1"), each=60)
    before = pool.release("quarter,country", "2026-Q1").published
    pool.cube = replace(REPORTS, version=REPORTS.version + 1, title="Reports that came in")
    level, unit = REPORTS.level("quarter,country"), parse_unit("2026-Q1")
    with pytest.raises(Conflict) as caught:
        pool.release("quarter,country", "2026-Q1")
    assert caught.value.reasons == ("RELEASE_FROZEN",)
    assert pool.books.found(pool.cube, (level.name, unit), 1)
    later = pool.release("quarter,country", "2026-Q1", version=2).published
    assert Shown.VALUE in {cell.shown for cell in later.of("reports")}
    assert later.cube.version == before.cube.version + 1
    with pytest.raises(Stale):
        decide_unit(
            pool.terms(level, unit), REPORTS, level, unit,
            pool.combined(pool.terms(level, unit), level, unit),
            replace(pool.books, rows=pool.books.rows[1:]), **ANSWER,
        )  # fmt: skip


def test_an_audit_without_end_withholds_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is released that was not decided."""
    pool = federation(REPORTS, months=months_of("2026-Q1"), each=40)
    pool.release("quarter,region,kind", "2026-Q1")
    monkeypatch.setattr(case, "EFFORT", 0)
    assert suppressed(pool.release("quarter,region", "2026-Q1").published)


def test_totals_need_no_node() -> None:
    """A year of four released quarters is asked of nobody, and is their sum."""
    quarters = [f"2025-Q{number}" for number in range(1, 5)]
    pool = federation(REPORTS, months=months_of("2025"), each=40)
    values = [pool.release("quarter,kind", q).published.of("reports") for q in quarters]
    level, unit = REPORTS.level("year,kind"), parse_unit("2025")
    assert not needs_rounds(REPORTS, level, unit, 1, pool.books)
    assert needs_rounds(REPORTS, level, unit, 2, pool.books)
    made = total_unit(REPORTS, level, unit, pool.books, version=1, **ANSWER)
    shown = made.published.of("reports")
    fours = zip(*values, strict=True)
    assert [cell.value for cell in shown] == [sum(cell.value for cell in four) for four in fours]
    assert {cell.error for cell in shown} == {40}
    assert made.published.participants == 7
    none = total_unit(REPORTS, REPORTS.level("year"), unit, Books(), version=1, **ANSWER)
    assert suppressed(none.published)


def test_one_record_is_in_few_figures_of_their_own() -> None:
    """Levels whose parts are not all out look at the same records again, six times at most, also
    where no released level has the cells of which both are made."""
    pool = federation(SEIZURES, months=months_of("2025"), each=60, skew=0.1, partners=8)
    asked = [
        ("quarter,country", "2025-Q1"), ("quarter,exchange,kg-band", "2025-Q1"),
        ("year,country,exchange", "2025"), ("year,exchange,kg-band", "2025"),
        ("quarter,exchange,kg-band", "2025-Q1"), ("quarter,country", "2025-Q1"),
        ("year,country,exchange", "2025"),
    ]  # fmt: skip
    seen: set[tuple[str, str]] = set()
    counts = []
    for name, text in asked:
        version = 2 if (name, text) in seen else 1
        seen.add((name, text))
        made = pool.release(name, text, version).published.of("seizures")
        counts.append(sum(cell.shown is Shown.VALUE for cell in made))
    assert all(counts[:6])
    assert counts[6] == 0


def test_nobody_counted_is_said() -> None:
    """Version nought, every cell not reported; its octets can be read, and no other version's."""
    level, unit = REPORTS.level("quarter"), parse_unit("2026-Q1")
    made = not_reported(REPORTS, level, unit, **ANSWER)
    assert made.version == 0
    assert Published.parse(made.to_bytes(), [REGISTRY]) == made
    with pytest.raises(InvalidInput):
        replace(made, version=1)
    shown = federation(REPORTS, months=months_of("2026-Q1"), each=9).release("quarter", "2026-Q1")
    with pytest.raises(InvalidInput):
        replace(shown.published, version=0)


def test_what_one_contributor_could_make_up_is_withheld() -> None:
    """Kilograms of which one partner has nearly all, while their number is shown."""
    pool = federation(SEIZURES, months=months_of("2026-Q1"), each=30, skew=0.1, kg=(90, 110))
    heavy = pool.records[pool.ids[0]]
    pool.records[pool.ids[0]] = [replace(one, words=(1, 90_000)) for one in heavy[:4]]
    made = pool.release("quarter", "2026-Q1").published
    assert made.of("seizures")[0].shown is Shown.VALUE
    assert made.of("weight")[0].shown is Shown.SUPPRESSED


def test_what_one_partner_alone_has_is_withheld() -> None:
    """Everybody has reports in the cell, one partner alone gives feedback: to the second figure one
    contributes, and neither it, nor its rate, nor its median is shown; real nodes do not sum it."""
    pool = federation(FEEDBACK, months=months_of("2026-Q1"), each=30, real=True)
    for name in pool.ids[1:]:
        quiet = [replace(one, words=(1, *[0] * (len(one.words) - 1))) for one in pool.records[name]]
        pool.records[name] = quiet
    level, unit = FEEDBACK.level("quarter"), parse_unit("2026-Q1")
    combined = pool.combined(pool.terms(level, unit), level, unit)
    assert combined.sums["2026-Q1"].keys() == {"m0"}
    assert combined.contributors["2026-Q1"] == {"m0": 7, "m1": 1, "m3": 1}
    made = pool.release("quarter", "2026-Q1").published
    assert made.of("due")[0].shown is Shown.VALUE
    for measure in ("given", "share", "days"):
        assert made.of(measure)[0].shown is Shown.SUPPRESSED


def test_words_have_names_of_their_own() -> None:
    """By place: no measure's name makes two words one."""
    registry = Registry.parse(written(small()))
    cube = registry.cubes[0]
    names = [name for at, m in enumerate(cube.measures) for name in word_names(at, m)]
    assert len(names) == len(set(names)) == sum(measure.words for measure in cube.measures)
