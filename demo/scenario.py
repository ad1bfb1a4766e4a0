"""The stolen-PIN story, told by the product's own commands."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.federation import GATEWAY, ROOT, Federation, run_module
from demo.figures import pack_year, period
from demo.generate import Story
from demo.memory import holds
from fairlead.cli.output import say

CASE = "2026-ROT-0417"
PURPOSE = "drug-trafficking"
ANALYST, APPROVER, BOUGHT = ("customs", "u-c01"), ("customs", "u-c02"), ("customs", "u-c03")
POLICE = ("police", "u-p01")
APPROVERS = {ANALYST: APPROVER, POLICE: ("police", "u-p02")}
PRIVATE = ("oceanic-line", "quayguard", "terminal-north")
PUBLISHERS = ("oceanic-line", "terminal-north")
"""Private partners that answer about trafficking; the third one's own policy does not."""
BLIND = ("--mode", "blind", *(word for partner in PRIVATE for word in ("--to", partner)))
HOLDER = "terminal-north"
SNAPSHOTS_S = 300


@dataclass(slots=True)
class Tally:
    """What the scenario counts for its last line."""

    queries: int = 0
    lines: Counter[str] = field(default_factory=Counter)
    receipts: list[Path] = field(default_factory=list)
    blind_hits: int = 0
    found_at_holder: int = 0
    """How often the term asked blind stands in what the partner with the hit has."""
    figures_shown: int = 0


