"""TLS 1.3 on both sides, certificates on both sides, and only the server one meant to reach."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certs.dev import federation as specs
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead import authority, signing, tls
from fairlead.certificates import SpiffeId
from fairlead.errors import Misconfigured
from fairlead.tls import KeyMaterial, TransportLimits

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Two partners and a gateway, valid now."""
    now = time.time()
    layout = make(
        tmp_path_factory.mktemp("certs") / "out", partners=specs.demo_partners()[:2], now=now
    )
    return open_federation(layout, now=now)


@contextmanager
def grpc_server(credentials: grpc.ServerCredentials) -> Iterator[int]:
    """A server without services: enough for handshakes."""
    from concurrent import futures

    server = grpc.server(
        futures.ThreadPoolExecutor(1), options=tls.server_options(TransportLimits())
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def handshake(port: int, world: Opened, **versions: ssl.TLSVersion) -> str | None:
    """A foreign client's handshake with a good certificate; the version it reached."""
    context = ssl.create_default_context(cafile=str(world.layout.federation_ca))
    folder = world.layout.user("customs", "u-c01")
    context.load_cert_chain(folder / "user.pem", folder / "user.key")
    context.set_alpn_protocols(["h2"])
    if "maximum" in versions:
        context.maximum_version = versions["maximum"]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        return wrapped.version()


def test_a_tls_1_2_client_is_refused(world: Opened) -> None:
    """The same foreign client gets in with TLS 1.3 and fails with TLS 1.2."""
    with grpc_server(tls.server_credentials(lambda: world.node_material("customs"))) as port:
        assert handshake(port, world) == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(port, world, maximum=ssl.TLSVersion.TLSv1_2)


@contextmanager
def plain_tls_server(world: Opened, maximum: ssl.TLSVersion) -> Iterator[tuple[int, list[str]]]:
    """A Python TLS server with a node's good certificate; it records the versions reached."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = world.layout.node("customs")
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    context.maximum_version = maximum
    reached: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def accept_once() -> None:
        try:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with context.wrap_socket(connection, server_side=True) as wrapped:
                reached.append(str(wrapped.version()))
        except OSError:
            reached.append("failed")

    thread = threading.Thread(target=accept_once)
    thread.start()
    try:
        yield listener.getsockname()[1], reached
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("maximum", "outcome"),
    [(ssl.TLSVersion.TLSv1_2, "failed"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
async def test_our_client_refuses_tls_1_2(
    world: Opened, maximum: ssl.TLSVersion, outcome: str
) -> None:
    """A server that offers no more than TLS 1.2 is not spoken to."""
    with plain_tls_server(world, maximum) as (port, reached):
        channel = tls.open_channel(
            f"127.0.0.1:{port}",
            server=world.node_id("customs"),
            material=world.user_material("customs", "u-c01"),
        )
        async with channel:
            channel.get_state(try_to_connect=True)
            while not reached:
                await asyncio.sleep(0.01)
    assert reached == [outcome]


def test_grpc_imported_first_is_noticed() -> None:
    """Where gRPC came first, the floor cannot be set, and nothing opens."""
    program = (
        "import os; os.environ.pop('GRPC_SSL_CIPHER_SUITES', None)\n"
        "import grpc\n"
        "from fairlead import tls\n"
        "from fairlead.errors import Misconfigured\n"
        "material = tls.KeyMaterial(chain=b'', key=b'', roots=b'')\n"
        "for step in (tls.require_tls_floor, lambda: tls.channel_credentials(material),\n"
        "             lambda: tls.server_credentials(lambda: material)):\n"
        "    try:\n"
        "        step()\n"
        "    except Misconfigured as error:\n"
        "        print(error.code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["TLS_FLOOR"] * 3


async def reaches(port: int, server: SpiffeId, material: KeyMaterial) -> bool:
    """Whether a channel becomes ready; a failed handshake shows as a transient failure."""
    channel = tls.open_channel(f"127.0.0.1:{port}", server=server, material=material)
    async with channel:
        state = channel.get_state(try_to_connect=True)
        while state not in (
            grpc.ChannelConnectivity.READY,
            grpc.ChannelConnectivity.TRANSIENT_FAILURE,
        ):
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY


async def test_a_channel_speaks_only_to_the_node_it_names(world: Opened) -> None:
    """Another member's node with a good certificate for localhost is not customs' node."""
    user = world.user_material("customs", "u-c01")
    with grpc_server(tls.server_credentials(lambda: world.node_material("customs"))) as port:
        assert await reaches(port, world.node_id("customs"), user)
        assert not await reaches(port, world.node_id("police"), user)


async def test_a_server_of_another_federation_is_not_spoken_to(
    world: Opened, tmp_path: Path
) -> None:
    """The same names under another federation's CA do not help an impostor."""
    other = open_federation(
        make(tmp_path / "out", partners=specs.demo_partners()[:1], now=time.time()),
        now=time.time(),
    )
    impostor = tls.server_credentials(lambda: other.node_material("customs"))
    with grpc_server(impostor) as port:
        user = world.user_material("customs", "u-c01")
        assert not await reaches(port, world.node_id("customs"), user)


async def test_renewed_files_are_taken_up_without_a_restart(world: Opened, tmp_path: Path) -> None:
    """A server picks up a new certificate at the next handshake, and survives a broken file."""
    chain, key_path = tmp_path / "tls.pem", tmp_path / "tls.key"
    chain.write_bytes((world.layout.node("customs") / "tls.pem").read_bytes())
    key_path.write_bytes((world.layout.node("customs") / "tls.key").read_bytes())
    key_path.chmod(0o600)
    roots = [world.directory.federation_ca]
    user = world.node_material("police")

    def material() -> KeyMaterial:
        return KeyMaterial.load(chain, key_path, roots)

    customs, police = world.node_id("customs"), world.node_id("police")
    with grpc_server(tls.server_credentials(material)) as port:
        assert await reaches(port, customs, user)
        chain.write_bytes(b"half a certifi")
        assert await reaches(port, customs, user)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority.issue_node(
            world.federation_ca(),
            federation="fairlead.demo",
            partner_id="police",
            name="node-1",
            public_key=key.public_key(),
            hosts=(),
            now=time.time(),
            lifetime=specs.Lifetimes().leaf,
        )
        signing.save_key(key_path, key)
        authority.save_certificate(chain, certificate)
        assert await reaches(port, police, user)
        assert not await reaches(port, customs, user)


def test_key_material_is_checked(world: Opened, tmp_path: Path) -> None:
    """A missing file, another node's key, and trusting nobody are configuration errors."""
    customs, police = world.layout.node("customs"), world.layout.node("police")
    roots = [world.directory.federation_ca]
    for chain, key, trusted, code in (
        (tmp_path / "no.pem", customs / "tls.key", roots, "KEY_FILE"),
        (customs / "tls.pem", customs / "DEVELOPMENT-ONLY", roots, "KEY_FILE"),
        (customs / "tls.pem", police / "tls.key", roots, "KEY_MISMATCH"),
        (customs / "tls.pem", customs / "tls.key", [], "NO_ROOTS"),
    ):
        with pytest.raises(Misconfigured) as caught:
            KeyMaterial.load(chain, key, trusted)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("listen", "allowed"),
    [
        ("127.0.0.1:7400", True),
        ("127.8.9.10:7400", True),
        ("[::1]:7400", True),
        ("localhost:7400", True),
        ("0.0.0.0:7400", False),
        ("[::]:7400", False),
        (":7400", False),
        ("7400", False),
        ("", False),
        ("192.0.2.7:7400", False),
        ("[::ffff:192.0.2.7]:7400", False),
        ("localhost.example.org:7400", False),
        ("gateway.example.org:7400", False),
    ],
)
def test_development_keys_stay_on_loopback(tmp_path: Path, listen: str, *, allowed: bool) -> None:
    """Marked keys listen on loopback only; unmarked keys anywhere."""
    tls.refuse_non_loopback(listen, keys=tmp_path)
    (tmp_path / tls.DEVELOPMENT_MARKER).touch()
    if allowed:
        tls.refuse_non_loopback(listen, keys=tmp_path)
        return
    with pytest.raises(Misconfigured) as caught:
        tls.refuse_non_loopback(listen, keys=tmp_path)
    assert caught.value.code == "DEVELOPMENT_KEYS"
