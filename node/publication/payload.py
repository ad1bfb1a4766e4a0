"""What an entry says of a record, and the reference by which its owner finds the record again."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from functools import lru_cache

from fairlead import signing
from fairlead.entries import MAX_DAYS, REF_SIZE, pack_payload
from fairlead.vocabulary import (
    Europol,
    Event,
    Handling,
    InformationGrade,
    Pap,
    RecordType,
    SourceGrade,
    Tlp,
)
from node.index import IndexedRecord
from node.publication.decision import Telling
from node.publication.kind import DAY_S
from node.publication.target import Target

_PERSON = b"fairlead ref 001"
_FIRST_DAY = date(1970, 1, 1)


class References:
    """Opaque references: 16 octets that tell a stranger nothing, not even that two are equal.

    A reference is keyed BLAKE2b of the record's own one, the term's token and the snapshot's name:
    the container and the plate of one record, or one record in two classes or epochs, have nothing
    in common. Who follows up names the term, so the owner computes those of its few records and
    compares. A decoy has one in the same way, of a record that is none.

    :param token_key: the index's, 32 octets.
    """

    def __init__(self, token_key: bytes) -> None:
        self._key = signing.commit(token_key, b"blind references")

    def of(self, record_ref: bytes, *, token: bytes, target: bytes) -> bytes:
        """The reference of a record in the entry of one term. :param target: its name."""
        return hashlib.blake2b(
            record_ref + token + target, digest_size=REF_SIZE, key=self._key, person=_PERSON
        ).digest()


def payload_of(record: IndexedRecord, said: Telling, target: Target, ref: bytes) -> bytes:
    """64 octets; a date before 1970 or after 2149 cannot be told, and is not."""
    record_type, event = _words(record.record_type, record.event)
    handling = _handling(
        record.tlp, record.pap, record.europol, record.source_grade, record.information_grade
    )
    return pack_payload(
        record_type=record_type if said.record else None,
        event=event if said.event else None,
        handling=handling if said.record else None,
        date=_date(record.occurred_at) if said.date else None,
        desk=target.desk if said.desk else 0,
        ref=ref,
    )


def _date(occurred_at: int) -> date | None:
    days = occurred_at // DAY_S
    return _FIRST_DAY + timedelta(days) if 0 < days <= MAX_DAYS else None


@lru_cache(maxsize=1024)
def _words(record_type: str, event: str) -> tuple[RecordType, Event]:
    return RecordType(record_type), Event(event)


@lru_cache(maxsize=1024)
def _handling(tlp: str, pap: str, europol: str, source: str, information: str) -> Handling:
    return Handling(
        tlp=Tlp(tlp),
        pap=Pap(pap),
        europol=Europol(europol),
        source_grade=SourceGrade(source),
        information_grade=InformationGrade(information),
    )
