"""``fairlead evidence``: verify what a case's evidence proves, without any running service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, when
from fairlead.cli.output import Exit, Format, emit, printable, say
from fairlead.errors import Forged, NotFound

if TYPE_CHECKING:
    from fairlead.verifier.anchors import Anchors

app = typer.Typer(help="Verify evidence of cases offline.", no_args_is_help=True)
COLUMNS = ("file", "case", "partner", "made_at", "queries", "proved", "not_proved", "sha256")


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A file made by fairlead cases evidence.")],
    trust: Annotated[Path | None, typer.Option(help="Trust anchors; else the profile's.")] = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> int:
    """Verify every item of a file of evidence; name the one that fails, and say what is proved.

    Leaves with 0 when all that a file can prove is proved, 7 when nothing is wrong and something is
    not proved, 8 when an item does not verify.
    """
    try:
        page = file.read_bytes()
    except OSError:
        raise NotFound(
            "there is no such file of evidence",
            reasons=("EVIDENCE_FILE",),
            remedy="fairlead cases evidence CASE",
        ) from None
    return report(page, file, anchors_of(trust, profile), output)


@app.command("verifier")
def verifier(
    fingerprint: Annotated[
        bool, typer.Option("--fingerprint", help="Print its SHA-256 instead.")
    ] = False,
) -> None:
    """Print the verifier as one Python file, which needs nothing of Fairlead."""
    from fairlead.verifier import single

    typer.echo(single.fingerprint() if fingerprint else single.source(), nl=fingerprint)


def anchors_of(trust: Path | None, profile: Path | None) -> Anchors:
    """The trust anchors of a file, or of the user's profile.

    :raises FairleadError: there are none, or they cannot be read.
    """
    from fairlead.profile import load_profile
    from fairlead.trust import Trust
    from fairlead.verifier.anchors import Anchors

    found = Trust.load(trust or load_profile(profile)[0].trust)
    return Anchors(found.federation, found.operators, dict(found.roots))


def report(page: bytes, file: Path, anchors: Anchors, output: Format) -> int:
    """Verify a file and print what it proves; the exit code.

    :raises Forged: EVIDENCE, and the item that does not verify was named.
    """
    import hashlib

    from fairlead.verifier import single
    from fairlead.verifier.check import ALL_OF_THEM, verify_page
    from fairlead.verifier.finding import EvidenceFailed

    try:
        found = verify_page(page, anchors, single.source())
    except EvidenceFailed as failed:
        say(f"{printable(failed.item or 'file')}: it {failed.fault}")
        raise Forged(
            "this evidence does not verify",
            reasons=("EVIDENCE",),
            remedy="ask whoever made it for another copy; it proves nothing as it is",
        ) from None
    record: dict[str, Any] = {
        "file": str(file),
        "case": found.facts["case"],
        "partner": found.facts["partner"],
        "made_at": when(found.facts["made_at"]),
        "queries": found.facts["queries"],
        "proved": found.proved if output is Format.JSON else len(found.proved),
        "not_proved": found.unproved if output is Format.JSON else len(found.unproved),
        "sha256": hashlib.sha256(page).hexdigest(),
    }
    emit([record], columns=COLUMNS, output=output)
    for line in found.proved:
        say(f"proved: {printable(line)}")
    for line in found.unproved:
        say(f"NOT PROVED: {printable(line)}")
    return Exit.PARTIAL if set(found.unproved) - {ALL_OF_THEM} else Exit.ANSWERED
