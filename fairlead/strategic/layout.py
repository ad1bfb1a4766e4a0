"""What makes figures of one version of a cube comparable with those of another: its layout.

A cube's version is raised with every change of it, of a title as of a code. What is out, and what
owners waived, goes on where none of that changes how cells add up.
"""

from __future__ import annotations

import json
from functools import lru_cache

from fairlead import signing
from fairlead.cubes.cube import Cube, Measure, MeasureKind

SIZE = 64


@lru_cache(maxsize=256)
def layout_of(cube: Cube) -> str:
    """SHA-256, in hexadecimal digits, of all that says how a cube's cells add up and in what its
    figures are."""
    said = {
        "dimensions": [
            [d.id, [[step.step, [[c.code, c.parent] for c in step.codes]] for step in d.steps]]
            for d in cube.dimensions
        ],
        "measures": [[m.id, m.kind, m.step] for m in additive(cube)],
    }
    octets = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return signing.digest(signing.preimage("figures-layout", octets)).hex()


def additive(cube: Cube) -> tuple[Measure, ...]:
    """The measures that add up; the others are made of them, or of histograms."""
    return tuple(m for m in cube.measures if m.kind in {MeasureKind.COUNT, MeasureKind.SUM})


@lru_cache(maxsize=256)
def shape_of(cube: Cube) -> str:
    """What each measure of a cube is, medians and rates too: JSON, by its id."""
    said = {m.id: [m.kind, m.step, m.edges, m.parts] for m in cube.measures}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
