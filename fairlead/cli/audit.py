"""``fairlead audit``: re-derive a whole log from its file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Format, emit

app = typer.Typer(help="Verify audit logs.", no_args_is_help=True)
COLUMNS = ("log", "leaves", "checkpoints", "root", "by type", "open queries")


@app.callback()
def _group() -> None:
    """Verify audit logs."""


@app.command("verify")
def verify(
    log: Annotated[Path, typer.Argument(help="The log's file, for example audit.sqlite.")],
    partner: Annotated[
        str | None, typer.Option(help="A partner's log; else the gateway's.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Signed directory; else the profile's.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Recompute every hash, root, signature and ordering rule of a log."""
    from fairlead.auditlog import verify_log
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    members = Trust.load(trust).directory(directory, now=time.time())
    if partner is None:
        origin, key = members.gateway.log_origin, members.gateway.log_key
    else:
        origin, key = (
            f"{members.federation}/partner/{partner}",
            members.partner(partner).signing_key,
        )
    report = verify_log(log, origin=origin, public_key=key)
    record = {
        "log": origin,
        "leaves": report.size,
        "checkpoints": report.checkpoints,
        "root": report.root.hex(),
        "by type": ", ".join(f"{name} {count}" for name, count in sorted(report.leaves.items())),
        "open queries": len(report.open_queries),
    }
    emit([record], columns=COLUMNS, output=output)
