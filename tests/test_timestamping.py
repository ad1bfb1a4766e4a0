"""Timestamps: a real authority's token is kept and verified, and nothing else passes for one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import receipts, telemetry
from fairlead.auditing.file import open_file
from fairlead.auditlog import AuditLog, verify_log
from fairlead.config import Timestamps
from fairlead.errors import FairleadError, Forged, InvalidInput, Misconfigured, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.timestamping import checking
from fairlead.timestamping.authority import _body, fetch
from fairlead.timestamping.order import in_order
from fairlead.timestamping.stamper import Stamper
from fairlead.timestamping.token import (
    MAX_RESPONSE,
    SKEW_S,
    Token,
    load_authorities,
    request,
    require_plausible,
    verify,
)
from fairlead.v1 import audit_pb2
from tests.federation import ROOT
from tests.hostile import edits
from tests.small_log import ACTIVE, KEY, ORIGIN, PUBLIC, intent
from tests.stamping import SERVING, STAMPING, Authority, http, serving

NOTE = receipts.sign_checkpoint(
    receipts.Checkpoint(origin=ORIGIN, size=3, root=bytes(range(32))), KEY
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One root with honest and dishonest signers."""
    made = Authority.make(tmp_path_factory.mktemp("tsa") / "tsa")
    made.signer("expired", days=-5)
    made.signer("second")
    made.signer("server", extensions=SERVING)
    made.signer("weak", extensions=STAMPING.replace("=critical,timeStamping", "=timeStamping"))
    return made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody configured."""
    return Authority.make(tmp_path_factory.mktemp("tsa") / "stranger")


@pytest.fixture(scope="module")
def stamped(authority: Authority) -> bytes:
    """A response over :data:`NOTE`."""
    return authority.stamp(request(NOTE).octets)


# ── A token ──────────────────────────────────────────────────────────────────────────────────


def test_an_honest_token_verifies(authority: Authority) -> None:
    """The authority's time and name come out, and OpenSSL's own verifier agrees."""
    asked = request(NOTE)
    response = authority.stamp(asked.octets)
    token = verify(response, NOTE, load_authorities(authority.ca), nonce=asked.nonce)
    assert abs(token.stamped_at - time.time()) < SKEW_S
    assert token.authority == "CN=Time by tsa"
    note, file = authority.folder / "1.note", authority.folder / "1.tsr"
    note.write_text(NOTE)
    file.write_bytes(response)
    assert authority.agrees(note, file)


def test_a_token_of_2026_verifies_for_ever() -> None:
    """A kept response needs no authority any more, and no program beside this one."""
    kept = json.loads((ROOT / "tests" / "vectors" / "timestamp.json").read_text())
    roots = [x509.load_pem_x509_certificate(kept["authority"].encode())]
    token = verify(base64.b64decode(kept["response"]), kept["note"], roots)
    assert token.authority == "CN=Time by tsa"
    assert time.gmtime(token.stamped_at).tm_year == 2026


def test_a_token_with_its_whole_chain_verifies(authority: Authority) -> None:
    """OpenSSL sends certificates in an order of its own, which changes nothing that is signed."""
    orders = set()
    for name in ("tsa", "second"):
        asked = request(NOTE)
        response = authority.stamp(asked.octets, name=name, chain=True)
        sorted_one = in_order(response)
        orders.add(sorted_one == response)
        assert sorted(sorted_one) == sorted(response)
        assert in_order(sorted_one) == sorted_one
        roots = load_authorities(authority.ca)
        assert verify(response, NOTE, roots, nonce=asked.nonce).authority.endswith(name)
    assert False in orders


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(edits(), max_size=3), junk=st.none() | st.binary(max_size=60))
def test_sorting_never_fails_and_moves_octets_alone(
    stamped: bytes, changes: list[Callable[[bytes], bytes]], junk: bytes | None
) -> None:
    """Any octets stay the same octets, perhaps in another order."""
    data = stamped if junk is None else junk
    for change in changes:
        data = change(data)
    assert sorted(in_order(data)) == sorted(data)


def test_a_token_of_something_else_is_refused(authority: Authority, stamped: bytes) -> None:
    """One octet more in the checkpoint, and the imprint is another."""
    with pytest.raises(Forged) as error:
        verify(stamped, f"{NOTE}\n", load_authorities(authority.ca))
    assert error.value.code == "TIMESTAMP_IMPRINT"


def test_a_token_for_another_request_is_refused(authority: Authority, stamped: bytes) -> None:
    """An old response replayed has another nonce."""
    with pytest.raises(Forged) as error:
        verify(stamped, NOTE, load_authorities(authority.ca), nonce=request(NOTE).nonce)
    assert error.value.code == "TIMESTAMP_NONCE"


def test_a_strangers_token_is_refused(authority: Authority, stranger: Authority) -> None:
    """A sound token of an authority that is not configured proves nothing."""
    asked = request(NOTE)
    with pytest.raises(Forged) as error:
        verify(stranger.stamp(asked.octets), NOTE, load_authorities(authority.ca))
    assert error.value.code == "TIMESTAMP_SIGNATURE"


def test_a_signer_whose_certificate_had_ended_is_refused(authority: Authority) -> None:
    """The certificate must have been valid when it says it signed."""
    with pytest.raises(Forged) as error:
        verify(
            authority.stamp(request(NOTE).octets, name="expired"),
            NOTE,
            load_authorities(authority.ca),
        )
    assert error.value.code == "TIMESTAMP_SIGNATURE"


def test_a_web_servers_certificate_stamps_nothing(authority: Authority, stamped: bytes) -> None:
    """A certificate under the same root that is not for timestamping alone is refused."""
    roots = load_authorities(authority.ca)
    assert verify(authority.resigned(stamped, name="tsa"), NOTE, roots).authority
    for name in ("server", "weak"):
        with pytest.raises(Forged) as error:
            verify(authority.resigned(stamped, name=name), NOTE, roots)
        assert error.value.code == "TIMESTAMP_SIGNATURE"


def test_a_refusal_is_no_token(authority: Authority) -> None:
    """An authority that does not grant says so, and nothing is kept."""
    garbage = authority.stamp(b"not a request")
    with pytest.raises(FairleadError) as error:
        verify(garbage, NOTE, load_authorities(authority.ca))
    assert error.value.code in {"TIMESTAMP_REFUSED", "TIMESTAMP_MALFORMED"}


@pytest.mark.parametrize("junk", [b"", b"0", b"\x30\x80", bytes(70_000), b"<html>"])
def test_garbage_is_no_token(authority: Authority, junk: bytes) -> None:
    """What is no response, or larger than any, is refused as that."""
    with pytest.raises(InvalidInput):
        verify(junk, NOTE, load_authorities(authority.ca))


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(edits(), min_size=1, max_size=4))
def test_no_edit_of_a_token_is_believed_or_lets_another_error_out(
    authority: Authority, stamped: bytes, changes: list[Callable[[bytes], bytes]]
) -> None:
    """Whatever is changed in a response, it is refused in our words, or says the same."""
    roots = load_authorities(authority.ca)
    data = stamped
    for change in changes:
        data = change(data)
    try:
        token = verify(data, NOTE, roots)
    except FairleadError:
        return
    assert token == verify(stamped, NOTE, roots)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\x00"])
def test_a_file_without_certificates_configures_nothing(tmp_path: Path, content: bytes) -> None:
    """A process does not start with an authority that could never be verified."""
    (tmp_path / "ca.pem").write_bytes(content)
    for path in (tmp_path / "ca.pem", tmp_path / "none"):
        with pytest.raises(Misconfigured):
            load_authorities(path)


@pytest.mark.parametrize(
    ("stamped_at", "newest", "written", "plausible"),
    [
        (1000, 1000, 1000, True),
        (1000, 1000 + SKEW_S, 1000, True),
        (1000, 1001 + SKEW_S, 1000, False),  # of leaves that say they are from later
        (1000, 0, 1001 + SKEW_S, False),  # written down long after, or the log's clock was wrong
        (1000, 0, 999 - SKEW_S, False),
    ],
)
def test_an_authoritys_time_must_agree_with_the_logs(
    stamped_at: float, newest: float, written: float, plausible: bool
) -> None:
    """A back-dated log and a back-dated token contradict each other."""
    token = Token(stamped_at=stamped_at, serial=1, authority="x")
    if plausible:
        require_plausible(token, newest=newest, stamped=written)
        return
    with pytest.raises(Forged):
        require_plausible(token, newest=newest, stamped=written)


# ── The way there ────────────────────────────────────────────────────────────────────────────


async def answered(reply: bytes, *, deadline_s: float = 5, closes: bool = True) -> bytes:
    async def say(_: bytes) -> AsyncIterator[bytes]:
        yield reply

    async with serving(say, closes=closes) as url:
        return await fetch(url, b"request", deadline_s=deadline_s)


async def test_a_response_comes_whole_whether_the_server_closes_or_not() -> None:
    """The length it names ends it; without one, the connection does."""
    assert await answered(http(b"token")) == b"token"
    assert await answered(http(b"token"), closes=False) == b"token"
    bare = b"HTTP/1.0 200 OK\r\nContent-Type: application/timestamp-reply\r\n\r\ntoken"
    assert await answered(bare) == b"token"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (http(b"oops", status="500 Internal Server Error"), "TIMESTAMP_HTTP"),
        (http(b"x", kind="text/html"), "TIMESTAMP_HTTP"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "TIMESTAMP_HTTP",
        ),
        (b"garbage without an end", "TIMESTAMP_HTTP"),
        (b"", "TIMESTAMP_HTTP"),
        (http(bytes(MAX_RESPONSE + 1)), "TIMESTAMP_TOO_LARGE"),
        (http(bytes(10_000_000)), "TIMESTAMP_TOO_LARGE"),
    ],
    ids=["500", "html", "redirect", "garbage", "nothing", "large", "huge"],
)
async def test_what_is_no_timestamp_reply_is_not_read(reply: bytes, code: str) -> None:
    """Errors, redirects, garbage and floods end in a code of their own."""
    with pytest.raises(Unreachable) as error:
        await answered(reply)
    assert error.value.code == code


async def test_a_slow_authority_ends_at_the_deadline() -> None:
    """Silence, and octets that drip for ever, both end at one moment."""

    async def silent(_: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async def drip(_: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    for reply in (silent, drip):
        async with serving(reply) as url:
            with pytest.raises(Unreachable) as error:
                await fetch(url, b"request", deadline_s=0.2)
            assert error.value.code == "TIMESTAMP_SLOW"


async def test_nobody_there_is_a_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is absent, and a proxy in the environment is not asked instead."""

    async def proxy(_: bytes) -> AsyncIterator[bytes]:
        yield http(b"from the proxy")

    async with serving(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("ALL_PROXY", url)
        with pytest.raises(Unreachable) as error:
            await fetch("http://127.0.0.1:1/tsa", b"request")
    assert error.value.code == "TIMESTAMP_ABSENT"


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=300), honest=st.booleans())
def test_no_octets_make_the_reader_of_responses_fail_otherwise(octets: bytes, honest: bool) -> None:
    """Any octets are a body, or an error of ours."""
    if honest:
        assert _body(http(octets)) == octets
        return
    with contextlib.suppress(Unreachable):
        _body(b"HTTP/1.1 200 OK\r\n" + octets)


