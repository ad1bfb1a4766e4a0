"""``fairlead audit`` on files alone: a log, an export, a receipt, without any running service."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certs.dev.federation import GatewaySpec, demo_partners
from certs.dev.make import make
from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.cli.main import app
from fairlead.cli.output import Exit, run
from fairlead.config import Timestamps
from fairlead.leaves import LeafWriter
from fairlead.timestamping.stamper import Stamper
from tests.small_log import ACTIVE, ORIGIN, intent, story
from tests.stamping import Authority


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Hands:
    """What an auditor holds: a log with two timestamps, the directory, the trust anchors."""

    log: Path
    authority: Authority
    options: tuple[str, ...]
    key: Path
    typed: Callable[..., Typed]


Material = tuple[Path, Authority, tuple[str, ...], Path]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Keys of customs, and its log: a story of some days ago, and two stamped heads of today."""
    folder = tmp_path_factory.mktemp("hands")
    specs = [spec for spec in demo_partners() if spec.partner_id == "customs"]
    layout = make(folder / "keys", gateway=GatewaySpec(), partners=specs)
    key = signing.load_signing_key(layout.node("customs") / "signing.key")
    authority = Authority.make(folder / "tsa")
    log = folder / "audit.sqlite"

    async def fill() -> None:
        opened = AuditLog.open(log, origin=ORIGIN, key=key, clock=time.time, migrations=ACTIVE)
        leaves = LeafWriter(log="partner/customs", clock=time.time)

        async def fetch(_: str, octets: bytes) -> bytes:
            return authority.stamp(octets)

        settings = Timestamps(url="http://127.0.0.1:1/", ca=authority.ca)
        stamper = Stamper(settings, opened, leaves, clock=time.time, fetch=fetch)
        for body in story():
            await opened.append(body)
        assert await stamper.attempt()
        await opened.append(intent(20, mandate=5))
        assert await stamper.attempt()
        opened.close()

    asyncio.run(fill())
    options = ("--directory", str(layout.directory), "--trust", str(layout.pins))
    return log, authority, options, layout.node("customs") / "signing.key"


@pytest.fixture
def hands(material: Material, capsys: pytest.CaptureFixture[str]) -> Hands:
    def typed(*words: str) -> Typed:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(lambda: app(args=["audit", *words], standalone_mode=False))
        out, err = capsys.readouterr()
        return Typed(int(ended.value.code or 0), out, err)

    return Hands(*material, typed)


def test_a_log_is_verified_with_its_timestamps(hands: Hands) -> None:
    """With the authority's certificates the tokens are verified, without them that is said."""
    plain = hands.typed("verify", str(hands.log), *hands.options, "--output", "json")
    assert (plain.code, plain.json[0]["timestamps"]) == (Exit.ANSWERED, "2")
    assert "--timestamp-ca" in plain.err
    ca = ("--timestamp-ca", str(hands.authority.ca))
    whole = hands.typed("verify", str(hands.log), *hands.options, *ca, "--output", "json")
    assert (whole.code, whole.json[0]["timestamps"]) == (Exit.ANSWERED, "2 verified")


def test_a_strangers_certificates_verify_no_timestamp(hands: Hands, tmp_path: Path) -> None:
    """The chain has to lead to the authority that is named."""
    stranger = Authority.make(tmp_path / "stranger")
    ca = ("--timestamp-ca", str(stranger.ca))
    ended = hands.typed("verify", str(hands.log), *hands.options, *ca)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")
    assert "TIMESTAMP_SIGNATURE" in ended.err
    listed = hands.typed("timestamps", "--log", str(hands.log), *hands.options, *ca)
    assert listed.out.count("does not verify: TIMESTAMP_SIGNATURE") == 2


