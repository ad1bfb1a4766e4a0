"""An OPA server that fails: each way is a no in time, with a code of its own, and never another
engine. No OPA is needed here; a small server fails as it is told."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fairlead import authority
from fairlead.errors import PolicyUnavailable
from fairlead.policy import engine as engines
from fairlead.policy.opa import REST_S, OpaEngine
from fairlead.policy.transport import Place
from tests.opas import Answer, FaultServer, fault_server, free_port, replies

DENIED: dict[str, Any] = {"effect": "deny", "facets": ["β"], "n": 9007199254740993}
GOOD = replies(json.dumps({"result": DENIED}).encode())


def refused(engine: OpaEngine, point: str = "admission", document: Any = None) -> str:
    """The code of a refusal that came in less than a second."""
    began = time.monotonic()
    with pytest.raises(PolicyUnavailable) as caught:
        engine.evaluate(point, {} if document is None else document)
    assert time.monotonic() - began < 1
    return caught.value.code


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that answers well, until a test tells it otherwise."""
    with fault_server(GOOD) as running:
        yield running


def test_a_decision_is_what_the_server_said(server: FaultServer) -> None:
    """The value comes through to the last digit, over one connection, one request a decision."""
    engine = OpaEngine(server.place, token="s3cret", deadline_s=10)
    for point in engines.POINTS:
        assert json.loads(engine.evaluate(point, {"α": [1, None]})) == DENIED
    assert engine.name == "opa"
    assert len(server.requests) == len(engines.POINTS)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /v1/data/fairlead/{engines.POINTS[0]}/decision ".encode())
    assert b"Authorization: Bearer s3cret" in head
    assert json.loads(body) == {"input": {"α": [1, None]}}


# ── Ways to fail ─────────────────────────────────────────────────────────────────────────────


def drip(wire: socket.socket) -> None:
    """One octet of a long answer at a time, each well within any timeout that counts octets."""
    for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 1000:
        wire.sendall(bytes([octet]))
        time.sleep(0.005)


def drip_body(wire: socket.socket) -> None:
    """The same with a head that comes at once."""
    wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(wire)


def endless(wire: socket.socket) -> None:
    """A body without an end, as fast as it goes."""
    wire.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        wire.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def cut(octets: bytes) -> Answer:
    """Say this much, and hang up."""

    def answer(wire: socket.socket) -> None:
        wire.sendall(octets)
        wire.shutdown(socket.SHUT_RDWR)

    return answer


