"""The guard against enumeration: sweeps are stopped in any order, honest lists pass."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import config, identifiers
from node.guard import MEMORY_S, Enumeration, Guard
from node.sweep import Asked, Sign, Term, Trail, densest, longest_run, patterns_of, series_of
from tests.manifests import day, manifest, number
from tests.walks import NOW

LIMITS = config.Guard()
LISTS = 1_000
"""Honest lists and honest days that are tried, each under a seed of its own."""


class Watch:
    """A guard under a clock of the test's own."""

    def __init__(self, **limits: int) -> None:
        self.now = NOW
        self.guard = Guard(config.Guard(**limits), clock=lambda: self.now)

    def stopped(self, terms: Sequence[Term], user: str = "u-c01") -> Sign | None:
        """What gave these terms away, or None when they pass."""
        try:
            self.guard.admit(user, terms)
        except Enumeration as error:
            return error.sign
        return None

    def passed(self, terms: Sequence[Term], size: int) -> int:
        """How many of a sweep's terms pass, asked so many at a time, until it is stopped."""
        for start in range(0, len(terms), size):
            if self.stopped(terms[start : start + size]) is not None:
                return start
        return len(terms)


def boxes(listed: Sequence[str]) -> list[Term]:
    return [("container", value) for value in listed]


def plates(pattern: str) -> list[Term]:
    """Every plate of a pattern, ``?`` standing for each letter and digit."""
    letters = "ABCDEFGHJKLMNPRSTVWXYZ0123456789"
    parts = product(*(letters if char == "?" else char for char in pattern))
    return [("vehicle-plate", "NL:" + "".join(plate)) for plate in parts]


# ── Honest work ──────────────────────────────────────────────────────────────────────────────


def test_honest_lists_pass() -> None:
    """Of 1,000 manifests of 300 containers and 1,000 days of up to four, hardly any is stopped."""
    lists = [Watch().stopped(boxes(manifest(random.Random(seed)))) for seed in range(LISTS)]
    days = [any(map(watch.stopped, map(boxes, day(random.Random(seed)))))
            for seed, watch in enumerate(Watch() for _ in range(LISTS))]  # fmt: skip
    wrong = sum(sign is not None for sign in lists), sum(days)
    measured = f"false positives: {wrong[0]} of {LISTS} lists, {wrong[1]} of {LISTS} days"
    assert wrong[0] <= 0.005 * LISTS, measured
    assert wrong[1] <= 0.01 * LISTS, measured
    print(measured)


@given(st.integers(0, 2**32))
def test_an_honest_list_has_what_the_limits_are_about(seed: int) -> None:
    """A generated manifest has 300 valid containers of several owners, and runs of serials."""
    listed = manifest(random.Random(seed))
    assert len(set(listed)) == len(listed) == 300
    assert all(identifiers.parse("container", value).value == value for value in listed)
    assert len({value[:4] for value in listed}) >= 5


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("a fleet of one day", [("vehicle-plate", f"BE:1ABC{n}") for n in range(100, 140)]),
        ("a plate with one character unread", plates("74?XK3")),
        ("a company's telephones", [("phone", f"+3235550{n}") for n in range(100, 200)]),
        ("a person with a doubtful month", [("person", f"JAN|1980-{m:02d}-01")
                                            for m in range(1, 13)]),
        ("ships", [("vessel-imo", f"{n}0") for n in range(900_000, 999_000, 331)]),
        ("addresses without a serial", [("email", f"{n}@example.org") for n in range(300)]),
    ],
)  # fmt: skip
def test_other_honest_lists_pass(name: str, terms: list[Term]) -> None:
    """Lists of other schemes that an investigation really has are no sweep."""
    assert Watch().stopped(terms) is None, name


# ── Sweeps ───────────────────────────────────────────────────────────────────────────────────


def in_order(chance: random.Random) -> Iterator[int]:
    yield from range(chance.randrange(900_000), 10**6)


def backwards(chance: random.Random) -> Iterator[int]:
    yield from range(chance.randrange(100_000, 10**6), 0, -1)


def shuffled(chance: random.Random) -> Iterator[int]:
    block = list(range(50_000, 51_000))
    chance.shuffle(block)
    yield from block


def every_third(chance: random.Random) -> Iterator[int]:
    yield from range(chance.randrange(1_000), 10**6, 3)


def scattered(chance: random.Random) -> Iterator[int]:
    yield from chance.sample(range(10**6), 5_000)


