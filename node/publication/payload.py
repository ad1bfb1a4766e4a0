"""What an entry says of a record, and the reference by which its owner finds the record again."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from fairlead import signing
from fairlead.entries import REF_SIZE, pack_payload
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
from node.publication.target import Target

_PERSON = b"fairlead ref 001"


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
    """64 octets. :raises InvalidInput: ``ENTRY``, the record is of before 1970 or after 2149."""
    handling = Handling(
        tlp=Tlp(record.tlp),
        pap=Pap(record.pap),
        europol=Europol(record.europol),
        source_grade=SourceGrade(record.source_grade),
        information_grade=InformationGrade(record.information_grade),
    )
    return pack_payload(
        record_type=RecordType(record.record_type) if said.record else None,
        event=Event(record.event) if said.event else None,
        handling=handling if said.record else None,
        date=datetime.fromtimestamp(record.occurred_at, UTC).date() if said.date else None,
        desk=target.desk if said.desk else 0,
        ref=ref,
    )
