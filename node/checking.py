"""Everything a node needs, verified at once, before it serves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fairlead import process
from fairlead.config import NodeConfig
from fairlead.cubes.registry import Registry
from fairlead.errors import FairleadError, OwnerError
from fairlead.keyfile import require_private
from fairlead.membership import Membership
from fairlead.policy.cubes import cubes_in
from fairlead.policy.points import PolicyPoints
from fairlead.timestamping.token import load_authorities
from fairlead.trust import Trust
from node.exposure.acceptance import stored_in, widened
from node.exposure.gate import accepts
from node.exposure.matrix import measure
from node.exposure.source import source_facts
from node.figures.mapped import check_mapping
from node.indexing import INDEX_FILE, LOG_FILE
from node.opening import open_index, own_keys
from node.sources.mapping import SourceMapping, load_mapping
from node.sources.opening import source_of
from node.sources.source import records_of


class ExposureOpen(OwnerError):
    """Something could leave that nobody accepted; it is withheld."""

    default_code = "EXPOSURE_NOT_ACCEPTED"
    exit_code = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at, and what is wrong with it, if anything."""

    what: str
    error: FairleadError | None = None


def findings(config: NodeConfig, *, clock: Callable[[], float]) -> Iterator[Finding]:
    """Look at everything; what fails does not keep the rest from being looked at.

    1. Private files are their owner's alone. 2. Directory, deny lists and the node's own keys
    verify, and each who opens sealed details is pinned, for what is sealed to all of them cannot be
    sealed to fewer (``ROOT_UNPINNED``). 3. The policy does. 4. Every mapping fits
    its source. 5. What could leave was accepted. 6. The index opens. 7. The timestamp authority's
    certificates are there. 8. Every source that is mapped to a cube can be counted.
    """
    # 1
    yield _try("private files", lambda: require_private(*_private(config)))
    # 2
    member: list[Membership] = []
    yield _try("directory and deny lists", lambda: member.append(process.join(config, clock)))
    if member:
        yield _try("own keys and certificate", lambda: _keys(config, member[0]))
        current = member[0].directory.current
        for partner in current.appointed.committee:
            yield _try(f"audit committee: {partner}", partial(current.partner, partner))
    # 3
    policy: list[PolicyPoints] = []
    yield _try("policy", lambda: policy.append(_policy(config, clock)))
    # 4
    mappings: list[SourceMapping] = []
    for path in config.sources:
        yield _try(f"source {path.stem}", lambda p=path: mappings.append(_fits(p, clock)))  # type: ignore[misc]
    # 5
    if member and policy:
        yield _try(
            "exposure",
            lambda: asyncio.run(_accepted(config, member[0], policy[0], mappings, clock)),
        )
    # 6
    if (config.state_dir / INDEX_FILE).exists():
        yield _try("index", lambda: open_index(config).close())
    # 7
    if authority := config.timestamps:
        yield _try("timestamp authority", lambda: load_authorities(authority.ca))
    # 8
    yield from _statistics(config, clock)


def _try(what: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except FairleadError as error:
        return Finding(what=what, error=error)
    return Finding(what=what)


def _statistics(config: NodeConfig, clock: Callable[[], float]) -> Iterator[Finding]:
    """Each mapping to a cube, by the cubes of the policy in force."""
    cubes: list[Registry] = []
    if config.statistics:
        yield _try("cubes", lambda: cubes.append(registry_of(config, clock())))
    for path in config.statistics if cubes else ():
        look = partial(check_mapping, path, cubes[0], environ=os.environ)
        yield _try(f"statistics {path.stem}", look)


def registry_of(config: NodeConfig, now: float) -> Registry:
    """The cubes of the policy in force.

    :raises PolicyUnavailable: there is none. :raises Misconfigured: CUBES_MISSING, CUBES_INVALID.
    """
    place = process.policy_place(config, lambda: Trust.load(config.pins))
    return cubes_in(place.federation(now=now).files)


def _private(config: NodeConfig) -> list[Path]:
    found = [config.keys_dir, config.state_dir]
    kind, _, place = (config.index_key or "").partition(":")
    return [*found, Path(place)] if kind == "file" else found


def _keys(config: NodeConfig, member: Membership) -> None:
    own_keys(config, member)


def _policy(config: NodeConfig, clock: Callable[[], float]) -> PolicyPoints:
    return process.load_policy(config, Trust.load(config.pins), now=clock())


def _fits(path: Path, clock: Callable[[], float]) -> SourceMapping:
    """The mapping, once the first record of its source was read as it says."""
    mapping = load_mapping(path)
    source = source_of(mapping, now=clock(), environ=os.environ)
    next(iter(records_of(source)), None)
    return mapping


async def _accepted(
    config: NodeConfig,
    member: Membership,
    policy: PolicyPoints,
    mappings: list[SourceMapping],
    clock: Callable[[], float],
) -> None:
    """:raises ExposureOpen: the exposure, or a source, is not accepted."""
    acceptance = stored_in(config.state_dir / LOG_FILE)
    exposure = await measure(
        owner=member.directory.current.partner(config.partner),
        directory=member.directory.current,
        policy=policy,
        sources=[source_facts(mapping) for mapping in mappings],
        now=clock(),
    )
    if acceptance is None:
        raise ExposureOpen(
            "nobody has accepted what this node could release; it answers nobody",
            remedy="fairlead-node exposure --config FILE, then: "
            "fairlead-node exposure accept --by USER --config FILE",
        )
    if widened(exposure, acceptance) or not all(accepts(acceptance, m) for m in mappings):
        raise ExposureOpen(
            "more could leave than was accepted; the rest is withheld",
            reasons=("EXPOSURE_WIDENED",),
            remedy="fairlead-node exposure --config FILE, then: "
            "fairlead-node exposure accept --by USER --config FILE",
        )


def first_error(found: list[Finding]) -> FairleadError | None:
    """What decides the exit code."""
    return next((finding.error for finding in found if finding.error is not None), None)
