"""Bad messages against running servers: a precise refusal on the record, and nothing else said."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing, telemetry
from fairlead.auditlog import AuditLog
from fairlead.certificates import SpiffeId
from fairlead.client import NodeClient
from fairlead.door import REASON_KEY
from fairlead.envelope.question import part_info
from fairlead.v1 import asking_pb2, audit_pb2, gateway_pb2, owner_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, Crafted, changed, craft, node_key, user_key
from tests.attacks.evil import EvilGateway, EvilNode, intents
from tests.federation import CASE, OTHER, STORY, Federation, federation, request, states

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
STALE = grpc.StatusCode.FAILED_PRECONDITION
CONFLICT = grpc.StatusCode.ALREADY_EXISTS
ABSENT = grpc.StatusCode.NOT_FOUND

SECRETS = (STORY, OTHER, "mscu6639870", "MSCU6639871", CASE, "CASE-9", "Gate 7", "Somebody")
"""Terms, case references and record content that these tests send about."""
LEAKS = (*SECRETS, "Traceback", "Error(", "google.protobuf", ".py")

Changes = Mapping[str, object] | Callable[[bytes], bytes]


def rewritten(
    made: Federation,
    crafted: Crafted,
    *,
    mandate: Changes | None = None,
    header: Changes | None = None,
    statement: Changes | None = None,
) -> Crafted:
    """Change signed messages and sign them again with the right keys, so that only they are wrong.

    What follows from a change (digests further on) is made to agree.
    """
    signed = query_pb2.SignedQuery()
    signed.CopyFrom(crafted.signed)
    signed.mandate = _apply(query_pb2.Mandate, signed.mandate, mandate)
    person = user_key(made, "customs", "u-c01")
    signed.mandate_signature = signing.sign_as_user(person, "mandate", signed.mandate)
    digests = {"mandate_digest": signing.digest(signed.mandate)}
    signed.header = _apply(query_pb2.QueryHeader, signed.header, digests)
    signed.header = _apply(query_pb2.QueryHeader, signed.header, header)
    signed.session_signature = signing.sign(crafted.session, "header", signed.header)
    digests["header_digest"] = signing.digest(signed.header)
    signed.statement = _apply(query_pb2.NodeStatement, signed.statement, digests)
    signed.statement = _apply(query_pb2.NodeStatement, signed.statement, statement)
    key = node_key(made, "customs")
    signed.statement_signature = signing.sign(key, "statement", signed.statement)
    return Crafted(
        signed=signed,
        parts=crafted.parts,
        session=crafted.session,
        reply_key=crafted.reply_key,
        query_id=crafted.query_id,
    )


def _apply(kind: type[Any], octets: bytes, changes: Changes | None) -> bytes:
    if changes is None:
        return octets
    if callable(changes):
        return changes(octets)
    return signing.canonical(changed(kind.FromString(octets), **changes))


def unknown_field(octets: bytes) -> bytes:
    """Field 99, which no message of ours has."""
    return octets + b"\x9a\x06\x01x"


def reordered(octets: bytes) -> bytes:
    """The same content in another encoding: the first field comes twice."""
    length = 2 + octets[1]
    return octets[:length] + octets


# ── What anybody may see of a refusal ────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Log:
    """Everything the servers wrote to stderr, and what refused callers were told."""

    stream: io.BytesIO
    told: list[str]

    def assert_silent(self) -> None:
        """No term, case, record or exception text stands anywhere."""
        for text in (self.stream.getvalue().decode(), *self.told):
            for leak in LEAKS:
                assert leak not in text


@pytest.fixture(scope="module", autouse=True)
def log() -> Any:
    """The operator's log at its most talkative, as a process writes it."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, level = root.handlers[:], root.level
    threshold = telemetry._settings.threshold
    stream = io.BytesIO()
    telemetry.configure("debug", stream=stream)
    found = Log(stream, [])
    yield found
    found.assert_silent()
    assert found.stream.getvalue().count(b"query-refused") > 0
    telemetry._settings.stream, telemetry._settings.threshold = None, threshold
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


