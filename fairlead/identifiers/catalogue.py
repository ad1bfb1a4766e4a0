"""Every scheme of this version, in the order in which a text is taken for one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fairlead.identifiers import (
    cargo,
    company,
    container,
    craft,
    credential,
    crypto,
    customs,
    internet,
    money,
    person,
    place,
    plate,
    release,
    telephone,
    vehicle,
    vessel,
)
from fairlead.identifiers.scheme import Scheme

_FIRST = (
    Scheme(
        name=container.SCHEME,
        title="Freight container (ISO 6346)",
        checks="check digit",
        examples=("MSCU 663987-0",),
        normalise=container.normalise,
        reason=container.reason,
        recognised=True,
    ),
    Scheme(
        name=vessel.SCHEME,
        title="Sea-going ship (IMO number)",
        checks="check digit",
        examples=("IMO 9074729",),
        normalise=vessel.normalise,
        reason=vessel.reason,
        recognised=True,
    ),
    Scheme(
        name=plate.SCHEME,
        title="Vehicle registration plate",
        checks="form and country",
        examples=("NL:AB-123-C", "[D] B-MW 123"),
        normalise=plate.normalise,
        reason=plate.reason,
        issuer="the country, by ISO code or vehicle sign",
        recognised=True,
    ),
)

CATALOGUE: Mapping[str, Scheme] = MappingProxyType({
    scheme.name: scheme
    for scheme in (
        *_FIRST,
        *(s for family in (cargo, customs, craft, company, vehicle, credential, person, telephone,
                           internet, money, crypto, place, release)
          for s in family.SCHEMES),
    )
})  # fmt: skip
