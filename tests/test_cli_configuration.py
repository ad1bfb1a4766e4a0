"""``config show`` and ``config schema`` of both servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead.config import GatewayConfig, NodeConfig, json_schema
from gateway.cli.main import app as gateway_app
from node.cli.main import app as node_app
from tests.federation import Federation, federation
from tests.processes import write_config


@pytest.fixture
async def made(tmp_path: Path) -> Federation:
    async with federation(tmp_path, start=False) as built:
        return built


def test_show_prints_every_key_with_its_origin(made: Federation) -> None:
    """Each key of the model appears once, with its line or as a default."""
    path = write_config(made.folder / "node.toml", made.node_configs["customs"])
    path.write_text("# a comment\n" + path.read_text())
    shown = CliRunner().invoke(
        node_app, ["config", "show", "--config", str(path), "--origin", "--output", "json"]
    )
    rows = {row["key"]: row for row in json.loads(shown.stdout)}
    tables = {"limits", "budgets", "guard", "reviews", "policy", "retention"}
    assert rows.keys() >= NodeConfig.model_fields.keys() - tables
    lines = path.read_text().splitlines()
    for key in ("partner", "state_dir", "limits.deadline_ms"):
        place = int(rows[key]["origin"].removeprefix("line "))
        assert lines[place - 1].startswith(f"{key.rpartition('.')[2]} = ")
    assert rows["index_key"]["origin"] == "default"
    assert all(row["meaning"] for row in rows.values())


def test_show_without_origin_prints_values_alone(made: Federation) -> None:
    """The short form is key and value."""
    path = write_config(made.folder / "gateway.toml", made.gateway_config)
    shown = CliRunner().invoke(
        gateway_app, ["config", "show", "--config", str(path), "--output", "json"]
    )
    assert {"key": "name", "value": "gw-1"} in json.loads(shown.stdout)


def test_a_secret_is_shown_as_its_reference_only(made: Federation) -> None:
    """What a secret reference points to is never read by showing the configuration."""
    secret = made.folder / "secret"
    secret.write_text("do-not-show-this-secret-to-anybody")
    config = made.node_configs["customs"]
    path = write_config(made.folder / "node.toml", config, index_key=f"file:{secret}")
    shown = CliRunner().invoke(node_app, ["config", "show", "--config", str(path)])
    assert f"file:{secret}" in shown.stdout
    assert "do-not-show" not in shown.stdout


@pytest.mark.parametrize(("app", "model"), [(node_app, NodeConfig), (gateway_app, GatewayConfig)])
def test_schema_prints_the_models_schema(app: object, model: type[NodeConfig]) -> None:
    """Editors get the same document that the loader validates with."""
    shown = CliRunner().invoke(app, ["config", "schema"])
    assert json.loads(shown.stdout) == json_schema(model)
