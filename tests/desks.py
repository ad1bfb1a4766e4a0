"""Desks that files of an opening go between: an auditor's, and those of the oversights."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from google.protobuf.json_format import MessageToDict
from typer.testing import CliRunner

from fairlead.cli.main import app as fairlead_app
from fairlead.cli.output import Exit
from fairlead.cli.oversight import app as oversight_app
from fairlead.errors import FairleadError
from fairlead.v1 import audit_pb2, query_pb2
from tests.commands import Ended, profile
from tests.federation import OTHER, STORY, Federation, evidence, federation
from tests.openings import AUDITOR, MORE_USERS
from tests.oversights import oversight_of

PARTNERS = ("customs", "police", "terminal-north")
WHY = ("--ground", "court-order", "--reference", "ROT 26/417")


@dataclass(slots=True, kw_only=True)
class Desks:
    """A federation after two queries, closed; its auditor, and the oversights of its committee."""

    made: Federation
    folder: Path
    query: str
    receipt: Path

    @property
    def gateway_log(self) -> Path:
        """The gateway's log, as its operator hands it over."""
        return self.made.folder / "state" / "gateway" / "audit.sqlite"

    def node_log(self, partner: str) -> Path:
        """A partner's log."""
        return self.made.folder / "state" / partner / "audit.sqlite"

    def audit(self, *words: str, who: tuple[str, str] = AUDITOR) -> Ended:
        """What the auditor types."""
        settings = ("--profile", str(profile(self.made, *who)))
        return typed(fairlead_app, "audit", *words, *settings)

    def oversight(self, partner: str) -> Path:
        """The configuration of a partner's oversight."""
        folder = self.folder / "oversights" / partner
        path = folder / "oversight.toml"
        if not path.exists():
            oversight_of(self.made.layout, folder, partner, self.folder)
        return path

    def share(self, partner: str, request: Path, *words: str) -> Ended:
        """What an officer of a partner's oversight types."""
        settings = ("--config", str(self.oversight(partner)), "--output", "json")
        return typed(oversight_app, "share", str(request), *settings, *words)

    def shares(self, request: Path, *partners: str, more: Sequence[str] = ()) -> list[str]:
        """The files that these oversights release, as options."""
        options = []
        for partner in partners:
            target = request.parent / f"{partner}.shares"
            ended = self.share(partner, request, "--by", "u-o01", "--to", str(target), *more)
            assert ended.code == Exit.ANSWERED, ended.err
            options += ["--share", str(target)]
        return options

    def filter(self, partner: str, request: Path, *words: str) -> Ended:
        """What an officer of the oversight that filters a search types."""
        details = ("--details", str(request.with_suffix(".details")))
        settings = ("--config", str(self.oversight(partner)), "--output", "json")
        named = ("--by", "u-o02", "--to", str(request.with_suffix(".found")))
        return typed(oversight_app, "search", str(request), *details, *settings, *named, *words)


def typed(app: typer.Typer, *words: str) -> Ended:
    """A command in this process: its exit code, data and talk."""
    done = CliRunner().invoke(app, words, standalone_mode=False)
    if done.exception is None:
        return Ended(done.return_value or 0, done.stdout, done.stderr)
    assert isinstance(done.exception, FairleadError), done.exception
    return Ended(done.exception.exit_code, done.stdout, done.exception.diagnostics())


async def asked_twice(folder: Path) -> Desks:
    """A federation that asked about two containers, and is closed."""
    async with federation(folder / "made", partners=PARTNERS, more_users=MORE_USERS) as made:
        await made.open_case()
        first = await made.ask(STORY)
        await made.ask(OTHER)
        assert made.gateway is not None
        await made.gateway.witnesses.look()  # a quorum cosigns the log as it is now
        receipt = folder / "receipt.json"
        found = evidence(first)
        receipt.write_text(json.dumps({"fairlead_receipt": 1, **MessageToDict(found)}))
        query = query_pb2.QueryHeader.FromString(found.query.header).query_id.hex()
        return Desks(made=made, folder=folder, query=query, receipt=receipt)


def leaves_of(path: Path, kind: audit_pb2.LeafType.ValueType) -> list[audit_pb2.AuditLeaf]:
    """The leaves of one type in a log."""
    with sqlite3.connect(path) as database:
        bodies = [row[0] for row in database.execute("SELECT body FROM leaf ORDER BY idx")]
    leaves = [audit_pb2.AuditLeaf.FromString(body) for body in bodies]
    return [leaf for leaf in leaves if leaf.type == kind]