FAULTS: dict[str, tuple[Answer, str]] = {
    "slow": (lambda _: time.sleep(1), "OPA_SLOW"),
    "drips its head": (drip, "OPA_SLOW"),
    "drips its body": (drip_body, "OPA_SLOW"),
    "dies before it answers": (cut(b""), "OPA_LOST"),
    "dies in its head": (cut(b"HTTP/1.1 200 OK\r\nContent-"), "OPA_GARBAGE"),
    "dies in its body": (
        cut(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"result"'),
        "OPA_LOST",
    ),
    "is no web server": (cut(b"220 mail ready\r\n\r\n"), "OPA_LOST"),
    "answers no JSON": (replies(b"<html>busy</html>"), "OPA_GARBAGE"),
    "answers nothing": (replies(b""), "OPA_GARBAGE"),
    "answers a list": (replies(b"[]"), "OPA_GARBAGE"),
    "answers too deep": (replies(b"[" * 100_000), "OPA_GARBAGE"),
    "answers half a character": (replies(b'{"result": "\\ud800"}'), "OPA_GARBAGE"),
    "answers no octets of text": (replies(b'{"result": "\xff"}'), "OPA_GARBAGE"),
    "answers more than a result": (replies(b'{"result": {}, "warning": {}}'), "OPA_GARBAGE"),
    "answers compressed": (
        replies(b"\x1f\x8b\x08\x00", "200 OK", "Content-Encoding: gzip"),
        "OPA_GARBAGE",
    ),
    "HTTP 500": (replies(b"{}", "500 Internal Server Error"), "OPA_FAILS"),
    "HTTP 404": (replies(b"{}", "404 Not Found"), "OPA_FAILS"),
    "HTTP 401": (replies(b"{}", "401 Unauthorized"), "OPA_REFUSES"),
    "undefined": (replies(b"{}"), "OPA_UNDEFINED"),
    "writes a decision log": (
        replies(b'{"decision_id": "1", "result": {}}'),
        "OPA_LOGS_INPUTS",
    ),
    "a huge answer": (replies(b" " * (engines.MAX_RESULT + 1)), "OPA_TOO_LARGE"),
    "an endless answer": (endless, "OPA_TOO_LARGE"),
    "a redirect": (
        replies(b"", "307 Temporary Redirect", "Location: http://127.0.0.1:1/v1/data"),
        "OPA_REDIRECTS",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_server_is_a_no_with_its_own_code(server: FaultServer, fault: str) -> None:
    """Whatever it does, there is no decision, in time, after one request, and the cause is told."""
    answer, code = FAULTS[fault]
    server.answer = answer
    patience = engines.DEADLINE_S if code == "OPA_SLOW" else 0.9
    engine = OpaEngine(server.place, deadline_s=patience)
    assert refused(engine) == code
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [f for f, (_, c) in FAULTS.items() if c != "OPA_SLOW"])
def test_nothing_of_a_failed_call_is_the_next_ones_answer(server: FaultServer, fault: str) -> None:
    """What a server says too late, or too much of, is never read as another question's answer."""
    server.answer, _ = FAULTS[fault]
    engine = OpaEngine(server.place, deadline_s=10 if fault != "an endless answer" else 0.9)
    with pytest.raises(PolicyUnavailable):
        engine.evaluate("admission", {})
    server.answer = GOOD
    assert json.loads(engine.evaluate("admission", {})) == DENIED


def test_an_answer_that_comes_too_late_is_nobodys(server: FaultServer) -> None:
    """The late answer to one question is not there when the next one is asked."""
    late = threading.Event()

    def answer(wire: socket.socket) -> None:
        if late.is_set():
            GOOD(wire)
        else:
            late.set()
            time.sleep(0.3)
            replies(b'{"result": {"effect": "permit"}}')(wire)

    server.answer = answer
    engine = OpaEngine(server.place, deadline_s=0.2)
    assert refused(engine) == "OPA_SLOW"
    time.sleep(0.2)
    assert json.loads(OpaEngine(server.place, deadline_s=10).evaluate("admission", {})) == DENIED
    assert json.loads(engine.evaluate("admission", {})) == DENIED


def test_a_server_that_is_not_there() -> None:
    """Nobody listens, on a port or on a socket: a no at once."""
    assert refused(OpaEngine(Place(port=free_port()), deadline_s=0.9)) == "OPA_ABSENT"
    assert refused(OpaEngine(Place(path="/nowhere/s"), deadline_s=0.9)) == "OPA_ABSENT"


def test_a_server_that_takes_no_connection() -> None:
    """A full queue of connections costs one deadline, not the kernel's minutes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            wire = socket.socket()
            wire.setblocking(False)
            wire.connect_ex(("127.0.0.1", port))
            waiting.append(wire)
        assert refused(OpaEngine(Place(port=port))) == "OPA_SLOW"
        for wire in waiting:
            wire.close()


def test_what_is_no_point_is_not_asked(server: FaultServer) -> None:
    """A name that is no decision point reaches no server, however it is spelt."""
    engine = OpaEngine(server.place)
    for point in ("curiosity", "", "admission/decision", "../system/authz", "admission.decision"):
        assert refused(engine, point) == "OPA_POINT"
    assert server.requests == []


def test_what_json_cannot_say_is_not_asked(server: FaultServer) -> None:
    """An input that is no JSON is refused here."""
    engine = OpaEngine(server.place, deadline_s=0.9)
    assert refused(engine, document={"now": object()}) == "ENGINE_FAILED"
    assert refused(engine, document={"now": float("nan")}) == "ENGINE_FAILED"
    assert server.requests == []


def test_a_closed_engine_is_unavailable(server: FaultServer) -> None:
    """After closing there is no decision, and what it held was given back once."""
    given: list[int] = []
    engine = OpaEngine(server.place, release=lambda: given.append(1))
    engine.close()
    engine.close()
    assert refused(engine) == "ENGINE_FAILED"
    assert (given, server.requests) == ([1], [])


def test_every_code_is_documented() -> None:
    """Who reads a code in the log finds the line that says what to do about it."""
    root = Path(__file__).resolve().parent.parent
    sources = [path.read_text() for path in (root / "fairlead/policy").glob("*.py")]
    codes = set(re.findall(r'"((?:OPA|ENGINE)_[A-Z_]+)"', "".join(sources)))
    page = (root / "docs/operate.md").read_text().partition("## Engines")[2].partition("\n## ")[0]
    told = set(re.findall(r"`((?:OPA|ENGINE)_[A-Z]+(?:_[A-Z]+)?)`", page))
    tools = {"OPA_FAILED", "OPA_MISSING"}  # of the officer's commands, which say it themselves
    assert codes - {"OPA_ENDED", "ENGINE_BROKEN"} - tools == told


# ── The environment ──────────────────────────────────────────────────────────────────────────


def test_no_proxy_of_the_environment_is_told(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable of the shell does not lead inputs elsewhere, nor add a password of some file."""
    (tmp_path / "netrc").write_text("machine localhost login a password b\n")
    with fault_server(GOOD) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.place.port}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        OpaEngine(server.place, deadline_s=10).evaluate("admission", {})
        assert proxy.requests == []
    assert b"authorization" not in server.requests[0].lower()


# ── The rest ─────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_hangs_is_left_alone_for_a_moment(server: FaultServer) -> None:
    """After three calls in vain the fourth costs nothing; after a second one is tried again."""
    now = [100.0]
    server.answer = lambda _: time.sleep(1)
    engine = OpaEngine(server.place, clock=lambda: now[0], deadline_s=0.4)
    assert [refused(engine) for _ in range(3)] == ["OPA_SLOW"] * 3
    assert [refused(engine) for _ in range(100)] == ["OPA_SLOW"] * 100
    assert len(server.requests) == 3
    now[0] += REST_S
    assert refused(engine) == "OPA_SLOW"
    assert len(server.requests) == 4
    assert refused(engine) == "OPA_SLOW"
    assert len(server.requests) == 4


def test_a_server_that_is_back_is_asked_again(server: FaultServer) -> None:
    """One answer ends the rest, and three more failures are needed for another."""
    now = [100.0]
    engine = OpaEngine(server.place, clock=lambda: now[0], deadline_s=0.9)
    server.answer = cut(b"")
    assert [refused(engine) for _ in range(4)] == ["OPA_LOST"] * 4
    server.answer = GOOD
    assert refused(engine) == "OPA_LOST"
    now[0] += REST_S
    assert json.loads(engine.evaluate("admission", {})) == DENIED
    server.answer = cut(b"")
    for _ in range(2):
        assert refused(engine) == "OPA_LOST"
    server.answer = GOOD
    assert json.loads(engine.evaluate("admission", {})) == DENIED


def test_an_input_that_makes_the_server_fail_does_not_deny_the_next_one(
    server: FaultServer,
) -> None:
    """Who provokes errors at once cannot have everybody else refused."""
    engine = OpaEngine(server.place, deadline_s=10)
    server.answer = FAULTS["HTTP 500"][0]
    for _ in range(5):
        with pytest.raises(PolicyUnavailable):
            engine.evaluate("admission", {})
    server.answer = GOOD
    assert json.loads(engine.evaluate("admission", {})) == DENIED


def test_a_server_that_errs_just_before_the_deadline_is_left_alone(server: FaultServer) -> None:
    """Dripping for most of the deadline and then saying 500 costs as much as hanging."""

    def late(wire: socket.socket) -> None:
        time.sleep(0.35)
        FAULTS["HTTP 500"][0](wire)

    server.answer = late
    engine = OpaEngine(server.place, deadline_s=0.6)
    assert [refused(engine) for _ in range(3)] == ["OPA_FAILS"] * 3
    assert [refused(engine) for _ in range(100)] == ["OPA_SLOW"] * 100
    assert len(server.requests) == 3


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_takes_a_question_in_drips_costs_one_deadline(
    tmp_path: Path, tls: bool
) -> None:
    """Sending ends at the deadline too, however many small parts it is made of."""
    party = Authority(tmp_path, "one")
    context = party.serving("localhost")
    done = threading.Event()

    def sip(listening: socket.socket) -> None:
        wire, _ = listening.accept()
        with context.wrap_socket(wire, server_side=True) if tls else wire as wire:
            try:
                while not done.wait(0.02):
                    wire.recv(4096)
            except OSError:
                pass

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=sip, args=(listening,))
        thread.start()
        place = Place(port=listening.getsockname()[1], ca=party.ca if tls else None)
        engine = OpaEngine(place, deadline_s=0.4)
        assert refused(engine, document={"a": "x" * 12_000_000}) == "OPA_SLOW"
        done.set()
        engine.close()
        thread.join()


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────


