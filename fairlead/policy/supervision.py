"""A local OPA: started for one program over one data document, kept running, ended with us.

It listens on a Unix socket in a folder that only this user may enter, so nobody else can read or
change what it decides by, and there is no port that somebody else could have taken before. It
writes no log, asks no other machine, and reads nothing but the files written here. What a policy
may call is checked before: nothing whose result depends on more than its arguments.

One thread starts the process and waits for it. The kernel ends the process with that thread
(``PR_SET_PDEATHSIG``), hence with this process, however that ends.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.policy.capabilities import COMMAND_S, check_capabilities, run
from fairlead.policy.engine import DEADLINE_S, POINTS, SELF_TEST, Program, self_test
from fairlead.policy.opa import NOBODY, OpaEngine
from fairlead.policy.transport import Place, unanswered
from fairlead.telemetry import Event, get_logger

OLDEST = (1, 17, 0)
"""Older ones loop on an empty separator (before 1.10.1), or do not know every keyword we use."""
START_S = 10.0
"""Seconds a fresh OPA has for its first answer."""
PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
"""Seconds between an end and the next start; doubled each time, until it has run for the latter."""
MEMORY = 512 * 1024 * 1024
"""Octets of data an OPA may hold: one that allocates more ends, and is started again."""
_MEMORY_SOON, _GARBAGE_PERCENT = "400MiB", "800"
"""From where on it collects garbage eagerly, and how much of it may gather until then."""
_VERSION = re.compile(r"^Version: (\d+)\.(\d+)\.(\d+)$", re.MULTILINE)
_LAUNCH = """
import ctypes, os, resource, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.getppid() == int(sys.argv[1]) or sys.exit(1)
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.environ.pop("LC_CTYPE", None)  # Python puts it there
os.execv(sys.argv[3], sys.argv[3:])
"""


def version(command: Path) -> str:
    """What the program says it is, such as ``1.21.0``.

    :raises Misconfigured: OPA_COMMAND: it is no OPA, or none that is new enough.
    """
    try:
        found = _VERSION.search(run(command, "version").decode())
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        found = None
    if found is None or tuple(map(int, found.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Misconfigured(
            "the program under policy.opa.command is not an OPA that can be used",
            reasons=("OPA_COMMAND",),
            remedy=f"install OPA {oldest} or newer there (opa version), or set engine to wasm",
        )
    return ".".join(found.groups())


def supervised_engine(
    command: Path,
    program: Program,
    data: Mapping[str, object],
    *,
    deadline_s: float = DEADLINE_S,
) -> OpaEngine:
    """Start an OPA for this program and this data; it ends when the engine is closed or forgotten.

    Steps: 1. the program calls nothing that it may not, 2. an OPA starts and answers, 3. it
    decides as it should.

    :raises Misconfigured: OPA_COMMAND.
    :raises PolicyUnavailable: OPA_CAPABILITIES, OPA_START, ENGINE_SELFTEST.
    """
    version(command)
    local = _Local(command=command, folder=_write(program, data))
    try:
        # 1
        check_capabilities(
            command, local.folder / "policy", into=local.folder / "capabilities.json"
        )
        # 2
        local.start()
        local.wait()
        # 3
        self_test(OpaEngine(local.place, deadline_s=START_S), program)
    except BaseException:
        local.end()
        raise
    return OpaEngine(local.place, deadline_s=deadline_s, release=local.end)


# ── Files ────────────────────────────────────────────────────────────────────────────────────


def _write(program: Program, data: Mapping[str, object]) -> Path:
    """A fresh folder with the program and its data, under names of ours: none leaves the folder."""
    sources = [octets for name, octets in sorted(program.sources.items()) if name != SELF_TEST]
    if not sources:
        raise unanswered("OPA_NO_SOURCES")
    try:
        folder = Path(tempfile.mkdtemp(prefix="fairlead-opa-"))  # mode 0700
        (folder / "policy").mkdir()
        for i, octets in enumerate(sources):
            (folder / "policy" / f"{i}.rego").write_bytes(octets)
        (folder / "data.json").write_bytes(orjson.dumps(data))
    except (OSError, orjson.JSONEncodeError):
        raise unanswered("OPA_START") from None
    return folder


# ── The process ──────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True, kw_only=True)
class _Local:
    """One OPA over one folder. Its engine holds it, and it must not hold its engine: that one's
    last reference going away is what ends the process."""

    command: Path
    folder: Path
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> Place:
        """Where it listens."""
        return Place(path=str(self.folder / "s"))

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._thread = threading.Thread(target=self._keep, name="opa-supervisor", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it has answered at every point, whatever it says: the first evaluation of each
        prepares it, which takes longer than a decision may.

        :raises PolicyUnavailable: OPA_START, or what kind of answer it gave.
        """
        until = time.monotonic() + START_S
        engine = OpaEngine(self.place, deadline_s=START_S)
        while time.monotonic() < until:
            time.sleep(0.01)
            if not Path(self.place.path).exists():
                continue
            try:
                for point in POINTS:
                    engine.evaluate(point, {})
            except PolicyUnavailable as error:
                if error.code not in NOBODY:
                    raise
            else:
                return
        raise unanswered("OPA_START")

    def _keep(self) -> None:
        pause = PAUSE_S
        while not self._ended.is_set():
            began = time.monotonic()
            self._run()
            if self._ended.is_set():
                return
            get_logger().error(Event.OPA_ENDED, code="OPA_ENDED")
            pause = PAUSE_S if time.monotonic() - began > LONGEST_PAUSE_S else pause
            self._ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _run(self) -> None:
        """One process, from its start to its end; none when it is to be none any more."""
        try:
            with self._lock:
                if self._ended.is_set():
                    return
                self._process = self._launch()
        except OSError:  # no memory, no process: another time
            return
        get_logger().info(Event.OPA_STARTED, pid=self._process.pid)
        self._process.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, "-I", "-S", "-c", _LAUNCH,
                str(os.getpid()), str(MEMORY), str(self.command),
                "run", "--server", "--addr", f"unix://{self.place.path}",
                "--unix-socket-perm", "600", "--optimize-store-for-read-speed",
                "--skip-version-check", "--log-level", "error",
                str(self.folder / "data.json"), str(self.folder / "policy"),
            ],
            cwd=self.folder,
            env={"GOMEMLIMIT": _MEMORY_SOON, "GOGC": _GARBAGE_PERCENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # its errors may quote an input
            start_new_session=True,  # a terminal's Ctrl-C is for us, who then end it
        )  # fmt: skip

    def end(self) -> None:
        """Kill it (it has nothing to lose), and remove the folder."""
        self._ended.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(COMMAND_S)
        shutil.rmtree(self.folder, ignore_errors=True)
