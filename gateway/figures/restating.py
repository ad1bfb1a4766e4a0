"""What is out of a cube whose version was raised since: the same figures, in today's words."""

from __future__ import annotations

import json

from fairlead import signing
from fairlead.cubes.cube import Cube
from fairlead.strategic.layout import shape_of
from fairlead.v1 import statistics_pb2 as pb


def restated(octets: bytes, shape: str, cube: Cube, registry_digest: bytes) -> bytes:
    """A frozen release as one of this version of its cube, which has the same layout.

    Nothing is counted, decided or drawn again. Of medians and rates that are no longer what they
    were, and of those that are new, nothing is shown.

    :param shape: of the cube as it then was (:func:`fairlead.strategic.layout.shape_of`).
    """
    found = pb.PublishedRelease.FromString(octets)
    if found.cube_version == cube.version:
        return octets
    was, now = json.loads(shape), json.loads(shape_of(cube))
    out = {
        each.measure: each for each in found.figures if was[each.measure] == now.get(each.measure)
    }
    width = len(found.figures[0].shown)
    figures = [out.get(each.id) or _nothing(each.id, width) for each in cube.measures]
    made = pb.PublishedRelease()
    made.CopyFrom(found)
    made.ClearField("figures")
    made.figures.extend(figures)
    made.cube_version, made.registry_digest = cube.version, registry_digest
    return signing.canonical(made)


def _nothing(measure: str, width: int) -> pb.PublishedFigures:
    noughts = [0] * width
    return pb.PublishedFigures(
        measure=measure, shown=[pb.SHOWN_SUPPRESSED] * width, values=noughts, errors=noughts
    )
