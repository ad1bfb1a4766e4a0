"""The words partners share: events, modi operandi, record types, handling.

A word outside the vocabulary is refused, and so is "unspecified": what is not said is never
taken for harmless. Values of :class:`Tlp` and :class:`Pap` are the names of the wire's enums
without their prefix. :mod:`fairlead.entries` writes a word as its place in its enumeration: append,
never move.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from fairlead.errors import InvalidInput
from fairlead.marking import check_marking


class Event(StrEnum):
    """What happened."""

    GATE_IN = "gate-in"
    GATE_OUT = "gate-out"
    DISCHARGE = "discharge"
    LOAD = "load"
    YARD_MOVE = "yard-move"
    REEFER_INTERVENTION = "reefer-intervention"
    CRANE_INTERVENTION = "crane-intervention"
    SCAN = "scan"
    SEAL_BROKEN = "seal-broken"
    SEAL_MISMATCH = "seal-mismatch"
    RELEASE_ISSUED = "release-issued"
    RELEASE_TRANSFERRED = "release-transferred"
    RELEASE_USED = "release-used"
    RELEASE_LOOKED_UP = "release-looked-up"
    RELEASE_FAILED = "release-failed"
    SEIZURE = "seizure"
    INTRUSION = "intrusion"
    DRONE_SIGHTING = "drone-sighting"
    HULL_FINDING = "hull-finding"
    CONCERNING_BEHAVIOUR = "concerning-behaviour"
    BRIBE_APPROACH = "bribe-approach"
    THREAT = "threat"
    UNUSUAL_SYSTEM_ACCESS = "unusual-system-access"
    MALWARE = "malware"
    SUSPICIOUS_TRANSACTION = "suspicious-transaction"
    PRECURSOR_DIVERSION = "precursor-diversion"
    LOST_OR_STOLEN = "lost-or-stolen"
    ALERT = "alert"


class ModusOperandi(StrEnum):
    """How a consignment is abused."""

    RIP_ON = "rip-on"
    RIP_OFF = "rip-off"
    PIN_CODE_FRAUD = "pin-code-fraud"
    SWITCH = "switch"
    EXTRACTION_TEAM = "extraction-team"
    TROJAN_CONTAINER = "trojan-container"
    CLONED_CONTAINER = "cloned-container"
    HULL_ATTACHMENT = "hull-attachment"
    SHIP_STRUCTURE = "ship-structure"
    AT_SEA_DROP = "at-sea-drop"
    REEFER_UNIT = "reefer-unit"
    IN_CARGO = "in-cargo"
    CHEMICAL_CONCEALMENT = "chemical-concealment"
    INSIDER = "insider"
    CYBER_INTRUSION = "cyber-intrusion"
    FRONT_COMPANY = "front-company"
    SEAL_TAMPERING = "seal-tampering"


class RecordType(StrEnum):
    """What kind of record an owner holds."""

    MOVEMENT = "movement"
    RELEASE = "release"
    SEAL = "seal"
    REEFER = "reefer"
    INSPECTION = "inspection"
    SIGHTING = "sighting"
    ACCESS = "access"
    INTELLIGENCE = "intelligence"
    SEIZURE = "seizure"
    CONSIGNMENT = "consignment"
    CREDENTIAL = "credential"
    INCIDENT = "incident"
    TRANSACTION = "transaction"
    ALERT = "alert"


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0 (FIRST), from the widest sharing to the narrowest."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    AMBER_STRICT = "AMBER_STRICT"
    RED = "RED"


class Pap(StrEnum):
    """Permissible Actions Protocol, from the freest use to the most covert."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    RED = "RED"


class Europol(StrEnum):
    """Europol handling codes; H2 means no dissemination without permission."""

    H0 = "H0"
    H1 = "H1"
    H2 = "H2"
    H3 = "H3"


class SourceGrade(StrEnum):
    """4x4: how reliable the source is; X cannot be assessed."""

    A = "A"
    B = "B"
    C = "C"
    X = "X"


