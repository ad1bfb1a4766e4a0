"""``fairlead-node statistics preview``: an owner's own cells, and what these need to be shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fairlead.cubes.registry import Registry
from fairlead.disclosure.rules import Rules
from node.figures import Figures
from node.figures.preview import preview

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class OwnCells:
    """Shows them to the owner alone; nothing of it leaves the node.

    :param figures: of everything that this node counts, also for whoever takes part in a round.
    :param registry: the cubes in force now; parsing them may take a moment.
    :param partners: how many the directory has, this one among them.
    """

    figures: Figures
    registry: Callable[[], Registry]
    partners: Callable[[], int]
    rules: Rules
    clock: Callable[[], float]

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Json]]]:
        """Command of the control socket → act."""
        return {"statistics-preview": self.preview}

    async def preview(self, *, cube: str, level: str, period: str) -> Json:
        """The cells with own records; of the others only how many there are.

        :raises InvalidInput: CUBE_UNKNOWN, LEVEL_UNKNOWN, PERIOD_MALFORMED, PERIOD_STEP,
            PERIOD_TOO_LONG, PERIOD_OPEN. :raises OwnerError: the figures cannot be counted.
        """
        registry = await asyncio.to_thread(self.registry)
        asked = registry.cube(cube)
        at = asked.level(level)
        over = at.period(period)
        now, partners = self.clock(), self.partners()
        cells = await preview(
            self.figures, asked, at, over, cut_off=now, rules=self.rules, partners=partners
        )
        own = [cell.as_record() for cell in cells if cell.records]
        return {
            "cube": asked.id,
            "cube_version": asked.version,
            "registry": registry.digest.hex(),
            "level": at.name,
            "period": over.spelling,
            "cut_off": int(now),
            "partners": partners,
            "round_to": self.rules.round_to,
            "units": {m.id: m.unit for m in asked.measures},
            "cells": own,
            "empty": len(cells) - len(own),
        }
