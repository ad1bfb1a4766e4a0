"""Agreements as data: every mistake reported at once with its path, and what they compile to."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import BASELINE, DEMO, EXAMPLE, POLICIES

from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.compiling import size
from fairlead.policy.documents import InvalidAgreements, json_schema

NAME = "data/agreements.yaml"
LINE = re.compile(rf"{NAME}:([0-9]+): ")


def problems(edit) -> list[str]:
    """What is said of the baseline after ``edit``, without the file's name and line."""
    return [LINE.sub("", problem) for problem in told(edit)]


def told(edit) -> tuple[str, ...]:
    """The same, whole."""
    document = yaml.safe_load(BASELINE[NAME])
    edit(document)
    return refused({NAME: yaml.safe_dump(document, sort_keys=False).encode()})


def refused(files: dict[str, bytes]) -> tuple[str, ...]:
    """The problems of files that are refused."""
    with pytest.raises(InvalidAgreements) as caught:
        federation_data(files)
    return caught.value.problems


def row_of(document, name: str) -> dict:
    """One agreement as written."""
    return next(row for row in document["agreements"] if row["id"] == name)


def place_of(name: str) -> int:
    """Where it stands among the baseline's."""
    document = yaml.safe_load(BASELINE[NAME])
    return document["agreements"].index(row_of(document, name))


PRIVATE = place_of("private-asks-public")
"""The second row that extends none."""


def test_every_mistake_is_reported_at_once_with_its_path() -> None:
    """Wrong types, unknown keys, missing keys and bad spellings come in one report."""

    def edit(document) -> None:
        rows = document["agreements"]
        rows[0]["max_records"] = "many"
        rows[PRIVATE]["facet"] = rows[PRIVATE].pop("facets")
        rows[1]["modes"] = ["loud"]
        rows[2]["to"] = ["everybody"]
        rows[0]["onward"] = "everybody"
        rows[0]["asker_countries"] = ["Netherlands"]

    assert sorted(problems(edit)) == sorted([
        "agreements[0].max_records: a whole number is expected",
        "agreements[0].onward: one of the documented words is expected",
        "agreements[0].asker_countries[0]: one of the documented spellings is expected",
        f"agreements[{PRIVATE}].facets: is missing",
        f"agreements[{PRIVATE}]: an unknown key is here; did you mean facets?",
        "agreements[1].modes[0]: one of the documented words is expected",
        "agreements[2].to[0]: one of the documented spellings is expected",
    ])  # fmt: skip
    assert problems(lambda d: d["registry"]["purposes"]["infiltration"].update(covert="yes")) == [
        "registry.purposes.infiltration.covert: true or false is expected"
    ]


def test_every_problem_names_the_line_it_is_on() -> None:
    """An officer's editor jumps to it: the key's own line, the row's where a key is missing."""
    text = BASELINE[NAME].decode()
    wrong = text.replace("max_records: 50", "max_records: many").replace("max_terms: 4096\n", "\n")
    lines = wrong.splitlines()
    at = next(n for n, line in enumerate(lines, 1) if "max_records: many" in line)
    row = next(n for n, line in enumerate(lines, 1) if "id: public-asks-public" in line)
    assert sorted(refused({NAME: wrong.encode()})) == sorted([
        f"{NAME}:{at}: agreements[0].max_records: a whole number is expected",
        f"{NAME}:{row}: agreements[0].max_terms: is missing",
    ])  # fmt: skip
    broken = text.replace("  purposes:", "  purposes: [", 1)
    (problem,) = refused({NAME: broken.encode()})
    assert int(problem.split(":")[1]) > 1
    assert "YAML is expected" in problem


def test_a_file_of_the_first_schema_is_told_what_to_do() -> None:
    """One problem, not thirty that follow from it."""
    stale = BASELINE[NAME].replace(b"schema: 2", b"schema: 1")
    (problem,) = refused({NAME: stale})
    assert problem.startswith(f"{NAME}:4: schema: 2 is expected: write schema: 2")