# ── A log's stamps ───────────────────────────────────────────────────────────────────────────


class Bench:
    """A log, its stamper, and an authority that a test breaks."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.path = folder / "audit.sqlite"
        self.now = time.time()
        self.log = AuditLog.open(
            self.path, origin=ORIGIN, key=KEY, clock=self.clock, migrations=ACTIVE
        )
        self.leaves = LeafWriter(log="partner/customs", clock=self.clock)
        self.authority = authority
        self.asked = 0
        self.answer: Callable[[bytes], bytes] = authority.stamp
        self.settings = Timestamps(url="http://127.0.0.1:1/", ca=authority.ca)
        self.stamper = self.make()

    def make(self) -> Stamper:
        return Stamper(self.settings, self.log, self.leaves, clock=self.clock, fetch=self.fetch)

    def clock(self) -> float:
        return self.now

    async def fetch(self, _url: str, octets: bytes) -> bytes:
        self.asked += 1
        return self.answer(octets)

    async def move(self, number: int) -> None:
        body = intent(number, mandate=1, time_ms=int(self.now * 1000))
        await self.log.append(body)


@pytest_asyncio.fixture
async def bench(tmp_path: Path, authority: Authority) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, authority)
    await made.move(1)
    yield made
    made.log.close()


async def test_a_moved_log_is_stamped_and_a_log_at_rest_is_not(bench: Bench) -> None:
    """The token is the leaf's detail; its own leaf does not count as movement."""
    assert await bench.stamper.attempt()
    assert not await bench.stamper.attempt()
    assert bench.asked == 1
    ((body, detail),) = bench.log.read("SELECT body, detail FROM leaf WHERE idx = 1")
    leaf = audit_pb2.AuditLeaf.FromString(body)
    assert (leaf.type, leaf.subject) == (audit_pb2.LEAF_TYPE_TIMESTAMP, "checkpoint-stamped")
    assert leaf.detail_digest == hashlib.sha256(detail).digest()
    await bench.move(2)
    assert await bench.stamper.attempt()
    assert [gauge.value for gauge in bench.stamper.gauges()] == [False, 0.0]


