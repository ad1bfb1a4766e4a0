"""The entries of a blind index: a tag to be found by, and a payload that opens with the term.

An owner makes one entry for each term that an audience class may learn of, from the term's OPRF
output (:mod:`fairlead.blinding`). Whoever holds the index and not the output learns nothing from
an entry: tag and payload key are BLAKE2b, keyed with the output, of audience and epoch.

======  ======  ====================================================================
offset  octets  an entry: :data:`ENTRY_SIZE` octets
======  ======  ====================================================================
0       16      tag
16      80      the payload under AES-256-GCM-SIV (RFC 8452), authentication tag last
======  ======  ====================================================================

======  ======  ====================================================================
offset  octets  a payload: :data:`PAYLOAD_SIZE` octets, numbers big-endian
======  ======  ====================================================================
0       1       layout: 1
1       1       record type
2       1       event
3       5       handling: TLP, PAP, Europol, source grade, information grade
8       2       date: days since 1 January 1970
10      2       contact desk: its place in the index's manifest, from 1
12      16      opaque reference
28      36      zero
======  ======  ====================================================================

A word of the vocabulary is written as its place in its enumeration, from 1: new words are
appended there, and none is ever moved. Zero stands for what its owner may not tell this class: a
word, the whole handling, the date, the desk.

**Why 16 octets of tag suffice.** To whoever lacks the owner's key, tags are uniform. Looking up *m*
terms among *N* entries finds a false one with probability m·N / 2¹²⁸, for 10⁷ terms 3·10⁻²⁶ at
N = 10⁶ and 3·10⁻²⁴ at 10⁸; two of the index's own tags are equal with N² / 2¹²⁹, 2·10⁻²⁷ and
2·10⁻²³. Even then the payload would not open. Nobody can search for equal tags (2⁶⁴ evaluations)
but the owner, who need not: it may plant entries anyway.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache, lru_cache
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from fairlead.blinding import OUTPUT_SIZE, check_audience, check_epoch
from fairlead.errors import Forged, InvalidInput
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

TAG_SIZE = 16
REF_SIZE = 16
PAYLOAD_SIZE = 64
ENTRY_SIZE = TAG_SIZE + PAYLOAD_SIZE + 16

LAYOUT = 1
MAX_DESK = 2**16 - 1
MAX_DAYS = 2**16 - 1
"""Days from 1 January 1970 to 6 June 2149; that first day itself cannot be told."""

_HEAD_SIZE = 8
_REST = struct.Struct(">2H16s36s")
_UNUSED = bytes(36)
_UNTOLD = bytes(5)
_FIRST_DAY = date(1970, 1, 1).toordinal()
_KEY_SIZE = 32
_NONCE = bytes(12)
_PERSON = b"fairlead entry 1"
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a hit tells: enough to decide whether to ask the owner, nothing to act upon.

    None, and a desk of 0, is what this class may not be told. ``desk`` is the place of a contact
    desk in the index's manifest; ``ref`` 16 octets by which the owner finds the record again, and
    a decoy looks like any other.
    """

    record_type: RecordType | None
    event: Event | None
    handling: Handling | None
    date: date | None
    desk: int
    ref: bytes

    def pack(self) -> bytes:
        """64 octets. :raises InvalidInput: as :func:`pack_payload`."""
        return pack_payload(
            record_type=self.record_type,
            event=self.event,
            handling=self.handling,
            date=self.date,
            desk=self.desk,
            ref=self.ref,
        )

    @classmethod
    def parse(cls, octets: bytes) -> Payload:
        """Read 64 octets. :raises Forged: ``ENTRY_LAYOUT``, :meth:`pack` never wrote these."""
        if len(octets) != PAYLOAD_SIZE:
            raise _misplaced()
        layout, *places = octets[:_HEAD_SIZE]
        days, desk, ref, unused = _REST.unpack_from(octets, _HEAD_SIZE)
        if layout != LAYOUT or unused != _UNUSED:
            raise _misplaced()
        return cls(
            record_type=_word(RecordType, places[0]) if places[0] else None,
            event=_word(Event, places[1]) if places[1] else None,
            handling=_handling(places[2:]) if any(places[2:]) else None,
            date=date.fromordinal(_FIRST_DAY + days) if days else None,
            desk=desk,
            ref=ref,
        )