class InformationGrade(StrEnum):
    """4x4: how accurate the information is; 4 cannot be corroborated."""

    ONE = "1"
    TWO = "2"
    THREE = "3"
    FOUR = "4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """The handling that travels with every record."""

    tlp: Tlp
    pap: Pap
    europol: Europol
    source_grade: SourceGrade
    information_grade: InformationGrade


_WORD = TypeVar("_WORD", bound=StrEnum)
_BETWEEN = re.compile(r"[\s_]+")


def parse_event(raw: str) -> Event:
    """Read an event, ``gate in`` or ``GATE_IN`` as ``gate-in``.

    :raises InvalidInput: ``EVENT_UNSPECIFIED`` for an empty or unspecified one, else
        ``EVENT_UNKNOWN``.
    """
    word = _BETWEEN.sub("-", raw.strip().lower())
    if word in {"", "unspecified", "event-unspecified"}:
        raise InvalidInput("the event is unspecified", reasons=("EVENT_UNSPECIFIED",))
    return _find(Event, word, "the event is not in the vocabulary", "EVENT_UNKNOWN")


def parse_modus_operandi(raw: str) -> ModusOperandi:
    """Read a modus operandi, ``Rip On`` or ``RIP_ON`` as ``rip-on``.

    :raises InvalidInput: ``MODUS_OPERANDI_UNSPECIFIED`` for an empty or unspecified one, else
        ``MODUS_OPERANDI_UNKNOWN``.
    """
    word = _BETWEEN.sub("-", raw.strip().lower())
    if word in {"", "unspecified", "modus-operandi-unspecified"}:
        raise InvalidInput(
            "the modus operandi is unspecified", reasons=("MODUS_OPERANDI_UNSPECIFIED",)
        )
    message = "the modus operandi is not in the vocabulary"
    return _find(ModusOperandi, word, message, "MODUS_OPERANDI_UNKNOWN")


def parse_record_type(raw: str) -> RecordType:
    """Read a record type. :raises InvalidInput: ``RECORD_TYPE``."""
    word = _BETWEEN.sub("-", raw.strip().lower())
    return _find(RecordType, word, "the record type is not in the vocabulary", "RECORD_TYPE")


def parse_handling(
    *, tlp: str, pap: str, europol: str, source_grade: str, information_grade: str
) -> Handling:
    """Read the five parts of a handling; every wrong one is reported at once.

    Accepts the published spellings (``TLP:AMBER+STRICT``, ``PAP:RED``, ``h1``).

    :raises InvalidInput: ``EU_CLASSIFIED`` (EU RESTRICTED and above may not be held here),
        ``HANDLING_TLP``, ``HANDLING_PAP``, ``HANDLING_EUROPOL``, ``HANDLING_SOURCE``,
        ``HANDLING_INFORMATION``; an empty or unspecified part is wrong too.
    """
    for part in (tlp, pap, europol, source_grade, information_grade):
        check_marking(part, bare=True)
    parts = (
        (Tlp, _colour(tlp, "TLP"), "HANDLING_TLP"),
        (Pap, _colour(pap, "PAP"), "HANDLING_PAP"),
        (Europol, europol.strip().upper(), "HANDLING_EUROPOL"),
        (SourceGrade, source_grade.strip().upper(), "HANDLING_SOURCE"),
        (InformationGrade, information_grade.strip(), "HANDLING_INFORMATION"),
    )
    wrong = tuple(code for kind, word, code in parts if word not in _words(kind))
    if wrong:
        raise InvalidInput("the handling is incomplete or misspelt", reasons=wrong)
    return Handling(
        tlp=Tlp(parts[0][1]),
        pap=Pap(parts[1][1]),
        europol=Europol(parts[2][1]),
        source_grade=SourceGrade(parts[3][1]),
        information_grade=InformationGrade(parts[4][1]),
    )


def _colour(raw: str, protocol: str) -> str:
    word = raw.strip().upper().removeprefix(protocol).lstrip(":- _")
    return re.sub(r"[\s_+-]+", "_", word)


def _words(kind: type[StrEnum]) -> frozenset[str]:
    return frozenset(word.value for word in kind)


def _find(kind: type[_WORD], word: str, message: str, code: str) -> _WORD:
    if word not in _words(kind):
        raise InvalidInput(message, reasons=(code,))
    return kind(word)
