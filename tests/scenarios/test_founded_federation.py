"""From nothing to a first answer, with the documented commands only, as real processes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.federation import STORY, free_ports
from tests.processes import GATEWAY, NODE, Ended, Serving, command, serve

AUTHORITY, PERSON = "fairlead.cli.authority", "fairlead.cli.main"
FEDERATION = "port.example"
SUSPENDED_WITHIN_S = 60.0
MAPPING = """
source = "gate"
files = ["gate.csv"]
record_type = "movement"
event = "gate-in"
purposes = ["drug-trafficking"]
retention_days = 365
active_target = "false"
personal = false
[[identifiers]]
scheme = "container"
column = "container_no"
[time]
column = "moved_at"
[handling]
tlp = "AMBER"
pap = "GREEN"
europol = "H0"
source_grade = "A"
information_grade = "1"
[fields]
place = "gate"
"""


@dataclass(slots=True)
class Port:
    """One folder for every party, the commands typed there, and what is running."""

    folder: Path
    ports: list[int]
    stack: AsyncExitStack
    typed: dict[str, int] = field(default_factory=dict)

    async def run(self, who: str, module: str, *words: str | Path, expect: int = 0) -> Ended:
        """Run one command as ``who`` and count it."""
        self.typed[who] = self.typed.get(who, 0) + 1
        done = await command(module, *words)
        assert done.code == expect, done.err + done.out
        return done

    async def start(self, who: str, module: str, config: Path) -> Serving:
        """Run one server until the test ends."""
        self.typed[who] = self.typed.get(who, 0) + 1
        running = await serve(module, config, self.folder / "logs" / f"{config.parent.name}.log")

        async def stop() -> None:
            running.kill()
            await running.wait()

        self.stack.push_async_callback(stop)
        return running


def after(text: str, marker: str) -> str:
    """The rest of the line behind ``marker``."""
    found = re.search(rf"{re.escape(marker)}[^\n]*?: ([^\n]+)", text)
    assert found is not None, text
    return found[1]


@asynccontextmanager
async def port(folder: Path) -> AsyncIterator[Port]:
    async with AsyncExitStack() as stack:
        yield Port(folder=folder, ports=free_ports(5), stack=stack)


async def found(made: Port) -> str:
    """The operators found the federation; returns the invitation's phrase."""
    address = f"127.0.0.1:{made.ports[0]}"
    done = await made.run(
        "operators", GATEWAY, "init", made.folder / "gateway", "--federation", FEDERATION,
        "--listen", address, "--endpoint", address, "--agreement", "data/demo.yaml",
    )  # fmt: skip
    await made.start("operators", GATEWAY, made.folder / "gateway" / "gateway.toml")
    return after(done.err, "its check phrase")


async def join(made: Port, partner: str, kind: str, place: int, invited: str) -> str:
    """A partner makes its keys and is admitted by two operators; returns its root's phrase."""
    home, authority = made.folder / partner, made.folder / f"{partner}-authority"
    await made.run(
        partner, AUTHORITY, "init", authority, "--partner", partner, "--federation", FEDERATION,
        "--listen", f"127.0.0.1:{made.ports[place + 2]}", "--node-folder", home,
    )  # fmt: skip
    address = f"127.0.0.1:{made.ports[place]}"
    done = await made.run(
        partner, NODE, "init", home, "--partner", partner, "--name", partner, "--kind", kind,
        "--country", "NL", "--listen", address, "--endpoint", address,
        "--invitation", made.folder / "gateway" / "invitation.toml", "--phrase", invited,
        "--authority", authority / "authority.pem",
    )  # fmt: skip
    phrase = after(done.err, "your root's check phrase")
    for operator in (1, 2):
        key = made.folder / "gateway" / "hand-over" / f"operator-{operator}" / "operator.key"
        await made.run(
            "operators", GATEWAY, "partner", "admit", home / f"{partner}.request",
            "--operator", key, "--phrase", phrase,
            "--config", made.folder / "gateway" / "gateway.toml",
        )  # fmt: skip
    await made.start(partner, AUTHORITY, authority / "authority.toml")
    return phrase


async def hold(made: Port, partner: str, *rows: str) -> None:
    """A partner maps a CSV file of its own and builds its index."""
    home = made.folder / partner
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86_400))
    lines = ["container_no,moved_at,gate", *(f"{row},{moment},North" for row in rows)]
    (home / "gate.csv").write_text("\n".join(lines) + "\n")
    (home / "mapping.toml").write_text(MAPPING)
    config = home / "node.toml"
    config.write_text(config.read_text().replace("sources = []", 'sources = ["mapping.toml"]'))


