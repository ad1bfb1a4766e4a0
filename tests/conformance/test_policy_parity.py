"""Parity: both engines decide every golden vector as expected, and to the last field alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import pytest

from fairlead.errors import PolicyUnavailable
from fairlead.policy.engine import wasm_engine
from fairlead.policy.reading import REQUIRED
from fairlead.policy.supervision import supervised_engine
from tests import opas
from tests.policy_engines import Slate, opa_slate, wasm_slate

# isort: split
from policy_vectors import GOLDEN, condensed, product
from test_opa import ordered
from vector_facts import data_of

VECTORS = [json.loads(line) for line in GOLDEN.read_text(encoding="ascii").splitlines()]


@pytest.fixture(scope="module")
def wasm() -> Iterator[Slate]:
    """The shipped module."""
    with wasm_slate() as slate:
        yield slate


@pytest.fixture(scope="module")
def opa() -> Iterator[Slate]:
    """A real OPA."""
    with opa_slate() as slate:
        yield slate


def outputs(slate: Slate) -> dict[str, Any]:
    """Every vector's output, by name."""
    found, loaded = {}, ""
    for vector in VECTORS:
        if vector["data"] != loaded:
            loaded = vector["data"]
            slate.load(data_of(loaded))
        found[vector["name"]] = json.loads(slate.evaluate(vector["point"], vector["input"]))
    return found


def otherwise(found: Mapping[str, Any]) -> list[str]:
    """The vectors that are not decided as expected."""
    return [v["name"] for v in VECTORS if condensed(found[v["name"]]) != v["expect"]]


def check_names(output: Mapping[str, Any], point: str) -> Iterator[bool]:
    """Whether each decision in an output brings exactly the required checks."""
    kind = point if "records" in output else f"{point}.candidate"
    if "effect" in output:
        yield output["checks"].keys() == REQUIRED[point]
    for decision in output.get("decisions", {}).values():
        yield decision["checks"].keys() == REQUIRED[kind]


def test_the_module_decides_every_vector_as_expected(wasm: Slate) -> None:
    """The WebAssembly gives every golden vector's decision, and brings exactly the checks."""
    found = outputs(wasm)
    assert otherwise(found) == []
    assert [v["name"] for v in VECTORS if not all(check_names(found[v["name"]], v["point"]))] == []


def test_both_engines_give_the_same_octets_but_for_the_order_of_sets(
    wasm: Slate, opa: Slate
) -> None:
    """Parity of 100 %: texts, order of reasons and all, on every golden vector."""
    ours, theirs = outputs(wasm), outputs(opa)
    assert otherwise(theirs) == []
    assert [name for name in ours if ordered(ours[name]) != ordered(theirs[name])] == []


def test_the_products_own_opa_gives_the_same() -> None:
    """Through the adapter and a supervised OPA, every vector is decided as by the reference."""
    command, wrong = opas.command(), []
    for data, vectors in groupby(VECTORS, key=lambda v: v["data"]):
        if data == "broken":
            continue
        engine = supervised_engine(
            command, opas.program(), data_of(data), deadline_s=opas.PATIENT_S
        )
        for vector in vectors:
            output = json.loads(engine.evaluate(vector["point"], vector["input"]))
            wrong += [vector["name"]] if condensed(output) != vector["expect"] else []
        engine.close()
    assert wrong == []


def test_no_engine_starts_over_broken_data() -> None:
    """The self-test notices data that lost a part before anybody asks."""
    with pytest.raises(PolicyUnavailable) as caught:
        wasm_engine(opas.program(), data_of("broken"))
    assert caught.value.code == "ENGINE_SELFTEST"
    with pytest.raises(PolicyUnavailable) as caught:
        supervised_engine(
            opas.command(), opas.program(), data_of("broken"), deadline_s=opas.PATIENT_S
        )
    assert caught.value.code == "ENGINE_SELFTEST"


def test_the_file_is_what_the_program_makes() -> None:
    """Nobody edits a vector by hand: the product is made again and asks the same questions."""
    made = [(v.name, v.point, v.data, json.loads(json.dumps(v.document))) for v in product()]
    assert [(v["name"], v["point"], v["data"], v["input"]) for v in VECTORS] == made