class Scenario:
    """Runs commands as the demo's users would and shows what they print."""

    def __init__(self, federation: Federation, story: Story) -> None:
        self._federation = federation
        self._story = story
        self.tally = Tally()

    def run(self) -> None:
        """A stolen release, from the first question to whoever collected the container."""
        story = self._story
        self._open_case()
        self._tell("Who would learn what? Nothing is sent yet.")
        self._ask(story.container, "--since", "90d", "--dry-run")
        self._tell(
            "Customs asks about a container. Partners answer differently; a stopped node is "
            "unreachable, never 'no hit'."
        )
        answers = self._ask(story.container, "--since", "90d", expect=(7,))
        self._expect(answers)
        self._tell("Who looked up this release between its issue and the collection?")
        window = ("--since", _iso(story.issued_at), "--until", _iso(story.collected_at))
        looked_up = self._ask(
            story.container, *window, "--event", "release-looked-up", "--to", "terminal-north",
            "--to", "oceanic-line",
        )  # fmt: skip
        self._expect_accounts(looked_up)
        self._tell("And the truck that collected it?")
        self._ask(story.plate, "--since", "90d", "--to", "terminal-north", "--to", "police")

    def refused(self) -> None:
        """What stops at home, and what is refused."""
        story = self._story
        self._tell("A typo stops at home, with a suggestion; nothing is sent.")
        wrong = story.container[:-1] + str((int(story.container[-1]) + 1) % 10)
        self._ask(wrong, expect=(2,))
        self._tell("A bought analyst without a case is refused, and the refusal is in the log.")
        before = self._refusals()
        self._ask(story.container, user=BOUGHT, expect=(5,))
        self.tally.lines["refused"] += 1
        if self._refusals() != before + 1:
            raise AssertionError("the refusal of the bought analyst is not in the log")

    def blind(self) -> None:
        """Police asks every private partner, and none of them learns about what."""
        self._open_case(POLICE, "national-criminal-procedure")
        self._wait_for_snapshots()
        self._tell(
            "Police asks every private partner about another container, blind: somebody there may "
            "have been bought. They learn that a container is asked about, and not which."
        )
        lines = self._ask(self._story.quiet_container, "--since", "90d", *BLIND, user=POLICE)
        found = {line["partner"]: line["kind"] for line in lines}
        wanted = {"oceanic-line": "no_hit", "quayguard": "not_asked", HOLDER: "hit"}
        if found != wanted:
            raise AssertionError(f"the private partners answered {found}")
        self.tally.blind_hits = sum(kind == "hit" for kind in found.values())
        self._search_holder()

    def _wait_for_snapshots(self) -> None:
        """Until the first publications of the private partners are with the police."""
        self._tell(
            "Owners publish sealed indexes ahead of time, and the police's node holds them "
            "before anybody asks."
        )
        config = str(self._federation.config(POLICE[0]))
        deadline, held = time.monotonic() + SNAPSHOTS_S, -1
        while held < len(PUBLISHERS):
            if time.monotonic() > deadline:
                raise AssertionError("the publications did not arrive")
            done = run_module("node.cli.main", "snapshots", "--config", config, "--output", "json")
            owners = {
                row["owner"]
                for row in json.loads(done.stdout)["snapshots"]
                if row["scheme"] == "container" and PURPOSE in row["purposes"]
            }
            before, held = held, len(owners & set(PUBLISHERS))
            if held != before:
                say(f"  snapshots held: {held} of {len(PUBLISHERS)}")
            if held < len(PUBLISHERS):
                time.sleep(1)

    def _search_holder(self) -> None:
        """Everything that the partner with the hit has, but its own data, holds no such term."""
        federation, term = self._federation, self._story.quiet_container
        places = [federation.state(HOLDER), federation.log(HOLDER), federation.config(HOLDER)]
        files = sum(count_terms(place, [term]) for place in places)
        forms = {term: spellings([term])}
        memory = sum(len(holds(pid, forms)) for pid in federation.processes(HOLDER))
        control = holds(os.getpid(), forms)  # this process knows the term: the search must find it
        told = {"purpose": [PURPOSE.encode()]}  # which the partner does learn
        seen = any(holds(pid, told) for pid in federation.processes(HOLDER))
        own = count_terms(federation.folder / "data" / HOLDER, [term])
        say(
            f"\n── Every file, log and process of {HOLDER} was searched for that container: found "
            f"{files + memory} times (the same search finds it {own} time in the partner's own "
            "data and in the memory of this demonstration, and the purpose in the partner's)."
        )
        if not (own and control and seen):
            raise AssertionError("the search finds nothing even where it is")
        self.tally.found_at_holder = files + memory

    def figures(self) -> Path:
        """The Alliance's figures, and the pack of a year; returns its page."""
        today = datetime.now(UTC).date()
        self._tell(
            "Strategic questions: what moved from sea ports to inland ports in two years? Six "
            "nodes send masked sums; nobody, the gateway included, sees one partner's figures."
        )
        asked = ("displacement", "--level", "quarter,shore", "--period", period(today))
        said = self._fairlead(ANALYST, "stats", "query", *asked)
        self.tally.figures_shown = said.count(" ± ")
        year = str(pack_year(today))
        self._tell(f"And the annual pack of key performance indicators of {year}, signed.")
        folder = self._federation.folder / "kpi"
        self._fairlead(ANALYST, "stats", "kpi-pack", "--year", year, "--out", str(folder))
        page = folder / f"kpi-{year}.html"
        if not page.exists() or not self.tally.figures_shown:
            raise AssertionError("there are no figures, or no pack of them")
        say(f"  open it in a browser: {shown(page)}")
        return page

    def verify(self) -> int:
        """Verify every receipt and every log; returns how many receipts verified."""
        self._tell("Every receipt verifies offline, with the directory and the pins alone.")
        self._fairlead(ANALYST, "receipts", "verify", *map(str, self.tally.receipts))
        self._tell("Every log re-derives: hashes, roots, signatures, and the order of events.")
        for name in (GATEWAY, *self._federation.partners):
            log = str(self._federation.state(name) / "audit.sqlite")
            known = self.tally.receipts[-1:] if name == GATEWAY else []
            options = [word for file in known for word in ("--receipt", str(file))]
            self._fairlead(ANALYST, "audit", "verify", log, *options)
        return len(self.tally.receipts)

    # ── Steps ────────────────────────────────────────────────────────────────────────────────

    def _open_case(
        self, analyst: tuple[str, str] = ANALYST, legal_basis: str = "eu-ucc-art-46"
    ) -> None:
        self._tell("An approver opens a case and assigns an analyst; without one, nobody asks.")
        self._fairlead(
            APPROVERS[analyst], "cases", "open", CASE, "--purpose", PURPOSE,
            "--legal-basis", legal_basis, "--scheme", "container",
            "--scheme", "vehicle-plate", "--member", analyst[1],
        )  # fmt: skip

    def _ask(
        self,
        term: str,
        *options: str,
        user: tuple[str, str] = ANALYST,
        expect: Sequence[int] = (0,),
    ) -> list[dict[str, Any]]:
        """Ask, show the table, and count the lines of the JSON twin of the same receipt."""
        kept = self._federation.folder / "receipts"
        before = set(kept.glob("*.json"))
        said = self._fairlead(
            user, "ask", term, "--case", CASE, "--purpose", PURPOSE, *options, expect=expect
        )
        fresh = sorted(set(kept.glob("*.json")) - before)
        self.tally.receipts += fresh
        self.tally.queries += len(fresh)
        lines = _lines(said) if fresh else []
        self.tally.lines.update(line["kind"] for line in lines)
        return lines

    def _fairlead(
        self, user: tuple[str, str], *arguments: str, expect: Sequence[int] = (0,)
    ) -> str:
        say(f"\n$ fairlead {shlex.join(self._short(a) for a in arguments)}")
        done = run_module(
            "fairlead.cli.main",
            *arguments,
            profile=self._federation.profile(*user),
            expect=expect,
        )
        say((done.stderr + done.stdout).rstrip().replace(str(self._federation.folder), ".demo"))
        return done.stdout

    def _short(self, argument: str) -> str:
        return argument.replace(str(self._federation.folder), ".demo")

    def _tell(self, text: str) -> None:
        say(f"\n── {text}")

    def _refusals(self) -> int:
        import sqlite3

        from fairlead.v1 import audit_pb2

        path = self._federation.state("customs") / "audit.sqlite"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT body FROM leaf").fetchall()
        finally:
            connection.close()
        leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return sum(leaf.type == audit_pb2.LEAF_TYPE_REFUSAL for leaf in leaves)

    # ── Expectations ─────────────────────────────────────────────────────────────────────────

    def _expect(self, lines: list[dict[str, Any]]) -> None:
        wanted = {
            "terminal-north": "hit",
            "oceanic-line": "hit",
            "police": "no_hit",
            "quayguard": "refused",
            "inland-port": "unreachable",
        }
        found = {line["partner"]: line["kind"] for line in lines}
        if found != wanted:
            raise AssertionError(f"the partners answered {found}, not {wanted}")

    def _expect_accounts(self, lines: list[dict[str, Any]]) -> None:
        text = " ".join(line["text"] for line in lines)
        missing = [account for account in self._story.accounts if account not in text]
        if missing:
            raise AssertionError(f"accounts that looked the release up are missing: {missing}")


