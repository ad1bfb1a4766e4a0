"""The running node's end of the control socket."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fairlead.errors import FairleadError, InvalidInput, Misconfigured, Refused
from fairlead.telemetry import Event, get_logger
from node.control.message import MAX_REQUEST, SOCKET, failure, parse_request, result

Handler = Callable[..., Awaitable[Mapping[str, Any]]]
"""Takes the fields of its command by name."""
CONNECTIONS = 8
READ_S = 10.0
"""Seconds a client has to write its line."""
_CREDENTIALS = struct.Struct("3i")


class ControlServer:
    """Serves one command a connection, to this user alone.

    1. The socket's file is readable by its owner only. 2. The kernel says that the peer is the
    same user. 3. The request is one bounded line and a known command.

    :param folder: the state folder, whose log this process has locked.
    """

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        self._folder = folder
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Listen.

        :raises Misconfigured: ``CONTROL_SOCKET``: the socket cannot be made.
        """
        try:
            listening = bind(self._folder)
        except OSError:
            raise Misconfigured(
                "the control socket cannot be made",
                reasons=("CONTROL_SOCKET",),
                remedy="check the permissions of the state folder (ls -ld)",
            ) from None
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=MAX_REQUEST
        )

    async def close(self) -> None:
        """Stop listening and take the socket away."""
        if self._server is not None:
            self._server.close()
            (self._folder / SOCKET).unlink(missing_ok=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._open >= CONNECTIONS or not _same_user(writer):
                return
            self._open += 1
            try:
                writer.write(await self._reply(reader))
                await writer.drain()
            finally:
                self._open -= 1
        except OSError:
            return  # the client left
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            # 3
            try:
                line = await asyncio.wait_for(reader.readuntil(b"\n"), READ_S)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                raise InvalidInput(
                    "the running node was sent no command", reasons=("CONTROL_MESSAGE",)
                ) from None
            command, fields = parse_request(line)
            handler = self._handlers.get(command)
            if handler is None:
                raise Refused("this node does not do this", reasons=("CONTROL_MESSAGE",))
            return result(await handler(**fields))
        except FairleadError as error:
            return failure(error)
        except Exception as error:  # noqa: BLE001  (its text may hold a term: the class is logged)
            get_logger().error(Event.UNHANDLED, exception=type(error).__name__)
            return failure(FairleadError("the node failed; its log says more"))


def bind(folder: Path) -> socket.socket:
    """A listening socket in ``folder``, mode 0600. The path goes through a handle of the folder,
    because a socket's own path may have at most 107 octets.

    :raises OSError: it cannot be made.
    """
    (folder / SOCKET).unlink(missing_ok=True)  # left by a process that ended without order
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    listening = socket.socket(socket.AF_UNIX)
    try:
        mask = os.umask(0o177)
        try:
            listening.bind(f"/proc/self/fd/{handle}/{SOCKET}")
        finally:
            os.umask(mask)
        listening.listen(CONNECTIONS)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    finally:
        os.close(handle)
    return listening


def _same_user(writer: asyncio.StreamWriter) -> bool:
    peer: socket.socket = writer.get_extra_info("socket")
    octets = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(octets)
    return bool(uid == os.geteuid())
