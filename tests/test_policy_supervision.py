"""A local OPA that this process starts: it is private, restricted, comes back, and never stays.

All of it runs the real program.
"""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fairlead import telemetry
from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.policy.capabilities import IMPURE, run
from fairlead.policy.engine import SELF_TEST, PolicyEngine, Program, WasmEngine, wasm_engine
from fairlead.policy.opa import OpaEngine
from fairlead.policy.pushing import remote_engine
from fairlead.policy.supervision import _Local, supervised_engine, version
from tests import opas
from tests.opas import PATIENT_S, ROOT

HANGS = """
decision := nothing if not input.busy
decision := {"effect": "permit", "n": n} if {
	input.busy
	all := numbers.range(1, 5000)
	n := count([1 | some x in all; some y in all; some z in all; x + y == z])
}
"""
CALM = json.dumps({"effect": "deny"}).encode().replace(b" ", b"")


def local_of(engine: OpaEngine) -> Any:
    """What an engine has started."""
    found = engine._release.peek()
    assert found is not None
    return found[1].__self__


def pid_of(engine: OpaEngine) -> int:
    """Its process."""
    return int(local_of(engine)._process.pid)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually(what: Callable[[], object], within_s: float = PATIENT_S) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def decides(engine: PolicyEngine) -> bool:
    """Whether there is a decision now."""
    try:
        return engine.evaluate("admission", {}) == CALM
    except PolicyUnavailable:
        return False


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The operator's log, as far as it is written."""
    stream = io.BytesIO()
    before = telemetry._settings.stream
    telemetry._settings.stream = stream
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    telemetry._settings.stream = before


@pytest.fixture
def engine() -> Iterator[OpaEngine]:
    """A supervised engine over a tiny program that can be made to hang."""
    made = supervised_engine(opas.command(), opas.tiny(HANGS), {}, deadline_s=PATIENT_S)
    yield made
    made.close()


# ── Dying ────────────────────────────────────────────────────────────────────────────────────


def test_an_opa_killed_in_the_middle_of_a_call(
    engine: OpaEngine, log: Callable[[], list[dict[str, Any]]]
) -> None:
    """The call under way is refused at once, the log says that it ended, and another one comes."""
    victim = pid_of(engine)
    began: list[float] = []

    def kill() -> None:
        time.sleep(0.3)
        began.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(PolicyUnavailable) as caught:
        engine.evaluate("admission", {"busy": True})
    assert time.monotonic() - began[0] < 1
    assert caught.value.code == "OPA_LOST"
    assert eventually(lambda: decides(engine))
    assert pid_of(engine) != victim
    events = [(line["event"], line.get("pid")) for line in log()]
    assert ("opa-ended", None) in events
    assert ("opa-started", pid_of(engine)) in events


def test_an_opa_that_is_dead_is_a_no_at_once(engine: OpaEngine) -> None:
    """While there is none, every decision is refused in far less than a second."""
    local_of(engine)._ended.set()  # it is not started again
    os.kill(pid_of(engine), signal.SIGKILL)
    assert eventually(lambda: not alive(pid_of(engine)))
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(PolicyUnavailable) as caught:
            engine.evaluate("admission", {})
        assert time.monotonic() - began < 1
        assert caught.value.code in {"OPA_LOST", "OPA_ABSENT"}


def test_an_opa_that_dies_again_and_again_is_started_ever_more_slowly(
    tmp_path: Path, log: Callable[[], list[dict[str, Any]]]
) -> None:
    """What cannot run does not keep the machine busy with starting it."""
    local = _Local(command=Path("/bin/false"), folder=tmp_path / "opa")
    local.folder.mkdir()
    local.start()
    time.sleep(2)
    local.end()
    assert 2 <= sum(line["event"] == "opa-started" for line in log()) <= 5
    assert not local.folder.exists()


# ── Not staying ──────────────────────────────────────────────────────────────────────────────


def test_nothing_is_left_of_a_closed_engine(engine: OpaEngine) -> None:
    """Process and files are gone when closing returns; there is no decision afterwards."""
    pid, folder = pid_of(engine), local_of(engine).folder
    engine.close()
    assert not alive(pid)
    assert not folder.exists()
    assert not decides(engine)


