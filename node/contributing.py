"""This node's part in the rounds in which figures are summed, put together."""

from __future__ import annotations

from fairlead.errors import FairleadError
from fairlead.telemetry import Event, get_logger
from node.opening import cubes_of, noise_secret
from node.parts import Parts
from node.statistics import FILE, FiguresStore, TakingPart
from node.statistics.cubes import CubesInForce
from node.steering import Steering


async def open_taking(parts: Parts, steering: Steering, node: str) -> TakingPart:
    """It states what the owner's preview shows: the register, the own log, the analysts' feedback
    and the mapped sources.

    :param node: the SPIFFE id of this node.
    :raises Misconfigured: the noise's secret, or the file of what was said, cannot be used.
    """
    config = parts.config
    taking = TakingPart(
        partner=config.partner,
        node=node,
        directory=parts.directory,
        keys=parts.keys,
        secret=noise_secret(config),
        store=FiguresStore.open(config.state_dir / FILE),
        figures=steering.own_cells.figures,
        cubes=CubesInForce(lambda: parts.policy.current, cubes_of),
        paused=lambda: steering.pause.state is not None,
        log=parts.log,
        leaves=parts.leaves,
        clock=parts.clock,
    )
    await _claimed(taking)
    return taking


async def _claimed(taking: TakingPart) -> None:
    """The first start with a mask key is when its file becomes known; one that was lost stops
    nothing but figures."""
    try:
        await taking.claim()
    except FairleadError as error:
        get_logger().error(Event.FIGURES_NOT_STATED, error=error)