def pack_payload(
    *,
    record_type: RecordType | None,
    event: Event | None,
    handling: Handling | None,
    date: date | None,
    desk: int,
    ref: bytes,
) -> bytes:
    """What :class:`Payload` says as 64 octets, for whoever packs millions of them.

    :raises InvalidInput: ``ENTRY``: a date before 2 January 1970 or after 6 June 2149, a desk's
        number above 65,535, a reference not of 16 octets.
    """
    days = date.toordinal() - _FIRST_DAY if date else 0
    told = date is None or 0 < days <= MAX_DAYS
    if not (told and 0 <= desk <= MAX_DESK and len(ref) == REF_SIZE):
        raise InvalidInput("an entry's payload cannot be written", reasons=("ENTRY",))
    return _head(record_type, event, handling) + _REST.pack(days, desk, ref, _UNUSED)


class EntryCodec:
    """Entries of one audience and epoch.

    :param audience: 32 octets that name the class.
    :raises InvalidInput: ``AUDIENCE`` or ``EPOCH``.
    """

    __slots__ = ("_bound",)

    def __init__(self, *, audience: bytes, epoch: int) -> None:
        check_audience(audience)
        check_epoch(epoch)
        self._bound = audience + epoch.to_bytes(4, "big")

    def tag(self, output: bytes) -> bytes:
        """The 16 octets under which the term of this OPRF output (64 octets) would be found.

        :raises InvalidInput: ``OUTPUT``, not 64 octets.
        """
        return self._derive(output)[:TAG_SIZE]

    def seal(self, output: bytes, payload: bytes) -> bytes:
        """The entry of one term, 96 octets.

        The nonce is fixed. In an epoch a key seals what is known of one term: the same again, or,
        in a delta, something newer. SIV keeps both closed; only that nothing changed can be seen.

        :param payload: 64 octets, of :meth:`Payload.pack`.
        :raises InvalidInput: ``OUTPUT`` or ``ENTRY``, a wrong size.
        """
        if len(payload) != PAYLOAD_SIZE:
            raise InvalidInput("an entry's payload cannot be written", reasons=("ENTRY",))
        derived = self._derive(output)
        tag = derived[:TAG_SIZE]
        return tag + AESGCMSIV(derived[TAG_SIZE:]).encrypt(_NONCE, payload, tag)

    def open(self, output: bytes, entry: bytes) -> Payload:
        """What an entry that was found by :meth:`tag` says.

        :raises Forged: ``ENTRY``: it is not of this term, audience and epoch, or was changed;
            ``ENTRY_LAYOUT``: its owner sealed something else than a payload.
        :raises InvalidInput: ``OUTPUT``.
        """
        derived = self._derive(output)
        tag = derived[:TAG_SIZE]
        if len(entry) != ENTRY_SIZE or entry[:TAG_SIZE] != tag:
            raise _not_of_term()
        try:
            opened = AESGCMSIV(derived[TAG_SIZE:]).decrypt(_NONCE, entry[TAG_SIZE:], tag)
        except InvalidTag:
            raise _not_of_term() from None
        return Payload.parse(opened)

    def _derive(self, output: bytes) -> bytes:
        """Tag and payload key, 48 octets."""
        if len(output) != OUTPUT_SIZE:
            raise InvalidInput("an output has 64 octets", reasons=("OUTPUT",))
        return hashlib.blake2b(
            self._bound, digest_size=TAG_SIZE + _KEY_SIZE, key=output, person=_PERSON
        ).digest()


@lru_cache(maxsize=256)
def _head(record_type: RecordType | None, event: Event | None, handling: Handling | None) -> bytes:
    """Layout and words, the first 8 octets: few of them differ."""
    return bytes([LAYOUT, _place(record_type), _place(event)]) + _handled(handling)


def _handled(handling: Handling | None) -> bytes:
    if handling is None:
        return _UNTOLD
    return bytes(
        [
            _place(handling.tlp),
            _place(handling.pap),
            _place(handling.europol),
            _place(handling.source_grade),
            _place(handling.information_grade),
        ]
    )


def _place(word: StrEnum | None) -> int:
    return 0 if word is None else list(type(word)).index(word) + 1


def _handling(places: Sequence[int]) -> Handling:
    return Handling(
        tlp=_word(Tlp, places[0]),
        pap=_word(Pap, places[1]),
        europol=_word(Europol, places[2]),
        source_grade=_word(SourceGrade, places[3]),
        information_grade=_word(InformationGrade, places[4]),
    )


@cache
def _words(kind: type[_Word]) -> tuple[_Word, ...]:
    return tuple(kind)


def _word(kind: type[_Word], place: int) -> _Word:
    words: tuple[_Word, ...] = _words(kind)
    if not 0 < place <= len(words):
        raise _misplaced()
    return words[place - 1]


def _misplaced() -> Forged:
    return Forged("an entry is not laid out as agreed", reasons=("ENTRY_LAYOUT",))


def _not_of_term() -> Forged:
    return Forged("an entry does not open for this term", reasons=("ENTRY",))
