"""``fairlead policy publish``, ``fetch`` and ``status``: releases to and from the own node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead.cli.options import OutputOption, ProfileOption, connect, iso, when
from fairlead.cli.output import Format, awaited, emit_json, emit_table, say

if TYPE_CHECKING:
    from fairlead.policy.bundle import Files

CALL_S = 30.0
COLUMNS = ("who", "serial", "identity", "since", "heard")


def publish(
    folder: Annotated[Path, typer.Argument(help="The folder of the signed release.")],
    profile: ProfileOption = None,
) -> None:
    """Put a release that two people signed in force for the whole federation.

    The release in force once more says that it is still the current one.
    """
    from fairlead.policy.approving import files_in
    from fairlead.policy.wire import to_wire
    from fairlead.v1 import policy_pb2

    request = policy_pb2.PublishPolicyRequest(release=to_wire(files_in(folder)))

    async def run() -> int:
        client, _, _ = connect(profile)
        async with client:
            response = await client.officer.PublishPolicy(request, timeout=CALL_S)
            return int(response.serial)

    say(f"serial {awaited(run())} is in force at the gateway and on its way to every node")
    say("next: fairlead policy status")


def fetch(
    folder: Annotated[Path, typer.Argument(help="A new folder for the release.")],
    serial: Annotated[int, typer.Option("--serial", min=0, help="0: the current one.")] = 0,
    profile: ProfileOption = None,
) -> None:
    """Fetch a release from your node, to start the next one from, or to read it."""
    fetched(profile, serial, folder)
    say(f"next: edit {folder / 'data'}, then: fairlead policy sign {folder} --key FILE")


def status(profile: ProfileOption = None, output: OutputOption = Format.TABLE) -> None:
    """Show which policy decides where, and since when."""
    from fairlead.v1 import policy_pb2

    async def run() -> Any:
        client, _, _ = connect(profile)
        async with client:
            return await client.officer.PolicyStatus(
                policy_pb2.PolicyStatusRequest(), timeout=CALL_S
            )

    found = awaited(run())
    if output is Format.JSON:
        emit_json(_document(found))
        return
    here = found.here
    state = "" if found.reviewed else ", waits for its review" + " (OVERDUE)" * found.overdue
    say(f"serial {here.serial}, {found.kind}{state}, issued {when(found.issued_at)}")
    say(f"it ends {when(found.not_after)}; decides here until {when(found.until)} unless confirmed")
    if found.own_serial:
        say(f"your own policy: serial {found.own_serial}, {found.own_identity.hex()[:16]}")
    served = found.served if found.gateway_reached else [here]
    if not found.gateway_reached:
        say("the gateway cannot be reached: what follows is this node's alone")
    emit_table(COLUMNS, [_row(item) for item in served])


def current(profile: Path | None) -> Files:
    """The release in force at the own node."""
    return _get(profile, 0)


def fetched(profile: Path | None, serial: int, folder: Path) -> None:
    """Put a release of the own node into a new folder.

    :raises Conflict: the folder holds something.
    """
    from fairlead.errors import Conflict
    from fairlead.policy.bundle import write_bundle

    if folder.exists() and any(folder.iterdir()):
        raise Conflict(
            "the folder holds something else; nothing was changed",
            reasons=("FOLDER_IN_THE_WAY",),
            remedy="name a new folder",
        )
    files = _get(profile, serial)
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(files, folder)


def _get(profile: Path | None, serial: int) -> Files:
    from fairlead.policy.wire import from_wire
    from fairlead.v1 import policy_pb2

    async def run() -> Files:
        client, _, _ = connect(profile)
        async with client:
            response = await client.officer.GetPolicy(
                policy_pb2.GetPolicyRequest(serial=serial), timeout=CALL_S
            )
            return from_wire(response.release)

    return awaited(run())


def _row(item: Any) -> tuple[str, ...]:
    name = item.spiffe_id.partition("://")[2].partition("/")[2]
    identity, since = item.identity.hex()[:16], when(item.since)
    return name, str(item.serial), identity, since, when(item.reported_at)


def _document(found: Any) -> dict[str, Any]:
    def served(item: Any) -> dict[str, Any]:
        return {
            "who": item.spiffe_id,
            "serial": item.serial,
            "identity": item.identity.hex(),
            "since": iso(item.since),
            "heard": iso(item.reported_at),
        }

    own = {"serial": found.own_serial, "identity": found.own_identity.hex()}
    return {
        "schema": 1,
        "here": served(found.here),
        "kind": found.kind,
        "reviewed": found.reviewed,
        "overdue": found.overdue,
        "issued_at": iso(found.issued_at),
        "not_after": iso(found.not_after),
        "until": iso(found.until),
        "own": own if found.own_serial else None,
        "gateway_reached": found.gateway_reached,
        "served": [served(item) for item in found.served],
    }