async def opened(made: Port, partner: str) -> None:
    """A partner indexes, accepts what could leave, checks and serves."""
    config = made.folder / partner / "node.toml"
    await made.run(partner, NODE, "index", "--config", config)
    await accepted(made, partner)
    await made.run(partner, NODE, "check", "--config", config)
    await made.start(partner, NODE, config)


async def accepted(made: Port, partner: str) -> None:
    """Somebody accepts what could leave now; every newcomer makes that necessary again."""
    config = made.folder / partner / "node.toml"
    await made.run(partner, NODE, "exposure", "accept", "--by", "u-x01", "--config", config)


async def person(made: Port, partner: str, pseudonym: str, *roles: str) -> Path:
    """A person gets a code and logs in; returns the profile."""
    config = made.folder / f"{partner}-authority" / "authority.toml"
    words = [word for role in roles for word in ("--role", role)]
    done = await made.run(partner, AUTHORITY, "user", "add", pseudonym, *words, "--config", config)
    login = done.err.partition("fairlead login ")[2].split()
    profile = made.folder / "people" / pseudonym / "profile.toml"
    await made.run(pseudonym, PERSON, "login", *login, "--profile", profile)
    return profile


async def ask(made: Port, profile: Path, *, expect: int = 0) -> Ended:
    return await made.run(
        "u-c01", PERSON, "ask", STORY, "--case", "C-1", "--purpose", "drug-trafficking",
        "--mode", "sealed", "--since", "30d", "--output", "json",
        "--profile", profile, expect=expect,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_strangers_get_from_nothing_to_a_first_answer(tmp_path: Path) -> None:
    """Founding, admission by two operators, login, a case, a hit, and a suspension that counts."""
    async with port(tmp_path) as made:
        invited = await found(made)
        terminal = await join(made, "terminal-east", "terminal", 1, invited)
        await made.run(
            "terminal-east", NODE, "enrol", made.folder / "terminal-east/terminal-east.admission",
            "--folder", made.folder / "terminal-east",
        )  # fmt: skip
        await hold(made, "terminal-east", STORY)
        await opened(made, "terminal-east")
        customs = await join(made, "customs", "customs", 2, invited)
        await made.run(
            "customs", NODE, "enrol", made.folder / "customs" / "customs.admission",
            "--folder", made.folder / "customs", "--phrase", f"terminal-east {terminal}",
        )  # fmt: skip
        await opened(made, "customs")
        await pinned(made, "terminal-east", "customs", customs)
        await accepted(made, "terminal-east")

        analyst = await person(made, "customs", "u-c01", "analyst")
        approver = await person(made, "customs", "u-c02", "approver")
        await made.run(
            "u-c02", PERSON, "cases", "open", "C-1", "--purpose", "drug-trafficking",
            "--legal-basis", "eu-ucc-art-46", "--scheme", "container", "--member", "u-c01",
            "--profile", approver,
        )  # fmt: skip
        answer = json.loads((await ask(made, analyst)).out)
        (line,) = answer["partners"]
        assert (line["partner"], line["status"]) == ("terminal-east", "answered")
        assert STORY in json.dumps(answer)
        assert made.typed["terminal-east"] <= 12

        await made.run(
            "customs", AUTHORITY, "user", "suspend", "u-c01",
            "--config", made.folder / "customs-authority" / "authority.toml",
        )  # fmt: skip
        await refused_soon(made, analyst)


async def pinned(made: Port, at: str, partner: str, phrase: str) -> None:
    """The earlier partner hears of the newcomer through the gateway and pins it."""
    config = made.folder / at / "node.toml"
    async with asyncio.timeout(SUSPENDED_WITHIN_S):
        while True:
            done = await command(
                NODE, "partner", "pin", partner, "--phrase", phrase, "--config", config
            )
            if done.code == 0:
                return
            assert "UNKNOWN_PARTNER" in done.err, done.err
            await asyncio.sleep(0.5)


async def refused_soon(made: Port, profile: Path) -> None:
    """Within a minute of the suspension the node turns the person away."""
    async with asyncio.timeout(SUSPENDED_WITHIN_S):
        while True:
            done = await command(PERSON, "partners", "--profile", profile)
            if done.code:
                assert "DENIED" in done.err, done.err
                return
            await asyncio.sleep(0.5)
