"""Checking packs in a folder: which file was changed, and by whose key the pack was signed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead import signing
from fairlead.errors import Forged, NotFound
from fairlead.kpi.signature import DOMAIN, ENDING, MAX_FILE, Statement, read_signature
from fairlead.partners import Directory

MAX_PACK = 64 * 1024 * 1024
"""Octets of one file of a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is known of a pack. ``serial`` is of the directory by whose key of the signer it
    verifies, the newest; ``in_force`` says whether that is the one in force."""

    statement: Statement
    differing: dict[str, str]
    serial: int
    in_force: bool


def signatures(folder: Path) -> list[Path]:
    """The files of signatures in a folder, by their names.

    :raises NotFound: PACK_MISSING.
    """
    found = sorted(folder.glob(f"kpi-[0-9][0-9][0-9][0-9]{ENDING}"))
    if not found:
        raise NotFound(
            "there is no pack in this folder",
            reasons=("PACK_MISSING",),
            remedy=f"name the folder where kpi-2026.html, .zip and {ENDING} lie together",
        )
    return found


def check_pack(file: Path, directories: Sequence[Directory]) -> Checked:
    """Check the pack beside a file of a signature. Nothing else in its folder is read.

    1. The file is written in its one way.
    2. A key of the partner that it names signed it.
    3. Each file that it names is compared with its digest.

    :param directories: verified; the one in force first, then former ones, newest first.
    :raises InvalidInput: PACK_SIGNATURE. :raises NotFound: PACK_MISSING or UNKNOWN_PARTNER.
    :raises Forged: SIGNATURE.
    """
    # 1
    statement, signature = read_signature(_content(file, MAX_FILE))
    # 2
    directory = _signed_under(statement, signature, directories)
    # 3
    there = {}
    for name in statement.files:
        with contextlib.suppress(NotFound):
            there[name] = _content(file.parent / name, MAX_PACK)
    return Checked(
        statement=statement,
        differing=statement.differing(there),
        serial=directory.serial,
        in_force=directory is directories[0],
    )


def _signed_under(
    statement: Statement, signature: bytes, directories: Sequence[Directory]
) -> Directory:
    keys = list(_keys(statement.signer, directories))
    if not keys:
        directories[0].partner(statement.signer)  # which says that there is none
    for directory, key in keys:
        with contextlib.suppress(Forged):
            signing.verify(key, DOMAIN, statement.to_bytes(), signature)
            return directory
    raise Forged(
        "no key of the partner that this pack names signed it",
        reasons=("SIGNATURE",),
        remedy="do not use the pack; ask the partner that it names for its own copy",
    )


def _keys(signer: str, directories: Sequence[Directory]) -> Iterator[tuple[Directory, bytes]]:
    for directory in directories:
        with contextlib.suppress(NotFound):
            yield directory, directory.partner(signer).signing_key


def _content(path: Path, most: int) -> bytes:
    """At most one octet more than ``most``, which then is no file of a pack."""
    missing = NotFound("a file of the pack is missing", reasons=("PACK_MISSING",))
    if not path.is_file():  # a pipe would be waited for
        raise missing
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError:
        raise missing from None