def test_timestamps_are_listed_and_saved_for_another_verifier(hands: Hands, tmp_path: Path) -> None:
    """What is saved satisfies OpenSSL's own command."""
    folder = tmp_path / "saved"
    words = ("--log", str(hands.log), "--save", str(folder))
    ca = ("--timestamp-ca", str(hands.authority.ca), "--output", "json")
    ended = hands.typed("timestamps", *words, *hands.options, *ca)
    assert ended.code == Exit.ANSWERED, ended.err
    assert [row["log_size"] for row in ended.json] == [12, 10]
    assert {row["state"] for row in ended.json} == {"verified"}
    for place in (10, 12):
        assert hands.authority.agrees(folder / f"{place}.note", folder / f"{place}.tsr")
    again = hands.typed("timestamps", *words, *hands.options)
    assert (again.code, "FILE_EXISTS" in again.err) == (Exit.USAGE, True)


def test_a_log_rewritten_and_signed_again_contradicts_its_timestamps(
    hands: Hands, tmp_path: Path
) -> None:
    """The operator has the log's key and the old tokens, and still cannot change an older leaf."""
    with sqlite3.connect(hands.log) as source:
        rows = source.execute("SELECT body, detail FROM leaf ORDER BY idx").fetchall()
    source.close()
    rows[1] = (intent(1, mandate=1, purpose="smuggling"), b"")
    path = tmp_path / "audit.sqlite"

    async def rewrite() -> None:
        key = signing.load_signing_key(hands.key)
        log = AuditLog.open(path, origin=ORIGIN, key=key, clock=time.time, migrations=ACTIVE)
        for body, detail in rows:
            await log.append(body, detail=detail)
        log.close()

    asyncio.run(rewrite())
    ended = hands.typed("verify", str(path), *hands.options)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")
    assert "CHECKPOINT_FORK" in ended.err


def test_a_token_moved_to_another_leaf_is_found(hands: Hands, tmp_path: Path) -> None:
    """The response beside a leaf is the one whose digest it names."""
    copy = tmp_path / "audit.sqlite"
    with sqlite3.connect(hands.log) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    target.execute("UPDATE leaf SET detail = (SELECT detail FROM leaf WHERE idx = 12) WHERE idx=10")
    target.commit()
    target.close()
    source.close()
    ended = hands.typed("verify", str(copy), *hands.options)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")


