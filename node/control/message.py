"""Requests and replies on the control socket: one JSON object on one line each.

::

    {"command": "pause", "reason": "MAINTENANCE", "for_s": 7200}
    {"result": {…}}   or   {"error": {"message": …, "reasons": […], "remedy": …, "exit": 3}}

Whoever writes to the socket is already this user, and still nothing it writes is trusted:
:func:`parse_request` refuses whatever is not exactly a known command with its own fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fairlead.errors import FairleadError, InvalidInput, Misconfigured

SOCKET = "control.sock"
MAX_REQUEST = 8 * 1024
"""Octets of one request, its newline included."""
MAX_REPLY = 64 * 1024 * 1024
MAX_TEXT = 256
"""Characters of one text in a request."""

Fields = Mapping[str, tuple[type, bool]]
_ENTRY: Fields = {"entry": (str, True), "by": (str, True)}
_DATED: Fields = {**_ENTRY, "on": (str, True), "correct": (bool, False)}
REGISTER: Mapping[str, Fields] = {
    "report-add": {
        **_DATED,
        "kind": (str, False),
        "happened": (str, False),
        "no_feedback": (bool, False),
        "reporter": (str, False),
        "place": (str, False),
        "event": (str, False),
        "modus": (str, False),
        "shore": (str, False),
        "staff": (str, False),
        "commodity": (str, False),
        "origin": (str, False),
    },
    "report-feedback": _DATED,
    "report-reporter": {**_ENTRY, "forget": (bool, False)},
    "enquiry-open": {**_DATED, "report": (str, False), "place": (str, False)},
    "enquiry-close": _DATED,
    "outcome-add": {
        **_DATED,
        "enquiry": (str, True),
        "outcome": (str, True),
        "place": (str, False),
        "exchange": (str, False),
        "kg": (int, False),
    },
    "register-withdraw": {**_ENTRY, "noun": (str, True)},
    "register-list": {"noun": (str, True), "revisions": (bool, False)},
}
"""The acts at the register."""
COMMANDS: Mapping[str, Fields] = MappingProxyType(
    {
        "status": {},
        "exposure": {},
        "accept": {"by": (str, True), "digest": (str, False)},
        "pause": {"reason": (str, True), "for_s": (int, False)},
        "resume": {},
        "preview": {
            "partner": (str, True),
            "purpose": (str, True),
            "term": (str, True),
            "scheme": (str, False),
            "legal_basis": (str, False),
            "mode": (str, False),
            "since": (int, False),
            "until": (int, False),
        },
        "bundle-made": {},
        "blind-publish": {"accept_shrunk": (bool, False)},
        "blind-status": {},
        "snapshots": {},
        "reconcile": {},
        "decoys-add": {
            "scheme": (str, True),
            "value": (str, False),
            "generate": (int, False),
        },
        "decoys-list": {},
        "decoys-remove": {"decoy": (str, True)},
        "statistics-preview": {"cube": (str, True), "level": (str, True), "period": (str, True)},
        "statistics-waive": {
            "cube": (str, True),
            "level": (str, True),
            "cell": (str, True),
            "measure": (str, True),
            "version": (int, True),
            "by": (str, True),
            "value": (int, False),
        },
        **REGISTER,
    }
)
"""Command → field → its type, and whether it must be there."""
_LARGEST = 2**53


def parse_request(line: bytes) -> tuple[str, dict[str, Any]]:
    """The command and its fields.

    :raises InvalidInput: ``CONTROL_MESSAGE``: too long, no JSON object, an unknown command, a
        field that is unknown, missing, of another type or too large.
    """
    if len(line) > MAX_REQUEST:
        raise _refused()
    try:
        content = json.loads(line.decode("utf-8"), object_pairs_hook=_no_repetition)
    except (ValueError, RecursionError):
        raise _refused() from None
    if not isinstance(content, dict):
        raise _refused()
    command = content.pop("command", None)
    fields = COMMANDS.get(command) if isinstance(command, str) else None
    if fields is None or not isinstance(command, str) or not content.keys() <= fields.keys():
        raise _refused()
    for name, (kind, needed) in fields.items():
        if name not in content:
            if needed:
                raise _refused()
            continue
        value = content[name]
        if type(value) is not kind:
            raise _refused()
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise _refused()
        if isinstance(value, int) and not 0 <= value <= _LARGEST:
            raise _refused()
    return command, content


def request(command: str, fields: Mapping[str, Any]) -> bytes:
    """The octets of a request."""
    return json.dumps({"command": command, **fields}).encode("ascii") + b"\n"


def result(value: Mapping[str, Any]) -> bytes:
    """The octets of a reply."""
    return json.dumps({"result": value}).encode("ascii") + b"\n"


def failure(error: FairleadError) -> bytes:
    """The octets of a reply that says why not; an error's text is fixed and may be shown, and the
    places that it lists (keys, rows) to the owner, whose alone this socket is."""
    content = {
        "message": error.message,
        "reasons": list(error.reasons),
        "remedy": error.remedy,
        "details": error.diagnostics().split("\n")[1 : -1 if error.remedy else None],
        "exit": error.exit_code,
    }
    return json.dumps({"error": content}).encode("ascii") + b"\n"


class NodeRefused(FairleadError):
    """What the running node says instead of a result, in its own words. ``details``: the lines
    between its message and the next command."""

    def __init__(
        self,
        message: str,
        *,
        reasons: tuple[str, ...],
        remedy: str,
        code: int,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, reasons=reasons, remedy=remedy)
        self.details = details
        self.exit_code = code  # type: ignore[misc]

    def diagnostics(self) -> str:
        """As the node itself would print it."""
        head, *rest = super().diagnostics().split("\n")
        return "\n".join([head, *self.details, *rest])


def parse_reply(line: bytes) -> dict[str, Any]:
    """The result of a reply.

    :raises NodeRefused: the node's own error. :raises Misconfigured: no reply at all.
    """
    try:
        content = json.loads(line)
        if "error" not in content:
            found: dict[str, Any] = content["result"]
            return found
        told = content["error"]
        error = NodeRefused(
            str(told["message"]),
            reasons=tuple(str(code) for code in told["reasons"]),
            remedy=str(told["remedy"]),
            details=tuple(str(line) for line in told.get("details", ())),
            code=int(told["exit"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Misconfigured(
            "the running node does not answer on its control socket",
            reasons=("CONTROL_SOCKET",),
            remedy="read the node's log, and restart it",
        ) from None
    raise error


def _no_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refused() -> InvalidInput:
    return InvalidInput(
        "the running node does not know this command",
        reasons=("CONTROL_MESSAGE",),
        remedy="restart the node with the version installed here: fairlead-node --version",
    )
