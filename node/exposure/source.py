"""What a source can release, as its mapping says; no row of it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import product

from fairlead import vocabulary
from fairlead.policy.inputs import RecordFacts
from node.sources.cell import CellTable
from node.sources.mapping import MappingFile, SourceMapping

HandlingWords = tuple[str, str, str, str, str]
"""TLP, PAP, Europol code, grade of the source, grade of the information."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """One source as policy and a data-protection officer see it.

    ``fields`` may be released if policy agrees; ``withheld`` never are. ``ground`` and
    ``approver`` say why and by whose leave personal columns are mapped, where a mapping says so.
    ``digest`` (hex) is that of the mapping's content: another one is another source.
    """

    name: str
    digest: str
    record_type: str
    event: str
    schemes: tuple[str, ...]
    fields: tuple[str, ...]
    withheld: tuple[str, ...]
    purposes: tuple[str, ...]
    personal: bool
    retention_days: int
    handlings: tuple[HandlingWords, ...]
    ground: str = ""
    approver: str = ""
    country: str = ""

    def record_facts(self, now: int) -> list[RecordFacts]:
        """One record of each handling the mapping allows, each with every field it can have.

        Active targets are left out: they are never released, whatever policy says of others.
        """
        record = RecordFacts(
            record_type=self.record_type,
            event=self.event,
            tlp="",
            pap="",
            europol="",
            source_grade="",
            information_grade="",
            purposes=self.purposes,
            expires_at=now + 1,
            active_target=False,
            personal=self.personal,
            fields=self.fields,
            country=self.country,
        )
        return [
            replace(
                record, tlp=tlp, pap=pap, europol=europol, source_grade=of, information_grade=what
            )
            for tlp, pap, europol, of, what in self.handlings
        ]


def mapping_digest(mapping: SourceMapping) -> str:
    """SHA-256 (hex) of everything a mapping says. Keys left at their default do not count, so
    that a version that adds a key asks nobody to accept anew."""
    content = mapping.file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def source_facts(mapping: SourceMapping) -> SourceFacts:
    """Describe the source of a verified mapping."""
    file = mapping.file
    withheld = tuple(sorted(file.redact_always))
    return SourceFacts(
        name=file.source,
        digest=mapping_digest(mapping),
        record_type=str(vocabulary.parse_record_type(file.record_type)),
        event=_event(file),
        schemes=tuple(sorted({entry.scheme for entry in file.identifiers})),
        fields=tuple(sorted(set(file.fields) - set(withheld))),
        withheld=withheld,
        purposes=tuple(sorted(file.purposes)),
        personal=file.personal is not None,
        ground=file.personal.ground if file.personal else "",
        approver=file.personal.approved_by if file.personal else "",
        retention_days=file.retention_days,
        handlings=_handlings(file),
        country=file.country or "",
    )


def _event(file: MappingFile) -> str:
    """Some event of the source: policy asks only that there is one."""
    if file.event.value is not None:
        return str(vocabulary.parse_event(file.event.value))
    words = sorted(file.event.map.values())
    return str(vocabulary.parse_event(words[0])) if words else str(vocabulary.Event.ALERT)


def _handlings(file: MappingFile) -> tuple[HandlingWords, ...]:
    """Every handling a record of the source can have. What a column says may be any word of the
    vocabulary, because a map's missing word is taken as it stands. Grades widen nothing: a
    column of them stands for the best one."""
    columns = file.handling
    tlps = _words(columns.tlp, tuple(vocabulary.Tlp))
    paps = _words(columns.pap, tuple(vocabulary.Pap))
    europols = _words(columns.europol, tuple(vocabulary.Europol))
    found = product(
        tlps, paps, europols, _words(columns.source_grade, ("A",)),
        _words(columns.information_grade, ("1",)),
    )  # fmt: skip
    handlings = (
        vocabulary.parse_handling(
            tlp=tlp, pap=pap, europol=europol, source_grade=of, information_grade=what
        )
        for tlp, pap, europol, of, what in found
    )
    return tuple(
        (str(h.tlp), str(h.pap), str(h.europol), str(h.source_grade), str(h.information_grade))
        for h in handlings
    )


def _words(cell: CellTable, vocabulary_words: tuple[str, ...]) -> tuple[str, ...]:
    return (cell.value,) if cell.value is not None else vocabulary_words
