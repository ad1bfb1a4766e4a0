"""Where the gateway's time goes: the shipped gateway, sampled while it serves.

``python -m bench.sampler SAMPLES CONFIG`` runs ``fairlead-gateway serve`` and samples its event
loop between two signals. A sample is taken every few milliseconds of the process's CPU time
and weighs the CPU time its thread used since the sample before, so waiting weighs nothing. What
the other threads use (gRPC's own, the audit log's writer) is read from the kernel, exactly.

Work in C has no Python frame: it counts for the line that called it. A signal is handled
between two bytecodes, so a sample may fall one line late; the components hold, single lines
are hints.
"""

from __future__ import annotations

import atexit
import json
import linecache
import os
import re
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

START, STOP = signal.SIGUSR1, signal.SIGUSR2
INTERVAL_S = 0.001
ROOT = Path(__file__).resolve().parent.parent


def _tasks() -> dict[str, tuple[str, float]]:
    """CPU seconds of every thread of this process so far: thread id → (name, seconds)."""
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    found: dict[str, tuple[str, float]] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
            kernel_name = (task / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
        found[task.name] = (names.get(task.name, kernel_name), spent)
    return found


class Sampler:
    """Collects weighted stacks of the main thread."""

    def __init__(self) -> None:
        self._stacks: defaultdict[tuple[tuple[str, int, str], ...], float] = defaultdict(float)
        self._before: dict[str, tuple[str, float]] = {}
        self._threads: dict[str, float] = {}
        self._last = 0.0

    def start(self, _number: int, _frame: FrameType | None) -> None:
        """Begin."""
        self._before = _tasks()
        self._last = time.thread_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        for task, (name, spent) in _tasks().items():
            used = spent - self._before.get(task, ("", 0.0))[1]
            known = "event loop" if task == str(threading.main_thread().native_id) else name
            self._threads[known] = self._threads.get(known, 0.0) + used

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """Note where the main thread is."""
        now = time.thread_time()
        stack: list[tuple[str, int, str]] = []
        while frame is not None and len(stack) < 64:
            stack.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname))
            frame = frame.f_back
        self._stacks[tuple(stack)] += now - self._last
        self._last = now

    def save(self, path: Path) -> None:
        """Write what was collected."""
        content = {"threads": self._threads, "stacks": list(self._stacks.items())}
        path.write_text(json.dumps(content))


def main() -> None:
    """Serve under the sampler."""
    path, config = Path(sys.argv[1]), sys.argv[2]
    sampler = Sampler()
    signal.signal(START, sampler.start)
    signal.signal(STOP, sampler.stop)
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.siginterrupt(signal.SIGPROF, False)
    atexit.register(sampler.save, path)
    from gateway.cli.main import main as serve

    sys.argv = ["fairlead-gateway", "serve", "--config", config]
    serve()


# ── Reading the samples ──────────────────────────────────────────────────────────────────────

PROTOBUF = re.compile(r"FromString|SerializeToString|parse_canonical|canonical\(|pb2?\.[A-Z]\w+\(")
_BY_NAME = (
    ("signatures and keys", re.compile(r"signing\.py:(sign|verify|sign_as_user|verify_as_user)$")),
    ("hashes", re.compile(r"signing\.py:(digest|commit)$")),
    ("protobuf", re.compile(r"signing\.py:(canonical|parse_canonical)$")),
    ("signatures and keys", re.compile(r"sealing\.py:")),
    ("certificates and identity", re.compile(r"certificates\.py:|envelope/query\.py:_verify_user")),
    ("policy", re.compile(r"policy/|facts\.py:|opapywasm|wasmtime")),
    ("audit log and receipts", re.compile(r"auditlog/|leaves\.py:|receipts\.py:|merkle\.py:")),
    ("audit log and receipts", re.compile(r"release\.py:|admission\.py:.*(_remember|_check_rep)")),
    ("envelope checks", re.compile(r"envelope/|admission\.py:|names\.py:")),
    ("gRPC: door", re.compile(r"fairlead/(door|server|authorisation)\.py:")),
    ("walk and fan-out", re.compile(r"gateway/(service|tactical|fanout|members)\.py:")),
    ("gRPC: Python", re.compile(r"/grpc/")),
    ("event loop", re.compile(r"asyncio/|selectors\.py:")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """CPU milliseconds a query, by component and by line."""

    components: dict[str, float]
    lines: dict[str, float]

    def shares(self) -> dict[str, float]:
        """Each component's share of the process's CPU time."""
        total = sum(self.components.values())
        return {name: round(value / total, 3) for name, value in self.components.items()}

    def table(self, title: str) -> str:
        """For people."""
        shares = self.shares()
        rows = [f"\nwhere the time goes, {title}: share of the gateway's CPU time, ms a query"]
        rows += [
            f"  {shares[name]:>6.1%} {value:>8.3f}  {name}"
            for name, value in sorted(self.components.items(), key=lambda item: -item[1])
        ]
        rows.append("  the event loop's heaviest lines (with what they call in C), ms a query")
        rows += [f"  {value:>8.3f}  {line}" for line, value in list(self.lines.items())[:24]]
        return "\n".join(rows)


def read(path: Path, *, queries: int) -> Profile:
    """Read samples; everything divided by the queries answered meanwhile."""
    content = json.loads(path.read_text())
    components: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for stack, weight in content["stacks"]:
        components[component(stack)] += weight
        lines[_line(stack)] += weight
    sampled = sum(components.values())
    for name, spent in content["threads"].items():
        if name == "event loop":
            components["event loop"] += max(0.0, spent - sampled)
        else:
            components[_thread(name)] += spent
    return Profile(
        components={name: 1000 * value / queries for name, value in components.most_common()},
        lines={name: 1000 * value / queries for name, value in lines.most_common(40)},
    )


def _thread(name: str) -> str:
    if name == "auditlog":
        return "audit log: writer thread"
    return "gRPC core threads (TLS, HTTP/2)"


def component(stack: list[tuple[str, int, str]]) -> str:
    """The component of the innermost frame that has one."""
    for place, (file, line, name) in enumerate(stack):
        spot = f"{file}:{name.rsplit('.', 1)[-1]}"
        ours = str(ROOT) in file and "/fairlead/v1/" not in file
        if place == 0 and ours and "policy/" not in file:
            text = linecache.getline(file, line)
            if PROTOBUF.search(text):
                return "protobuf"
        if place == 0 and file.endswith("asyncio/events.py"):
            return "gRPC: Cython, called by the event loop"
        for known, pattern in _BY_NAME:
            if pattern.search(spot):
                return known
    return "other"


def _line(stack: list[tuple[str, int, str]]) -> str:
    """The innermost line that is ours, else the innermost line."""
    file, line, name = next(
        (frame for frame in stack if str(ROOT) in frame[0] and "/bench/" not in frame[0]),
        stack[0],
    )
    short = os.path.relpath(file, ROOT) if str(ROOT) in file else "/".join(file.split("/")[-3:])
    return f"{short}:{line} {name}: {linecache.getline(file, line).strip()[:60]}"


if __name__ == "__main__":
    main()