def test_nothing_is_left_of_a_forgotten_engine() -> None:
    """A swapped policy's process ends when the last decision under it is made."""
    made = supervised_engine(opas.command(), opas.tiny(HANGS), {})
    pid = pid_of(made)
    assert alive(pid)
    del made
    gc.collect()
    assert eventually(lambda: not alive(pid))


PARENT = """
    import os, sys, time
    from pathlib import Path
    from fairlead.policy.supervision import supervised_engine
    from tests import opas
    engine = supervised_engine(opas.command(), opas.tiny("decision := nothing"), {})
    local = engine._release.peek()[1].__self__
    print(local._process.pid, local.folder, flush=True)
    if sys.argv[1] == "killed":
        time.sleep(60)
"""


@pytest.mark.parametrize("end", ["killed", "returns"])
def test_an_opa_does_not_outlive_its_parent(end: str) -> None:
    """However the process ends that started it, be it by SIGKILL, its OPA ends with it."""
    opas.command()
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), end],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    with parent.stdout as told:
        number, folder = told.readline().split()
        pid = int(number)
        if end == "killed":
            assert alive(pid)
            parent.kill()
        parent.wait()
    assert eventually(lambda: not alive(pid), 5)
    assert Path(folder).exists() == (end == "killed")
    shutil.rmtree(folder, ignore_errors=True)


# ── Private ──────────────────────────────────────────────────────────────────────────────────


def test_nobody_else_can_reach_it(engine: OpaEngine) -> None:
    """Folder and socket are its user's alone, it listens on no port, and it has no environment."""
    folder, pid = local_of(engine).folder, pid_of(engine)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
    sockets = {str(f.readlink()) for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        assert not {f"socket:[{row.split()[9]}]" for row in rows} & sockets
    names = {v.split(b"=")[0] for v in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if v}
    assert names == {b"GOMEMLIMIT", b"GOGC"}
    assert not any(b"\n" in a for a in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))


# ── Restricted ───────────────────────────────────────────────────────────────────────────────


def test_the_list_of_impure_functions_is_opas_own() -> None:
    """What the pinned OPA calls nondeterministic is what our list holds."""
    known = json.loads(run(opas.command(), "capabilities", "--current"))["builtins"]
    assert {b["name"] for b in known if b.get("nondeterministic")} == IMPURE


CURIOUS = {
    "http.send": 'http.send({"method": "get", "url": "http://127.0.0.1:1"})',
    "a clock": "time.now_ns()",
    "its process": "opa.runtime()",
    "chance": 'rand.intn("x", 5)',
    "a resolver": 'net.lookup_ip_addr("localhost")',
    "in brackets": 'http["send"]({"method": "get", "url": "http://127.0.0.1:1"})',
}


@pytest.mark.parametrize("what", CURIOUS)
def test_a_policy_that_asks_elsewhere_is_refused(what: str) -> None:
    """A function that hears or tells the world keeps a policy from being loaded anywhere."""
    curious = opas.tiny(f"decision := nothing if {{\n\tx := {CURIOUS[what]}\n\tx\n}}")
    with pytest.raises(PolicyUnavailable) as caught:
        supervised_engine(opas.command(), curious, {})
    assert caught.value.code == "OPA_CAPABILITIES"
    with opas.running() as opa, pytest.raises(PolicyUnavailable) as caught:
        remote_engine(opa.place, opa.token, curious, {})
    assert caught.value.code == "OPA_CAPABILITIES"
    with pytest.raises(PolicyUnavailable):
        WasmEngine(opas.compiled(curious).wasm, {})


# ── Self-test ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["wasm", "opa"])
def maker(request: pytest.FixtureRequest) -> Callable[[Program], PolicyEngine]:
    """Make an engine as a process does, over no data."""
    if request.param == "wasm":
        return lambda program: wasm_engine(opas.compiled(program), {})
    return lambda program: supervised_engine(opas.command(), program, {}, deadline_s=PATIENT_S)


