"""A waiver: an owner publishes its own share of a cell, under its signing key.

Whoever waives covers nobody any more: the audit takes the share as known, and the rest of the cell
needs as many contributors as if the owner were not there (:mod:`fairlead.disclosure`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, ValidationError

from fairlead import signing
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.disclosure.system import Cell, Interval, Sum
from fairlead.errors import FairleadError, InvalidInput, Stale
from fairlead.forms import STRICT
from fairlead.partners import Directory
from fairlead.strategic.layout import SIZE, layout_of

DOMAIN = "figures-waiver"
_LIMIT = 4096


class Waiver(BaseModel):
    """What an owner publishes: so much of a measure is its own in a cell of a level."""

    model_config = STRICT

    schema_version: Literal[1] = Field(default=1, alias="schema")
    federation: str
    partner: str
    cube: str
    measure: str
    level: str
    cell: str
    """As the level spells it, with its unit of time."""
    version: Annotated[int, Field(ge=1, le=99)]
    """Of the release whose figures these are; of a later one they are what was known before."""
    layout: Annotated[str, Field(min_length=SIZE, max_length=SIZE)]
    """Of the cube (:mod:`.layout`): of another one the cell may be another."""
    value: Annotated[int, Field(ge=0, le=2**56)]
    issued_at: Annotated[int, Field(ge=0, le=2**40)]

    @property
    def reference(self) -> Cell:
        """The key of the cell that it is a share of."""
        return f"{self.cube}/{self.level}/{self.cell}"

    @property
    def share(self) -> Cell:
        """The key of the share."""
        return f"~{self.partner}~{self.reference}"

    def to_bytes(self) -> bytes:
        """Canonical octets, which are signed: JSON with sorted keys and without white space."""
        said = self.model_dump(by_alias=True)
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def sign_waiver(waiver: Waiver, key: Ed25519PrivateKey) -> bytes:
    """The owner's signature. :param key: the partner's signing key."""
    return signing.sign(key, DOMAIN, waiver.to_bytes())


def verify_waiver(data: bytes, signature: bytes, *, directory: Directory, cube: Cube) -> Waiver:
    """Read a waiver, in steps:

    1. It is canonical, and of this federation and cube.
    2. Its partner signed it.
    3. The cube has this layout, the measure, the level and the cell, and one partner may state so
       much.

    :raises Stale: CUBE_VERSION: of another layout.
    :raises InvalidInput: WAIVER; MEASURE_UNKNOWN, LEVEL_UNKNOWN, CELL_UNKNOWN, MEASURE_BOUND.
    :raises Forged: SIGNATURE. :raises NotFound: UNKNOWN_PARTNER, ROOT_UNPINNED.
    """
    # 1
    waiver = read_waiver(data)
    if (waiver.federation, waiver.cube) != (directory.federation, cube.id):
        raise _no_waiver()
    # 2
    signing.verify(directory.partner(waiver.partner).signing_key, DOMAIN, data, signature)
    # 3
    if waiver.layout != layout_of(cube):
        raise Stale(
            "the cells of this cube were others when the figure was published",
            reasons=("CUBE_VERSION",),
            remedy="gateway and node may be under different policies: fairlead policy status",
        )
    measure = cube.measure(waiver.measure)
    if measure.kind not in {MeasureKind.COUNT, MeasureKind.SUM}:
        raise _no_waiver()
    measure.check(waiver.value)
    cube.level(waiver.level).cell(waiver.cell)
    return waiver


def read_waiver(data: bytes) -> Waiver:
    """What a waiver says, whoever signed it.

    :raises InvalidInput: WAIVER.
    """
    try:
        waiver = Waiver.model_validate_json(data) if len(data) <= _LIMIT else None
    except ValidationError:
        waiver = None
    if waiver is None or waiver.to_bytes() != data:
        raise _no_waiver()
    return waiver


def _no_waiver() -> FairleadError:
    return InvalidInput("this is no waiver of a figure", reasons=("WAIVER",))


def in_force(waivers: Iterable[Waiver], layout: str, version: int) -> list[Waiver]:
    """What is known of each share when a version is released, with cells as they are laid out: of
    several the last one that is no later, or failing that the first."""
    found: dict[tuple[Cell, str], Waiver] = {}
    for waiver in sorted(waivers, key=lambda each: each.version):
        key = waiver.share, waiver.measure
        if waiver.layout == layout and (key not in found or waiver.version <= version):
            found[key] = waiver
    return list(found.values())


def known(waivers: Iterable[Waiver], measure: Measure) -> dict[Cell, Interval]:
    """What waivers say of one measure, in its steps."""
    return {
        waiver.share: Interval(low=waiver.value / measure.step, high=waiver.value / measure.step)
        for waiver in waivers
        if waiver.measure == measure.id
    }


def shares(waivers: Iterable[Waiver], measure: Measure) -> list[Sum]:
    """Of which cells these shares are parts, each beside a rest."""
    parts: dict[Cell, dict[Cell, None]] = {}
    for waiver in waivers:
        if waiver.measure == measure.id:
            parts.setdefault(waiver.reference, {})[waiver.share] = None
    return [Sum(whole=cell, parts=(*own, f"~others~{cell}")) for cell, own in parts.items()]
