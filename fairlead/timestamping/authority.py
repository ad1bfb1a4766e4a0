"""The way to a timestamp authority: one POST (RFC 3161 §3.4) under one deadline.

Everything ends at one moment: the look-up of the name, connecting, each octet. No redirect is
followed and nothing is taken from the environment. ``http.client`` reads what came; it speaks
HTTP/1.0, so that a response ends where the connection does."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import ssl
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

from fairlead.errors import Unreachable
from fairlead.timestamping.token import MAX_RESPONSE

DEADLINE_S = 15.0
MAX_HEAD = 16 * 1024
_ASKED = "application/timestamp-query"
_TOLD = "application/timestamp-reply"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


async def fetch(url: str, request: bytes, *, deadline_s: float = DEADLINE_S) -> bytes:
    """Send a request and return the body of the response, unread.

    :param url: validated by the configuration.
    :raises Unreachable: TIMESTAMP_ABSENT, _SLOW, _HTTP (no 200, or not a timestamp) or _TOO_LARGE.
    """
    try:
        async with asyncio.timeout(deadline_s):
            octets = await _exchange(url, request)
    except TimeoutError:
        raise _nothing("TIMESTAMP_SLOW") from None
    except (OSError, ValueError):
        raise _nothing("TIMESTAMP_ABSENT") from None
    return _body(octets)


async def _exchange(url: str, request: bytes) -> bytes:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"POST {path} HTTP/1.0\r\nHost: {parts.netloc}\r\nContent-Type: {_ASKED}\r\n"
            f"Accept: {_TOLD}\r\nContent-Length: {len(request)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + request)
        await writer.drain()
        octets = b""
        while len(octets) <= MAX_HEAD + MAX_RESPONSE and not _whole(octets):
            more = await reader.read(16 * 1024)
            if not more:
                break
            octets += more
        return octets
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _whole(octets: bytes) -> bool:
    """Whether the length that the head names is there: not every server closes when asked to."""
    head, end, body = octets.partition(b"\r\n\r\n")
    found = _LENGTH.search(head + b"\r\n") if end else None
    return found is not None and len(body) >= int(found[1])


class _Heard:
    """What came, where ``http.client`` expects a socket."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, *_: object) -> io.BytesIO:
        """The octets to read."""
        return io.BytesIO(self._octets)


def _body(octets: bytes) -> bytes:
    if len(octets) > MAX_HEAD + MAX_RESPONSE:
        raise _nothing("TIMESTAMP_TOO_LARGE")
    try:
        response = HTTPResponse(cast("Any", _Heard(octets)), method="POST")
        response.begin()
        kind = response.headers.get_content_type()
        body = response.read(MAX_RESPONSE + 1)
    except (HTTPException, OSError, ValueError):
        raise _nothing("TIMESTAMP_HTTP") from None
    if response.status != HTTPStatus.OK or kind != _TOLD:
        raise _nothing("TIMESTAMP_HTTP")
    if len(body) > MAX_RESPONSE:
        raise _nothing("TIMESTAMP_TOO_LARGE")
    return body


def _nothing(code: str) -> Unreachable:
    return Unreachable(
        "the timestamp authority gave no token",
        reasons=(code,),
        remedy="check [timestamps] url from this machine; the log goes on without",
    )
