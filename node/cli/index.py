"""``fairlead-node index``: read the sources into the index; ``verify``: is it what was written?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Format, emit, say
from node.cli.act import CONFIG, ConfigOption

if TYPE_CHECKING:
    from node.index import Progress, SourceState

app = typer.Typer(
    invoke_without_command=True,
    help="Read what changed in the sources into the index; a serving node may go on meanwhile.",
)
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
COLUMNS = ("source", "rows", "records", "excluded", "reasons", "check_digit_wrong", "incident")
VERIFIED = ("records", "entries", "generation", "root")
SAY_EVERY_S = 1.0


@app.callback()
def index(
    context: typer.Context,
    config: ConfigOption = CONFIG,
    accept_shrunk: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-shrunk",
            metavar="SOURCE",
            help="This source may have lost many records, or have other columns than it had.",
        ),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Throw the index away first (stop the node before).")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Read what changed in the sources into the index; a serving node may go on meanwhile."""
    if context.invoked_subcommand is not None:
        return
    from fairlead.config import NodeConfig, load
    from node import indexing

    settings = load(NodeConfig, config)
    if anew:
        indexing.remove_index(settings)
    done = indexing.refresh(
        settings,
        gate=indexing.accepted_gate(settings),
        accept_shrunk=accept_shrunk or (),
        watch=_talk(),
    )
    emit([_row(state) for state in done.sources], columns=COLUMNS, output=output)
    for state in done.sources:
        if "UNCLOSED_QUOTE" in state.excluded:
            say(
                f"warning: {state.name} has a quote that is never closed; rows behind it are "
                "lost and cannot be counted\nnext: repair the file and index again"
            )
    for name in done.skipped:
        say(f"warning: {name} was not indexed: nobody has accepted its mapping")
    say(f"{done.records:,} records held; refreshed in {done.seconds:.1f} s")
    for error in done.failures.values():
        raise error
    command = "exposure" if done.skipped else "serve"
    say(f"next: fairlead-node {command} --config {config}")


@app.command("verify")
def verify(config: ConfigOption = CONFIG, output: OutputOption = Format.TABLE) -> None:
    """Read the whole index and compare it with what this node wrote; a serving node goes on."""
    from fairlead.config import NodeConfig, load
    from node.index import verify_index
    from node.indexing import INDEX_FILE, index_keys

    settings = load(NodeConfig, config)
    token_key, field_key = index_keys(settings)
    due = _every()

    def progress(done: int, total: int) -> None:
        if due():
            say(f"{done:,} of {total:,} rows")

    found = verify_index(
        settings.state_dir / INDEX_FILE,
        token_key=token_key,
        field_key=field_key,
        progress=progress,
    )
    row = {
        "records": found.records,
        "entries": found.entries,
        "generation": found.generation,
        "root": found.root.hex(),
    }
    emit([row], columns=VERIFIED, output=output)
    say("the index is what this node wrote")


def _row(state: SourceState) -> dict[str, object]:
    excluded = state.excluded
    return {
        "source": state.name,
        "rows": state.rows,
        "records": state.records,
        "excluded": sum(excluded.values()),
        "reasons": ", ".join(f"{reason} {n}" for reason, n in sorted(excluded.items())),
        "check_digit_wrong": state.checksum_failed,
        "incident": state.incident,
    }


def _talk() -> Callable[[Progress], None]:
    due = _every()

    def watch(progress: Progress) -> None:
        if not due():
            return
        what = "records read" if progress.phase == "read" else "steps applied"
        of = f" of {progress.total:,}" if progress.total else ""
        left = "" if progress.left_s is None else f", {progress.left_s:,.0f} s left"
        pace = f"{progress.per_second:,.0f} a second"
        say(f"{progress.source}: {progress.done:,}{of} {what}, {pace}{left}")

    return watch


def _every() -> Callable[[], bool]:
    from time import monotonic

    last = [monotonic()]

    def due() -> bool:
        if monotonic() - last[0] < SAY_EVERY_S:
            return False
        last[0] = monotonic()
        return True

    return due