@pytest.mark.parametrize("failure", ["absent", "garbage", "other", "clock"])
async def test_a_failing_authority_is_told_and_stops_nothing(
    bench: Bench, stranger: Authority, failure: str
) -> None:
    """The log goes on, a gauge says so, one line is logged, and no leaf is written."""
    stream = io.BytesIO()
    telemetry.configure("info", stream=stream)

    def absent(_: bytes) -> bytes:
        raise Unreachable("nobody", reasons=("TIMESTAMP_ABSENT",))

    answers = {"absent": absent, "garbage": lambda _: b"junk", "other": stranger.stamp}
    bench.answer = answers.get(failure, bench.authority.stamp)
    bench.now += 2 * SKEW_S if failure == "clock" else 0
    size = bench.log.head.size
    assert not await bench.stamper.attempt()
    assert bench.log.head.size == size
    assert bench.stamper.failing
    assert b"timestamp-not-taken" in stream.getvalue()
    await bench.move(2)
    assert bench.log.healthy


async def test_one_token_an_hour_also_across_restarts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last one was taken is in the log's file, so a restart does not ask again."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if sum(waits) >= 3600:
            raise asyncio.CancelledError

    monkeypatch.setattr("fairlead.timestamping.stamper.asyncio.sleep", sleep)
    for _ in range(2):
        waits.clear()
        with pytest.raises(asyncio.CancelledError):
            await bench.make().run()
        assert bench.asked == 1
        await bench.move(2)
    bench.now += 3600  # openssl's clock stays behind
    monkeypatch.setattr("fairlead.timestamping.stamper.require_plausible", lambda *_, **__: None)
    waits.clear()
    with pytest.raises(asyncio.CancelledError):
        await bench.make().run()
    assert bench.asked == 2


