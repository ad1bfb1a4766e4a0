"""``fairlead-node init`` and ``enrol``: keys made here, one request out, one admission in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import emit_table, say

if TYPE_CHECKING:
    from fairlead.enrolment.admission import Admission
    from fairlead.partners import PartnerKind


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the node.")],
    partner: Annotated[str, typer.Option("--partner", help="The partner's id.")],
    name: Annotated[str, typer.Option("--name", help="The partner's name, as others see it.")],
    kind: Annotated[str, typer.Option("--kind", help="customs, police, terminal, …")],
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2, as in NL.")],
    listen: Annotated[str, typer.Option("--listen", help="host:port to listen on.")],
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="host:port under which the gateway dials the node.")
    ],
    invitation: Annotated[
        Path, typer.Option("--invitation", help="The operators' invitation file.")
    ],
    phrase: Annotated[
        str, typer.Option("--phrase", help="The invitation's check phrase, as an operator read it.")
    ],
    authority: Annotated[
        Path, typer.Option("--authority", help="Your user authority's certificate: authority.pem.")
    ],
    oversight: Annotated[
        Path | None,
        typer.Option("--oversight", help="Your oversight's public key: oversight.public."),
    ] = None,
    contact: Annotated[
        str, typer.Option("--contact", help="The desk that others are referred to.")
    ] = "",
    scheme: Annotated[
        list[str] | None,
        typer.Option("--scheme", help="A scheme you answer for (repeat; default: all known)."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further DNS name or IP address (repeat)."),
    ] = None,
) -> None:
    """Make every key of a node where it is used, and one request file for the operators."""
    import time

    from fairlead import identifiers
    from fairlead.authority import load_certificate
    from fairlead.enrolment.invitation import Invitation, compare, endpoint_host
    from fairlead.phrases import check_phrase
    from node.founding import Card, NodeFolder, found, public_key

    invited = Invitation.load(invitation)
    compare(phrase, invited.fingerprint, code="INVITATION_PHRASE")
    card = Card(
        partner_id=partner,
        display_name=name,
        kind=kind_of(kind),
        country=country,
        contact_desk=contact or name,
        schemes=tuple(scheme or sorted(identifiers.SCHEMES)),
        listen=listen,
        endpoint=endpoint,
        hosts=tuple(sorted({endpoint_host(endpoint), *(host or ())})),
    )
    place = NodeFolder(root=folder)
    key = None if oversight is None else public_key(oversight)
    request, new = found(
        place, card, invited, load_certificate(authority), oversight=key, now=time.time()
    )
    say(f"request for the operators: {place.request()}" + ("" if new else "   (as made before)"))
    words = check_phrase(request.root_fingerprint)
    say(f"your root's check phrase, to read to two operators: {words}")
    say(f"take {place.root_key.parent} away and keep it offline: it alone can change your entry")
    if oversight is None:
        say(f"hand {folder / 'oversight'} to your oversight; the node needs neither")
    say(f"next, with the operators' answer: fairlead-node enrol FILE --folder {folder}")


def enrol(
    admission: Annotated[Path, typer.Argument(help="The operators' admission file.")],
    folder: Annotated[Path, typer.Option("--folder", help="The node's folder.")] = Path(),
    phrase: Annotated[
        list[str] | None,
        typer.Option("--phrase", help='"PARTNER words": as that partner read it (repeat).'),
    ] = None,
    trust_operators_pins: Annotated[
        bool,
        typer.Option(
            "--trust-operators-pins",
            help="Take the operators' word for the partners you did not telephone.",
        ),
    ] = False,
) -> None:
    """Verify an admission and take it up: certificate, directory, pins, deny lists, policy."""
    import time

    from node import enrolling
    from node.founding import NodeFolder

    place = NodeFolder(root=folder)
    data = _read(admission)
    if enrolling.used_before(place, data):
        say("this admission was used before; nothing was changed [ADMISSION_USED]")
        say(f"next: fairlead-node check --config {place.config}")
        return
    now = time.time()
    _, found, _ = enrolling.read(place, data, now=now)
    _show(found)
    enrolled = enrolling.enrol(
        place,
        data,
        spoken=phrase or [],
        trust_operators_pins=trust_operators_pins,
        now=now,
    )
    say(f"enrolled: {enrolled.request.node}, directory {found.directory.serial}")
    for partner in sorted(found.vouched.keys() - enrolled.pins.keys()):
        say(f"{partner} is not pinned: it is neither asked nor answered before you telephoned it")
        if partner in found.directory.appointed.committee:
            say(
                f"{partner} is of the audit committee: until then this node asks and answers nobody"
            )
        say(f'next: fairlead-node partner pin {partner} --phrase "…" --config {place.config}')
    say(f"next: fairlead-node check --config {place.config}")


def kind_of(text: str) -> PartnerKind:
    """A kind of partner.

    :raises InvalidInput: PARTNER_KIND.
    """
    from fairlead.errors import InvalidInput
    from fairlead.partners import PartnerKind

    try:
        return PartnerKind(text.replace("-", "_"))
    except ValueError:
        raise InvalidInput(
            "a partner's kind is unknown",
            reasons=("PARTNER_KIND",),
            remedy="--kind " + "|".join(kind.value for kind in PartnerKind),
        ) from None


def _show(found: Admission) -> None:
    from fairlead.phrases import check_phrase

    if found.vouched:
        say("the other partners, with the check phrases that each reads from `fairlead-node init`:")
        emit_table(
            ("partner", "name", "check_phrase"),
            [
                (partner, found.directory.partners[partner].display_name, check_phrase(pin))
                for partner, pin in sorted(found.vouched.items())
                if partner in found.directory.partners
            ],
        )


def _read(path: Path) -> bytes:
    from fairlead.enrolment.admission import MAX_ADMISSION
    from fairlead.errors import InvalidInput

    try:
        with path.open("rb") as file:
            return file.read(MAX_ADMISSION + 1)
    except OSError:
        raise InvalidInput(
            "the admission file is missing or unreadable",
            reasons=("FILE",),
            remedy="check the path, and ask an operator for the file again",
        ) from None
