"""The entries of a blind index: what they say, to whom, and what they never say."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.entries import ENTRY_SIZE, PAYLOAD_SIZE, TAG_SIZE, EntryCodec, Payload
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
from tests.blind import changed

AUDIENCE = bytes(range(32))
CODEC = EntryCodec(audience=AUDIENCE, epoch=7)
OUTPUT = bytes(range(64))
PAYLOAD = Payload(
    record_type=RecordType.MOVEMENT,
    event=Event.GATE_OUT,
    handling=Handling(
        tlp=Tlp.AMBER,
        pap=Pap.GREEN,
        europol=Europol.H1,
        source_grade=SourceGrade.B,
        information_grade=InformationGrade.THREE,
    ),
    date=date(2026, 11, 25),
    desk=258,
    ref=bytes(range(16)),
)

OUTPUTS = st.binary(min_size=64, max_size=64)
PAYLOADS = st.builds(
    Payload,
    record_type=st.none() | st.sampled_from(RecordType),
    event=st.none() | st.sampled_from(Event),
    handling=st.none()
    | st.builds(
        Handling,
        tlp=st.sampled_from(Tlp),
        pap=st.sampled_from(Pap),
        europol=st.sampled_from(Europol),
        source_grade=st.sampled_from(SourceGrade),
        information_grade=st.sampled_from(InformationGrade),
    ),
    date=st.none() | st.dates(date(1970, 1, 2), date(2149, 6, 6)),
    desk=st.integers(0, 2**16 - 1),
    ref=st.binary(min_size=16, max_size=16),
)


@given(PAYLOADS, OUTPUTS)
def test_what_was_sealed_is_read_again(payload: Payload, output: bytes) -> None:
    """Whoever has the term's output finds the entry and reads every part of it."""
    assert Payload.parse(payload.pack()) == payload
    entry = CODEC.seal(output, payload.pack())
    assert len(entry) == ENTRY_SIZE == 96
    assert entry.startswith(CODEC.tag(output))
    assert CODEC.open(output, entry) == payload


def test_the_layout_never_moves() -> None:
    """A known payload and entry, octet by octet: strangers rely on them."""
    packed = PAYLOAD.pack()
    assert packed[:12].hex() == "0101020302020203" + "512e" + "0102"
    assert packed[12:28] == PAYLOAD.ref
    assert packed[28:] == bytes(36)
    assert CODEC.seal(OUTPUT, packed).hex() == KNOWN_ENTRY


def test_words_keep_their_places() -> None:
    """A word's place in the vocabulary is on the wire: new ones are appended, none is moved."""
    assert " ".join(RecordType) == (
        "movement release seal reefer inspection sighting access intelligence seizure "
        "consignment credential incident transaction alert"
    )
    assert " ".join(Event) == (
        "gate-in gate-out discharge load yard-move reefer-intervention crane-intervention scan "
        "seal-broken seal-mismatch release-issued release-transferred release-used "
        "release-looked-up release-failed seizure intrusion drone-sighting hull-finding "
        "concerning-behaviour bribe-approach threat unusual-system-access malware "
        "suspicious-transaction precursor-diversion lost-or-stolen alert"
    )
    assert " ".join(Tlp) == "CLEAR GREEN AMBER AMBER_STRICT RED"
    assert " ".join(Pap) == "CLEAR GREEN AMBER RED"
    assert " ".join(Europol) == "H0 H1 H2 H3"
    assert " ".join(SourceGrade) == "A B C X"
    assert " ".join(InformationGrade) == "1 2 3 4"


@given(st.binary(min_size=PAYLOAD_SIZE, max_size=PAYLOAD_SIZE) | st.binary(max_size=80))
def test_any_octets_are_a_payload_or_refused(octets: bytes) -> None:
    """Reading is total, and what can be read is what would be written."""
    try:
        payload = Payload.parse(octets)
    except Forged:
        return
    assert payload.pack() == octets


@given(st.integers(0, 63), st.integers(1, 255))
def test_every_octet_of_a_payload_counts(place: int, change: int) -> None:
    """One octet changed is another payload or none: nothing is ignored."""
    octets = changed(PAYLOAD.pack(), place, change)
    try:
        payload = Payload.parse(octets)
    except Forged:
        return
    assert payload != PAYLOAD
    assert payload.pack() == octets


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 0), (0, 2), (1, 15), (2, 29), (3, 0), (3, 6), (4, 5), (5, 5), (6, 5),
     (7, 0), (7, 5), (28, 1), (63, 1)],
)  # fmt: skip
def test_places_beyond_the_vocabulary_are_refused(place: int, value: int) -> None:
    """An unknown layout, word or use of the reserved octets is an error, never a guess."""
    octets = bytearray(PAYLOAD.pack())
    octets[place] = value
    with pytest.raises(Forged) as caught:
        Payload.parse(bytes(octets))
    assert caught.value.code == "ENTRY_LAYOUT"