async def refusal(log: Log, attempt: Awaitable[object]) -> tuple[grpc.StatusCode, list[str]]:
    """The attempt is refused: its status and reasons; its every word is kept for the search."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await attempt
    error = caught.value
    metadata = [(key, str(value)) for key, value in error.trailing_metadata() or ()]
    log.told.append(f"{error.details()} {metadata} {error.debug_error_string()}")
    return error.code(), [value for key, value in metadata if key == REASON_KEY]


def recorded(log: AuditLog) -> list[list[str]]:
    """Reasons of every REFUSAL leaf, in order."""
    rows = log.read("SELECT body FROM leaf ORDER BY idx")
    leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [list(leaf.reasons) for leaf in leaves if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL]


# ── The gateway ──────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """A whole federation, running, with an open case."""
    async with federation(tmp_path_factory.mktemp("bad-messages")) as running:
        await running.open_case()
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(made: Federation) -> AsyncIterator[EvilNode]:
    """Customs' node administrator, connected to the gateway."""
    async with EvilNode(made) as evil:
        yield evil


def _again(**changes: Changes) -> Callable[[Federation], gateway_pb2.QueryRequest]:
    return lambda made: rewritten(made, craft(made), **changes).request()


def _signed(**changes: object) -> Callable[[Federation], gateway_pb2.QueryRequest]:
    """Replace parts of the signed front without signing again."""

    def of(made: Federation) -> gateway_pb2.QueryRequest:
        crafted = craft(made)
        return crafted.request(query=changed(crafted.signed, **changes))

    return of


def _at(seconds: float) -> Callable[[Federation], gateway_pb2.QueryRequest]:
    return lambda made: craft(made, now=time.time() + seconds).request()


def _since(seconds: int) -> int:
    return int(time.time()) + seconds


def _parts(
    change: Callable[[Crafted], Sequence[tuple[str, bytes]]],
) -> Callable[[Federation], gateway_pb2.QueryRequest]:
    def of(made: Federation) -> gateway_pb2.QueryRequest:
        crafted = craft(made)
        parts = [query_pb2.AddressedPart(partner_id=p, part=b) for p, b in change(crafted)]
        return crafted.request(parts=parts)

    return of


def _by(person: tuple[str, str]) -> Callable[[Federation], gateway_pb2.QueryRequest]:
    return lambda made: craft(made, person=user_key(made, *person)).request()


