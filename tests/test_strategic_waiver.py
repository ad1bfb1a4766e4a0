"""Waivers: an owner publishes its own share, and from then on covers nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError, Forged, InvalidInput, Stale
from fairlead.published import Shown
from fairlead.strategic.books import Books
from fairlead.strategic.layout import layout_of
from fairlead.strategic.waiver import Waiver, in_force, known, shares, sign_waiver, verify_waiver
from tests.strategic import REGISTRY, Record, federation, months_of
from tests.walks import ASKER, NOW, OWNER, World, make_world

REPORTS = REGISTRY.cube("reports-received")
SEIZURES = REGISTRY.cube("seizures")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("waivers"))


def waived(federation: str, partner: str = ASKER, **changes: object) -> Waiver:
    usual: dict[str, object] = {
        "federation": federation,
        "partner": partner,
        "cube": "reports-received",
        "measure": "reports",
        "level": "quarter,country",
        "cell": "2026-Q1/NL",
        "value": 40,
        "version": 1,
        "layout": layout_of(REPORTS),
        "issued_at": int(NOW),
    }
    return Waiver(**(usual | changes))  # type: ignore[arg-type]


def test_a_waiver_is_signed_by_its_owner(world: World) -> None:
    """Its octets say what is published, of which cell; nobody else can sign them."""
    waiver = waived(world.directory.federation)
    signature = sign_waiver(waiver, world.signing_key(ASKER))
    data = waiver.to_bytes()
    found = verify_waiver(data, signature, directory=world.directory, cube=REPORTS)
    assert found == waiver
    assert found.reference == REPORTS.level("quarter,country").cell("2026-Q1/NL").reference
    with pytest.raises(Forged):
        verify_waiver(
            data,
            sign_waiver(waiver, world.signing_key(OWNER)),
            directory=world.directory,
            cube=REPORTS,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"federation": "other.example"},
        {"cube": "seizures"},
        {"measure": "nothing"},
        {"level": "quarter,nothing"},
        {"cell": "2026-Q1/XX"},
        {"cell": "2026/NL"},
        {"value": 100_001},
    ],
)
def test_a_waiver_of_nothing_is_refused(world: World, changes: dict[str, object]) -> None:
    """Another federation or cube, no such measure, level or cell, more than one may state."""
    waiver = waived(**({"federation": world.directory.federation} | changes))  # type: ignore[arg-type]
    signature = sign_waiver(waiver, world.signing_key(ASKER))
    with pytest.raises(InvalidInput):
        verify_waiver(waiver.to_bytes(), signature, directory=world.directory, cube=REPORTS)


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_a_waiver_or_an_error_of_ours(world: World, data: bytes) -> None:
    """White space, another order of keys and everything else."""
    good = waived(world.directory.federation).to_bytes()
    for octets in (data, good + b" ", good.replace(b'"value":40', b'"value":4e1'), good + data):
        if octets != good:
            with pytest.raises(FairleadError):
                verify_waiver(octets, bytes(64), directory=world.directory, cube=REPORTS)


def test_who_waives_covers_nobody() -> None:
    """Of four contributors one publishes its share, known to the audit in steps of its measure: the
    others are too few, and the cell is withheld."""
    pool = federation(REPORTS, partners=4, months=months_of("2026-Q1"), each=60)
    level, unit = REPORTS.level("quarter,country"), parse_unit("2026-Q1")
    shown = pool.release("quarter,country", "2026-Q1").published.of("reports")
    at = next(at for at, cell in enumerate(shown) if cell.shown is Shown.VALUE)
    cell = f"2026-Q1/{shown[at].codes[0]}"
    waiver = waived("test", partner=pool.ids[0], cell=cell, value=10)
    pool.books = Books(waivers=(waiver,))
    again = pool.release("quarter,country", "2026-Q1").published.of("reports")
    assert again[at].shown is Shown.SUPPRESSED
    assert any(cell.shown is Shown.VALUE for cell in again)
    assert pool.counted(pool.ids[0], level, unit).records[at]
    measure = REPORTS.measure("reports")
    assert known([waiver], measure)[waiver.share].low == 10
    assert waiver.share in shares([waiver], measure)[0].parts
    heavy = replace(SEIZURES.measure("weight"), id="reports")
    assert known([waiver], heavy)[waiver.share].high == 0.1


def test_of_another_layout_a_waiver_is_refused_and_says_nothing(world: World) -> None:
    """A cell that is spelled the same may be another one once codes have moved."""
    waiver = waived(world.directory.federation, layout="0" * 64)
    signature = sign_waiver(waiver, world.signing_key(ASKER))
    with pytest.raises(Stale):
        verify_waiver(waiver.to_bytes(), signature, directory=world.directory, cube=REPORTS)
    assert in_force([waiver], layout_of(REPORTS), 1) == []


def test_of_several_waivers_of_a_share_the_version_at_hand_counts() -> None:
    """One for each version; where there is none of it, the one before, and failing that the next.
    A share is never counted twice."""
    first, final = waived("test", value=10), waived("test", version=2, value=12)
    layout = layout_of(REPORTS)
    assert in_force([final, first], layout, 1) == [first]
    assert in_force([first, final], layout, 2) == [final]
    assert in_force([first], layout, 2) == [first]
    assert in_force([final], layout, 1) == [final]
    other = waived("test", partner=OWNER)
    assert len(in_force([first, other, first], layout, 1)) == 2


def test_what_a_published_share_leaves_of_a_withheld_cell_is_protected() -> None:
    """Of two that contribute to a cell the one with most of it publishes that: the cell is bounded
    from below then, and one more is withheld beside it than without."""
    outcomes = REGISTRY.cube("enquiry-outcomes")
    month, place = months_of("2026-Q1")[0], "NLRTM-oth"

    def of(outcome: str, count: int) -> list[Record]:
        words = (1, *(0,) * (sum(each.words for each in outcomes.measures) - 1))
        return [Record(month, (place, outcome), words)] * count

    shown = {}
    for published in (False, True):
        pool = federation(outcomes, partners=8, months=[], each=0)
        for at, name in enumerate(pool.ids):
            few = {0: 290, 1: 10}.get(at, 0)
            pool.records[name] = of("open", few) + of("unsubstantiated", 10) + of("seizure", 13)
        pool.noise = False
        waiver = waived(
            "test", partner=pool.ids[0], cube=outcomes.id, measure="enquiries",
            level="quarter,outcome-group", cell="2026-Q1/pending", value=290,
            layout=layout_of(outcomes),
        )  # fmt: skip
        pool.books = Books(waivers=(waiver,) if published else ())
        pool.release("quarter", "2026-Q1")
        made = pool.release("quarter,outcome-group", "2026-Q1")
        shown[published] = [cell.shown for cell in made.published.of("enquiries")]
        assert not made.beyond
    withheld, value = Shown.SUPPRESSED, Shown.VALUE
    assert shown == {False: [withheld, withheld, value], True: [withheld] * 3}
