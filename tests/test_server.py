"""The server's door over real mTLS: who gets in, who is put out, and what is never said."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from certs.dev import federation as specs
from certs.dev.lists import deny
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead import authority, door, signing, tls
from fairlead.authority import Issuer
from fairlead.certificates import IdentityCheck, IdentityKind, Role
from fairlead.errors import FairleadError, Forged, LogUnavailable, Misconfigured, Refused
from fairlead.server import (
    CORRELATION_KEY,
    GATEWAYS,
    NODES,
    REASON_KEY,
    REMEDY_KEY,
    STANDARD_ROWS,
    InternalFailure,
    Refusal,
    Row,
    Server,
    Service,
    assert_every_rpc_has_row,
    create_server,
    current_identity,
    users,
)
from fairlead.tls import KeyMaterial, TransportLimits

ROOT = Path(__file__).parent.parent
SECRET = "MSCU6639870 Jan Jansen"
NAME = "fairlead.test.v1.Shapes"
SHAPES = ("One", "Down", "Up", "Both")


def _descriptor() -> Any:
    """A service with all four shapes of RPC over ``google.protobuf.StringValue``."""
    file = descriptor_pb2.FileDescriptorProto(
        name="fairlead/test/v1/shapes.proto",
        package="fairlead.test.v1",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="Shapes")
    for name in SHAPES:
        service.method.add(
            name=name,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=name in {"Up", "Both"},
            server_streaming=name in {"Down", "Both"},
        )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(NAME)


DESCRIPTOR = _descriptor()


@dataclass
class Shapes:
    """The service under test: does what the request's text says."""

    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    ended: list[str] = field(default_factory=list)

    async def act(self, text: str) -> StringValue:
        match text:
            case "who":
                identity = current_identity()
                return StringValue(value=f"{identity.spiffe_id} {','.join(identity.roles)}")
            case "raise":
                raise RuntimeError(SECRET)
            case "raise-group":
                raise ExceptionGroup(SECRET, [ValueError(SECRET)])
            case "raise-cancelled":
                raise asyncio.CancelledError(SECRET)
            case "return-nonsense":
                return SECRET  # type: ignore[return-value]
            case "refuse":
                raise Refused(
                    "policy says no", reasons=("FIRST", "SECOND"), remedy="fairlead cases ≥ list\n"
                )
            case "wait":
                self.waiting.set()
                try:
                    await self.released.wait()
                finally:
                    self.ended.append("wait")
            case "stubborn":
                self.waiting.set()
                while not self.released.is_set():
                    try:
                        await self.released.wait()
                    except asyncio.CancelledError:
                        self.ended.append("swallowed")
        return StringValue(value=text)

    async def one(self, request: StringValue, _context: object) -> StringValue:
        return await self.act(request.value)

    async def down(self, request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        yield await self.act(request.value)

    async def up(self, requests: AsyncIterator[StringValue], _context: object) -> StringValue:
        last = StringValue()
        async for request in requests:
            last = await self.act(request.value)
        return last

    async def both(
        self, requests: AsyncIterator[StringValue], _context: object
    ) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield await self.act(request.value)

    def service(self) -> Service:
        io = (StringValue.FromString, StringValue.SerializeToString)
        handlers = {
            "One": grpc.unary_unary_rpc_method_handler(self.one, *io),
            "Down": grpc.unary_stream_rpc_method_handler(self.down, *io),
            "Up": grpc.stream_unary_rpc_method_handler(self.up, *io),
            "Both": grpc.stream_stream_rpc_method_handler(self.both, *io),
        }
        generic = grpc.method_handlers_generic_handler(NAME, handlers)
        return Service(
            descriptor=DESCRIPTOR,
            register=lambda server: server.add_generic_rpc_handlers((generic,)),
        )


ROWS = {
    f"/{NAME}/{shape}": Row(
        kinds=frozenset({IdentityKind.NODE, IdentityKind.USER}), roles=frozenset({Role.ANALYST})
    )
    for shape in SHAPES
}


@dataclass
class Clock:
    """The real clock, moved by hand."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Running:
    """A started server and everything a test may look at."""

    world: Opened
    server: Server
    shapes: Shapes
    clock: Clock
    refusals: list[Refusal]
    failures: list[InternalFailure]

    def channel(self, material: KeyMaterial | None = None) -> grpc.aio.Channel:
        return tls.open_channel(
            f"127.0.0.1:{self.server.port}",
            server=self.world.node_id("customs"),
            material=material or self.world.user_material("customs", "u-c01"),
        )

    def deny(self, *spiffe_ids: str) -> None:
        now = time.time()
        data = deny(self.world.layout, spiffe_ids, serial=2, now=now)
        world = self.world
        world.deny_lists.update(data, directory=world.directory, operators=world.operators, now=now)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two partners and a gateway, valid now."""
    now = time.time()
    layout = make(
        tmp_path_factory.mktemp("certs") / "out", partners=specs.demo_partners()[:2], now=now
    )
    return open_federation(layout, now=now)


@pytest.fixture
def world(made: Opened) -> Opened:
    """The same keys with deny lists of their own."""
    return open_federation(made.layout, now=time.time())


@pytest.fixture(autouse=True)
def _restore_lists(made: Opened) -> Iterator[None]:
    before = made.layout.deny_lists.read_bytes()
    yield
    made.layout.deny_lists.write_bytes(before)


LATE_S = 0.05


@asynccontextmanager
async def running(
    world: Opened,
    *,
    limits: TransportLimits | None = None,
    roots: list[x509.Certificate] | None = None,
    on_refusal: Callable[[Refusal], Awaitable[None]] | None = None,
) -> AsyncIterator[Running]:
    """Customs' node, serving :class:`Shapes` on a free port."""
    refusals: list[Refusal] = []
    failures: list[InternalFailure] = []

    async def record(refusal: Refusal) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "the log writes in a task that is not being cancelled"
        refusals.append(refusal)

    def material() -> KeyMaterial:
        if roots is None:
            return world.node_material("customs")
        folder = world.layout.node("customs")
        return KeyMaterial.load(folder / "tls.pem", folder / "tls.key", roots)

    clock, shapes = Clock(), Shapes()
    check = IdentityCheck(
        directory=lambda: world.directory, deny_lists=world.deny_lists, clock=clock
    )
    server = create_server(
        [shapes.service()],
        listen="127.0.0.1:0",
        credentials=tls.server_credentials(material),
        authorisation=ROWS,
        identity_check=check.check,
        limits=limits or TransportLimits(),
        on_refusal=on_refusal or record,
        on_internal=failures.append,
        recheck_s=0.01,
    )
    await server.start()
    try:
        yield Running(world, server, shapes, clock, refusals, failures)
    finally:
        shapes.released.set()
        await server.stop(0)
        # gRPC tells of a cancelled stream's end after the server has stopped. A loop that is gone
        # by then is an error line in the log of whichever test comes next.
        await asyncio.sleep(LATE_S)


async def stream(*texts: str) -> AsyncIterator[StringValue]:
    for text in texts:
        yield StringValue(value=text)


async def call(channel: grpc.aio.Channel, shape: str, text: str) -> list[str]:
    """Call one RPC of any shape; the texts that came back."""
    path = f"/{NAME}/{shape}"
    io = (StringValue.SerializeToString, StringValue.FromString)
    message = StringValue(value=text)
    if shape == "One":
        return [(await channel.unary_unary(path, *io)(message, timeout=20)).value]
    if shape == "Up":
        return [(await channel.stream_unary(path, *io)(stream(text), timeout=20)).value]
    if shape == "Down":
        return [m.value async for m in channel.unary_stream(path, *io)(message, timeout=20)]
    return [m.value async for m in channel.stream_stream(path, *io)(stream(text), timeout=20)]


async def raw(channel: grpc.aio.Channel, path: str, octets: bytes) -> bytes:
    sends: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await sends(octets, timeout=20)


async def fails(awaitable: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


def reasons(error: grpc.aio.AioRpcError) -> list[str]:
    return [str(value) for key, value in error.trailing_metadata() or () if key == REASON_KEY]


def mint_user(
    issuer: Issuer, folder: Path, *, partner: str = "customs", seconds: float = 3600
) -> KeyMaterial:
    """A user's key and certificate under any issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = time.time()
    certificate = authority.issue_user(
        issuer,
        federation="fairlead.demo",
        partner_id=partner,
        pseudonym="u-c01",
        roles=[Role.ANALYST],
        public_key=key.public_key(),
        now=now - 3600 if seconds <= 0 else now,
        lifetime=timedelta(seconds=1800 if seconds <= 0 else seconds + 60),
    )
    folder.mkdir(exist_ok=True)
    authority.save_certificate(folder / "user.pem", certificate)
    signing.save_key(folder / "user.key", key)
    return KeyMaterial(
        chain=(folder / "user.pem").read_bytes(),
        key=(folder / "user.key").read_bytes(),
        roots=b"",
    )


def trusting(material: KeyMaterial, world: Opened) -> KeyMaterial:
    return KeyMaterial(
        chain=material.chain, key=material.key, roots=world.layout.federation_ca.read_bytes()
    )


# ── Who gets in ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_right_certificate_is_served(world: Opened, shape: str) -> None:
    """All four shapes of RPC run, and the handler knows who calls."""
    async with running(world) as run, run.channel() as channel:
        answers = await call(channel, shape, "who")
    assert answers[-1] == "spiffe://fairlead.demo/partner/customs/user/u-c01 analyst"
    assert run.refusals == []
    assert run.failures == []


async def test_each_caller_sees_its_own_identity(world: Opened) -> None:
    """Calls interleaved over two connections never see each other's identity."""
    async with (
        running(world) as run,
        run.channel() as user,
        run.channel(world.node_material("police")) as node,
    ):
        answers = await asyncio.gather(
            *(call(channel, "Both", "who") for _ in range(20) for channel in (user, node))
        )
    users_seen, nodes_seen = {a[0] for a in answers[::2]}, {a[0] for a in answers[1::2]}
    assert users_seen == {"spiffe://fairlead.demo/partner/customs/user/u-c01 analyst"}
    assert nodes_seen == {"spiffe://fairlead.demo/partner/police/node/node-1 "}


async def test_without_a_certificate_there_is_no_connection(world: Opened) -> None:
    """A client without a certificate is cut off, by gRPC's own client and by a foreign one."""
    async with running(world) as run:
        anonymous = grpc.ssl_channel_credentials(world.layout.federation_ca.read_bytes())
        address = f"localhost:{run.server.port}"
        async with grpc.aio.secure_channel(address, anonymous) as channel:
            error = await fails(call(channel, "One", "who"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        received = await asyncio.to_thread(_talk_anonymously, run.server.port, world)
    assert received == b""
    assert run.shapes.ended == []


def _talk_anonymously(port: int, world: Opened) -> bytes:
    """In TLS 1.3 the client may believe in the connection; it just never hears anything."""
    context = ssl.create_default_context(cafile=str(world.layout.federation_ca))
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
            )
            return wrapped.recv(100)
    except (ssl.SSLError, ConnectionError):
        return b""


async def test_an_alien_authority_gets_no_connection(world: Opened, tmp_path: Path) -> None:
    """The same names under somebody else's CA end at the handshake."""
    alien = authority.create_ca(
        common_name="customs user authority (development)",
        now=time.time(),
        lifetime=timedelta(days=1),
    )
    material = trusting(mint_user(alien, tmp_path), world)
    async with running(world) as run, run.channel(material) as channel:
        error = await fails(call(channel, "One", "who"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_gets_no_connection(world: Opened, tmp_path: Path) -> None:
    """A certificate that has expired ends at the handshake."""
    expired = mint_user(world.user_authority("customs"), tmp_path, seconds=0)
    async with running(world) as run, run.channel(trusting(expired, world)) as channel:
        error = await fails(call(channel, "One", "who"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_user_minted_by_the_federation_is_refused(world: Opened, tmp_path: Path) -> None:
    """TLS trusts the federation CA; the identity check does not let it make an analyst."""
    minted = trusting(mint_user(world.federation_ca(), tmp_path), world)
    async with running(world) as run, run.channel(minted) as channel:
        error = await fails(call(channel, "One", "who"))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reasons(error) == ["ISSUER"]
    assert [r.reasons for r in run.refusals] == [("ISSUER",)]


async def test_a_user_minted_by_another_partner_is_refused(world: Opened, tmp_path: Path) -> None:
    """The police's authority makes no customs officer: neither at TLS, nor where TLS trusts it."""
    minted = trusting(mint_user(world.user_authority("police"), tmp_path), world)
    async with running(world) as run, run.channel(minted) as channel:
        error = await fails(call(channel, "One", "who"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    roots = [world.directory.federation_ca]
    roots += [partner.user_authority for partner in world.directory.partners.values()]
    async with running(world, roots=roots) as run, run.channel(minted) as channel:
        error = await fails(call(channel, "One", "who"))
    assert reasons(error) == ["ISSUER"]


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        ({}, "TLS_VERSION"),
        ({"x509_pem_cert": [b"c"]}, "TLS_VERSION"),
        ({"ssl_tls_version": [b"TLSv1.2"], "x509_pem_cert": [b"c"]}, "TLS_VERSION"),
        ({"ssl_tls_version": [b"TLSv1.3", b"TLSv1.2"], "x509_pem_cert": [b"c"]}, "TLS_VERSION"),
        ({"ssl_tls_version": [b"TLSv1.3"]}, "NO_CERTIFICATE"),
        ({"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": []}, "NO_CERTIFICATE"),
        ({"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [b"c", b"d"]}, "NO_CERTIFICATE"),
    ],
)
def test_the_door_looks_at_the_connection_itself(peer: dict[str, list[bytes]], code: str) -> None:
    """Even if the transport let it pass, TLS 1.2, plain text or no certificate is refused."""

    class Connection:
        def auth_context(self) -> dict[str, list[bytes]]:
            return peer

    with pytest.raises(FairleadError) as caught:
        door._peer_certificate(Connection())  # type: ignore[arg-type]
    assert caught.value.code == code


# ── Who is put out ───────────────────────────────────────────────────────────────────────────


async def test_expiry_counts_on_an_open_connection(world: Opened) -> None:
    """The connection is the same; after notAfter the next call is refused."""
    async with running(world) as run, run.channel() as channel:
        await call(channel, "One", "who")
        run.clock.ahead = 7 * 86_400 - 30
        error = await fails(call(channel, "One", "who"))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reasons(error) == ["EXPIRED"]
        run.clock.ahead = 0
        await call(channel, "One", "who")


async def test_a_denied_user_is_refused_on_an_open_connection(world: Opened) -> None:
    """The deny list counts from the next call on, for that user alone."""
    async with (
        running(world) as run,
        run.channel() as channel,
        run.channel(world.user_material("customs", "u-c03")) as other,
    ):
        await call(channel, "One", "who")
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        error = await fails(call(channel, "One", "who"))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reasons(error) == ["DENIED"]
        await call(other, "One", "who")
    assert [(r.method, r.reasons, r.claimed) for r in run.refusals] == [
        (
            f"/{NAME}/One",
            ("DENIED",),
            "spiffe://fairlead.demo/partner/customs/user/u-c01",
        )
    ]
    assert len(run.refusals[0].certificate_digest) == 32


async def test_a_denied_user_cannot_come_back(world: Opened) -> None:
    """A new connection with a denied certificate is refused like the old one."""
    async with running(world) as run:
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        async with run.channel() as channel:
            error = await fails(call(channel, "One", "who"))
    assert reasons(error) == ["DENIED"]


@pytest.mark.parametrize("shape", ["Down", "Up", "Both"])
@pytest.mark.parametrize("cause", ["DENIED", "EXPIRED"])
async def test_an_open_stream_ends_with_its_identity(world: Opened, shape: str, cause: str) -> None:
    """A stream in the middle of its work ends when its caller is denied or expires."""
    async with running(world) as run, run.channel() as channel:
        pending = asyncio.ensure_future(fails(call(channel, shape, "wait")))
        await run.shapes.waiting.wait()
        assert not pending.done()
        if cause == "DENIED":
            run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        else:
            run.clock.ahead = 7 * 86_400 - 30
        error = await pending
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reasons(error) == [cause]
    assert [r.reasons for r in run.refusals] == [(cause,)]
    assert run.shapes.ended == ["wait"]
    assert run.failures == []


async def test_a_stream_that_swallows_cancellation_ends_all_the_same(world: Opened) -> None:
    """A handler that ignores being cancelled gives its denied caller nothing more."""
    async with running(world) as run, run.channel() as channel:
        pending = asyncio.ensure_future(fails(call(channel, "Down", "stubborn")))
        await run.shapes.waiting.wait()
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        while len(run.shapes.ended) < 2:
            await asyncio.sleep(0.01)
        run.shapes.released.set()
        error = await pending
    assert reasons(error) == ["DENIED"]


async def test_the_health_watch_ends_too(world: Opened) -> None:
    """A library's stream is watched like ours."""
    async with running(world) as run, run.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        first = await watch.read()
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        error = await fails(watch.read())
    assert reasons(error) == ["DENIED"]


async def test_a_client_that_leaves_ends_its_stream_quietly(world: Opened) -> None:
    """A cancelled stream is neither a refusal nor an internal failure."""
    async with running(world) as run, run.channel() as channel:
        io = (StringValue.SerializeToString, StringValue.FromString)
        left = channel.unary_stream(f"/{NAME}/Down", *io)(StringValue(value="wait"))
        await run.shapes.waiting.wait()
        left.cancel()
        while run.shapes.ended != ["wait"]:
            await asyncio.sleep(0.01)
    assert run.refusals == []
    assert run.failures == []


# ── The log speaks first ─────────────────────────────────────────────────────────────────────


async def test_a_refusal_is_logged_before_it_is_told(world: Opened) -> None:
    """The caller hears of a refusal only after the audit log has it."""
    order: list[str] = []
    written = asyncio.Event()

    async def slow_log(_refusal: Refusal) -> None:
        order.append("asked")
        await written.wait()
        order.append("written")

    async with running(world, on_refusal=slow_log) as run:
        approver = world.user_material("customs", "u-c02")
        async with run.channel(approver) as channel:
            pending = asyncio.ensure_future(fails(call(channel, "One", "who")))
            while order != ["asked"]:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert not pending.done()
            written.set()
            error = await pending
    order.append("told")
    assert order == ["asked", "written", "told"]
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_unwritable_log_is_what_the_caller_hears(world: Opened) -> None:
    """A refusal that cannot be logged becomes the log's error, and still no answer."""

    async def broken_log(_refusal: Refusal) -> None:
        raise LogUnavailable("the audit log cannot be written")

    approver = world.user_material("customs", "u-c02")
    async with running(world, on_refusal=broken_log) as run, run.channel(approver) as channel:
        error = await fails(call(channel, "One", "who"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reasons(error) == ["LOG_UNAVAILABLE"]


# ── Authorisation ────────────────────────────────────────────────────────────────────────────


async def test_kinds_and_roles_are_enforced(world: Opened) -> None:
    """A gateway may not call a node's RPC, and an approver may not do an analyst's work."""
    async with running(world) as run:
        async with run.channel(world.gateway_material("gw-1")) as channel:
            error = await fails(call(channel, "One", "who"))
        assert reasons(error) == ["KIND_NOT_ALLOWED"]
        async with run.channel(world.user_material("customs", "u-c02")) as channel:
            error = await fails(call(channel, "Both", "who"))
        assert reasons(error) == ["ROLE_NOT_ALLOWED"]
    assert [r.reasons[0] for r in run.refusals] == ["KIND_NOT_ALLOWED", "ROLE_NOT_ALLOWED"]


@pytest.mark.parametrize("path", ["/fairlead.test.v1.Shapes/Drop", "/nobody.Nothing/At"])
async def test_an_unknown_rpc_is_refused_and_logged(world: Opened, path: str) -> None:
    """What no row names is refused, and the log does not repeat the caller's spelling."""
    async with running(world) as run, run.channel() as channel:
        error = await fails(raw(channel, path, b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert reasons(error) == ["RPC_UNKNOWN"]
    assert [(r.method, r.reasons) for r in run.refusals] == [("", ("RPC_UNKNOWN",))]


def test_every_rpc_needs_a_row_and_an_expectation() -> None:
    """Deleting a row or an expectation, inventing one, or widening one, is found by reflection."""
    services = [Shapes().service()]
    expected = {method: frozenset({"node", "user:analyst"}) for method in ROWS}
    assert_every_rpc_has_row(services, ROWS, expected)
    for method in ROWS:
        less = {k: v for k, v in ROWS.items() if k != method}
        assert _complaint(services, less) == "RPC_WITHOUT_ROW"
        unexpected = {k: v for k, v in expected.items() if k != method}
        assert _complaint(services, ROWS, unexpected) == "RPC_EXPECTATION"
        assert _complaint(services, {**ROWS, method: NODES}, expected) == "RPC_EXPECTATION"
    assert _complaint(services, {**ROWS, "/a.B/C": GATEWAYS}) == "ROW_WITHOUT_RPC"
    assert _complaint(services, ROWS, {**expected, "/a.B/C": frozenset()}) == "RPC_EXPECTATION"


def _complaint(services: list[Service], *arguments: Any) -> str:
    with pytest.raises(Misconfigured) as caught:
        assert_every_rpc_has_row(services, *arguments)
    assert "/" in caught.value.remedy
    return caught.value.code


async def test_a_server_without_a_row_does_not_start(world: Opened) -> None:
    """A forgotten row stops the process, not the caller."""

    async def record(_refusal: Refusal) -> None:
        raise AssertionError

    check = IdentityCheck(
        directory=lambda: world.directory, deny_lists=world.deny_lists, clock=time.time
    )
    for rows in ({}, {**ROWS, "/grpc.health.v1.Health/Check": NODES}):
        with pytest.raises(Misconfigured):
            create_server(
                [Shapes().service()],
                listen="127.0.0.1:0",
                credentials=tls.server_credentials(lambda: world.node_material("customs")),
                authorisation=rows,
                identity_check=check.check,
                limits=TransportLimits(),
                on_refusal=record,
            )


def test_a_row_that_names_nobody_does_not_load() -> None:
    """Empty means no: no kinds, users without roles, or roles without users are mistakes."""
    for kinds, roles in (
        (set(), set()),
        ({IdentityKind.USER}, set()),
        ({IdentityKind.NODE}, {Role.ANALYST}),
    ):
        with pytest.raises(Misconfigured):
            Row(kinds=frozenset(kinds), roles=frozenset(roles))
    with pytest.raises(Misconfigured):
        users()


def test_health_and_reflection_are_for_anybody_identified() -> None:
    """The standard services admit every kind and role, and nobody without an identity."""
    everybody = {"gateway", "node"} | {f"user:{role}" for role in Role}
    assert {row.admits() for row in STANDARD_ROWS.values()} == {frozenset(everybody)}


# ── What is never said ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("act", ["raise", "raise-group", "raise-cancelled", "return-nonsense"])
async def test_no_exception_text_reaches_the_caller(
    world: Opened, shape: str, act: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect becomes INTERNAL and a number; its text is in no answer and in no log line."""
    async with running(world) as run, run.channel() as channel:
        error = await fails(call(channel, shape, act))
    assert error.code() is grpc.StatusCode.INTERNAL
    said = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    for word in (SECRET, "MSCU", "Jansen", "Error", "Traceback"):
        assert word not in said
        assert word not in caplog.text
    (failure,) = run.failures
    assert (CORRELATION_KEY, failure.correlation) in list(error.trailing_metadata() or ())
    assert failure.correlation in str(error.details())
    assert SECRET not in repr(failure)


@pytest.mark.parametrize("shape", SHAPES)
async def test_our_errors_travel_with_codes_and_remedy(world: Opened, shape: str) -> None:
    """A refusal keeps its fixed text, every reason in order, and a printable next command."""
    async with running(world) as run, run.channel() as channel:
        error = await fails(call(channel, shape, "refuse"))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "policy says no"
    assert reasons(error) == ["FIRST", "SECOND"]
    assert (REMEDY_KEY, "fairlead cases ? list?") in list(error.trailing_metadata() or ())
    assert run.refusals == []
    assert run.failures == []


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\xff\xff\xff", "MALFORMED"),
        (b"\x0a\x02\xff\xfe", "MALFORMED"),
        (b"\x0a\x7f", "MALFORMED"),
        (b"\x12\x01x", "UNKNOWN_FIELDS"),
    ],
)
async def test_bad_octets_get_a_precise_error(world: Opened, octets: bytes, code: str) -> None:
    """Undecodable requests and unknown fields are INVALID_ARGUMENT with a code, on every shape."""
    async with running(world) as run, run.channel() as channel:
        for shape in SHAPES:
            error = await fails(raw(channel, f"/{NAME}/{shape}", octets))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reasons(error) == [code]
    assert run.failures == []


async def test_a_strangers_octets_are_not_parsed(world: Opened) -> None:
    """Identity comes before decoding: bad octets from a denied caller say DENIED."""
    async with running(world) as run, run.channel() as channel:
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        error = await fails(raw(channel, f"/{NAME}/One", b"\xff"))
    assert reasons(error) == ["DENIED"]


def test_outside_a_call_there_is_no_identity() -> None:
    """Code that runs outside a call gets an error, never somebody's identity."""
    with pytest.raises(FairleadError) as caught:
        current_identity()
    assert caught.value.code == "NO_IDENTITY"


def test_every_error_maps_to_a_refusing_status() -> None:
    """No error of the tree can leave as OK."""
    pending: list[type[FairleadError]] = [FairleadError]
    while pending:
        kind = pending.pop()
        assert kind.status in grpc.StatusCode.__members__
        assert kind.status != "OK"
        pending += kind.__subclasses__()
    assert Forged.status == "PERMISSION_DENIED"


# ── Limits, health, reflection, stopping ─────────────────────────────────────────────────────


async def test_oversized_messages_are_refused(world: Opened) -> None:
    """A message above the limit is refused by the transport, and the server stays up."""
    limits = TransportLimits(max_message_bytes=100_000)
    async with running(world, limits=limits) as run, run.channel() as channel:
        error = await fails(call(channel, "One", "x" * 100_001))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call(channel, "One", "x" * 99_000) == ["x" * 99_000]


async def test_too_many_calls_are_pushed_back(world: Opened) -> None:
    """Above the limit a call is refused at once, and works again when one has ended."""
    limits = TransportLimits(max_concurrent_rpcs=1)
    async with running(world, limits=limits) as run, run.channel() as channel:
        pending = asyncio.ensure_future(call(channel, "One", "wait"))
        await run.shapes.waiting.wait()
        error = await fails(call(channel, "One", "who"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        run.shapes.released.set()
        assert await pending == ["wait"]
        assert await call(channel, "One", "again") == ["again"]


async def test_two_servers_never_share_a_port(world: Opened) -> None:
    """A second process on the same address is told so instead of stealing half the calls."""
    async with running(world) as run:
        with pytest.raises(Misconfigured) as caught:
            create_server(
                [Shapes().service()],
                listen=f"127.0.0.1:{run.server.port}",
                credentials=tls.server_credentials(lambda: world.node_material("customs")),
                authorisation=ROWS,
                identity_check=lambda _pem: current_identity(),
                limits=TransportLimits(),
                on_refusal=lambda _refusal: asyncio.sleep(0),
            )
    assert caught.value.code == "LISTEN"


async def test_health_answers_and_changes(world: Opened) -> None:
    """Health says SERVING, NOT_SERVING when readiness is left, and lists what it knows."""
    states = health_pb2.HealthCheckResponse
    async with running(world) as run, run.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest()
        assert (await stub.Check(check)).status == states.SERVING
        await run.server.set_serving(serving=False)
        assert (await stub.Check(check)).status == states.NOT_SERVING
        listed = await stub.List(health_pb2.HealthListRequest())
        assert listed.statuses[""].status == states.NOT_SERVING
        unknown = health_pb2.HealthCheckRequest(service="nobody")
        assert (await fails(stub.Check(unknown))).code() is grpc.StatusCode.NOT_FOUND
    assert run.failures == []


async def test_reflection_lists_the_services(world: Opened) -> None:
    """A foreign client can learn what is offered, once it has shown who it is."""
    async with running(world) as run, run.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")

        async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield request

        answers = [answer async for answer in stub.ServerReflectionInfo(requests())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_stopping_lets_running_calls_finish(world: Opened) -> None:
    """Within the grace a running call ends well, and nothing new begins."""
    async with running(world) as run, run.channel() as channel:
        pending = asyncio.ensure_future(call(channel, "Down", "wait"))
        await run.shapes.waiting.wait()
        stopping = asyncio.ensure_future(run.server.stop(10))
        await asyncio.sleep(0.1)
        async with run.channel() as late:
            error = await fails(call(late, "One", "who"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        run.shapes.released.set()
        assert await pending == ["first", "wait"]
        await stopping


# ── A foreign client ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def grpcurl() -> str:
    """The pinned foreign client; missing, the test skips and says how to get it."""
    path = f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("grpcurl", path=path)
    if found is None:
        how = "grpcurl is missing: make tools (needs Go: apt-get install golang-go)"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(how)
        pytest.skip(how)
    return found


async def foreign(
    grpcurl: str, run: Running, *arguments: str, who: Path | None, patience_s: int = 30
) -> tuple[int, str, str]:
    """Run grpcurl against the server with the certificate in ``who``."""
    own = ["-cert", str(who / "user.pem"), "-key", str(who / "user.key")] if who else []
    address = f"localhost:{run.server.port}"
    head, tail = list(arguments[:-1]), list(arguments[-1:])
    process = await asyncio.create_subprocess_exec(
        grpcurl,
        "-connect-timeout",
        str(patience_s),
        "-cacert",
        str(run.world.layout.federation_ca),
        *own,
        *head,
        address,
        *tail,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_foreign_client_reaches_health_and_reflection(world: Opened, grpcurl: str) -> None:
    """grpcurl, written in Go, lists the services and asks for health over mTLS."""
    async with running(world) as run:
        user = world.layout.user("customs", "u-c01")
        code, out, err = await foreign(grpcurl, run, "list", who=user)
        assert (code, err) == (0, "")
        assert NAME in out.split()
        code, out, err = await foreign(grpcurl, run, "grpc.health.v1.Health/Check", who=user)
        assert (code, err) == (0, "")
        assert json.loads(out) == {"status": "SERVING"}
        code, out, err = await foreign(grpcurl, run, "-d", '"who"', f"{NAME}/One", who=user)
        assert (code, err) == (0, "")
        assert "u-c01" in out


async def test_a_foreign_client_without_the_right_certificate_is_refused(
    world: Opened, grpcurl: str, tmp_path: Path
) -> None:
    """grpcurl with no, an alien, an expired or a denied certificate gets nothing."""
    alien = authority.create_ca(common_name="x", now=time.time(), lifetime=timedelta(days=1))
    mint_user(alien, tmp_path / "alien")
    mint_user(world.user_authority("customs"), tmp_path / "expired", seconds=0)
    async with running(world) as run:
        strangers = (None, tmp_path / "alien", tmp_path / "expired")
        results = await asyncio.gather(
            *(foreign(grpcurl, run, "list", who=who, patience_s=2) for who in strangers)
        )
        for code, out, _err in results:
            assert code != 0
            assert out == ""
        run.deny("spiffe://fairlead.demo/partner/customs/user/u-c01")
        user = world.layout.user("customs", "u-c01")
        code, out, err = await foreign(grpcurl, run, "grpc.health.v1.Health/Check", who=user)
    assert code != 0
    assert out == ""
    assert "deny list" in err