@pytest.mark.parametrize("size", [1, 7, 300])
@pytest.mark.parametrize(
    ("order", "allowed"),
    [(in_order, 128), (backwards, 128), (shuffled, 300), (every_third, 200), (scattered, 500)],
)
def test_a_sweep_of_one_owner_is_stopped(
    order: Callable[[random.Random], Iterator[int]], allowed: int, size: int
) -> None:
    """In order, backwards, shuffled, with gaps or at random, term by term or in files, no more of
    an owner's million serials pass than the limits say."""
    serials = [serial for serial, _ in zip(order(random.Random(7)), range(2_000), strict=False)]
    terms = [("container", number("MSCU", serial)) for serial in dict.fromkeys(serials)]
    assert Watch().passed(terms, size) <= allowed


def test_a_sweep_inside_an_honest_list_is_stopped() -> None:
    """A manifest around it, in the same query, hides no run."""
    honest = manifest(random.Random(3))
    sweep = [number("BICU", serial) for serial in range(700_000, 700_200)]
    mixed = [*honest, *sweep]
    random.Random(4).shuffle(mixed)
    assert Watch().stopped(boxes(mixed)) is Sign.RUN


@pytest.mark.parametrize("pattern", ["74?XK?", "?4BXK?", "??BXK3"])
def test_substituting_two_characters_of_a_plate_is_stopped(pattern: str) -> None:
    """Whichever two they are, and one plate at a time: after 48 of a thousand."""
    watch = Watch()
    assert watch.passed(plates(pattern), 1) == LIMITS.one_pattern
    assert watch.stopped(plates(pattern)[-1:]) is Sign.PATTERN


def test_trying_names_for_a_date_of_birth_is_stopped() -> None:
    """An attack on weak match keys: invented names, each of two sounds, all born on one day."""
    terms = [("person", f"AAN{number:X} BO{number:X}|1980-02-01") for number in range(100)]
    assert Watch().passed(terms, 1) == LIMITS.one_pattern


def test_a_crew_list_passes() -> None:
    """A thousand persons, each born on another day or a few on one, are nobody's sweep."""
    terms = [
        ("person", f"NAME{n:X}|{1950 + n % 50}-{1 + n % 12:02}-{1 + n % 28:02}")
        for n in range(1_000)
    ]
    assert Watch().passed(terms, len(terms)) == len(terms)


def test_trying_dates_of_birth_for_a_name_is_stopped() -> None:
    """A name with every day of a year is a name alone, asked another way."""
    dates = [f"1980-{month:02d}-{dom:02d}" for month in range(1, 13) for dom in range(1, 29)]
    terms = [("person", f"JAN JANSEN|{date}") for date in dates]
    assert Watch().passed(terms, 1) == LIMITS.one_pattern


@pytest.mark.parametrize(
    "term",
    [
        lambda n: ("booking", f"XYZL:55001{n:05d}"),
        lambda n: ("imei", f"35209900{n:06d}0"),
        lambda n: ("badge", f"ALFAPORT:{n:07d}"),
        lambda n: ("phone", f"+32355{n:05d}"),
    ],
)
def test_consecutive_numbers_of_any_scheme_are_stopped(term: Callable[[int], Term]) -> None:
    """Whatever ends in digits has a serial."""
    assert Watch().passed([term(n) for n in range(300)], 1) == LIMITS.longest_run


# ── Memory ───────────────────────────────────────────────────────────────────────────────────


def run_of(length: int, first: int = 0) -> list[Term]:
    return boxes([number("MSCU", serial) for serial in range(first, first + length)])


def test_a_user_is_judged_by_a_day_and_by_nobody_elses_terms() -> None:
    """Half a run each does not sum up over users, nor over more than 24 hours, nor twice."""
    watch = Watch(longest_run=10)
    half, rest = run_of(6), run_of(6, 6)
    assert watch.stopped(half) is None
    assert watch.stopped(half) is None
    assert watch.stopped(rest, "u-c02") is None
    assert watch.stopped(rest) is Sign.RUN
    watch.now += MEMORY_S
    assert watch.stopped(rest) is Sign.RUN
    watch.now += 1
    assert watch.stopped(rest) is None


def test_a_clock_set_back_forgets_nothing() -> None:
    """What was asked in the clock's future still counts."""
    watch = Watch(longest_run=10)
    assert watch.stopped(run_of(6)) is None
    watch.now -= 10 * MEMORY_S
    assert watch.stopped(run_of(6, 6)) is Sign.RUN


def test_a_stopped_query_and_a_draft_are_not_remembered() -> None:
    """Only what is asked counts, so that a user who was stopped can go on with other things."""
    watch = Watch(longest_run=10)
    assert watch.stopped(run_of(11)) is Sign.RUN
    watch.guard.check("u-c01", run_of(6))
    assert watch.stopped(run_of(6, 6)) is None
    with pytest.raises(Enumeration):
        watch.guard.check("u-c01", run_of(6))