def test_every_word_must_be_registered() -> None:
    """A purpose, basis, scheme, role, field, kind or sector nobody defined is not ignored."""

    def edit(document) -> None:
        row = document["agreements"][0]
        row["purposes"][0] = "curiosity"
        row["legal_bases"][0] = "because"
        row["schemes"][0] = "crystal-ball"
        row["roles"][0] = "king"
        row["facets"][0] = "field:pin"
        row["redact"][0] = "pin"
        row["from"][0] = "kind:bank"
        row["to"][0] = "sector:third"
        row["instrument"] = {"kinds": ["whim"], "authorities": ["king"]}
        row["asker_countries"] = ["EU", "XX"]
        row["owner_countries"] = ["XX"]
        row["record_countries"] = ["XX"]
        row["transfer_ground"] = "friendship"
        document["opt_outs"] = [{"partner": "terminal-north", "agreement": "no-such"}]
        document["registry"]["jurisdictions"]["GB"]["grounds"] = ["friendship"]
        document["registry"]["purposes"]["customs-risk"]["legal_bases"] = ["because"]
        document["registry"]["legal_bases"]["eu-ucc-art-46"]["kinds"] = ["bank"]

    found = problems(edit)
    for path in (
        "registry.purposes.customs-risk.legal_bases[0]",
        "registry.legal_bases.eu-ucc-art-46.kinds[0]",
        "registry.jurisdictions.GB.grounds[0]",
        *(f"agreements[0].{key}[0]" for key in (
            "purposes", "legal_bases", "schemes", "roles", "facets", "redact", "instrument.kinds",
            "instrument.authorities", "owner_countries", "record_countries")),
        "agreements[0].asker_countries[1]",
        "agreements[0].transfer_ground",
    ):  # fmt: skip
        assert f"{path}: is not registered" in found
    assert "opt_outs[0].agreement: no agreement has this id" in found
    assert "agreements[0].from[0]: no such sector or kind" in found
    assert "agreements[0].to[0]: no such sector or kind" in found


def test_no_agreement_lifts_the_federations_limits() -> None:
    """A ceiling is a ceiling, dates are in order, and an id is used once."""

    def edit(document) -> None:
        row = document["agreements"][0]
        row["max_terms"], row["max_records"], row["retention_days"] = 1_048_577, 101, 366
        row["valid_until"] = row["valid_from"].replace()
        document["agreements"][PRIVATE]["id"] = row["id"]

    found = sorted(
        problem for problem in problems(edit) if "no agreement has this id" not in problem
    )
    assert [problem for problem in found if problem.startswith("agreements[0]")] == [
        "agreements[0].max_records: is above the federation's limit",
        "agreements[0].max_terms: is above the federation's limit",
        "agreements[0].retention_days: is above the federation's limit",
        "agreements[0].valid_until: is not after valid_from",
    ]
    (again,) = (problem for problem in found if problem.endswith(tuple("0123456789")))
    assert again.startswith(f"agreements[{PRIVATE}].id: is used already, at {NAME}:")


def test_no_value_is_repeated_in_a_report() -> None:
    """A report may be pasted anywhere: it names places, never what stands there."""

    def edit(document) -> None:
        document["agreements"][0]["id"] = "MSCU6639870 secret"
        document["agreements"][0]["MSCU6639870"] = 1
        document["agreements"][0]["purposes"] = ["mscu6639870"]

    assert "mscu6639870" not in "\n".join(problems(edit)).lower()


def test_a_key_written_twice_and_an_alias_are_refused() -> None:
    """YAML would silently keep the last of two keys, and expand aliases without end."""
    for text, line in (
        (b"schema: 2\nschema: 2\n", 2),
        (b"schema: 2\nadopt: [&a x, *a]\n", 2),
        (b"? [1]\n: 2\n", 1),
        (b"\x00", 1),
        (b"schema: 2\n\tadopt: []\n", 2),
    ):
        (problem,) = refused({**BASELINE, "more.yaml": text})
        assert problem.startswith(f"more.yaml:{line}: (top): YAML is expected")


def test_there_is_one_registry_and_adopting_is_local() -> None:
    """Two registries would give a word two meanings; the federation adopts from nobody."""
    with pytest.raises(InvalidAgreements):
        federation_data({"demo.yaml": DEMO["data/demo.yaml"]})
    with pytest.raises(InvalidAgreements):
        federation_data({**BASELINE, "b.yaml": BASELINE[NAME]})
    with pytest.raises(InvalidAgreements):
        federation_data({**BASELINE, "b.yaml": b"schema: 2\nadopt: [public-asks-public]\n"})


