"""What is under ``deploy/``: units, chart, image, dashboard and alerts are what they claim."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.registry import CollectorRegistry

from fairlead.metrics import Tally, _Collector
from tests.federation import ROOT, federation

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAMS = ("gateway", "node", "authority")
SERIES = re.compile(r"fairlead_[a-z_]+")


def require(program: str, how: str) -> str:
    found = shutil.which(program, path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(f"{program} is missing: {how}")
        pytest.skip(f"{program} is missing: {how}")
    return found


@pytest.fixture(scope="module")
def helm() -> str:
    return require("helm", "make tools (needs Go: apt-get install golang-go)")


def rendered(helm: str, *settings: str) -> list[dict[str, Any]]:
    command = [helm, "template", "x", str(DEPLOY / "helm" / "fairlead"), "--kube-version", "1.31.0"]
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_the_chart_passes_helms_own_judgement(helm: str) -> None:
    """``helm lint --strict`` finds nothing."""
    command = [helm, "lint", "--strict", str(DEPLOY / "helm" / "fairlead")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_chart_runs_one_locked_down_process(helm: str, program: str) -> None:
    """One replica, no root, no privileges, nothing writable but its own volume."""
    documents = rendered(helm, "--set", f"program={program}", "--set", "metricsPort=9464")
    (found,) = [d for d in documents if d["kind"] == "StatefulSet"]
    assert found["spec"]["replicas"] == 1
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["args"][:2] == [f"fairlead-{program}", "serve"]
    assert {d["kind"] for d in documents} == {"StatefulSet", "Service", "NetworkPolicy"}


def test_the_chart_refuses_a_program_it_does_not_know(helm: str) -> None:
    """The values' schema stops a typo before anything is installed."""
    with pytest.raises(subprocess.CalledProcessError):
        rendered(helm, "--set", "program=gatway")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_understood_and_confined(unit: Path, tmp_path: Path) -> None:
    """systemd knows every directive of a unit, which gives up every privilege."""
    analyze = require("systemd-analyze", "apt-get install systemd")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = re.sub(r"/opt/fairlead/bin/\S+", str(program), unit.read_text())
    copy = tmp_path / unit.name
    copy.write_text(text)
    command = [analyze, "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []
    for line in ("NoNewPrivileges=yes", "CapabilityBoundingSet=\n", "ProtectSystem=strict"):
        assert line in text


def test_the_image_installs_the_locked_dependencies_and_drops_root() -> None:
    """Hashes are required, every copied path exists, and the last user is not root."""
    text = (DEPLOY / "Containerfile").read_text()
    assert "--require-hashes -r requirements/run.lock" in text
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"


async def offered(folder: Path) -> set[str]:
    """Names of all series that a gateway and a node can show, as Prometheus spells them."""
    async with federation(folder, partners=("customs",)) as made:
        assert made.gateway is not None
        names: set[str] = set()
        for app in (made.gateway, made.nodes["customs"]):
            registry = CollectorRegistry()
            tally = Tally()
            tally.leaf("intent")
            tally.refused(["X"])
            tally.alarmed(["X"])
            tally.closed(b"", [("p", "answered")])
            registry.register(_Collector(tally, app.gauges))  # type: ignore[arg-type]
            names |= {sample.name for family in registry.collect() for sample in family.samples}
        return names


async def test_dashboard_and_alerts_use_series_that_exist(tmp_path: Path) -> None:
    """No panel and no alert waits for a metric that nobody offers."""
    names = await offered(tmp_path)
    dashboard = json.loads((DEPLOY / "grafana" / "fairlead.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "grafana" / "alerts.yaml").read_text())
    expressions = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    expressions += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    used = {name for expression in expressions for name in SERIES.findall(expression)}
    assert used
    assert used - names == set()
