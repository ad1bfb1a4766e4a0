"""``backup`` and ``restore``: the same two commands for every server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import Format, emit, say

if TYPE_CHECKING:
    from fairlead.backup import Backup
    from fairlead.cli.retention import Kept

COLUMNS = ("kind", "name", "log", "leaves", "files", "octets")
ConfigOption = Annotated[Path, typer.Option("--config", help="Configuration file (TOML).")]
OutputOption = Annotated[Format, typer.Option("--output", help="How to print the data.")]
Settings = Callable[[Path], tuple[Path, str]]
"""Configuration file → (state folder, the process's id)."""


def add_backup(
    app: typer.Typer, kind: str, settings: Settings, keeper: Callable[[Path], Kept]
) -> None:
    """Give a program its ``backup`` and ``restore``.

    :param kind: ``gateway`` or ``node``; :param settings: called late, as is ``keeper``.
    """
    default = Path(f"{kind}.toml")

    @app.command("backup")
    def backup(
        to: Annotated[Path, typer.Option("--to", help="The file to write; it holds secrets.")],
        config: ConfigOption = default,
        output: OutputOption = Format.TABLE,
    ) -> None:
        """Copy the state into one file, also while it serves. Keys and index are not in it."""
        import time

        from fairlead.backup import take
        from fairlead.retention.copies import seal_copy
        from fairlead.retention.periods import PeriodKeys

        state, name = settings(config)
        kept, now = keeper(config), time.time()
        _, made = PeriodKeys.load_or_make(kept.period_keys)

        def seal(log: Path) -> None:
            seal_copy(log, kept.period_keys, kept.retention(now), now=now)

        _show(take(state, to, kind=kind, name=name, now=now, seal=seal), output)
        say(f"{to} holds secrets: keep it as you keep keys, which it does not hold")
        if made:
            say(
                f"{kept.period_keys} is new: without it no backup of the log can be read; keep a "
                "copy with the other keys, and only the newest"
            )

    @app.command("restore")
    def restore(
        source: Annotated[Path, typer.Argument(help="A file that backup wrote.")],
        config: ConfigOption = default,
        output: OutputOption = Format.TABLE,
    ) -> None:
        """Put a backup in place of the state; refuses to replace a log by an older one."""
        import time

        from fairlead import backup as archive
        from fairlead.retention.copies import open_copy
        from fairlead.retention.periods import PeriodKeys

        state, name = settings(config)
        keys = keeper(config).period_keys
        lost = []

        def unseal(log: Path) -> None:
            lost.append(open_copy(log, lambda: PeriodKeys.load(keys)))

        found = archive.restore(source, state, kind=kind, name=name, now=time.time(), unseal=unseal)
        _show(found, output)
        if found_before := archive.replaced(state):
            names = ", ".join(path.name for path in found_before)
            say(
                f"beside {state} lies what it replaced: {names}; nothing of it is sealed and no "
                "erasure reaches it, so remove it when this one serves"
            )
        if any(lost):
            say(f"{sum(lost)} leaves were erased since this backup: their hashes alone are back")
        say("what this process wrote after the backup is lost: whoever saw it will refuse it")
        say(f"next: fairlead-{kind} check --config {config}")


def _show(found: Backup, output: Format) -> None:
    emit([found.as_record()], columns=COLUMNS, output=output)
