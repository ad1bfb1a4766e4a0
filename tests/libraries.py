"""What the tests of blind asking share: one owner's snapshot in a library, and its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from fairlead import blinding
from fairlead.audience import Audience
from fairlead.blinding import PrivateKey
from fairlead.entries import EntryCodec, Payload
from fairlead.envelope.blinded import BlindedTerms, EvaluatedTerms
from fairlead.envelope.manifest import Manifest
from fairlead.errors import NotFound, Stale
from fairlead.identifiers import NORM_VERSION
from fairlead.identifiers.matching import held_keys
from fairlead.snapshot import Snapshot, padded_count, write_snapshot
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
from tests.walks import ASKER, NOW, OWNER

PURPOSE = "drug-trafficking"
KEY = PrivateKey(scalar=(7).to_bytes(32, "little"))
TODAY = datetime.fromtimestamp(NOW, UTC).date()
HANDLING = Handling(
    tlp=Tlp.AMBER, pap=Pap.AMBER, europol=Europol.H0, source_grade=SourceGrade.A,
    information_grade=InformationGrade.ONE,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One snapshot as an asker holds it."""

    manifest: Manifest
    snapshot: Snapshot
    confirmed_at: float


@dataclass(slots=True)
class OneOwner:
    """A library of one owner's snapshots, one for each scheme."""

    held: dict[str, Held]

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Held:
        found = self.held.get(scheme)
        if owner != OWNER or found is None or purpose not in found.manifest.audience.purposes:
            raise NotFound("no snapshot is held", reasons=("NO_SNAPSHOT",))
        return found

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Held:
        found = self.usable(owner, purpose=PURPOSE, scheme=scheme)
        if (found.manifest.audience.name, found.manifest.epoch) != (audience, epoch):
            raise Stale("an epoch is over", reasons=("EPOCH_OVER",))
        return found


def payload(ref: bytes = bytes(16), *, on: date | None = TODAY, **changes: object) -> Payload:
    """What an entry tells; any attribute may be changed."""
    said = Payload(
        record_type=RecordType.MOVEMENT, event=Event.GATE_IN, handling=HANDLING, date=on, desk=1,
        ref=ref,
    )  # fmt: skip
    return replace(said, **changes)


def library(
    folder: Path, held: Mapping[tuple[str, str], Payload], *, schemes: Sequence[str] = (),
    epoch: int = 3, serial: int = 1,
) -> OneOwner:  # fmt: skip
    """A snapshot for each scheme of these terms, and an empty one for each of ``schemes``."""
    audience = Audience(partners=(ASKER,), purposes=(PURPOSE,), policy_serial=1)
    codec = EntryCodec(audience=audience.name, epoch=epoch)
    found = {}
    for scheme in sorted({scheme for scheme, _ in held} | set(schemes)):
        entries = {}
        for (of, value), said in held.items():
            for key in held_keys(scheme, value) if of == scheme else ():
                inputs = blinding.encode_terms(NORM_VERSION, scheme, [key.value])
                entry = codec.seal(blinding.evaluate_unblinded(KEY, inputs)[0], said.pack())
                entries.setdefault(entry[:16], entry)
        for filler in range(padded_count(len(entries)) - len(entries)):
            entries[b"\xff" * 8 + filler.to_bytes(8, "big")] = (
                b"\xff" * 8 + filler.to_bytes(8, "big") + bytes(80)
            )
        path = folder / f"{scheme}.snapshot"
        digest = write_snapshot(path, [entries[tag] for tag in sorted(entries)])
        manifest = Manifest(
            federation="fairlead.demo", owner=OWNER, node=f"partner/{OWNER}/node/node-1",
            audience=audience, epoch=epoch, begins_at=int(NOW) - 1000, ends_at=int(NOW) + 1000,
            answers_until=int(NOW) + 2000, scheme=scheme, norm_version=NORM_VERSION,
            serial=serial, predecessor=b"", public_key=KEY.public, entry_count=len(entries),
            snapshot_digest=digest, contact_desks=("desk@example",), made_at=int(NOW) - 500,
            digest=bytes([serial]) * 32,
        )  # fmt: skip
        snapshot = Snapshot.open(path, entries=len(entries), digest=digest)
        found[scheme] = Held(manifest=manifest, snapshot=snapshot, confirmed_at=NOW - 5)
    return OneOwner(found)


def evaluated(
    blinded: Sequence[BlindedTerms], *, key: PrivateKey = KEY, serial: int = 1
) -> list[EvaluatedTerms]:
    """What the owner returns."""
    return [
        EvaluatedTerms(
            evaluation=blinding.evaluate(key, item.elements), manifest=bytes([serial]) * 32
        )
        for item in blinded
    ]
