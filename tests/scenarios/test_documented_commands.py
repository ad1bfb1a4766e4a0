"""README and docs, typed: every command behind a ``$`` is executed, in the order of its page.

Two worlds: the demo as it runs after ``make demo-up``, and a federation that four pages found
together, each in its own order, as operators, partner and people would. docs/join.md has a test
of its own, test_seventh_partner.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import openpyxl
import pytest

from demo.federation import run_module, wait_for
from demo.story import Clock
from fairlead import signing
from fairlead.enrolment.invitation import Invitation
from tests import founders
from tests.federation import OTHER, ROOT, STORY, free_ports
from tests.founders import Founded
from tests.postgres import postgres
from tests.running_demo import RECORDS, running_demo
from tests.typist import Block, Machine, Typist, blocks, text_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

README = "README.md"
ASK, DEPLOY, OPERATE = "docs/ask.md", "docs/deploy.md", "docs/operate.md"
SOURCES, USERS, OVERSIGHT = "docs/sources.md", "docs/users.md", "docs/oversight.md"
EVIDENCE = "docs/evidence.md"
AUDIT = "docs/audit.md"
PLATE = "NL:74BXK3"


@pytest.mark.parametrize(
    "page", [README, ASK, EVIDENCE, DEPLOY, OPERATE, SOURCES, USERS, OVERSIGHT, AUDIT]
)
def test_every_command_stands_in_a_block_that_is_typed(page: str) -> None:
    """No ``$`` stands where the typist does not look for one."""
    found = [command for block in blocks(page) for command in block.commands]
    scripts = re.findall(r"^```(?:bash|python)$", text_of(page), re.MULTILINE)
    shown = re.findall(r"^ *\$ ", text_of(page), re.MULTILINE)
    assert len(found) == len(shown) + len(scripts) > 0


def mentions(block: Block, text: str) -> bool:
    """Some command of the block has this text."""
    return any(text in command.line for command in block.commands)


# ── The demo ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which ``.demo`` is up."""
    folder = tmp_path_factory.mktemp("demo")
    with running_demo(folder):
        yield folder


def profile(demo: Path, line: str) -> Mapping[str, str]:
    """Whose profile a line is typed with: an approver's to change a case, an auditor's to read the
    log, else the analyst's."""
    changes = re.search(r"cases (open|assign|close) ", line)
    user = "u-c02" if changes else "u-c06" if line.startswith("fairlead audit ") else "u-c01"
    return {"FAIRLEAD_PROFILE": str(demo / ".demo" / "profiles" / f"customs-{user}.toml")}


def test_the_readme_is_typed(demo: Path, tmp_path: Path) -> None:
    """``make demo`` types the first screen itself; the first steps work after ``make demo-up``."""
    own = {"FAIRLEAD_DEMO_DIR": str(tmp_path / "own"), "ARGS": f"--records {RECORDS}"}
    with Machine(tmp_path) as machine:
        typist = Typist(
            README, machine, ROOT,
            values={
                ".demo/receipts/*.json": f"{demo}/.demo/receipts/*.json",
                ".demo/state/gateway/audit.sqlite": f"{demo}/.demo/state/gateway/audit.sqlite",
            },
            variables=lambda line: own if line.startswith("make ") else profile(demo, line),
        )  # fmt: skip
        typist.block("Fairlead")
        typist.block("Doors")
        typist.done()


