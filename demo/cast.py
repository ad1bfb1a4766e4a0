"""The demo's cast: invented companies, names, ships, trucks and places. Nobody here exists."""

from __future__ import annotations

import string
from dataclasses import dataclass
from random import Random

from fairlead.identifiers import container, vessel

STORY_CONTAINER = "MSCU6639870"
QUIET_CONTAINER = "TRHU3912048"
"""Known to one terminal alone; asked about blind."""
STORY_PLATE = ("NL", "74-BXK-3")
STORY_VESSEL = "9745811"

_OWNERS = ("MSCU", "OCLU", "TGHU", "CAIU", "TCNU", "BMOU", "SEGU", "FCIU", "OCLZ", "GESU")
_GIVEN = (
    "Alma", "Bram", "Cees", "Dora", "Emil", "Femke", "Goran", "Hanne", "Ivo", "Jette", "Kees",
    "Lotte", "Milan", "Nora", "Oskar", "Petra", "Ruben", "Saskia", "Tomas", "Ulla", "Vera", "Wim",
)  # fmt: skip
_FAMILY = (
    "Aalders", "Brandt", "Claes", "Dekker", "Eriksen", "Falk", "Groen", "Holm", "Jansma", "Kuiper",
    "Lindqvist", "Maas", "Novak", "Olsen", "Peeters", "Richter", "Smits", "Thijs", "Vermeer",
)  # fmt: skip
_PLATES = {
    "NL": "##-@@@-#",
    "DE": "DU-@@ ####",
    "BE": "1-@@@-###",
    "PL": "W@ #####",
    "FR": "@@-###-@@",
}
_LETTERS = "BDFGHJKLNPRSTVXZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody and everything that the records mention; trucks are (country, plate)."""

    containers: tuple[str, ...]
    vessels: tuple[str, ...]
    trucks: tuple[tuple[str, str], ...]
    drivers: tuple[tuple[str, str], ...]
    """(name, card), one for each truck."""
    operators: tuple[str, ...]
    companies: tuple[str, ...]
    """EORI numbers."""


def make_cast(random: Random, *, containers: int) -> Cast:
    """A cast with valid check digits; the story's own container and truck are not in it."""
    serials = random.sample(range(100_000, 1_000_000), containers)
    numbers = (f"{random.choice(_OWNERS)}{serial}" for serial in serials)
    boxes = [number + container.check_digit(number) for number in numbers]
    imos = [str(n) for n in random.sample(range(910_000, 995_000), 160)]
    trucks = [make_plate(random) for _ in range(max(40, containers // 9))]
    return Cast(
        containers=tuple(box for box in boxes if box not in {STORY_CONTAINER, QUIET_CONTAINER}),
        vessels=tuple(imo + vessel.check_digit(imo) for imo in imos),
        trucks=tuple(truck for truck in trucks if truck != STORY_PLATE),
        drivers=tuple((make_name(random), f"DC{random.randrange(10**8):08d}") for _ in trucks),
        operators=tuple(make_name(random) for _ in range(120)),
        companies=tuple(make_eori(random) for _ in range(400)),
    )


def make_name(random: Random) -> str:
    """An invented name."""
    return f"{random.choice(_GIVEN)} {random.choice(_FAMILY)}"


def make_eori(random: Random) -> str:
    """A company's number in the form of an EORI."""
    return f"{random.choice(('NL', 'BE', 'DE', 'DK', 'PL'))}{random.randrange(10**9):09d}"


def make_plate(random: Random) -> tuple[str, str]:
    """(country, plate) as its country writes it."""
    country = random.choice(tuple(_PLATES))
    signs = {"#": string.digits, "@": _LETTERS}
    plate = "".join(random.choice(signs[c]) if c in signs else c for c in _PLATES[country])
    return country, plate
