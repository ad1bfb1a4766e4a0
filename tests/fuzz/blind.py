"""Blind queries: elements, proofs and entries as a stranger may send them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial

from fairlead import blinding, ristretto
from fairlead.blinding import Evaluation
from fairlead.entries import EntryCodec, Payload
from fairlead.errors import Misconfigured
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
from tests.blind import SEED, blinded
from tests.fuzz.target import Target, text

_DATE = date(2026, 11, 25)
FEW = 8 * 32
"""Octets of elements that one attempt computes with: a multiplication takes its time."""


def targets() -> Iterator[Target]:
    """Every parser of blind queries; without libsodium, those that need none."""
    yield from _entries()
    try:
        ristretto.load()
    except Misconfigured:
        return
    key = blinding.derive_key(SEED, b"fuzz")
    asked = blinded([b"first", b"second"])
    answer = blinding.evaluate(key, asked.elements)

    def answered(data: bytes) -> object:
        at = len(asked.elements)
        return blinding.finalise(
            asked, Evaluation(elements=data[:at], proofs=data[at:]), key.public
        )

    yield Target(name="blind-key", seeds=[key.public], attempt=blinding.check_public_key)
    yield Target(
        name="blind-private-key",
        seeds=[key.scalar],
        attempt=lambda data: blinding.PrivateKey(scalar=data),
    )
    yield Target(
        name="blind-question",
        seeds=[asked.elements],
        attempt=lambda data: blinding.evaluate(key, data[:FEW]),
    )
    yield Target(name="blind-answer", seeds=[answer.elements + answer.proofs], attempt=answered)
    yield Target(
        name="blind-proof",
        seeds=[answer.proofs],
        attempt=partial(blinding.verify_proof, key.public, asked.elements, answer.elements),
    )
    yield Target(
        name="blind-term",
        seeds=[b"MSCU6639870"],
        attempt=text(partial(blinding.encode_terms, 1, "container")),
    )


def _entries() -> Iterator[Target]:
    handling = Handling(
        tlp=Tlp.AMBER, pap=Pap.AMBER, europol=Europol.H0,
        source_grade=SourceGrade.A, information_grade=InformationGrade.ONE,
    )  # fmt: skip
    payload = Payload(
        record_type=RecordType.MOVEMENT, event=Event.GATE_IN, handling=handling,
        date=_DATE, desk=1, ref=bytes(16),
    ).pack()  # fmt: skip
    codec, output = EntryCodec(audience=SEED, epoch=1), bytes(64)
    yield Target(name="blind-payload", seeds=[payload], attempt=Payload.parse)
    yield Target(
        name="blind-sealed-payload",
        seeds=[payload],
        attempt=lambda data: codec.open(output, codec.seal(output, data)),
    )
    yield Target(
        name="blind-entry",
        seeds=[codec.seal(output, payload)],
        attempt=partial(codec.open, output),
    )
