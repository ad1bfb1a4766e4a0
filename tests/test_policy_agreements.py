"""Agreements as data: every mistake reported at once with its path, and what they compile to."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import BASELINE, DEMO, EXAMPLE

from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.documents import InvalidAgreements

NAME = "data/agreements.yaml"


def problems(edit) -> list[str]:
    """What is said of the baseline after ``edit``, without the file's name."""
    document = yaml.safe_load(BASELINE[NAME])
    edit(document)
    with pytest.raises(InvalidAgreements) as caught:
        federation_data({NAME: yaml.safe_dump(document).encode()})
    return [problem.removeprefix(f"{NAME}: ") for problem in caught.value.problems]


def test_every_mistake_is_reported_at_once_with_its_path() -> None:
    """Wrong types, unknown keys, missing keys and bad spellings come in one report."""

    def edit(document) -> None:
        rows = document["agreements"]
        rows[0]["max_records"] = "many"
        rows[1]["facet"] = rows[1].pop("facets")
        rows[2]["modes"] = ["loud"]
        rows[3]["to"] = ["everybody"]
        document["registry"]["purposes"]["infiltration"]["covert"] = "yes"

    assert sorted(problems(edit)) == [
        "agreements[0].max_records: a whole number is expected",
        "agreements[1].facets: is missing",
        "agreements[1]: an unknown key is here; did you mean facets?",
        "agreements[2].modes[0]: one of the documented words is expected",
        "agreements[3].to[0]: one of the documented spellings is expected",
        "registry.purposes.infiltration.covert: true or false is expected",
    ]


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
        document["registry"]["purposes"]["customs-risk"]["legal_bases"] = ["because"]
        document["registry"]["legal_bases"]["eu-ucc-art-46"]["kinds"] = ["bank"]

    found = problems(edit)
    for path in (
        "registry.purposes.customs-risk.legal_bases[0]",
        "registry.legal_bases.eu-ucc-art-46.kinds[0]",
        *(f"agreements[0].{key}[0]" for key in (
            "purposes", "legal_bases", "schemes", "roles", "facets", "redact")),
    ):  # fmt: skip
        assert f"{path}: is not registered" in found
    assert "agreements[0].from[0]: no such sector or kind" in found
    assert "agreements[0].to[0]: no such sector or kind" in found


def test_no_agreement_lifts_the_federations_limits() -> None:
    """A ceiling is a ceiling, dates are in order, and an id is used once."""

    def edit(document) -> None:
        row = document["agreements"][0]
        row["max_terms"], row["max_records"], row["retention_days"] = 1_048_577, 101, 366
        row["valid_until"] = row["valid_from"].replace()
        document["agreements"][1]["id"] = row["id"]

    assert sorted(problems(edit)) == [
        "agreements[0].max_records: is above the federation's limit",
        "agreements[0].max_terms: is above the federation's limit",
        "agreements[0].retention_days: is above the federation's limit",
        "agreements[0].valid_until: is not after valid_from",
        "agreements[1].id: is used already",
    ]


def test_no_value_is_repeated_in_a_report() -> None:
    """A report may be pasted anywhere: it names places, never what stands there."""

    def edit(document) -> None:
        document["agreements"][0]["id"] = "MSCU6639870 secret"
        document["agreements"][0]["MSCU6639870"] = 1
        document["agreements"][0]["purposes"] = ["mscu6639870"]

    assert "mscu6639870" not in "\n".join(problems(edit)).lower()


def test_a_key_written_twice_and_an_alias_are_refused() -> None:
    """YAML would silently keep the last of two keys, and expand aliases without end."""
    for text in (b"schema: 1\nschema: 1\n", b"schema: 1\nadopt: [&a x, *a]\n", b"? [1]\n: 2\n"):
        with pytest.raises(InvalidAgreements) as caught:
            federation_data({**BASELINE, "more.yaml": text})
        assert "YAML is expected" in caught.value.diagnostics()


def test_there_is_one_registry_and_adopting_is_local() -> None:
    """Two registries would give a word two meanings; the federation adopts from nobody."""
    with pytest.raises(InvalidAgreements):
        federation_data({"demo.yaml": DEMO["data/demo.yaml"]})
    with pytest.raises(InvalidAgreements):
        federation_data({**BASELINE, "b.yaml": BASELINE[NAME]})
    with pytest.raises(InvalidAgreements):
        federation_data({**BASELINE, "b.yaml": b"schema: 1\nadopt: [public-asks-public]\n"})


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
        b"schema: 1\nadopt: [no-such]\n",
        BASELINE[NAME],
        EXAMPLE.replace(b"we-answer-customs", b"public-asks-private"),
        b"schema: 2\n",
    ):
        with pytest.raises(InvalidAgreements):
            local_data(federation, DEMO, "local.yaml", text)


def test_kinds_and_partners_compile_apart() -> None:
    """An agreement for police is not one for a partner whose id is "police"."""
    row = federation_data(BASELINE)["federation"]["agreements"]["police-asks-police"]
    assert row["from"] == {"kinds": {"police": True}, "partners": {}}


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    """No file makes the reader fail in another way."""
    with contextlib.suppress(InvalidAgreements):
        federation_data({**BASELINE, "x.yaml": data})
