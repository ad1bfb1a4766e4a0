"""What a node states figures from, put together for the rounds in which they are summed."""

from __future__ import annotations

import os

from fairlead.config import NodeConfig
from fairlead.errors import FairleadError
from fairlead.telemetry import Event, get_logger
from node.feedback import FeedbackBook
from node.figures.mapped import MappedFigures
from node.figures.mapped_fit import check_fits
from node.figures.mapped_form import load_figures
from node.opening import cubes_of, noise_secret, words_of
from node.origins import figures_of
from node.parts import Parts
from node.statistics import FILE, FiguresStore, TakingPart
from node.statistics.cubes import CubesInForce
from node.steering import Steering

DAY_S = 86_400


async def open_taking(
    parts: Parts, steering: Steering, book: FeedbackBook, node: str
) -> TakingPart:
    """This node's part in the rounds, over the register, the own log, the analysts' feedback and
    the mapped sources.

    :param node: its SPIFFE id.
    :raises Misconfigured: the noise's secret, a mapping or the file of what was said cannot be
        used.
    """
    config, partner = parts.config, parts.config.partner
    cubes = CubesInForce(lambda: parts.policy.current, cubes_of)
    mapped = await _mapped(config, cubes)
    figures = figures_of(
        partner=partner,
        kind=lambda: parts.directory.current.partner(partner).kind.value,
        log=parts.log,
        register=steering.register.register,
        book=book,
        kept_since=lambda: parts.clock() - words_of(parts.policy.current).retention_days * DAY_S,
        clock=parts.clock,
        source=mapped,
        mapped=mapped.maps,
    )
    taking = TakingPart(
        partner=partner,
        node=node,
        directory=parts.directory,
        keys=parts.keys,
        secret=noise_secret(config),
        store=FiguresStore.open(config.state_dir / FILE),
        figures=figures,
        cubes=cubes,
        paused=lambda: steering.pause.state is not None,
        log=parts.log,
        leaves=parts.leaves,
        clock=parts.clock,
    )
    await _claimed(taking)
    return taking


async def _mapped(config: NodeConfig, cubes: CubesInForce) -> MappedFigures:
    """The mapped sources. One that fits no cube any more keeps nobody from starting: nothing is
    stated of that cube, and ``fairlead-node statistics check`` says what is wrong."""
    mappings = [load_figures(path) for path in config.statistics]
    try:
        for mapping in mappings:
            check_fits(mapping, await cubes())
    except FairleadError as error:
        get_logger().error(Event.FIGURES_NOT_STATED, error=error)
    return MappedFigures(mappings, environ=os.environ)


async def _claimed(taking: TakingPart) -> None:
    """The first start with a mask key is when its file is known; one that was lost stops nothing
    but figures."""
    try:
        await taking.claim()
    except FairleadError as error:
        get_logger().error(Event.FIGURES_NOT_STATED, error=error)
