"""Which ports are sea ports and which are inland ports: never both (docs/statistics.md).

It is the same for everybody, because two partners that count one port on two shores would add up
what does not belong together. A port that is not here has to be given its shore where it is
counted.
"""

from __future__ import annotations

from fairlead.errors import InvalidInput

SEA, INLAND = "sea", "inland"
SEA_PORTS = frozenset({
    "BEANR", "BEGNE", "BEZEE", "BGVAR", "CYLMS", "DEBRV", "DEHAM", "DEWVN", "DKAAR", "EETLL",
    "ESALG", "ESBCN", "ESVLC", "FIHEL", "FRDKK", "FRLEH", "FRMRS", "GRPIR", "GRSKG", "HRRJK",
    "IEDUB", "IEORK", "ITGIT", "ITGOA", "ITLIV", "ITTRS", "LTKLJ", "LVRIX", "MTMAR", "NLAMS",
    "NLMOE", "NLRTM", "NLVLI", "PLGDN", "PLGDY", "PTLIS", "PTSIE", "ROCND", "SEGOT", "SEHEL",
    "SIKOP",
})  # fmt: skip
INLAND_PORTS = frozenset({
    "ATLNZ", "ATVIE", "BELGG", "DECGN", "DEDUI", "DEMHG", "DENSS", "ESSVQ", "ESZAZ", "FRLIO",
    "FRSXB", "HUBUD", "NLNIJ", "NLVEN", "SKBTS",
})  # fmt: skip


def shore_of(port: str) -> str:
    """``sea`` or ``inland``, of a port by its UN/LOCODE.

    :raises InvalidInput: SHORE_UNKNOWN.
    """
    if port in SEA_PORTS:
        return SEA
    if port in INLAND_PORTS:
        return INLAND
    raise InvalidInput("it is not known on which shore a port is", reasons=("SHORE_UNKNOWN",))
