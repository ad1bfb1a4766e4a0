"""``fairlead audit``: re-derive a whole log from its file or its database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.opening import opening, search
from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Format, emit, say
from fairlead.cli.reconciliation import reconciliation
from fairlead.errors import Forged

if TYPE_CHECKING:
    from fairlead.auditlog import Place
    from fairlead.partners import Directory

app = typer.Typer(help="Verify audit logs, and open what is sealed.", no_args_is_help=True)
app.command("open")(opening)
app.command("search")(search)
LOG_HELP = (
    "The log's file, for example audit.sqlite; or env:NAME or file:PATH, which holds the "
    "postgresql:// address of its database."
)
COLUMNS = ("log", "leaves", "checkpoints", "root", "by_type", "open_queries", "decision_batches")


@app.callback()
def _group() -> None:
    """Verify audit logs, and open what is sealed."""


app.command("reconciliation")(reconciliation)


@app.command("verify")
def verify(
    log: Annotated[str, typer.Argument(help=LOG_HELP)],
    directory: Annotated[
        Path | None, typer.Option(help="Signed directory; else the profile's.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")] = None,
    receipt: Annotated[
        list[Path] | None, typer.Option(help="Receipt the gateway's log must extend; repeat.")
    ] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Recompute every hash, root, signature and ordering rule of a log.

    Whose log it is stands in it; the key to verify it with comes from the directory. Only
    receipts kept elsewhere show that its operator rewrote the log and signed it again.
    """
    from fairlead.auditlog import claimed_origin, verify_log
    from fairlead.evidence import heads, load_evidence
    from fairlead.profile import load_profile
    from fairlead.trust import Trust

    if directory is None or trust is None:
        settings, _ = load_profile(profile)
        directory, trust = directory or settings.directory, trust or settings.trust
    anchors = Trust.load(trust)
    members = anchors.directory(directory, now=time.time())
    place = place_of(log)
    origin = claimed_origin(place)
    known = [head for file in receipt or () for head in heads(load_evidence(file), members)]
    listed = (
        members,
        *anchors.former(directory),
    )  # an origin may have ended, and a key been turned
    keys = [key for one in listed for key in _key_then(origin, one)]
    key, *former = keys or [key_of(origin, members)]
    report = verify_log(place, origin=origin, public_key=key, former=former, known=known)
    record = {
        "log": origin,
        "leaves": report.size,
        "checkpoints": report.checkpoints,
        "root": report.root.hex(),
        "by_type": ", ".join(f"{name} {count}" for name, count in sorted(report.leaves.items())),
        "open_queries": len(report.open_queries),
        "decision_batches": report.batches,
    }
    emit([record], columns=COLUMNS, output=output)


@app.command("copy")
def copy(
    log: Annotated[str, typer.Argument(help=LOG_HELP)],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a log, beside those who write it, into one file that verify reads.

    It holds the leaves with their details, the checkpoints and the decision records, and nothing
    else that the log's process keeps beside them.
    """
    from fairlead.auditlog import copy_log

    count = copy_log(place_of(log), out)
    say(f"{out}: {count} leaves")
    say(f"next: fairlead audit verify {out}")


def place_of(log: str) -> Place:
    """Where a log lies that was named on the command line.

    :raises Misconfigured: SECRET_MISSING, DATABASE_URL or DATABASE_TLS.
    """
    import os

    from fairlead.auditlog import DatabaseUrl
    from fairlead.config import SecretReference, reveal

    if not log.startswith(("env:", "file:")):
        return Path(log)
    address = reveal(SecretReference(log), os.environ)
    return DatabaseUrl.parse(address.decode("utf-8", "replace"))


def _key_then(origin: str, listed: Directory) -> list[bytes]:
    try:
        return [key_of(origin, listed)]
    except Forged:  # it was nobody's then
        return []


def key_of(origin: str, directory: Directory) -> bytes:
    """The key that signs the log of this origin.

    :raises Forged: the log is of nobody in the directory.
    """
    from fairlead.opening.sought import key_of as found

    return found(origin, directory)[0]