def test_the_page_on_asking_is_typed(demo: Path, tmp_path: Path) -> None:
    """From the typo that is not sent to the receipt that verifies, and the case closed."""
    (demo / "terms.csv").write_text(f"term\n{STORY}\n{OTHER}\n{PLATE}\n")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Terms", 0)
    for row in (("Place", "Container"), ("Gate 7", STORY), ("Gate 8", OTHER)):
        sheet.append(row)
    book.save(demo / "terms.xlsx")
    story = Clock.before(time.time())
    kept = demo / ".demo" / "receipts"
    before = set(kept.glob("*.json"))

    def first() -> str:
        """The id of the first query of this page."""
        return min(path.stem for path in set(kept.glob("*.json")) - before)

    with Machine(tmp_path) as machine:
        typist = Typist(
            ASK, machine, demo,
            values={
                "2026-ROT-0417": "2026-ROT-0418",
                "2026-11-02T09:12:00Z": iso(story.at(0, "09:12")),
                "2026-11-04T05:07:00Z": iso(story.at(2, "05:07")),
                "01a2016075bf7aa8a6996f8c21e3189d": first,
                "8h": lambda: iso(int(time.time()) + 13),
                "01a2016160e07a6c8f0b6a3d5e9c4b21":
                    lambda: machine.heard("watch ([0-9a-f]{32}) stands until"),
                ".demo/receipts/01a2016288b979bd85cdcc25e0115ed5.json":
                    lambda: f".demo/receipts/{first()}.json",
            },
            variables=lambda line: profile(demo, line),
        )  # fmt: skip
        typist.block("Identifiers")
        typist.block("Case and purpose")
        typist.block("Ask")
        published(demo)
        typist.block("Blind")
        assert "user_day" in typist.block("Budgets")
        typist.block("A file of terms")
        typist.block("A large file, blind")
        typist.block("History: show, resume, export")
        typist.block("Feedback")
        typist.block("Watch")
        typist.block("Cover")
        typist.block("When the case is over")
        typist.block("Receipts")
        typist.done()


def test_the_page_on_evidence_is_typed(demo: Path, tmp_path: Path) -> None:
    """From a case that is opened to a file that verifies, and the verifier's fingerprint."""
    with Machine(tmp_path) as machine:
        typist = Typist(EVIDENCE, machine, demo, variables=lambda line: profile(demo, line))
        typist.block("Make it")
        typist.block("Verify it")
        typist.block("Verify it")
        typist.done()
    assert (demo / "evidence.html").stat().st_size > 100_000


def test_the_page_for_auditors_is_typed(demo: Path, tmp_path: Path) -> None:
    """The auditor lists, shows, exports, verifies and counts; the operator feeds the SIEM."""
    with Machine(tmp_path) as machine:
        typist = Typist(AUDIT, machine, demo, variables=lambda line: profile(demo, line))
        for block in (
            "Look",
            "One leaf",
            "Export",
            "Use of the federation",
            "Another log, from its file",
            "Timestamps",
            "To a SIEM",
        ):
            typist.block(block)
        typist.done()
    for name in ("gateway-audit.jsonl", "audit.jsonl"):
        told = (demo / name).read_text()
        assert told.count("\n") > 5
        assert STORY not in told


def published(demo: Path) -> None:
    """Wait until customs' node holds what some owner publishes of containers."""
    config = demo / ".demo" / "config" / "customs.toml"

    def held() -> bool:
        done = run_module("node.cli.main", "snapshots", "--config", str(config), "--output", "json")
        rows = json.loads(done.stdout)["snapshots"]
        return any(
            row["scheme"] == "container" and "drug-trafficking" in row["purposes"] for row in rows
        )

    wait_for(held, 120, "a publication")


def iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_an_operator_looks_at_the_demo(demo: Path, tmp_path: Path) -> None:
    """Both logs of the demo verify, and the development deny list is signed anew."""
    with Machine(tmp_path) as machine:
        typist = Typist(
            OPERATE, machine, demo,
            variables=lambda line: profile(demo, line),
            only=lambda block: mentions(block, ".demo") and not mentions(block, "grpcurl"),
        )  # fmt: skip
        typist.block("The audit log")
        typist.block("Retention and erasure")
        assert "on the record" in typist.block("Retention and erasure")
        typist.block("Both logs agree")
        typist.block("Deny lists")
        typist.done()


def test_an_operator_asks_the_demo_for_its_health(demo: Path, tmp_path: Path) -> None:
    """The gateway says SERVING to the documented call of a foreign client."""
    if shutil.which("grpcurl", path=f"{ROOT}/.tools/bin{os.pathsep}{os.environ['PATH']}") is None:
        how = "grpcurl is missing: make tools (needs Go: apt-get install golang-go)"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(how)
        pytest.skip(how)
    config = tomllib.loads((demo / ".demo" / "config" / "gateway.toml").read_text())
    with Machine(tmp_path) as machine:
        typist = Typist(
            OPERATE, machine, demo,
            values={"127.0.0.1:7400": config["listen"]},
            only=lambda block: mentions(block, "grpcurl"),
        )  # fmt: skip
        assert "SERVING" in typist.block("Is it well?")
        typist.done()