QUERIES: dict[
    str, tuple[Callable[[Federation], gateway_pb2.QueryRequest], grpc.StatusCode, str]
] = {
    # malformed, oversized, not canonical
    "empty": (lambda _made: gateway_pb2.QueryRequest(), DENIED, "FEDERATION"),
    "mandate is noise": (_signed(mandate=b"\xff" * 64), INVALID, "MALFORMED"),
    "header is noise": (_signed(header=b"\xff" * 64), INVALID, "MALFORMED"),
    "statement is noise": (_signed(statement=b"\xff" * 64), INVALID, "MALFORMED"),
    "mandate nests too deep": (_signed(mandate=b"\x0b" * 5_000), INVALID, "MALFORMED"),
    "mandate of 65 KiB": (_again(mandate={"purpose": "x" * 66_000}), INVALID, "TOO_LARGE"),
    "header of 65 KiB": (_again(header={"reply_key": bytes(66_000)}), INVALID, "TOO_LARGE"),
    "certificate is noise": (_signed(user_certificate=b"\x30" * 64), DENIED, "USER_CERTIFICATE"),
    "unknown field in the mandate": (_again(mandate=unknown_field), INVALID, "NOT_CANONICAL"),
    "unknown field in the header": (_again(header=unknown_field), INVALID, "NOT_CANONICAL"),
    "unknown field in the statement": (_again(statement=unknown_field), INVALID, "NOT_CANONICAL"),
    "mandate not canonical": (_again(mandate=reordered), INVALID, "NOT_CANONICAL"),
    "header not canonical": (_again(header=reordered), INVALID, "NOT_CANONICAL"),
    "statement not canonical": (_again(statement=reordered), INVALID, "NOT_CANONICAL"),
    # outside its time
    "mandate expired": (
        _again(mandate={"issued_at": _since(-7_200), "expires_at": _since(-3_600)}),
        STALE,
        "MANDATE_EXPIRED",
    ),
    "mandate from the future": (
        _again(mandate={"issued_at": _since(3_600), "expires_at": _since(7_200)}),
        STALE,
        "MANDATE_EXPIRED",
    ),
    "mandate for two days": (
        _again(mandate={"expires_at": _since(2 * 86_400)}),
        INVALID,
        "MANDATE_LIFETIME",
    ),
    "query of five minutes ago": (_at(-300), STALE, "QUERY_WINDOW"),
    "header of tomorrow": (_again(header={"issued_at": _since(86_400)}), STALE, "QUERY_WINDOW"),
    "header at the end of time": (_again(header={"issued_at": 2**63 - 1}), STALE, "QUERY_WINDOW"),
    "statement of yesterday": (
        _again(statement={"issued_at": _since(-86_400)}),
        STALE,
        "QUERY_WINDOW",
    ),
    "another directory": (_again(header={"directory_serial": 99}), STALE, "DIRECTORY_MISMATCH"),
    # wrongly signed
    "mandate signed by a colleague": (_by(("customs", "u-c02")), DENIED, "SIGNATURE"),
    "mandate's signature is noise": (_signed(mandate_signature=b"\x00" * 70), DENIED, "SIGNATURE"),
    "header signed by another session": (
        lambda made: craft(made, header_session=Ed25519PrivateKey.generate()).request(),
        DENIED,
        "SIGNATURE",
    ),
    "header's signature is missing": (_signed(session_signature=b""), DENIED, "SIGNATURE"),
    "statement signed by another node": (
        lambda made: craft(made, signs=node_key(made, OWNER)).request(),
        DENIED,
        "SIGNATURE",
    ),
    # for somebody else
    "another federation": (_again(mandate={"federation": "other.demo"}), DENIED, "FEDERATION"),
    "a partner nobody knows": (_again(mandate={"partner_id": "nobody"}), ABSENT, "UNKNOWN_PARTNER"),
    "another partner's user": (_again(mandate={"partner_id": OWNER}), DENIED, "USER"),
    "a part for a stranger": (
        _parts(lambda c: [("nobody", c.parts[OWNER])]),
        DENIED,
        "PART_ADDRESS",
    ),
    "a part for the asker": (
        _parts(lambda c: [("customs", c.parts[OWNER])]),
        DENIED,
        "PART_ADDRESS",
    ),
    "parts exchanged": (
        _parts(lambda c: [(OWNER, c.parts[OTHER_OWNER]), (OTHER_OWNER, c.parts[OWNER])]),
        DENIED,
        "PART_DIGEST",
    ),
    "a part twice": (_parts(lambda c: [(OWNER, c.parts[OWNER])] * 2), DENIED, "PART_ADDRESS"),
    "no part": (_parts(lambda _c: []), DENIED, "PART_ADDRESS"),
    "ten thousand parts": (_parts(lambda _c: [("x", b"")] * 10_000), DENIED, "PART_ADDRESS"),
    # wrong content
    "header of another mandate": (
        _again(header={"mandate_digest": bytes(32)}),
        DENIED,
        "MANDATE_DIGEST",
    ),
    "mandate without a mode": (_again(mandate={"mode": 0}), INVALID, "MODE"),
    "mandate of an unknown mode": (_again(mandate={"mode": 77}), INVALID, "MODE"),
    "purpose with a term in it": (_again(mandate={"purpose": STORY}), INVALID, "CODE"),
    "no scheme": (_again(mandate={"schemes": []}), INVALID, "SCHEMES"),
    "no term": (_again(mandate={"term_count": 0}), INVALID, "TERM_COUNT"),
    "too many terms": (_again(mandate={"term_count": 513}), INVALID, "TERM_COUNT"),
    "other terms in the header": (_again(header={"term_count": 2}), INVALID, "TERM_COUNT"),
    "an id that is none": (_again(header={"query_id": b"x"}), INVALID, "ID"),
    "too few digests": (_again(header={"part_digests": [bytes(32)]}), INVALID, "DIGESTS"),
    "a reply key too short": (_again(header={"reply_key": bytes(32)}), INVALID, "SEALING_KEY"),
    "a reply key that is none": (
        _again(header={"reply_key": b"\xff" * 1216}),
        INVALID,
        "SEALING_KEY",
    ),
    "a closed case": (_again(statement={"case_open": False}), DENIED, "CASE"),
    "no guard": (_again(statement={"guard_passed": False}), DENIED, "GUARD"),
    "a user not assigned": (_again(statement={"user_assigned": False}), DENIED, "CASE"),
    "statement about another case": (
        _again(statement={"case_commitment": bytes(32)}),
        DENIED,
        "STATEMENT",
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_the_gateway_refuses_a_bad_query(
    made: Federation, node: EvilNode, log: Log, name: str
) -> None:
    """A precise status and code, a REFUSAL leaf, no owner asked, and the next query works."""
    make, status, reason = QUERIES[name]
    assert made.gateway is not None
    audit, asked = made.gateway.log, intents(made.nodes[OWNER].log)
    before, opened = len(recorded(audit)), intents(audit)
    call = node.gateway.Query(make(made), timeout=20)
    assert await refusal(log, call.read()) == (status, [reason])
    assert recorded(audit)[before:] == [[reason]]
    assert (intents(audit), intents(made.nodes[OWNER].log)) == (opened, asked)
    assert len(await node.ask(craft(made))) == 4


async def test_a_reply_key_that_nobody_can_seal_to_stops_at_the_gateway(
    made: Federation, node: EvilNode
) -> None:
    """A key whose X25519 half has small order is refused before any owner writes an INTENT."""
    asked = intents(made.nodes[OWNER].log)
    make = _again(header={"reply_key": bytes(1216)})
    with contextlib.suppress(grpc.aio.AioRpcError):
        _ = [event async for event in node.gateway.Query(make(made), timeout=20)]
    assert intents(made.nodes[OWNER].log) == asked


RAW: dict[str, tuple[bytes, str]] = {
    "noise": (b"\xff\xff\xff", "MALFORMED"),
    "cut off": (b"\x0a\x7f", "MALFORMED"),
    "nested too deep": (b"\x0b" * 5_000, "MALFORMED"),
    "an unknown field": (b"\x9a\x06\x01x", "UNKNOWN_FIELDS"),
    "an unknown field inside": (b"\x0a\x04\x9a\x06\x01x", "UNKNOWN_FIELDS"),
}
METHODS = {
    "/fairlead.v1.GatewayService/Query": "gateway",
    "/fairlead.v1.OwnerService/Answer": "owner",
    "/fairlead.v1.FiguresService/SumValues": "owner",
    "/fairlead.v1.AskingService/Prepare": "user",
    "/fairlead.v1.AskingService/Ask": "user",
}


def _dial(made: Federation, method: str) -> tuple[grpc.aio.Channel, AuditLog]:
    """A connection by somebody who may call the method, and the log of who is called."""
    directory, layout = made.directory, made.layout
    caller = {
        "gateway": (layout.node("customs"), "tls", directory.gateway),
        "owner": (layout.gateway("gw-1"), "tls", directory.partner(OWNER).nodes[0]),
        "user": (layout.user("customs", "u-c01"), "user", directory.partner("customs").nodes[0]),
    }
    folder, stem, server = caller[METHODS[method]]
    material = tls.KeyMaterial.load(
        folder / f"{stem}.pem", folder / f"{stem}.key", [directory.federation_ca]
    )
    assert made.gateway is not None
    audits = {
        "gateway": made.gateway.log,
        "owner": made.nodes[OWNER].log,
        "user": made.nodes["customs"].log,
    }
    channel = tls.open_channel(
        server.endpoint, server=SpiffeId.parse(server.spiffe_id), material=material
    )
    return channel, audits[METHODS[method]]


@pytest.mark.parametrize(
    ("method", "name"),
    # AskRequest holds no message inside.
    [(m, n) for m in METHODS for n in RAW if not (m.endswith("/Ask") and n.endswith("inside"))],
)
async def test_octets_that_are_no_request_are_refused(
    made: Federation, log: Log, method: str, name: str
) -> None:
    """What cannot be decoded, or says more than the contract knows, is refused on the record."""
    octets, reason = RAW[name]
    channel, audit = _dial(made, method)
    before = len(recorded(audit))
    async with channel:
        attempt = channel.unary_stream(method)(octets, timeout=20).read()
        assert await refusal(log, attempt) == (INVALID, [reason])
    assert recorded(audit)[before:] == [[reason]]


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_of_five_mebibytes_is_not_read(
    made: Federation, log: Log, method: str
) -> None:
    """The transport's own limit ends it before anything of ours sees it; the server stays up."""
    channel, _ = _dial(made, method)
    async with channel:
        attempt = channel.unary_stream(method)(bytes(5 << 20), timeout=20).read()
        status, _ = await refusal(log, attempt)
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert states(await made.ask())[OWNER].answers[0].hit


async def test_a_repetition_is_shown_what_is_stored(made: Federation, node: EvilNode) -> None:
    """The same octets again: the same events, no owner asked, no leaf."""
    assert made.gateway is not None
    crafted = craft(made)
    first = await node.ask(crafted)
    asked, size = intents(made.nodes[OWNER].log), made.gateway.log.head.size
    assert await node.ask(crafted) == first
    assert (intents(made.nodes[OWNER].log), made.gateway.log.head.size) == (asked, size)


async def test_a_used_id_is_not_used_for_another_query(
    made: Federation, node: EvilNode, log: Log
) -> None:
    """The same session and id over another header is refused and on the record."""
    assert made.gateway is not None
    crafted = craft(made)
    await node.ask(crafted)
    other = rewritten(made, crafted, header={"issued_at": _since(-5)})
    attempt = node.gateway.Query(other.request(), timeout=20).read()
    assert await refusal(log, attempt) == (CONFLICT, ["QUERY_ID_REUSED"])
    assert recorded(made.gateway.log)[-1] == ["QUERY_ID_REUSED"]


async def test_a_query_is_brought_by_its_own_partner(made: Federation, log: Log) -> None:
    """Another partner's node that brings customs' query is refused."""
    async with EvilNode(made, OTHER_OWNER) as other:
        attempt = other.gateway.Query(craft(made).request(), timeout=20).read()
        assert await refusal(log, attempt) == (DENIED, ["WRONG_PEER"])
    assert made.gateway is not None
    assert recorded(made.gateway.log)[-1] == ["WRONG_PEER"]


# ── An owner ─────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """One owner, whose gateway is in other hands."""
    async with federation(tmp_path_factory.mktemp("bad-answers"), start=False) as running:
        await running.start_node(OWNER)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(alone: Federation) -> AsyncIterator[EvilGateway]:
    """The gateway's operator."""
    async with EvilGateway(alone) as evil:
        yield evil


Forgery = Callable[[Federation, EvilGateway], Awaitable[owner_pb2.AnswerRequest]]


def _request(crafting: Callable[[Federation], Crafted] = craft, **settings: Any) -> Forgery:
    async def of(made: Federation, gateway: EvilGateway) -> owner_pb2.AnswerRequest:
        known = gateway.history().head.size
        return await gateway.request(crafting(made), known=known, **settings)

    return of


def _altered(**changes: object) -> Forgery:
    """An honest request with some octets replaced afterwards."""

    async def of(made: Federation, gateway: EvilGateway) -> owner_pb2.AnswerRequest:
        return changed(await _request()(made, gateway), **changes)  # type: ignore[no-any-return]

    return of


def _granted(*, grant: Changes | None = None, statement: Changes | None = None) -> Forgery:
    """Grant and statement changed and signed again by the gateway's own key."""

    async def of(made: Federation, gateway: EvilGateway) -> owner_pb2.AnswerRequest:
        message = await _request()(made, gateway)
        message.grant = _apply(query_pb2.OwnerGrant, message.grant, grant)
        content = query_pb2.GrantStatement.FromString(message.grant_statement)
        content.grant_digests[list(made.directory.partners).index(OWNER)] = signing.digest(
            message.grant
        )
        message.grant_statement = signing.canonical(content)
        message.grant_statement = _apply(
            query_pb2.GrantStatement, message.grant_statement, statement
        )
        message.grant_signature = signing.sign(gateway.key, "grant", message.grant_statement)
        return message

    return of


def _receipt(**changes: object) -> Forgery:
    async def of(made: Federation, gateway: EvilGateway) -> owner_pb2.AnswerRequest:
        message = await _request()(made, gateway)
        return changed(  # type: ignore[no-any-return]
            message, receipt=changed(message.receipt, **changes)
        )

    return of


def _unopened(crafting: Callable[[Federation], Crafted]) -> Forgery:
    """For queries that do not verify at all: the grant is never looked at."""

    async def of(made: Federation, _gateway: EvilGateway) -> owner_pb2.AnswerRequest:
        crafted = crafting(made)
        return owner_pb2.AnswerRequest(query=crafted.signed, part=crafted.parts[OWNER])

    return of


def _terms(*terms: tuple[str, str]) -> Forgery:
    """A query whose user really signed for these terms."""
    return _request(lambda made: craft(made, terms=terms, asked=(OWNER,)))


def _part(octets: bytes) -> Forgery:
    return _request(lambda made: craft(made, parts={OWNER: octets}))


def _sealed(content: bytes) -> Forgery:
    """A part rightly sealed to the owner, of other content than a question."""

    def crafting(made: Federation) -> Crafted:
        query = craft(made)
        info = part_info(query.query_id, OWNER)
        key = made.directory.partner(OWNER).sealing_key
        wrapped, ciphertext = sealing.wrap(content, key, info=info)
        part = query_pb2.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext)
        return craft(made, query_id=query.query_id, parts={OWNER: signing.canonical(part)})

    return _request(crafting)


NOISE = b"\xff" * 64
ANSWERS: dict[str, tuple[Forgery, grpc.StatusCode, str]] = {
    "empty": (_altered(query=query_pb2.SignedQuery()), DENIED, "FEDERATION"),
    "query of five minutes ago": (
        _unopened(lambda made: craft(made, now=time.time() - 300)),
        STALE,
        "QUERY_WINDOW",
    ),
    "query from the future": (
        _unopened(lambda made: craft(made, now=time.time() + 3_600)),
        STALE,
        "MANDATE_EXPIRED",
    ),
    "mandate signed by a colleague": (
        _unopened(lambda made: craft(made, person=user_key(made, "customs", "u-c02"))),
        DENIED,
        "SIGNATURE",
    ),
    "grant is noise": (_granted(grant=lambda _octets: NOISE), INVALID, "MALFORMED"),
    "grant of another digest": (_altered(grant=b""), DENIED, "GRANT_DIGEST"),
    "unknown field in the grant": (_granted(grant=unknown_field), INVALID, "NOT_CANONICAL"),
    "grant not canonical": (_granted(grant=reordered), INVALID, "NOT_CANONICAL"),
    "grant for another owner": (_request(grant_for=OTHER_OWNER), DENIED, "GRANT_BINDING"),
    "grant of another query": (_granted(grant={"query_id": bytes(16)}), DENIED, "GRANT_BINDING"),
    "grant of another mode": (_granted(grant={"mode": 2}), DENIED, "GRANT_BINDING"),
    "grant expired": (_granted(grant={"expires_at": _since(-1_000)}), STALE, "GRANT_EXPIRED"),
    "statement is noise": (_granted(statement=lambda _octets: NOISE), INVALID, "MALFORMED"),
    "statement not canonical": (_granted(statement=reordered), INVALID, "NOT_CANONICAL"),
    "statement of another query": (
        _granted(statement={"query_id": bytes(16)}),
        DENIED,
        "GRANT_BINDING",
    ),
    "statement of another gateway": (
        _granted(statement={"gateway": "spiffe://fairlead.demo/gateway/gw-2"}),
        DENIED,
        "GRANT_BINDING",
    ),
    "statement without digests": (
        _granted(statement={"grant_digests": []}),
        DENIED,
        "GRANT_DIGEST",
    ),
    "statement signed by nobody": (_altered(grant_signature=bytes(64)), DENIED, "SIGNATURE"),
    "receipt of another leaf": (_receipt(leaf=b"x"), DENIED, "RECEIPT_BINDING"),
    "receipt without a proof": (_receipt(tlog_proof=""), INVALID, "TLOG_PROOF"),
    "receipt of noise": (_receipt(tlog_proof="\x00" * 64), INVALID, "NOTE_TEXT"),
    "receipt of 40 KiB": (_receipt(tlog_proof="x" * 40_000), INVALID, "NOTE_TEXT"),
    "receipt with endless hashes": (
        _receipt(consistency=[bytes(32)] * 65),
        INVALID,
        "RECEIPT_LIMIT",
    ),
    "another owner's part": (
        _request(part=b"x"),
        DENIED,
        "PART_DIGEST",
    ),
    "part is noise": (_part(NOISE), INVALID, "MALFORMED"),
    "part is empty": (_part(b""), DENIED, "UNSEALABLE"),
    "part with an unknown field": (_part(b"\x9a\x06\x01x"), INVALID, "NOT_CANONICAL"),
    "question of another size": (_sealed(bytes(10)), DENIED, "PADDING"),
    "question is noise": (
        _sealed(sealing.pad(NOISE, sealing.question_size(1))),
        INVALID,
        "MALFORMED",
    ),
    "question of nobody": (
        _sealed(bytes(sealing.question_size(1))),
        DENIED,
        "PART_BINDING",
    ),
    "term in lower case": (_terms(("container", "mscu6639870")), INVALID, "NOT_CANONICAL"),
    "term with a wrong digit": (_terms(("container", "MSCU6639871")), INVALID, "CHECK_DIGIT"),
    "term of no known scheme": (_terms(("crystal-ball", STORY)), INVALID, "SCHEME"),
    "term of 200 characters": (_terms(("container", "A" * 200)), INVALID, "TOO_LONG"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_owner_refuses_a_bad_request(
    alone: Federation, gateway: EvilGateway, log: Log, name: str
) -> None:
    """A precise status and code, a REFUSAL leaf, nothing released, and the next query works."""
    make, status, reason = ANSWERS[name]
    audit = alone.nodes[OWNER].log
    await gateway.ask(craft(alone))
    before, opened = len(recorded(audit)), intents(audit)
    message = await make(alone, gateway)
    assert await refusal(log, gateway.send(message)) == (status, [reason])
    assert (recorded(audit)[before:], intents(audit)) == ([[reason]], opened)
    response = await gateway.ask(craft(alone))
    assert response.answer.body


async def test_an_owner_answers_a_repetition_once(alone: Federation, gateway: EvilGateway) -> None:
    """The same request again gets the same octets, and no second INTENT."""
    await gateway.ask(craft(alone))
    message = await _request()(alone, gateway)
    first = await gateway.send(message)
    opened = intents(alone.nodes[OWNER].log)
    assert await gateway.send(message) == first
    assert intents(alone.nodes[OWNER].log) == opened


async def test_only_a_gateway_brings_queries_to_an_owner(made: Federation, log: Log) -> None:
    """A node that calls an owner itself is refused at the door, on the record."""
    owner = made.directory.partner(OWNER).nodes[0]
    async with EvilNode(made) as evil:
        channel = evil.dial(owner.endpoint, owner.spiffe_id)
        attempt = channel.unary_stream("/fairlead.v1.OwnerService/Answer")(b"", timeout=20).read()
        assert await refusal(log, attempt) == (DENIED, ["KIND_NOT_ALLOWED"])
    assert recorded(made.nodes[OWNER].log)[-1] == ["KIND_NOT_ALLOWED"]


# ── The asker's own node ─────────────────────────────────────────────────────────────────────


def _term(value: str, scheme: str = "container") -> asking_pb2.Term:
    return asking_pb2.Term(scheme=scheme, value=value)


DRAFTS: dict[str, tuple[dict[str, object], grpc.StatusCode, str]] = {
    "no term": ({"terms": []}, INVALID, "TERM_COUNT"),
    "65,537 terms": ({"terms": [_term(STORY)] * 65_537}, INVALID, "TERM_COUNT"),
    "a term twice": ({"terms": [_term(STORY)] * 2}, INVALID, "TERM_TWICE"),
    "a wrong check digit": ({"terms": [_term("MSCU6639871")]}, INVALID, "CHECK_DIGIT"),
    "an unknown scheme": ({"terms": [_term(STORY, "crystal-ball")]}, INVALID, "SCHEME"),
    "an endless term": ({"terms": [_term("A" * 100_000)]}, INVALID, "TOO_LONG"),
    "a purpose with a term": ({"purpose": STORY}, INVALID, "CODE"),
    "an endless purpose": ({"purpose": "x" * 100_000}, INVALID, "CODE"),
    "another purpose than the case's": ({"purpose": "migration"}, DENIED, "CASE_MISMATCH"),
    "an event with a term": ({"events": [STORY]}, INVALID, "EVENT_UNKNOWN"),
    "an empty time range": ({"since": 20, "until": 10}, INVALID, "TIME_RANGE"),
    "a time before time": ({"since": -1}, INVALID, "TIME_RANGE"),
    "a partner nobody knows": ({"partners": ["nobody"]}, ABSENT, "UNKNOWN_PARTNER"),
    "oneself": ({"partners": ["customs"]}, ABSENT, "ASKS_ITSELF"),
    "no case": ({"case_id": "CASE-9"}, DENIED, "CASE_NOT_ASSIGNED"),
    "blind": ({"mode": query_pb2.MODE_BLIND}, DENIED, "NO_SNAPSHOT"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def analyst(made: Federation) -> AsyncIterator[NodeClient]:
    """Customs' analyst, connected to the own node."""
    async with made.client() as client:
        yield client


@pytest.mark.parametrize("name", DRAFTS)
async def test_a_node_refuses_a_bad_draft(
    made: Federation, analyst: NodeClient, log: Log, name: str
) -> None:
    """A precise status and code, a REFUSAL leaf without the term, and nothing leaves home."""
    changes, status, reason = DRAFTS[name]
    assert made.gateway is not None
    audit, size = made.nodes["customs"].log, made.gateway.log.head.size
    before = len(recorded(audit))
    attempt = analyst.stub.Prepare(iter([request(**changes)]), timeout=20)
    found, reasons = await refusal(log, attempt)
    assert (found, reasons[:1]) == (status, [reason])
    assert recorded(audit)[before:] == [reasons]
    assert made.gateway.log.head.size == size
    assert await analyst.prepare(request())


async def test_a_node_drafts_no_mode_that_nobody_knows(analyst: NodeClient, log: Log) -> None:
    """An unknown mode is refused, not taken for sealed; none at all leaves it to policy."""
    attempt = analyst.stub.Prepare(iter([request(mode=77)]), timeout=20)
    assert await refusal(log, attempt) == (INVALID, ["MODE"])


Asked = Callable[[Federation, asking_pb2.AskRequest], asking_pb2.AskRequest]
ASKS: dict[str, tuple[Asked, grpc.StatusCode, str]] = {
    "empty": (lambda _made, _ask: asking_pb2.AskRequest(), STALE, "PREPARATION_EXPIRED"),
    "an unknown draft": (
        lambda _made, ask: changed(ask, preparation_id=bytes(16)),
        STALE,
        "PREPARATION_EXPIRED",
    ),
    "another mandate": (lambda _made, ask: changed(ask, mandate=b"x"), DENIED, "MANDATE"),
    "no signature": (lambda _made, ask: changed(ask, signature=b""), DENIED, "SIGNATURE"),
    "a colleague's signature": (
        lambda made, ask: changed(
            ask,
            signature=signing.sign_as_user(
                user_key(made, "customs", "u-c03"), "mandate", ask.mandate
            ),
        ),
        DENIED,
        "SIGNATURE",
    ),
    "a signature in another domain": (
        lambda made, ask: changed(
            ask,
            signature=signing.sign_as_user(
                user_key(made, "customs", "u-c01"), "header", ask.mandate
            ),
        ),
        DENIED,
        "SIGNATURE",
    ),
}


@pytest.mark.parametrize("name", ASKS)
async def test_a_node_sends_nothing_without_its_users_signature(
    made: Federation, analyst: NodeClient, log: Log, name: str
) -> None:
    """A draft that its user did not sign as drafted is refused at home, on the record."""
    change, status, reason = ASKS[name]
    assert made.gateway is not None
    audit, size = made.nodes["customs"].log, made.gateway.log.head.size
    before = len(recorded(audit))
    message = change(made, await _ask_request(made, analyst))
    assert await refusal(log, analyst.stub.Ask(message, timeout=20).read()) == (status, [reason])
    assert recorded(audit)[before:] == [[reason]]
    assert made.gateway.log.head.size == size
    assert states(await made.ask(client=analyst))[OWNER].answers[0].hit


async def test_a_draft_is_sent_once(made: Federation, analyst: NodeClient, log: Log) -> None:
    """The same signed draft again is refused: one signature, one query."""
    message = await _ask_request(made, analyst)
    assert [event async for event in analyst.stub.Ask(message, timeout=20)]
    attempt = analyst.stub.Ask(message, timeout=20).read()
    assert await refusal(log, attempt) == (STALE, ["PREPARATION_EXPIRED"])


async def _ask_request(made: Federation, analyst: NodeClient) -> asking_pb2.AskRequest:
    draft = await analyst.prepare(request())
    mandate = draft.response.mandate
    return asking_pb2.AskRequest(
        preparation_id=draft.response.preparation_id,
        mandate=mandate,
        signature=signing.sign_as_user(user_key(made, "customs", "u-c01"), "mandate", mandate),
    )


async def test_no_refusal_left_a_word_in_the_gateways_files(made: Federation, log: Log) -> None:
    """After all that, no term, case or record stands in the gateway's files or in any log line."""
    folder: Path = made.gateway_config.state_dir
    files = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert any(b"customs" in octets for octets in files)
    for secret in SECRETS:
        assert not any(secret.encode() in octets for octets in files)
    log.assert_silent()
