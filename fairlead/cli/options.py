"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.output import Format, RowFormat
from fairlead.errors import InvalidInput

if TYPE_CHECKING:
    from fairlead.profile import Profile

ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="Profile file; default: FAIRLEAD_PROFILE, then ~/.config."),
]
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
RowsOption = Annotated[RowFormat, typer.Option("--output", help="How to print the data.")]


class TlpWord(StrEnum):
    """``--tlp`` (Traffic Light Protocol 2.0)."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    AMBER_STRICT = "AMBER_STRICT"
    RED = "RED"


class PapWord(StrEnum):
    """``--pap`` (Permissible Actions Protocol)."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    RED = "RED"


TlpOption = Annotated[
    TlpWord | None,
    typer.Option("--tlp", case_sensitive=False, help="Who may see the question itself."),
]
PapOption = Annotated[
    PapWord | None,
    typer.Option(
        "--pap",
        case_sensitive=False,
        help="What may be done with it that the subject could notice.",
    ),
]


def handling(tlp: TlpWord | None, pap: PapWord | None) -> dict[str, Any]:
    """Both as wire numbers; what is not stated is left to the case."""
    from fairlead.v1.handling_pb2 import Pap, Tlp

    return {
        "tlp": Tlp.Value(f"TLP_{tlp.value}") if tlp else 0,
        "pap": Pap.Value(f"PAP_{pap.value}") if pap else 0,
    }


def query_reference(text: str) -> bytes:
    """Read the id of a query: 32 hexadecimal digits.

    :raises InvalidInput: anything else.
    """
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise InvalidInput(
            "a query's id has 32 hexadecimal digits",
            reasons=("QUERY_ID",),
            remedy="fairlead queries list",
        )
    return found


_AGO = re.compile(r"(\d{1,5})([dhm])\Z")
_DAYS = re.compile(r"[1-9]\d*d\Z")
WAY_S = 600
"""Seconds from typing a question until a node has judged it, at most: a list of a million terms is
read in between."""
_UNIT_S = {"d": 86_400, "h": 3_600, "m": 60}


def moment(text: str | None, *, now: float) -> int:
    """Read ``90d``, ``12h``, ``30m`` (ago) or an ISO 8601 time as unix seconds; None is 0.

    :raises InvalidInput: neither.
    """
    if text is None:
        return 0
    ago = _AGO.match(text)
    if ago:
        return int(now) - int(ago[1]) * _UNIT_S[ago[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "a time is neither a span like 90d nor an ISO 8601 time",
            reasons=("TIME",),
            remedy='for example --since 90d, or --until "2026-11-01T06:00Z"',
        ) from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def asked_since(text: str | None, *, now: float) -> int:
    """As :func:`moment`, for where a question begins. Policy limits how many days it reaches over,
    a begun one counted whole, and judges it when it has arrived: a span of days is shorter by
    what the way may take.

    :raises InvalidInput: neither.
    """
    found = moment(text, now=now)
    return found + WAY_S if text and _DAYS.match(text) else found


def lasting(text: str, *, now: float) -> int:
    """Read ``90d`` (from now) or an ISO 8601 time as unix seconds."""
    span = _AGO.match(text)
    if span:
        return int(now) + int(span[1]) * _UNIT_S[span[2]]
    return moment(text, now=now)


def when(seconds: int) -> str:
    """Unix seconds as a short UTC time; 0, and what is no time, as a dash."""
    found = _utc(seconds)
    return found.strftime("%Y-%m-%d %H:%MZ") if found else "–"


def iso(seconds: int) -> str | None:
    """Unix seconds as ISO 8601 in UTC, for JSON; 0, and what is no time, as null."""
    found = _utc(seconds)
    return found.isoformat().replace("+00:00", "Z") if found else None


def _utc(seconds: int) -> datetime | None:
    """Total: another organisation's absurd time must not stop the others from being shown."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def connect(profile_option: Path | None) -> tuple[Any, Any, Path]:
    """The client of a user's own node, the profile, and the profile's folder.

    :raises FairleadError: not set up, or the directory does not verify.
    """
    import time

    from fairlead.client import NodeClient
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    profile, folder = load_profile(profile_option)
    _renew_when_due(profile)
    trust = Trust.load(profile.trust)
    directory = trust.directory(profile.directory, now=time.time())
    return NodeClient(profile, directory), profile, folder


def _renew_when_due(profile: Profile) -> None:
    """Renew a certificate at a third of its life; when that fails, the one in force goes on."""
    import time

    import grpc

    from fairlead.cli.output import say
    from fairlead.errors import FairleadError
    from fairlead.login import due, renew

    now = time.time()
    if not due(profile, now):
        return
    try:
        until = renew(profile, now=now)
        say(f"your certificate was renewed until {when(int(until))}")
    except FairleadError as error:
        say(f"warning: your certificate was not renewed: {error.diagnostics()}")
    except grpc.RpcError:
        say("warning: your certificate was not renewed: the authority refused [RENEWAL]")
        say("next: ask your user authority for a code, then: fairlead login …")