# ── A founded federation ─────────────────────────────────────────────────────────────────────

ROOT_WORDS = "acorn adult agent album - almond amber anchor angle - animal april arrow artist"
HEX = r"^([0-9a-f]{64})$"


def test_a_federation_lives_by_the_pages(tmp_path: Path) -> None:
    """Operators, a partner's IT, its authority and its people type their pages side by side."""
    phrases: dict[str, str] = {}
    with Machine(tmp_path) as machine:
        gateway, node, authority = (f"127.0.0.1:{port}" for port in free_ports(3))
        operate = operators(machine, gateway, phrases)
        deploy = partner_it(machine, node, phrases)
        users = people(machine, authority)
        sources = Typist(
            SOURCES, machine, tmp_path / "node",
            values={"/data/gate.csv": str(tmp_path / "gate.csv")},
            only=lambda block: not mentions(block, "releases"),
        )  # fmt: skip

        oversight = officer(machine)

        operate.block("Found a federation")
        phrases.update(already_there(tmp_path))
        users.block("Set an authority up")
        deploy.block("Enrol a node")
        (tmp_path / "node" / "root").rename(tmp_path / "root")  # taken away
        operate.block("Admit, change, suspend")
        deploy.block("Enrol a node")
        config = tmp_path / "node" / "node.toml"
        config.write_text(f"refresh_s = 86400\n{config.read_text()}")  # `index` is alone then
        (tmp_path / "gate.csv").write_text(movements())
        sources.block("Add one")
        deploy.block("From nothing to a serving node")
        operate.block("Admit, change, suspend")
        operate.block("The audit log")
        deploy.block("From nothing to a serving node")
        deploy.block("What could leave")
        assert '"hit": true' in deploy.block("What a partner would get")
        deploy.block("Pause")
        deploy.block("Status and support")
        deploy.block("The index")
        deploy.block("What partners may ask blind")
        operate.block("Both logs agree")
        operate.block("What others published for us")
        oversight.block("Set an oversight up")
        assert "MSCU1234566" in oversight.block("Decoys")
        (tmp_path / "node" / "state" / "oversight" / "outbox" / "forged").touch()
        machine.heard_in(tmp_path / "fairlead-oversight-oversight-toml.log", "oversight-alert")
        oversight.block("Alerts")
        users.block("People")
        users.block("People")
        users.block("People")
        users.block("Log in")
        users.block("Suspend somebody")
        operate.block("Backup and restore")
        operate.block("The directory changes")
        operate.block("Keys and certificates rotate")
        for typist in (operate, deploy, users, sources, oversight):
            typist.done()


def operators(machine: Machine, address: str, phrases: Mapping[str, str]) -> Typist:
    """Who types docs/operate.md: two people with a key each; ``home`` holds every folder."""
    keys = ("operator-1/operator.key", "operator-2/operator.key")
    return Typist(
        OPERATE, machine, machine.home,
        values={
            "my-keys": ("operator-1", "operator-2"),
            "my-keys/operator.key": keys,
            "operator.key": keys,
            "4fd1c7a0b2e96358d1f07c4e8a35b92617c0de84f5a1936b2870e4dc59fb6a13":
                lambda: machine.heard(HEX, 0),
            "b71e09d4c8a25f6310e97ab4d2c86f053e1b94a7d0f8625c3a97e1b40d6c28f5":
                lambda: machine.heard(HEX, 1),
            "0.0.0.0:7443": address,
            "gateway.port.example:7443": address,
            "terminal-east.request": "node/terminal-east.request",
            ROOT_WORDS: lambda: machine.heard("your root's check phrase[^\n]*: (.+)$"),
            "twelve words as they were read to you": lambda: phrases["quayguard"],
            "/media/root/root.key": "root/root.key",
            "root.key": "root/root.key",
            "entry-2.bin": "node/keys/entry-2.bin",
            "gateway.toml": "gateway/gateway.toml",
            "node.toml": "node/node.toml",
        },
        only=lambda block: not mentions(block, ".demo"),
    )  # fmt: skip


