"""The demo's federation on this machine: keys, policy, data, configurations, processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certs.dev.federation import GatewaySpec, PartnerSpec, demo_partners
from certs.dev.layout import Layout
from certs.dev.make import make
from certs.dev.policies import local_policy, publish, toml
from demo import mapped
from demo.figures import keep, last_quarters
from demo.generate import Story, generate
from fairlead import telemetry
from fairlead.cli.output import say
from fairlead.errors import Misconfigured
from fairlead.policy.issuing import Wishes

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = "gateway"
START_S = 60.0
STOP_S = 15.0
APPROVER = "u-dpo"
"""Who accepts, at each partner, what its node could release."""
LOCAL_POLICY = {"quayguard": ROOT / "policies" / "data" / "local.example.yaml"}
"""The private security company answers customs about incidents only."""


@dataclass(frozen=True, slots=True)
class Federation:
    """A federation in one folder; every process is a child with its own configuration."""

    folder: Path

    # ── Make ─────────────────────────────────────────────────────────────────────────────────

    @property
    def layout(self) -> Layout:
        """Keys and signed lists."""
        return Layout(self.folder / "keys")

    @property
    def partners(self) -> tuple[str, ...]:
        """Ids of the six."""
        return tuple(sorted(spec.partner_id for spec in demo_partners()))

    def config(self, name: str) -> Path:
        """A process's configuration file."""
        return self.folder / "config" / f"{name}.toml"

    def state(self, name: str) -> Path:
        """A process's state folder."""
        return self.folder / "state" / name

    def profile(self, partner: str, user: str) -> Path:
        """A user's profile."""
        return self.folder / "profiles" / f"{partner}-{user}.toml"

    def lock(self) -> int | None:
        """Keep a second demo out of this folder; None when one is at work there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder.with_name(f"{self.folder.name}.lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def make(self, *, records: int, seed: int) -> Story:
        """Make everything from nothing: keys, policy, data, configurations, indexes."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        wanted = int(os.environ.get("FAIRLEAD_DEMO_PORT", FIRST_PORT))
        first = free_ports(1 + len(self.partners), first=wanted)
        specs = demo_partners(first + 1)
        make(self.folder / "keys", gateway=GatewaySpec(port=first), partners=specs)
        self._publish_policy()
        say(f"generating {records:,} records of six partners (seed {seed})")
        story = generate(self.folder / "data", seed=seed, records=records, now=time.time())
        self._write_configs(first, specs, story, self._write_figures(specs, seed))
        say(f"indexing {story.records:,} records: identifiers become tokens, content is sealed")
        self._build_indexes()
        self._keep_registers(seed)
        return story

    def _publish_policy(self) -> None:
        """Two development officers sign the committed policy with the demo's agreement."""
        publish(self.layout, self.folder / "policy", self._week())

    @staticmethod
    def _week() -> Wishes:
        now = int(time.time())
        return Wishes(issued_at=now, not_after=now + 7 * 86_400)

    def _write_figures(
        self, specs: Sequence[PartnerSpec], seed: int
    ) -> Mapping[str, Sequence[Path]]:
        """What no register has, in files and databases of each partner; returns its mappings."""
        today = datetime.now(UTC).date()
        quarters, last = last_quarters(today), today - timedelta(days=1)
        return {
            spec.partner_id: mapped.write(
                self.folder / "figures" / spec.partner_id, spec, quarters, seed=seed, last=last
            )
            for spec in specs
        }

    def _write_configs(
        self,
        first: int,
        specs: Sequence[PartnerSpec],
        story: Story,
        figures: Mapping[str, Sequence[Path]],
    ) -> None:
        for folder in ("config", "profiles", "logs", "receipts"):
            (self.folder / folder).mkdir(mode=0o700)
        _write_toml(
            self.config(GATEWAY),
            {
                "name": "gw-1",
                "listen": f"127.0.0.1:{first}",
                "state_dir": self.state(GATEWAY),
                "keys_dir": self.layout.gateway("gw-1"),
                **self._public(GATEWAY),
            },
        )
        for spec in specs:
            name = spec.partner_id
            settings: dict[str, object] = {
                "partner": name,
                "listen": f"127.0.0.1:{spec.port}",
                "gateway": f"127.0.0.1:{first}",
                "state_dir": self.state(name),
                "keys_dir": self.layout.node(name),
                "index_key": f"file:{self.layout.node(name) / 'index.key'}",
                "sources": list(story.mappings.get(name, ())),
                "statistics": list(figures[name]),
                **self._public(name),
            }
            _write_toml(self.config(name), settings)
            if name in LOCAL_POLICY:
                self._add_own_policy(name)
            for user in spec.users:
                self._write_profile(spec, user.pseudonym)

    def _add_own_policy(self, name: str) -> None:
        """The partner's own agreements, signed by two people of its own."""
        agreements = LOCAL_POLICY[name].read_bytes()
        folder = self.folder / "own-policy" / name
        own = local_policy(folder, agreements, self._week(), partner=name)
        with self.config(name).open("a") as file:
            file.write(toml(own))

    def _public(self, name: str) -> dict[str, object]:
        """A process's own copies of what the federation signed: each takes changes up itself."""
        own = self.folder / "public" / name
        own.mkdir(mode=0o700, parents=True)
        files = {
            "directory": self.layout.directory,
            "pins": self.layout.pins,
            "deny_lists": self.layout.deny_lists,
        }
        copies = {key: Path(shutil.copy(path, own)) for key, path in files.items()}
        policy = shutil.copytree(self.folder / "policy", own / "policy")
        return {**copies, "policy_dir": policy}

    def _write_profile(self, spec: PartnerSpec, user: str) -> None:
        keys = self.layout.user(spec.partner_id, user)
        _write_toml(
            self.profile(spec.partner_id, user),
            {
                "node": f"127.0.0.1:{spec.port}",
                "node_id": f"spiffe://fairlead.demo/partner/{spec.partner_id}/node/{spec.node}",
                "certificate": keys / "user.pem",
                "key": keys / "user.key",
                "directory": self.folder / "public" / spec.partner_id / "directory.bin",
                "trust": self.folder / "public" / spec.partner_id / "pins.toml",
                "receipts": str(self.folder / "receipts"),
            },
        )

    def _build_indexes(self) -> None:
        """Build the six indexes, as many at a time as there are cores."""

        def build(partner: str) -> None:
            own = ("--config", str(self.config(partner)))
            run_module("node.cli.main", "exposure", "accept", "--by", APPROVER, *own)
            run_module("node.cli.main", "index", *own)
            say(f"  {partner}: index ready")

        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
            list(pool.map(build, self.partners))

    def _keep_registers(self, seed: int) -> None:
        """Two years of reports, enquiries and outcomes, at each partner."""
        today = datetime.now(UTC).date()

        async def all_of_them() -> int:
            return sum(
                [await keep(self.config(name), seed=seed, today=today) for name in self.partners]
            )

        telemetry.configure("error")
        kept = asyncio.run(all_of_them())
        say(f"  registers: {kept:,} reports, enquiries and outcomes of two years")

    # ── Run ──────────────────────────────────────────────────────────────────────────────────

    @property
    def _pids(self) -> Path:
        return self.folder / "pids.json"

    def running(self) -> dict[str, int]:
        """Name → process id of what is running."""
        try:
            known: dict[str, int] = json.loads(self._pids.read_text())
        except (OSError, ValueError):
            return {}
        return {name: pid for name, pid in known.items() if _alive(pid)}

    def processes(self, name: str) -> list[int]:
        """Ids of a running process and of all below it."""
        found = [self.running()[name]]
        for pid in found:
            for thread in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, thread.read_text().split())
        return found

    def start(self, names: Sequence[str]) -> None:
        """Start processes and wait until each serves.

        :raises Misconfigured: one of them did not start; its log says why.
        """
        pids = self.running()
        for name in names:
            module = "gateway.cli.main" if name == GATEWAY else "node.cli.main"
            command = [sys.executable, "-m", module, "serve", "--config", str(self.config(name))]
            with self.log(name).open("ab") as log:
                child = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            pids[name] = child.pid
            self._pids.write_text(json.dumps(pids))
        for name in names:
            wait_for(lambda name=name: self._serves(name, pids[name]), START_S, name)

    def log(self, name: str) -> Path:
        """A process's own log."""
        return self.folder / "logs" / f"{name}.log"

    def _serves(self, name: str, pid: int) -> bool:
        text = self.log(name).read_text()
        if not _alive(pid):
            raise Misconfigured(
                f"the process of {name} ended while starting",
                reasons=("DEMO_START",),
                remedy=f"read {self.log(name)}",
            )
        return text.count("server-started") > text.count("server-stopped")

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End processes in order (all by default) and wait for them."""
        pids = self.running()
        ending = {name: pid for name, pid in pids.items() if names is None or name in names}
        for pid in ending.values():
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while any(_alive(pid) for pid in ending.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in ending.values():
            if _alive(pid):
                os.kill(pid, signal.SIGKILL)
        left = {name: pid for name, pid in pids.items() if name not in ending}
        self._pids.write_text(json.dumps(left))


def run_module(
    module: str, *arguments: str, profile: Path | None = None, expect: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run one of our commands as its own process.

    :raises Misconfigured: it ended with another exit code than one of ``expect``.
    """
    environment = {**os.environ, "NO_COLOR": "1"}
    if profile is not None:
        environment["FAIRLEAD_PROFILE"] = str(profile)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode not in expect:
        say(done.stdout + done.stderr)
        raise Misconfigured(
            f"{module} {arguments[0]} ended with exit code {done.returncode}",
            reasons=("DEMO_COMMAND",),
            remedy="read the output above",
        )
    return done


FIRST_PORT = 7400


def free_ports(count: int, *, first: int = FIRST_PORT) -> int:
    """The first of ``count`` consecutive free loopback ports.

    :raises Misconfigured: none among a thousand.
    """
    for start in range(first, first + 1000, 10):
        if all(_free(start + place) for place in range(count)):
            return start
    raise Misconfigured("no free loopback ports for the demo", reasons=("PORTS",))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _alive(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)  # a child of ours leaves no zombie
    except ChildProcessError:
        done = 0
    if done:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_for(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until ``ready`` says so.

    :raises Misconfigured: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Misconfigured(f"{what} did not start in time", reasons=("DEMO_START",))
        time.sleep(0.05)


def _write_toml(path: Path, settings: dict[str, object]) -> None:
    def value(item: object) -> str:
        if isinstance(item, list):
            return "[" + ", ".join(value(part) for part in item) + "]"
        return json.dumps(str(item))  # a JSON string is a TOML basic string

    path.write_text("".join(f"{key} = {value(item)}\n" for key, item in settings.items()))
