"""``fairlead stats verify-pack``: whether an annual pack is the one that its partner signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.audit.selecting import DirectoryOption, TrustOption, anchors_of
from fairlead.cli.options import OutputOption, ProfileOption
from fairlead.cli.output import Format, emit, say
from fairlead.errors import Forged

if TYPE_CHECKING:
    from fairlead.kpi.checking import Checked

COLUMNS = ("year", "signer", "directory", "in_force", "files")


def verify_pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the pack's files lie.")],
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Verify the signature and the digests of every pack in a folder; name a file that differs.

    A pack that was signed with a key which its partner has replaced since verifies by the former
    directories that are kept beside the signed one.
    """
    from fairlead.kpi.checking import check_pack, signatures

    _, directories = anchors_of(directory, trust, profile)
    found = [check_pack(file, directories) for file in signatures(folder)]
    emit([record(checked) for checked in found], columns=COLUMNS, output=output)
    differing = {name: how for checked in found for name, how in checked.differing.items()}
    for name, how in differing.items():
        say(f"{name}: {how}")
    if differing:
        raise Forged(
            "a file is not the one that was signed",
            reasons=("PACK_FILES",),
            remedy="get the three files of the pack again, from whoever made it",
        )


def record(checked: Checked) -> dict[str, object]:
    """What is known of a pack, for printing."""
    return {
        "year": checked.statement.year,
        "signer": checked.statement.signer,
        "directory": checked.serial,
        "in_force": checked.in_force,
        "files": "as signed" if not checked.differing else "not as signed",
    }
