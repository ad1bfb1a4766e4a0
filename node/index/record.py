"""A record as the index holds it: a deterministic JSON document, sealed by the codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from fairlead.identifiers import Validity
from node.sources.record import SourceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRecord:
    """One record as held for release.

    Times are unix seconds; ``ref`` is 16 opaque octets; ``fields`` may be released if policy
    agrees, ``withheld`` names fields that never are; ``doubtful`` names the schemes of the
    record's identifiers whose check digit is wrong at the source; ``terms`` are its identifiers,
    scheme and canonical value, for the blind index alone.
    """

    ref: bytes
    record_type: str
    event: str
    occurred_at: int
    expires_at: int
    tlp: str
    pap: str
    europol: str
    source_grade: str
    information_grade: str
    purposes: tuple[str, ...]
    active_target: bool
    personal: bool
    fields: Mapping[str, str]
    withheld: tuple[str, ...]
    doubtful: tuple[str, ...]
    terms: tuple[tuple[str, str], ...] = ()
    country: str = ""
    """Where its source keeps it; empty is the partner's own."""


def write_record(record: SourceRecord) -> bytes:
    """Everything about the record. Tokens cannot be turned back, so its identifiers are here too:
    the blind index is made of them (ADR 17)."""
    handling = record.handling
    doubtful = {i.scheme for i in record.identifiers if i.validity is Validity.CHECKSUM_FAILED}
    return orjson.dumps(
        {
            "active_target": record.active_target,
            "country": record.country,
            "doubtful": sorted(doubtful),
            "europol": handling.europol,
            "event": record.event,
            "expires_at": record.expires_at,
            "fields": dict(record.fields),
            "information_grade": handling.information_grade,
            "occurred_at": record.occurred_at,
            "pap": handling.pap,
            "personal": record.personal,
            "purposes": record.purposes,
            "record_type": record.record_type,
            "source_grade": handling.source_grade,
            "terms": sorted({(i.scheme, i.value) for i in record.identifiers}),
            "tlp": handling.tlp,
            "withheld": record.withheld,
        },
        option=orjson.OPT_SORT_KEYS,
    )


def read_record(ref: bytes, content: bytes) -> IndexedRecord:
    """The reverse of :func:`write_record`, for content whose seal was verified.

    :raises ValueError, TypeError, KeyError: it is of another format.
    """
    document: dict[str, Any] = orjson.loads(content)
    for name in ("purposes", "withheld", "doubtful"):
        document[name] = tuple(document[name])
    document["terms"] = tuple((scheme, value) for scheme, value in document["terms"])
    return IndexedRecord(ref=ref, **document)