def test_an_engine_that_permits_an_empty_input_is_refused(
    maker: Callable[[Program], PolicyEngine],
) -> None:
    """A kernel that says yes to nothing at all never decides."""
    with pytest.raises(PolicyUnavailable) as caught:
        maker(opas.tiny('decision := {"effect": "permit"}'))
    assert caught.value.code == "ENGINE_SELFTEST"


def test_an_engine_that_decides_otherwise_than_its_vectors_is_refused(
    maker: Callable[[Program], PolicyEngine],
) -> None:
    """The vectors a program brings along are decided before anything else is."""
    good = opas.tiny('decision := {"effect": "deny", "facets": ["b", "a"]}')

    def with_vectors(vectors: object) -> Program:
        return Program(wasm=b"", sources={**good.sources, SELF_TEST: json.dumps(vectors).encode()})

    vector = {"point": "admission", "input": {"x": 1}}
    expect = {"effect": "deny", "facets": ["a", "b"]}
    maker(with_vectors([{**vector, "expect": expect}])).close()
    for wrong in (
        [{**vector, "expect": {**expect, "facets": ["a"]}}],
        [{**vector, "expect": {**expect, "more": 1}}],
        [vector],
        {"not": "a list"},
        [7],
    ):
        with pytest.raises(PolicyUnavailable) as caught:
            maker(with_vectors(wrong))
        assert caught.value.code == "ENGINE_SELFTEST"


def test_a_program_without_a_point_is_refused_at_once(
    maker: Callable[[Program], PolicyEngine],
) -> None:
    """A point that is undefined is found at the start, with its own code from an OPA."""
    began = time.monotonic()
    with pytest.raises(PolicyUnavailable) as caught:
        maker(opas.tiny("decision := nothing if input.never"))
    assert caught.value.code in {"OPA_UNDEFINED", "ENGINE_FAILED"}
    assert time.monotonic() - began < PATIENT_S / 2


def test_a_program_that_is_none_is_refused() -> None:
    """Sources that do not compile, and none at all, start nothing that stays."""
    for program, code in (
        (opas.tiny("decision := ="), "OPA_CAPABILITIES"),
        (Program(wasm=b"", sources={}), "OPA_NO_SOURCES"),
        (Program(wasm=b"", sources={SELF_TEST: b"[]"}), "OPA_NO_SOURCES"),
    ):
        with pytest.raises(PolicyUnavailable) as caught:
            supervised_engine(opas.command(), program, {})
        assert caught.value.code == code


# ── The command ──────────────────────────────────────────────────────────────────────────────


def test_the_version_is_what_opa_says() -> None:
    """The pinned OPA is told by its version."""
    assert version(opas.command()) == opas.get_opa.VERSION


@pytest.mark.parametrize("says", ["Version: 1.10.0", "Version: v2", "", "Version: 1.9.9"])
def test_an_opa_that_is_none_or_too_old_is_refused(tmp_path: Path, says: str) -> None:
    """Another program, and a version with known faults, decides nothing."""
    fake = tmp_path / "opa"
    fake.write_text(f"#!/bin/sh\necho '{says}'\n")
    fake.chmod(0o755)
    for command in (fake, tmp_path / "missing"):
        with pytest.raises(Misconfigured) as caught:
            supervised_engine(command, opas.program(), {})
        assert caught.value.code == "OPA_COMMAND"


# ── Swapping ─────────────────────────────────────────────────────────────────────────────────


def test_a_swap_under_load_refuses_nobody() -> None:
    """A new policy has its own process before it decides, and the old one ends after its last."""
    made = partial(supervised_engine, opas.command(), deadline_s=PATIENT_S)
    says = 'decision := {"effect": "deny", "n": data.federation.n}'
    current: list[OpaEngine] = [made(opas.tiny(says), {"federation": {"n": 0}})]
    old = pid_of(current[0])
    seen: list[int] = []
    failed: list[Exception] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.append(json.loads(current[0].evaluate("admission", {}))["n"])
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    current[0] = made(opas.tiny(says), {"federation": {"n": 1}})
    assert eventually(lambda: 1 in seen[-1:])
    assert eventually(lambda: not alive(old))
    stop.set()
    thread.join()
    assert failed == []
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}
    current[0].close()
