"""Kinds of record: all that a decision to publish can depend on, and none of a record's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fairlead.policy.inputs import RecordFacts
from node.disclosing import record_facts
from node.index import IndexedRecord

DAY_S = 86_400
AGES = (1, 7, 14, 30, 60, 90, 180, 365, 730, 1_825)
"""Days. A record's age is rounded up to one of these, so that there are few kinds; what is older
is asked about only by who may ask without a beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What policy knows of a record (``expires_at`` is the same for all: retention was looked at
    before), and ``window_days``, the days a question must reach back to find it as long as it is
    published; None is no limit."""

    facts: RecordFacts
    window_days: int | None

    def to_document(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Kind:
        """Undo :meth:`to_document`."""
        facts = dict(document["facts"])
        for name in ("purposes", "fields"):
            facts[name] = tuple(facts[name])
        return cls(facts=RecordFacts(**facts), window_days=document["window_days"])


def kind_of(record: IndexedRecord, until: int) -> Kind | None:
    """The kind of a record that is published until ``until`` (unix seconds).

    None when its retention ends before that: it must not be found by anybody then, and nobody
    takes an entry out of a snapshot that was delivered.
    """
    if record.expires_at < until:
        return None
    age = max(1, -(-(until - record.occurred_at) // DAY_S))
    window = next((days for days in AGES if age <= days), None)
    return Kind(facts=record_facts(record, until - 1), window_days=window)