def _lines(said: str) -> list[dict[str, Any]]:
    """Partner, kind and everything shown of each line of the table on stdout."""
    kinds = {"HIT": "hit", "no": "no_hit", "not": "not_asked"}
    rows = said.split("\n\n", 1)[0].splitlines()[1:]
    lines = []
    for row in rows:
        partner, word = row.split()[:2]
        detail = said.partition(f"\n{partner} on ")[2].partition("\n\n")[0]
        lines.append({"partner": partner, "kind": kinds.get(word, word), "text": detail})
    return lines


def shown(path: Path) -> str:
    """A path as it is printed: from the repository, where it is below it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def spellings(terms: Sequence[str]) -> list[bytes]:
    """Every usual writing of the terms."""
    found = set()
    for term in terms:
        bare = term.partition(":")[2] or term
        for text in (term, bare, bare.replace("-", ""), bare.lower(), f"{bare[:4]} {bare[4:]}"):
            found |= {text.encode(), text.encode("utf-16-le"), text.encode().hex().encode()}
    return sorted(found)


def count_terms(folder: Path, terms: Sequence[str]) -> int:
    """How often a term stands, in any usual writing, in a file or any file below a folder."""
    return sum(
        file.read_bytes().count(spelling)
        for file in ([folder] if folder.is_file() else folder.rglob("*"))
        if file.is_file()
        for spelling in spellings(terms)
    )


def dump(summary: dict[str, Any]) -> str:
    """The last line."""
    return json.dumps(summary, separators=(",", ":"))
