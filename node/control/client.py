"""A command's end of the control socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead.errors import Misconfigured
from node.control.message import MAX_REPLY, SOCKET, parse_reply, request

TIMEOUT_S = 120.0


def call(folder: Path, command: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Have the running node do something.

    :param folder: the node's state folder.
    :returns: its result; None when no node runs.
    :raises NodeRefused: the node's own error. :raises Misconfigured: it does not answer.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(f"/proc/self/fd/{handle}/{SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # no node, or one that ended without taking its socket away
        except OSError:
            raise _silent() from None
        finally:
            os.close(handle)
        try:
            connection.sendall(request(command, fields))
            return parse_reply(_line(connection))
        except OSError:
            raise _silent() from None


def _line(connection: socket.socket) -> bytes:
    chunks, size = [], 0
    while chunk := connection.recv(65_536):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY:
            raise _silent()
    return b"".join(chunks)


def _silent() -> Misconfigured:
    return Misconfigured(
        "the running node does not answer on its control socket",
        reasons=("CONTROL_SOCKET",),
        remedy="run this as the user that runs the node; else read the node's log",
    )
