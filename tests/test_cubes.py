"""The registry of cubes: read whole or not at all, every mistake with its place, one digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cubes.cube import MeasureKind
from fairlead.cubes.documents import json_schema
from fairlead.cubes.registry import MAX_FILE, InvalidCubes, Registry
from fairlead.cubes.succession import check_follows
from fairlead.errors import InvalidInput
from fairlead.partners import PartnerKind
from fairlead.vocabulary import Event, ModusOperandi
from tests.cubes import DEFAULTS, ROOT, SMALL, documents, problems, small, told, written
from tools.cube_table import PAGE, page

# ── One form ─────────────────────────────────────────────────────────────────────────────────


@given(documents())
@settings(max_examples=25, deadline=None)
def test_what_is_printed_is_read_as_the_same(document: dict[str, Any]) -> None:
    """The canonical form of any registry is a file that says the same, and prints the same."""
    found = Registry.parse(written(document))
    again = Registry.parse(found.canonical)
    assert again == found
    assert again.canonical == found.canonical
    assert again.digest == found.digest


def test_the_digest_is_of_what_is_said_and_not_of_how_it_is_written() -> None:
    """Comments, layout, the order of keys and a default that is written out change nothing."""
    plain = Registry.parse(written(SMALL))
    shuffled = small()
    shuffled["cubes"][0]["measures"][0]["dominance"] = False
    text = "# a comment\n" + yaml.safe_dump(shuffled, sort_keys=True)
    assert Registry.parse(text.encode()).digest == plain.digest
    assert len(plain.digest) == 32


@pytest.mark.parametrize("key", ["dimensions", "steps", "codes", "measures", "levels"])
def test_the_order_of_lists_is_part_of_what_is_said(key: str) -> None:
    """Cells are known by their place, so another order is another registry."""
    changed = small()
    cube, place = changed["cubes"][0], changed["dimensions"][0]
    rows = {
        "dimensions": changed["dimensions"], "steps": [], "measures": cube["measures"],
        "codes": place["steps"][0]["codes"], "levels": cube["levels"],
    }[key]  # fmt: skip
    if key == "steps":
        for step in place["steps"]:
            step["codes"].reverse()
    rows.reverse()
    assert Registry.parse(written(changed)).digest != Registry.parse(written(SMALL)).digest


# ── Every mistake ────────────────────────────────────────────────────────────────────────────

MEASURES, LEVELS = "cubes[0].measures", "cubes[0].levels"
ORDER = (
    "month, quarter or year is expected, then at most one step of each of the cube's dimensions, "
    "in their order"
)


def edited(path: str, value: object) -> dict[str, Any]:
    """The small registry with one thing changed; None takes it away."""
    document: Any = small()
    *outer, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    inner = document
    for part in outer:
        inner = inner[part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return document  # type: ignore[no-any-return]


D0, M, L = "dimensions.0.steps", "cubes.0.measures", "cubes.0.levels"
CODES0, CODES1 = "dimensions[0].steps[0].codes", "dimensions[0].steps[1].codes"
ONE_TOP = "is missing: one level only rolls up to nothing"
COARSER = "a level that is nowhere finer, and coarser somewhere"
SPELLING = "one of the documented spellings is expected"
PARENT = "is missing: a code of the next step is expected"
STEP_TWICE = "the same name stands above, or is a step of time"
NO_DIMENSION = "the registry has no such dimension"
WORD = "one of the documented words is expected"
OTHER = "another measure than the numerator is expected"
NO_TOP = "one level that rolls up to nothing is expected"
MISTAKES: list[tuple[str, object, str]] = [
    ("version", 0, "version: a larger number is expected"),
    ("version", True, "version: a whole number is expected"),
    ("versoin", 1, "(top): an unknown key is here; did you mean version?"),
    ("cubes.0.title", "a\tb", "cubes[0].title: a value of the documented form is expected"),
    ("cubes.0.id", "Re/ports", f"cubes[0].id: {SPELLING}"),
    ("dimensions.1.id", "place", "dimensions[1].id: the same name stands above"),
    (f"{D0}.1.codes.0.code", "B/E", f"{CODES1}[0].code: {SPELLING}"),
    (f"{D0}.0.codes.2.code", "NLRTM", f"{CODES0}[2].code: the same name stands above"),
    (f"{D0}.0.codes.1.parent", "NL", f"{CODES1}[0].code: no code of the step before belongs to it"),
    (f"{D0}.0.codes.0.parent", "XX", f"{CODES0}[0].parent: the next step has no such code"),
    (f"{D0}.0.codes.0.parent", None, f"{CODES0}[0].parent: {PARENT}"),
    (f"{D0}.1.codes.0.parent", "NL", f"{CODES1}[0].parent: the coarsest step belongs to nothing"),
    ("dimensions.1.steps.0.step", "month", f"dimensions[1].steps[0].step: {STEP_TWICE}"),
    ("cubes.0.dimensions", ["weather"], f"cubes[0].dimensions[0]: {NO_DIMENSION}"),
    ("cubes.0.made_of", ["reports", "reports"], "cubes[0].made_of[1]: the same name stands above"),
    ("cubes.0.made_of", ["rumours"], f"cubes[0].made_of[0]: {WORD}"),
    (f"{M}.1.id", "due", f"{MEASURES}[1].id: the same name stands above"),
    (f"{M}.0.bound", None, f"{MEASURES}[0].bound: is missing: a count has it"),
    (f"{M}.0.bound", 2**60, f"{MEASURES}[0].bound: a smaller number is expected"),
    (f"{M}.0.dominance", True, f"{MEASURES}[0].dominance: a count has none"),
    (f"{M}.0.step", 2, f"{MEASURES}[0].step: a count has none"),
    (f"{M}.2.step", 100, f"{MEASURES}[2].step: no more than the bound is expected"),
    (f"{M}.2.edges", [1], f"{MEASURES}[2].edges: a sum has none"),
    (f"{M}.3.edges", None, f"{MEASURES}[3].edges: is missing: a median has it"),
    (f"{M}.3.edges", [1, 7, 7], f"{MEASURES}[3].edges: ascending numbers are expected"),
    (f"{M}.4.bound", 5, f"{MEASURES}[4].bound: a rate has none"),
    (f"{M}.4.numerator", "days", f"{MEASURES}[4].numerator: the cube has no such count or sum"),
    (f"{M}.4.numerator", "due", f"{MEASURES}[4].denominator: {OTHER}"),
    (f"{M}.4.unit", "reports", f"{MEASURES}[4].unit: a rate, and nothing else, is in per cent"),
    (f"{L}.0.level", "month,kind,port", f"{LEVELS}[0].level: {ORDER}"),
    (f"{L}.0.level", "port,kind", f"{LEVELS}[0].level: {ORDER}"),
    (f"{L}.0.level", "month,port,country", f"{LEVELS}[0].level: {ORDER}"),
    (f"{L}.0.level", "month,port,port", f"{LEVELS}[0].level: {ORDER}"),
    (f"{L}.2.rolls_up_to", "month", f"{LEVELS}[2].rolls_up_to: the cube has no such level"),
    (f"{L}.2.rolls_up_to", "month,port,kind", f"{LEVELS}[2].rolls_up_to: {COARSER}"),
    (f"{L}.2.rolls_up_to", "quarter,country", f"{LEVELS}[2].rolls_up_to: {COARSER}"),
    (f"{L}.2.rolls_up_to", None, f"{LEVELS}[3].rolls_up_to: {ONE_TOP}"),
    (f"{L}.3.rolls_up_to", "quarter,country", f"{LEVELS}: {NO_TOP}"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "problem"), MISTAKES)
def test_a_mistake_is_told_with_its_place(path: str, value: object, problem: str) -> None:
    """Each breaks one rule, and what is said names the very place and never the value."""
    assert problem in problems(edited(path, value))


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    """Two mistakes of meaning in one file: two lines of one report, and the next command."""
    document = edited(f"{M}.0.bound", None)
    document["cubes"][0]["levels"][0]["level"] = "week"
    data = written(document)
    found = told(data)
    assert len(found) == 2
    lines = [int(problem.split(":")[1]) for problem in found]
    text = data.decode().splitlines()
    assert "{" in text[lines[0] - 1]
    assert '"week"' in text[lines[1] - 1]
    with pytest.raises(InvalidCubes) as caught:
        Registry.parse(data, "cubes/registry.yaml")
    assert caught.value.code == "CUBES_INVALID"
    assert "cubes/registry.yaml:" in caught.value.diagnostics()
    assert "fairlead policy check" in caught.value.diagnostics()


def test_a_dimension_that_no_level_counts_by_is_told() -> None:
    """It would be asked of every record and shown to nobody."""
    document = small()
    document["cubes"][0]["levels"] = [{"level": "year"}]
    assert problems(document) == [
        "cubes[0].dimensions[0]: no level counts by it",
        "cubes[0].dimensions[1]: no level counts by it",
    ]


def test_a_level_of_too_many_cells_is_told() -> None:
    """A vector has at most 4,096 cells in one unit of time."""
    document = small()
    codes = [{"code": f"k{n}", "title": "Kind"} for n in range(1366)]
    document["dimensions"][1]["steps"][0]["codes"] = codes
    assert problems(document) == [
        f"{LEVELS}[0].level: has more than 4096 cells in one unit of time"
    ]
    codes.pop()
    assert problems(document) == []


# ── Whatever the octets ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"\xff\xfe", b"[", b"{\n" * 900, b"a: &x 1\nb: *x", b"a: 1\na: 2",
        b"!!bool perhaps", b"!!timestamp x", b'!!int ""', b"!!float .", b"!!binary '\xc3\xa9'",
        b"!!omap [1]", b"- 1e999", b"schema: !!python/object:os.system x", b"1" * 5000,
        b"2026-99-99", b"# only a comment", b" " * (MAX_FILE + 1),
    ],
)  # fmt: skip
def test_octets_that_are_no_registry_are_told_as_such(data: bytes) -> None:
    """Broken YAML, YAML of other things, and what makes the YAML reader itself stumble."""
    assert told(data)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(deadline=None)
def test_no_octets_raise_anything_but_our_error(data: bytes) -> None:
    """Any octets at all are a registry or are refused with a place."""
    assert told(data)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where anything stands in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(*path, key) for key, _ in items]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            found += places(inner, (*path, key))
    return found


@given(st.sampled_from(places(SMALL)), _VALUES)
@settings(max_examples=60, deadline=None)
def test_no_value_anywhere_raises_anything_but_our_error(path: tuple[Any, ...], value: Any) -> None:
    """Whatever stands in any place, the registry is read or refused, and what is read prints."""
    document: Any = small()
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    data = written(document)
    said = told(data)
    assert all(problem.startswith("registry.yaml:") for problem in said)
    if not said:
        found = Registry.parse(data)
        assert Registry.parse(found.canonical) == found


# ── Names ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (lambda r: r.cube("report"), "CUBE_UNKNOWN"),
        (lambda r: r.cube("reports").measure("sum"), "MEASURE_UNKNOWN"),
        (lambda r: r.cube("reports").level("quarter, country"), "LEVEL_UNKNOWN"),
        (lambda r: r.cube("reports").level("country,quarter"), "LEVEL_UNKNOWN"),
        (lambda r: r.cube("reports").level("month"), "LEVEL_UNKNOWN"),
        (lambda r: r.cube("reports").finest("weather"), "DIMENSION_UNKNOWN"),
        (lambda r: r.dimensions[0].place("kind"), "STEP_UNKNOWN"),
        (lambda r: r.dimensions[0].up("country", "port"), "LEVEL_NO_ROLLUP"),
    ],
)
def test_what_is_not_listed_does_not_exist(look: Callable[[Registry], object], code: str) -> None:
    """An unknown name is refused, and where there is a list the remedy has it."""
    with pytest.raises(InvalidInput) as caught:
        look(Registry.parse(written(SMALL)))
    assert caught.value.code == code
    if code in ("CUBE_UNKNOWN", "MEASURE_UNKNOWN", "LEVEL_UNKNOWN", "DIMENSION_UNKNOWN"):
        assert caught.value.remedy.startswith("name one of: ")


def test_a_record_states_the_finest_step_that_a_level_counts_by() -> None:
    """Steps below that are of the dimension and not of the cube."""
    cube = Registry.parse(written(SMALL)).cube("reports")
    assert cube.finest("place").step == "port"
    document = small()
    del document["cubes"][0]["levels"][0]
    assert Registry.parse(written(document)).cube("reports").finest("place").step == "country"


def test_a_measure_says_how_many_numbers_it_is() -> None:
    """One for a count or a sum, one for each bar of a median, none for a rate."""
    cube = Registry.parse(written(SMALL)).cube("reports")
    assert [measure.words for measure in cube.measures] == [1, 1, 1, 4, 0]
    assert [cube.measure("days").bar(days) for days in (0, 1, 6.9, 7, 30, 999)] == [
        0,
        1,
        1,
        2,
        3,
        3,
    ]


@pytest.mark.parametrize("value", [-1, 10])
def test_more_than_the_bound_is_an_error(value: int) -> None:
    """A figure is never cut off at what one contributor may state."""
    measure = Registry.parse(written(SMALL)).cube("reports").measure("due")
    measure.check(0)
    measure.check(9)
    with pytest.raises(InvalidInput) as caught:
        measure.check(value)
    assert caught.value.code == "MEASURE_BOUND"


# ── What may follow ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "value", "versions", "said"),
    [
        ("version", 3, (3, 2), []),
        ("version", 2, (2, 2), ["version"]),
        ("cubes.0.title", "Others", (3, 2), ["version", "cubes[0].version"]),
        ("cubes.0.title", "Others", (4, 2), ["cubes[0].version"]),
        ("cubes.0.title", "Others", (4, 3), []),
        ("cubes.0.title", "Reports", (4, 1), ["cubes[0].version"]),
        (f"{D0}.0.codes.0.title", "Rotterdam port", (4, 2), ["cubes[0].version"]),
        ("cubes", [], (4, 2), []),
    ],
)
def test_whatever_changes_gets_a_higher_version(
    path: str, value: object, versions: tuple[int, int], said: list[str]
) -> None:
    """A registry or a cube that changed under its old version, or went back, may not follow."""
    document = edited(path, value)
    document["version"] = versions[0]
    for cube in document["cubes"]:
        cube["version"] = versions[1]
    before, after = Registry.parse(written(SMALL)), Registry.parse(written(document))
    found: tuple[str, ...] = ()
    try:
        check_follows(before, after)
    except InvalidCubes as error:
        found = error.problems
    assert [problem.split(":")[0] for problem in found] == said


# ── The cubes that are shipped ───────────────────────────────────────────────────────────────

SHIPPED = Registry.parse(DEFAULTS)


def test_every_strategic_query_of_the_domain_has_a_cube() -> None:
    """The twelve of DOMAIN.md, each explained in one line that says what dates a record."""
    assert [cube.id for cube in SHIPPED.cubes] == [
        "reports-received", "enquiry-outcomes", "report-feedback", "queries", "modus-operandi",
        "seizures", "hit-origins", "displacement", "vulnerabilities", "bribe-approaches",
        "precursor-alerts", "coverage",
    ]  # fmt: skip
    assert all("; dated by the " in cube.about for cube in SHIPPED.cubes)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("event", [event.value for event in Event]),
        ("modus-operandi", [*(modus.value for modus in ModusOperandi), "unknown"]),
        ("partner-kind", [kind.value for kind in PartnerKind]),
    ],
)
def test_words_that_partners_share_are_the_vocabularys(step: str, words: list[str]) -> None:
    """What a record may say has a code, and no code is a word that no record can say."""
    (found,) = [s for d in SHIPPED.dimensions for s in d.steps if s.step == step]
    assert [code.code for code in found.codes] == words


def test_a_kind_of_partner_belongs_to_its_sector() -> None:
    """Public or private is what the directory says."""
    (kinds,) = [s for d in SHIPPED.dimensions for s in d.steps if s.step == "partner-kind"]
    assert {c.code: c.parent for c in kinds.codes} == {k.value: k.sector.value for k in PartnerKind}


def test_what_one_contributor_could_make_up_is_marked() -> None:
    """Every sum of the shipped cubes, all of weight, goes through the check of dominance."""
    sums = [m for cube in SHIPPED.cubes for m in cube.measures if m.kind is MeasureKind.SUM]
    assert sums
    assert all(measure.dominance for measure in sums)


def test_no_cube_is_by_employer_or_by_terminal() -> None:
    """A cell of one organisation could never be shown, so none is counted."""
    steps = {a.step.step for c in SHIPPED.cubes for level in c.levels for a in level.axes}
    assert not {"terminal", "port"} & steps


def test_the_page_is_what_the_registry_says() -> None:
    """Run `python tools/cube_table.py` when a cube changes."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_committed_json_schema_is_the_one_of_the_reader() -> None:
    """An editor checks the file by the same rules (else: make policies), which it names."""
    committed = (ROOT / "policies" / "schema" / "cubes.schema.json").read_text()
    assert json.loads(committed) == json_schema()
    assert b"# yaml-language-server: $schema=../schema/cubes.schema.json" in DEFAULTS
