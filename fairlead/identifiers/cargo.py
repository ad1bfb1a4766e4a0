"""What moves a consignment: seals, bills of lading, bookings, voyages, carriers' codes.

Numbers of bills and bookings are unique within a carrier alone, so the carrier's SCAC is their
issuer; a bill of lading that begins with four letters and holds a digit states it itself
(``MAEU123456789``). A voyage number belongs to a ship (its IMO number) or a carrier.
"""

from __future__ import annotations

import re

from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import formed, formed_by, issued, plain
from fairlead.identifiers.spelling import fold
from fairlead.identifiers.vessel import normalise as _vessel

_SCAC = re.compile(r"[A-Z]{2,4}\Z")
_BILL = re.compile(r"([A-Z]{4})((?=.*[0-9])[A-Z0-9]{4,16})\Z")


def carrier(text: str) -> str | None:
    """A Standard Carrier Alpha Code, however spelt; None for any other text."""
    folded = fold(text)
    return folded if _SCAC.match(folded) else None


def _ship_or_carrier(text: str) -> str | None:
    ship = _vessel(text)
    return ship.value if ship.validity is Validity.CHECKSUM_OK else carrier(text)


def _carried_bill(folded: str) -> tuple[str, str] | None:
    match = _BILL.match(folded)
    return (match[1], match[2]) if match else None


SCHEMES = (
    plain(
        "seal",
        "Seal on a container or a trailer (ISO 17712)",
        "form: 4 to 20 letters and digits, at least one digit",
        "ML-CN 4471902",
        read=formed(r"(?=.*[0-9])[A-Z0-9]{4,20}"),
    ),
    issued(
        "bill-of-lading",
        "Bill of lading",
        "form: 4 to 16 letters and digits behind the carrier",
        "XYZL:ANR0012345",
        "XYZLANR0012345",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{4,16}"),
        issuer="the carrier's SCAC",
        issuer_of=carrier,
        bare=_carried_bill,
    ),
    issued(
        "booking",
        "Booking with a carrier",
        "form: 4 to 17 letters and digits behind the carrier",
        "XYZL:5500123456",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{4,17}"),
        issuer="the carrier's SCAC",
        issuer_of=carrier,
    ),
    issued(
        "voyage",
        "Voyage of a ship or a service",
        "form: 1 to 10 letters and digits behind the ship",
        "9074729:0421W",
        "XYZL:FA611R",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{1,10}"),
        issuer="the ship's IMO number, or the carrier's SCAC",
        issuer_of=_ship_or_carrier,
    ),
    plain(
        "scac",
        "Standard Carrier Alpha Code",
        "form: 2 to 4 letters",
        "XYZL",
        read=formed(r"[A-Z]{2,4}"),
    ),
)
