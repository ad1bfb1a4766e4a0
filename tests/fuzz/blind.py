"""Blind queries: elements, proofs and entries as a stranger may send them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

from fairlead import blinding, ristretto
from fairlead.blinding import Evaluation
from fairlead.delta import apply_delta, write_delta
from fairlead.entries import EntryCodec, Payload
from fairlead.errors import Misconfigured
from fairlead.snapshot import Snapshot, write_snapshot
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
from node.publication.epochs import Epochs
from node.publication.seeds import FILE, SeedFile
from tests.blind import SEED, blinded
from tests.fuzz.target import Target, text

_DATE = date(2026, 11, 25)
FEW = 8 * 32
"""Octets of elements that one attempt computes with: a multiplication takes its time."""


def targets() -> Iterator[Target]:
    """Every parser of blind queries; without libsodium, those that need none."""
    yield from _entries()
    yield from _files()
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


def _files() -> Iterator[Target]:
    """Files as they may come from a stranger, or stand in a folder that somebody changed."""
    folder = Path(tempfile.mkdtemp(prefix="fairlead-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    before, after, delta = folder / "before", folder / "after", folder / "delta"
    rows = [tag.to_bytes(16) + bytes(80) for tag in range(1, 4)]
    write_snapshot(before, rows[:2])
    digest = write_snapshot(after, rows[1:])
    write_delta(delta, before, after)

    def applied(data: bytes) -> None:
        delta.write_bytes(data)
        apply_delta(before, delta, after, entries=2, digest=digest)

    def opened(data: bytes) -> None:
        after.write_bytes(data)
        Snapshot.open(after, entries=2, digest=digest).close()

    yield Target(name="blind-delta", seeds=[delta.read_bytes()], attempt=applied)
    yield Target(name="blind-snapshot", seeds=[after.read_bytes()], attempt=opened)
    epochs = Epochs(length_s=3_600, overlap_s=60)
    seeds = SeedFile(folder, epochs)
    seeds.current(7_200)

    def turned(data: bytes) -> None:
        path = folder / FILE
        path.write_bytes(data)
        path.chmod(0o600)
        seeds.turn(7_300)

    yield Target(name="blind-seeds", seeds=[(folder / FILE).read_bytes()], attempt=turned)


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
