"""Owners with an index, and what they publish of it, all by the product."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.federation import SCHEME, Federation
from bench.processes import Child, ChildFailed, Children
from certs.dev.policies import local_policy
from demo.accepting import accept_records
from fairlead.config import NodeConfig, load
from fairlead.partners import PartnerKind
from fairlead.policy.issuing import Wishes
from node.control.client import call
from node.indexing import INDEX_FILE

PURPOSES = ("customs-risk", "drug-trafficking", "infiltration", "security-incident")
"""Of every record: it enters a class only if each purpose of the class is one of its own."""
ADOPTED = """\
# Nobody but public partners asks these owners, so that each publishes one snapshot.
schema: 2
adopt: [public-asks-private, demo-sealed-trafficking]
"""
LOOK_S = 0.2
WAIT_S = 3_600.0
OCTETS_A_RECORD = 1_100
"""Of an owner's disk: its index, the entries as they are computed, the snapshot."""
READER_OCTETS = 250
"""Of a reader's disk: a snapshot, and its pieces while they come."""

Say = Callable[[str], None]


def make(federation: Federation, owners: int) -> list[str]:
    """Keys and configurations of private owners of containers, who answer public partners alone."""
    federation.make(owners, kinds=(PartnerKind.TERMINAL,), schemes=(SCHEME,))
    names = list(federation.owners(owners))
    for owner in names:
        now = int(time.time())
        wishes = Wishes(issued_at=now, not_after=now + 86_400)
        folder = federation.folder / "own-policy" / owner
        own = local_policy(folder, ADOPTED.encode(), wishes, partner=owner)
        federation.write_node_config(owner, own_policy=own)
    return names


def config_file(federation: Federation, partner: str) -> Path:
    """The configuration that was written for a partner's node."""
    return federation.folder / f"{partner}.toml"


def config_of(federation: Federation, partner: str) -> NodeConfig:
    """The same, read."""
    return load(NodeConfig, config_file(federation, partner))


def check_room(folder: Path, octets: int) -> None:
    """:raises SystemExit: the disk has less."""
    free = shutil.disk_usage(folder).free
    if free < octets:
        raise SystemExit(
            f"{folder.parent} has {free / 1e9:.1f} GB free and {octets / 1e9:.1f} are needed: "
            "choose another folder with TMPDIR"
        )


def index(
    federation: Federation, children: Children, owners: Sequence[str], records: int
) -> dict[str, Any]:
    """The same records at each owner: indexed once, the index and its secret copied to the others.

    What somebody finds, and how long it takes, depends on neither.
    """
    first, *others = owners
    indexer = children.obedient("indexer", "bench.indexer", str(config_file(federation, first)))
    built = indexer.order(do="build", rows=records, purposes=PURPOSES)
    children.stop(indexer)
    source = config_of(federation, first).state_dir / INDEX_FILE
    for owner in others:
        state = config_of(federation, owner).state_dir
        state.mkdir(mode=0o700, parents=True)
        shutil.copyfile(source, state / INDEX_FILE)
        keys = federation.layout.node
        shutil.copyfile(keys(first) / "index.key", keys(owner) / "index.key")
    for owner in owners:
        accept_records(config_of(federation, owner))
    return built


def publish(federation: Federation, owner: str, node: Child) -> dict[str, Any]:
    """Have a running node publish; its line, and the seconds until it was durable.

    :raises ChildFailed: it published nothing, or something else than one snapshot.
    """
    state = config_of(federation, owner).state_dir
    began = time.perf_counter()
    told(state, "blind-publish", node)
    while (said := told(state, "blind-status", node))["running"]:
        time.sleep(LOOK_S)
    seconds = time.perf_counter() - began
    lines = said["last"]["lines"]
    if len(lines) != 1 or lines[0]["state"] != "published":
        raise ChildFailed(f"{owner} published {lines}, {said['last']['error']}")
    return {**lines[0], "seconds": seconds}


def delivered(federation: Federation, reader: str, owners: Sequence[str], node: Child) -> None:
    """Wait until a reader holds a snapshot of every owner and knows that it is the newest.

    :raises ChildFailed: it took too long.
    """
    state, deadline = config_of(federation, reader).state_dir, time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        rows = told(state, "snapshots", node)["snapshots"]
        if {row["owner"] for row in rows if row["confirmed_s"] is not None} == {*owners}:
            return
        time.sleep(LOOK_S)
    raise node.failure()


def told(state: Path, command: str, node: Child) -> Mapping[str, Any]:
    """What a running node says to a command.

    :raises ChildFailed: it does not run.
    """
    reply = call(state, command, {})
    if reply is None:
        raise node.failure()
    return reply
