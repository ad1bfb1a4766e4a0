"""Lists of containers as an honest analyst has them: what one ship carries for one line.

Made up, from what is known of the trade: a line's own boxes and those of several leasing companies,
each under a few owner prefixes; every owner numbers what it buys in series of some hundred to some
thousand; and boxes that were built and handed over together stay together for their first
voyages, so that runs of consecutive serials of a leasing company are normal: 25 on average, with
a tail as long as the factories' output.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from fairlead.identifiers import container

LINES = (
    ("MSCU", "MEDU", "MSDU", "MSMU", "MSNU", "MSBU"),
    ("MSKU", "MRKU", "MRSU", "MAEU", "PONU", "SUDU"),
    ("CMAU", "ECMU", "APZU", "CGMU"),
    ("HLXU", "HLBU", "HAMU", "UACU"),
    ("CSNU", "CBHU", "CCLU", "OOLU"),
    ("EGHU", "EITU", "EMCU", "EGSU"),
)
LESSORS = (
    "TCLU", "TCNU", "TGHU", "TEMU", "TLLU", "TXGU", "CAIU", "FCIU", "FSCU", "BMOU", "BEAU",
    "SEGU", "SEKU", "TRHU", "TRLU", "DRYU", "GESU", "GLDU", "UETU", "KOCU", "FFAU", "FTAU",
)  # fmt: skip


def number(owner: str, serial: int) -> str:
    """The container of an owner's serial, with its check digit."""
    front = f"{owner}{serial % 1_000_000:06d}"
    return front + container.check_digit(front)


def manifest(chance: random.Random, size: int = 300) -> list[str]:
    """``size`` different containers that one ship may carry."""
    own = chance.choice(LINES)
    lessors = chance.sample(LESSORS, chance.randint(4, 10))
    share = chance.uniform(0.35, 0.8)
    found: dict[str, None] = {}
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3))):
        found.update(dict.fromkeys(_run(chance, chance.choice(lessors))))
    series = {owner: list(_series(chance)) for owner in (*own, *lessors)}
    weights = [1 / (rank + 1) for rank in range(len(own))]
    while len(found) < size:
        owner = chance.choices(own, weights)[0] if chance.random() < share else (
            chance.choice(lessors)
        )  # fmt: skip
        first, length = chance.choice(series[owner])
        found[number(owner, first + chance.randrange(length))] = None
    listed = list(found)[:size]
    chance.shuffle(listed)
    return listed


def day(chance: random.Random) -> list[list[str]]:
    """One to four manifests that one analyst works on in a day."""
    return [
        manifest(chance, chance.choice((80, 150, 300, 300))) for _ in range(chance.randint(1, 4))
    ]


def _series(chance: random.Random) -> Iterator[tuple[int, int]]:
    """An owner's series: first serial and how many boxes."""
    for _ in range(chance.randint(2, 8)):
        yield chance.randrange(0, 999_000, 500), chance.choice((250, 500, 1_000, 2_000, 5_000))


def _run(chance: random.Random, owner: str) -> list[str]:
    """Boxes built and handed over together, of which most sail together."""
    first, length = chance.randrange(0, 999_000), 5 + int(chance.expovariate(1 / 20))
    return [number(owner, first + step) for step in range(length)]
