"""HTTP to one server under one deadline, for ``requests`` to send through.

``requests`` counts a timeout from octet to octet: a server that drips them holds its caller up for
as long as it likes. Here connecting, every send and every read end at one moment. The rest of what
a decision wants is here too, because all of it is said by not doing something: no second attempt,
no redirect, no proxy, no look-up of a name, no compressed answer, no other authority than the one
given, no more octets than the limit, one connection that is kept.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3 import exceptions as broken
from urllib3.connection import HTTPConnection, HTTPSConnection

from fairlead.errors import PolicyUnavailable


def unanswered(code: str) -> PolicyUnavailable:
    """What every failure of a server becomes; the code says which (docs/operate.md)."""
    return PolicyUnavailable(
        "the policy engine gives no decision",
        reasons=(code,),
        remedy="look the code up in docs/operate.md, under Engines",
    )


@dataclass(slots=True)
class _Limit:
    """The moment at which the call under way ends, of the monotonic clock."""

    until: float = 0.0

    def remaining(self) -> float:
        """:raises TimeoutError: nothing is left."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Socket(socket.socket):
    """A socket whose sends and reads all end at the limit, however little each of them moves."""

    limit: _Limit

    def recv_into(self, *arguments: Any) -> int:
        """As ``socket.recv_into``, for what is left of the time."""
        self.settimeout(self.limit.remaining())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """As ``socket.sendall``, for what is left of the time."""
        self.settimeout(self.limit.remaining())
        super().sendall(*arguments)


class _TlsSocket(ssl.SSLSocket):
    """The same over TLS."""

    limit: _Limit

    def recv_into(self, *arguments: Any) -> int:
        """As ``SSLSocket.recv_into``, for what is left of the time."""
        self.settimeout(self.limit.remaining())
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        """As ``SSLSocket.send``, of which ``sendall`` is made, for what is left of the time."""
        self.settimeout(self.limit.remaining())
        return super().send(*arguments)


class _Connection(HTTPConnection):
    """A connection over TCP, or over the Unix socket at ``path``."""

    def __init__(self, *arguments: Any, limit: _Limit, path: str = "", **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limit = limit
        self._path = path

    def _new_conn(self) -> socket.socket:
        if not self._path:
            self.timeout = self._limit.remaining()
            timed = _Socket(fileno=super()._new_conn().detach())
        else:
            timed = _Socket(socket.AF_UNIX)
            timed.settimeout(self._limit.remaining())
            try:
                timed.connect(self._path)
            except OSError:
                timed.close()
                raise broken.NewConnectionError(self, "nobody listens") from None
        timed.limit = self._limit
        return timed


class _TlsConnection(HTTPSConnection):
    """A connection over TLS. A handshake is one call with one timeout: it cannot be dripped."""

    def __init__(self, *arguments: Any, limit: _Limit, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limit = limit

    def _new_conn(self) -> socket.socket:
        self.timeout = self._limit.remaining()
        plain = super()._new_conn()
        try:
            plain.settimeout(self._limit.remaining())  # for the handshake
        except TimeoutError:
            plain.close()
            raise
        return plain

    def connect(self) -> None:
        """Connect, and put everything later under the limit."""
        super().connect()
        if not isinstance(self.sock, _TlsSocket):
            raise broken.SSLError("not our socket")
        self.sock.limit = self._limit


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server is: a Unix socket, or an address; with ``ca`` over TLS as ``name``."""

    path: str = ""
    address: str = "127.0.0.1"
    port: int = 8181
    name: str = field(default="localhost")
    ca: Path | None = None

    def pool(self, limit: _Limit) -> HTTPConnectionPool:
        """Connections to it; one is kept.

        :raises PolicyUnavailable: OPA_CA: the authority's file holds no certificate.
        """
        if self.ca is None:
            return _Pool(self.address, self.port, maxsize=1, limit=limit, path=self.path)
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
        except (OSError, ValueError):
            raise unanswered("OPA_CA") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.sslsocket_class = _TlsSocket
        return _TlsPool(
            self.address,
            self.port,
            maxsize=1,
            cert_reqs="CERT_REQUIRED",
            ssl_context=context,
            server_hostname=self.name,
            limit=limit,
        )


class _Answer(requests.Response):
    """An answer whose JSON is UTF-8 or none: ``requests`` would guess, for seconds if need be."""

    def json(self, **_: Any) -> Any:
        """:raises requests.JSONDecodeError: it is none."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise requests.JSONDecodeError("not JSON", "", 0) from None


class Transport(BaseAdapter):
    """What ``requests`` sends through: one place, one deadline a call, a size limit."""

    def __init__(self, place: Place, *, largest: int) -> None:
        """:param largest: octets of an answer's body."""
        super().__init__()
        self._limit = _Limit()
        self._pool = place.pool(self._limit)
        self._largest = largest

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send it once; ``timeout`` is in seconds, for all of it.

        :raises PolicyUnavailable: no answer in time, or none that can be read; the code says why.
        """
        del stream, verify, cert, proxies  # the place alone decides
        self._limit.until = time.monotonic() + timeout
        try:
            return self._exchange(request, timeout)
        except (broken.SSLError, ssl.SSLError):
            raise unanswered("OPA_UNTRUSTED") from None
        except broken.NewConnectionError:
            raise unanswered("OPA_ABSENT") from None
        except (broken.TimeoutError, TimeoutError):
            raise unanswered("OPA_SLOW") from None
        except (broken.ProtocolError, broken.IncompleteRead, OSError):
            # a send that ends at the limit comes as a broken connection
            over = time.monotonic() >= self._limit.until
            raise unanswered("OPA_SLOW" if over else "OPA_LOST") from None
        except (broken.HTTPError, ValueError):
            raise unanswered("OPA_GARBAGE") from None

    def _exchange(self, request: requests.PreparedRequest, timeout: float) -> requests.Response:
        if not isinstance(request.body, bytes | None):
            raise unanswered("ENGINE_FAILED")
        answer = self._pool.urlopen(
            request.method or "",
            request.path_url,
            body=request.body,
            headers={name: str(value) for name, value in request.headers.items()},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(total=timeout),
            preload_content=False,
            decode_content=False,
        )
        try:
            if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
                raise unanswered("OPA_REDIRECTS")
            body = b""
            while more := answer.read(self._largest + 1 - len(body), decode_content=False):
                body += more
                if len(body) > self._largest:
                    raise unanswered("OPA_TOO_LARGE")
        except BaseException:
            answer.close()  # what is left on this connection belongs to no later question
            raise
        response = _Answer()
        response.status_code = answer.status
        response.url = request.url or ""
        response.request = request
        response.raw = io.BytesIO(body)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()