class Authority:
    """A private authority, and servers' contexts under it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.issuer = authority.create_ca(
            common_name=name, now=time.time(), lifetime=timedelta(days=2)
        )
        self.folder = folder
        self.ca = folder / f"{name}.pem"
        authority.save_certificate(self.ca, self.issuer.certificate)

    def serving(self, *hosts: str) -> ssl.SSLContext:
        """A context with a certificate for these hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority.issue_node(
            self.issuer, federation="fairlead.test", partner_id="customs", name="opa",
            public_key=key.public_key(), hosts=hosts, now=time.time(), lifetime=timedelta(days=1),
        )  # fmt: skip
        chain = self.folder / "chain.pem"
        chain.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


def test_tls_under_the_private_authority(tmp_path: Path) -> None:
    """A server whose certificate the configured authority signed for its name decides, on time."""
    own = Authority(tmp_path, "own")
    with fault_server(GOOD, tls=own.serving("opa.test")) as server:
        place = replace(server.place, ca=own.ca, name="opa.test")
        engine = OpaEngine(place, token="t", deadline_s=10)
        assert json.loads(engine.evaluate("admission", {})) == DENIED
        server.answer = drip_body
        assert refused(OpaEngine(place, deadline_s=0.5)) == "OPA_SLOW"


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    """A certificate of any other authority, or for another name, is nobody's; no input leaves."""
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    with fault_server(GOOD, tls=other.serving("opa.test")) as server:
        place = replace(server.place, ca=own.ca, name="opa.test")
        assert refused(OpaEngine(place, deadline_s=0.9)) == "OPA_UNTRUSTED"
        assert server.requests == []
    with fault_server(GOOD, tls=own.serving("else.test")) as server:
        place = replace(server.place, ca=own.ca, name="opa.test")
        assert refused(OpaEngine(place, deadline_s=0.9)) == "OPA_UNTRUSTED"
        assert server.requests == []


def test_a_server_without_tls_is_not_spoken_to_in_clear(tmp_path: Path) -> None:
    """With an authority configured nothing goes out unencrypted."""
    own = Authority(tmp_path, "own")
    with fault_server(GOOD) as server:
        place = replace(server.place, ca=own.ca, name="opa.test")
        assert refused(OpaEngine(place, deadline_s=0.5)) in ("OPA_UNTRUSTED", "OPA_SLOW")
        assert not any(b"input" in request for request in server.requests)
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(PolicyUnavailable) as caught:
        OpaEngine(Place(ca=tmp_path / "none.pem"))
    assert caught.value.code == "OPA_CA"
