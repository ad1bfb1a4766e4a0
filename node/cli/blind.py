"""``fairlead-node blind``: publish what may be asked blind, and what is published."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.output import Format, awaited, emit, emit_json, say
from node.cli.act import CONFIG, ConfigOption

if TYPE_CHECKING:
    from fairlead.config import NodeConfig

app = typer.Typer(help="Publish what partners may ask blind; see what is published.")
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
COLUMNS = (
    "class", "partners", "purposes", "scheme", "epoch", "serial", "terms", "entries", "state",
)  # fmt: skip
EVERY_S = 1.0
PHASES = {
    "survey": "records read",
    "evaluate": "entries of the index looked at",
    "match": "match keys of persons looked at",
    "write": "snapshots written",
}


@app.command("publish")
def publish(
    config: ConfigOption = CONFIG,
    accept_shrunk: Annotated[
        bool,
        typer.Option("--accept-shrunk", help="Snapshots may have lost many terms."),
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make and sign a snapshot for each class and scheme in which something changed."""
    from fairlead.config import NodeConfig, load

    settings = load(NodeConfig, config)
    lines = _running(settings, accept_shrunk)
    if lines is None:
        lines = _at_rest(settings, accept_shrunk)
    _print(lines, output)
    held = sum(line["state"] == "held" for line in lines)
    done = sum(line["state"] == "published" for line in lines)
    say(f"{done} of {len(lines)} published, {len(lines) - done - held} unchanged, {held} held back")
    if held:
        raise _shrunk()
    if not lines:
        say("nobody may ask blind: no accepted agreement covers a partner and a scheme")
    say(f"next: fairlead-node blind status --config {config}")


@app.command("status")
def status(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Show every snapshot whose key answers now."""
    from node.cli.act import act

    found = act(config, "blind-status")
    if output is Format.JSON:
        emit_json(found)
        return
    _print(found["published"], output)
    if found["running"]:
        say("a publication is under way")
    if not found["published"]:
        say(f"nothing is published\nnext: fairlead-node blind publish --config {config}")


def _running(settings: NodeConfig, accept_shrunk: bool) -> list[dict[str, Any]] | None:
    """Have the running node publish, and wait; None when none runs."""
    from node.control.client import call
    from node.control.message import NodeRefused

    if call(settings.state_dir, "blind-publish", {"accept_shrunk": accept_shrunk}) is None:
        return None
    while True:
        found = call(settings.state_dir, "blind-status", {})
        if found is None or not found["running"]:
            break
        if found["progress"]:
            _tell(found["progress"])
        time.sleep(EVERY_S)
    last = found["last"] if found else None
    if last is None:
        raise _ended()
    if last["error"]:
        told = last["error"]
        raise NodeRefused(
            told["message"], reasons=tuple(told["reasons"]), remedy=told["remedy"],
            code=told["exit"],
        )  # fmt: skip
    lines: list[dict[str, Any]] = last["lines"]
    return lines


def _at_rest(settings: NodeConfig, accept_shrunk: bool) -> list[dict[str, Any]]:
    """Publish on the files of a node that does not run."""
    from dataclasses import asdict

    from fairlead import telemetry
    from node.owning import at_rest
    from node.publication.process import Progress
    from node.publication.publishing import lines_document

    telemetry.configure("error")
    said = [0.0]

    def watch(progress: Progress) -> None:
        if time.monotonic() - said[0] >= EVERY_S:
            said[0] = time.monotonic()
            _tell(asdict(progress))

    async def here() -> list[dict[str, Any]]:
        async with at_rest(settings) as steering:
            publisher = steering.publishing.publisher
            return lines_document(await publisher.publish(accept_shrunk=accept_shrunk, watch=watch))

    return awaited(here())


def _tell(progress: Mapping[str, Any]) -> None:
    say(f"{progress['done']:,} of {progress['total']:,} {PHASES[progress['phase']]}")


def _print(lines: Sequence[Mapping[str, Any]], output: Format) -> None:
    if output is Format.JSON:
        emit_json(list(lines))
        return
    rows = [
        {**line, "partners": " ".join(line["partners"]), "purposes": " ".join(line["purposes"])}
        for line in lines
    ]
    emit(rows, columns=COLUMNS, output=output)


def _shrunk() -> Exception:
    from fairlead.errors import SourceUnusable

    return SourceUnusable(
        "a snapshot has lost more than a fifth of its terms; the one before it stays",
        reasons=("COUNT_SHRANK",),
        remedy="if that is right: fairlead-node blind publish --accept-shrunk --config FILE",
    )


def _ended() -> Exception:
    from fairlead.errors import Misconfigured

    return Misconfigured(
        "the node stopped while it published; what was computed is kept",
        reasons=("PUBLISH_CRASHED",),
        remedy="start it, then: fairlead-node blind publish --config FILE",
    )
