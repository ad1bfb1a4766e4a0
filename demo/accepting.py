"""Accepting the exposure of a node whose records a program makes, in tests and benchmarks.

Such a node has no mapping to describe its source, so the program describes it: what is measured,
accepted and enforced is the same as for anybody's node. Measuring is done once for each policy
and membership; the acceptance and its leaf are each node's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fairlead import process
from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.errors import PolicyUnavailable
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.policy.points import PolicyPoints
from fairlead.signing import load_signing_key
from fairlead.trust import Trust
from node.exposure.gate import ExposureGate
from node.exposure.matrix import Exposure, measure
from node.exposure.source import SourceFacts
from node.indexing import LOG_FILE
from node.opening import MIGRATIONS, log_origin
from node.owner import take
from node.owning import at_rest

_measured: dict[tuple[object, ...], Exposure] = {}


def records_of_code(policy: PolicyPoints, schemes: Sequence[str]) -> list[SourceFacts]:
    """Movements, about persons or not, for any purpose, with every field the registry knows."""
    if policy.registry is None:
        raise PolicyUnavailable("the policy has no registry")
    return [
        SourceFacts(
            name=name,
            digest="0" * 64,
            record_type="movement",
            event="gate-in",
            schemes=tuple(schemes),
            fields=tuple(sorted(policy.registry.fields)),
            withheld=(),
            purposes=tuple(sorted(policy.registry.purposes)),
            personal=personal,
            retention_days=365,
            handlings=(("CLEAR", "CLEAR", "H0", "A", "1"),),
        )
        for name, personal in (("made", False), ("made-personal", True))
    ]


def accept_records(config: NodeConfig, *, by: str = "u-dpo") -> None:
    """Accept, for a node at rest, everything its policy would release of such records."""
    with ThreadPoolExecutor(1) as other:  # a test's own loop may be running in this thread
        other.submit(asyncio.run, _accept(config, by)).result()


def accept_sources(config: NodeConfig, *, by: str = "u-dpo") -> None:
    """Accept, for a node at rest, what its mapped sources could release: the command's own path."""

    async def accept() -> None:
        async with at_rest(config) as steering:
            await steering.owner.accept(by)

    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, accept()).result()


async def _accept(config: NodeConfig, by: str) -> None:
    trust, now = Trust.load(config.pins), time.time()
    directory = trust.directory(config.directory, now=now)
    own = directory.partner(config.partner)
    key = _key(config, directory)
    if key not in _measured:
        policy = process.load_policy(config, trust, now=now)
        _measured[key] = await measure(
            owner=own,
            directory=directory,
            policy=policy,
            sources=records_of_code(policy, own.schemes),
            now=now,
        )
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(directory, config.partner),
        key=load_signing_key(config.keys_dir / "signing.key"),
        clock=time.time,
        migrations=MIGRATIONS,
    )
    leaves = LeafWriter(log=f"partner/{config.partner}", clock=time.time)
    try:
        await take(_measured[key], by, log=log, leaves=leaves, gate=ExposureGate(), now=now)
    finally:
        log.close()


def _key(config: NodeConfig, directory: Directory) -> tuple[object, ...]:
    """Whatever decides what a node could release."""
    own = config.local_policy.dir if config.local_policy else None
    local = tuple(sorted(f.read_bytes() for f in own.rglob("*.*") if f.is_file())) if own else ()
    partners = tuple((p.partner_id, p.kind, p.schemes) for p in directory.partners.values())
    files = (config.policy_dir / "data").glob("*.yaml")
    return config.partner, partners, local, tuple(sorted(f.read_bytes() for f in files))
