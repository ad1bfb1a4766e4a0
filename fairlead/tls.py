"""TLS 1.3 with certificates on both sides, as gRPC understands it.

Python's gRPC has no switch for the lowest TLS version. What works (measured, FACTS) is to leave
it no cipher suite that TLS 1.2 could use: the suites of TLS 1.3 are not affected by that list.
gRPC reads the list once, **when it is imported**, so this module sets it before importing gRPC,
and everything here refuses to run when gRPC came first. X25519MLKEM768 is negotiated by default.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SUITES = "GRPC_SSL_CIPHER_SUITES"
_NO_TLS_1_2 = "ECDHE-PSK-AES128-CBC-SHA"

if "grpc" not in sys.modules:
    os.environ[_SUITES] = _NO_TLS_1_2

import grpc  # noqa: E402 - the environment must be set first
import grpc.aio  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.exceptions import UnsupportedAlgorithm  # noqa: E402
from cryptography.hazmat.primitives.serialization import (  # noqa: E402
    Encoding,
    load_pem_private_key,
)

from fairlead.certificates import SpiffeId  # noqa: E402
from fairlead.errors import Misconfigured  # noqa: E402
from fairlead.keyfile import read_private, write_private  # noqa: E402

DEVELOPMENT_MARKER = "DEVELOPMENT-ONLY"
"""A file of this name in a key folder: its keys are known to whoever ran the recipe."""

LOOK_S = 1.0
"""Seconds between two looks at the certificate and key files."""

Options = list[tuple[str, int | str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """What one process accepts. Sizes in octets, times in milliseconds.

    Connections end after ``connection_age_ms`` (and a grace for running calls), so that a
    renewed certificate is taken up and a suspended peer loses even an idle connection.
    """

    max_message_bytes: int = 4 * 1024 * 1024
    max_concurrent_rpcs: int = 1024
    max_streams_per_connection: int = 256
    max_metadata_bytes: int = 16 * 1024
    connection_age_ms: int = 600_000
    connection_grace_ms: int = 30_000
    keepalive_ms: int = 60_000
    keepalive_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """One side's certificate chain and key (PEM), and the authorities it trusts (PEM)."""

    chain: bytes
    key: bytes
    roots: bytes

    @classmethod
    def load(cls, chain: Path, key: Path, roots: Sequence[x509.Certificate]) -> KeyMaterial:
        """Read chain and key from files; the roots come from the verified directory.

        :raises Misconfigured: KEY_FILE, KEY_PERMISSIONS, KEY_MISMATCH (also while a renewal is
            half written), or NO_ROOTS (no root would mean the system's roots).
        """
        if not roots:
            raise Misconfigured("no authority is trusted", reasons=("NO_ROOTS",))
        try:
            chain_pem, key_pem = chain.read_bytes(), read_private(key)
            certificate = x509.load_pem_x509_certificate(chain_pem)
            private = load_pem_private_key(key_pem, password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
            raise Misconfigured(
                "a TLS certificate or key file is missing or unreadable",
                reasons=("KEY_FILE",),
                remedy="make certs   (development), or restore the key folder from its backup",
            ) from None
        if certificate.public_key() != private.public_key():
            raise Misconfigured(
                "a TLS key does not belong to its certificate", reasons=("KEY_MISMATCH",)
            )
        trusted = b"".join(root.public_bytes(Encoding.PEM) for root in roots)
        return cls(chain=chain_pem, key=key_pem, roots=trusted)


class LiveMaterial:
    """Key material that follows its files and the directory; what does not fit together (a
    renewal half written) leaves the last good one in use. Safe to call from any thread.

    :param roots: the authorities to trust now. :param clock: monotonic seconds.
    """

    def __init__(
        self,
        chain: Path,
        key: Path,
        roots: Callable[[], Sequence[x509.Certificate]],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._chain = chain
        self._key = key
        self._roots = roots
        self._clock = clock
        self._looked = float("-inf")
        self._seen: object = None
        self._last: KeyMaterial | None = None
        self._lock = threading.Lock()

    def __call__(self) -> KeyMaterial:
        """The material in force: the same object until something changes.

        :raises Misconfigured: there has been no good one yet.
        """
        with self._lock:
            roots = list(self._roots())
            now = self._clock()
            if self._last is None or now >= self._looked + LOOK_S or roots != self._known_roots:
                self._looked, self._known_roots = now, roots
                self._look(roots)
            assert self._last is not None  # noqa: S101  _look raises otherwise
            return self._last

    _known_roots: Sequence[x509.Certificate] = ()

    def _look(self, roots: Sequence[x509.Certificate]) -> None:
        seen = (_stamp(self._chain), _stamp(self._key), roots)
        if seen == self._seen:
            return
        try:
            fresh = KeyMaterial.load(self._chain, self._key, roots)
        except Misconfigured:
            if self._last is None:
                raise
            return
        self._seen = seen
        if fresh != self._last:
            self._last = fresh


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def install(folder: Path, *, chain: bytes, key: bytes) -> None:
    """Replace ``tls.pem`` and ``tls.key`` of a key folder, so that no crash leaves half of it.

    Both are written beside the old ones first; :func:`finish_renewal` completes what a crash
    interrupted.

    :raises Misconfigured: KEY_FILE: the folder cannot be written.
    """
    try:
        write_private(folder / "tls.next.pem", chain)
        write_private(folder / "tls.next.key", key)
    except OSError:
        raise _not_installed() from None
    finish_renewal(folder)


def finish_renewal(folder: Path) -> None:
    """Move a renewed pair into place: the key, then its certificate. Nothing to do is fine.

    :raises Misconfigured: KEY_FILE: the folder cannot be written.
    """
    fresh_chain, fresh_key = folder / "tls.next.pem", folder / "tls.next.key"
    try:
        if not fresh_chain.exists():
            fresh_key.unlink(missing_ok=True)
            return
        key_path = fresh_key if fresh_key.exists() else folder / "tls.key"
        certificate = x509.load_pem_x509_certificate(fresh_chain.read_bytes())
        private = load_pem_private_key(key_path.read_bytes(), password=None)
        if certificate.public_key() == private.public_key():
            if key_path == fresh_key:
                fresh_key.replace(folder / "tls.key")
            fresh_chain.replace(folder / "tls.pem")
            return
        fresh_chain.unlink()
        fresh_key.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise _not_installed() from None


def _not_installed() -> Misconfigured:
    return Misconfigured(
        "a renewed TLS certificate cannot be put in place",
        reasons=("KEY_FILE",),
        remedy="let this process write its key folder, or remove tls.next.pem and tls.next.key",
    )


def require_tls_floor() -> None:
    """Refuse to run where TLS 1.2 could be negotiated.

    :raises Misconfigured: TLS_FLOOR, gRPC was imported before this module could set the list.
    """
    if os.environ.get(_SUITES) != _NO_TLS_1_2:
        raise Misconfigured(
            "gRPC was imported before fairlead, so TLS 1.2 would be accepted",
            reasons=("TLS_FLOOR",),
            remedy="import fairlead.tls before grpc",
        )


def server_credentials(
    material: Callable[[], KeyMaterial], *, unsafe_strangers: bool = False
) -> grpc.ServerCredentials:
    """Server side of mTLS: a client without a certificate of a trusted authority gets nowhere.

    :param unsafe_strangers: ask clients for no certificate: only for a user authority, whose
        callers have none yet.
    ``material`` is called now and at every handshake, so renewed files and another directory
    take effect without a restart; when it raises, the last good material stays in use.

    :raises Misconfigured: TLS_FLOOR, or whatever ``material`` raises the first time.
    """
    require_tls_floor()
    last = material()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        fresh = material()
        if fresh == last:
            return None
        last = fresh
        return _configuration(fresh)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(last),
        fetch,  # type: ignore[arg-type]  # None means unchanged; the stubs do not know
        require_client_authentication=not unsafe_strangers,
    )


def _configuration(material: KeyMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.roots
    )


def channel_credentials(material: KeyMaterial) -> grpc.ChannelCredentials:
    """Client side of mTLS.

    :raises Misconfigured: TLS_FLOOR.
    """
    require_tls_floor()
    return grpc.ssl_channel_credentials(
        root_certificates=material.roots,
        private_key=material.key,
        certificate_chain=material.chain,
    )


def server_options(limits: TransportLimits) -> Options:
    """gRPC server arguments: explicit limits, and one process per port."""
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        ("grpc.max_metadata_size", limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
        ("grpc.max_connection_age_ms", limits.connection_age_ms),
        ("grpc.max_connection_age_grace_ms", limits.connection_grace_ms),
        ("grpc.http2.min_ping_interval_without_data_ms", limits.keepalive_ms // 2),
        ("grpc.so_reuseport", 0),
    ]


def channel_options(limits: TransportLimits, server: SpiffeId) -> Options:
    """gRPC channel arguments; the server must hold the DNS name that stands for ``server``."""
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
        ("grpc.keepalive_time_ms", limits.keepalive_ms),
        ("grpc.keepalive_timeout_ms", limits.keepalive_timeout_ms),
        ("grpc.ssl_target_name_override", server.dns_name),
        ("grpc.default_authority", server.dns_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 0),
        # A partner that comes back is asked again within seconds; gRPC would wait up to 2 minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
    ]


def open_channel(
    endpoint: str,
    *,
    server: SpiffeId,
    material: KeyMaterial,
    limits: TransportLimits | None = None,
) -> grpc.aio.Channel:
    """Dial ``endpoint`` (host:port) and speak only to ``server``.

    Whoever answers must present the DNS name that the federation CA puts into ``server``'s
    certificate and into no other; the host in ``endpoint`` only says where to dial. A renewed
    certificate needs a new channel (gRPC cannot reload a client's): drain the old one.

    :raises Misconfigured: TLS_FLOOR.
    """
    return grpc.aio.secure_channel(
        endpoint,
        channel_credentials(material),
        options=channel_options(limits or TransportLimits(), server),
    )


def refuse_non_loopback(listen: str, *, keys: Path) -> None:
    """Keep development keys off the network.

    :param listen: host:port a server is about to listen on; :param keys: its key folder.
    :raises Misconfigured: DEVELOPMENT_KEYS, the folder is marked and the host is not loopback.
    """
    if not (keys / DEVELOPMENT_MARKER).exists():
        return
    host = listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise Misconfigured(
            "development keys may only be used on a loopback address",
            reasons=("DEVELOPMENT_KEYS",),
            remedy="listen on 127.0.0.1, or enrol with keys of your own",
        )
