"""The configured engine decides, from the signed bundle to the refusal that a user sees."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fairlead import process, telemetry
from fairlead.config import GatewayConfig, NodeConfig, Opa, Policy
from fairlead.errors import Misconfigured
from fairlead.policy.engine import wasm_engine
from fairlead.policy.making import engine_maker, place_of, told
from fairlead.policy.points import PolicyPoints
from fairlead.trust import Trust
from gateway.cli.main import app as gateway_app
from node.cli.main import app as node_app
from tests import opas
from tests.federation import Federation, federation
from tests.policy_cases import ANALYST, CANDIDATES, CUSTOMS, NOW, QUERY
from tests.processes import write_config


@pytest.fixture
async def made(tmp_path: Path) -> Federation:
    async with federation(tmp_path, start=False) as built:
        return built


def by_opa(config: GatewayConfig | NodeConfig) -> GatewayConfig | NodeConfig:
    """The same process with a supervised OPA."""
    policy = Policy(engine="opa", opa=Opa(command=opas.command()))
    return config.model_copy(update={"policy": policy})


def loaded(config: GatewayConfig | NodeConfig) -> PolicyPoints:
    """Its decision points."""
    return process.load_policy(config, Trust.load(config.pins), now=time.time())


def asked(points: PolicyPoints) -> object:
    """Two questions decided."""
    admission = points.admission(
        now=NOW, query=QUERY, asker=CUSTOMS, user=ANALYST,
        case_open=True, user_assigned=True, approvals=0,
    )  # fmt: skip
    return admission, points.routing(
        now=NOW, query=QUERY, asker=CUSTOMS, candidates=CANDIDATES, approvals=0
    )


def test_without_a_word_the_webassembly_decides(made: Federation) -> None:
    """The default needs no server."""
    assert engine_maker(made.gateway_config) is wasm_engine


def test_both_engines_load_the_same_signed_bundle(
    made: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway and a node decide by OPA as they do by WebAssembly, reasons and all."""
    monkeypatch.setitem(engine_defaults(), "deadline_s", opas.PATIENT_S)
    for config in (made.gateway_config, made.node_configs["customs"]):
        assert asked(loaded(by_opa(config))) == asked(loaded(config))


def engine_defaults() -> dict[str, object]:
    """What a supervised engine takes for granted, for a busy test machine."""
    from fairlead.policy.supervision import supervised_engine

    defaults = supervised_engine.__kwdefaults__
    assert defaults is not None
    return defaults


def test_without_its_opa_a_process_refuses_and_says_why(made: Federation) -> None:
    """A killed OPA is a refusal that the requester may see, and a line with the cause."""
    points = loaded(by_opa(made.gateway_config))
    stream, before = io.BytesIO(), telemetry._settings.stream
    telemetry._settings.stream = stream
    try:
        local = started(points)
        local._ended.set()  # no other one is started meanwhile
        local._process.kill()
        local._process.wait()
        began = time.monotonic()
        decision = points.admission(
            now=NOW, query=QUERY, asker=CUSTOMS, user=ANALYST,
            case_open=True, user_assigned=True, approvals=0,
        )  # fmt: skip
        assert time.monotonic() - began < 1
    finally:
        telemetry._settings.stream = before
    assert not decision.permit
    assert [reason.code for reason in decision.reasons] == ["POLICY_UNAVAILABLE"]
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (alarm,) = [line for line in lines if line["event"] == "policy-unavailable"]
    assert alarm["code"] in {"OPA_LOST", "OPA_ABSENT"}
    assert alarm["point"] == "admission"


def started(points: PolicyPoints) -> Any:
    """What the first layer's engine has started."""
    (layer,) = points._layers
    engine = getattr(layer, "engine", layer)
    release = getattr(engine, "_engine", engine)._release
    return release.peek()[1].__self__


def test_check_says_which_engine_decides(made: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator reads the engine and OPA's version before serving."""
    monkeypatch.setitem(engine_defaults(), "deadline_s", opas.PATIENT_S)
    plain = write_config(made.folder / "plain.toml", made.gateway_config)
    checked = CliRunner().invoke(gateway_app, ["check", "--config", str(plain)])
    assert "decisions are made by WebAssembly in this process" in checked.stderr
    by = write_config(made.folder / "opa.toml", by_opa(made.gateway_config))
    checked = CliRunner().invoke(gateway_app, ["check", "--config", str(by)])
    assert f"decisions are made by OPA {opas.get_opa.VERSION}, started" in checked.stderr
    by = write_config(made.folder / "node.toml", by_opa(made.node_configs["customs"]))
    checked = CliRunner().invoke(node_app, ["check", "--config", str(by)])
    assert f"decisions are made by OPA {opas.get_opa.VERSION}, started" in checked.stderr


def test_a_server_holds_one_layer(made: Federation) -> None:
    """A partner with agreements of its own is told to have its OPA started for each."""
    policy = Policy(engine="opa", opa=Opa(url="http://127.0.0.1:8181"))
    config = made.node_configs["customs"].model_copy(
        update={"policy": policy, "local_policy": made.folder / "local.yaml"}
    )
    with pytest.raises(Misconfigured) as caught:
        engine_maker(config)
    assert caught.value.code == "OPA_LAYERS"


def test_a_host_without_an_address_is_found_at_the_start() -> None:
    """A name is looked up once, where nobody waits for it."""
    ca = Path(__file__)
    with pytest.raises(Misconfigured) as caught:
        place_of(Opa(url="https://no-such-host.invalid:8181", ca=ca))
    assert caught.value.code == "OPA_ADDRESS"
    place = place_of(Opa(url="https://localhost:8181", ca=ca))
    assert (place.name, place.port, place.ca) == ("localhost", 8181, ca)
    assert place.address in {"127.0.0.1", "::1"}


def test_a_server_that_runs_already_is_used(
    made: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A url with a token from the environment loads the bundle there and decides by it."""
    with opas.running() as opa:
        monkeypatch.setenv("FAIRLEAD_TEST_OPA", opa.token)
        server = Opa(url=f"http://127.0.0.1:{opa.place.port}", token="env:FAIRLEAD_TEST_OPA")
        config = made.gateway_config.model_copy(update={"policy": Policy(engine="opa", opa=server)})
        from fairlead.policy.pushing import remote_engine

        monkeypatch.setitem(remote_engine.__kwdefaults__ or {}, "deadline_s", opas.PATIENT_S)
        assert told(config.policy) == f"OPA {opas.get_opa.VERSION}, which runs already"
        assert asked(loaded(config)) == asked(loaded(made.gateway_config))
