"""A running federation whose membership changes: every process with public files of its own,
operators who publish at the gateway, and analysts who never stop asking."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import grpc.aio

from certs.dev.lists import sign_deny_lists, sign_directory
from certs.dev.opened import open_federation
from fairlead import signing
from fairlead.v1 import asking_pb2, audit_pb2, directory_pb2, query_pb2
from tests.attacks.crafted import changed
from tests.federation import Federation, states

PATIENCE_S = 60.0


async def until(true: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.02)


def apart(made: Federation) -> None:
    """Give every process its own copy of directory, pins, deny lists and policy, as in life."""

    def own(name: str) -> dict[str, Path]:
        folder = made.folder / "public" / name
        folder.mkdir(parents=True)
        copies = {}
        for key, source in (
            ("directory", made.layout.directory),
            ("pins", made.layout.pins),
            ("deny_lists", made.layout.deny_lists),
        ):
            copies[key] = folder / source.name
            shutil.copy(source, copies[key])
        policy = made.gateway_config.policy_dir
        return {**copies, "policy_dir": Path(shutil.copytree(policy, folder / "policy"))}

    made.gateway_config = made.gateway_config.model_copy(update=own("gateway"))
    made.node_configs = {
        partner: config.model_copy(
            update={**own(partner), "user_deny_list": made.folder / f"{partner}.deny"}
        )
        for partner, config in made.node_configs.items()
    }


def put(path: Path, data: bytes) -> None:
    """Replace a file in one step."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    fresh.replace(path)


def content(path: Path) -> directory_pb2.Directory:
    """The directory in a file."""
    signed = directory_pb2.SignedDirectory.FromString(path.read_bytes())
    return directory_pb2.Directory.FromString(signed.directory)


def directory(made: Federation, **changes: object) -> bytes:
    """The gateway's directory with some fields replaced, under both operators' signatures; whoever
    is not listed any more is not appointed either."""
    keys = [signing.load_signing_key(made.layout.federation / f"operator-{n}.key") for n in (1, 2)]
    now = content(made.gateway_config.directory)
    wanted = changed(now, **{"serial": now.serial + 1, **changes})
    listed = {_id(item) for item in wanted.partners}
    seats = [member for member in now.audit_committee if member in listed]
    del wanted.audit_committee[:]
    wanted.audit_committee.extend(seats if len(seats) > 1 else ())
    wanted.audit_threshold = min(now.audit_threshold, len(wanted.audit_committee))
    return sign_directory(wanted, keys)


def publish(made: Federation, **changes: object) -> int:
    """Put a new directory before the running gateway; returns its serial."""
    data = directory(made, **changes)
    put(made.gateway_config.directory, data)
    return content(made.gateway_config.directory).serial


def entries(
    made: Federation, *fresh: directory_pb2.SignedPartnerEntry
) -> list[directory_pb2.SignedPartnerEntry]:
    """The gateway's list with some partners' entries replaced."""
    by_id = {_id(item): item for item in content(made.gateway_config.directory).partners}
    by_id |= {_id(item): item for item in fresh}
    return [by_id[partner] for partner in sorted(by_id)]


def _id(item: directory_pb2.SignedPartnerEntry) -> str:
    return directory_pb2.PartnerEntry.FromString(item.entry).partner_id


def without(made: Federation, partner: str) -> list[directory_pb2.SignedPartnerEntry]:
    """The gateway's list with one partner left out."""
    return [i for i in content(made.gateway_config.directory).partners if _id(i) != partner]


def unpin(pins: Path, partner: str) -> str:
    """Take a partner's root out of a pins file; returns its line."""
    lines = pins.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{partner} ="))
    put(pins, ("\n".join(item for item in lines if item != line) + "\n").encode())
    return line


def deny_bundle(made: Federation, *denied: str, serial: int) -> directory_pb2.DenyListBundle:
    """Every issuer's deny list, naming ``denied``, under a new serial."""
    opened = open_federation(made.layout, now=time.time())
    data = sign_deny_lists(
        [signing.load_signing_key(made.layout.federation / f"operator-{n}.key") for n in (1, 2)],
        {partner: opened.user_authority(partner) for partner in made.directory.listed},
        denied=denied,
        serial=serial,
        now=time.time(),
        lifetime=timedelta(days=7),
    )
    return directory_pb2.DenyListBundle.FromString(data)


def deny_list(
    made: Federation, issuer: str, *denied: str, serial: int
) -> directory_pb2.SignedDenyList:
    """One issuer's list."""
    for item in deny_bundle(made, *denied, serial=serial).lists:
        if directory_pb2.DenyList.FromString(item.deny_list).issuer == issuer:
            return item
    raise AssertionError(issuer)


def leaves(log: object) -> list[audit_pb2.AuditLeaf]:
    """Every leaf of an audit log."""
    rows = log.read("SELECT body FROM leaf ORDER BY idx")  # type: ignore[attr-defined]
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


def alarms(log: object) -> list[str]:
    """The reasons of every alarm in a log."""
    return [
        reason
        for leaf in leaves(log)
        if leaf.type == audit_pb2.LEAF_TYPE_ALARM
        for reason in leaf.reasons
    ]


def refusals(log: object) -> list[str]:
    """The reasons of every refusal in a log."""
    return [
        reason
        for leaf in leaves(log)
        if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL
        for reason in leaf.reasons
    ]


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The first reason code of a refused call."""
    return str(dict(error.trailing_metadata())["fairlead-reason"])


async def start(made: Federation, *partners: str) -> None:
    """Start the gateway and these nodes (all of them by default), and open the usual case."""
    await made.start_gateway()
    for partner in partners or tuple(made.node_configs):
        await made.start_node(partner)
    await made.open_case()


def all_on(made: Federation, serial: int) -> bool:
    """Whether every running process asks and answers under this directory."""
    return all(app.member.directory.asking.serial == serial for app in made.nodes.values())


async def asked(made: Federation) -> dict[str, asking_pb2.OpenedAnswer]:
    """Every partner's line of one query; again when a busy machine overran the policy engine."""
    for _ in range(10):
        found = states(await made.ask())
        if not any(line.reason == "POLICY_UNAVAILABLE" for line in found.values()):
            break
    return found


@dataclass(slots=True)
class Load:
    """What the analysts saw: queries answered in full, and whatever else happened."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    async def more(self, count: int) -> None:
        """Wait for that many further queries."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted or bool(self.failed))


@asynccontextmanager
async def load(made: Federation, *, owners: Sequence[str], askers: int = 2) -> AsyncIterator[Load]:
    """Ask without a pause, over connections that stay open, as long as the block runs."""
    seen, stopped = Load(), asyncio.Event()

    async def ask() -> None:
        async with made.client() as client:
            while not stopped.is_set():
                try:
                    found = states(await made.ask(client=client))
                    missing = [
                        f"{owner}:{found[owner].status}:{found[owner].reason}"
                        for owner in owners
                        if found[owner].status != query_pb2.STATUS_ANSWERED
                    ]
                except grpc.aio.AioRpcError as error:
                    told = dict(error.trailing_metadata() or ())
                    missing = [f"{error.code().name} {told.get('fairlead-reason')}"]
                except Exception as error:
                    missing = [f"{type(error).__name__}: {error}"]
                seen.answered += not missing
                seen.failed.update(missing)

    tasks = [asyncio.create_task(ask()) for _ in range(askers)]
    try:
        yield seen
    finally:
        stopped.set()
        await asyncio.gather(*tasks)
