"""What a gateway wants summed, held against this node's own clock and registry."""

from __future__ import annotations

from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from fairlead.partners import SKEW_S
from fairlead.strategic.terms import RoundsOf, quarter_at, terms_from_wire, version_at
from fairlead.v1 import statistics_pb2 as pb


def agree(said: pb.RoundTerms, registry: Registry, *, now: float) -> RoundsOf:
    """What a release's rounds are about, as this node understands it.

    1. Cube, level and unit are those of the registry in force here, with its digest; the unit was
       over at the cut-off.
    2. The cut-off is not to come: what it will cover is not known yet.
    3. The version is the one that is released at the cut-off: nobody chooses among several.
    4. The pair seeds are of this quarter or the last.

    :raises InvalidInput: CUT_OFF, RELEASE_VERSION, QUARTER, and what :func:`terms_from_wire`
        raises; as do Stale (CUBE_VERSION) and TooFewParticipants.
    """
    # 1
    found = terms_from_wire(said, registry)
    terms = found.terms
    # 2
    if terms.cut_off > now + SKEW_S:
        raise InvalidInput(
            "a cut-off is in the past",
            reasons=("CUT_OFF",),
            remedy="compare the clocks of the gateway and of this machine",
        )
    # 3
    if terms.release.version != version_at(found.unit, terms.cut_off):
        raise InvalidInput(
            "a release has the version that is due at its cut-off", reasons=("RELEASE_VERSION",)
        )
    # 4
    if terms.quarter not in quarters(now):
        raise InvalidInput("seeds are of this quarter or the last", reasons=("QUARTER",))
    return found


def quarters(now: float) -> tuple[str, str]:
    """The quarters whose pair seeds are used now: this one, and the last, in which the rounds may
    have begun."""
    this = quarter_at(now)
    return this, quarter_at(parse_unit(this).begins - 1)
