"""A federation whose limits a batch of a million terms fits into, for tests and measurements."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fairlead.config import Budgets, Guard, Limits
from tests import federation as places
from tests import processes
from tests.commands import profile
from tests.federation import ROOT, Federation
from tests.live import until
from tests.manifests import number
from tests.processes import Serving, gateway_process, node_process
from tests.publications import OWNER, held, holds

MANY = 10**7
BUDGETS = Budgets(
    user_day=MANY, case_week=MANY, partner_day=MANY, asked_user_day=MANY, asked_partner_day=MANY
)
GUARD = Guard(longest_run=10**6, densest_thousand=1_000, one_owner=10**6, one_pattern=10**6)


def boxes(count: int) -> Iterator[str]:
    """So many different containers of nine owners, scattered."""
    owners = ("CSQU", "MSCU", "TGHU", "MEDU", "HLXU", "TCLU", "OOLU", "CMAU", "BICU")
    for at in range(count):
        yield number(owners[at % len(owners)], at // len(owners) * 7919 % 1_000_000)


@dataclass(slots=True)
class Large:
    """The running processes."""

    made: Federation
    gateway: Serving
    owner: Serving
    asker: Serving


def lift(folder: Path, made: Federation) -> None:
    """Let no second person and no budget stop a batch."""
    places.publish_policy(made.layout, folder / "policy", second_person_above=MANY)
    for partner, config in made.node_configs.items():
        made.node_configs[partner] = config.model_copy(update={"budgets": BUDGETS, "guard": GUARD})


@asynccontextmanager
async def large(
    folder: Path, known: list[str], *, deadline_ms: int = 60_000
) -> AsyncIterator[Large]:
    """Customs asks, the terminal holds ``known``; each in a process of its own."""
    made = places.build(
        folder, partners=("customs", OWNER), records={OWNER: [held(term) for term in known]},
        local_policy=None, tick_ms=5, limits=Limits(deadline_ms=deadline_ms),
    )  # fmt: skip
    lift(folder, made)
    try:
        await made.start_gateway()
        for partner in ("customs", OWNER):
            await made.start_node(partner)
        await made.open_case()
        owner = made.nodes[OWNER]
        await owner.steering.publishing.publish()
        await owner.steering.publishing.ended()
        owner.offering.announcer.wake()
        await until(lambda: holds(made.nodes["customs"], owner, known[0]))
    finally:
        await made.close()
    before = processes.GATEWAY, processes.NODE
    processes.GATEWAY, processes.NODE = "tests.patient_gateway", "tests.patient_node"
    try:
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(gateway_process(made))
            owner = await stack.enter_async_context(node_process(made, OWNER))
            asker = await stack.enter_async_context(node_process(made, "customs"))
            yield Large(made, gateway, owner, asker)
    finally:
        processes.GATEWAY, processes.NODE = before


async def start(made: Federation, *arguments: str) -> asyncio.subprocess.Process:
    """``fairlead`` with these words in a process of its own; its talk can be read."""
    path = profile(made)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fairlead.cli.main", *arguments,
        env={"PATH": os.environ["PATH"], "HOME": str(path.parent), "PYTHONPATH": str(ROOT),
             "FAIRLEAD_PROFILE": str(path)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
