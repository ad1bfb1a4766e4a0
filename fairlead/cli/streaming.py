"""``audit stream``: a log's leaves for a SIEM, the same command for gateway and node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.output import say

if TYPE_CHECKING:
    from fairlead.auditlog import Place
    from fairlead.cli.retention import Kept

ConfigOption = Annotated[Path, typer.Option("--config", help="Configuration file (TOML).")]
LogFile = Callable[[Path], "Place"]
"""Configuration file → where the log lies."""
Keeper = Callable[[Path], "Kept"]
"""Configuration file → the log, and how long its leaves are kept."""


def add_audit(app: typer.Typer, kind: str, log_file: LogFile, keeper: Keeper) -> None:
    """Give a program its ``audit`` commands.

    :param kind: ``gateway`` or ``node``; :param log_file: called late, as is ``keeper``.
    """
    from fairlead.cli.retention import add_retention

    audit = typer.Typer(
        help="Tell a SIEM what the audit log says, and erase what is over.", no_args_is_help=True
    )
    default = Path(f"{kind}.toml")

    @audit.callback()
    def _group() -> None:
        """Tell a SIEM what the audit log says, and erase what is over."""

    @audit.command("stream")
    def stream(
        config: ConfigOption = default,
        follow: Annotated[
            bool, typer.Option("--follow", help="Go on as leaves become durable.")
        ] = False,
        to: Annotated[
            Path | None,
            typer.Option(help="File to append to; a cursor beside it makes sure none is lost."),
        ] = None,
        since_leaf: Annotated[
            int, typer.Option("--from", min=0, help="First leaf to print, without --to.")
        ] = 0,
    ) -> None:
        """Write each leaf as a line of JSON, without terms, beside the running process.

        With --to, every leaf is written at least once, whatever is stopped or killed meanwhile.
        """
        from fairlead.auditing.file import open_live
        from fairlead.auditing.stream import Cursor, Target, run

        with open_live(log_file(config)) as read:
            if to is None:
                run(read, _print, Cursor(since_leaf), follow=follow)
                return
            target = Target(path=to)
            cursor = run(read, target.put, target.cursor(), follow=follow)
        told = f"told up to leaf {cursor.index - 1}" if cursor.index else "the log is empty"
        say(f"{to}: {told}")

    add_retention(audit, kind, keeper)
    app.add_typer(audit, name="audit")


def _print(lines: bytes, _cursor: object) -> None:
    import sys

    sys.stdout.write(lines.decode("ascii", "backslashreplace"))
    sys.stdout.flush()