async def test_without_an_authority_nothing_happens(bench: Bench) -> None:
    """Off by default: no request, no age, no leaf."""
    silent = Stamper(None, bench.log, bench.leaves, clock=bench.clock, fetch=bench.fetch)
    task = asyncio.ensure_future(silent.run())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    assert not await silent.attempt()
    assert ([gauge.value for gauge in silent.gauges()], bench.asked) == ([False], 0)


def whole(path: Path, authority: Authority) -> list[Token]:
    """What ``fairlead audit verify LOG --timestamp-ca`` does."""
    with open_file(path) as log:
        stamps = checking.stamps_of(log.read, log.size)
        heads = checking.heads(stamps, checking.opener(ORIGIN, [PUBLIC]))
        verify_log(path, origin=ORIGIN, public_key=PUBLIC, known=heads)
        roots = load_authorities(authority.ca)
        return [
            checking.verify_stamp(stamp, head, log.read, roots)
            for stamp, head in zip(stamps, heads, strict=True)
        ]


async def test_a_whole_log_verifies_with_its_stamps(
    bench: Bench, authority: Authority, stranger: Authority
) -> None:
    """Each token leads to the authority and to a head that this log extends."""
    assert await bench.stamper.attempt()
    await bench.move(2)
    assert await bench.stamper.attempt()
    assert len(whole(bench.path, authority)) == 2
    with pytest.raises(Forged):
        whole(bench.path, stranger)


async def test_a_rewritten_log_contradicts_its_stamp(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    """An operator who rewrites history with the log's own key cannot keep the old token."""
    assert await bench.stamper.attempt()
    bench.log.close()
    with sqlite3.connect(bench.path) as database:
        rows = database.execute("SELECT body, detail FROM leaf ORDER BY idx").fetchall()
    database.close()
    folder = tmp_path / "rewritten"
    folder.mkdir()
    other = Bench(folder, authority)
    await other.move(77)
    await other.log.append(rows[1][0], detail=rows[1][1])
    other.log.close()
    verify_log(other.path, origin=ORIGIN, public_key=PUBLIC)
    with pytest.raises(receipts.CheckpointFork):
        whole(other.path, authority)
    copy = tmp_path / "copy.sqlite"
    shutil.copy(bench.path, copy)
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE leaf SET detail = zeroblob(length(detail)) WHERE idx = 1")
    database.close()
    with pytest.raises(Forged):
        whole(copy, authority)


async def test_a_stamp_from_before_its_head_or_of_another_time_is_found(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    """A head the log had not reached, and a leaf that claims another time than the authority's."""
    assert await bench.stamper.attempt()
    with open_file(bench.path) as log:
        (stamp,) = checking.stamps_of(log.read, log.size)
    early = replace(stamp, index=0)
    with pytest.raises(Forged):
        checking.heads([early], checking.opener(ORIGIN, [PUBLIC]))
    late = audit_pb2.AuditLeaf()
    late.CopyFrom(stamp.leaf)
    late.time_ms += int(2 * SKEW_S * 1000)
    (head,) = checking.heads([stamp], checking.opener(ORIGIN, [PUBLIC]))
    moved: Any = replace(stamp, leaf=late)
    with open_file(bench.path) as log, pytest.raises(Forged) as error:
        checking.verify_stamp(moved, head, log.read, load_authorities(authority.ca))
    assert error.value.code == "TIMESTAMP_TIME"


async def test_a_whole_process_asks_over_http(bench: Bench, authority: Authority) -> None:
    """From the configured address to the durable leaf, with the real client."""

    async def reply(octets: bytes) -> AsyncIterator[bytes]:
        yield http(authority.stamp(octets))

    async with serving(reply) as url:
        configured = Timestamps(url=url, ca=authority.ca)
        stamper = Stamper(configured, bench.log, bench.leaves, clock=bench.clock)
        assert await stamper.attempt()
    assert len(whole(bench.path, authority)) == 1