def test_a_file_is_listed_page_by_page(hands: Hands) -> None:
    """Newest first, with the command that goes on; the filters are those of a node."""
    log = ("--log", str(hands.log))
    first = hands.typed("list", *log, "--limit", "4")
    assert [line.split()[0] for line in first.out.splitlines()[1:]] == ["12", "11", "10", "9"]
    assert "--before 9" in first.err
    rest = hands.typed("list", *log, "--before", "9", "--output", "ndjson")
    assert [json.loads(line)["leaf"] for line in rest.out.splitlines()] == list(range(8, -1, -1))
    found = hands.typed("list", *log, "--type", "alarm", "--output", "json")
    assert [leaf["reasons"] for leaf in found.json] == [["ACTIVE_TARGET"]]
    none = hands.typed("list", *log, "--reason", "POLICY")
    assert (none.code, "no leaf matches" in none.err) == (Exit.ANSWERED, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("list", "--partner", "MSCU6639870"), "SELECTION"),
        (("list", "--type", "TERM"), "LEAF_KIND"),
        (("list", "--query", "MSCU6639870"), "QUERY_ID"),
        (("list", "--since", "soon"), "TIME"),
        (("show", "MSCU6639870"), "SELECTION"),
        (("show", "99"), "LEAF_UNKNOWN"),
        (("export", "out.jsonl", "--leaves", "9-3"), "SELECTION"),
        (("export", "out.jsonl", "--leaves", "x"), "SELECTION"),
        (("usage", "--period", "2026-Q5"), "TIME"),
        (("usage", "--period", "2026", "--since", "3d"), "TIME"),
        (("usage", "--from", "no-such-file"), "EXPORT_FILE"),
        (("timestamps", "--timestamp-ca", "no-such-file"), "TIMESTAMP_CA"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_without_what_was_typed(
    hands: Hands, words: tuple[str, ...], code: str
) -> None:
    """Each has its code and a next step, and no term is repeated."""
    keys = () if words[0] == "list" else hands.options
    ended = hands.typed(*words, "--log", str(hands.log), *keys)
    assert ended.out == ""
    assert f"[{code}]" in ended.err
    assert "next" in ended.err
    assert "MSCU6639870" not in ended.err
    assert ended.code != Exit.INTERNAL
    assert not Path("out.jsonl").exists()
    assert not Path("out.jsonl.part").exists()


def test_a_leaf_and_its_receipt_leave_the_house(hands: Hands, tmp_path: Path) -> None:
    """The kept receipt verifies by itself, and no other log's name, leaf or proof does."""
    kept = tmp_path / "leaf.json"
    shown = hands.typed(
        "show", "4", "--log", str(hands.log), "--receipt", str(kept), *hands.options
    )
    assert shown.code == Exit.ANSWERED, shown.err
    assert "second persons" in shown.out
    verified = hands.typed("verify", str(kept), *hands.options, "--output", "json")
    assert (verified.json[0]["leaf"], verified.json[0]["type"]) == (4, "INTENT")
    document = json.loads(kept.read_text())
    other = json.loads(json.dumps(document))
    other["receipt"]["leaf"] = other["receipt"]["leaf"][:-4] + "AAAA"
    for forged in (
        {**document, "origin": "fairlead.demo/gateway/gw-1"},
        {**document, "origin": "elsewhere"},
        other,
        {**document, "receipt": {"leaf": 7}},
        {**document, "fairlead_leaf_receipt": 2},
    ):
        (tmp_path / "forged.json").write_text(json.dumps(forged))
        ended = hands.typed("verify", str(tmp_path / "forged.json"), *hands.options)
        assert ended.code in {Exit.CHECK_FAILED, Exit.USAGE}
        assert ended.out == ""
    twice = hands.typed(
        "show", "4", "--log", str(hands.log), "--receipt", str(kept), *hands.options
    )
    assert "FILE_EXISTS" in twice.err


def test_an_export_and_its_usage_leave_the_house(hands: Hands, tmp_path: Path) -> None:
    """The same counts from the log and from an export of it; a filter is said to be one."""
    log = ("--log", str(hands.log))
    whole, some = tmp_path / "whole.jsonl", tmp_path / "some.jsonl"
    made = hands.typed("export", str(whole), *log, *hands.options, "--output", "json")
    assert made.json[0]["complete"] is True
    assert hands.typed("verify", str(whole), *hands.options).code == Exit.ANSWERED
    partial = hands.typed("export", str(some), *log, "--type", "INTENT", *hands.options)
    assert partial.code == Exit.ANSWERED
    said = hands.typed("verify", str(some), *hands.options)
    assert (said.code, "does not say what they hold" in said.err) == (Exit.ANSWERED, True)
    span = ("--since", "2020-01-01", "--until", "2099-01-01", "--output", "json")
    counted = hands.typed("usage", *log, *span, *hands.options)
    again = hands.typed("usage", "--from", str(whole), *span, *hands.options)
    assert counted.json == again.json
    assert {"part": "asked", "of": "queries", "which": "", "count": 3} in counted.json
    less = hands.typed("usage", "--from", str(some), *span, *hands.options)
    assert "leaves leaves out" in less.err
    html = tmp_path / "usage.html"
    pictured = hands.typed("usage", *log, "--period", "2026", "--html", str(html), *hands.options)
    assert "█" in pictured.out
    assert "<svg" in html.read_text()
    assert "u-1" not in html.read_text() + pictured.out


def test_a_log_somebody_shortened_is_not_exported(hands: Hands, tmp_path: Path) -> None:
    """A leaf that is missing in the file leaves no export behind, not even a part of one."""
    copy = tmp_path / "audit.sqlite"
    with sqlite3.connect(hands.log) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.execute("DELETE FROM leaf WHERE idx = 3")
    target.commit()
    target.close()
    out = tmp_path / "out.jsonl"
    ended = hands.typed("export", str(out), "--log", str(copy), *hands.options)
    assert (ended.code, ended.out) == (Exit.CHECK_FAILED, "")
    assert [path for path in tmp_path.iterdir() if path.name.startswith("out")] == []
