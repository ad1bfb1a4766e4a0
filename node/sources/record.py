"""One record, as an owner's source states it and as its index keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.identifiers import Identifier
from fairlead.vocabulary import Event, Handling, RecordType


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """One record.

    ``occurred_at`` and ``expires_at`` are unix seconds; ``fields`` are releasable by policy;
    ``withheld`` names fields that exist and are never released, whose values stay at the
    source. ``origin`` tells this row from every other row of the same source.
    """

    origin: str
    identifiers: tuple[Identifier, ...]
    record_type: RecordType
    event: Event
    occurred_at: int
    expires_at: int
    handling: Handling
    purposes: tuple[str, ...]
    active_target: bool
    personal: bool
    fields: Mapping[str, str]
    withheld: tuple[str, ...]
    country: str = ""
    """Where the source keeps it (ISO 3166); empty is the partner's own."""
