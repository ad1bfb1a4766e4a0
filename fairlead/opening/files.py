"""Requests and what answers them, as files handed from person to person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fairlead.errors import InvalidInput
from fairlead.opening.request import MAX_REQUEST, Request, verify_request
from fairlead.partners import DenyLists, Directory
from fairlead.trust import DenyListFile, Trust

DENY_LISTS = "deny-lists.bin"
"""Beside the directory, as every process keeps it."""


def directories(directory: Path, trust: Path, *, now: float) -> tuple[Directory, ...]:
    """The directory in force, then those that are kept beside it, newest first.

    :raises FairleadError: the one in force does not verify.
    """
    anchors = Trust.load(trust)
    return anchors.directory(directory, now=now), *anchors.former(directory)


def deny_lists(
    directory: Path, trust: Path, known: tuple[Directory, ...], *, clock: Callable[[], float]
) -> DenyLists:
    """The deny lists beside a directory.

    :raises FairleadError: they are not there, or do not verify.
    """
    path = directory.with_name(DENY_LISTS)
    return DenyListFile(path, Trust.load(trust), known[0], clock)


def read_request(
    path: Path, known: tuple[Directory, ...], *, now: float, deny_lists: DenyLists | None
) -> Request:
    """A request from its file, verified; see :func:`verify_request`.

    :raises FairleadError: it does not verify.
    """
    data = read_octets(path, MAX_REQUEST)
    return verify_request(data, directories=known, now=now, deny_lists=deny_lists)


def read_octets(path: Path, limit: int) -> bytes:
    """A file of at most ``limit`` octets, handed over by somebody.

    :raises InvalidInput: OPENING_FILE: missing, unreadable or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError:
        data = b""
    if not 0 < len(data) <= limit:
        raise InvalidInput(
            "a file of an opening is missing, empty or too large",
            reasons=("OPENING_FILE",),
            remedy="name the files as they were handed to you",
        )
    return data