def test_a_partners_own_file_is_checked_against_the_registry() -> None:
    """It may adopt what exists and use registered words; it has no registry of its own."""
    federation = federation_data(DEMO)
    data = local_data(federation, DEMO, "local.yaml", EXAMPLE)
    assert set(data["federation"]["agreements"]) == {
        "private-asks-public",
        "private-asks-private",
        "we-answer-customs",
    }
    for text in (
        b"schema: 2\nadopt: [no-such]\n",
        BASELINE[NAME],
        EXAMPLE.replace(b"we-answer-customs", b"public-asks-private"),
        b"schema: 3\n",
        b"schema: 2\nopt_outs: [{partner: terminal-north, agreement: public-asks-public}]\n",
    ):
        with pytest.raises(InvalidAgreements):
            local_data(federation, DEMO, "local.yaml", text)


def test_kinds_and_partners_compile_apart() -> None:
    """An agreement for police is not one for a partner whose id is "police"."""
    row = federation_data(BASELINE)["federation"]["agreements"]["police-asks-police"]
    assert row["from"] == {"kinds": {"police": True}, "partners": {}}


# ── One agreement extends another ────────────────────────────────────────────────────────────


def test_an_agreement_has_what_it_writes_and_the_rest_of_the_one_it_extends() -> None:
    """A list that is written replaces the other's as a whole; nothing is added to it."""
    rows = federation_data(BASELINE)["federation"]["agreements"]
    base, police = rows["public-asks-public"], rows["police-asks-police"]
    assert police["schemes"] == base["schemes"]
    assert police["max_records"] == base["max_records"]
    assert police["redact"] == []
    assert set(police["purposes"]) < set(base["purposes"])


@pytest.mark.parametrize(
    ("name", "extended", "said"),
    [
        ("public-asks-private", "no-such", "no agreement has this id"),
        ("public-asks-private", "public-asks-private", "is circular"),
        ("private-asks-private", "police-asks-police", "one level is expected"),
        ("private-asks-private", ["public-asks-public"], "no agreement has this id"),
    ],
)
def test_what_cannot_be_extended_is_told(name: str, extended: object, said: str) -> None:
    """Nobody, itself, and what extends something itself: one level, no circle."""
    found = problems(lambda d: row_of(d, name).update(extends=extended))
    assert len(found) == 1
    assert found[0].startswith(f"agreements[{place_of(name)}].extends: {said}")


def test_two_agreements_that_extend_each_other_are_told_so() -> None:
    """Both rows are wrong, and both say that it is a circle."""

    def edit(document) -> None:
        row_of(document, "public-asks-public")["extends"] = "police-asks-public"

    circle = [problem for problem in problems(edit) if "is circular" in problem]
    assert len(circle) == 2


def test_a_mistake_is_told_where_it_is_written_and_once() -> None:
    """Three agreements extend the wrong one; its mistake is one mistake."""
    found = problems(lambda d: d["agreements"][0].update(max_records=101))
    assert found == ["agreements[0].max_records: is above the federation's limit"]
    assert problems(lambda d: d["agreements"][0].pop("roles")) == [
        "agreements[0].roles: is missing"
    ]


def test_an_agreement_that_extends_has_an_id_of_its_own() -> None:
    """The other's is no name for it."""
    place = place_of("police-asks-public")
    found = problems(lambda d: d["agreements"][place].pop("id"))
    assert found == [f"agreements[{place}].id: is missing"]


def test_a_partners_own_agreement_may_extend_one_of_the_federations() -> None:
    """It is the same agreement, narrower: nothing is written twice."""
    federation = federation_data(DEMO)
    own = b"schema: 2\nagreements: [{id: ours, extends: public-asks-private, max_records: 3}]\n"
    rows = local_data(federation, DEMO, "local.yaml", own)["federation"]["agreements"]
    assert rows.keys() == {"ours"}
    theirs = federation["federation"]["agreements"]["public-asks-private"]
    assert rows["ours"] == {**theirs, "max_records": 3}


