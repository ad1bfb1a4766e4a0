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

from fairlead.config import NodeConfig
from fairlead.partners import Directory
from fairlead.policy.points import PolicyPoints
from fairlead.trust import Trust
from node.app import at_rest
from node.exposure.matrix import Exposure, measure
from node.exposure.source import SourceFacts

_measured: dict[tuple[object, ...], Exposure] = {}


def records_of_code(policy: PolicyPoints, schemes: Sequence[str]) -> list[SourceFacts]:
    """Movements, about persons or not, for any purpose, with every field the registry knows."""
    assert policy.registry is not None
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


async def _accept(config: NodeConfig, by: str) -> None:
    async with at_rest(config) as steering:
        owner = steering.owner
        policy, directory = owner.policy(), owner.directory()
        own = directory.partner(config.partner)
        sources = records_of_code(policy, own.schemes)
        key = _key(config, directory)
        if key not in _measured:
            _measured[key] = await measure(
                owner=own, directory=directory, policy=policy, sources=sources, now=time.time()
            )
        await owner.take(_measured[key], by)


def _key(config: NodeConfig, directory: Directory) -> tuple[object, ...]:
    """Whatever decides what a node could release."""
    local = config.local_policy.read_bytes() if config.local_policy else b""
    partners = tuple((p.partner_id, p.kind, p.schemes) for p in directory.partners.values())
    files = (config.policy_dir / "data").glob("*.yaml")
    return config.partner, partners, local, tuple(sorted(f.read_bytes() for f in files))