@pytest.mark.parametrize(
    ("when", "desk", "ref"),
    [(date(1969, 12, 31), 0, bytes(16)), (date(1970, 1, 1), 0, bytes(16)),
     (date(2149, 6, 7), 0, bytes(16)),
     (date(2026, 1, 1), -1, bytes(16)), (date(2026, 1, 1), 2**16, bytes(16)),
     (date(2026, 1, 1), 0, bytes(15)), (date(2026, 1, 1), 0, bytes(17))],
)  # fmt: skip
def test_what_does_not_fit_is_refused(when: date, desk: int, ref: bytes) -> None:
    """Nothing is cut or wrapped to fit 64 octets."""
    payload = Payload(
        record_type=PAYLOAD.record_type, event=PAYLOAD.event, handling=PAYLOAD.handling,
        date=when, desk=desk, ref=ref,
    )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        payload.pack()
    assert caught.value.code == "ENTRY"


def test_the_first_and_the_last_date_fit() -> None:
    """65,535 days from 2 January 1970 on; zero days are a date that is not told."""
    for days in (1, 2**16 - 1):
        payload = Payload(
            record_type=PAYLOAD.record_type, event=PAYLOAD.event, handling=PAYLOAD.handling,
            date=date(1970, 1, 1) + timedelta(days=days), desk=0, ref=bytes(16),
        )  # fmt: skip
        assert Payload.parse(payload.pack()) == payload


def test_what_a_class_may_not_be_told_is_zero() -> None:
    """An entry that says nothing but that there is something reads as just that."""
    bare = Payload(record_type=None, event=None, handling=None, date=None, desk=0, ref=PAYLOAD.ref)
    assert bare.pack() == b"\x01" + bytes(11) + PAYLOAD.ref + bytes(36)
    assert Payload.parse(bare.pack()) == bare


# ── Entries ──────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, ENTRY_SIZE - 1), st.integers(1, 255))
def test_any_changed_octet_of_an_entry_is_refused(place: int, change: int) -> None:
    """Tag, payload or authentication: one octet changed and it does not open."""
    entry = CODEC.seal(OUTPUT, PAYLOAD.pack())
    with pytest.raises(Forged) as caught:
        CODEC.open(OUTPUT, changed(entry, place, change))
    assert caught.value.code == "ENTRY"


@pytest.mark.parametrize(
    ("codec", "output"),
    [(EntryCodec(audience=AUDIENCE, epoch=8), OUTPUT),
     (EntryCodec(audience=bytes(32), epoch=7), OUTPUT), (CODEC, bytes(64))],
)  # fmt: skip
def test_an_entry_is_bound_to_audience_epoch_and_term(codec: EntryCodec, output: bytes) -> None:
    """Elsewhere the same record has another tag, and a payload put under that tag stays shut."""
    entry = CODEC.seal(OUTPUT, PAYLOAD.pack())
    assert codec.tag(output) != CODEC.tag(OUTPUT)
    for foreign in (entry, codec.tag(output) + entry[TAG_SIZE:]):
        with pytest.raises(Forged) as caught:
            codec.open(output, foreign)
        assert caught.value.code == "ENTRY"


def test_a_newer_payload_keeps_the_tag_and_hides_what_changed() -> None:
    """A delta replaces an entry in place; the old ciphertext tells nothing of the new."""
    later = Payload(
        record_type=PAYLOAD.record_type, event=PAYLOAD.event, handling=PAYLOAD.handling,
        date=PAYLOAD.date + timedelta(days=1), desk=PAYLOAD.desk, ref=PAYLOAD.ref,
    )  # fmt: skip
    old, new = (CODEC.seal(OUTPUT, one.pack()) for one in (PAYLOAD, later))
    assert old[:TAG_SIZE] == new[:TAG_SIZE]
    same = sum(a == b for a, b in zip(old[TAG_SIZE:], new[TAG_SIZE:], strict=True))
    assert same < 8


@given(st.binary(max_size=120))
def test_any_octets_are_no_entry(octets: bytes) -> None:
    """What was not sealed does not open, whatever its size."""
    for attempt in (octets, CODEC.tag(OUTPUT) + octets):
        with pytest.raises(Forged) as caught:
            CODEC.open(OUTPUT, attempt)
        assert caught.value.code == "ENTRY"


@pytest.mark.parametrize("size", [0, 63, 65])
def test_outputs_and_payloads_have_their_size(size: int) -> None:
    """A cut output or payload is an error, not another entry."""
    for attempt in (
        lambda: CODEC.tag(bytes(size)),
        lambda: CODEC.seal(bytes(size), PAYLOAD.pack()),
        lambda: CODEC.open(bytes(size), bytes(96)),
        lambda: CODEC.seal(OUTPUT, bytes(size)),
    ):
        with pytest.raises(InvalidInput):
            attempt()


@pytest.mark.parametrize(
    ("audience", "epoch"), [(b"", 1), (bytes(31), 1), (AUDIENCE, -1), (AUDIENCE, 2**32)]
)
def test_an_entry_needs_an_audience_and_an_epoch(audience: bytes, epoch: int) -> None:
    """Nothing is sealed to nobody."""
    with pytest.raises(InvalidInput):
        EntryCodec(audience=audience, epoch=epoch)


KNOWN_ENTRY = (
    "f8eef2724f390dbfd3563598c70ff8fbca29985f9d4842b920bd73d4790dd0e4fb841429c45398c303ddb810528ad990"
    "10d8ae79f0b80a4d84d119c93f1eef02678c7c80101f2e3d0fa00b72e72ddf1d073841861780a0d585fbcf96dff85225"
)