# ── Countries ────────────────────────────────────────────────────────────────────────────────

EU_MEMBERS = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip


def test_an_agreement_that_names_no_country_is_for_the_european_union() -> None:
    """The 27 members, and neither the EEA's other three nor anybody else."""
    row = federation_data(BASELINE)["federation"]["agreements"]["police-asks-police"]
    assert len(EU_MEMBERS) == 27
    for side in ("asker_countries", "owner_countries", "record_countries"):
        assert set(row[side]) == EU_MEMBERS


def test_norway_is_a_country() -> None:
    """YAML 1.1 takes NO for false, which no officer would expect."""

    def edit(document) -> None:
        document["registry"]["jurisdictions"]["NO"]["eu"] = True
        document["agreements"][0]["asker_countries"] = ["NO"]

    document = yaml.safe_load(BASELINE[NAME])
    edit(document)
    text = yaml.safe_dump(document).replace("'NO'", "NO").encode()
    rows = federation_data({NAME: text})["federation"]["agreements"]
    assert rows["public-asks-public"]["asker_countries"] == {"NO": True}


def test_a_transfer_out_of_the_union_needs_a_ground_that_holds_there() -> None:
    """None, or one that the registry does not admit for the country, is a mistake in the data."""

    def to_britain(ground: str | None):
        def edit(document) -> None:
            row = document["agreements"][place_of("police-asks-police")]
            row["asker_countries"] = ["EU", "GB"]
            if ground:
                row["transfer_ground"] = ground

        return edit

    where = f"agreements[{place_of('police-asks-police')}].transfer_ground"
    assert problems(to_britain(None)) == [
        f"{where}: is missing: a country of the two sides is outside the EU"
    ]
    assert problems(to_britain("eea-agreement")) == [
        f"{where}: is not among the grounds of every country outside the EU"
    ]
    document = yaml.safe_load(BASELINE[NAME])
    to_britain("led-art-36")(document)
    federation_data({NAME: yaml.safe_dump(document).encode()})


# ── For editors and for the kernel ───────────────────────────────────────────────────────────


def test_the_committed_json_schema_is_the_one_of_the_reader() -> None:
    """An editor checks an officer's file by the same rules (else: make policies)."""
    committed = (POLICIES / "schema" / "agreements.schema.json").read_text()
    assert json.loads(committed) == json_schema()


def test_the_committed_files_are_valid_by_the_json_schema() -> None:
    """Every field they use is in it, and whatever it demands they have."""
    defined = json_schema()["$defs"]["Agreement"]
    for path in sorted((POLICIES / "data").glob("*.yaml")):
        for row in yaml.safe_load(path.read_bytes())["agreements"]:
            assert row.keys() <= defined["properties"].keys()
            assert any(set(way["required"]) <= row.keys() for way in defined["anyOf"])


def test_every_committed_file_names_its_schema_to_editors() -> None:
    """The first comment that an editor's language server looks for."""
    for path in sorted((POLICIES / "data").glob("*.yaml")):
        assert "# yaml-language-server: $schema=../schema/agreements.schema.json" in (
            path.read_text()
        )


def test_an_agreement_is_counted_when_it_is_compiled() -> None:
    """Its own entries and those of everything in it: the kernel counts again."""
    federation = federation_data(DEMO)["federation"]
    assert federation["sizes"].keys() == federation["agreements"].keys()
    assert size({"a": {"b": True, "c": True}, "d": ["x", "y", "z"], "e": None, "f": 1}) == 9


def test_an_opt_out_stands_in_the_agreement() -> None:
    """The partner is named where the kernel looks."""
    more = b"schema: 2\nopt_outs: [{partner: terminal-north, agreement: public-asks-private}]\n"
    rows = federation_data({**BASELINE, "more.yaml": more})["federation"]["agreements"]
    assert rows["public-asks-private"]["opted_out"] == {"terminal-north": True}
    assert not any(row["opted_out"] for name, row in rows.items() if name != "public-asks-private")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    """No file makes the reader fail in another way."""
    with contextlib.suppress(InvalidAgreements):
        federation_data({**BASELINE, "x.yaml": data})
