"""What the tests of publication share: an owner whose index is published, and who looks it up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fairlead import identifiers
from fairlead.blinding import encode_terms, evaluate_unblinded
from fairlead.config import Limits
from fairlead.entries import EntryCodec, Payload
from fairlead.envelope.manifest import verify_manifest
from fairlead.errors import FairleadError
from fairlead.identifiers import NORM_VERSION
from fairlead.snapshot import Snapshot
from node.app import NodeApp
from node.publication.outcome import Line
from node.publication.publisher import Publisher
from node.publication.shelf import line_of
from node.sources.record import SourceRecord
from tests.federation import Federation, build, record

OWNER = "terminal-north"
PARTNERS = ("customs", "police", OWNER, "oceanic-line")
EVERY_PURPOSE = ("customs-risk", "drug-trafficking", "infiltration", "security-incident")
DAY_S = 86_400


def held(term: str, *, days: int = 60, **changes: object) -> SourceRecord:
    """A record for every purpose that is kept for so many days."""
    settings = {"purposes": EVERY_PURPOSE, "expires_at": int(time.time()) + days * DAY_S}
    return record(term, **{**settings, **changes})  # type: ignore[arg-type]


def owner_of(folder: Path, records: Sequence[SourceRecord], **changes: object) -> Federation:
    """A federation at rest in which the terminal holds these records."""
    settings: dict[str, object] = {
        "partners": PARTNERS, "records": {OWNER: records}, "local_policy": None, "tick_ms": 5,
        "limits": Limits(),
    }  # fmt: skip
    return build(folder, **{**settings, **changes})  # type: ignore[arg-type]


def line(lines: Sequence[Line], partner: str, purpose: str, scheme: str = "container") -> Line:
    """The line by which a partner asks for a purpose."""
    (found,) = (
        line
        for line in lines
        if line.scheme == scheme
        and partner in line.audience.audience.partners
        and purpose in line.audience.audience.purposes
    )
    return found


def looked_up(
    made: Federation, publisher: Publisher, found: Line, term: str, reader: str = "customs"
) -> Payload | None:
    """What a reader finds: manifest verified, snapshot verified, the term evaluated directly."""
    published = publisher.shelf.newest(line_of(found.audience.audience, found.scheme))
    assert published is not None
    manifest = verify_manifest(
        published.signed, directory=made.directory, partner_id=reader,
        now=publisher.owner.clock(),
    )  # fmt: skip
    path = publisher.folder.snapshot(manifest)
    snapshot = Snapshot.open(path, entries=manifest.entry_count, digest=manifest.snapshot_digest)
    value = identifiers.normalise(found.scheme, term).value
    inputs = encode_terms(NORM_VERSION, found.scheme, [value])
    (output,) = evaluate_unblinded(publisher.key_of(manifest), inputs)
    codec = EntryCodec(audience=manifest.audience.name, epoch=manifest.epoch)
    entry = snapshot.find(codec.tag(output))
    snapshot.close()
    return None if entry is None else codec.open(output, entry)


def holds(reader: NodeApp, owner: NodeApp, term: str, purpose: str = "drug-trafficking") -> bool:
    """Whether a reader's node finds a container in what it holds of an owner."""
    publisher = owner.steering.publishing.publisher
    try:
        found = reader.snapshots.usable(OWNER, purpose=purpose, scheme="container")
        key = publisher.key_of(found.manifest)
    except FairleadError:
        return False
    value = identifiers.normalise("container", term).value
    inputs = encode_terms(NORM_VERSION, "container", [value])
    (output,) = evaluate_unblinded(key, inputs)
    codec = EntryCodec(audience=found.manifest.audience.name, epoch=found.manifest.epoch)
    return found.snapshot.find(codec.tag(output)) is not None
