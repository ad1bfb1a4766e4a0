"""``fairlead login``: a key of one's own on this machine, certified by the user authority."""

from __future__ import annotations

from typing import Annotated

import typer

from fairlead.cli.options import ProfileOption, when
from fairlead.cli.output import say


def login(
    authority: Annotated[str, typer.Option("--authority", help="The user authority's host:port.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Its fingerprint, given to you with the code.")
    ],
    code: Annotated[str, typer.Option("--code", help="Your one-time code.")],
    node: Annotated[
        str | None,
        typer.Option("--node", help="Your own node's host:port; default: the directory's."),
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """Make your key here, have it certified, and write your profile. The key never leaves."""
    import os
    import time
    from pathlib import Path

    from fairlead.login import log_in
    from fairlead.profile import ENVIRONMENT

    named = profile or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    path = named or Path.home() / ".config" / "fairlead" / "profile.toml"
    done = log_in(
        profile=path,
        address=authority,
        fingerprint=_octets(fingerprint),
        code=code,
        node=node,
        now=time.time(),
    )
    say(f"you are {done.spiffe_id} until {when(int(done.not_after))}; it renews by itself")
    say(f"your key and profile are in {path.parent}, readable by you alone")
    say("next: fairlead partners" + ("" if named is None else f" --profile {path}"))


def _octets(text: str) -> bytes:
    from fairlead.errors import InvalidInput

    try:
        octets = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != 32:
        raise InvalidInput(
            "a fingerprint is 64 hexadecimal digits",
            reasons=("FINGERPRINT",),
            remedy="ask for a new code: fairlead-authority user renew PSEUDONYM   (shows it)",
        )
    return octets