def partner_it(machine: Machine, address: str, phrases: Mapping[str, str]) -> Typist:
    """Who types docs/deploy.md: terminal-east's IT, after two telephone calls."""
    return Typist(
        DEPLOY, machine, machine.home,
        values={
            "0.0.0.0:7443": address,
            "node.terminal-east.example:7443": address,
            "invitation.toml": "gateway/invitation.toml",
            "pilgrim guitar soldier dragon - ghost engine emerald gypsum - doctor robot family "
            "sailor": lambda: machine.heard("to read to each partner: (.+)$"),
            "terminal-east.admission": "node/terminal-east.admission",
            ROOT_WORDS: lambda: phrases["customs"],
            "729aa2990bfdbb43bf8f7c8492df9e16d4574205cddff8a1f384a60ca3e3740c":
                lambda: machine.heard("--digest ([0-9a-f]{64})"),
            "gateway.toml": "gateway/gateway.toml",
            "node.toml": "node/node.toml",
        },
    )  # fmt: skip


def people(machine: Machine, address: str) -> Typist:
    """Who types docs/users.md: terminal-east's authority, and u-c01 with what was handed over."""
    return Typist(
        USERS, machine, machine.home,
        values={
            "127.0.0.1:7444": address,
            "5b1f0c7e9a4d2b8f6c3e1a0d9b7f5e4c2a8d6b1f0e9c7a5d3b1f8e6c4a2d0b9f":
                lambda: machine.heard("its fingerprint, [^\n]*: ([0-9a-f]{64})$"),
            "lsjk7-bvyw7-nfgzm-jfgqb-qerz3-4":
                lambda: machine.heard("one-time code of u-c01.*\n.* --code ([a-z0-9-]+)$"),
        },
    )  # fmt: skip


def officer(machine: Machine) -> Typist:
    """Who types docs/oversight.md: terminal-east's oversight, and its IT for the decoys."""
    return Typist(
        OVERSIGHT, machine, machine.home,
        values={
            "node.toml": "node/node.toml",
            "oversight.toml": "oversight/oversight.toml",
            "5f0c1b7e9a4d2b8f": lambda: machine.heard("^([0-9a-f]{16}) .*MSCU1234566"),
        },
    )  # fmt: skip


def already_there(home: Path) -> dict[str, str]:
    """Admit two earlier partners with the product's own functions; the phrases of their roots."""
    founded = Founded(
        folder=home / "gateway",
        invitation=Invitation.load(home / "gateway" / "invitation.toml"),
        operators=tuple(
            signing.load_signing_key(home / f"operator-{number}" / "operator.key")
            for number in (1, 2)
        ),
    )
    phrases = {}
    for partner in ("customs", "quayguard"):
        place = founders.node(home / partner, founded.invitation, partner)
        founded.admission(place)
        phrases[partner] = founders.root_phrase(place.request().read_bytes())
    return phrases


def movements() -> str:
    """What terminal-east holds: a day of its gate, in the port's own time."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 86_400))
    rows = [f"{box},{moment},{way},Gate 3" for box in (STORY, OTHER) for way in ("IN", "OUT")]
    return "\n".join(["container_no,moved_at,direction,gate", *rows]) + "\n"


def test_databases_become_sources(tmp_path: Path) -> None:
    """A table and a SELECT of a real PostgreSQL server are added, their URLs kept elsewhere."""
    with postgres() as server, Machine(tmp_path) as machine:
        server.run(
            "CREATE SCHEMA terminal",
            "CREATE TABLE terminal.releases (id bigint PRIMARY KEY, container_no text, "
            "happened_at timestamptz, updated_at timestamptz)",
            f"INSERT INTO terminal.releases VALUES (1, '{STORY}', now(), now())",  # noqa: S608
            "CREATE TABLE moves (id bigint PRIMARY KEY, at timestamptz, box text)",
            f"INSERT INTO moves VALUES (1, now(), '{OTHER}')",  # noqa: S608
        )
        (tmp_path / "node.toml").write_text("sources = []\n")
        url = tmp_path / "releases.url"
        url.write_text(server.url())
        url.chmod(0o600)
        typist = Typist(
            SOURCES, machine, tmp_path,
            variables=lambda _: {"RELEASES_URL": server.url()},
            only=lambda block: mentions(block, "releases"),
        )  # fmt: skip
        typist.block("Add one")
        typist.done()
