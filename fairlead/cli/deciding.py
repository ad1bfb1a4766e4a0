"""``fairlead-oversight share`` and ``search``: an officer decides about an auditor's request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.officer import CONFIG, ConfigOption, OutputOption, opened_register
from fairlead.cli.output import Exit, Format, emit, printable, say
from fairlead.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.opening.filtering import Doubt, Given
    from fairlead.opening.request import Request
    from fairlead.opening.share import Oversight
    from fairlead.opening.sought import Sought
    from fairlead.oversight.config import OversightConfig
    from fairlead.partners import Directory

RequestArgument = Annotated[Path, typer.Argument(help="An auditor's request: request.opening.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Your pseudonym; without it the request is only shown.")
]
UnwitnessedOption = Annotated[
    bool,
    typer.Option(
        "--unwitnessed",
        help="Take the gateway's own word for a leaf whose log head no quorum has cosigned.",
    ),
]
NAMED = 5
"""Askers and purposes that are shown by name; of more, how many."""


def share(
    request: RequestArgument,
    by: ByOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file of shares; default: PARTNER.shares.")
    ] = None,
    unwitnessed: UnwitnessedOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> None:
    """Decide about an auditor's request to open sealed detail: look at it, then release.

    Verifies the request and shows who asks, why, and for what. With --by it is kept, and put on the
    record in your oversight's own log; then your shares are sealed, for this request alone: to the
    auditor who asks for one leaf, and of a search to the oversight that filters it. What you hold
    is a share: it says nothing to you, nor to anybody alone.
    """
    from fairlead.names import check_code
    from fairlead.oversight.sharing import Desk
    from fairlead.oversight.sharing import share as release

    with opened_register(config) as (settings, register):
        wanted, _ = _shown(settings, request, output)
        if by is None:
            other = "search" if wanted.searcher == settings.partner else "share"
            say(f"next: fairlead-oversight {other} {request} --by USER --config {config}")
            return
        target = to or Path(f"{settings.partner}.shares")
        desk = Desk(config=settings, register=register, by=check_code(by), unwitnessed=unwitnessed)
        release(desk, wanted, target)
    reader = f"the oversight of {wanted.searcher}" if wanted.search else "the auditor"
    say(f"give this file to {reader}: {target}")


def search(
    request: RequestArgument,
    details: Annotated[
        Path | None, typer.Option("--details", help="The auditor's request.details.")
    ] = None,
    shares: Annotated[
        list[Path] | None,
        typer.Option("--share", help="What another oversight released to yours; repeat."),
    ] = None,
    by: ByOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="What was found; default: PARTNER.found.")
    ] = None,
    unwitnessed: UnwitnessedOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Format.TABLE,
) -> int:
    """Filter an auditor's search: open its leaves here, let out those about the subject.

    For the oversight that the request names. With --by it is kept and put on the record; then
    every sealed detail is opened in memory with your share and the other members', and compared
    with the subject that the auditor sealed to you. Only the shares of leaves about the subject are
    written, sealed to the auditor. Nothing is printed of any leaf.
    """
    from fairlead.names import check_code
    from fairlead.oversight.sharing import Desk
    from fairlead.oversight.sharing import search as filter_search

    with opened_register(config) as (settings, register):
        wanted, known = _shown(settings, request, output)
        if by is None or details is None:
            say(
                f"next: fairlead-oversight search {request} --details FILE --share FILE … --by USER"
                f" --config {config}"
            )
            return Exit.ANSWERED
        target = to or Path(f"{settings.partner}.found")
        desk = Desk(config=settings, register=register, by=check_code(by), unwitnessed=unwitnessed)
        given, left_out = _given(desk.oversight, wanted, details, shares or [])
        doubts = filter_search(desk, wanted, given, target, known)
    _say_doubts(doubts, len(wanted.sought))
    say(f"give this file to the auditor: {target}")
    return Exit.CHECK_FAILED if doubts or left_out else Exit.ANSWERED


def _shown(
    settings: OversightConfig, path: Path, output: Format
) -> tuple[Request, tuple[Directory, ...]]:
    """The request, verified as somebody does who decides about it, and shown."""
    import time

    from fairlead.opening.files import deny_lists, directories, read_request

    known = directories(settings.directory, settings.trust, now=time.time())
    denied = deny_lists(settings.directory, settings.trust, known, clock=time.time)
    wanted = read_request(path, known, now=time.time(), deny_lists=denied)
    record = _wanted(wanted, known[0].serial)
    emit([record], columns=tuple(record), output=output)
    return wanted, known


def _given(
    by: Oversight, request: Request, details: Path, shares: Sequence[Path]
) -> tuple[Given, int]:
    """What was handed over; a file of shares that does not verify is said and left out."""
    from fairlead.opening.files import read_octets
    from fairlead.opening.filtering import MAX_DETAILS, Given, read_details, read_shares
    from fairlead.opening.share import MAX_SHARES

    found, left_out = {}, 0
    for path in shares:
        data = read_octets(path, MAX_SHARES)
        try:
            released = read_shares(data, request, by)
        except FairleadError as error:
            left_out += 1
            say(f"{printable(str(path))}: left out: {error.diagnostics()}")
            continue
        found[released.partner_id] = (data, released)
    octets = read_octets(details, MAX_DETAILS)
    return Given(details=read_details(octets, request), files=tuple(found.values())), left_out


def _say_doubts(doubts: Sequence[Doubt], leaves: int) -> None:
    if not doubts:
        return
    unread = len({doubt.place for doubt in doubts})
    say(f"{unread} of {leaves} leaves could not be read, or are wrong; each is said to the auditor")
    counted = Counter((doubt.reason, doubt.partner_id) for doubt in doubts)
    for (reason, partner), count in sorted(counted.items()):
        say(f"{reason} {partner or '-'}: {count}")


def _wanted(request: Request, serial: int) -> dict[str, Any]:
    """What an officer decides about, under the newest directory.

    How many ``terms`` leaves have is shown because one that matches opens all of its own.
    """
    from fairlead.cli.options import when

    alone = None if request.search else request.sought[0]
    leaf = alone and alone.leaf
    leaves = [item.leaf for item in request.sought]
    return {
        "auditor": request.auditor.spiffe_id.partition("/partner/")[2],
        "ground": request.ground,
        "reference": request.reference,
        "made_at": when(request.issued_at),
        "leaves": len(request.sought),
        "from": when(request.since or request.sought[0].at),
        "to": when(request.until) if request.search else None,
        "query": leaf.query_id.hex() if leaf else None,
        "asked_by": _named(leaf.user.partition("/partner/")[2] for leaf in leaves),
        "purpose": _named(leaf.purpose for leaf in leaves),
        "sealed_by": _named(item.bound.maker for item in request.sought),
        "terms": _named(str(leaf.term_count) for leaf in leaves),
        "proved_by": _named(_proved_by(item, serial) for item in request.sought),
        "filtered_by": request.searcher or None,
    }


def _named(values: Iterable[str]) -> str:
    """The commonest values, each with how often it is there if there are more."""
    counted = Counter(values).most_common()
    if len(counted) == 1:
        return counted[0][0]
    shown = [f"{value} ({count})" for value, count in counted[:NAMED]]
    left = len(counted) - len(shown)
    return ", ".join([*shown, *([f"{left} more"] if left else [])])


def _proved_by(item: Sought, serial: int) -> str:
    """Whose word the leaf is. ``serial`` is of the directory that lists the witnesses."""
    if item.witnessed:
        return f"{item.leaf.log}, cosigned by a quorum of directory {serial}"
    return f"{item.leaf.log} alone"
