"""``fairlead-node pause`` and ``resume``: stop answering at once, and answer again."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from fairlead.cli.output import emit_json, say
from node.cli.act import CONFIG, ConfigOption, act

_FOR = re.compile(r"(\d{1,6})([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def pause(
    reason: Annotated[str, typer.Option("--reason", help="A code, such as MAINTENANCE.")],
    config: ConfigOption = CONFIG,
    duration: Annotated[
        str, typer.Option("--for", help="Resume by itself after 30m, 2h or 3d.")
    ] = "",
) -> None:
    """Answer nobody from now on; partners see since when. Own users can still ask."""
    emit_json(act(config, "pause", reason=reason, for_s=_seconds(duration)))
    say("paused: no answer leaves this node any more")
    say(f"next: fairlead-node resume --config {config}")


def resume(config: ConfigOption = CONFIG) -> None:
    """Answer again."""
    emit_json(act(config, "resume"))
    say(f"next: fairlead-node status --config {config}")


def _seconds(text: str) -> int:
    found = _FOR.match(text)
    if text and found is None:
        raise typer.BadParameter("30m, 2h or 3d is expected", param_hint="--for")
    return int(found[1]) * _UNIT_S[found[2]] if found else 0
