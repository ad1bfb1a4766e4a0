"""An OPA that somebody else runs: it is given our policy, and refused when it has another.

All of it runs the real program.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from fairlead.errors import PolicyUnavailable
from fairlead.policy.pushing import remote_engine
from tests import opas
from tests.opas import PATIENT_S


def test_a_server_gets_its_program_and_loses_the_one_before() -> None:
    """Loading again replaces what was loaded, whatever it was; the same again changes nothing."""
    with opas.running() as opa:
        make = partial(remote_engine, opa.place, opa.token, deadline_s=PATIENT_S)
        make(opas.program(), opas.data())
        engine = make(opas.program(), opas.data(opas.DEMO))
        vector = opas.vector("routing-demo")
        found = json.loads(engine.evaluate("routing", vector["input"]))
        assert found["candidates"].keys() == vector["expect"]["candidates"].keys()
        tiny = make(opas.tiny("decision := nothing"), {})
        assert json.loads(tiny.evaluate("admission", {})) == {"effect": "deny"}


def test_a_server_that_lets_us_in_nowhere_is_refused() -> None:
    """A wrong token loads nothing."""
    with opas.running() as opa, pytest.raises(PolicyUnavailable) as caught:
        remote_engine(opa.place, "wrong", opas.program(), opas.data())
    assert caught.value.code == "OPA_REFUSES"


def test_a_server_with_a_decision_log_is_refused() -> None:
    """An OPA that writes every input into a log of its own does not get one."""
    with (
        opas.running("--set", "decision_logs.console=true") as opa,
        pytest.raises(PolicyUnavailable) as caught,
    ):
        remote_engine(opa.place, opa.token, opas.program(), opas.data())
    assert caught.value.code == "OPA_LOGS_INPUTS"


def test_a_server_where_another_policy_adds_to_ours_is_refused(tmp_path: Path) -> None:
    """A module that somebody else put into one of our packages could add a reason to permit."""
    (tmp_path / "more.rego").write_text("package fairlead.facts\n\nversion_of_mine := 2\n")
    with (
        opas.running(files=[tmp_path / "more.rego"]) as opa,
        pytest.raises(PolicyUnavailable) as caught,
    ):
        remote_engine(opa.place, opa.token, opas.program(), opas.data())
    assert caught.value.code == "OPA_OTHER_POLICY"


def test_a_server_that_keeps_other_data_is_refused(tmp_path: Path) -> None:
    """Data that cannot be replaced is not decided by."""
    (tmp_path / "more.rego").write_text("package federation.limits\n\nmax_terms := 1000000\n")
    with (
        opas.running(files=[tmp_path / "more.rego"]) as opa,
        pytest.raises(PolicyUnavailable) as caught,
    ):
        remote_engine(opa.place, opa.token, opas.program(), opas.data())
    assert caught.value.code in {"OPA_OTHER_POLICY", "OPA_LOAD"}


def test_a_server_with_another_policy_since_does_not_decide_as_before() -> None:
    """What is loaded later is what decides: its output shows which data it stands on."""
    says = 'decision := {"effect": "deny", "policy": data.federation.policy}'
    with opas.running() as opa:
        make = partial(remote_engine, opa.place, opa.token, deadline_s=PATIENT_S)
        engine = make(opas.tiny(says), {"federation": {"policy": "new"}})
        assert json.loads(engine.evaluate("admission", {}))["policy"] == "new"
        make(opas.tiny(says), {"federation": {"policy": "old"}})
        assert json.loads(engine.evaluate("admission", {}))["policy"] == "old"