def test_earlier_queries_are_known_after_a_restart() -> None:
    """What the history says was asked within the day is judged with what comes."""
    asked = [("u-c01", NOW - 60, run_of(6))]
    guard = Guard(config.Guard(longest_run=10), asked=asked, clock=lambda: NOW)
    with pytest.raises(Enumeration) as caught:
        guard.admit("u-c01", run_of(6, 6))
    assert caught.value.reasons == ("ENUMERATION",)
    assert "RUN" not in caught.value.diagnostics()


TERMS = st.one_of(
    st.integers(0, 30).map(lambda n: ("container", number("MSCU", n))),
    st.text("AB12", min_size=2, max_size=5).map(lambda text: ("vehicle-plate", f"NL:{text}")),
    st.sampled_from([("person", "JAN|1980-01-01"), ("email", "a@b.c"), ("booking", "X:01")]),
)


STRICT = config.Guard(longest_run=8, densest_thousand=9, one_owner=11, one_pattern=8)


def judged(terms: set[Term], asked: Sequence[Term]) -> Sign | None:
    """What a guard that counts everything says of what is asked beside the rest."""
    series: dict[str, list[int]] = {}
    for term in terms:
        if (place := series_of(term)) is not None:
            series.setdefault(place[0], []).append(place[1])
    touched = {place[0] for term in asked if (place := series_of(term)) is not None}
    signs = set()
    for name in touched:
        serials = sorted(series[name])
        if longest_run(serials) > STRICT.longest_run:
            signs.add(Sign.RUN)
        elif densest(serials) > STRICT.densest_thousand:
            signs.add(Sign.CROWD)
        elif name.startswith("container ") and len(serials) > STRICT.one_owner:
            signs.add(Sign.OWNER)
    patterns = Counter(pattern for term in terms for pattern in patterns_of(term))
    if any(patterns[p] > STRICT.one_pattern for term in asked for p in patterns_of(term)):
        signs.add(Sign.PATTERN)
    return signs.pop() if len(signs) == 1 else Sign.RUN if signs else None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.lists(TERMS, max_size=12, unique=True))))
def test_a_packed_trail_judges_as_counting_everything_does(
    steps: list[tuple[int, list[Term]]],
) -> None:
    """Over any queries of a day, together or hours apart, and whatever was asked twice."""
    trail, asked, now = Trail(), set[Term](), NOW
    for minutes, terms in steps:
        now += 60 * minutes
        sign, wanted = trail.sign(Asked(terms), STRICT), judged(asked | set(terms), terms)
        assert (sign is None) == (wanted is None)
        if sign is None:
            trail.add(terms, now)
            asked |= set(terms)


def test_a_short_plate_asked_alone_is_remembered() -> None:
    """However few octets it takes."""
    trail = Trail()
    for n in range(STRICT.one_pattern):
        trail.add([("vehicle-plate", f"NL:{n}A")], NOW)
    assert trail.sign(Asked([("vehicle-plate", "NL:ZZ")]), STRICT) is Sign.PATTERN


def test_a_day_is_remembered_in_few_octets() -> None:
    """Of 20,000 containers and 5,000 plates some 16 and 100 octets each stay, and what is packed
    is forgotten with its time."""
    boxed = [("container", number("MSCU", serial)) for serial in range(0, 100_000, 5)]
    many = [("vehicle-plate", f"NL:{n:06d}") for n in range(0, 500_000, 100)]
    for terms, octets in ((boxed, 24), (many, 160)):
        tracemalloc.start()
        try:
            trail = Trail()
            trail.add(terms, NOW)
            gc.collect()
            size = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert size / len(terms) < octets
        trail.forget(NOW + 1)
        assert not len(trail)


@given(st.sets(st.integers(0, 300)), st.integers(1, 50))
def test_runs_and_crowds_are_counted_right(serials: set[int], stretch: int) -> None:
    """As counting every place of every stretch says."""
    listed = sorted(serials)
    runs = [next(n for n in range(1, 400) if s + n not in serials) for s in listed]
    assert longest_run(listed) == max(runs, default=0)
    windows = [sum(s <= other < s + stretch for other in listed) for s in listed]
    assert densest(listed, stretch) == max(windows, default=0)


@given(st.sampled_from(identifiers.SCHEMES), st.text(max_size=40))
def test_the_signs_of_any_text_are_total(scheme: str, text: str) -> None:
    """No canonical value, however odd, stops the guard from judging the others."""
    value = identifiers.normalise(scheme, text).value
    series_of((scheme, value))
    assert all(isinstance(pattern, str) for pattern in patterns_of((scheme, value)))
