"""``fairlead audit timestamps``: what a timestamp authority signed of a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.audit.selecting import (
    CALL_S,
    DirectoryOption,
    LogOption,
    TrustOption,
    keys_of,
)
from fairlead.cli.audit.verifying import AuthorityOption
from fairlead.cli.options import OutputOption, ProfileOption, connect, iso
from fairlead.cli.output import Format, awaited, emit, say
from fairlead.errors import Conflict, FairleadError

if TYPE_CHECKING:
    from fairlead.timestamping.checking import Open, Stamp

COLUMNS = ("leaf", "log_size", "stamped_at", "authority", "serial", "state")


def timestamps(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Tokens shown at most.")] = 100,
    timestamp_ca: AuthorityOption = None,
    save: Annotated[
        Path | None, typer.Option(help="Write each head and token into this new folder.")
    ] = None,
    log: LogOption = None,
    directory: DirectoryOption = None,
    trust: TrustOption = None,
    profile: ProfileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the timestamps of your node's log (role auditor), or of a log's file.

    Their places in the log are verified by: fairlead audit verify FILE --timestamp-ca PEM.
    """
    from fairlead.timestamping.token import load_authorities

    authorities = load_authorities(timestamp_ca) if timestamp_ca else ()
    keys = keys_of(directory, trust, profile)
    stamps = _of_file(log, limit) if log else awaited(_of_node(profile, limit))
    records = [_record(stamp, keys, authorities) for stamp in stamps]
    if save:
        _save(save, stamps)
    emit(records, columns=COLUMNS, output=output)
    if not stamps:
        say(
            "no head of this log was stamped yet\n"
            "next: [timestamps] in the configuration (docs/audit.md)"
        )
    if stamps and not timestamp_ca:
        say("next: fairlead audit timestamps --timestamp-ca FILE   (to verify the signatures)")


def _record(stamp: Stamp, keys: Any, authorities: Any) -> dict[str, object]:
    """One token, for printing; what does not verify says so and hides nothing of the others."""
    from fairlead.timestamping.checking import opener
    from fairlead.timestamping.token import verify

    origin = stamp.checkpoint.partition("\n")[0]
    record: dict[str, object] = {"leaf": stamp.index, "state": "not verified"}
    try:
        opened: Open = opener(origin, keys(origin))
        record["log_size"] = opened(stamp.checkpoint).size
        if authorities:
            token = verify(stamp.response, stamp.checkpoint, authorities)
            record |= {
                "stamped_at": iso(int(token.stamped_at)),
                "authority": token.authority,
                "serial": f"{token.serial:x}",
                "state": "verified",
            }
    except FairleadError as error:
        record["state"] = f"does not verify: {error.code}"
    return record


def _save(folder: Path, stamps: list[Stamp]) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise Conflict(
            "the folder exists already", reasons=("FILE_EXISTS",), remedy="name another folder"
        ) from None
    for stamp in stamps:
        (folder / f"{stamp.index}.note").write_text(stamp.checkpoint, encoding="utf-8")
        (folder / f"{stamp.index}.tsr").write_bytes(stamp.response)
    say(f"{folder}: {len(stamps)} heads (.note) and what the authority said of them (.tsr)")


async def _of_node(profile: Path | None, limit: int) -> list[Stamp]:
    from fairlead.auditing.reading import leaf_of
    from fairlead.timestamping.checking import Stamp
    from fairlead.v1 import audit_reading_pb2 as pb

    client, _, _ = connect(profile)
    async with client:
        request = pb.ListTimestampsRequest(limit=limit)
        return [
            Stamp(index=one.leaf.index, leaf=leaf_of(one.leaf.leaf), response=one.token)
            async for one in client.auditor.ListTimestamps(request, timeout=CALL_S)
        ]


def _of_file(path: Path, limit: int) -> list[Stamp]:
    from fairlead.auditing.file import open_file
    from fairlead.timestamping.checking import stamps_of

    with open_file(path) as log:
        return stamps_of(log.read, log.size)[::-1][:limit]
